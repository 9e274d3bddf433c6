"""A file of weights without an architecture, named as Keras 1 named them, and what Keras makes of an image with them.

    KERAS_BACKEND=torch python tests/goldens/keras_weights.py

Made with Keras 3.15.1, torch 2.15.0 and h5py 3.16.0, in f32. The names are those of vgg16_weights_tf_dim_ordering_tf_kernels.h5 and of the
first files for ResNet-50 and DenseNet; the order is Keras's `model.layers`.
"""

import pathlib

import h5py
import keras
import numpy as np
import torch
from keras import layers as L

from common import save
from fill import fill_image
from keras_models import filled

# Keras 1 on TensorFlow; what it called running_std is the variance.
OLD = {"kernel": "W", "bias": "b", "gamma": "gamma", "beta": "beta", "moving_mean": "running_mean", "moving_variance": "running_std"}


def residual():
    """Two ways as long that meet in a sum, a batch-norm without a scale, and a flattened map that is not square."""
    image = L.Input((12, 10, 3), name="photo")
    x = L.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="conv1_conv")(image)
    a = L.Conv2D(6, 1, name="a_conv")(x)
    a = L.BatchNormalization(name="a_norm")(a)
    b = L.Conv2D(6, 1, name="b_conv")(x)
    b = L.BatchNormalization(scale=False, name="b_norm")(b)
    x = L.Add(name="sum")([b, a])
    x = L.Flatten(name="flat")(x)
    x = L.Dense(7, activation="relu", name="fc1")(x)
    return keras.Model(image, L.Dense(5, name="predictions")(x), name="residual_weights")


def write(model, path):
    with h5py.File(path, "w") as file:
        # As DenseNet's files have it, a name may be a path; as later sessions have it, another number.
        names = {"conv1_conv": "conv1/conv", "a_conv": "res2a_branch1", "b_conv": "res2a_branch2a", "predictions": "probs"}
        listed = [names.get(layer.name, layer.name) for layer in model.layers]
        file.attrs["layer_names"] = [name.encode() for name in listed]
        for layer, name in zip(model.layers, listed):
            group = file.create_group(name)
            variables = layer.trainable_weights + layer.non_trainable_weights
            weights = [f"{name}/{v.path.rsplit('/', 1)[-1]}:0" if "/" in name else f"{name}_{OLD[v.path.rsplit('/', 1)[-1]]}_1:0"
                       for v in variables]
            group.attrs["weight_names"] = [weight.encode() for weight in weights]
            for weight, variable in zip(weights, variables):
                group.create_dataset(weight, data=variable.value.detach().numpy())


if __name__ == "__main__":
    here = pathlib.Path(__file__).resolve().parent
    model = filled(residual())
    write(model, here / "keras" / "residual_weights.h5")
    x = torch.from_numpy(fill_image("keras.residual_weights", 1, 3, 12, 10)).permute(0, 2, 3, 1).clone().requires_grad_()
    logits = model(x, training=False)
    dx = torch.autograd.grad(logits[0, 0], x)[0].permute(0, 3, 1, 2)
    save(here / "keras_weights.safetensors", {"logits": logits.detach().numpy(), "dx": np.ascontiguousarray(dx.numpy())})
