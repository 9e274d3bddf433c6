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
    /// The network does not classify.
    #[error("{network} has no classes: {reason}")]
    NoClasses {
        /// The network's name.
        network: String,
        /// Why.
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

fn did_you_mean(near: &[String]) -> String {
    match near {
        [] => String::new(),
        names => format!("; nearest: {}", names.join(", ")),
    }
}
