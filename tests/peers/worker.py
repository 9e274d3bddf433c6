"""One peer of compare.py in a process of its own: a request a line on stdin, an answer a line on stdout, both JSON.

    python worker.py torch|onnxruntime|openvino

The first answer is {"version": ...}. Requests: {"time": case, "repeats": n} gives {"ms": median}; {"export": case, "path": file}
writes the ONNX file that the other two read. A case has the work, net, batch, size, threads and, for them, onnx. What a case
needs is made once and kept until another case comes. A request that fails gives {"error": ...}.
"""

import json
import os
import statistics
import sys
import time
import warnings

WARM_UPS = 2
LOGIT = 7


class Torch:
    def __init__(self):
        import torch
        import torchvision
        self.torch, self.nets, self.version = torch, torchvision.models, f"PyTorch {torch.__version__}"

    def network(self, case):
        self.torch.manual_seed(0)
        model = getattr(self.nets, case["net"])(weights=None).eval()
        return model, self.torch.randn(case["batch"], 3, case["size"], case["size"])

    def make(self, case):
        torch = self.torch
        torch.set_num_threads(case["threads"])
        if case["work"] == "gemm":
            a, b = torch.randn(2, case["size"], case["size"])
            return lambda: a @ b
        model, x = self.network(case)

        def forward():
            with torch.no_grad():
                model(x)

        def input_gradient():
            x.grad = None
            model(x)[:, LOGIT].sum().backward()

        def training():
            model.zero_grad(set_to_none=True)
            model(x).logsumexp(1).sum().backward()

        if case["work"] == "forward":
            return forward
        if case["work"] == "input-gradient":
            model.requires_grad_(False)
            x.requires_grad_(True)
            return input_gradient
        model.train()
        return training

    def export(self, case, path):
        model, x = self.network(case)
        self.torch.onnx.export(model, (x,), path, input_names=["x"], dynamo=False)


def images(case):
    import numpy
    return numpy.random.default_rng(0).standard_normal((case["batch"], 3, case["size"], case["size"]), dtype=numpy.float32)


class OnnxRuntime:
    def __init__(self):
        import onnxruntime
        self.ort, self.version = onnxruntime, f"ONNX Runtime {onnxruntime.__version__}"

    def make(self, case):
        options = self.ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = case["threads"], 1
        session = self.ort.InferenceSession(case["onnx"], options, providers=["CPUExecutionProvider"])
        x = images(case)
        return lambda: session.run(None, {"x": x})


class OpenVino:
    def __init__(self):
        import openvino
        self.core, self.version = openvino.Core(), f"OpenVINO {openvino.__version__.split('-')[0]}"

    def make(self, case):
        # Without the hint it may compute in bf16 where the processor can.
        settings = {"INFERENCE_NUM_THREADS": case["threads"], "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        request = self.core.compile_model(self.core.read_model(case["onnx"]), "CPU", settings).create_infer_request()
        x = images(case)
        return lambda: request.infer({0: x})


PEERS = {"torch": Torch, "onnxruntime": OnnxRuntime, "openvino": OpenVino}


def median_ms(run, repeats):
    times = []
    for i in range(WARM_UPS + repeats):
        start = time.perf_counter()
        run()
        if i >= WARM_UPS:
            times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def main():
    # Answers go where stdout was; what libraries print does not get between them.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.filterwarnings("ignore")

    def answer(work):
        try:
            result = work()
        except Exception as e:
            result = {"error": f"{type(e).__name__}: {str(e).strip().splitlines()[0] if str(e).strip() else 'no reason given'}"}
        print(json.dumps(result), file=answers, flush=True)

    peer, case, run = None, None, None

    def start():
        nonlocal peer
        peer = PEERS[sys.argv[1]]()
        return {"version": peer.version}

    def serve(request):
        nonlocal case, run
        if "export" in request:
            return {"done": peer.export(request["export"], request["path"])}
        if request["time"] != case:
            # The old one goes before the new one comes.
            case = run = None
            run = peer.make(request["time"])
            case = request["time"]
        return {"ms": median_ms(run, request["repeats"])}

    answer(start)
    for line in sys.stdin:
        answer(lambda: serve(json.loads(line)))


if __name__ == "__main__":
    main()
