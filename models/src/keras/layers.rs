//! One Keras layer to one layer or a few of a network.

use super::fields::Spec;
use super::translate::{Translator, Value};
use crate::network::{Conv2d, Head, LayerId, LayerKind, Padding, Pool2d};
use crate::preprocess::Normalization;
use crate::weights::Layout;
use convscope_engine::Unary;
use serde_json::Value as Json;

/// An activation by Keras's name; `None` for the identity.
fn activation(spec: &Spec) -> Result<Option<LayerKind>, String> {
    let Some(value) = spec.get("activation") else { return Ok(None) };
    // Keras 3 has had functions as objects too.
    let name = value.as_str().or_else(|| value.get("config")?.as_str()).unwrap_or("of another kind");
    Ok(Some(match name {
        "linear" => return Ok(None),
        "relu" => LayerKind::Activation(Unary::Relu),
        "relu6" => LayerKind::Activation(Unary::Relu6),
        "leaky_relu" => LayerKind::Activation(Unary::LeakyRelu(0.2)),
        "sigmoid" => LayerKind::Activation(Unary::Sigmoid),
        "softmax" => LayerKind::Softmax,
        other => {
            let other = crate::text::one_line(other);
            return Err(spec
                .error(format!("has the activation {other:?}; linear, relu, relu6, leaky_relu, sigmoid and softmax are known")));
        }
    }))
}

impl Translator<'_> {
    /// Adds what the Keras layer at `place` of the graph is.
    pub fn layer(&mut self, place: usize, spec: &Spec, inputs: &[&Value]) -> Result<Value, String> {
        if let "Add" | "Multiply" | "Concatenate" = spec.class.as_str() {
            return self.merge(spec, inputs);
        }
        let [x] = inputs else {
            return Err(spec.error(format!("reads {} layers; a layer of this kind that reads one is known", inputs.len())));
        };
        match spec.class.as_str() {
            "Conv2D" | "Convolution2D" => self.conv(spec, x),
            "DepthwiseConv2D" => self.depthwise(spec, x),
            "SeparableConv2D" | "SeparableConvolution2D" => self.separable(spec, x),
            "Dense" => self.dense(spec, x),
            "BatchNormalization" => self.batch_norm(spec, x),
            "MaxPooling2D" | "MaxPool2D" | "AveragePooling2D" | "AvgPool2D" => self.pool(spec, x),
            "GlobalAveragePooling2D" | "GlobalAvgPool2D" | "GlobalMaxPooling2D" | "GlobalMaxPool2D" => self.global_pool(spec, x),
            "Activation" => match activation(spec)? {
                Some(kind) => self.elementwise(spec, x, kind),
                None => Ok((*x).clone()),
            },
            "ReLU" => {
                let kind = relu(spec)?;
                self.elementwise(spec, x, kind)
            }
            "LeakyReLU" => {
                let slope = spec.real_or("negative_slope", spec.real_or("alpha", 0.3)?)?;
                self.elementwise(spec, x, LayerKind::Activation(Unary::LeakyRelu(slope)))
            }
            "Softmax" => {
                self.last_axis(spec, x)?;
                self.elementwise(spec, x, LayerKind::Softmax)
            }
            "Dropout" | "SpatialDropout2D" => {
                let p = spec.real_or("rate", spec.real_or("p", 0.5)?)?;
                let id = self.net.dropout(&spec.name, x.id, p);
                Ok(Value { id, ..(*x).clone() })
            }
            "Flatten" => self.flatten(spec, x),
            "Reshape" => match spec.get("target_shape").and_then(Json::as_array).map(Vec::len) {
                Some(1) => self.flatten(spec, x),
                _ => Err(spec.error("makes another shape than one vector, which no layer here does")),
            },
            "ZeroPadding2D" => {
                spec.channels_last()?;
                let id = self.net.layer(&spec.name, LayerKind::ZeroPad2d(spec.sides("padding")?), &[x.id]);
                Ok(Value::map(id))
            }
            "Rescaling" => self.rescaling(place, spec, x),
            // They do something in training only.
            "GaussianNoise"
            | "GaussianDropout"
            | "AlphaDropout"
            | "ActivityRegularization"
            | "RandomFlip"
            | "RandomRotation"
            | "RandomZoom"
            | "RandomTranslation"
            | "RandomContrast"
            | "RandomBrightness" => Ok((*x).clone()),
            _ => {
                let last = self.graph.layers.len() - 1;
                Err(spec.error(format!("is of a kind that is not known here; it is layer {place} of {last} after the input")))
            }
        }
    }

    /// Whether this is the layer whose output is the model's.
    fn is_output(&self, spec: &Spec) -> bool {
        self.graph.layers.last().is_some_and(|last| last.name == spec.name)
    }

    /// The layer's activation, unless it is the network's head: networks end in logits.
    fn own_activation(&mut self, spec: &Spec) -> Result<Option<LayerKind>, String> {
        let kind = activation(spec)?;
        Ok(kind.filter(|kind| !self.is_head(spec, kind)))
    }

    fn is_head(&mut self, spec: &Spec, kind: &LayerKind) -> bool {
        let head = match kind {
            LayerKind::Softmax => Head::Softmax,
            LayerKind::Activation(Unary::Sigmoid) => Head::Sigmoid,
            _ => return false,
        };
        let is_output = self.is_output(spec);
        if is_output {
            self.head = Some(head);
        }
        is_output
    }

    /// Adds `kinds` and the activation, and says which layer is the first and what comes out of the last.
    fn with_activation(
        &mut self,
        spec: &Spec,
        x: LayerId,
        kinds: Vec<(&str, LayerKind)>,
    ) -> Result<(Vec<LayerId>, Value), String> {
        let mut kinds = kinds;
        let activation = self.own_activation(spec)?;
        let name = activation.as_ref().map(|kind| kind.type_name().to_ascii_lowercase());
        kinds.extend(activation.map(|kind| (name.as_deref().unwrap_or_default(), kind)));
        let places = self.chain(spec, x, kinds);
        let output = *places.last().unwrap_or(&x);
        let value = match self.net.spatial(output) {
            Some(_) => Value::map(output),
            None => Value::vector(output, self.net.channels(output)),
        };
        Ok((places, value))
    }

    /// A convolution with the settings that all kinds share; it still lacks its filters.
    fn geometry(&self, spec: &Spec, x: &Value) -> Result<Conv2d, String> {
        spec.channels_last()?;
        let [kernel, stride] = [spec.pair_or("kernel_size", [0; 2])?, spec.pair_or("strides", [1; 2])?];
        let dilation = spec.pair_or("dilation_rate", [1; 2])?;
        let padding = padding(spec)?;
        self.map_size(spec, x)?;
        let (in_channels, bias) = (self.net.channels(x.id), spec.flag_or("use_bias", true)?);
        Ok(Conv2d { in_channels, out_channels: 0, kernel, stride, padding, dilation, groups: 1, bias })
    }

    fn map_size(&self, spec: &Spec, x: &Value) -> Result<[usize; 2], String> {
        self.net.spatial(x.id).ok_or_else(|| spec.error("wants a map but gets a vector"))
    }

    fn conv(&mut self, spec: &Spec, x: &Value) -> Result<Value, String> {
        let (out_channels, groups) = (spec.count("filters")?, spec.count_or("groups", 1)?);
        let conv = Conv2d { out_channels, groups, ..self.geometry(spec, x)? };
        let bias = conv.bias;
        let (places, value) = self.with_activation(spec, x.id, vec![("conv", LayerKind::Conv2d(conv))])?;
        self.weight(spec, places[0], "weight", &["kernel"], Layout::Hwio);
        if bias {
            self.weight(spec, places[0], "bias", &["bias"], Layout::Same);
        }
        Ok(value)
    }

    /// The convolution of each channel for itself.
    fn channelwise(&self, spec: &Spec, x: &Value) -> Result<Conv2d, String> {
        let conv = self.geometry(spec, x)?;
        let out_channels = conv.in_channels.saturating_mul(spec.count_or("depth_multiplier", 1)?);
        Ok(Conv2d { out_channels, groups: conv.in_channels, ..conv })
    }

    fn depthwise(&mut self, spec: &Spec, x: &Value) -> Result<Value, String> {
        let conv = self.channelwise(spec, x)?;
        let bias = conv.bias;
        let (places, value) = self.with_activation(spec, x.id, vec![("conv", LayerKind::Conv2d(conv))])?;
        self.weight(spec, places[0], "weight", &["depthwise_kernel", "kernel"], Layout::Hwcm);
        if bias {
            self.weight(spec, places[0], "bias", &["bias"], Layout::Same);
        }
        Ok(value)
    }

    fn separable(&mut self, spec: &Spec, x: &Value) -> Result<Value, String> {
        let depthwise = self.channelwise(spec, x)?.without_bias();
        let (filters, bias) = (spec.count("filters")?, spec.flag_or("use_bias", true)?);
        let pointwise = Conv2d { in_channels: depthwise.out_channels, bias, ..Conv2d::new(filters, 1) };
        let kinds = vec![("depthwise", LayerKind::Conv2d(depthwise)), ("pointwise", LayerKind::Conv2d(pointwise))];
        let (places, value) = self.with_activation(spec, x.id, kinds)?;
        self.weight(spec, places[0], "weight", &["depthwise_kernel"], Layout::Hwcm);
        self.weight(spec, places[1], "weight", &["pointwise_kernel"], Layout::Hwio);
        if bias {
            self.weight(spec, places[1], "bias", &["bias"], Layout::Same);
        }
        Ok(value)
    }

    /// A dense layer; on a map, where Keras applies it to each pixel, a 1x1 convolution.
    fn dense(&mut self, spec: &Spec, x: &Value) -> Result<Value, String> {
        let (units, bias) = (spec.count("units")?, spec.flag_or("use_bias", true)?);
        let in_features = self.net.channels(x.id);
        let (kind, maps) = match self.net.spatial(x.id) {
            None => (LayerKind::Linear { in_features, out_features: units, bias }, x.maps.clone()),
            Some(_) => {
                let conv = Conv2d { in_channels: in_features, bias, ..Conv2d::new(units, 1) };
                (LayerKind::Conv2d(conv), vec![[in_features, 1, 1]])
            }
        };
        let (places, value) = self.with_activation(spec, x.id, vec![("dense", kind)])?;
        self.weight(spec, places[0], "weight", &["kernel"], Layout::Dense(maps));
        if bias {
            self.weight(spec, places[0], "bias", &["bias"], Layout::Same);
        }
        Ok(value)
    }

    fn batch_norm(&mut self, spec: &Spec, x: &Value) -> Result<Value, String> {
        self.last_axis(spec, x)?;
        let x = x.id;
        let (eps, momentum) = (spec.real_or("epsilon", 1e-3)?, 1.0 - spec.real_or("momentum", 0.99)?);
        let id = self.net.layer(&spec.name, LayerKind::BatchNorm2d { channels: self.net.channels(x), eps, momentum }, &[x]);
        const MEAN: &[&str] = &["moving_mean", "running_mean"];
        match spec.flag_or("scale", true)? {
            true => self.weight(spec, id, "weight", &["gamma"], Layout::Same),
            false => self.weight(spec, id, "weight", MEAN, Layout::Filled(1.0)),
        }
        match spec.flag_or("center", true)? {
            true => self.weight(spec, id, "bias", &["beta"], Layout::Same),
            false => self.weight(spec, id, "bias", MEAN, Layout::Filled(0.0)),
        }
        self.weight(spec, id, "running_mean", MEAN, Layout::Same);
        self.weight(spec, id, "running_var", &["moving_variance", "running_std"], Layout::Same);
        Ok(Value::map(id))
    }

    fn pool(&mut self, spec: &Spec, x: &Value) -> Result<Value, String> {
        spec.channels_last()?;
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
        Ok(Value::map(id))
    }

    fn global_pool(&mut self, spec: &Spec, x: &Value) -> Result<Value, String> {
        spec.channels_last()?;
        self.map_size(spec, x)?;
        let channels = self.net.channels(x.id);
        let pool = match spec.class.contains("Max") {
            true => LayerKind::AdaptiveMaxPool2d { output: [1, 1] },
            false => LayerKind::AdaptiveAvgPool2d { output: [1, 1] },
        };
        let mut kinds = vec![("pool", pool)];
        let keeps_map = spec.flag_or("keepdims", false)?;
        if !keeps_map {
            kinds.push(("flatten", LayerKind::Flatten));
        }
        let places = self.chain(spec, x.id, kinds);
        let id = *places.last().unwrap_or(&x.id);
        Ok(if keeps_map { Value::map(id) } else { Value::vector(id, channels) })
    }

    fn elementwise(&mut self, spec: &Spec, x: &Value, kind: LayerKind) -> Result<Value, String> {
        if self.is_head(spec, &kind) {
            return Ok(x.clone());
        }
        let id = self.net.layer(&spec.name, kind, &[x.id]);
        Ok(Value { id, ..x.clone() })
    }

    fn flatten(&mut self, spec: &Spec, x: &Value) -> Result<Value, String> {
        spec.channels_last()?;
        let (id, channels) = (x.id, self.net.channels(x.id));
        Ok(match self.net.spatial(id) {
            None => x.clone(),
            Some([h, w]) => {
                let id = self.net.flatten(&spec.name, id);
                Value { maps: vec![[channels, h, w]], ..Value::map(id) }
            }
        })
    }

    /// The photo's bytes times a number plus another: how photos are prepared, not a layer.
    fn rescaling(&mut self, place: usize, spec: &Spec, x: &Value) -> Result<Value, String> {
        let (before, after) = self.graph.layers.split_at(place + 1);
        let leads = before.iter().enumerate().skip(1).all(|(i, layer)| layer.inputs == [i - 1])
            && after.iter().all(|layer| layer.inputs.iter().all(|&read| read >= place));
        let (scale, offset) = (spec.real_or("scale", 1.0)?, spec.real_or("offset", 0.0)?);
        if !leads || x.id != LayerId::INPUT || self.normalization.is_some() || scale == 0.0 {
            return Err(spec.error("is read only once and before all other layers, with a scale other than 0"));
        }
        let normalization = Normalization { scale: (1.0 / scale) as f32, mean: [-offset as f32; 3], ..Normalization::UNIT };
        self.normalization = Some(normalization);
        Ok(x.clone())
    }

    /// That a layer with an `axis` works along the channels.
    pub fn last_axis(&self, spec: &Spec, x: &Value) -> Result<(), String> {
        let Some(value) = spec.get("axis") else { return Ok(()) };
        let only = value.as_array().and_then(|list| if let [only] = &list[..] { Some(only) } else { None });
        let last = if self.net.spatial(x.id).is_some() { 3 } else { 1 };
        match only.unwrap_or(value).as_i64() {
            Some(axis) if axis == -1 || axis == last => Ok(()),
            _ => Err(spec
                .error(format!("works along axis {}; only the channels, the last one, are read", crate::text::one_line(value)))),
        }
    }
}

/// What `padding` says.
fn padding(spec: &Spec) -> Result<Padding, String> {
    match spec.word_or("padding", "valid")?.to_ascii_lowercase().as_str() {
        "valid" => Ok(Padding::NONE),
        "same" => Ok(Padding::Same),
        other => Err(spec.error(format!("has padding {other:?}, wants valid or same"))),
    }
}

fn relu(spec: &Spec) -> Result<LayerKind, String> {
    let [slope, threshold] = [spec.real_or("negative_slope", 0.0)?, spec.real_or("threshold", 0.0)?];
    let max = spec.get("max_value").map(|_| spec.real_or("max_value", 0.0)).transpose()?;
    match (slope, threshold, max) {
        (0.0, 0.0, None) => Ok(LayerKind::Activation(Unary::Relu)),
        (0.0, 0.0, Some(6.0)) => Ok(LayerKind::Activation(Unary::Relu6)),
        (slope, 0.0, None) => Ok(LayerKind::Activation(Unary::LeakyRelu(slope))),
        _ => Err(spec.error("has a threshold or a max_value other than 6, which no layer here has")),
    }
}
