"""The network as an ONNX file, written with ONNX's own helpers: no framework takes part.

The graph takes float32 pixels from 0 to 1, (batch, channels, height, width), of any batch and
any size from 67x67 up, and gives logits (batch, classes).
"""

import importlib
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from common.contract import Content
from common.errors import NinError, printable
from common.model import Model, to_metadata
from common.network import architecture

# What every operator here needs, and not more: an older reader understands it too.
OPSET = 13
IR_VERSION = 7

# whatever their numbers, which may change little
NORMALIZATION = re.compile(r"\w*Normalization|LRN")
QUANTIZED = re.compile(r"\w*(Quantize|Dequantize)Linear|QLinear\w*|\w*Integer")
# What weights may be computed with; nothing here makes more of a small file than it holds.
ARITHMETIC = {
    "Constant", "Identity", "Transpose", "Reshape", "Cast", "Unsqueeze", "Squeeze", "Flatten",
    "Mul", "Div", "Add", "Sub", "Neg", "Concat",
}  # fmt: skip


def save(model: Model, path: Path) -> list[Path]:
    """Write a model; the files that were written."""
    onnx = _import("onnx")
    helper = onnx.helper
    nodes: list[Any] = []
    last = "pixels"

    def add(operator: str, output: str, *inputs: str, **attributes: Any) -> None:
        nonlocal last
        nodes.append(helper.make_node(operator, [last, *inputs], [output], output, **attributes))
        last = output

    def add_weighted(operator: str, layer: architecture.Layer, name: str, **options: Any) -> None:
        # the ReLU that ends a layer has its name
        output = f"{layer.name}.sum" if layer.relu else name
        add(operator, output, f"{layer.name}.weight", f"{layer.name}.bias", **options)
        if layer.relu:
            add("Relu", layer.name)

    for layer in architecture.layers(model.num_classes, network=model.network):
        window = {"kernel_shape": [layer.kernel_size] * 2, "strides": [layer.stride] * 2}
        if layer.is_pool:
            add("MaxPool", layer.name, **window)
        else:
            add_weighted("Conv", layer, layer.name, pads=[layer.padding] * 4, **window)
    if model.network.head == "average":
        add("GlobalAveragePool", "global_pool")
    size = model.resize or architecture.smallest_input(model.network)
    dense = architecture.dense_layers(size, model.num_classes, model.network)
    add("Flatten", "flatten" if dense else "logits")
    for layer in dense:
        add_weighted("Gemm", layer, "logits", transB=1)

    def tensor(name: str, *shape: str | int) -> Any:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        "nin",
        [tensor("pixels", "batch", model.in_channels, "height", "width")],
        [tensor("logits", "batch", model.num_classes)],
        [onnx.numpy_helper.from_array(array, name) for name, array in model.weights.items()],
    )
    opset = helper.make_opsetid("", OPSET)
    proto = helper.make_model(
        graph, producer_name="nin-d2l", ir_version=IR_VERSION, opset_imports=[opset]
    )
    helper.set_model_props(proto, to_metadata(model))
    onnx.checker.check_model(proto, full_check=True)
    path.write_bytes(proto.SerializeToString())
    return [path]


def load(path: Path) -> Content:
    """What a file of any exporter holds; see :class:`common.contract.Exporter`.

    The convolutions are taken in the order of the graph. Their weights and biases may be computed
    from other constants.
    """
    proto = read_model(path)
    graph = proto.graph
    for node in graph.node:
        name = printable(node.op_type)
        if NORMALIZATION.fullmatch(node.op_type):
            raise NinError(f"{path}: of another network: it has normalization ({name})")
        what = "" if node.domain in ("", "ai.onnx") else "layers of an optimizer's own"
        if QUANTIZED.fullmatch(node.op_type):
            what = "quantized layers"
        if what:
            raise NinError(
                f"{path}: it has {what} ({name}), which the chapter's network does not; export "
                "the network as it was trained"
            )
    constants = Constants(graph)
    tensors: dict[str, np.ndarray] = {}
    for i, node in enumerate(n for n in graph.node if n.op_type in ("Conv", "Gemm", "MatMul")):
        weight, *bias = [constants.value(name) for name in node.input[1:] if name]
        if weight is None and (first := constants.value(node.input[0])) is not None:
            weight = first.T  # the weight is multiplied by the images
        if weight is None:
            raise NinError(
                f"{path}: of another network: what its {printable(node.op_type)} layers multiply "
                "by is an input or computed from the images, and no weight in the file"
            )
        if node.op_type != "Conv" and not any(e.name == "transB" and e.i for e in node.attribute):
            weight = weight.T
        if not bias:
            bias = [constants.added_to(node.output[0], len(weight))]
        # numbered, so that what stands behind the number does not matter
        tensors[f"{i}.{node.name}.weight"] = weight
        if bias[0] is not None:
            tensors[f"{i}.{node.name}.bias"] = bias[0].reshape(-1)
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    channels = next((a.shape[1] for a in tensors.values() if a.ndim == 4), 1)
    shape, _ = input_layout(graph, path, channels)
    training = [n.input[2] for n in graph.node if n.op_type == "Dropout" and len(n.input) > 2]
    notes: tuple[str, ...] = ()
    if any(constants.value(name) for name in training):  # onnxruntime removes it
        notes = (f"{path}: exported for training: its dropout is active, but was not run",)
    return Content({"": tensors}, True, metadata, shape, notes=notes, net=proto)


def run(path: Path, pixels: np.ndarray) -> list[np.ndarray]:
    """What onnxruntime computes; see :class:`common.contract.Exporter`."""
    proto = read_model(path)
    _, channels_last = input_layout(proto.graph, path, pixels.shape[1])
    session = start_session(proto)
    if channels_last:
        pixels = pixels.transpose(0, 2, 3, 1)
    given = {session.get_inputs()[0].name: np.ascontiguousarray(pixels)}
    return [np.asarray(each) for each in session.run(None, given)]


def start_session(proto: Any, threads: int = 0) -> Any:
    """A session of onnxruntime with a model, on so many CPU threads; 0: as many as it likes."""
    runtime = _import("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what is wrong it raises, too
    return runtime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


class Constants:
    """The values in a graph that do not depend on its input."""

    def __init__(self, graph: Any) -> None:
        self.evaluator = importlib.import_module("onnx.reference").ReferenceEvaluator
        to_array = _import("onnx").numpy_helper.to_array
        self.known = {tensor.name: np.array(to_array(tensor)) for tensor in graph.initializer}
        self.nodes = graph.node
        self.producers = producers_in(graph)

    def value(self, name: str) -> np.ndarray | None:
        """Of a name; None if it depends on the input."""
        node = self.producers.get(name)
        if name in self.known or node is None:
            return self.known.get(name)
        if node.op_type in ARITHMETIC:
            values = {each: self.value(each) for each in node.input if each}
            if all(value is not None for value in values.values()):
                results = self.evaluator(node).run(None, values)
                self.known.update(zip(node.output, results, strict=False))
        return self.known.get(name)

    def added_to(self, name: str, channels: int) -> np.ndarray | None:
        """What is added to the output of a convolution, one number for each channel."""
        outputs = {name}
        for node in self.nodes:
            if outputs.isdisjoint(node.input):
                continue
            # of a layer that is fully connected per pixel, or has the channels last
            if node.op_type in ("Reshape", "Transpose"):
                outputs |= set(node.output)
            elif node.op_type in ("Add", "Sum"):
                for other in node.input:
                    value = self.value(other)
                    if value is not None and value.size == channels:
                        return value
        return None


def read_model(path: Path) -> Any:
    """A model in float32, its functions written out, its weights from wherever they are."""
    onnx = _import("onnx")
    try:
        proto = onnx.load(str(path), load_external_data=False)
    except Exception as error:
        raise NinError(f"{path}: damaged, or not an ONNX model") from error
    if not proto.graph.node:
        raise NinError(f"{path}: damaged, or not an ONNX model (it holds no layers)")
    entries = [(t, e) for t in proto.graph.initializer for e in t.external_data]
    names = {entry.value for _, entry in entries if entry.key == "location"}
    try:
        for tensor, entry in entries:
            if entry.key == "location":
                # by its own name: ONNX follows no link, which is what a download may be kept as
                file = _itself(entry.value, path)
                entry.value = file.name
                onnx.external_data_helper.load_external_data_for_tensor(tensor, str(file.parent))
                tensor.data_location = onnx.TensorProto.DEFAULT
                del tensor.external_data[:]
        onnx.load_external_data_for_model(proto, str(path.parent))
    except Exception as error:
        shown = printable(", ".join(sorted(names)[:2])) + " ..." * (len(names) > 2)
        raise NinError(
            f"{path}: its weights are in another file, {shown}, which is not beside it or damaged; "
            "copy both"
        ) from error
    if proto.functions:
        proto = importlib.import_module("onnx.inliner").inline_local_functions(proto)
    _to_float32(proto.graph)
    return proto


def _itself(name: str, path: Path) -> Path:
    """The file with weights of a model, beside the model or beside what that is a link to."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError("not a file of the model")
    there = path.parent / name
    return (there if there.exists() else path.resolve().parent / name).resolve(strict=True)


def _to_float32(graph: Any) -> None:
    """Make half and double precision float32, so that layers can be judged beside ours."""
    onnx = _import("onnx")
    types = onnx.TensorProto
    others = {types.FLOAT16, types.BFLOAT16, types.DOUBLE}

    def tensor(old: Any) -> None:
        if old.data_type in others:
            array = onnx.numpy_helper.to_array(old).astype(np.float32)
            old.CopyFrom(onnx.numpy_helper.from_array(array, old.name))

    for each in graph.initializer:
        tensor(each)
    for each in (*graph.input, *graph.output, *graph.value_info):
        if each.type.tensor_type.elem_type in others:
            each.type.tensor_type.elem_type = types.FLOAT
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                tensor(attribute.t)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i in others:
                attribute.i = types.FLOAT


def input_layout(graph: Any, path: Path, channels: int) -> tuple[tuple[int | None, ...], bool]:
    """The shape of a graph's images, channels first, and whether the file has the channels last.

    Exporters of Keras's networks begin with a transposition, or with what comes to the same for
    the number of channels.
    """
    onnx = _import("onnx")
    # older files list the weights there too
    weights = {tensor.name for tensor in graph.initializer}
    given = [each for each in graph.input if each.name not in weights]
    if len(given) != 1:
        raise NinError(f"{path}: of another network: it takes {len(given)} inputs, expected one")
    kind = given[0].type.tensor_type
    if kind.elem_type != onnx.TensorProto.FLOAT:
        name = onnx.TensorProto.DataType.Name(kind.elem_type)
        raise NinError(
            f"{path}: of another network: it takes pixels of type {name}, expected float32 from 0 "
            "to 1; export the network without what prepares the images"
        )
    shape = [d.dim_value if d.dim_value > 0 else None for d in kind.shape.dim] or [None] * 4
    if len(shape) != 4:
        raise NinError(f"{path}: of another network: its input has {len(shape)} dimensions")
    firsts = [node for node in graph.node if given[0].name in node.input]
    permutations = [list(a.ints) for n in firsts for a in n.attribute if a.name == "perm"]
    if permutations == [[0, 3, 1, 2]] or shape[3] == channels != shape[1]:
        return (shape[0], shape[3], shape[1], shape[2]), True
    return tuple(shape), False


def producers_in(graph: Any) -> dict[str, Any]:
    """Name of a value -> the operation that gives it."""
    return {name: node for node in graph.node for name in node.output}


def logits_of(graph: Any, classes: int) -> tuple[list[Any], str]:
    """The operations on images that lead to a graph's logits, in order, and that output's name.

    Not those that compute a weight or a size. Of several outputs it is one of a number for each
    class; of these, that behind the most convolutions, with the fewest operations: no other head,
    and nothing made of the logits.
    """
    producers = producers_in(graph)
    ways: dict[str, list[Any]] = {}
    for output in graph.output:
        needed, todo = set(), [output.name]
        while todo:
            node = producers.get(todo.pop())
            if node is not None and node.output[0] not in needed:
                needed.add(node.output[0])
                todo += node.input
        ways[output.name] = [node for node in graph.node if node.output[0] in needed]

    def rank(output: Any) -> tuple[Any, ...]:
        sizes = [dim.dim_value for dim in output.type.tensor_type.shape.dim][1:]
        way = [node.op_type for node in ways[output.name]]
        convolutions = sum(kind in ("Conv", "MatMul", "Gemm") for kind in way)
        return math.prod(sizes) != classes, len(sizes), -convolutions, len(way)

    chosen = min(graph.output, key=rank).name
    weights = {tensor.name for tensor in graph.initializer}
    images = {given.name for given in graph.input} - weights
    nodes = []
    for node in ways[chosen]:
        if node.op_type not in ("Shape", "Size") and images.intersection(node.input):
            images.update(node.output)
            nodes.append(node)
    return nodes, chosen


def require() -> None:
    """Raise :class:`NinError` unless ONNX can be written and run here."""
    _import("onnx")
    _import("onnxruntime")


def _import(name: str) -> Any:
    """ONNX is needed here only; the rest of the project goes without."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NinError(
            f'{name} is not installed; install it with: pip install -e ".[onnx]"'
        ) from error
