//! Activations, by name and as layers.

use super::fields::KerasSpec;
use crate::network::LayerKind;
use convscope_engine::Unary;
use serde_json::Value;

/// SELU's alpha and gain (Klambauer et al. 2017).
const SELU: Unary = Unary::Elu(1.673_263_242_354_377_2, 1.050_700_987_355_480_5);

/// The names of [`named`], for messages.
const KNOWN: &str = "linear, relu, relu6, leaky_relu, elu, selu, celu, sigmoid, tanh, softplus, softsign, silu, swish, gelu, mish, \
                     hard_sigmoid, hard_silu, hard_swish, hard_tanh, exponential and softmax";

/// The activation in a layer's settings; `None` for the identity.
pub(super) fn activation(spec: &KerasSpec, keras_3: bool) -> Result<Option<LayerKind>, String> {
    let Some(value) = spec.get("activation") else { return Ok(None) };
    if let Some(name) = value.as_str() {
        return named(spec, name, keras_3);
    }
    // Keras 3 also stores functions and layers as objects.
    let class = value.get("class_name").and_then(Value::as_str).unwrap_or_default();
    let config = value.get("config").unwrap_or(&Value::Null);
    if let Some(name) = config.as_str() {
        return named(spec, name, keras_3);
    }
    let inner = KerasSpec {
        class: class.into(),
        name: spec.name.clone(),
        ..KerasSpec::input(config.as_object().cloned().unwrap_or_default())
    };
    match layer(&inner) {
        Some(kind) => kind.map(Some),
        None => named(spec, class, keras_3),
    }
}

fn named(spec: &KerasSpec, name: &str, keras_3: bool) -> Result<Option<LayerKind>, String> {
    Ok(Some(LayerKind::Activation(match name {
        "linear" => return Ok(None),
        "softmax" => return Ok(Some(LayerKind::Softmax)),
        "relu" => Unary::Relu,
        "relu6" => Unary::Relu6,
        "leaky_relu" => Unary::LeakyRelu(0.2),
        "elu" | "celu" => Unary::Elu(1.0, 1.0),
        "selu" => SELU,
        "sigmoid" => Unary::Sigmoid,
        "tanh" => Unary::Tanh,
        "softplus" => Unary::Softplus,
        "softsign" => Unary::Softsign,
        "silu" | "swish" => Unary::Silu,
        "gelu" => Unary::Gelu,
        "mish" => Unary::Mish,
        // `relu6(x + 3) / 6`; steeper before Keras 3.
        "hard_sigmoid" if keras_3 => Unary::HardSigmoid(1.0 / 6.0, 0.5),
        "hard_sigmoid" => Unary::HardSigmoid(0.2, 0.5),
        "hard_silu" | "hard_swish" => Unary::HardSwish,
        "hard_tanh" => Unary::Clip(-1.0, 1.0),
        "exponential" => Unary::Exp,
        other => {
            let other = crate::text::one_line(other);
            return Err(spec.error(format!("has the activation {other:?}; known are {KNOWN}")));
        }
    })))
}

/// The function of an activation layer; `None` for other layers.
pub(super) fn layer(spec: &KerasSpec) -> Option<Result<LayerKind, String>> {
    let with = |key: &str, default: f64| spec.real_or(key, default);
    Some(match spec.class.as_str() {
        "ReLU" => relu(spec),
        "LeakyReLU" => {
            with("alpha", 0.3).and_then(|alpha| with("negative_slope", alpha)).map(|slope| of(Unary::LeakyRelu(slope)))
        }
        "ELU" => with("alpha", 1.0).map(|alpha| of(Unary::Elu(alpha, 1.0))),
        "ThresholdedReLU" => with("theta", 1.0).map(|theta| of(Unary::Threshold(theta))),
        "Softmax" => Ok(LayerKind::Softmax),
        _ => return None,
    })
}

fn of(function: Unary) -> LayerKind {
    LayerKind::Activation(function)
}

fn relu(spec: &KerasSpec) -> Result<LayerKind, String> {
    let slope = spec.real_or("negative_slope", spec.real_or("alpha", 0.0)?)?;
    let threshold = spec.real_or("threshold", 0.0)?;
    let max = spec.get("max_value").map(|_| spec.real_or("max_value", 0.0)).transpose()?;
    Ok(of(match (slope, threshold, max) {
        (0.0, 0.0, None) => Unary::Relu,
        (0.0, 0.0, Some(6.0)) => Unary::Relu6,
        (0.0, 0.0, Some(max)) => Unary::Clip(0.0, max),
        (0.0, threshold, None) => Unary::Threshold(threshold),
        (slope, 0.0, None) => Unary::LeakyRelu(slope),
        _ => return Err(spec.error("has more than one of a slope, a threshold and a max_value, which no layer here has")),
    }))
}
