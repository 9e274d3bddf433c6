//! Errors of gradient ascent, each in one line.

use convscope_models::network::NetworkError;
use thiserror::Error;

/// Errors of [`super::ascend`].
#[derive(Debug, Error, Clone, PartialEq)]
pub enum AscentError {
    /// The layer, the channel or the size does not fit the network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The network's execution failed.
    #[error(transparent)]
    Engine(#[from] convscope_engine::Error),
    /// An invalid option.
    #[error("gradient ascent: the {what} cannot be {got}; give {want}")]
    Option {
        /// Name of the option.
        what: &'static str,
        /// Its value.
        got: String,
        /// Valid values.
        want: String,
    },
    /// The border covers the whole layer.
    #[error("layer {layer} is {0}x{1} for images of {2}x{3}: a border of {border} leaves nothing; use larger images or a smaller border",
        .map[0], .map[1], .size[0], .size[1])]
    Border {
        /// Name of the layer.
        layer: String,
        /// Its `[height, width]`.
        map: [usize; 2],
        /// `[height, width]` of the images.
        size: [usize; 2],
        /// The border.
        border: usize,
    },
    /// A score or gradient is not finite, from such weights or from steps that are too large.
    #[error(
        "gradient ascent on {layer}:{channel}: the {what} is not finite at step {step}; check the weights or use shorter steps"
    )]
    NotFinite {
        /// Name of the layer.
        layer: String,
        /// The channel.
        channel: usize,
        /// Step, from 0.
        step: usize,
        /// `score` or `gradient`.
        what: &'static str,
    },
}
