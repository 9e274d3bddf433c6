"""Keras 2 models in each of its kinds of file, and what it makes of a closed-form image with them.

    python tests/goldens/keras2_models.py

Made with tf_keras 2.21.0, TensorFlow 2.21.0 and h5py 3.14.0, in f32, after `keras_models.py`. The tutorial model's weights are those that `keras_models.py` gives it,
and so its numbers are in `keras.safetensors`; those of the other models are in `keras2.safetensors`.
"""

import pathlib

import numpy as np
import tensorflow as tf
import tf_keras as keras
from safetensors.numpy import load_file
from tf_keras import layers as L

from common import save
from fill import fill_image
from keras_tutorial import filled, tutorial


def nested():
    """A base that was made and called before, within a Sequential, frozen; then a Sequential within it."""
    image = L.Input((None, None, 3), name="base_photo")
    x = L.Conv2D(4, 3, strides=2, padding="same", use_bias=False, name="conv")(image)
    x = L.BatchNormalization(name="norm")(x)
    x = L.Add(name="sum")([x, L.Conv2D(4, 1, activation="relu", name="side")(x)])
    base = keras.Model(image, x, name="base")
    base.trainable = False
    top = keras.Sequential([L.Conv2D(6, 3, name="conv"), L.GlobalAveragePooling2D(name="mean"), L.Dropout(0.2, name="drop")], name="top")
    return keras.Sequential([L.InputLayer((18, 21, 3)), base, top, L.Dense(2, activation="softmax", name="classes")], name="nested2")


def older():
    """What means something else in Keras 3, or is not there; TensorFlow's own uneven padding in a mean; any input size."""
    x = image = L.Input((None, None, 3), name="photo")
    x = L.Conv2D(6, 3, strides=2, padding="same", activation="hard_sigmoid", name="hard")(x)
    x = L.ThresholdedReLU(theta=0.4, name="threshold")(x)
    x = L.SeparableConv2D(6, 3, strides=2, padding="same", name="separable")(x)
    x = L.AveragePooling2D(3, strides=2, padding="same", name="mean")(x)
    x = L.LeakyReLU(alpha=0.25, name="leaky")(x)
    x = L.ReLU(max_value=2.0, name="clip")(x)
    x = L.GlobalMaxPooling2D(name="most")(x)
    return keras.Model(image, L.Dense(3, activation="softmax", name="classes")(x), name="older")


def run(name, model, size=None):
    _, h, w, c = model.input_shape
    (h, w), name = size or (h, w), name if size is None else f"{name}.{size[0]}x{size[1]}"
    x = tf.Variable(fill_image(f"keras.{name}", 1, c, h, w).transpose(0, 2, 3, 1))
    probabilities = model(x).numpy()
    last, model.layers[-1].activation = model.layers[-1].activation, keras.activations.linear
    with tf.GradientTape() as tape:
        raw = model(x)
        first = raw[0, 0]
    dx = tape.gradient(first, x)
    model.layers[-1].activation = last
    return {f"{name}.probabilities": probabilities, f"{name}.logits": raw.numpy(), f"{name}.dx": dx.numpy().transpose(0, 3, 1, 2)}


def make(out):
    folder = out / "keras"
    model = filled(tutorial(keras, "tutorial"))
    model.save(folder / "tutorial.keras2.h5")
    model.save(folder / "tutorial.keras2.keras")
    model.save_weights(folder / "tutorial.keras2.weights.h5")
    model.save_weights(folder / "tutorial.keras2.by_layer.h5")
    (folder / "tutorial.keras2.json").write_text(model.to_json())
    theirs = load_file(out / "keras.safetensors")
    for name, value in run("tutorial", model).items():
        np.testing.assert_allclose(value, theirs[name], atol=1e-5, err_msg=f"{name} of Keras 2 and Keras 3")
    tensors = {}
    model = filled(nested())
    for kind in ["h5", "keras"]:
        model.save(folder / f"nested2.{kind}")
    tensors |= run("nested2", model)
    model = filled(older())
    model.save(folder / "older.h5")
    tensors |= run("older", model, (21, 16)) | run("older", model, (24, 19))
    for path in sorted(folder.glob("*2*")):
        print(f"  {path.name}: {path.stat().st_size:,} bytes")
    for name, value in tensors.items():
        if name.endswith("probabilities"):
            print(" ", name, value.round(4))
    save(out / "keras2.safetensors", tensors, {"keras": keras.__version__})


if __name__ == "__main__":
    make(pathlib.Path(__file__).parent)
