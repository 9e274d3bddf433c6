"""Keras models as HDF5 files, and what Keras makes of a closed-form image with them.

    KERAS_BACKEND=torch python tests/goldens/keras_models.py ../shared

Made with Keras 3.15.1, torch 2.15.0 and h5py 3.16.0, in f32. The two small models are committed beside the numbers; of the published one,
mini-XCEPTION for FER-2013 (Keras 2.0.5, github.com/oarriaga/face_classification), only the numbers are.
"""

import pathlib
import sys

import keras
import numpy as np
import torch
from keras import layers as L

from common import report, save
from fill import fill_image, uniform

MINI_XCEPTION = "data/weights/fer2013_mini_XCEPTION.102-0.66.hdf5"


def sequential():
    """Rescaling, one-sided padding, batch-norm without scale, two depthwise outputs a channel, flatten, a sigmoid of one output."""
    return keras.Sequential([
        L.Input((22, 19, 3)),
        L.Rescaling(1 / 127.5, offset=-1),
        L.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="conv"),
        L.BatchNormalization(scale=False, name="norm"),
        L.MaxPooling2D(3, strides=2, padding="same", name="pool"),
        L.DepthwiseConv2D((3, 2), depth_multiplier=2, padding="same", name="depthwise"),
        L.LeakyReLU(negative_slope=0.1, name="leaky"),
        L.Flatten(name="flat"),
        L.Dense(6, activation="relu", name="hidden"),
        L.Dropout(0.5, name="drop"),
        L.Dense(1, activation="sigmoid", name="logit"),
    ], name="small_sequential")


def functional():
    """Branches, separable convolutions at stride 2, zero padding, groups, the joins, and a vector of two flattened maps."""
    image = L.Input((17, 24, 1), name="photo")
    a = L.SeparableConv2D(6, 3, strides=2, padding="same", depth_multiplier=2, activation="relu", name="separable")(image)
    b = L.ZeroPadding2D(((0, 1), (0, 0)), name="zeros")(image)
    b = L.Conv2D(6, (2, 3), strides=2, use_bias=False, name="strided")(b)
    b = L.ZeroPadding2D(((0, 0), (0, 1)), name="column")(b)
    b = L.Conv2D(6, 1, name="pointwise")(b)
    b = L.BatchNormalization(center=False, epsilon=0.01, name="norm")(b)
    b = L.ReLU(max_value=6.0, name="relu6")(b)
    x = L.Concatenate(name="joined")([L.Add(name="sum")([a, b]), L.Multiply(name="product")([a, b])])
    x = L.Conv2D(8, 3, dilation_rate=2, padding="same", groups=2, name="grouped")(x)
    # Evenly padded: at odd padding Keras's PyTorch backend repeats the border, which TensorFlow and JAX leave out of the mean.
    x = L.AveragePooling2D((3, 2), strides=2, padding="same", name="mean")(x)
    x = L.Activation("leaky_relu", name="leaky")(x)
    flat = L.Flatten(name="flat")(x)
    x = L.Concatenate(name="vector")([flat, L.GlobalMaxPooling2D(name="most")(x), L.GlobalAveragePooling2D(name="average")(x)])
    return keras.Model(image, L.Dense(5, activation="softmax", name="classes")(x), name="small_functional")


def filled(model):
    for variable in model.weights:
        if "seed" in variable.path:
            continue
        shape = tuple(variable.shape)
        values = 2 * uniform(f"{model.name}.{variable.path}", 0, int(np.prod(shape))).reshape(shape) - 1
        fan_in = max(1, int(np.prod(shape[:-1])))
        positive = "variance" in variable.path or "gamma" in variable.path
        variable.assign(values * 0.25 + 1 if positive else values * (3 / fan_in) ** 0.5)
    return model


def run(name, model):
    _, h, w, c = model.input_shape
    x = fill_image(f"keras.{name}", 1, c, h, w).transpose(0, 2, 3, 1)
    probabilities = model(x).detach().cpu().numpy()
    # The activation of the last layer is the network's head.
    model.layers[-1].activation = keras.activations.linear
    leaf = torch.tensor(np.ascontiguousarray(x), requires_grad=True)
    raw = model(leaf)
    dx = torch.autograd.grad(raw[0, 0], leaf)[0]
    return {f"{name}.probabilities": probabilities, f"{name}.logits": raw.detach().cpu().numpy(),
            f"{name}.dx": dx.cpu().numpy().transpose(0, 3, 1, 2)}


def make(out, shared):
    tensors = {}
    (out / "keras").mkdir(exist_ok=True)
    for model in [filled(sequential()), filled(functional())]:
        path = out / "keras" / f"{model.name}.h5"
        model.save(path)
        print(f"wrote {path.name}: {path.stat().st_size:,} bytes")
        # A leading Rescaling is no layer of the network here: its input is what comes out of it.
        inner = model
        if isinstance(model.layers[0], L.Rescaling):
            inner = keras.Sequential([L.Input(model.input_shape[1:]), *model.layers[1:]])
        tensors |= run(model.name, inner)
    tensors |= run("mini_xception", keras.models.load_model(pathlib.Path(shared) / MINI_XCEPTION, compile=False))
    for name, value in tensors.items():
        if name.endswith("probabilities"):
            print(" ", name, value.round(4))
    save(out / "keras.safetensors", tensors, {"keras": keras.__version__})


if __name__ == "__main__":
    make(pathlib.Path(__file__).parent, sys.argv[1])
