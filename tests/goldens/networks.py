"""Goldens of whole networks under the closed-form fill: logits, input gradients, inner means, Grad-CAM maps."""

import numpy as np
import torch
import torchvision
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from common import report, save
from fill import fill_image, fill_value

# network: sizes (h, w), layers whose channel means are kept, target layers of Grad-CAM
NETWORKS = {
    "vgg16": ([(64, 64), (64, 96)], ["features.0", "features.16", "features.28", "classifier.0"], ["features.28", "features.30"]),
    "vgg19_bn": ([(64, 64), (64, 96)], ["features.1", "features.26", "features.49", "classifier.0"], ["features.49", "features.52"]),
    "resnet18": ([(64, 64), (64, 96), (65, 97)], ["conv1", "layer1.0", "layer3.0.downsample.1", "layer4.1"], ["layer2.1", "layer4.1"]),
    "resnet50": ([(64, 64), (64, 96), (65, 97)], ["conv1", "layer1.0", "layer3.0.downsample.1", "layer4.2"], ["layer2.3", "layer4.2"]),
}


def filled(network):
    """torchvision's network with filled weights, in evaluation mode and without in-place operations: with them the
    activation that a hook sees of a convolution is the one after its ReLU."""
    model = getattr(torchvision.models, network)(weights=None).eval()
    state = model.state_dict()
    for name, value in state.items():
        if value.dtype == torch.float32:
            state[name] = torch.from_numpy(fill_value(name, tuple(value.shape), state))
    model.load_state_dict(state)
    for module in model.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    return model


def run(model, x, layers, targets, cls=None):
    """One forward and backward pass; without `cls` the best-scored class whose Grad-CAM maps all show something."""
    seen, out = {}, {}
    hooks = [model.get_submodule(n).register_forward_hook(lambda m, i, o, n=n: seen.__setitem__(n, o)) for n in layers]
    x = x.clone().requires_grad_()
    logits = model(x)
    for hook in hooks:
        hook.remove()
    out["logits"] = logits
    for name, value in seen.items():
        out[f"mean.{name}"] = value.mean((2, 3)) if value.dim() == 4 else value
    for candidate in [cls] if cls is not None else logits[0].argsort(descending=True).tolist():
        maps = {n: grad_cam(model, x, n, candidate) for n in targets}
        if cls is not None or all((m > 0.1).mean() > 0.2 for m in maps.values()):
            break
    out["dx"] = torch.autograd.grad(logits[0, candidate], x)[0]
    out = {k: v.detach().numpy() for k, v in out.items()}
    out["class"] = np.array([candidate], np.int32)
    return out | {f"cam.{n}": m for n, m in maps.items()}


def grad_cam(model, x, layer, cls):
    with GradCAM(model=model, target_layers=[model.get_submodule(layer)]) as cam:
        return cam(input_tensor=x.detach(), targets=[ClassifierOutputTarget(cls)])[0]


def make(out):
    for network, (sizes, layers, targets) in NETWORKS.items():
        model, tensors = filled(network), {}
        for h, w in sizes:
            case = f"{h}x{w}"
            x = torch.from_numpy(fill_image(f"input.{case}", 1, 3, h, w))
            exact = run(model.double(), x.double(), layers, targets)
            single = run(model.float(), x, layers, targets, int(exact["class"][0]))
            rank = int((exact["logits"] > exact["logits"][0, exact["class"][0]]).sum())
            print(f"{network} {case}: class {exact['class'][0]} (rank {rank}), largest |logit| {abs(exact['logits']).max():.3f}")
            for key, value in exact.items():
                report(f"{network} {case} {key}", single[key], value)
                tensors[f"{case}.{key}"] = value if key == "class" else value.astype(np.float32)
        save(out / f"{network}.safetensors", tensors)
