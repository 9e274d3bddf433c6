//! Activations.

use super::super::constant::axis;
use super::super::node::{OnnxNode, short};
use super::super::translate::{OnnxTranslator, OnnxValue};
use crate::network::LayerKind;
use convscope_engine::Unary;

impl OnnxTranslator<'_> {
    /// The elementwise function of an operator; `None` if it is another operator.
    pub(super) fn function(&self, node: &OnnxNode) -> Result<Option<Unary>, String> {
        Ok(Some(match node.op.as_str() {
            "Relu" => Unary::Relu,
            "LeakyRelu" => Unary::LeakyRelu(node.float_or("alpha", 0.01)?),
            "Sigmoid" => Unary::Sigmoid,
            "Tanh" => Unary::Tanh,
            "Elu" => Unary::Elu(node.float_or("alpha", 1.0)?, 1.0),
            "Selu" => {
                Unary::Elu(node.float_or("alpha", 1.673_263_192_176_818_8)?, node.float_or("gamma", 1.050_700_902_938_842_8)?)
            }
            "HardSigmoid" => Unary::HardSigmoid(node.float_or("alpha", 0.2)?, node.float_or("beta", 0.5)?),
            "HardSwish" => Unary::HardSwish,
            "Softplus" => Unary::Softplus,
            "Softsign" => Unary::Softsign,
            "Mish" => Unary::Mish,
            "Exp" => Unary::Exp,
            "Neg" => Unary::Affine(-1.0, 0.0),
            "Swish" if node.float_or("alpha", 1.0)? == 1.0 => Unary::Silu,
            "Gelu" if node.word_or("approximate", "none") == "tanh" => Unary::GeluTanh,
            "Gelu" => Unary::Gelu,
            "ThresholdedRelu" => Unary::Threshold(node.float_or("alpha", 1.0)?),
            "Clip" => self.clip(node)?,
            _ => return Ok(None),
        }))
    }

    pub(super) fn activation(&mut self, index: usize, node: &OnnxNode, function: Unary) -> Result<OnnxValue, String> {
        let x = self.value(node, 0)?;
        if let Unary::LeakyRelu(slope) | Unary::HardSigmoid(slope, _) | Unary::Elu(slope, _) = function
            && slope < 0.0
        {
            return Err(node.error(format!("has alpha {slope}, expects one that is not negative")));
        }
        let kind = LayerKind::Activation(function);
        if self.is_output_activation(&kind, self.ends(index, &x)) {
            return Ok(x);
        }
        Ok(self.elementwise(index, &x, kind))
    }

    pub(super) fn softmax(&mut self, index: usize, node: &OnnxNode) -> Result<OnnxValue, String> {
        let x = self.value(node, 0)?;
        self.softmax_axis(node, &x)?;
        if self.is_output_activation(&LayerKind::Softmax, self.ends(index, &x)) {
            return Ok(x);
        }
        match node.op.as_str() {
            "Softmax" => Ok(self.elementwise(index, &x, LayerKind::Softmax)),
            _ => Err(node.error("stands before the output, which no layer here can")),
        }
    }

    /// Whether this node, which reads `x`, is the output activation of the model, perhaps before a reshape: networks here end in logits.
    /// A model whose output is a map has none.
    fn ends(&self, index: usize, x: &OnnxValue) -> bool {
        if x.extents().is_some_and(|[_, h, w]| h * w > 1) {
            return false;
        }
        let graph = self.state.graph;
        let mut name = graph.nodes[index].outputs.first();
        while let Some(made) = name {
            if *made == graph.output {
                return true;
            }
            let Some(&[next]) = graph.readers.get(made).map(Vec::as_slice) else { return false };
            let next = &graph.nodes[next];
            let passes = matches!(next.op.as_str(), "Identity" | "Cast" | "Flatten" | "Reshape" | "Squeeze");
            name = next.outputs.first().filter(|_| passes && next.input(0) == Some(made));
        }
        false
    }

    fn softmax_axis(&self, node: &OnnxNode, x: &OnnxValue) -> Result<(), String> {
        let (opset, rank) = (self.state.graph.opset, x.dims.len() + 1);
        let default = if opset < 13 { 1 } else { -1 };
        let along = axis(node.int_or("axis", default), rank).map_err(|reason| node.error(reason))?;
        // Before version 13, all axes from the given one on form one vector.
        let one_vector = opset < 13 && along == 1 && x.dims.iter().product::<usize>() == x.channels();
        let channels = along == x.channel_axis() && (opset >= 13 || along == rank - 1);
        if one_vector || channels {
            return Ok(());
        }
        Err(node.error(format!("works along axis {along} of the shape {}; only the channels are read", short(&x.dims))))
    }

    fn clip(&self, node: &OnnxNode) -> Result<Unary, String> {
        let bound = |input: usize, key: &str, default: f64| match self.constant(node, input)? {
            Some(constant) => constant.scalar().map_err(|reason| node.error(reason)),
            None if node.has(key) => node.float_or(key, default),
            None => Ok(default),
        };
        // The largest float means no bound.
        const MOST: f64 = f32::MAX as f64;
        let (low, high) = (bound(1, "min", -MOST)?.max(-MOST), bound(2, "max", MOST)?.min(MOST));
        match (low, high) {
            _ if low.is_nan() || high.is_nan() || low > high => {
                Err(node.error(format!("clips to the range from {low} to {high}")))
            }
            (0.0, MOST) => Ok(Unary::Relu),
            (0.0, 6.0) => Ok(Unary::Relu6),
            _ => Ok(Unary::Clip(low, high)),
        }
    }

    /// `x` where positive, elsewhere a slope per channel times `x`.
    pub(super) fn prelu(&mut self, index: usize, node: &OnnxNode) -> Result<OnnxValue, String> {
        let x = self.value(node, 0)?;
        let slopes = self.needed(node, 1)?.clone();
        let channels = x.channels();
        let slopes = self.per_channel(&slopes, &x).ok_or_else(|| {
            node.error(format!("has slopes of the shape {}, expects one for each of {channels} channels", short(slopes.shape())))
        })?;
        // A common slope of all channels is a layer without weights, unless it is negative.
        if let Some(&slope) = slopes.first().filter(|slope| **slope >= 0.0 && slopes.iter().all(|other| other == *slope)) {
            return Ok(self.elementwise(index, &x, LayerKind::Activation(Unary::LeakyRelu(f64::from(slope)))));
        }
        self.count(node, channels)?;
        let value = self.elementwise(index, &x, LayerKind::PRelu { channels });
        self.computed(value.id, "weight", &slopes);
        Ok(value)
    }
}
