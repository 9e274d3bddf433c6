"""The closed-form fill of weights and images: the twin of models/src/model/init.rs, bit for bit.

Every number is a function of a name and a flat index: the FNV-1a hash of the name starts a SplitMix64 stream, whose
upper 24 bits give a uniform in [0, 1). All arithmetic is one IEEE f64 operation at a time, rounded to f32 at the end,
so Python and Rust agree to the last bit and no weight file need be kept.
"""

import numpy as np

from common import save

FNV_OFFSET, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
MASK = (1 << 64) - 1
CHUNK = 1 << 22


def fnv1a64(name):
    h = FNV_OFFSET
    for byte in name.encode():
        h = ((h ^ byte) * FNV_PRIME) & MASK
    return h


def uniform(name, start, stop):
    """The uniforms in [0, 1) of `name` at the flat indices start..stop, f64."""
    with np.errstate(over="ignore"):
        z = np.arange(start + 1, stop + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(fnv1a64(name))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float64) * 2.0**-24


def centre_and_spread(name, shape, names):
    """The interval of a parameter, from its torchvision name, its shape and the names of its network."""
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "bias" or leaf == "running_mean":
        return 0.0, 0.1
    if leaf == "running_var":
        return 1.0, 0.3
    if len(shape) > 1:  # convolution or linear: He et al. 2015, uniform
        return 0.0, np.sqrt(6.0 / np.prod(shape[1:], dtype=np.float64))
    third = name.replace(".bn2.", ".bn3.")
    last_of_block = name.endswith(".bn3.weight") or (name.endswith(".bn2.weight") and third not in names)
    return (0.5, 0.1) if last_of_block else (1.0, 0.2)


def fill_value(name, shape, names):
    centre, spread = centre_and_spread(name, shape, names)
    out = np.empty(int(np.prod(shape)), np.float32)
    for start in range(0, out.size, CHUNK):
        stop = min(start + CHUNK, out.size)
        out[start:stop] = centre + spread * (2.0 * uniform(name, start, stop) - 1.0)
    return out.reshape(shape)


def wave(t):
    """A smooth periodic curve between -1 and 1 without a libm call: parabolas joined at the whole numbers."""
    f = t - np.floor(t)
    return 8.0 * (f * (1.0 - f)) - 1.0


def fill_image(name, n, c, h, w):
    """Three waves with phases of each plane's own, plus noise; values between -2 and 2."""
    planes = n * c
    phase = uniform(name + ".phase", 0, 3 * planes).reshape(planes, 3, 1, 1)
    y = ((np.arange(h) + 0.5) / h).reshape(h, 1)
    x = ((np.arange(w) + 0.5) / w).reshape(1, w)
    image = 0.7 * wave(x + phase[:, 0]) + 0.6 * wave(2.0 * y + phase[:, 1])
    image = image + 0.4 * wave(3.0 * x + 2.0 * y + phase[:, 2])
    image = image + 0.3 * (2.0 * uniform(name, 0, planes * h * w).reshape(planes, h, w) - 1.0)
    return image.astype(np.float32).reshape(n, c, h, w)


def make(out):
    """A tensor of each kind, long enough for a wrong index or rounding to show."""
    shapes = {
        "features.0.weight": (64, 3, 3, 3), "classifier.6.weight": (5, 4096), "fc.bias": (1000,), "bn1.weight": (64,),
        "layer1.0.bn2.weight": (64,), "layer1.0.bn3.weight": (256,), "layer2.0.bn2.weight": (128,), "bn1.bias": (64,),
        "bn1.running_mean": (64,), "bn1.running_var": (64,),
    }
    tensors = {name: fill_value(name, shape, shapes) for name, shape in shapes.items()}
    tensors["input.5x7"] = fill_image("input.5x7", 2, 3, 5, 7)
    save(out / "fill.safetensors", tensors)
