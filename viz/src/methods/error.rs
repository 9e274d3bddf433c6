//! Errors of the methods.

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
    /// A value is NaN or infinite.
    #[error("{what} holds {value} at {index}: the weights or the input are broken")]
    NotFinite {
        /// Name of the tensor.
        what: String,
        /// Index of the element.
        index: usize,
        /// The value.
        value: f32,
    },
    /// The network does not suit the method.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A class index out of range.
    #[error("class {class} does not exist: the network has {classes} classes, 0 to {}", classes.saturating_sub(1))]
    NoSuchClass {
        /// The class.
        class: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A layer without a spatial extent.
    #[error("{layer} has no height and width ({shape}): Grad-CAM needs a layer of feature maps, such as {example}")]
    NotSpatial {
        /// The layer.
        layer: String,
        /// Its output shape.
        shape: String,
        /// A suitable layer.
        example: String,
    },
    /// A layer without filters.
    #[error("{layer} is {kind} and has no filters: choose a convolution, such as {example}")]
    NoFilters {
        /// The layer.
        layer: String,
        /// Its kind.
        kind: String,
        /// A suitable layer.
        example: String,
    },
    /// A stored tensor that is not a convolution weight.
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
    /// An empty map.
    #[error(transparent)]
    Map(#[from] MapError),
    /// A photo cannot be read or prepared.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The network has more input channels than photos.
    #[error("{network} takes {channels} channels and a photo has 3")]
    Channels {
        /// The network.
        network: String,
        /// Input channels of the network.
        channels: usize,
    },
    /// Photos of different sizes in one batch.
    #[error("photos of one batch have one size: {}x{} and {}x{} differ", first[0], first[1], other[0], other[1])]
    Sizes {
        /// Height and width of the first photo.
        first: [usize; 2],
        /// Height and width of another one.
        other: [usize; 2],
    },
}
