"""Goldens of gradient ascent: the recipes of the well-known Keras texts, run in f64 on networks with filled weights.

Where the recipes are applied to Keras' VGG16, torchvision's VGG16 stands here: the same layers, raw values as input, and
Keras' `blockN_convM` is the output of the ReLU. `keras-io` uses ResNet50V2's `conv3_block4_out`; ResNet-50's `layer2` is
the same place. Channels lie first, and "image" is the array that the network saw.
Every loss here is positive, so that `kerasblog`'s early end at a loss <= 0 does not come about.
"""

import numpy as np
import torch

from common import report, save
from fill import uniform
from networks import filled

STEPS, KEPT = 10, (3, 10)


# Streams that keep every unit clear of its kink (a ReLU at zero, two equal maxima of a window): there f32 and f64 part ways.
STREAMS = {"chollet1": "start.chollet1", "kerasblog": "start.kerasblog", "keras-io": "ascent.keras-io"}


def start(recipe, h, w):
    """The start image in f64, rounded to f32 as every implementation would hold it."""
    u = uniform(STREAMS[recipe], 0, 3 * h * w).reshape(1, 3, h, w)
    image = {"chollet1": lambda: u * 20.0 + 128.0, "kerasblog": lambda: (u - 0.5) * 20.0 + 128.0, "keras-io": lambda: (u - 0.5) * 0.25}[recipe]()
    return torch.from_numpy(image.astype(np.float32))


def update(recipe, g):
    """The change of the image that a gradient makes."""
    if recipe == "keras-io":
        return 10.0 * g * torch.rsqrt(torch.clamp((g * g).sum(), min=1e-12))  # tf.math.l2_normalize
    return g / (torch.sqrt((g * g).mean()) + (1e-5 if recipe == "chollet1" else 1e-7))


def picture(recipe, image):
    """The recipe's deprocess_image: population moments of the whole image, truncation to bytes."""
    x = image[0].transpose(1, 2, 0).astype(np.float64)
    x = (x - x.mean()) / (x.std() + 1e-5)
    if recipe == "keras-io":
        x = (x * 0.15)[25:-25, 25:-25]
    else:
        x = x * 0.1
    return (np.clip(x + 0.5, 0.0, 1.0) * 255.0).astype(np.uint8)


def ascend(recipe, head, image, channel):
    losses, kept = [], {}
    for step in range(1, STEPS + 1):
        image = image.detach().requires_grad_()
        a = head(image)[:, channel]
        loss = (a[:, 2:-2, 2:-2] if recipe == "keras-io" else a).mean()
        (g,) = torch.autograd.grad(loss, image)
        image = (image + update(recipe, g)).detach()
        losses.append(loss.item())
        if step in KEPT:
            kept[f"image{step}"] = image.numpy()
            kept[f"picture{step}"] = picture(recipe, image.numpy())
    return {"loss": np.array(losses)} | kept


def upto(model, layer):
    """The network as far as the output of `layer`, a direct child or a child of `features`."""
    children = list((model.features if layer.startswith("features.") else model).named_children())
    end = [name for name, _ in children].index(layer.rsplit(".", 1)[-1])
    return torch.nn.Sequential(*(module for _, module in children[: end + 1]))


# recipe: network, size of the start image, layers (early, middle)
RECIPES = {
    "chollet1": ("vgg16", (40, 48), ["features.3", "features.11"]),
    "kerasblog": ("vgg16", (40, 48), ["features.3", "features.11"]),
    "keras-io": ("resnet50", (64, 72), ["layer1", "layer2"]),
}


def make(out):
    models = {}
    for recipe, (network, (h, w), layers) in RECIPES.items():
        model = models.setdefault(network, filled(network))
        tensors, image = {}, start(recipe, h, w)
        for layer in layers:
            head = upto(model, layer)
            with torch.no_grad():  # a channel that is alive over much of the start image
                alive = (head.float()(image)[0] > 0).double().mean((1, 2))
            channel = int((alive > 0.3).nonzero()[0])
            case = f"{layer}:{channel}"
            exact = ascend(recipe, head.double(), image.double(), channel)
            single = ascend(recipe, head.float(), image, channel)
            print(f"{recipe} {case}: loss {exact['loss'][0]:.4f} -> {exact['loss'][-1]:.4f}")
            for key, value in exact.items():
                report(f"{recipe} {case} {key}", single[key], value)
                tensors[f"{case}.{key}"] = value if value.dtype == np.uint8 else value.astype(np.float32)
        save(out / f"ascent_{recipe}.safetensors", tensors)
