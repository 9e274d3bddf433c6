"""Small goldens of keras.applications under the closed-form fill: logits and a part of the input gradient.

    KERAS_BACKEND=torch python tests/goldens/keras_zoo.py [network ...]       # all without an argument

Made with Keras 3.15.1 and torch 2.15.0, in f64, stored as f32. The same fill as elsewhere, by the names that the networks here have for Keras's
variables. Names of networks are those of keras.applications.
"""

import os
import pathlib
import sys

import keras
import numpy as np
import torch
from safetensors.numpy import load_file

from common import save
from fill import fill_image, fill_value

# Xception and Inception-v3 take 71x71 and 75x75 at least; VGG's dense layers take one size. At that size f64 takes minutes in the tests:
# they compare the gradients of narrow ones, with 16 channels in the first block, and those in f32 of the whole.
VGGS = ["VGG16", "VGG19", "VGG16-w16", "VGG19-w16"]
SIZES = {name: [(224, 224)] for name in VGGS} | {"Xception": [(71, 71), (72, 97)], "InceptionV3": [(75, 75), (80, 111)]}
NETWORKS = [*VGGS, "ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2", "ResNet152V2", "InceptionV3", "Xception",
            "MobileNet", "MobileNetV2", "DenseNet121", "DenseNet169", "DenseNet201"]
# Every STEP-th row and column of the gradient is kept; the sums over each plane's magnitudes see the rest.
STEP = 5
PARAMS = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
          "moving_variance": "running_var"}


def architecture(network, h, w):
    settings = {"weights": None, "input_shape": (h, w, 3), "classifier_activation": None}
    network, _, width = network.partition("-w")
    model = getattr(keras.applications, network)(**settings)
    if not width:
        return model
    config = model.get_config()
    for layer in config["layers"]:
        layer.pop("build_config", None)  # The shapes of the weights that it had.
        if layer["class_name"] == "Conv2D":
            layer["config"]["filters"] = layer["config"]["filters"] * int(width) // 64
    return keras.Model.from_config(config)


def parameters(model):
    """Each variable with its name here and the order of its axes in PyTorch."""
    for layer in model.layers:
        kind = type(layer).__name__
        for variable in layer.weights:
            name = variable.path.rsplit("/", 1)[-1]
            inner, dims = "", len(variable.shape)
            if kind == "SeparableConv2D":
                inner = ".depthwise" if name == "depthwise_kernel" else ".pointwise"
            elif kind in ("Conv2D", "Dense") and layer.activation is not keras.activations.linear:
                inner = ".conv" if kind == "Conv2D" else ".dense"
            depthwise = name == "depthwise_kernel" or kind == "DepthwiseConv2D" and name == "kernel"
            axes = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1) if dims == 4 else (1, 0) if dims == 2 else (0,)
            yield variable, f"{layer.name}{inner}.{PARAMS[name.split('_', 1)[-1] if dims == 4 else name]}", axes


def fill(model):
    names = {name for _, name, _ in parameters(model)}
    for variable, name, axes in parameters(model):
        theirs = tuple(variable.shape)
        shape = tuple(theirs[axis] for axis in axes)
        if len(axes) == 4 and axes[0] == 2:
            shape = (shape[0] * shape[1], 1, *shape[2:])
        elif name == "conv_preds.weight":
            shape = shape[:2]
        values = fill_value(name, shape, names)
        # A dense layer that reads a flattened map reads it pixel by pixel in Keras.
        if name == "fc1.dense.weight":
            values = values.reshape(shape[0], -1, 7, 7).transpose(0, 2, 3, 1).reshape(shape)
        values = values.reshape([theirs[axis] for axis in axes]).transpose(np.argsort(axes))
        variable.assign(values)


def run(model, x):
    x = x.clone().requires_grad_()
    logits = model(x, training=False)
    cls = int(logits[0].argmax())
    dx = torch.autograd.grad(logits[0, cls], x)[0].permute(0, 3, 1, 2)
    values = {"logits": logits.detach(), "dx.part": dx[:, :, ::STEP, ::STEP], "dx.sums": dx.abs().sum((2, 3))}
    return {key: value.numpy().astype(np.float32) for key, value in values.items()} | {"class": np.array([cls], np.int32)}


def make(out, networks):
    path = out / "keras_zoo.safetensors"
    tensors = load_file(path) if path.exists() else {}
    for network in networks:
        for h, w in SIZES.get(network, [(64, 64), (65, 96)]):
            keras.utils.clear_session()
            model = architecture(network, h, w)
            fill(model)
            x = torch.from_numpy(fill_image(f"input.{h}x{w}", 1, 3, h, w)).double().permute(0, 2, 3, 1)
            result = run(model, x)
            print(f"{network} {h}x{w}: class {result['class'][0]}, largest |logit| {abs(result['logits']).max():.3f}", flush=True)
            tensors |= {f"{network}.{h}x{w}.{key}": value for key, value in result.items()}
    save(path, tensors)


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras.config.set_floatx("float64")
    torch.set_num_threads(2)
    make(pathlib.Path(__file__).resolve().parent, sys.argv[1:] or NETWORKS)
