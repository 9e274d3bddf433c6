"""Times an epoch of training, convscope and PyTorch in turns, CPU, f32, and prints the ratio.

    cargo build --release
    pip install torch torchvision
    python tests/peers/train.py PHOTOS [--rounds 3] [--epochs 2] [--threads 2] [--workers 1] [--among cat,dog] [--json out.json]

PHOTOS holds train/CLASS/*.jpg and val/CLASS/*.jpg. Both train a resnet18-w32 (a ResNet-18 that begins with 32 channels) from nothing,
64 photos a step, by SGD with Nesterov's momentum and label smoothing. Both keep the photos in memory with a shorter side of 128
pixels, cut random crops of 35 to 100 % of the area, resize them to 112x112 and mirror half of them, in `--workers` threads or
processes ahead of the network. Both then look at the photos of val, 128x128 from their middle. An epoch's time is all of that, but
not the first reading, nor writing checkpoints. In each round each runs `--epochs` epochs in a process or loop of its own; a
round's time is the median of these, and what is printed is the median over the rounds, of the times and of the ratios. A ratio
below 1 says that convscope is faster.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import compare
from compare import Convscope, Failed

SIZE, SHORT_SIDE, BATCH, WIDTH, CROP = 112, 128, 64, 32, 0.35
TARGET = 0.6
# Longest that one contender may take for its part of a round.
LIMIT_S = 3600
RECIPE = {
    "model": f"resnet18-w{WIDTH}", "size": SIZE, "eval-size": SHORT_SIDE, "batch": BATCH, "crop": CROP, "flip": "true",
    # What PyTorch is not asked to do either.
    "jitter": 0, "erase": 0, "mixup": 0, "cutmix": 0, "ema": 0, "clip": 0,
}


class Ours(Convscope):
    def epochs(self, photos, among, threads, workers, count):
        options = RECIPE | {"threads": threads, "workers": workers, "epochs": count} | ({"among": ",".join(among)} if among else {})
        with tempfile.TemporaryDirectory() as folder:
            options = [text for key, value in options.items() for text in (f"--{key}", str(value))]
            log = self.run("train", str(photos), *options, "--out", folder, "--json", limit=LIMIT_S)
        try:
            return [epoch["seconds"] for epoch in json.loads(log)]
        except (ValueError, LookupError, TypeError) as e:
            raise Failed(f"its output is not understood ({type(e).__name__}: {e})") from e


class Photos:
    """A data set of torch: photos in memory and their classes."""

    def __init__(self, folder, classes, transform):
        files = [(path, k) for k, name in enumerate(classes) for path in sorted((folder / name).glob("*.jpg"))]
        self.items, self.transform = [(shrunk(path), k) for path, k in files], transform

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        pixels, k = self.items[i]
        return self.transform(pixels), k


def shrunk(path):
    """uint8 `[3, h, w]` with the shorter side of at most `SHORT_SIDE`."""
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms.v2 import functional

    pixels = decode_image(str(path), ImageReadMode.RGB)
    return functional.resize(pixels, SHORT_SIDE, antialias=True) if min(pixels.shape[1:]) > SHORT_SIDE else pixels


def resnet18(width, classes):
    """torchvision's, but for the channels."""
    from torch import nn
    from torchvision.models.resnet import BasicBlock

    def block(channels, out, stride):
        around = None
        if (channels, stride) != (out, 1):
            around = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        return BasicBlock(channels, out, stride, around)

    layers = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    channels = width
    for stage in range(4):
        out = width << stage
        layers += [block(channels, out, 1 if stage == 0 else 2), block(out, out, 1)]
        channels = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


class Torch:
    def __init__(self, photos, among, threads, workers):
        import torch
        from torchvision.transforms import v2

        self.torch, self.version = torch, f"PyTorch {torch.__version__}"
        torch.manual_seed(0)
        torch.set_num_threads(threads)
        numbers = [v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
        change = v2.Compose([v2.RandomResizedCrop(SIZE, scale=(CROP, 1), antialias=True), v2.RandomHorizontalFlip(), *numbers])
        middle = v2.Compose([v2.CenterCrop(SHORT_SIDE), *numbers])
        classes = sorted(d.name for d in (photos / "train").iterdir() if d.is_dir() and (not among or d.name in among))
        ahead = {"num_workers": workers, "persistent_workers": True}
        load = torch.utils.data.DataLoader
        self.train = load(Photos(photos / "train", classes, change), BATCH, shuffle=True, drop_last=True, **ahead)
        self.val = load(Photos(photos / "val", classes, middle), BATCH, **ahead)
        # Their processes are started now, and stay.
        for loader in (self.train, self.val):
            next(iter(loader))
        self.net = resnet18(WIDTH, len(classes))
        self.loss = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
        self.sgd = torch.optim.SGD(self.net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
        # The first pass chooses kernels and touches fresh memory: not timed, and without a step.
        self.loss(self.net(torch.zeros(BATCH, 3, SIZE, SIZE)), torch.zeros(BATCH, dtype=torch.long)).backward()

    def epoch(self):
        start = time.perf_counter()
        self.net.train()
        for images, classes in self.train:
            self.sgd.zero_grad(set_to_none=True)
            self.loss(self.net(images), classes).backward()
            self.sgd.step()
        self.net.eval()
        with self.torch.no_grad():
            sum(int((self.net(images).argmax(1) == classes).sum()) for images, classes in self.val)
        return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=pathlib.Path)
    parser.add_argument("--convscope", default=compare.HERE.parents[1] / "target/release/convscope", type=pathlib.Path,
                        metavar="PATH")
    for name, default in [("rounds", 3), ("epochs", 2), ("threads", 2), ("workers", 1)]:
        parser.add_argument(f"--{name}", default=default, type=compare.at_least_one)
    parser.add_argument("--among", default=[], type=lambda text: text.split(","), metavar="CLASS,..", help="only these folders")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the times of every epoch")
    args = parser.parse_args()
    photos = args.photos.resolve()
    for part in ("train", "val"):
        if not (photos / part).is_dir():
            parser.error(f"{args.photos}: has no folder {part}")
    how = (args.among, args.threads, args.workers)
    try:
        ours = Ours(args.convscope.resolve(), None)
    except Failed as e:
        parser.error(f"--convscope: {e} (cargo build --release makes it)")
    torch = Torch(photos, *how)
    print(f"{compare.cpu_name()}, {os.cpu_count()} cores, {args.threads} threads; {ours.version}, {torch.version}; "
          f"{len(torch.train.dataset)} photos to learn from, {len(torch.val.dataset)} to look at", flush=True)
    contenders = {"convscope": lambda: ours.epochs(photos, *how, args.epochs),
                  "PyTorch": lambda: [torch.epoch() for _ in range(args.epochs)]}
    times = {name: [] for name in contenders}
    for i in range(args.rounds):
        # Another one begins each time.
        for name in list(contenders)[:: (1, -1)[i % 2]]:
            time.sleep(compare.PAUSE_S)
            try:
                times[name].append(contenders[name]())
            except Failed as e:
                sys.exit(f"error: {name}: {e}")
            print(f"round {i + 1} of {args.rounds}: {name}: " + ", ".join(f"{s:.1f} s" for s in times[name][-1]), file=sys.stderr)
    rounds = {name: [statistics.median(seconds) for seconds in all_rounds] for name, all_rounds in times.items()}
    median = {name: statistics.median(seconds) for name, seconds in rounds.items()}
    ratio = statistics.median(a / b for a, b in zip(rounds["convscope"], rounds["PyTorch"]))
    print("| seconds an epoch | convscope | PyTorch | ratio | target |\n|---|---:|---:|---:|---:|")
    print(f"| resnet18-w{WIDTH}, {SIZE} px | {median['convscope']:.1f} | {median['PyTorch']:.1f} | {ratio:.2f} | {TARGET:.2f} |")
    if args.json:
        args.json.write_text(json.dumps({"epoch_s": times, "median_s": median, "ratio": ratio, "target": TARGET}, indent=1) + "\n")


if __name__ == "__main__":
    main()
