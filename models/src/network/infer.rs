//! Shape inference: each layer's output shape for an image of any size.

use super::{Conv2d, InputSpec, Layer, LayerId, LayerKind, LayerShape, Network, NetworkError, Pool2d, product};
use convscope_engine::kernels::pool::{PoolSpec, Windows};
use std::ops::Index;

/// Maximum values of one tensor; more are a typing error. The bound also keeps every sum over layers within a 64-bit integer.
const MOST_VALUES: usize = 1 << 40;

/// Maximum values of all layers together at the network's default size: 4 GiB of f32. A few bytes of a file can request any
/// padding and upsampling.
const MOST_DESIGNED: usize = 1 << 30;

/// Maximum padding of a layer, for the same reason.
const MOST_PADDING: usize = 1 << 22;

/// Maximum stride and dilation. Kernels allocate rows for several windows at a time.
const MOST_STEP: usize = 1 << 10;

/// A network at one input size: the shape of each layer's output, inferred once by [`Network::at`].
#[derive(Debug, Clone)]
pub struct ShapedNetwork<'n> {
    /// The network.
    pub network: &'n Network,
    /// `[height, width]` of the input.
    pub size: [usize; 2],
    /// Shape of each layer's output for one image, in the order of [`Network::layers`].
    pub shapes: Vec<LayerShape>,
}

impl<'n> ShapedNetwork<'n> {
    /// Every layer with its id and output shape.
    pub fn layers(&self) -> impl Iterator<Item = (LayerId, &'n Layer, &LayerShape)> {
        self.network.ids().zip(&self.shapes).map(|((id, layer), shape)| (id, layer, shape))
    }
}

impl Index<LayerId> for ShapedNetwork<'_> {
    type Output = LayerShape;

    /// # Panics
    /// If `id` is of another, longer network.
    fn index(&self, id: LayerId) -> &LayerShape {
        &self.shapes[id.0]
    }
}

impl Network {
    /// This network for images of `height` x `width`.
    ///
    /// # Errors
    /// [`NetworkError::InputTooSmall`] with the smallest size that works, or
    /// [`NetworkError::Layer`] for a layer that does not fit its inputs.
    pub fn at(&self, height: usize, width: usize) -> Result<ShapedNetwork<'_>, NetworkError> {
        Ok(ShapedNetwork { network: self, size: [height, width], shapes: self.shapes(height, width)? })
    }

    /// The shapes of [`Network::at`] alone.
    /// The output shapes of [`Network::at`] alone.
    /// # Errors
    /// As [`Network::at`].
    pub fn shapes(&self, height: usize, width: usize) -> Result<Vec<LayerShape>, NetworkError> {
        let input = LayerShape::Map { channels: self.input.channels, height, width };
        let mut shapes: Vec<LayerShape> = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let shape = match index {
                0 => input.clone(),
                _ => self.layer_shape(layer, &shapes).map_err(|error| self.of_another_size(error, layer, [height, width]))?,
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

    /// The defect of a layer for an image of `size`. A dense layer after flattening accepts only the size of its construction.
    fn of_another_size(&self, error: NetworkError, layer: &Layer, size: [usize; 2]) -> NetworkError {
        let InputSpec { height, width, .. } = self.input;
        match error {
            NetworkError::Layer { network, layer: name, kind, reason }
                if matches!(layer.kind, LayerKind::Linear { .. }) && size != [height, width] =>
            {
                let [h, w] = size;
                let reason = format!("{reason}: its images are {height}x{width}, this one is {h}x{w}");
                NetworkError::Layer { network, layer: name, kind, reason }
            }
            other => other,
        }
    }

    /// Output shape of `layer`, given the `shapes` of the layers before it.
    pub(super) fn layer_shape(&self, layer: &Layer, shapes: &[LayerShape]) -> Result<LayerShape, NetworkError> {
        let fail = |reason: String| NetworkError::Layer {
            network: self.name.clone(),
            layer: layer.name.clone(),
            kind: layer.kind.type_name(),
            reason,
        };
        let inputs: Vec<&LayerShape> = layer
            .inputs
            .iter()
            .map(|input| shapes.get(input.0).ok_or_else(|| fail(format!("reads layer {}, which comes later", input.0))))
            .collect::<Result<_, _>>()?;
        let shape = layer.kind.output_shape(&inputs).map_err(fail)?;
        let values = shape.len().max(layer.kind.weight_len());
        match values > MOST_VALUES {
            true => Err(fail(format!("would hold {values} values, more than any memory"))),
            false => Ok(shape),
        }
    }

    /// Checks that all layers together stay within `MOST_DESIGNED` values at the network's default size. `held` counts the layers
    /// before this one; the result includes it.
    pub(super) fn held_with(
        &self,
        layer: &Layer,
        shapes: &[LayerShape],
        shape: &LayerShape,
        held: usize,
    ) -> Result<usize, NetworkError> {
        let padding = match (&layer.kind, layer.inputs.first().and_then(|input| shapes.get(input.0))) {
            (LayerKind::Conv2d(conv), Some(&LayerShape::Map { channels, height, width })) => {
                let [top, bottom, left, right] = conv.sides([height, width]);
                let around = |extent: usize, before: usize, after: usize| extent.saturating_add(before).saturating_add(after);
                product(&[channels, around(height, top, bottom), around(width, left, right)])
                    - product(&[channels, height, width])
            }
            _ => 0,
        };
        let fail = |reason: String| NetworkError::Layer {
            network: self.name.clone(),
            layer: layer.name.clone(),
            kind: layer.kind.type_name(),
            reason,
        };
        if padding > MOST_PADDING {
            return Err(fail(format!("would put {padding} zeros around its input, more than the {MOST_PADDING} that are run")));
        }
        let held = held.saturating_add(shape.len());
        match held > MOST_DESIGNED {
            true => Err(fail(format!(
                "and the layers before it would hold {held} values, more than the {MOST_DESIGNED} that are run"
            ))),
            false => Ok(held),
        }
    }

    /// [`Network::held_with`] for all layers at the network's default size.
    pub(crate) fn check_memory(&self) -> Result<(), NetworkError> {
        let shapes = self.shapes(self.input.height, self.input.width)?;
        let mut layers = self.layers.iter().zip(&shapes);
        layers.try_fold(0, |held, (layer, shape)| self.held_with(layer, &shapes, shape, held)).map(drop)
    }

    /// The smallest `[height, width]` for which every layer has an output, at most `default`.
    pub(crate) fn smallest_input(&self, [height, width]: [usize; 2]) -> [usize; 2] {
        // Extents are monotonic in the input's, per axis: a binary search is exact.
        let smallest = |largest: usize, fits: &dyn Fn(usize) -> bool| {
            let (mut low, mut high) = (1, largest);
            while low < high {
                let middle = low + (high - low) / 2;
                if fits(middle) { high = middle } else { low = middle + 1 }
            }
            low
        };
        [smallest(height, &|h| self.shapes(h, width).is_ok()), smallest(width, &|w| self.shapes(height, w).is_ok())]
    }
}

impl LayerKind {
    /// Output shape for one image. A map with an extent of 0 means that the input is too small; any other mismatch is an error
    /// message.
    pub(super) fn output_shape(&self, inputs: &[&LayerShape]) -> Result<LayerShape, String> {
        let input = match (self, inputs) {
            (Self::Add | Self::Multiply | Self::Concat, [first, _, ..]) => first,
            (Self::Add | Self::Multiply | Self::Concat, _) => {
                return Err(format!("takes two inputs or more, has {}", inputs.len()));
            }
            (_, [only]) => only,
            _ => return Err(format!("takes one input, has {}", inputs.len())),
        };
        let map = || match **input {
            LayerShape::Map { channels, height, width } => Ok([channels, height, width]),
            LayerShape::Vector { .. } => Err(format!("expects a map but gets a vector of {input}")),
        };
        match self {
            Self::Input => Err("stands where only layer 0 may".into()),
            Self::Activation(_) | Self::Softmax | Self::Dropout { .. } => Ok((*input).clone()),
            Self::Conv2d(conv) => conv.output_shape(map()?),
            Self::MaxPool2d(pool) | Self::AvgPool2d { pool, .. } => pool.output_shape(map()?),
            Self::BatchNorm2d { channels, .. } | Self::FrozenBatchNorm2d { channels, .. } | Self::PRelu { channels } => {
                expect_channels(*channels, input.channels())?;
                Ok((*input).clone())
            }
            Self::AdaptiveAvgPool2d { output: [height, width] } | Self::AdaptiveMaxPool2d { output: [height, width] } => {
                positive("output", &[*height, *width])?;
                Ok(LayerShape::Map { channels: map()?[0], height: *height, width: *width })
            }
            Self::ZeroPad2d([top, bottom, left, right]) => {
                let [channels, height, width] = map()?;
                let around = |extent: usize, before: &usize, after: &usize| extent.saturating_add(*before).saturating_add(*after);
                Ok(LayerShape::Map { channels, height: around(height, top, bottom), width: around(width, left, right) })
            }
            Self::Crop2d([top, bottom, left, right]) => {
                let [channels, height, width] = map()?;
                let within = |extent: usize, before: &usize, after: &usize| extent.saturating_sub(*before).saturating_sub(*after);
                Ok(LayerShape::Map { channels, height: within(height, top, bottom), width: within(width, left, right) })
            }
            Self::UpsampleNearest2d(factors) | Self::UpsampleBilinear2d(factors) => {
                positive("factor", factors)?;
                let [channels, height, width] = map()?;
                Ok(LayerShape::Map { channels, height: product(&[height, factors[0]]), width: product(&[width, factors[1]]) })
            }
            Self::Unflatten { shape: [channels, height, width] } => {
                positive("shape", &[*channels, *height, *width])?;
                let shape = LayerShape::Map { channels: *channels, height: *height, width: *width };
                match input.len() == shape.len() {
                    true => Ok(shape),
                    false => Err(format!("makes {shape} of {input}, which has another number of values")),
                }
            }
            Self::Flatten => Ok(LayerShape::Vector { features: input.len() }),
            Self::Linear { in_features, out_features, .. } => {
                positive("out_features", &[*out_features])?;
                match input {
                    LayerShape::Map { .. } => Err(format!("expects a vector but gets a map of {input}: flatten it first")),
                    LayerShape::Vector { features } if features != in_features => {
                        Err(format!("expects {in_features} features but gets {features}"))
                    }
                    LayerShape::Vector { .. } => Ok(LayerShape::Vector { features: *out_features }),
                }
            }
            Self::BinaryLogits => match input {
                LayerShape::Vector { features: 1 } => Ok(LayerShape::Vector { features: 2 }),
                _ => Err(format!("expects one feature but gets {input}")),
            },
            Self::PadShortcut { stride, out_channels } => {
                let [channels, height, width] = map()?;
                positive("stride", &[*stride])?;
                if *out_channels < channels || !(out_channels - channels).is_multiple_of(2) {
                    return Err(format!("cannot pad {channels} channels to {out_channels} with as many on either side"));
                }
                let [height, width] = [height.div_ceil(*stride), width.div_ceil(*stride)];
                Ok(LayerShape::Map { channels: *out_channels, height, width })
            }
            Self::Add | Self::Multiply | Self::Concat => join(self, inputs),
        }
    }
}

impl Conv2d {
    fn output_shape(&self, [channels, height, width]: [usize; 3]) -> Result<LayerShape, String> {
        positive("out_channels", &[self.out_channels])?;
        positive("kernel", &self.kernel)?;
        step("stride", &self.stride)?;
        step("dilation", &self.dilation)?;
        positive("groups", &[self.groups])?;
        for (what, channels) in [("input", self.in_channels), ("output", self.out_channels)] {
            if !channels.is_multiple_of(self.groups) {
                return Err(format!("{} groups do not divide {channels} {what} channels", self.groups));
            }
        }
        expect_channels(self.in_channels, channels)?;
        let span = |axis: usize| product(&[self.dilation[axis], self.kernel[axis] - 1]).saturating_add(1);
        let [top, bottom, left, right] = self.sides([height, width]);
        Ok(LayerShape::Map {
            channels: self.out_channels,
            height: windows(height, [top, bottom], span(0), self.stride[0]),
            width: windows(width, [left, right], span(1), self.stride[1]),
        })
    }
}

impl Pool2d {
    fn output_shape(&self, [channels, height, width]: [usize; 3]) -> Result<LayerShape, String> {
        positive("kernel", &self.kernel)?;
        step("stride", &self.stride)?;
        // The maximum map size keeps the sums of the kernels' rule from overflowing.
        let size = [height, width].map(|extent| extent.min(MOST_VALUES));
        let sides @ [top, bottom, left, right] = self.sides(size);
        let [kh, kw] = self.kernel;
        // A window entirely in the padding would have no maximum and no mean.
        if top.max(bottom) >= kh || left.max(right) >= kw || sides.iter().any(|&side| side > MOST_VALUES) {
            return Err(format!("padding {sides:?} must be smaller than kernel {:?}", self.kernel));
        }
        // Axes are checked separately, as one alone may have no window.
        let along = |axis: usize| {
            let [extent, kernel, stride] = [size, self.kernel, self.stride].map(|pair| [pair[axis]; 2]);
            let [before, after] = [sides[2 * axis], sides[2 * axis + 1]];
            let padding = [before, after, before, after];
            let windows = Windows::Sliding { kernel, stride, padding, ceil: self.ceil, count_padding: false };
            PoolSpec { planes: 1, h: extent[0], w: extent[1], windows }.out_size().map_or(0, |[count, _]| count)
        };
        Ok(LayerShape::Map { channels, height: along(0), width: along(1) })
    }
}

fn positive(what: &str, numbers: &[usize]) -> Result<(), String> {
    match numbers.contains(&0) {
        true => Err(format!("{what} must be at least 1")),
        false => Ok(()),
    }
}

fn step(what: &str, numbers: &[usize]) -> Result<(), String> {
    positive(what, numbers)?;
    match numbers.iter().find(|&&n| n > MOST_STEP) {
        Some(n) => Err(format!("{what} {n} is above {MOST_STEP}, the largest that is run")),
        None => Ok(()),
    }
}

/// Number of windows of `span` pixels along an axis, 0 if none fits.
fn windows(extent: usize, [before, after]: [usize; 2], span: usize, stride: usize) -> usize {
    let padded = extent.saturating_add(before).saturating_add(after);
    match padded.checked_sub(span) {
        Some(room) if extent > 0 => room / stride + 1,
        _ => 0,
    }
}

fn expect_channels(wanted: usize, channels: usize) -> Result<(), String> {
    match wanted == channels {
        true => Ok(()),
        false => Err(format!("expects {wanted} channels but gets {channels}")),
    }
}

/// Shape of the sum, product or concatenation of `inputs`.
fn join(kind: &LayerKind, inputs: &[&LayerShape]) -> Result<LayerShape, String> {
    let mut joined = inputs[0].clone();
    for next in &inputs[1..] {
        let misfit = || format!("cannot join {joined} and {next}");
        match (kind, &joined, next) {
            (LayerKind::Concat, LayerShape::Vector { features }, LayerShape::Vector { features: more }) => {
                joined = LayerShape::Vector { features: features.saturating_add(*more) };
            }
            (LayerKind::Concat, LayerShape::Map { channels, height, width }, LayerShape::Map { channels: more, .. })
                if joined.spatial() == next.spatial() =>
            {
                let channels = channels.saturating_add(*more);
                joined = LayerShape::Map { channels, height: *height, width: *width };
            }
            (LayerKind::Concat, ..) => return Err(misfit()),
            // One value per channel, such as a squeeze-and-excitation gate.
            (LayerKind::Multiply, _, _) if joined.channels() == next.channels() && next.spatial() == Some([1, 1]) => {}
            (LayerKind::Multiply, _, _) if joined.channels() == next.channels() && joined.spatial() == Some([1, 1]) => {
                joined = (*next).clone();
            }
            _ if joined != **next => return Err(misfit()),
            _ => {}
        }
    }
    Ok(joined)
}
