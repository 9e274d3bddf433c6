"""Goldens of image preprocessing: small synthetic PNGs and JPEGs of every kind and what Pillow and torchvision make of them."""

import io
import json
import struct
import zlib

import cv2
import numpy as np
from PIL import Image
from torchvision.transforms import functional as F

from common import save
from fill import fill_image, uniform

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CAFFE_MEAN = [103.939, 116.779, 123.68]  # of B, G, R: keras.applications' "caffe" mode

# name, file, resize (None, ["short", n] or ["exact", h, w]), filter, crop (None or [h, w]), normalisation
CASES = [
    ("typical", "rgb_97x61", ["short", 64], "bilinear", [56, 56], "imagenet"),
    ("portrait", "rgb_61x97", ["short", 40], "bilinear", [35, 35], "imagenet"),
    ("upscaled", "rgb_23x41", ["short", 64], "bilinear", [56, 56], "imagenet"),
    ("tall", "rgb_20x90", ["short", 16], "bilinear", [14, 14], "imagenet"),  # columns first
    ("tall_bicubic", "rgb_20x90", ["exact", 33, 19], "bicubic", [24, 15], "imagenet"),
    ("extreme", "rgb_200x9", ["short", 16], "bilinear", [14, 14], "imagenet"),
    ("extreme_whole", "rgb_200x9", ["short", 7], "bilinear", None, "imagenet"),
    ("half_pixel_down", "rgb_45x32", ["short", 33], "bilinear", [28, 29], "imagenet"),
    ("half_pixel_up", "rgb_45x32", None, "bilinear", [29, 38], "imagenet"),
    ("padded", "rgb_9x14", None, "bilinear", [19, 12], "imagenet"),
    ("padded_one_side", "rgb_23x41", ["short", 20], "bilinear", [30, 30], "caffe"),
    ("same_short_side", "rgb_45x32", ["short", 32], "bilinear", None, "imagenet"),
    ("one_pixel", "rgb_1x1", ["short", 16], "bilinear", [14, 14], "imagenet"),
    ("as_is", "ramp_16x16", None, "bilinear", None, "imagenet"),
    ("caffe", "ramp_16x16", None, "bilinear", None, "caffe"),
    ("exact_bilinear", "rgb_97x61", ["exact", 47, 31], "bilinear", None, "imagenet"),
    ("exact_bicubic", "rgb_97x61", ["exact", 47, 31], "bicubic", None, "imagenet"),
    ("exact_lanczos", "rgb_97x61", ["exact", 47, 31], "lanczos", None, "imagenet"),
    ("exact_box", "rgb_97x61", ["exact", 47, 31], "box", None, "imagenet"),
    ("exact_nearest", "rgb_97x61", ["exact", 47, 31], "nearest", None, "imagenet"),
    ("mixed_bicubic", "rgb_45x32", ["exact", 50, 20], "bicubic", [41, 13], "imagenet"),
    ("mixed_lanczos", "rgb_45x32", ["exact", 20, 71], "lanczos", [13, 40], "imagenet"),
    ("mixed_nearest", "rgb_45x32", ["exact", 50, 20], "nearest", [41, 13], "imagenet"),
] + [(kind, kind, None, "bilinear", None, "imagenet") for kind in (
    "grey", "grey1", "grey2", "grey16", "grey16_key", "grey_alpha", "grey_alpha16", "rgb16", "rgba", "rgba16", "palette", "palette_alpha")]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, rows, extra=b""):
    """A PNG file from packed rows: Pillow cannot write every kind that it reads."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def words(name, h, w, c):
    """Big-endian 16-bit samples with every magnitude: uniform in the exponent of two rather than in the value."""
    value = 2.0 ** (16.0 * uniform(name, 0, h * w * c)) - 1.0
    return value.astype(">u2").reshape(h, w * c)


def pictures():
    for w, h in [(97, 61), (61, 97), (23, 41), (200, 9), (20, 90), (45, 32), (9, 14), (1, 1)]:
        wavy = fill_image(f"png.{w}x{h}", 1, 3, h, w)[0].transpose(1, 2, 0)
        pixels = np.clip(np.round(wavy * 90.0 + 128.0), 0, 255).astype(np.uint8)
        yield f"rgb_{w}x{h}", png(w, h, 8, 2, pixels.reshape(h, -1))
    ramp = np.arange(256).reshape(16, 16)
    pixels = np.stack([ramp, (ramp * 7 + 85) % 256, 255 - ramp], -1).astype(np.uint8)
    yield "ramp_16x16", png(16, 16, 8, 2, pixels.reshape(16, -1))
    noise = lambda name, columns: (uniform(name, 0, 6 * columns) * 256).astype(np.uint8).reshape(6, columns)
    palette = chunk(b"PLTE", noise("palette", 8).tobytes())
    yield "grey", png(7, 6, 8, 0, noise("grey", 7))
    yield "grey1", png(13, 6, 1, 0, noise("grey1", 2))
    yield "grey2", png(7, 6, 2, 0, noise("grey2", 2), chunk(b"tRNS", b"\0\2"))
    yield "grey16", png(7, 6, 16, 0, [r.tobytes() for r in words("grey16", 6, 7, 1)])
    yield "grey16_key", png(7, 6, 16, 0, [r.tobytes() for r in words("grey16", 6, 7, 1)], chunk(b"tRNS", b"\0\2"))
    yield "grey_alpha", png(7, 6, 8, 4, noise("grey_alpha", 14))
    yield "grey_alpha16", png(7, 6, 16, 4, [r.tobytes() for r in words("grey_alpha16", 6, 7, 2)])
    yield "rgb16", png(7, 6, 16, 2, [r.tobytes() for r in words("rgb16", 6, 7, 3)])
    yield "rgba", png(7, 6, 8, 6, noise("rgba", 28))
    yield "rgba16", png(7, 6, 16, 6, [r.tobytes() for r in words("rgba16", 6, 7, 4)])
    yield "palette", png(8, 6, 4, 3, noise("indices", 4), palette)
    yield "palette_alpha", png(8, 6, 4, 3, noise("indices", 4), palette + chunk(b"tRNS", bytes(range(0, 160, 10))))


def photographs():
    """JPEGs of every kind: Pillow writes them, except for the column-wise subsampling, which only OpenCV offers."""
    def picture(w, h, c=3):
        wavy = fill_image(f"jpeg.{w}x{h}", 1, c, h, w)[0].transpose(1, 2, 0)
        return np.clip(wavy * 90.0 + 128.0, 0, 255).astype(np.uint8)

    def pillow(w, h, mode="RGB", **options):
        file = io.BytesIO()
        pixels = picture(w, h, {"L": 1, "RGB": 3, "CMYK": 4}[mode])
        Image.fromarray(pixels.reshape(h, w) if mode == "L" else pixels, mode).save(file, "jpeg", **options)
        return file.getvalue()

    yield "420", pillow(45, 37, quality=85)
    yield "420_low", pillow(33, 31, quality=20)
    yield "420_even", pillow(32, 48, quality=95)
    yield "422", pillow(45, 37, subsampling="4:2:2")
    yield "444", pillow(45, 37, subsampling="4:4:4")
    for name, factor in ("440", cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440), ("411", cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411):
        yield name, cv2.imencode(".jpg", picture(45, 37), [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor])[1].tobytes()
    for w in (1, 2, 3, 4, 5, 6):
        yield f"420_{w}_wide", pillow(w, 7)
        yield f"422_{w}_wide", pillow(w, 3, subsampling="4:2:2")
    yield "420_1_high", pillow(19, 1)
    yield "grey", pillow(21, 26, "L")
    yield "rgb", pillow(21, 26, keep_rgb=True)
    yield "cmyk", pillow(21, 26, "CMYK")
    yield "restarts", pillow(70, 37, restart_marker_blocks=2)
    for subsampling in ("4:2:0", "4:4:4"):
        yield f"progressive_{subsampling.replace(':', '')}", pillow(45, 37, progressive=True, subsampling=subsampling)
    yield "progressive_grey", pillow(45, 37, "L", progressive=True)
    yield "progressive_cmyk", pillow(45, 37, "CMYK", progressive=True)
    yield "progressive_restarts", pillow(70, 37, progressive=True, restart_marker_rows=1)
    yield "progressive_flat", pillow(200, 150, progressive=True, quality=1)  # long runs of empty blocks


def normalised(image, how):
    if how == "imagenet":
        return F.normalize(F.to_tensor(image), *IMAGENET).numpy()
    bgr = np.asarray(image).astype(np.float32)[..., ::-1].copy()
    for i, mean in enumerate(CAFFE_MEAN):
        bgr[..., i] -= mean
    return bgr.transpose(2, 0, 1)


def make(out):
    folder = out / "png"
    folder.mkdir(exist_ok=True)
    for name, data in pictures():
        (folder / f"{name}.png").write_bytes(data)
    tensors = {}
    for name, file, resize, filter, crop, how in CASES:
        image = Image.open(folder / f"{file}.png").convert("RGB")
        if resize:
            mode = F.InterpolationMode(filter)
            image = F.resize(image, resize[1:] if resize[0] == "exact" else resize[1], mode)
        if crop:
            image = F.center_crop(image, crop)
        tensors[f"{name}.shown"] = np.asarray(image)
        tensors[f"{name}.data"] = normalised(image, how)
    keys = ("name", "png", "resize", "filter", "crop", "normalization")
    cases = json.dumps([dict(zip(keys, case)) for case in CASES])
    save(out / "preprocess.safetensors", tensors, {"cases": cases})
    folder, tensors = out / "jpeg", {}
    folder.mkdir(exist_ok=True)
    for name, data in photographs():
        (folder / f"{name}.jpg").write_bytes(data)
        tensors[name] = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    save(out / "jpeg.safetensors", tensors)
