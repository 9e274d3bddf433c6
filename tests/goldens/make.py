"""Makes the golden files of this folder with PyTorch; the Rust tests only read them.

    pip install torch torchvision grad-cam safetensors pillow numpy opencv-python-headless onnx onnxruntime onnxscript
    python tests/goldens/make.py [fill] [preprocess] [networks] [zoo] [onnx] [ascent] [cifar]     # all without an argument

Made with Python 3.11, torch 2.15.0, torchvision 0.29.2, grad-cam 1.5.7, opencv 5.0.0, Pillow 13.0.0, numpy 2.4.6,
safetensors 0.8.0, onnx 1.23.2, onnxruntime 1.32.0, onnxscript 0.7.2, on two x86-64 cores. Networks run in f64 and are
stored as f32; the distance of PyTorch's own f32 run is printed beside each golden. `cifar` needs the checkpoints and photos in `../shared/data`; it stores numbers only.
"""

import pathlib
import sys

import torch

import ascent
import cifar
import fill
import networks
import onnx_models
import preprocess
import zoo

MAKERS = {"fill": fill.make, "preprocess": preprocess.make, "networks": networks.make, "zoo": zoo.make,
          "onnx": onnx_models.make, "ascent": ascent.make, "cifar": cifar.make}

if __name__ == "__main__":
    unknown = set(sys.argv[1:]) - set(MAKERS)
    if unknown:
        sys.exit(f"unknown golden {', '.join(sorted(unknown))}: expected some of {', '.join(MAKERS)}")
    torch.set_num_threads(2)
    for name in sys.argv[1:] or MAKERS:
        MAKERS[name](pathlib.Path(__file__).resolve().parent)
