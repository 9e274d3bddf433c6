//! Output shapes of layers, for one image.

use std::fmt;

/// Shape of a layer's output for one image, without the batch dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerShape {
    /// A feature map `[channels, height, width]`.
    Map {
        /// Number of channels.
        channels: usize,
        /// Number of rows.
        height: usize,
        /// Number of columns.
        width: usize,
    },
    /// A flat vector `[features]`.
    Vector {
        /// Length of the vector.
        features: usize,
    },
}

impl LayerShape {
    /// Dimensions without the batch: `[c, h, w]` or `[features]`.
    pub fn dims(&self) -> Vec<usize> {
        match *self {
            Self::Map { channels, height, width } => vec![channels, height, width],
            Self::Vector { features } => vec![features],
        }
    }

    /// Channels of a map, features of a vector.
    pub fn channels(&self) -> usize {
        match *self {
            Self::Map { channels, .. } => channels,
            Self::Vector { features } => features,
        }
    }

    /// `[height, width]` of a map, `None` for a vector.
    pub fn spatial(&self) -> Option<[usize; 2]> {
        match *self {
            Self::Map { height, width, .. } => Some([height, width]),
            Self::Vector { .. } => None,
        }
    }

    /// Number of values.
    #[expect(clippy::len_without_is_empty, reason = "an inferred shape is never empty")]
    pub fn len(&self) -> usize {
        product(&self.dims())
    }
}

/// `512x7x7` or `4096`.
impl fmt::Display for LayerShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.dims().iter().map(usize::to_string).collect();
        f.write_str(&dims.join("x"))
    }
}

/// Saturating product: absurd hyperparameters must not overflow.
pub(super) fn product(numbers: &[usize]) -> usize {
    numbers.iter().fold(1, |product, &n| product.saturating_mul(n))
}
