//! Errors of networks, names and sizes, each in one line.

use thiserror::Error;

/// An error about a network, its layers or the selection of one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NetworkError {
    /// No network has this name.
    #[error("there is no network {name:?}{}", did_you_mean(.near))]
    UnknownNetwork {
        /// The requested name.
        name: String,
        /// The most similar names.
        near: Vec<String>,
    },
    /// The image is too small for a layer.
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
        /// `[height, width]` of its output.
        output: [usize; 2],
        /// The smallest `[height, width]` that works.
        minimum: [usize; 2],
    },
    /// A layer does not fit its inputs or has an invalid hyperparameter.
    #[error("{network}: layer {layer} ({kind}) {reason}")]
    Layer {
        /// The network's name.
        network: String,
        /// The layer's name.
        layer: String,
        /// The layer's type.
        kind: &'static str,
        /// The defect, to be read after the layer's name.
        reason: String,
    },
    /// The network has no layer, scope or alias of this name.
    #[error("{network} has no layer {layer:?}{}", did_you_mean(.near))]
    UnknownLayer {
        /// The network's name.
        network: String,
        /// The requested name.
        layer: String,
        /// The most similar names.
        near: Vec<String>,
    },
    /// The layer index is outside the network.
    #[error("{network} has layers 0 to {} (or -{count} to -1), not {index}", .count - 1)]
    LayerIndex {
        /// The network's name.
        network: String,
        /// The requested index.
        index: String,
        /// Number of layers, including the input.
        count: usize,
    },
    /// The layer has fewer channels.
    #[error("{network}: layer {layer} has channels 0 to {}, not {channel}", .count - 1)]
    Channel {
        /// The network's name.
        network: String,
        /// The layer's name.
        layer: String,
        /// The requested channel.
        channel: String,
        /// Number of channels.
        count: usize,
    },
    /// The text does not select a layer.
    #[error("{network}: {text:?} does not choose a layer: {reason}")]
    Selection {
        /// The network's name.
        network: String,
        /// The text.
        text: String,
        /// The defect and the correction.
        reason: String,
    },
    /// The network does not classify.
    #[error("{network} has no classes: {reason}")]
    NoClasses {
        /// The network's name.
        network: String,
        /// The reason.
        reason: String,
    },
    /// A family does not support these hyperparameters.
    #[error("{network}: {reason}")]
    Config {
        /// The network's name.
        network: String,
        /// The defect and the correction.
        reason: String,
    },
}

fn did_you_mean(near: &[String]) -> String {
    match near {
        [] => String::new(),
        names => format!("; nearest: {}", names.join(", ")),
    }
}
