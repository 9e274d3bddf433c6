//! One Keras layer to one or more layers of a network.

use super::activations;
use super::fields::KerasSpec;
use super::graph::LayerCall;
use super::translate::{KerasTranslator, KerasValue};
use super::weights::{BIAS, DEPTHWISE, KERNEL, MEAN, POINTWISE, SCALE, SHIFT, VARIANCE};
use crate::formats::Layout;
use crate::formats::import::global_pool;
use crate::image::Normalization;
use crate::network::{Conv2d, LayerId, LayerKind, Padding, Pool2d};

impl KerasTranslator {
    /// Adds the translation of a Keras layer.
    pub fn layer(&mut self, call: &LayerCall, inputs: &[&KerasValue]) -> Result<KerasValue, String> {
        let spec: &KerasSpec = &call.spec;
        if let "Add" | "Subtract" | "Multiply" | "Average" | "Concatenate" = spec.class.as_str() {
            return self.merge(spec, inputs);
        }
        let [x] = inputs else {
            return Err(spec.error(format!("reads {} layers; a layer of this kind that reads one is known", inputs.len())));
        };
        if let Some(kind) = activations::layer(spec) {
            let kind = kind?;
            if kind == LayerKind::Softmax {
                self.channel_axis(spec, x.id)?;
            }
            return self.elementwise(spec, x, kind);
        }
        match spec.class.as_str() {
            "Conv2D" => self.conv(call, x),
            "DepthwiseConv2D" => self.depthwise(call, x),
            "SeparableConv2D" => self.separable(call, x),
            "Dense" => self.dense(call, x),
            "BatchNormalization" => self.batch_norm(call, x),
            "Normalization" => self.normalization(call, x),
            "PReLU" => self.prelu(call, x),
            "MaxPooling2D" | "AveragePooling2D" => self.pool(spec, x),
            "GlobalAveragePooling2D" | "GlobalMaxPooling2D" => self.global_pool(spec, x),
            "Activation" => match activations::activation(spec, self.state.keras_3)? {
                Some(kind) => {
                    if kind == LayerKind::Softmax {
                        self.channel_axis(spec, x.id)?;
                    }
                    self.elementwise(spec, x, kind)
                }
                None => Ok((*x).clone()),
            },
            "Dropout" | "SpatialDropout2D" => {
                let p = spec.real_or("rate", 0.5)?;
                let id = self.net.dropout(&spec.name, x.id, p);
                Ok(KerasValue { id, ..(*x).clone() })
            }
            "Flatten" => self.flatten(spec, x),
            "Reshape" => self.reshape(spec, x),
            "ZeroPadding2D" | "Cropping2D" => self.edge(spec, x),
            "UpSampling2D" => self.up_sampling(spec, x),
            "Rescaling" => self.rescaling(spec, x),
            // These layers act in training only.
            "GaussianNoise"
            | "GaussianDropout"
            | "AlphaDropout"
            | "ActivityRegularization"
            | "RandomFlip"
            | "RandomRotation"
            | "RandomZoom"
            | "RandomTranslation"
            | "RandomContrast"
            | "RandomBrightness"
            // The layer bears the name of its output.
            | "InputLayer"
            | "Identity" => Ok((*x).clone()),
            _ => Err(spec.error("is of a kind that is not known here")),
        }
    }

    /// The layer's activation, unless it is the output activation: networks end in logits.
    fn own_activation(&mut self, spec: &KerasSpec, x: LayerId) -> Result<Option<LayerKind>, String> {
        let Some(kind) = activations::activation(spec, self.state.keras_3)? else { return Ok(None) };
        if kind == LayerKind::Softmax {
            self.channel_axis(spec, x)?;
        }
        Ok(if self.leaves_to_head(x, &kind) { None } else { Some(kind) })
    }

    /// Whether an activation after `x` is the output activation. A model whose output is a map has none.
    fn leaves_to_head(&mut self, x: LayerId, kind: &LayerKind) -> bool {
        let ends = self.state.position.ends && self.net.spatial(x).is_none();
        self.is_output_activation(kind, ends)
    }

    /// Adds `kinds` and the activation; returns the first layer and the value of the last.
    fn with_activation(
        &mut self,
        spec: &KerasSpec,
        x: LayerId,
        kinds: Vec<(&str, LayerKind)>,
    ) -> Result<(Vec<LayerId>, KerasValue), String> {
        let mut kinds = kinds;
        let activation = self.own_activation(spec, x)?;
        let name = activation.as_ref().map(|kind| kind.type_name().to_ascii_lowercase());
        kinds.extend(activation.map(|kind| (name.as_deref().unwrap_or_default(), kind)));
        let ids = self.chain(spec, x, kinds);
        let output = *ids.last().unwrap_or(&x);
        let value = match self.net.spatial(output) {
            Some(_) => KerasValue::map(output),
            None => KerasValue::vector(output, self.net.channels(output)),
        };
        Ok((ids, value))
    }

    /// A convolution with the settings that all kinds share, still without filters.
    fn geometry(&self, spec: &KerasSpec, x: &KerasValue) -> Result<Conv2d, String> {
        let [kernel, stride] = [spec.pair_or("kernel_size", [0; 2])?, spec.pair_or("strides", [1; 2])?];
        let dilation = spec.pair_or("dilation_rate", [1; 2])?;
        let padding = padding(spec)?;
        self.map_size(spec, x)?;
        let (in_channels, bias) = (self.net.channels(x.id), spec.flag_or("use_bias", true)?);
        Ok(Conv2d { in_channels, out_channels: 0, kernel, stride, padding, dilation, groups: 1, bias })
    }

    /// `[height, width]` of the input of a layer with a `data_format`.
    pub fn map_size(&self, spec: &KerasSpec, x: &KerasValue) -> Result<[usize; 2], String> {
        if spec.channels_first()? != self.state.channels_first {
            let format = spec.word_or("data_format", "channels_last")?;
            return Err(spec.error(format!("has data_format {format:?}, unlike the layers before it")));
        }
        self.net.spatial(x.id).ok_or_else(|| spec.error("expects a map but gets a vector"))
    }

    fn conv(&mut self, call: &LayerCall, x: &KerasValue) -> Result<KerasValue, String> {
        let spec: &KerasSpec = &call.spec;
        let (out_channels, groups) = (spec.count("filters")?, spec.count_or("groups", 1)?);
        let conv = Conv2d { out_channels, groups, ..self.geometry(spec, x)? };
        let bias = conv.bias;
        let (ids, value) = self.with_activation(spec, x.id, vec![("conv", LayerKind::Conv2d(conv))])?;
        self.weight(call, ids[0], "weight", (KERNEL, 0), Layout::Hwio);
        if bias {
            self.weight(call, ids[0], "bias", (BIAS, 1), Layout::Same);
        }
        Ok(value)
    }

    /// A depthwise convolution.
    fn channelwise(&self, spec: &KerasSpec, x: &KerasValue) -> Result<Conv2d, String> {
        let conv = self.geometry(spec, x)?;
        let out_channels = conv.in_channels.saturating_mul(spec.count_or("depth_multiplier", 1)?);
        Ok(Conv2d { out_channels, groups: conv.in_channels, ..conv })
    }

    fn depthwise(&mut self, call: &LayerCall, x: &KerasValue) -> Result<KerasValue, String> {
        let spec: &KerasSpec = &call.spec;
        let conv = self.channelwise(spec, x)?;
        let bias = conv.bias;
        let (ids, value) = self.with_activation(spec, x.id, vec![("conv", LayerKind::Conv2d(conv))])?;
        self.weight(call, ids[0], "weight", (DEPTHWISE, 0), Layout::Hwcm);
        if bias {
            self.weight(call, ids[0], "bias", (BIAS, 1), Layout::Same);
        }
        Ok(value)
    }

    fn separable(&mut self, call: &LayerCall, x: &KerasValue) -> Result<KerasValue, String> {
        let spec: &KerasSpec = &call.spec;
        let depthwise = self.channelwise(spec, x)?.without_bias();
        let (filters, bias) = (spec.count("filters")?, spec.flag_or("use_bias", true)?);
        let pointwise = Conv2d { in_channels: depthwise.out_channels, bias, ..Conv2d::new(filters, 1) };
        let kinds = vec![("depthwise", LayerKind::Conv2d(depthwise)), ("pointwise", LayerKind::Conv2d(pointwise))];
        let (ids, value) = self.with_activation(spec, x.id, kinds)?;
        self.weight(call, ids[0], "weight", (DEPTHWISE, 0), Layout::Hwcm);
        self.weight(call, ids[1], "weight", (POINTWISE, 1), Layout::Hwio);
        if bias {
            self.weight(call, ids[1], "bias", (BIAS, 2), Layout::Same);
        }
        Ok(value)
    }

    /// A dense layer. On a feature map, where Keras applies it to each pixel, it is a 1x1 convolution.
    fn dense(&mut self, call: &LayerCall, x: &KerasValue) -> Result<KerasValue, String> {
        let spec: &KerasSpec = &call.spec;
        if self.state.channels_first && self.net.spatial(x.id).is_some() {
            return Err(spec.error("works along the rows of a map whose channels come first"));
        }
        let (units, bias) = (spec.count("units")?, spec.flag_or("use_bias", true)?);
        let in_features = self.net.channels(x.id);
        let (kind, maps) = match self.net.spatial(x.id) {
            None => (LayerKind::Linear { in_features, out_features: units, bias }, x.maps.clone()),
            Some(_) => {
                let conv = Conv2d { in_channels: in_features, bias, ..Conv2d::new(units, 1) };
                (LayerKind::Conv2d(conv), vec![[in_features, 1, 1]])
            }
        };
        let (ids, value) = self.with_activation(spec, x.id, vec![("dense", kind)])?;
        self.weight(call, ids[0], "weight", (KERNEL, 0), Layout::Dense(maps));
        if bias {
            self.weight(call, ids[0], "bias", (BIAS, 1), Layout::Same);
        }
        Ok(value)
    }

    fn batch_norm(&mut self, call: &LayerCall, x: &KerasValue) -> Result<KerasValue, String> {
        let spec: &KerasSpec = &call.spec;
        self.channel_axis(spec, x.id)?;
        let (eps, momentum) = (spec.real_or("epsilon", 1e-3)?, 1.0 - spec.real_or("momentum", 0.99)?);
        let (scale, shift) = (spec.flag_or("scale", true)?, spec.flag_or("center", true)?);
        let channels = self.net.channels(x.id);
        let id = self.net.layer(&spec.name, LayerKind::BatchNorm2d { channels, eps, momentum, scale, shift }, &[x.id]);
        // Keras numbers the present variables in this order.
        let statistics = usize::from(scale) + usize::from(shift);
        let mean = (MEAN, statistics);
        let layout = self.channelwise_layout(x);
        match scale {
            true => self.weight(call, id, "weight", (SCALE, 0), layout.clone()),
            false => self.weight(call, id, "weight", mean, Layout::Filled(1.0)),
        }
        match shift {
            true => self.weight(call, id, "bias", (SHIFT, usize::from(scale)), layout.clone()),
            false => self.weight(call, id, "bias", mean, Layout::Filled(0.0)),
        }
        self.weight(call, id, "running_mean", mean, layout.clone());
        self.weight(call, id, "running_var", (VARIANCE, statistics + 1), layout);
        Ok(KerasValue { id, ..x.clone() })
    }

    /// The layout of a vector with one value per channel or feature.
    fn channelwise_layout(&self, x: &KerasValue) -> Layout {
        match self.net.spatial(x.id) {
            Some(_) => Layout::Flat(vec![[self.net.channels(x.id), 1, 1]]),
            None => Layout::Flat(x.maps.clone()),
        }
    }

    /// `(x - mean) / sqrt(variance)`, with statistics from the file or the settings.
    fn normalization(&mut self, call: &LayerCall, x: &KerasValue) -> Result<KerasValue, String> {
        let spec: &KerasSpec = &call.spec;
        self.channel_axis(spec, x.id)?;
        if spec.flag_or("invert", false)? {
            return Err(spec.error("is inverted, which no layer here is"));
        }
        let channels = self.net.channels(x.id);
        let given = [spec.reals("mean", channels)?, spec.reals("variance", channels)?];
        let measured = given.contains(&None);
        // Keras clamps the deviation to at least 1e-7.
        let kind = LayerKind::FrozenBatchNorm2d { channels, eps: 1e-14, measured };
        let id = self.net.layer(&spec.name, kind, &[x.id]);
        self.given(id, [("weight", vec![1.0; channels]), ("bias", vec![0.0; channels])]);
        if let [Some(mean), Some(variance)] = given {
            self.given(id, [("running_mean", mean), ("running_var", variance)]);
        } else {
            let layout = self.channelwise_layout(x);
            self.weight(call, id, "running_mean", (&["mean"], 0), layout.clone());
            self.weight(call, id, "running_var", (&["variance"], 1), layout);
        }
        Ok(KerasValue { id, ..x.clone() })
    }

    fn prelu(&mut self, call: &LayerCall, x: &KerasValue) -> Result<KerasValue, String> {
        let spec: &KerasSpec = &call.spec;
        let shared = spec.get("shared_axes").map(ToString::to_string);
        let pixels = if self.state.channels_first { "[2,3]" } else { "[1,2]" };
        if self.net.spatial(x.id).is_some() && shared.as_deref() != Some(pixels) {
            return Err(spec.error(format!("has a slope for each pixel; with shared_axes {pixels} it is known")));
        }
        let id = self.net.layer(&spec.name, LayerKind::PRelu { channels: self.net.channels(x.id) }, &[x.id]);
        self.weight(call, id, "weight", (&["alpha", "alphas"], 0), self.channelwise_layout(x));
        Ok(KerasValue { id, ..x.clone() })
    }

    fn pool(&mut self, spec: &KerasSpec, x: &KerasValue) -> Result<KerasValue, String> {
        let is_max = spec.class.starts_with("Max");
        let kernel = spec.pair_or("pool_size", [2; 2])?;
        let stride = spec.pair_or("strides", kernel)?;
        self.map_size(spec, x)?;
        let pool = Pool2d { kernel, stride, padding: padding(spec)?, ceil: false };
        let kind = match is_max {
            true => LayerKind::MaxPool2d(pool),
            false => LayerKind::AvgPool2d { pool, count_include_pad: false },
        };
        let id = self.net.layer(&spec.name, kind, &[x.id]);
        Ok(KerasValue::map(id))
    }

    fn global_pool(&mut self, spec: &KerasSpec, x: &KerasValue) -> Result<KerasValue, String> {
        self.map_size(spec, x)?;
        let channels = self.net.channels(x.id);
        let mut kinds = vec![("pool", global_pool(spec.class.contains("Max")))];
        let keeps_map = spec.flag_or("keepdims", false)?;
        if !keeps_map {
            kinds.push(("flatten", LayerKind::Flatten));
        }
        let ids = self.chain(spec, x.id, kinds);
        let id = *ids.last().unwrap_or(&x.id);
        Ok(if keeps_map { KerasValue::map(id) } else { KerasValue::vector(id, channels) })
    }

    fn elementwise(&mut self, spec: &KerasSpec, x: &KerasValue, kind: LayerKind) -> Result<KerasValue, String> {
        if self.leaves_to_head(x.id, &kind) {
            return Ok(x.clone());
        }
        let id = self.net.layer(&spec.name, kind, &[x.id]);
        Ok(KerasValue { id, ..x.clone() })
    }

    /// `x * scale + offset`. As the first layer, it is the image preparation.
    fn rescaling(&mut self, spec: &KerasSpec, x: &KerasValue) -> Result<KerasValue, String> {
        let channels = self.net.channels(x.id);
        let [scale, offset] = [("scale", 1.0), ("offset", 0.0)].map(|(key, default)| -> Result<_, String> {
            Ok(spec.reals(key, channels)?.unwrap_or_else(|| vec![default; channels]))
        });
        let (scale, offset) = (scale?, offset?);
        let uniform = |values: &[f64]| values.iter().all(|v| *v == values[0]);
        let is_uniform = uniform(&scale) && uniform(&offset);
        if self.state.channels_first && !is_uniform {
            return Err(spec.error("has numbers along the rows of a map whose channels come first"));
        }
        if self.state.position.leads && x.id == LayerId::INPUT && self.normalization.is_none() && is_uniform && scale[0] != 0.0 {
            let (scale, mean) = ((1.0 / scale[0]) as f32, [-offset[0] as f32; 3]);
            self.normalization = Some(Normalization { scale, mean, ..Normalization::UNIT });
            return Ok(x.clone());
        }
        // A network that rescales its input takes bytes.
        if x.id == LayerId::INPUT {
            self.normalization.get_or_insert(Normalization::BYTES);
        }
        let id = self.scale_and_shift(&spec.name, x.id, scale, offset);
        Ok(KerasValue { id, ..x.clone() })
    }

    /// Checks that a layer's `axis`, by default the last one, is the channel axis.
    pub fn channel_axis(&self, spec: &KerasSpec, x: LayerId) -> Result<(), String> {
        let last = serde_json::Value::from(-1);
        let value = spec.get("axis").unwrap_or(&last);
        let only = value.as_array().and_then(|list| if let [only] = &list[..] { Some(only) } else { None });
        let channels = match self.net.spatial(x) {
            Some(_) if self.state.channels_first => [1, -3],
            Some(_) => [3, -1],
            None => [1, -1],
        };
        match only.unwrap_or(value).as_i64() {
            Some(axis) if channels.contains(&axis) => Ok(()),
            _ => {
                let [axis, _] = channels;
                let found = crate::text::one_line(value);
                Err(spec.error(format!("works along axis {found}; only the channels, axis {axis}, are read")))
            }
        }
    }
}

/// The `padding` setting.
fn padding(spec: &KerasSpec) -> Result<Padding, String> {
    match spec.word_or("padding", "valid")?.to_ascii_lowercase().as_str() {
        "valid" => Ok(Padding::NONE),
        "same" => Ok(Padding::Same),
        other => Err(spec.error(format!("has padding {other:?}, expects valid or same"))),
    }
}
