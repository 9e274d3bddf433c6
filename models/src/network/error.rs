//! What can be wrong with a network, a name or a size, each in one line.

use thiserror::Error;

/// An error about a network, its layers or the choice of one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NetworkError {
    /// No network has this name.
    #[error("there is no network {name:?}{}", did_you_mean(.near))]
    UnknownNetwork {
        /// What was asked for.
        name: String,
        /// The names most like it.
        near: Vec<String>,
    },
    /// The image shrinks to nothing on its way.
    #[error(
        "input {}x{} is too small for {network}: layer {layer} would be {}x{}; needs at least {}x{}",
        .input[0], .input[1], .output[0], .output[1], .minimum[0], .minimum[1]
    )]
    InputTooSmall {
        /// The network's name.
        network: String,
        /// `[height, width]` of the image.
        input: [usize; 2],
        /// The first layer without an output.
        layer: String,
        /// `[height, width]` it would have.
        output: [usize; 2],
        /// The smallest `[height, width]` that works.
        minimum: [usize; 2],
    },
    /// A layer does not fit its inputs or has an impossible number.
    #[error("{network}: layer {layer} ({kind}) {reason}")]
    Layer {
        /// The network's name.
        network: String,
        /// The layer's name.
        layer: String,
        /// The layer's type.
        kind: &'static str,
        /// What does not fit, to be read after the layer's name.
        reason: String,
    },
    /// The network has no layer, scope or alias of this name.
    #[error("{network} has no layer {layer:?}{}", did_you_mean(.near))]
    UnknownLayer {
        /// The network's name.
        network: String,
        /// What was asked for.
        layer: String,
        /// The names most like it.
        near: Vec<String>,
    },
    /// The layer index is outside the network.
    #[error("{network} has layers 0 to {} (or -{count} to -1), not {index}", .count - 1)]
    LayerIndex {
        /// The network's name.
        network: String,
        /// What was asked for.
        index: String,
        /// Number of layers, the input among them.
        count: usize,
    },
    /// The layer has fewer channels.
    #[error("{network}: layer {layer} has channels 0 to {}, not {channel}", .count - 1)]
    Channel {
        /// The network's name.
        network: String,
        /// The layer's name.
        layer: String,
        /// What was asked for.
        channel: String,
        /// Number of channels.
        count: usize,
    },
    /// The text does not choose a layer.
    #[error("{network}: {text:?} does not choose a layer: {reason}")]
    Selection {
        /// The network's name.
        network: String,
        /// What was asked for.
        text: String,
        /// What is wrong with it and what would be right.
        reason: String,
    },
    /// A family cannot be built with these numbers.
    #[error("{network}: {reason}")]
    Config {
        /// The network's name.
        network: String,
        /// What is wrong and what would be right.
        reason: String,
    },
}

/// A name longer than this is nobody's misspelling, and the distance takes quadratic time.
const LONGEST: usize = 64;

fn did_you_mean(near: &[String]) -> String {
    match near {
        [] => String::new(),
        names => format!("; nearest: {}", names.join(", ")),
    }
}

/// The `count` of `candidates` most like `text`, best first, by the number of slips of the finger
/// between them; case and punctuation only decide between equals.
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>, count: usize) -> Vec<String> {
    let wanted = letters(text);
    let typed: Vec<char> = text.chars().take(LONGEST).collect();
    let mut ranked: Vec<(usize, usize, &str)> = Vec::new();
    for candidate in candidates {
        if ranked.iter().any(|(_, _, seen)| *seen == candidate) {
            continue;
        }
        let letters = letters(candidate);
        let mut slips = distance(&wanted, &letters);
        // A name typed in part is as near as one slip.
        if !wanted.is_empty() && letters.windows(wanted.len()).any(|part| part == wanted) {
            slips = slips.min(1);
        }
        let written: Vec<char> = candidate.chars().take(LONGEST).collect();
        ranked.push((slips, distance(&typed, &written), candidate));
    }
    ranked.sort_by_key(|(slips, exact, _)| (*slips, *exact));
    ranked.into_iter().take(count).map(|(_, _, name)| name.to_owned()).collect()
}

/// Lower-case letters and digits only: `VGG16-BN` and `vgg16_bn` are the same name.
pub(crate) fn letters(text: &str) -> Vec<char> {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(LONGEST).collect()
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_slips() {
        let count = |a: &str, b: &str| distance(&letters(a), &letters(b));
        assert_eq!(count("conv1", "conv1"), 0);
        assert_eq!(count("covn1", "conv1"), 1);
        assert_eq!(count("conv", "conv1"), 1);
        assert_eq!(count("", "abc"), 3);
        assert_eq!(count("kitten", "sitting"), 3);
    }

    #[test]
    fn nearest_prefers_parts_over_far_names() {
        let names = ["resnet50", "resnet20-cifar", "vgg16", "small"];
        assert_eq!(nearest("resnet2", names, 2), ["resnet20-cifar", "resnet50"]);
        assert_eq!(nearest("VGG-16", names, 1), ["vgg16"]);
        assert_eq!(nearest("", names, 5).len(), 4);
    }
}
