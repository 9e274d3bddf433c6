"""Small goldens of torchvision's other networks under the closed-form fill: logits and a part of the input gradient."""

import numpy as np
import torch
import torchvision

from common import report, save
from fill import fill_image, fill_value

# Inception-v3 leaves nothing of smaller images.
SIZES = {"inception_v3": [(79, 79), (80, 111)]}
NETWORKS = ["alexnet", "squeezenet1_0", "squeezenet1_1", "googlenet", "inception_v3", "densenet121", "densenet169",
            "densenet201", "mobilenet_v2", "resnext50_32x4d", "resnext101_32x8d"]
# Every STEP-th row and column of the gradient is kept; the sums over each plane's magnitudes see the rest.
STEP = 5


def filled(network):
    heads = {"aux_logits": False, "init_weights": False} if network in ("googlenet", "inception_v3") else {}
    model = getattr(torchvision.models, network)(weights=None, **heads).eval()
    state = model.state_dict()
    for name, value in state.items():
        if value.dtype == torch.float32:
            state[name] = torch.from_numpy(fill_value(name, tuple(value.shape), state))
    model.load_state_dict(state)
    return model


def run(model, x, cls=None):
    x = x.clone().requires_grad_()
    logits = model(x)
    cls = int(logits[0].argmax()) if cls is None else cls
    dx = torch.autograd.grad(logits[0, cls], x)[0]
    return {"logits": logits.detach().numpy(), "dx.part": dx[:, :, ::STEP, ::STEP].numpy(),
            "dx.sums": dx.abs().sum((2, 3)).numpy(), "class": np.array([cls], np.int32)}


def make(out):
    tensors = {}
    for network in NETWORKS:
        model = filled(network)
        for h, w in SIZES.get(network, [(64, 64), (65, 96)]):
            case = f"{network}.{h}x{w}"
            x = torch.from_numpy(fill_image(f"input.{h}x{w}", 1, 3, h, w))
            exact = run(model.double(), x.double())
            single = run(model.float(), x, int(exact["class"][0]))
            for key, value in exact.items():
                report(f"{case} {key}", single[key], value)
                tensors[f"{case}.{key}"] = value if key == "class" else value.astype(np.float32)
    save(out / "zoo.safetensors", tensors)
