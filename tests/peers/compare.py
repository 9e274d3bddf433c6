"""Times convscope and its peers side by side, CPU, f32, random weights, and prints the ratios as a Markdown table.

    cargo build --release
    pip install torch torchvision onnx onnxruntime openvino      # the last three may be missing
    python tests/peers/compare.py [--rounds 5] [--threads 2] [--only resnet] [--isa avx2] [--json out.json]

A machine's speed wanders from minute to minute, so all contenders take turns: in each round each of them runs a case some
times, one at a time, and the round's ratio is taken of the medians of that round. What is printed is the median over the rounds:
of the times, and of the ratios to the peer that is fastest over all rounds. A ratio below 1 says that convscope is faster.

Forward: images to logits (PyTorch under no_grad). Input gradient: forward, and backward from one logit to the image alone. Training:
forward in training mode, a loss, gradients of all parameters, running statistics; no optimiser on either side. ONNX Runtime and
OpenVINO read the network that PyTorch exports. `--isa avx2` caps the instruction set of convscope and PyTorch; the others have
no such switch and are left out.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
# Threads of the one that just ran spin a while before they sleep.
PAUSE_S = 0.3
# Longest that one contender may take for its part of a round.
LIMIT_S = 600


@dataclasses.dataclass(frozen=True)
class Case:
    title: str
    work: str
    net: str
    batch: int
    threads: int
    size: int = 224
    target: float | None = None

    def request(self):
        return {key: getattr(self, key) for key in ("work", "net", "batch", "threads", "size")}


def cases(threads):
    def nets(titles, work, batch, target=None):
        return [Case(f"{title} {work.replace('-', ' ')}, batch {batch}", work, net, batch, threads, target=target)
                for title, net in titles.items()]

    vgg16, resnet50, resnet18 = {"VGG-16": "vgg16"}, {"ResNet-50": "resnet50"}, {"ResNet-18": "resnet18"}
    return [
        *nets(vgg16, "forward", 1, 0.60), *nets(vgg16, "forward", 8, 0.60),
        *nets(resnet50, "forward", 1, 0.95), *nets(resnet50, "forward", 8, 0.95),
        *nets(resnet18, "forward", 1),
        *nets(vgg16, "input-gradient", 1, 0.40), *nets(resnet50, "input-gradient", 1, 0.60),
        *nets(resnet18 | resnet50, "training", 8, 0.55),
        *(Case(f"product 2048x2048x2048, {n} thread{'s' * (n > 1)}", "gemm", "", 1, n, size=2048)
          for n in sorted({1, threads})),
    ]


class Failed(Exception):
    """Why a contender gave no time."""


class Convscope:
    title = "convscope"

    def __init__(self, binary, isa):
        self.binary = binary
        self.env = os.environ | ({"CONVSCOPE_ISA": isa} if isa else {})
        self.version = self.run("--version").strip()

    def can(self, case):
        return True

    def run(self, *args, limit=LIMIT_S):
        try:
            done = subprocess.run([self.binary, *args], env=self.env, capture_output=True, text=True, timeout=limit)
        except (OSError, subprocess.TimeoutExpired) as e:
            raise Failed(str(e)) from e
        if done.returncode:
            raise Failed((done.stderr.strip().splitlines() or ["no reason given"])[0].removeprefix("error: "))
        return done.stdout

    def time(self, case, repeats):
        common = ("--threads", str(case.threads), "--json", "--quiet")
        try:
            if case.work == "gemm":
                return gemm_ms(json.loads(self.run("bench", "kernels", "gemm 2048", *common)), case.size)
            options = {"work": case.work, "batch": case.batch, "size": case.size, "repeats": repeats}
            options = [text for key, value in options.items() for text in (f"--{key}", str(value))]
            return json.loads(self.run("bench", "models", case.net, *options, *common))[0]["median_ms"]
        except (ValueError, LookupError, TypeError, AttributeError) as e:
            raise Failed(f"its output is not understood ({type(e).__name__}: {e})") from e


def gemm_ms(rows, size):
    """The fastest kernel of the square product of this size."""
    square = [row for row in rows if json.dumps(row).count(str(size)) >= 3 or f"gemm {size}" in json.dumps(row)]
    times = [row[key] for row in square for key in ("median_ms", "ms") if isinstance(row.get(key), (int, float))]
    if not times:
        raise Failed(f"bench kernels has no time of a square product of {size}")
    return min(times)


class Peer:
    def __init__(self, kind, title, works, isa, exporter=None):
        self.title, self.works, self.exporter = title, works, exporter
        caps = {"ONEDNN_MAX_CPU_ISA": isa.upper(), "ATEN_CPU_CAPABILITY": isa, "MKL_ENABLE_INSTRUCTIONS": isa.upper()} if isa else {}
        self.process = subprocess.Popen([sys.executable, HERE / "worker.py", kind], env=os.environ | caps, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.version = self.answer()["version"]

    def can(self, case):
        return case.work in self.works

    def answer(self):
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"its process ended with {self.process.wait()}"}
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def ask(self, **request):
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
        except BrokenPipeError as e:
            raise Failed("its process has ended") from e
        return self.answer()

    def time(self, case, repeats):
        request = case.request()
        if self.exporter:
            request["onnx"] = self.exporter(case)
        return self.ask(time=request, repeats=repeats)["ms"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Exporter:
    """ONNX files of the case at hand, made by PyTorch; hundreds of megabytes each, so one at a time."""

    def __init__(self, torch, folder):
        self.torch, self.path, self.case = torch, str(pathlib.Path(folder) / "network.onnx"), None

    def __call__(self, case):
        if case != self.case:
            self.torch.ask(export=case.request(), path=self.path)
            self.case = case
        return self.path


def measure(case, contenders, rounds, repeats, notes):
    """Medians of each contender in each round; one that fails once is out."""
    running = [c for c in contenders if c.can(case)]
    times = {c.title: [] for c in running}
    for i in range(rounds):
        print(f"{case.title}: round {i + 1} of {rounds}", file=sys.stderr)
        # Another one begins each time.
        for c in running[i % len(running):] + running[:i % len(running)]:
            if c.title not in times:
                continue
            time.sleep(PAUSE_S)
            try:
                times[c.title].append(c.time(case, repeats))
            except Failed as e:
                notes.append(f"{case.title}: {c.title} is left out: {e}")
                del times[c.title]
    return times


def summary(case, times):
    median = {title: statistics.median(ms) for title, ms in times.items()}
    peers = [title for title in median if title != Convscope.title]
    best = min(peers, key=median.get, default=None)
    both = best is not None and Convscope.title in times
    ratio = statistics.median(a / b for a, b in zip(times[Convscope.title], times[best])) if both else None
    return {"title": case.title, **case.request(), "target": case.target, "rounds_ms": times, "median_ms": median,
            "best_peer": best, "ratio": ratio}


def cpu_name():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def at_least_one(text):
    n = int(text)
    if n < 1:
        raise argparse.ArgumentTypeError("wants a number from 1 up")
    return n


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--convscope", default=HERE.parents[1] / "target/release/convscope", type=pathlib.Path, metavar="PATH")
    parser.add_argument("--threads", default=2, type=at_least_one)
    parser.add_argument("--rounds", default=5, type=at_least_one)
    parser.add_argument("--repeats", default=5, type=at_least_one, help="timed passes of a contender in a round, after two untimed")
    parser.add_argument("--only", default="", metavar="FILTER", help="cases whose title has this text")
    parser.add_argument("--isa", choices=["avx2"], help="cap the instruction set")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the times of every round")
    args = parser.parse_args()
    chosen = [case for case in cases(args.threads) if args.only.lower() in case.title.lower()]
    if not chosen:
        parser.error(f"--only {args.only}: none of " + "; ".join(case.title for case in cases(args.threads)))
    if args.json and not args.json.resolve().parent.is_dir():
        parser.error(f"--json {args.json}: there is no such folder")
    try:
        ours = Convscope(args.convscope.resolve(), args.isa)
    except Failed as e:
        parser.error(f"--convscope: {e} (cargo build --release makes it)")

    contenders, notes = [ours], []
    with tempfile.TemporaryDirectory() as folder:
        def join(*peer, **options):
            try:
                contenders.append(Peer(*peer, args.isa, **options))
            except Failed as e:
                notes.append(f"{peer[1]} is left out: {e}")

        join("torch", "PyTorch", ("forward", "input-gradient", "training", "gemm"))
        if len(contenders) == 1:
            notes.append("ONNX Runtime and OpenVINO are left out: their networks come from PyTorch")
        elif args.isa:
            notes.append(f"ONNX Runtime and OpenVINO are left out: they cannot be capped to {args.isa}")
        else:
            exporter = Exporter(contenders[1], folder)
            join("onnxruntime", "ONNX Runtime", ("forward",), exporter=exporter)
            join("openvino", "OpenVINO", ("forward",), exporter=exporter)
        peers = contenders[1:]

        machine = {"cpu": cpu_name(), "cores": os.cpu_count(), "threads": args.threads, "isa": args.isa,
                   "versions": [c.version for c in contenders], "rounds": args.rounds, "repeats": args.repeats}
        cap = f", capped to {args.isa}" if args.isa else ""
        print(f"{machine['cpu']}, {machine['cores']} cores, {args.threads} threads{cap}; {', '.join(machine['versions'])}; "
              f"medians of {args.rounds} rounds of {args.repeats}\n")
        columns = ["work", "convscope ms", *(f"{p.title} ms" for p in peers), "best peer", "ratio", "target"]
        print("| " + " | ".join(columns) + " |\n|---|" + "---:|" * (len(peers) + 1) + "---|---:|---:|", flush=True)
        rows = []
        for case in chosen:
            rows.append(summary(case, measure(case, contenders, args.rounds, args.repeats, notes)))
            row = rows[-1]
            number = lambda value, form: "-" if value is None else format(value, form)
            cells = [case.title, *(number(row["median_ms"].get(c.title), ".1f") for c in contenders), row["best_peer"] or "-",
                     number(row["ratio"], ".2f"), number(case.target, ".2f")]
            print("| " + " | ".join(cells) + " |", flush=True)
        for peer in peers:
            peer.close()
    for i, note in enumerate(notes):
        print(("" if i else "\n") + f"* {note}")
    if args.json:
        args.json.write_text(json.dumps({**machine, "rows": rows, "notes": notes}, indent=1) + "\n")


if __name__ == "__main__":
    main()
