//! Shapes of what layers pass on, for one image.

use std::fmt;

use super::{Layer, Network, NetworkError};

/// Shape of a layer's output for one image (the batch dimension stands in front of it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// A feature map `[channels, height, width]`.
    Map {
        /// Channels.
        channels: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// A flat vector `[features]`.
    Vector {
        /// Its length.
        features: usize,
    },
}

impl Shape {
    /// Dimensions without the batch: `[c, h, w]` or `[features]`.
    pub fn dims(&self) -> Vec<usize> {
        match *self {
            Self::Map {
                channels,
                height,
                width,
            } => vec![channels, height, width],
            Self::Vector { features } => vec![features],
        }
    }

    /// Channels of a map, features of a vector: what a picture can choose one of.
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
    #[expect(
        clippy::len_without_is_empty,
        reason = "an inferred shape is never empty"
    )]
    pub fn len(&self) -> usize {
        product(&self.dims())
    }
}

/// `512x7x7` or `4096`.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.dims().iter().map(usize::to_string).collect();
        f.write_str(&dims.join("x"))
    }
}

/// Product that stops at the largest number instead of overflowing on absurd hyperparameters.
pub(super) fn product(numbers: &[usize]) -> usize {
    numbers
        .iter()
        .fold(1, |product, &n| product.saturating_mul(n))
}

impl Network {
    /// Shape of every layer's output, in the order of [`Network::layers`], for an image of
    /// `height` x `width`.
    ///
    /// # Errors
    /// [`NetworkError::InputTooSmall`] with the smallest size that works, or
    /// [`NetworkError::Layer`] for a layer that does not fit its inputs.
    pub fn shapes(&self, height: usize, width: usize) -> Result<Vec<Shape>, NetworkError> {
        let input = Shape::Map {
            channels: self.input.channels,
            height,
            width,
        };
        let mut shapes: Vec<Shape> = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let shape = match index {
                0 => input.clone(),
                _ => self.layer_shape(layer, &shapes)?,
            };
            if let Some([h, w]) = shape.spatial()
                && (h == 0 || w == 0)
            {
                return Err(NetworkError::InputTooSmall {
                    network: self.name.clone(),
                    input: [height, width],
                    layer: layer.name.clone(),
                    output: [h, w],
                    minimum: self.input.min_size,
                });
            }
            shapes.push(shape);
        }
        Ok(shapes)
    }

    /// Shape of `layer`'s output when the layers before it have `shapes`.
    pub(super) fn layer_shape(
        &self,
        layer: &Layer,
        shapes: &[Shape],
    ) -> Result<Shape, NetworkError> {
        let fail = |reason: String| NetworkError::Layer {
            network: self.name.clone(),
            layer: layer.name.clone(),
            kind: layer.kind.type_name(),
            reason,
        };
        let inputs: Vec<&Shape> = layer
            .inputs
            .iter()
            .map(|input| {
                shapes
                    .get(input.0)
                    .ok_or_else(|| fail(format!("reads layer {}, which comes later", input.0)))
            })
            .collect::<Result<_, _>>()?;
        layer.kind.output_shape(&inputs).map_err(fail)
    }

    /// The smallest `[height, width]` for which every layer has an output, at most `default`.
    pub(super) fn smallest_input(&self, [height, width]: [usize; 2]) -> [usize; 2] {
        // Extents only grow with the input's, each axis for itself: a binary search is exact.
        let smallest = |largest: usize, fits: &dyn Fn(usize) -> bool| {
            let (mut low, mut high) = (1, largest);
            while low < high {
                let middle = low + (high - low) / 2;
                if fits(middle) {
                    high = middle
                } else {
                    low = middle + 1
                }
            }
            low
        };
        [
            smallest(height, &|h| self.shapes(h, width).is_ok()),
            smallest(width, &|w| self.shapes(height, w).is_ok()),
        ]
    }
}
