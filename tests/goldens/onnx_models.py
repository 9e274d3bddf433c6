"""ONNX models for the tests, and what PyTorch and ONNX Runtime make of them.

- torchvision's networks by both of PyTorch's exporters, without their weights: each tensor's values are said to lie in a file of its
  own, called as the tensor, which the tests write by the closed-form fill. Batch-norms are kept, as folded ones have no names.
- A small network of many operators, whole, by both exporters with their usual settings, which fold batch-norms.
- Graphs written by hand, of the operators and the ways to store numbers that PyTorch's exporters do not use.
"""

import io
import shutil
import warnings

import numpy as np
import onnx
import onnxruntime
import onnxscript
import torch
import torchvision
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from common import report, save
from fill import fill_image, fill_value
from zoo import filled

# Sides of the image that is exported with.
TORCHVISION = {"vgg11": 64, "resnet18": 64, "densenet121": 64, "mobilenet_v2": 64, "inception_v3": 79}


def fill(model):
    state = model.state_dict()
    for name, value in state.items():
        if value.dtype == torch.float32:
            state[name] = torch.from_numpy(fill_value(name, tuple(value.shape), state))
    model.load_state_dict(state)
    return model.eval()


def narrow_vgg():
    """Not torchvision's VGG-11 but one for small images: what its classifier reads is 2x2 instead of 7x7, and its dense layers have 16
    features, so that the numbers of the whole can be compared without half a gigabyte of weights."""
    model = torchvision.models.vgg11(weights=None, num_classes=10)
    model.avgpool = nn.AdaptiveAvgPool2d(2)
    model.classifier[0] = nn.Linear(512 * 2 * 2, 16)
    model.classifier[3] = nn.Linear(16, 16)
    model.classifier[6] = nn.Linear(16, 10)
    return fill(model)


def export(model, x, exporter, **settings):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "torchscript":
            torch.onnx.export(model, (x,), file, dynamo=False, **settings)
            return onnx.load_from_string(file.getvalue())
        program = torch.onnx.export(model, (x,), dynamo=True, verbose=False, **settings)
        if not settings.get("optimize", True):  # What remains of optimising when batch-norms are not to be folded.
            onnxscript.optimizer.inline(program.model)
            onnxscript.optimizer.fold_constants(program.model)
            onnxscript.optimizer.remove_unused_nodes(program.model)
    return program.model_proto


def without_notes(model):
    """Takes off what says where in the exporter's machine a node comes from."""
    model.ClearField("metadata_props")
    model.graph.ClearField("value_info")
    model.graph.ClearField("metadata_props")
    model.graph.ClearField("doc_string")
    for node in model.graph.node:
        node.ClearField("doc_string")
        keep = [p for p in node.metadata_props if p.key == "pkg.torch.onnx.name_scopes"]
        if node.op_type in ("Conv", "BatchNormalization", "Gemm"):  # Their weights tell.
            keep = []
        node.ClearField("metadata_props")
        node.metadata_props.extend(keep)
    for value in [*model.graph.input, *model.graph.output, *model.graph.initializer]:
        value.ClearField("metadata_props")
        value.ClearField("doc_string")
    return model


def without_weights(model, names):
    for tensor in model.graph.initializer:
        if tensor.name in names:
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=tensor.name)
    return model


def write(model, path):
    path.write_bytes(model.SerializeToString())
    print(f"wrote {path.name}: {len(model.graph.node)} nodes, {path.stat().st_size:,} bytes")


class Small(nn.Module):
    """Many operators; squeeze-and-excitation, a vector batch-norm, shapes that are computed from the image's."""

    def __init__(self):
        super().__init__()
        self.pad = nn.ZeroPad2d((1, 0, 0, 2))
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.depthwise = nn.Conv2d(8, 8, (3, 5), padding=(2, 4), dilation=2, groups=8)
        self.prelu = nn.PReLU(8)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.SiLU(), nn.Conv2d(4, 8, 1), nn.Hardsigmoid())
        self.down = nn.MaxPool2d(3, 2, 1, ceil_mode=True)
        self.left = nn.Sequential(nn.Conv2d(8, 6, 1), nn.LeakyReLU(0.2), nn.BatchNorm2d(6))
        self.right = nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.Conv2d(8, 6, 1), nn.ELU(0.7), nn.Tanh())
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.last = nn.Conv2d(12, 10, 3, bias=False)
        self.bn = nn.BatchNorm2d(10)
        self.fc1 = nn.Linear(10, 7)
        self.bn1 = nn.BatchNorm1d(7)
        self.drop = nn.Dropout(0.3)
        self.fc2 = nn.Linear(7, 5)

    def forward(self, x):
        x = self.stem(self.pad((x - 0.25) / 0.5))
        x = self.prelu(self.depthwise(x))
        x = self.down(x * self.gate(x))
        x = torch.cat([self.left(x), self.right(x)], 1)
        x = torch.clamp(self.bn(self.last(self.up(x))), -1.5, 2.5)
        x = 2.0 * x + torch.sigmoid(x)
        x = x.mean((2, 3)).view(x.size(0), -1)
        x = self.drop(torch.relu(self.bn1(self.fc1(x))))
        return torch.softmax(self.fc2(x), 1)


def logits_and_gradient(model, x, logits, cls):
    x = x.clone().requires_grad_()
    y = logits(model, x)
    return y.detach().numpy(), torch.autograd.grad(y[0, cls], x)[0].numpy()


def before_softmax(model, x):
    seen = []
    hook = model.fc2.register_forward_hook(lambda m, i, o: seen.append(o))
    model(x)
    hook.remove()
    return seen[0]


def random(*shape, name):
    return fill_image(name, 1, 1, 1, int(np.prod(shape))).reshape(shape)


def graph(name, nodes, tensors, shape, opset, classes):
    """A model of these nodes whose image is `x` and output `y`."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [shape[0], classes])
    g = helper.make_graph(nodes, name, [x], [y], tensors)
    model = helper.make_model(g, opset_imports=[helper.make_opsetid("", opset)], producer_name="tests")
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], name=f"net/{output}/{op}", **attributes)


def stored(name, values, kind=TensorProto.FLOAT, raw=True):
    """A tensor of any type, as raw bytes or in the list of its type."""
    if raw:
        return numpy_helper.from_array(values.astype(helper.tensor_dtype_to_np_dtype(kind)), name)
    return helper.make_tensor(name, kind, values.shape, values.flatten())


def old(opset=9):
    """Attributes that are inputs today, padding by rule, numbers as lists; the weights are inputs of the graph too."""
    f = np.float32
    tensors = [
        stored("conv.weight", random(6, 3, 3, 3, name="old.conv") * f(0.3), raw=False),
        stored("mean", random(3, 1, 1, name="old.mean")),
        stored("std", np.abs(random(1, 3, 1, 1, name="old.std")) + f(0.5)),
        stored("w2", random(6, 3, 2, 2, name="old.w2") * f(0.3)),
        stored("bias", random(6, 1, 1, name="old.bias")),
        stored("fc", random(12, 4, name="old.fc") * f(0.3)),
        stored("fc_bias", random(1, 4, name="old.fc_bias")),
        stored("scales", np.array([1, 1, 2, 2], np.float32)),
    ]
    nodes = [
        node("Sub", ["x", "mean"], "centred"),
        node("Div", ["centred", "std"], "scaled"),
        node("Conv", ["scaled", "conv.weight"], "c1", auto_pad="SAME_LOWER", strides=[2, 2]),
        node("Add", ["bias", "c1"], "c1b"),
        node("Clip", ["c1b"], "clipped", min=0.0, max=6.0),
        node("Pad", ["clipped"], "padded", pads=[0, 0, 1, 0, 0, 0, 0, 2], mode="constant"),
        node("MaxPool", ["padded"], "pooled", auto_pad="SAME_UPPER", kernel_shape=[3, 3], strides=[2, 2]),
        node("Upsample", ["pooled", "scales"], "up", mode="nearest"),
        node("Conv", ["up", "w2"], "c2", auto_pad="VALID", group=2, dilations=[2, 1]),
        node("Elu", ["c2"], "elu", alpha=0.5),
        node("AveragePool", ["elu"], "mean_pool", kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 0, 0], count_include_pad=1),
        node("GlobalMaxPool", ["mean_pool"], "most"),
        node("Dropout", ["most"], "dropped", ratio=0.25),
        node("ReduceMean", ["mean_pool"], "average", axes=[-2, -1]),
        node("Concat", ["dropped", "average"], "both", axis=1),
        node("Squeeze", ["both"], "vector", axes=[2, 3]),
        node("Gemm", ["vector", "fc", "fc_bias"], "logits", alpha=0.5, beta=2.0),
        node("Softmax", ["logits"], "y"),
    ]
    model = graph("old", nodes, tensors, [1, 3, 15, 18], opset, 4)
    model.graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in tensors)
    model.ir_version = 3
    return model


def channels_last(opset=18):
    """As other frameworks' graphs are: the channels last at both ends, a matrix product and its bias, other types of numbers."""
    f = np.float32
    tensors = [
        stored("kernel", random(5, 3, 3, 3, name="last.kernel") * f(0.3), TensorProto.FLOAT16),
        stored("gamma", np.abs(random(5, name="last.gamma")) + f(0.5), TensorProto.DOUBLE),
        stored("beta", random(5, name="last.beta"), TensorProto.BFLOAT16),
        stored("mean", random(5, name="last.mean"), TensorProto.DOUBLE, raw=False),
        stored("var", np.abs(random(5, name="last.var")) + f(0.5), TensorProto.FLOAT16, raw=False),
        stored("gain", random(5, name="last.gain")),
        stored("dense", random(5 * 12, 7, name="last.dense") * f(0.3)),
        stored("dense_bias", random(7, name="last.dense_bias")),
        stored("turned", random(3, 7, name="last.turned") * f(0.3)),
        stored("target", np.array([0, -1]), TensorProto.INT64, raw=False),
        stored("pads", np.array([1, 0, 0, 1]), TensorProto.INT64),
        stored("axes", np.array([1, 2]), TensorProto.INT64),
        stored("least", np.array(-0.5, np.float32)),
    ]
    nodes = [
        node("Transpose", ["x"], "x1", perm=[0, 3, 1, 2]),
        *[node("Cast", [name], f"{name}32", to=TensorProto.FLOAT) for name in ["kernel", "gamma", "beta", "mean", "var"]],
        node("Conv", ["x1", "kernel32"], "c", strides=[2, 2], pads=[0, 0, 1, 1]),
        node("BatchNormalization", ["c", "gamma32", "beta32", "mean32", "var32"], "n", epsilon=0.001),
        node("Transpose", ["n"], "n1", perm=[0, 2, 3, 1]),
        node("Clip", ["n1", "least"], "cut"),
        node("Mul", ["cut", "gain"], "gained"),
        node("ReduceMax", ["gained", "axes"], "peak"),
        node("HardSigmoid", ["peak"], "gate"),
        node("Mul", ["gate", "gained"], "gated"),
        node("Sub", ["gated", "gained"], "difference"),
        node("Pad", ["difference", "pads", "", "axes"], "padded"),
        node("Reshape", ["padded", "target"], "flat"),
        node("MatMul", ["flat", "dense"], "product"),
        node("Add", ["product", "dense_bias"], "hidden"),
        node("Mish", ["hidden"], "mish"),
        node("Gemm", ["mish", "turned"], "logits", transB=1),
        node("Identity", ["logits"], "same"),
        node("Sigmoid", ["same"], "y"),
    ]
    return graph("channels_last", nodes, tensors, [1, 5, 7, 3], opset, 3)


def operators(opset=20):
    """Each activation that PyTorch's exporters take apart, as channels of its own; linear resizing and slices."""
    functions = [("Selu", {}), ("Selu", {"alpha": 1.2, "gamma": 0.9}), ("Softplus", {}), ("Softsign", {}), ("Exp", {}), ("Gelu", {}),
                 ("Gelu", {"approximate": "tanh"}), ("ThresholdedRelu", {"alpha": 0.3}), ("ThresholdedRelu", {})]
    tensors = [
        stored("scales", np.array([1, 1, 2, 3], np.float32)),
        stored("starts", np.array([1, -13]), TensorProto.INT64),
        stored("ends", np.array([-2, 9999]), TensorProto.INT64),
        stored("axes", np.array([2, -1]), TensorProto.INT64),
        *[stored(f"kernel{i}", random(2, 3, 3, 3, name=f"operators.kernel{i}") * np.float32(0.15)) for i in range(len(functions))],
    ]
    nodes = [
        *[node("Conv", ["x", f"kernel{i}"], f"c{i}") for i in range(len(functions))],
        *[node(op, [f"c{i}"], f"f{i}", **settings) for i, (op, settings) in enumerate(functions)],
        node("Concat", [f"f{i}" for i in range(len(functions))], "joined", axis=1),
        node("Resize", ["joined", "", "scales"], "larger", mode="linear"),
        node("Slice", ["larger", "starts", "ends", "axes"], "smaller"),
        node("GlobalAveragePool", ["smaller"], "mean"),
        node("Flatten", ["mean"], "logits"),
        node("Softmax", ["logits"], "y"),
    ]
    return graph("operators", nodes, tensors, [1, 3, 9, 8], opset, 2 * len(functions))


def beside(model, folder, name):
    """Moves the weights into one file beside the model, one after another."""
    onnx.save(model, folder / name, save_as_external_data=True, location=f"{name}.data", size_threshold=64)


def before_activation(model):
    """The logits by ONNX Runtime: what the last softmax or sigmoid reads."""
    logits = onnx.ModelProto()
    logits.CopyFrom(model)
    logits.graph.output.add().CopyFrom(helper.make_tensor_value_info("logits", TensorProto.FLOAT, None))
    return onnxruntime.InferenceSession(logits.SerializeToString(), providers=["CPUExecutionProvider"])


def make(out):
    folder = out / "onnx"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    tensors = {}
    for network, side in TORCHVISION.items():
        model = narrow_vgg() if network == "vgg11" else filled(network)
        x = torch.from_numpy(fill_image(f"input.{side}x{side}", 1, 3, side, side))
        script = export(model, x, "torchscript", training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
        dynamo = export(model, x, "dynamo", optimize=False)
        for exporter, exported in [("torchscript", script), ("dynamo", dynamo)]:
            write(without_weights(without_notes(exported), model.state_dict()), folder / f"{network}.{exporter}.onnx")
        if network == "vgg11":  # The others' numbers are those of the zoo and of the networks.
            exact = logits_and_gradient(model.double(), x.double(), lambda m, x: m(x), 0)
            single = logits_and_gradient(model.float(), x, lambda m, x: m(x), 0)
            for key, value, rounded in zip(["logits", "dx"], exact, single):
                report(f"{network} {key}", rounded, value)
            tensors |= {f"{network}.logits": exact[0], f"{network}.dx.part": exact[1][:, :, ::5, ::5]}

    small = fill(Small())
    x = torch.from_numpy(fill_image("onnx.small", 1, 3, 21, 26))
    exact = logits_and_gradient(small.double(), x.double(), before_softmax, 1)
    tensors |= {"small.logits": exact[0], "small.dx": exact[1]}
    small = small.float()
    for name, exporter, settings in [
        ("small.torchscript9", "torchscript", {"opset_version": 9}),
        ("small.torchscript17", "torchscript", {"opset_version": 17, "dynamic_axes": {"x": {0: "batch"}}, "input_names": ["x"]}),
        ("small.dynamo", "dynamo", {}),
    ]:
        write(without_notes(export(small, x, exporter, **settings)), folder / f"{name}.onnx")

    for name, model in [("old", old()), ("channels_last", channels_last()), ("operators", operators())]:
        shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        x = fill_image(f"onnx.{name}", *shape)
        y, logits = before_activation(model).run(["y", "logits"], {"x": x})
        tensors |= {f"{name}.y": y, f"{name}.logits": logits}
        write(model, folder / f"{name}.onnx")
    beside(channels_last(), folder, "beside.onnx")
    save(out / "onnx.safetensors", {k: v.astype(np.float32) for k, v in tensors.items()})
