"""Keras models in every kind of file, and what Keras makes of a closed-form image with them.

    KERAS_BACKEND=torch python tests/goldens/keras_models.py ../shared

Made with Keras 3.15.1, torch 2.15.0 and h5py 3.16.0, in f32. The small models are committed beside the numbers; of the published one,
mini-XCEPTION for FER-2013 (Keras 2.0.5, github.com/oarriaga/face_classification), only the numbers are. The files of Keras 2 come from
`keras2_models.py`, those of Keras 1 are written here by its rules.
"""

import json
import pathlib
import sys

import h5py
import keras
import numpy as np
import torch
from keras import layers as L
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

from common import save
from fill import fill_image
from keras_tutorial import filled, tutorial

MINI_XCEPTION = "data/weights/fer2013_mini_XCEPTION.102-0.66.hdf5"
ACTIVATIONS = ["relu6", "leaky_relu", "elu", "selu", "sigmoid", "tanh", "softplus", "softsign", "silu", "gelu", "mish", "hard_sigmoid",
               "hard_silu", "hard_tanh", "exponential"]


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


def activations():
    """Each activation by name, and those that are layers, behind a 1x1 convolution each; any input size."""
    image = L.Input((None, None, 3), name="photo")
    stem = L.Conv2D(4, 3, strides=2, padding="same", name="stem")(image)
    branches = [L.Conv2D(2, 1, activation=name, name=f"conv_{name}")(stem) for name in ACTIVATIONS]
    more = {"layer_elu": L.ELU(0.6), "layer_prelu": L.PReLU(shared_axes=[1, 2]), "layer_clip": L.ReLU(max_value=0.7),
            "layer_threshold": L.ReLU(threshold=0.2), "layer_slope": L.ReLU(negative_slope=0.3)}
    for name, layer in more.items():
        layer.name = name
        branches.append(layer(L.Conv2D(2, 1, name=f"{name}_conv")(stem)))
    branches.append(L.Conv2D(2, 1, activation=L.LeakyReLU(0.15), name="object")(stem))
    x = L.GlobalAveragePooling2D(name="mean")(L.Concatenate(name="joined")(branches))
    x = L.Softmax(name="layer_softmax")(L.Dense(9, activation="softmax", name="softmax")(x))
    return keras.Model(image, L.Dense(3, name="logits")(x), name="activations")


def shapes():
    """What moves values, rescales in the middle, joins, is called twice, squeezes and excites; any input size."""
    x = image = L.Input((None, None, 3), name="photo")
    x = L.Normalization(name="normal")(x)
    x = L.Conv2D(5, 3, padding="same", activation="tanh", name="stem")(x)
    # Zeros around values that are all negative win each maximum that they are in.
    x = L.ZeroPadding2D(((1, 2), (0, 3)), name="zeros")(L.Rescaling(0.5, offset=-0.75, name="shifted")(x))
    x = L.MaxPooling2D(2, name="most")(x)
    x = L.UpSampling2D((2, 3), name="larger")(x)
    x = L.Cropping2D(((1, 0), (2, 1)), name="smaller")(x)
    x = L.BatchNormalization(name="norm")(L.ZeroPadding2D(1, name="frame")(x))
    shared = L.Conv2D(5, 3, padding="same", name="shared")
    a = shared(x)
    b = shared(L.Activation("sigmoid", name="gate")(a))
    x = L.Average(name="average")([L.Subtract(name="difference")([a, b]), a, b])
    y = L.GlobalAveragePooling2D(name="squeeze")(x)
    y = L.Reshape((1, 1, 5), name="point")(y)
    y = L.Conv2D(2, 1, activation="relu", name="narrow")(y)
    y = L.Conv2D(5, 1, activation="sigmoid", name="wide")(y)
    x = L.Multiply(name="excite")([x, y])
    x = L.Dense(4, activation="relu", name="pixels")(x)
    x = L.GlobalMaxPooling2D(keepdims=True, name="peak")(x)
    x = L.Reshape((-1,), name="vector")(x)
    x = L.BatchNormalization(name="vector_norm")(x)
    return keras.Model(image, L.Dense(3, activation="softmax", name="classes")(x), name="shapes")


def pixels():
    """Bilinear up-sampling by unlike factors, a softmax at each pixel as activation and as layer; any input size."""
    x = image = L.Input((None, None, 3), name="photo")
    x = L.Conv2D(4, 3, strides=2, padding="same", activation="tanh", name="stem")(x)
    x = L.UpSampling2D((2, 3), interpolation="bilinear", name="larger")(x)
    x = L.Conv2D(5, 3, activation="softmax", name="kinds")(x)
    x = L.UpSampling2D(3, interpolation="bilinear", name="still_larger")(L.Rescaling(4.0, name="spread")(x))
    x = L.Softmax(name="kinds_again")(x)
    x = L.GlobalMaxPooling2D(name="most")(L.Conv2D(4, 3, strides=2, name="last")(x))
    return keras.Model(image, L.Dense(3, activation="softmax", name="classes")(x), name="pixels")


def segments():
    """A map of classes for each pixel."""
    return keras.Sequential([
        L.Input((9, 12, 3)),
        L.Conv2D(4, 3, strides=3, padding="same", activation="relu", name="stem"),
        L.UpSampling2D(3, interpolation="bilinear", name="larger"),
        L.Conv2D(3, 1, activation="softmax", name="kinds"),
    ], name="segments")


def first():
    """Channels first in all layers; flattened as they lie and, as `Flatten` does when told, with the channels last."""
    order = {"data_format": "channels_first"}
    image = L.Input((3, 13, 10), name="photo")
    x = L.Conv2D(6, (3, 2), strides=2, padding="same", activation="relu", name="conv", **order)(image)
    x = L.BatchNormalization(axis=1, name="norm")(x)
    y = L.DepthwiseConv2D(3, padding="same", name="depthwise", **order)(x)
    y = L.PReLU(shared_axes=[2, 3], name="slopes")(y)
    x = L.Concatenate(axis=1, name="joined")([x, L.ZeroPadding2D(((0, 1), (1, 0)), name="zeros", **order)(L.Cropping2D(((1, 0), (0, 1)), name="crop", **order)(y))])
    x = L.Softmax(axis=1, name="shares")(x)
    x = L.UpSampling2D(2, interpolation="bilinear", name="larger", **order)(x)
    x = L.MaxPooling2D(3, name="pool", **order)(x)
    as_it_lies = L.Flatten(data_format="channels_last", name="as_it_lies")(x)
    turned = L.Flatten(name="turned", **order)(x)
    y = L.Reshape((4, 3, 5), name="map")(L.Dense(60, activation="tanh", name="spread")(turned))
    y = L.GlobalAveragePooling2D(name="mean", **order)(L.Conv2D(3, 2, name="second", **order)(y))
    x = L.Concatenate(name="vector")([as_it_lies, L.Reshape((-1,), name="rows")(x), y])
    return keras.Model(image, L.Dense(3, activation="softmax", name="classes")(x), name="first")


def nested():
    """A base of its own within a Sequential within the model, as in transfer learning; the base has a branch and is frozen."""
    image = L.Input((None, None, 3), name="base_photo")
    x = L.Conv2D(4, 3, strides=2, padding="same", use_bias=False, name="conv")(image)
    x = L.BatchNormalization(name="norm")(x)
    x = L.Add(name="sum")([x, L.Conv2D(4, 1, activation="relu", name="side")(x)])
    base = keras.Model(image, x, name="base")
    base.trainable = False
    top = keras.Sequential([L.Conv2D(6, 3, name="conv"), L.GlobalAveragePooling2D(name="mean"), L.Dropout(0.2, name="drop")], name="top")
    photo = L.Input((18, 21, 3), name="photo")
    x = L.Rescaling(1 / 255, name="rescaling")(photo)
    return keras.Model(photo, L.Dense(2, activation="softmax", name="classes")(top(base(x))), name="nested")


def twice():
    """What is called more than once: layers of every kind with weights, a model, a layer within it that it shares; statistics that are given."""
    photo = L.Input((20, 17, 3), name="photo")
    x = L.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.2, 0.3, 0.25], name="given")(photo)
    image = L.Input((None, None, 3), name="half")
    conv, norm, wide = L.Conv2D(3, 3, padding="same", name="conv"), L.BatchNormalization(scale=False, name="norm"), L.Dense(3, name="wide")
    y = norm(conv(image))
    y = wide(norm(conv(L.ReLU(name="relu")(y))))
    tower = keras.Model(image, y, name="tower")
    scales = L.Normalization(name="scales")
    separable, slopes = L.SeparableConv2D(3, 3, activation="tanh", name="separable"), L.PReLU(shared_axes=[1, 2], name="slopes")
    a = scales(tower(x))
    b = scales(tower(slopes(separable(a))))
    c = slopes(separable(L.Activation("sigmoid", name="gate")(b)))
    dense = L.Dense(3, name="dense")
    vectors = [L.GlobalAveragePooling2D(name=f"mean_{i}")(x) for i, x in enumerate([a, b, c])]
    return keras.Model(photo, L.Dense(2, activation="softmax", name="classes")(L.Add(name="sum")([dense(dense(v)) for v in vectors])), name="twice")


def cats_and_dogs():
    """The four blocks of "Deep learning with Python" (2017, listing 5.5) at an eighth of the width."""
    blocks = []
    for i, width in enumerate([4, 8, 16, 16]):
        blocks += [L.Conv2D(width, 3, activation="relu", name=f"conv2d_{i + 1}"), L.MaxPooling2D(2, name=f"max_pooling2d_{i + 1}")]
    return keras.Sequential([L.Input((150, 150, 3)), *blocks, L.Flatten(name="flatten_1"), L.Dense(16, activation="relu", name="dense_1"),
                             L.Dense(1, activation="sigmoid", name="dense_2")], name="cats_and_dogs")


def unfinished():
    """Layers that are not known here, after one that is: one on the way, one beside it."""
    x = image = L.Input((16, 16, 3), name="photo")
    x = L.Conv2D(4, 3, activation="relu", name="first")(x)
    y = L.LayerNormalization(name="strange")(x)
    x = L.Conv2D(4, 3, name="second")(x)
    x = L.Flatten(name="flat")(L.Concatenate(name="joined")([x, L.Conv2D(4, 3, name="third")(y)]))
    return keras.Model(image, L.Dense(2, activation="softmax", name="classes")(x), name="unfinished")


def keras_1(out, model):
    """The tutorial model as Keras 1 would have saved it: its names of classes, settings and variables."""
    layers = [
        {"class_name": "Convolution2D", "config": {
            "name": "conv", "batch_input_shape": [None, 14, 17, 3], "nb_filter": 4, "nb_row": 3, "nb_col": 2, "subsample": [2, 1],
            "border_mode": "same", "dim_ordering": "tf", "activation": "relu", "bias": True}},
        {"class_name": "BatchNormalization", "config": {"name": "norm", "axis": -1, "epsilon": 0.002, "momentum": 0.9, "mode": 0}},
        {"class_name": "MaxPooling2D", "config": {
            "name": "pool", "pool_size": [2, 2], "strides": [2, 2], "border_mode": "valid", "dim_ordering": "tf"}},
        {"class_name": "Flatten", "config": {"name": "flat"}},
        {"class_name": "Dense", "config": {"name": "hidden", "output_dim": 5, "activation": "tanh", "bias": True}},
        {"class_name": "Dropout", "config": {"name": "drop", "p": 0.5}},
        {"class_name": "Dense", "config": {"name": "classes", "output_dim": 3, "activation": "softmax", "bias": True}},
    ]
    names = {"kernel": "W", "bias": "b", "moving_mean": "running_mean", "moving_variance": "running_std"}
    with h5py.File(out / "tutorial.keras1.h5", "w") as file:
        file.attrs["keras_version"] = b"1.2.2"
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": layers}).encode()
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [layer["config"]["name"].encode() for layer in layers]
        for layer in layers:
            name = layer["config"]["name"]
            group = weights.create_group(name)
            variables = {f"{name}_{names.get(v.name, v.name)}:0": v for v in model.get_layer(name).weights if "seed" not in v.path}
            group.attrs["weight_names"] = [key.encode() for key in variables]
            for key, variable in variables.items():
                group[key] = variable.detach().cpu().numpy() if hasattr(variable, "detach") else variable.numpy()


def run(name, model, size=None, step=1, to_last=(0, 2, 3, 1)):
    """Every `step`-th row and column of the gradient; `to_last` is the order of the model's axes. And how many parameters, how many of them
    trained, a model has that is not frozen."""
    h, w, c = [model.input_shape[to_last.index(axis)] for axis in (2, 3, 1)]
    (h, w), name = size or (h, w), name if size is None else f"{name}.{size[0]}x{size[1]}"
    x = fill_image(f"keras.{name}", 1, c, h, w).transpose(to_last)
    probabilities = model(x).detach().cpu().numpy()
    counts = [model.count_params(), sum(variable.value.numel() for variable in model.trainable_weights)]
    # The activation of the last layer is the network's head.
    last, model.layers[-1].activation = model.layers[-1].activation, keras.activations.linear
    leaf = torch.tensor(np.ascontiguousarray(x), requires_grad=True)
    raw = model(leaf)
    dx = torch.autograd.grad(raw[0, 0], leaf)[0]
    model.layers[-1].activation = last
    return {f"{name}.parameters": np.array(counts, np.float32), f"{name}.probabilities": probabilities, f"{name}.logits": raw.detach().cpu().numpy(),
            f"{name}.dx": dx.cpu().numpy().transpose(np.argsort(to_last))[:, :, ::step, ::step]}


def make(out, shared):
    tensors = {}
    folder = out / "keras"
    folder.mkdir(exist_ok=True)
    for model in [filled(sequential()), filled(functional())]:
        model.save(folder / f"{model.name}.h5")
        # A leading Rescaling is no layer of the network here: its input is what comes out of it.
        inner = model
        if isinstance(model.layers[0], L.Rescaling):
            inner = keras.Sequential([L.Input(model.input_shape[1:]), *model.layers[1:]])
        tensors |= run(model.name, inner)
    tensors |= run("mini_xception", keras.models.load_model(pathlib.Path(shared) / MINI_XCEPTION, compile=False))

    # The same model in each kind of file; the layers beside it in the one that says most.
    model = filled(tutorial(keras, "tutorial"))
    model.save(folder / "tutorial.keras3.h5")
    model.save(folder / "tutorial.keras3.keras")
    model.save_weights(folder / "tutorial.keras3.weights.h5")
    (folder / "tutorial.keras3.json").write_text(model.to_json())
    with h5py.File(folder / "tutorial.keras3.by_layer.h5", "w") as file:
        save_weights_to_hdf5_group(file, model)
    keras_1(folder, model)
    tensors |= run(model.name, model)
    for model in [filled(activations()), filled(shapes()), filled(pixels())]:
        model.save(folder / f"{model.name}.keras")
        tensors |= run(model.name, model, (21, 16)) | run(model.name, model, (24, 19))
    model = filled(first())
    for kind in ["h5", "keras", "weights.h5"]:
        (model.save_weights if kind == "weights.h5" else model.save)(folder / f"first.{kind}")
    (folder / "first.json").write_text(model.to_json())
    tensors |= run(model.name, model, to_last=(0, 1, 2, 3))
    model = filled(segments())
    model.save(folder / "segments.keras")
    x = fill_image("keras.segments", 1, 3, 9, 12).transpose(0, 2, 3, 1)
    tensors["segments.output"] = model(x).detach().cpu().numpy().transpose(0, 3, 1, 2)
    model = filled(nested())
    for kind in ["h5", "keras"]:
        model.save(folder / f"nested.{kind}")
    inner = keras.Sequential([L.Input(model.input_shape[1:]), *model.layers[2:]])
    tensors |= run("nested", inner)
    model = filled(twice())
    for kind in ["h5", "keras"]:
        model.save(folder / f"twice.{kind}")
    tensors |= run("twice", model)
    model = filled(cats_and_dogs())
    model.save(folder / "cats_and_dogs.keras")
    tensors |= run(model.name, model, step=10)
    filled(unfinished()).save(folder / "unfinished.keras")
    for path in sorted(folder.iterdir()):
        print(f"  {path.name}: {path.stat().st_size:,} bytes")
    for name, value in tensors.items():
        if name.endswith("probabilities"):
            print(" ", name, value.round(4))
    save(out / "keras.safetensors", tensors, {"keras": keras.__version__})


if __name__ == "__main__":
    make(pathlib.Path(__file__).parent, sys.argv[1])
