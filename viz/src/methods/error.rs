//! What can go wrong while looking into a network.

use crate::map::MapError;
use convscope_models::image::ImageError;
use convscope_models::network::NetworkError;
use convscope_models::weights::WeightsError;

/// Errors of the methods. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum VizError {
    /// A tensor operation failed.
    #[error(transparent)]
    Engine(#[from] convscope_engine::Error),
    /// A number is not a number.
    #[error("{what} holds {value} at {index}: the weights or the input are broken")]
    NotFinite {
        /// Where.
        what: String,
        /// Which element.
        index: usize,
        /// What it is.
        value: f32,
    },
    /// The network does not fit the method.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A class beyond the outputs.
    #[error("class {class} does not exist: the network has {classes} classes, 0 to {}", classes.saturating_sub(1))]
    NoSuchClass {
        /// Asked for.
        class: usize,
        /// There are.
        classes: usize,
    },
    /// A layer without a place in the image.
    #[error("{layer} has no height and width ({shape}): Grad-CAM needs a layer of feature maps, such as {example}")]
    NotSpatial {
        /// The layer.
        layer: String,
        /// Its output.
        shape: String,
        /// A layer that works.
        example: String,
    },
    /// A layer without weights that can be drawn.
    #[error("{layer} is {kind} and has no filters: choose a convolution, such as {example}")]
    NoFilters {
        /// The layer.
        layer: String,
        /// Its kind.
        kind: String,
        /// A layer that works.
        example: String,
    },
    /// A stored tensor that is no convolution's weight.
    #[error("{tensor} is {shape:?}: filters have four dimensions, [filters, channels, height, width]")]
    NotFilters {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A stored tensor cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A map without values.
    #[error(transparent)]
    Map(#[from] MapError),
    /// A photo cannot be read or prepared.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The network wants channels that photos lack.
    #[error("{network} takes {channels} channels and a photo has 3")]
    Channels {
        /// The network.
        network: String,
        /// Channels that it takes.
        channels: usize,
    },
    /// Photos that cannot lie in one tensor.
    #[error("photos of one batch have one size: {}x{} and {}x{} differ", first[0], first[1], other[0], other[1])]
    Sizes {
        /// Height and width of the first.
        first: [usize; 2],
        /// Those of another.
        other: [usize; 2],
    },
}
