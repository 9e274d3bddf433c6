"""Goldens of the real CIFAR-10 checkpoints: logits of eight photos and the accuracy over all of them. Numbers only."""

import json

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from common import report, save

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CHECKPOINTS = {"resnet20": (3, "resnet20-12fca82f.th"), "resnet32": (5, "resnet32-d509ac18.th")}
MEAN, STD = [torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]


class Block(nn.Module):
    """He et al. 2015, section 4.2, with the parameter-free shortcut A: every second pixel, zero channels on both sides."""

    def __init__(self, c, oc, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, oc, 3, stride, 1, bias=False), nn.BatchNorm2d(oc)
        self.conv2, self.bn2 = nn.Conv2d(oc, oc, 3, 1, 1, bias=False), nn.BatchNorm2d(oc)
        self.stride, self.pad = stride, (oc - c) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad)))


class CifarResNet(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        stage = lambda c, oc, stride: nn.Sequential(*(Block(c if i == 0 else oc, oc, stride if i == 0 else 1) for i in range(blocks)))
        self.layer1, self.layer2, self.layer3 = stage(16, 16, 1), stage(16, 32, 2), stage(32, 64, 2)
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


def load(blocks, path):
    model = CifarResNet(blocks).eval()
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    model.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    return model


def photo(path):
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return (torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255 - MEAN) / STD


def make(out):
    data = out.parent.parent.parent / "shared" / "data"
    if not data.is_dir():
        return print(f"cifar: skipped, there is no {data}")
    files = [(i, f) for i, name in enumerate(CLASSES) for f in sorted((data / "cifar10-test" / name).iterdir())]
    images = torch.stack([photo(f) for _, f in files])
    truth = torch.tensor([i for i, _ in files])
    chosen = range(0, 8 * 110, 110)  # the first of class 0, the eleventh of class 1, ...
    tensors, counts = {}, {}
    with torch.no_grad():
        for network, (blocks, checkpoint) in CHECKPOINTS.items():
            model = load(blocks, data / "weights" / checkpoint)
            counts[network] = int((torch.cat([model(b) for b in images.split(100)]).argmax(1) == truth).sum())
            print(f"{network}: {counts[network]} of {len(files)}")
            single, exact = model(images[chosen]), model.double()(images[chosen].double())
            report(f"{network} logits", single, exact)
            tensors[f"{network}.logits"] = exact.numpy().astype(np.float32)
    names = json.dumps([f"{f.parent.name}/{f.name}" for f in (files[i][1] for i in chosen)])
    save(out / "cifar.safetensors", tensors, {"files": names, "correct": json.dumps(counts)})
