//! Matching of stored tensors to a network's parameters, across the naming conventions of published checkpoints.

use std::collections::{HashMap, HashSet};

use super::aliases::known_names;
use super::names::nearest_path;
use crate::formats::{Checkpoint, Mismatch, Misshapen, StoredTensor, Unmatched, WeightsError};
use crate::text::one_line;

/// A parameter or buffer of a network, under its torchvision name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Dotted name, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
}

/// An expected tensor and its stored counterpart.
///
/// Both have the same elements in the same order. `stored.shape` may group trailing dimensions differently (a dense layer stored
/// as a convolution), so `expected.shape` is the valid one.
#[derive(Debug, Clone, Copy)]
pub struct Matched<'a> {
    /// The network's tensor.
    pub expected: &'a Expected,
    /// The file's tensor.
    pub stored: &'a StoredTensor,
}

/// Finds the stored tensor of each expected one, in the order of `expected`.
///
/// Names may be torchvision's, timm's or those of some older files (`aliases`). A stored shape matches if it equals the expected
/// one up to the grouping of trailing dimensions: \[4096, 512, 7, 7\] matches \[4096, 25088\]. Training-only tensors are ignored:
/// `num_batches_tracked`, and the auxiliary classifiers of GoogLeNet and Inception-v3 ([`training_only`]).
///
/// `model` is the network's name in messages.
///
/// # Errors
/// [`WeightsError::Mismatch`] with all missing, unexpected and misshapen tensors.
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

/// Batch counter of training, which inference ignores.
fn is_counter(name: &str) -> bool {
    name.rsplit('.').next() == Some("num_batches_tracked")
}

/// Auxiliary classifiers of GoogLeNet and Inception-v3, for training only.
const TRAINING_ONLY: [&str; 3] = ["aux1", "aux2", "AuxLogits"];

/// The scope of a training-only tensor, such as `AuxLogits`.
pub fn training_only(name: &str) -> Option<&'static str> {
    let (scope, _) = name.split_once('.')?;
    TRAINING_ONLY.into_iter().find(|known| *known == scope)
}

/// Whether two shapes hold the same elements in the same order and differ only in the grouping of trailing dimensions, such as a
/// convolution over its whole input and the equivalent dense layer.
fn same_but_for_grouping(a: &[usize], b: &[usize]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if short == long {
        return true;
    }
    // The outermost dimension, the output channels, must match.
    let Some((last, leading)) = short.split_last().filter(|(_, leading)| !leading.is_empty()) else {
        return !short.is_empty() && short[0] == long[0] && long[1..].iter().all(|&extent| extent == 1);
    };
    let product = |extents: &[usize]| extents.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
    long.len() > short.len() && long.starts_with(leading) && product(&long[leading.len()..]) == Some(*last)
}

#[derive(Clone, Copy)]
struct Named<'a>(&'a str, &'a [usize]);

/// Maximum name comparisons for suggestions. A hostile file could require any number.
const MAX_COMPARISONS: usize = 100_000;

fn with_nearest(wanted: &[Named], left_over: &[Named], all: &[Named]) -> Vec<Unmatched> {
    let suggestions = MAX_COMPARISONS / (left_over.len() + all.len()).max(1);
    let nearest = |wanted: &Named| {
        // Among equally similar names, the one with the right shape wins.
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
