//! A guess at the network of a checkpoint, with reasons.

use crate::load::{LoadError, WeightsSource, described_network, expected, guess_network};
use crate::network::Network;
use crate::weights::{Checkpoint, StoredTensor};
use crate::{families, text::one_line};
use std::collections::HashMap;

/// A guess at the network of a file of weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guess {
    /// Name of the matching network, for [`families::build`] or as the file gives it.
    pub network: Option<String>,
    /// The most similar known network, if none matches.
    pub nearest: Option<String>,
    /// Number of classes.
    pub classes: Option<usize>,
    /// Reasons, a sentence each.
    pub why: Vec<String>,
}

/// Guesses the network of `source` and its number of classes.
///
/// # Errors
/// As [`described_network`]; [`LoadError`] for random weights. A file that matches no network is a result, not an error.
pub fn guess(source: &WeightsSource) -> Result<Guess, LoadError> {
    if let Some(network) = described_network(source)? {
        return Ok(known(&network, "the file says so itself".into()));
    }
    match (guess_network(source, None), source.checkpoint()) {
        (Ok(network), _) => {
            let tensors = network.params().len();
            Ok(known(&network, format!("its {tensors} tensors are those of {}, by name and shape", network.name)))
        }
        (Err(LoadError::Unknown { .. }), Some(checkpoint)) => unknown(checkpoint),
        (Err(e), _) => Err(e),
    }
}

fn known(network: &Network, reason: String) -> Guess {
    let outputs = network.params().pop().map(|p| format!("{} has {} outputs", p.name, p.shape[0]));
    Guess {
        network: Some(network.name.clone()),
        nearest: None,
        classes: Some(network.classes.len()),
        why: std::iter::once(reason).chain(outputs).collect(),
    }
}

fn unknown(checkpoint: &Checkpoint) -> Result<Guess, LoadError> {
    let tensors = checkpoint.tensors();
    let mut why = vec!["the tensors are those of no known network".to_string()];
    let nearest = nearest(tensors)?;
    if let Some((name, shared, all)) = &nearest {
        why.push(format!("nearest is {name}: {shared} of its {all} tensors are here with its names and shapes"));
    }
    why.extend(build(tensors));
    let classes = match &outputs(tensors)[..] {
        [] => None,
        [last] => {
            why.push(format!(
                "{} has {} outputs, and no layer like it takes so many inputs",
                one_line(&last.name),
                last.shape[0]
            ));
            Some(last.shape[0])
        }
        several => {
            let list: Vec<String> = several.iter().take(5).map(|t| format!("{} ({})", one_line(&t.name), t.shape[0])).collect();
            why.push(format!("{} layers could be the last: {}", several.len(), list.join(", ")));
            None
        }
    };
    Ok(Guess { network: None, nearest: nearest.map(|n| n.0), classes, why })
}

/// The known network with the largest share of its tensors in the file, by name and shape; the number of common tensors, and of
/// its tensors. `None` below one half.
fn nearest(tensors: &[StoredTensor]) -> Result<Option<(String, usize, usize)>, LoadError> {
    let stored: HashMap<&str, &[usize]> = tensors.iter().map(|t| (t.name.as_str(), &t.shape[..])).collect();
    let mut best: Option<(String, usize, usize)> = None;
    for name in families::names() {
        let needed = expected(&families::build(name, None)?);
        let shared = needed.iter().filter(|e| stored.get(e.name.as_str()) == Some(&&e.shape[..])).count();
        let better = best.as_ref().is_none_or(|(_, s, n)| shared * n > s * needed.len());
        if 2 * shared >= needed.len() && better {
            best = Some((name.to_string(), shared, needed.len()));
        }
    }
    Ok(best)
}

/// Conclusions from the shapes of the layers.
fn build(tensors: &[StoredTensor]) -> Vec<String> {
    let convolutions: Vec<&StoredTensor> = tensors.iter().filter(|t| t.dtype.is_float() && t.shape.len() == 4).collect();
    let depthwise = convolutions.iter().filter(|t| t.shape[0] > 1 && t.shape[1] == 1).count();
    let matrices = tensors.iter().filter(|t| t.dtype.is_float() && t.shape.len() == 2).count();
    let norms = tensors.iter().filter(|t| t.name.ends_with("running_mean") || t.name.ends_with("moving_mean")).count();
    let counts = [
        (convolutions.len(), "four-dimensional tensors, convolutions"),
        (depthwise, "of them of one channel each, depthwise"),
        (matrices, "matrices, dense layers"),
        (norms, "batch-norms"),
    ];
    let counted: Vec<String> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let mut lines = if counted.is_empty() { Vec::new() } else { vec![counted.join("; ")] };
    // Names are in natural order, not the network's. Few layers read as few channels as an image has.
    let images = |t: &&&StoredTensor| matches!(t.shape[1], 3 | 4) && t.shape[0] > t.shape[1];
    if let Some(first) = convolutions.iter().find(images) {
        lines.push(format!("{} reads {} channels, as many as an image has", one_line(&first.name), first.shape[1]));
    }
    lines
}

/// Candidates for the network's last layer: no layer of their kind has as many inputs as they have outputs. Dense layers, else
/// 1x1 convolutions; usual names of last layers come first.
fn outputs(tensors: &[StoredTensor]) -> Vec<&StoredTensor> {
    let weights: Vec<&StoredTensor> =
        tensors.iter().filter(|t| t.dtype.is_float() && matches!(t.shape.len(), 2 | 4) && t.shape[1] > 0).collect();
    // Dense layers follow dense layers: a three-channel convolution does not rule out a layer of three outputs.
    let taken = |outputs: usize, dimensions: usize| weights.iter().any(|t| t.shape.len() == dimensions && t.shape[1] == outputs);
    let free = |dimensions: usize| -> Vec<&StoredTensor> {
        let last = |t: &&StoredTensor| t.shape.len() == dimensions && t.shape[2..].iter().all(|&k| k == 1);
        weights.iter().copied().filter(last).filter(|t| t.shape[0] > 0 && !taken(t.shape[0], dimensions)).collect()
    };
    let dense = free(2);
    let found = if dense.is_empty() { free(4) } else { dense };
    let names = ["fc", "classifier", "head", "linear", "output", "logits", "predictions"];
    let named: Vec<&StoredTensor> =
        found.iter().copied().filter(|t| t.name.split(['.', '/']).any(|part| names.contains(&part))).collect();
    if found.len() > 1 && !named.is_empty() { named } else { found }
}
