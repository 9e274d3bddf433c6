"""Makes the files that the fuzz targets begin from: valid ones (`seed_*`), and ones made up to take much memory or time (`bomb_*`). Files
of the goldens and of the tests of weights are seeds too and are not repeated here. `python seeds.py` (torch 2, h5py 3, onnx)."""

import json
import struct
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path

import h5py
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
KERAS = HERE.parent / "goldens" / "keras"


def corpus_file(kind, name, of="seed"):
    folder = HERE / "corpus" / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{of}_{name}"


def bomb(kind, name, content):
    corpus_file(kind, name, "bomb").write_bytes(content)


def ramp(*shape, dtype=np.float32):
    return (np.arange(int(np.prod(shape)), dtype=np.float32) * 0.25 - 1).reshape(shape).astype(dtype)


def safetensors(path, tensors, metadata=None):
    header, values, at = {}, b"", 0
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        values, at = values + data, at + len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + values)


def make_safetensors():
    f32 = ramp(4, 3, 2, 2).tobytes()
    every = {}
    sizes = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1}
    for dtype, size in sizes.items():
        every[dtype.lower()] = (dtype, [2, 3], bytes(range(6 * size)))
    safetensors(corpus_file("safetensors", "types"), every)
    safetensors(corpus_file("safetensors", "conv"), {"conv.weight": ("F32", [4, 3, 2, 2], f32), "conv.bias": ("F32", [4], f32[:16])})
    safetensors(corpus_file("safetensors", "metadata"), {"module.w": ("F32", [4, 4], f32[:64]), "module.s": ("F32", [], f32[:4])}, {"format": "pt"})
    safetensors(corpus_file("safetensors", "empty_tensor"), {"w": ("F32", [0, 3], b""), "v": ("F16", [2], f32[:4])})
    fp8 = {"w": ("F8_E4M3", [4], f32[:4])}
    safetensors(corpus_file("safetensors", "fp8"), fp8)
    sequential = keras_config("small_sequential")
    safetensors(corpus_file("safetensors", "keras"), {"conv.kernel": ("F32", [2, 2, 3, 4], f32)}, {"keras.model_config": sequential})


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 2, 2)
        self.norm = torch.nn.BatchNorm2d(2)


def fill(tensor):
    return torch.from_numpy(ramp(*tensor.shape)).to(tensor.dtype)


def make_torch():
    net = Net()
    net.load_state_dict({name: fill(value) for name, value in net.state_dict().items()})
    shared = torch.from_numpy(ramp(6, 4))
    states = {
        "state": net.state_dict(),
        "module": net,
        "views": {"whole": shared, "row": shared[2], "turned": shared.t(), "half": shared.half(), "inner": {"list": [shared[0], 3, "text"]}},
        "types": {str(t).split(".")[1]: torch.ones(3, dtype=t) for t in (torch.float64, torch.int64, torch.int32, torch.int8, torch.uint8, torch.bool, torch.bfloat16)},
        "parameter": OrderedDict(w=torch.nn.Parameter(shared)),
    }
    for name, state in states.items():
        torch.save(state, corpus_file("pth", name))
        torch.save(state, corpus_file("legacy", name), _use_new_zipfile_serialization=False)
        torch.save(state, corpus_file("legacy", f"{name}_protocol4"), _use_new_zipfile_serialization=False, pickle_protocol=4)


def keras_config(name):
    with h5py.File(KERAS / f"{name}.h5") as file:
        return file.attrs["model_config"]


def make_hdf5():
    kernel, bias = ramp(2, 2, 3, 4), ramp(4)
    config = {
        "class_name": "Sequential",
        "config": {
            "name": "tiny",
            "layers": [
                {"class_name": "InputLayer", "config": {"name": "in", "batch_input_shape": [None, 6, 5, 3]}},
                {"class_name": "Conv2D", "config": {"name": "conv", "filters": 4, "kernel_size": [2, 2], "activation": "relu"}},
                {"class_name": "GlobalAveragePooling2D", "config": {"name": "pool"}},
                {"class_name": "Dense", "config": {"name": "fc", "units": 2, "activation": "softmax"}},
            ],
        },
    }
    for version in ("earliest", "latest"):
        with h5py.File(corpus_file("hdf5", f"{version}_model"), "w", libver=version) as file:
            file.attrs["model_config"] = json.dumps(config)
            weights = file.create_group("model_weights")
            weights.attrs["layer_names"] = [b"in", b"conv", b"fc"]
            weights.create_group("in").attrs["weight_names"] = np.array([], dtype=np.float64)
            for layer, values in {"conv": {"kernel:0": kernel, "bias:0": bias}, "fc": {"kernel:0": ramp(4, 2), "bias:0": ramp(2)}}.items():
                group = weights.create_group(layer)
                group.attrs["weight_names"] = [f"{layer}/{name}".encode() for name in values]
                for name, value in values.items():
                    group.create_dataset(f"{layer}/{name}", data=value)
        with h5py.File(corpus_file("hdf5", f"{version}_layouts"), "w", libver=version) as file:
            file.create_dataset("plain", data=kernel)
            file.create_dataset("scalar", data=np.float32(1.5))
            file.create_dataset("text", data="text")
            file.create_dataset("half", data=kernel.astype(np.float16))
            file.create_dataset("big_endian", data=kernel.astype(">f4"))
            file.create_dataset("doubles", data=kernel.astype(np.float64), chunks=(1, 2, 3, 2))
            file.create_dataset("integers", data=np.arange(12, dtype=np.int16), chunks=(5,), scaleoffset=0)
            file.create_dataset("deflate", data=ramp(40, 8), chunks=(16, 8), compression="gzip", shuffle=True)
            file.create_dataset("checked", data=ramp(30), chunks=(8,), fletcher32=True)
            file.create_dataset("growing", data=ramp(9), chunks=(4,), maxshape=(None,))
            file.create_dataset("growing2", data=ramp(6, 3), chunks=(4, 2), maxshape=(None, None))
            file.create_dataset("never", shape=(50,), dtype=np.float32, fillvalue=2.5, chunks=(10,))
            file["soft"] = h5py.SoftLink("/plain")
            file["round"] = h5py.SoftLink("/round")
            file["hard"] = file["plain"]
            file.create_group("circle")["up"] = file["/"]
        with h5py.File(corpus_file("hdf5", f"{version}_many"), "w", libver=version) as file:
            group = file.create_group("layer", track_order=True)
            for i in range(20):
                group.create_dataset(f"variable_{i}", data=ramp(2))
                group.attrs[f"attribute_{i}"] = f"value {i}"
            file.attrs["layer_names0"] = [b"layer"]
            group.attrs["weight_names0"] = [b"variable_1"]
            group.attrs["weight_names1"] = ["variable_2"]
    dims = h5py.File(corpus_file("hdf5", "compact"), "w", libver="latest")
    with dims as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((2, 3))
        data = h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F32LE, space, plist)
        data.write(h5py.h5s.ALL, h5py.h5s.ALL, ramp(2, 3))


def make_json():
    for name in ("small_sequential", "small_functional"):
        corpus_file("keras_json", name).write_text(keras_config(name))
    layers = {
        "input": ("InputLayer", {"batch_shape": [None, 12, 10, 3]}),
        "pad": ("ZeroPadding2D", {"padding": [[0, 1], [1, 0]]}),
        "conv": ("Conv2D", {"filters": 4, "kernel_size": [3, 3], "strides": [2, 2], "padding": "valid", "dilation_rate": [1, 1], "groups": 1, "use_bias": False}),
        "norm": ("BatchNormalization", {"axis": 3, "epsilon": 0.001}),
        "act": ("Activation", {"activation": "relu"}),
        "depthwise": ("DepthwiseConv2D", {"kernel_size": 3, "strides": 1, "padding": "same", "depth_multiplier": 2}),
        "separable": ("SeparableConv2D", {"filters": 8, "kernel_size": 3, "padding": "same", "activation": "relu"}),
        "leaky": ("LeakyReLU", {"negative_slope": 0.1}),
        "max": ("MaxPooling2D", {"pool_size": 2, "strides": None, "padding": "valid"}),
        "drop": ("Dropout", {"rate": 0.5}),
        "flatten": ("Flatten", {}),
        "fc": ("Dense", {"units": 3, "activation": "softmax"}),
    }
    specs = []
    for name, (kind, config) in layers.items():
        specs.append({"class_name": kind, "config": {"name": name, **config}})
    corpus_file("keras_json", "layers").write_text(json.dumps({"class_name": "Sequential", "config": {"name": "net", "layers": specs}}))


def make_card():
    normalization = {"order": "rgb", "scale": 1.0, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    preprocess = {"resize": {"short_side": 256}, "filter": "bilinear", "crop": [224, 224], "normalization": normalization}
    metadata = {"name": "resnet18", "classes": "image_net1k", "head": "softmax", "preprocess": preprocess}
    corpus_file("network_metadata", "resnet18").write_text(json.dumps(metadata))
    preprocess = {**preprocess, "resize": {"exact": {"h": 40, "w": 30}}, "crop": None}
    metadata = {"name": "resnet20-cifar-w4", "classes": {"named": ["cat", "dog"]}, "head": "sigmoid", "preprocess": preprocess}
    corpus_file("network_metadata", "named").write_text(json.dumps(metadata))
    metadata = {**metadata, "classes": {"count": 7}, "preprocess": {**preprocess, "resize": "none"}}
    corpus_file("network_metadata", "count").write_text(json.dumps(metadata))


def make_keras_zip():
    layers = [
        {"class_name": "InputLayer", "config": {"name": "in", "batch_shape": [None, 6, 5, 3]}},
        {"class_name": "Conv2D", "config": {"name": "conv", "filters": 4, "kernel_size": [2, 2], "activation": "relu"}},
        {"class_name": "GlobalAveragePooling2D", "config": {"name": "pool"}},
        {"class_name": "Dense", "config": {"name": "fc", "units": 2, "activation": "softmax"}},
    ]
    config = json.dumps({"class_name": "Sequential", "config": {"name": "tiny", "layers": layers}})
    file = HERE / "model.weights.h5"
    with h5py.File(file, "w", libver="latest") as weights:
        for layer, values in {"conv2d": [ramp(2, 2, 3, 4), ramp(4)], "dense": [ramp(4, 2), ramp(2)]}.items():
            group = weights.create_group(f"layers/{layer}/vars")
            for i, value in enumerate(values):
                group.create_dataset(str(i), data=value)
    for name, method in {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED}.items():
        with zipfile.ZipFile(corpus_file("keras_zip", name), "w", method) as archive:
            archive.writestr(zipfile.ZipInfo("metadata.json"), '{"keras_version": "3.0.0"}')
            archive.writestr(zipfile.ZipInfo("config.json"), config, method)
            archive.writestr(zipfile.ZipInfo("model.weights.h5"), file.read_bytes(), method)
    file.unlink()


def make_onnx():
    def save(name, nodes, weights, shape=("n", 3, 8, 6), opset=17, outputs=1):
        tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
        ends = [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None) for _ in range(outputs)]
        graph = helper.make_graph(nodes, name, [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)], ends, tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        corpus_file("onnx", name).write_bytes(model.SerializeToString())

    def node(kind, inputs, output, **attributes):
        return helper.make_node(kind, inputs.split(), [output], name=f"/net/{output}/{kind}", **attributes)

    f32 = np.float32
    weights = {"conv.weight": ramp(4, 3, 3, 3), "conv.bias": ramp(4), "fc.weight": ramp(2, 4), "fc.bias": ramp(2)}
    weights |= {f"bn.{part}": np.abs(ramp(4)) for part in ("weight", "bias", "running_mean", "running_var")}
    save(
        "plain",
        [
            node("Conv", "x conv.weight conv.bias", "c", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 1]),
            node("BatchNormalization", "c bn.weight bn.bias bn.running_mean bn.running_var", "b", epsilon=1e-3),
            node("Relu", "b", "r"),
            node("MaxPool", "r", "m", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
            node("GlobalAveragePool", "m", "g"),
            node("Flatten", "g", "f"),
            node("Gemm", "f fc.weight fc.bias", "y", transB=1),
        ],
        weights,
    )
    weights = {"dw": ramp(6, 1, 3, 3), "one": ramp(4, 6, 1, 1), "scale": ramp(4, 1, 1), "top": ramp(48, 3).astype(f32), "axes": np.array([2, 3])}
    weights |= {"pads": np.array([0, 0, 1, 0, 0, 0, 1, 1]), "half": np.array(0.5, f32), "sizes": np.array([1, 1, 2, 2], f32), "minus": np.array([-1])}
    save(
        "graph",
        [
            node("Pad", "x pads half", "p", mode="constant"),
            node("Conv", "x dw", "d", group=3, dilations=[2, 1], auto_pad="SAME_UPPER"),
            node("Clip", "d", "k"),
            node("Conv", "k one", "o"),
            node("Mul", "o scale", "s"),
            node("LeakyRelu", "s", "l", alpha=0.2),
            node("Add", "l o", "a"),
            node("Concat", "a l", "j", axis=1),
            node("AveragePool", "j", "v", kernel_shape=[2, 2], strides=[2, 2], count_include_pad=1),
            node("Shape", "v", "h"),
            helper.make_node("Constant", [], ["zero"], value=numpy_helper.from_array(np.array(0, np.int64))),
            node("Gather", "h zero", "n", axis=0),
            node("Unsqueeze", "n zero0", "u"),
            node("Concat", "u minus", "t", axis=0),
            node("Reshape", "v t", "q"),
            node("MatMul", "q top2", "z"),
            node("Softmax", "z", "y", axis=1),
        ],
        weights | {"zero0": np.array([0]), "top2": ramp(96, 3)},
    )
    tensor = helper.make_tensor("w", TensorProto.BFLOAT16, [2, 3, 1, 1], ramp(6).tolist())
    packed = [tensor, helper.make_tensor("i", TensorProto.INT64, [2], [1, 2]), helper.make_tensor("f", TensorProto.FLOAT, [3], [1, 2, 3])]
    outside = TensorProto(name="e", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "weights.bin", "offset": "0", "length": "16"}.items():
        outside.external_data.add(key=key, value=value)
    x = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])]
    y = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    nodes = [node("Conv", "x w", "c"), node("GlobalMaxPool", "c", "g"), node("Squeeze", "g i", "y")]
    for name, tensors in {"types": packed, "external": [*packed, outside]}.items():
        model = helper.make_model(helper.make_graph(nodes, name, x, y, tensors), opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
        corpus_file("onnx", name).write_bytes(model.SerializeToString())



def jpeg(*segments):
    whole = [struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content for marker, content in segments]
    return b"\xff\xd8" + b"".join(whole)


def png(*chunks):
    whole = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(whole)


def zipped(entries):
    path = HERE / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    path.unlink()
    return content


def keras_bomb(name, *layers, count=1, shape=(None, 12, 10, 3)):
    first = {"class_name": "InputLayer", "config": {"name": "input", "batch_shape": list(shape)}}
    specs = [{"class_name": kind, "config": {"name": f"{kind}", **config}} for kind, config in layers] * count
    bomb("keras_json", name, json.dumps({"class_name": "Sequential", "config": {"name": "net", "layers": [first, *specs]}}).encode())


def make_bombs():
    frame = struct.pack(">BHHB", 8, 9000, 9900, 3) + bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])
    bomb("jpeg", "size", jpeg((0xC0, frame)))
    # Scans of one bit a coefficient, all zero blocks.
    tables = [(0xDB, bytes([0]) + bytes([1] * 64)), (0xC4, bytes([0x10, 1] + [0] * 15 + [0xE0])), (0xC4, bytes([0x00, 1] + [0] * 15 + [0]))]
    scan = [(0xDA, bytes([1, 1, 0x00, 1, 63, 0]) + b"\x7f")]
    bomb("jpeg", "scans", jpeg((0xC2, struct.pack(">BHHB", 8, 4000, 4000, 1) + bytes([1, 0x11, 0])), *tables, *scan * 499) + b"\xff\xd9")
    header = struct.pack(">IIBBBBB", 9000, 9900, 16, 6, 0, 0, 0)
    bomb("png", "size", png((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")))
    small = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    zeros = zlib.compress(bytes(1 << 24), 9)
    bomb("png", "text", png((b"IHDR", small), (b"zTXt", b"a\0\0" + zeros), (b"iCCP", b"a\0\0" + zeros), (b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b"")))
    bomb("png", "data", png((b"IHDR", small), (b"IDAT", zeros), (b"IEND", b"")))
    zeros = bytes(1 << 24)
    bomb("pth", "pickle", zipped({"a/data.pkl": zeros, "a/version": b"3"}))
    bomb("pth", "objects", zipped({"a/data.pkl": b"\x80\x02" + b"N" * (1 << 23) + b".", "a/version": b"3"}))
    bomb("pth", "storage", zipped({"a/data.pkl": b"\x80\x02}.", "a/version": zeros, "a/byteorder": zeros}))
    bomb("keras_zip", "weights", zipped({"config.json": b"{}", "model.weights.h5": zeros}))
    bomb("keras_zip", "config", zipped({"config.json": b" " * (1 << 24), "model.weights.h5": b""}))
    # Each level holds the one below twice.
    laughs = b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60))
    for kind, levels in {"pairs": laughs, "lists": laughs.replace(b"\x86", b"\x86]q\xfah<e")}.items():
        bomb("legacy", kind, b"\x80\x02}X\x01\0\0\0a]q\0" + levels + b"s.")
    bomb("legacy", "deep", b"\x80\x02" + b"]" * 30000 + b"a" * 29999 + b".")
    bomb("legacy", "tuples", b"\x80\x02)" + b"\x85" * 30000 + b".")
    bomb("legacy", "marks", b"\x80\x02" + b"(" * 20000 + b"t" * 20000 + b".")
    bomb("legacy", "memo", b"\x80\x02]r\xff\xff\xff\xff.")
    keras_bomb("dilation", ("Conv2D", {"filters": 4, "kernel_size": 3, "dilation_rate": 1 << 24, "padding": "same"}))
    keras_bomb("zero_padding", ("ZeroPadding2D", {"padding": 1 << 24}), ("Conv2D", {"filters": 1, "kernel_size": 1}))
    keras_bomb("pool", ("MaxPooling2D", {"pool_size": 1 << 24, "padding": "same", "strides": 1}))
    keras_bomb("up", ("UpSampling2D", {"size": 1 << 10}), ("UpSampling2D", {"size": 1 << 10}), ("GlobalAveragePooling2D", {}))
    keras_bomb("same_name", ("Dropout", {"rate": 0.1}), count=800)
    keras_bomb("input", ("Flatten", {}), shape=(None, 1 << 20, 1 << 20, 3))
    bomb("keras_json", "deep", b'{"class_name":"Sequential","config":' + b"[" * 30000)
    nested = {"class_name": "Dropout", "config": {"name": "d", "rate": 0.5}}
    for i in range(60):
        nested = {"class_name": "Sequential", "config": {"name": f"n{i}", "layers": [nested]}}
    bomb("keras_json", "nested", json.dumps(nested).encode())
    model = {"class_name": "Sequential", "config": {"name": "m", "layers": [{"class_name": "Dropout", "config": {"name": "d", "rate": 0.5}}]}}
    for i in range(8):
        inner = {**model, "config": {**model["config"], "name": f"a{i}"}}, {**model, "config": {**model["config"], "name": f"b{i}"}}
        model = {"class_name": "Sequential", "config": {"name": "m", "layers": list(inner)}}
    model["config"]["layers"].insert(0, {"class_name": "InputLayer", "config": {"name": "input", "batch_shape": [None, 4, 4, 3]}})
    bomb("keras_json", "tree", json.dumps(model).encode())

    layers = [{"class_name": "InputLayer", "name": "v0", "config": {"name": "v0", "batch_shape": [None, 1, 1, 1]}, "inbound_nodes": []}]
    layers.append({"class_name": "Flatten", "name": "v1", "config": {"name": "v1"}, "inbound_nodes": [[["v0", 0, 0, {}]]]})
    for i in range(2, 40):
        twice = [[f"v{i - 1}", 0, 0, {}]] * 2
        layers.append({"class_name": "Concatenate", "name": f"v{i}", "config": {"name": f"v{i}"}, "inbound_nodes": [twice]})
    config = {"name": "net", "layers": layers, "input_layers": [["v0", 0, 0]], "output_layers": [["v39", 0, 0]]}
    bomb("keras_json", "doubled", json.dumps({"class_name": "Functional", "config": config}).encode())

    def onnx_bomb(name, nodes, tensors=()):
        x = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])]
        y = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
        graph = helper.make_graph(nodes, name, x, y, [numpy_helper.from_array(value, key) for key, value in dict(tensors).items()])
        bomb("onnx", name, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7).SerializeToString())

    node = helper.make_node
    constants = [node("ConstantOfShape", ["s"], [f"c{i}"]) for i in range(1000)]
    sums = [node("Add", [f"a{i}", f"c{i}"], [f"a{i + 1}"]) for i in range(1000)]
    onnx_bomb("constants", [*constants, node("Identity", ["c0"], ["a0"]), *sums, node("Reshape", ["x", "a1000"], ["y"])], {"s": np.array([65536])})
    chain = [node("Relu", [f"v{i}" if i else "x"], [f"v{i + 1}"]) for i in range(3000)]
    onnx_bomb("chain", [*chain, node("Relu", ["v3000"], ["y"])], {"w": ramp(1)})
    double = [node("Add", [f"v{i}" if i else "x"] * 2, [f"v{i + 1}"]) for i in range(60)]
    onnx_bomb("doubled", [*double, node("Relu", ["v60"], ["y"])], {"w": ramp(1)})
    wide = [node("Concat", [f"v{i}" if i else "x"] * 2, [f"v{i + 1}"], axis=1) for i in range(60)]
    onnx_bomb("wide", [*wide, node("Relu", ["v60"], ["y"])], {"w": ramp(1)})
    flat = [node("Flatten", ["x"], ["v0"])]
    flat += [node("Concat", [f"v{i}", f"v{i}"], [f"v{i + 1}"], axis=1) for i in range(40)]
    onnx_bomb("flat", [*flat, node("Relu", ["v40"], ["y"])], {"w": ramp(1)})
    onnx_bomb("loop", [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])], {"w": ramp(1)})
    onnx_bomb("pads", [node("Conv", ["x", "w"], ["y"], pads=[1 << 40] * 4)], {"w": ramp(1, 3, 1, 1)})
    onnx_bomb("minus", [node("Conv", ["x", "w"], ["c"], pads=[-9] * 4, strides=[0, -1], group=-3), node("Relu", ["c"], ["y"])], {"w": ramp(1, 3, 1, 1)})

    header = b"".join(b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},' % i for i in range(1000))[:-1]
    bomb("safetensors", "many", struct.pack("<Q", len(header) + 2) + b"{" + header + b"}")
    header = b'{"w":{"dtype":"F32","shape":[0,18446744073709551615,18446744073709551615],"data_offsets":[0,0]}}'
    bomb("safetensors", "shape", struct.pack("<Q", len(header)) + header)
    header = b'{"w":{"dtype":"F32","shape":[4294967296,1,1,0],"data_offsets":[0,0]}}'
    bomb("safetensors", "filters", struct.pack("<Q", len(header)) + header)
    header = b'{"__metadata__":' + b'{"a":' * 6000
    bomb("safetensors", "deep", struct.pack("<Q", len(header)) + header)


if __name__ == "__main__":
    make_safetensors()
    make_torch()
    make_hdf5()
    make_keras_zip()
    make_json()
    make_onnx()
    make_card()
    make_bombs()
