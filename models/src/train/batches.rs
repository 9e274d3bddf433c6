//! Batches of an epoch, prefetched by threads.

use super::augment::rectangle;
use super::photos::Photos;
use super::random::{Purpose, Stream};
use super::recipe::Recipe;
use crate::image::{ImageError, Normalization};
use crate::network::Network;
use convscope_engine::Tensor;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

/// Maximum prefetched batches of a thread.
const AHEAD: usize = 2;

/// A batch of images with targets.
pub(super) struct Batch {
    /// `[n, 3, size, size]`
    pub images: Tensor,
    /// Target probabilities `[n, classes]`.
    pub targets: Tensor,
    /// Class of each image; of a mixed image, the class of the larger part.
    pub classes: Vec<usize>,
}

/// Source of an epoch's batches.
#[derive(Clone, Copy)]
pub(super) struct Maker<'a> {
    pub photos: &'a Photos,
    pub recipe: &'a Recipe,
    pub network: &'a Network,
    pub epoch: usize,
}

/// Batches in order, for any number of threads.
pub(super) struct Batches {
    threads: Vec<Receiver<Result<Batch, ImageError>>>,
    next: usize,
}

impl Iterator for Batches {
    type Item = Result<Batch, ImageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let thread = self.next % self.threads.len();
        self.next += 1;
        self.threads[thread].recv().ok()
    }
}

/// Number of steps of an epoch. An incomplete last batch is left out.
pub(super) fn steps(photos: usize, batch: usize) -> usize {
    (photos / batch).max(1)
}

impl<'a> Maker<'a> {
    /// Starts `threads` threads that end with the epoch, or when the receiver is dropped.
    pub(super) fn start<'s>(self, scope: &'s Scope<'s, 'a>, threads: usize) -> Batches
    where
        'a: 's,
    {
        let mut order: Vec<usize> = (0..self.photos.len()).collect();
        Stream::new(self.recipe.seed, Purpose::Order(self.epoch)).shuffle(&mut order);
        let order: std::sync::Arc<[usize]> = order.into();
        let steps = steps(order.len(), self.recipe.batch);
        let start = |thread: usize| {
            let (give, take) = sync_channel(AHEAD);
            let order = order.clone();
            scope.spawn(move || {
                for step in (thread..steps).step_by(threads) {
                    let first = step * self.recipe.batch;
                    let chosen = &order[first..(first + self.recipe.batch).min(order.len())];
                    if give.send(self.batch(step, chosen)).is_err() {
                        return;
                    }
                }
            });
            take
        };
        Batches { threads: (0..threads).map(start).collect(), next: 0 }
    }

    fn batch(&self, step: usize, chosen: &[usize]) -> Result<Batch, ImageError> {
        let Maker { photos, recipe, network, epoch } = *self;
        let size = recipe.size_in(epoch);
        let normalization: &Normalization = &network.preprocess.normalization;
        let mut images = Vec::with_capacity(chosen.len() * 3 * size * size);
        let mut targets = Vec::new();
        let mut classes: Vec<usize> = chosen.iter().map(|i| photos.class(*i)).collect();
        for &i in chosen {
            let mut stream = Stream::new(recipe.seed, Purpose::Image(epoch, i));
            images.extend(recipe.augment.apply(&*photos.pixels(i)?, size, normalization, &mut stream)?);
            targets.extend(target(network.classes.len(), photos.class(i), recipe.smoothing));
        }
        mix(recipe, size, &mut images, &mut targets, &mut classes, &mut Stream::new(recipe.seed, Purpose::Mix(epoch, step)));
        let n = chosen.len();
        let tensor = |shape: &[usize], values: &[f32]| Tensor::from_slice(shape.to_vec(), values).expect("as many values");
        Ok(Batch { images: tensor(&[n, 3, size, size], &images), targets: tensor(&[n, targets.len() / n], &targets), classes })
    }
}

/// One-hot target with label smoothing.
pub(super) fn target(classes: usize, class: usize, smoothing: f32) -> impl Iterator<Item = f32> {
    let share = smoothing / classes as f32;
    (0..classes).map(move |k| if k == class { 1.0 - smoothing + share } else { share })
}

/// Mixes each image with its mirror in the batch, by mixup or cutmix, as the recipe specifies.
fn mix(recipe: &Recipe, size: usize, images: &mut [f32], targets: &mut [f32], classes: &mut [usize], stream: &mut Stream) {
    let n = classes.len();
    let paste = match (recipe.mixup > 0.0, recipe.cutmix > 0.0) {
        (false, false) => return,
        (true, true) => stream.chance(0.5),
        (_, paste) => paste,
    };
    let mut kept = stream.beta(if paste { recipe.cutmix } else { recipe.mixup });
    // The image of the first class has the larger part, which defines the accuracy.
    kept = kept.max(1.0 - kept);
    let plane = size * size;
    let before = images.to_vec();
    let others = |i: usize| &before[(n - 1 - i) * 3 * plane..][..3 * plane];
    if paste {
        let share = 1.0 - kept;
        let Some([x, y, w, h]) = rectangle([share, share], 1.0, [size, size], stream) else { return };
        for (i, image) in images.chunks_exact_mut(3 * plane).enumerate() {
            for (row, (to, from)) in image.chunks_exact_mut(size).zip(others(i).chunks_exact(size)).enumerate() {
                if (y..y + h).contains(&(row % size)) {
                    to[x..x + w].copy_from_slice(&from[x..x + w]);
                }
            }
        }
        kept = 1.0 - (w * h) as f32 / plane as f32;
    } else {
        for (i, image) in images.chunks_exact_mut(3 * plane).enumerate() {
            image.iter_mut().zip(others(i)).for_each(|(v, other)| *v = kept * *v + (1.0 - kept) * other);
        }
    }
    let outputs = targets.len() / n;
    let before = targets.to_vec();
    for (i, row) in targets.chunks_exact_mut(outputs).enumerate() {
        let other = &before[(n - 1 - i) * outputs..][..outputs];
        row.iter_mut().zip(other).for_each(|(v, other)| *v = kept * *v + (1.0 - kept) * other);
    }
}
