//! Random streams that depend on their purpose, never on the thread.

use convscope_engine::kernels::random::{philox, uniform};

/// A random stream for one purpose.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    seed: u64,
    next: u64,
}

/// Purpose of a random stream.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// Initial values of parameter number `.0`.
    Weights(usize),
    /// The validation split of a folder without `val`.
    Split,
    /// The order of the images in an epoch.
    Order(usize),
    /// The augmentation of image `.1` in epoch `.0`.
    Image(usize, usize),
    /// The mixing of batch `.1` in epoch `.0`.
    Mix(usize, usize),
    /// The dropout of step `.0`.
    Dropout(usize),
}

impl Stream {
    pub(super) fn new(seed: u64, purpose: Purpose) -> Self {
        let (kind, a, b) = match purpose {
            Purpose::Weights(i) => (0, i, 0),
            Purpose::Split => (1, 0, 0),
            Purpose::Order(epoch) => (2, epoch, 0),
            Purpose::Image(epoch, i) => (3, epoch, i),
            Purpose::Mix(epoch, i) => (4, epoch, i),
            Purpose::Dropout(step) => (5, step, 0),
        };
        let seed = [kind, a as u64, b as u64].into_iter().fold(seed, |seed, part| {
            let w = philox(seed, part);
            u64::from(w[0]) << 32 | u64::from(w[1])
        });
        Stream { seed, next: 0 }
    }

    /// The seed of this stream, for counter-based generators.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// Uniform in [0, 1).
    pub(super) fn unit(&mut self) -> f32 {
        self.next += 1;
        uniform(self.seed, self.next - 1)
    }

    /// A uniform value between `low` and `high`.
    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// A uniform integer below `count`.
    pub(super) fn below(&mut self, count: usize) -> usize {
        self.next = self.next.next_multiple_of(4) + 4;
        let w = philox(self.seed, self.next / 4 - 1);
        (((u128::from(w[0]) << 32 | u128::from(w[1])) * count as u128) >> 64) as usize
    }

    /// True with probability `p`.
    pub(super) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// A value of Beta(a, a), by Jöhnk's rejection, which is fast for `a` up to about 1.
    pub(super) fn beta(&mut self, a: f32) -> f32 {
        loop {
            let [x, y] = [self.unit(), self.unit()].map(|u| u.powf(1.0 / a));
            if x + y > 0.0 && x + y <= 1.0 {
                return x / (x + y);
            }
        }
    }

    /// Shuffles `items` (Fisher-Yates).
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_have_streams_of_their_own() {
        let first = |purpose| Stream::new(7, purpose).unit();
        let all = [Purpose::Split, Purpose::Order(0), Purpose::Order(1), Purpose::Image(0, 1), Purpose::Image(1, 0)].map(first);
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b), "{all:?}");
        }
        assert_eq!(first(Purpose::Image(1, 0)), all[4]);
    }

    #[test]
    fn shuffles_are_permutations_and_beta_is_symmetric() {
        let mut stream = Stream::new(1, Purpose::Split);
        let mut items: Vec<usize> = (0..100).collect();
        stream.shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
        let draws: Vec<f32> = (0..2000).map(|_| stream.beta(0.2)).collect();
        assert!(draws.iter().all(|v| (0.0..=1.0).contains(v)));
        assert!((draws.iter().sum::<f32>() / 2000.0 - 0.5).abs() < 0.03);
        assert!((0..1000).all(|_| stream.below(3) < 3));
    }
}
