//! Which stored tensor is which parameter of a network, across the naming habits of published checkpoints.

use std::collections::{HashMap, HashSet};

use super::aliases::known_names;
use super::names::nearest_path;
use crate::formats::{Checkpoint, Mismatch, Misshapen, StoredTensor, Unmatched, WeightsError};
use crate::text::one_line;

/// A parameter or buffer that a network needs, under its torchvision name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Dotted name, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
}

/// An expected tensor and the stored one that fills it.
///
/// Both have the same number of elements in the same order, but `stored.shape` may group the trailing dimensions
/// differently (a dense layer stored as a convolution): use `expected.shape`.
#[derive(Debug, Clone, Copy)]
pub struct Matched<'a> {
    /// What the network needs.
    pub expected: &'a Expected,
    /// What the file has for it.
    pub stored: &'a StoredTensor,
}

/// Finds the stored tensor for each expected one, in the order of `expected`.
///
/// Beside the torchvision names those of timm and some older files are understood (`aliases`). A stored shape fits if it is
/// the expected one, or differs only in how trailing dimensions are grouped: \[4096, 512, 7, 7\] fits \[4096, 25088\].
/// `num_batches_tracked`, which only training counts, and the auxiliary
/// classifiers of GoogLeNet and Inception-v3 ([`training_only`]) are left out of the result and never reported.
///
/// `model` is the network's name, for the message.
///
/// # Errors
/// [`WeightsError::Mismatch`], with everything missing, unexpected and misshapen.
pub fn match_tensors<'a>(
    model: &str,
    expected: &'a [Expected],
    checkpoint: &'a Checkpoint,
) -> Result<Vec<Matched<'a>>, WeightsError> {
    let stored: HashMap<&str, &StoredTensor> = checkpoint.tensors().iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let mut used: HashSet<&str> = HashSet::new();
    let mut matched = Vec::with_capacity(expected.len());
    let mut missing: Vec<&Expected> = Vec::new();
    let mut misshapen = Vec::new();
    for expected in expected.iter().filter(|expected| !is_counter(&expected.name)) {
        let known = known_names(&expected.name);
        let found = known.iter().filter(|name| !used.contains(name.as_str())).find_map(|name| stored.get(name.as_str()));
        let Some(&stored) = found else {
            missing.push(expected);
            continue;
        };
        used.insert(&stored.name);
        if same_but_for_grouping(&stored.shape, &expected.shape) {
            matched.push(Matched { expected, stored });
        } else {
            misshapen.push(Misshapen {
                name: expected.name.clone(),
                expected: expected.shape.clone(),
                stored: stored.shape.clone(),
            });
        }
    }
    let spare = |name: &str| !used.contains(name) && !is_counter(name) && training_only(name).is_none();
    let left_over: Vec<&StoredTensor> = checkpoint.tensors().iter().filter(|tensor| spare(&tensor.name)).collect();
    if missing.is_empty() && left_over.is_empty() && misshapen.is_empty() {
        return Ok(matched);
    }

    let needed: Vec<Named> = expected.iter().map(|e| Named(&e.name, &e.shape)).collect();
    let present: Vec<Named> = checkpoint.tensors().iter().map(|t| Named(&t.name, &t.shape)).collect();
    let missing: Vec<Named> = missing.iter().map(|e| Named(&e.name, &e.shape)).collect();
    let left_over: Vec<Named> = left_over.iter().map(|t| Named(&t.name, &t.shape)).collect();
    Err(WeightsError::Mismatch(Box::new(Mismatch {
        file: checkpoint.path().file_name().unwrap_or_default().to_string_lossy().into_owned(),
        model: model.to_owned(),
        missing: with_nearest(&missing, &left_over, &present),
        unexpected: with_nearest(&left_over, &missing, &needed),
        misshapen,
    })))
}

/// Counts the batches that a training run has seen; inference has no use for it.
fn is_counter(name: &str) -> bool {
    name.rsplit('.').next() == Some("num_batches_tracked")
}

/// Classifiers that look at a middle layer of GoogLeNet and Inception-v3 while it is trained.
const TRAINING_ONLY: [&str; 3] = ["aux1", "aux2", "AuxLogits"];

/// The scope of a stored tensor that only training uses, such as `AuxLogits`.
pub fn training_only(name: &str) -> Option<&'static str> {
    let (scope, _) = name.split_once('.')?;
    TRAINING_ONLY.into_iter().find(|known| *known == scope)
}

/// Whether two shapes hold the same elements in the same order and differ only in trailing dimensions being merged,
/// or in trailing ones: a convolution over its whole input and the dense layer that it is.
fn same_but_for_grouping(a: &[usize], b: &[usize]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if short == long {
        return true;
    }
    // The outermost dimension, the output channels, stays itself.
    let Some((last, leading)) = short.split_last().filter(|(_, leading)| !leading.is_empty()) else {
        return !short.is_empty() && short[0] == long[0] && long[1..].iter().all(|&extent| extent == 1);
    };
    let product = |extents: &[usize]| extents.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
    long.len() > short.len() && long.starts_with(leading) && product(&long[leading.len()..]) == Some(*last)
}

#[derive(Clone, Copy)]
struct Named<'a>(&'a str, &'a [usize]);

/// Beyond this many comparisons of names no more suggestions are made: nobody reads them, and a hostile file could
/// ask for any number.
const MAX_COMPARISONS: usize = 100_000;

fn with_nearest(wanted: &[Named], left_over: &[Named], all: &[Named]) -> Vec<Unmatched> {
    let suggestions = MAX_COMPARISONS / (left_over.len() + all.len()).max(1);
    let nearest = |wanted: &Named| {
        // Of two names equally near, the one of the right shape is meant.
        let penalty = |other: &Named| usize::from(!same_but_for_grouping(other.1, wanted.1));
        let among = |candidates: &[Named]| nearest_path(wanted.0, candidates.iter(), |c| c.0, penalty).map(|c| one_line(c.0));
        among(left_over).or_else(|| among(all))
    };
    wanted
        .iter()
        .enumerate()
        .map(|(i, tensor)| Unmatched {
            name: one_line(tensor.0),
            shape: tensor.1.to_vec(),
            nearest: if i < suggestions { nearest(tensor) } else { None },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grouping_of_trailing_dimensions() {
        for (a, b, same) in [
            (&[4096, 512, 7, 7][..], &[4096, 25088][..], true),
            (&[4096, 4096, 1, 1], &[4096, 4096], true),
            (&[64, 1, 1], &[64], true),
            (&[64, 3, 3, 3], &[64, 3, 9], true),
            (&[], &[], true),
            (&[2, 0], &[2, 0], true),
            (&[64, 3, 7, 7], &[64, 7, 7, 3], false),
            (&[64, 9, 4], &[64, 4, 9], false),
            (&[64, 3, 3, 3], &[64, 9, 3], false),
            (&[2, 3], &[6], false),
            (&[6, 1], &[2, 3], false),
            (&[2, 3], &[3, 2], false),
            (&[1], &[], false),
            (&[4096, 25088], &[4096, 25087], false),
            (&[1, usize::MAX, 2, 2], &[1, usize::MAX - 3], false),
        ] {
            assert_eq!(same_but_for_grouping(a, b), same, "{a:?} {b:?}");
            assert_eq!(same_but_for_grouping(b, a), same, "{b:?} {a:?}");
        }
    }
}
