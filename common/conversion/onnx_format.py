"""The network as an ONNX file, written with ONNX's own helpers: no framework takes part.

The graph takes float32 pixels from 0 to 1, (batch, channels, height, width), of any batch and
any size from 67x67 up, and gives logits (batch, classes).
"""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import NinError
from common.model import Model, to_metadata
from common.network import architecture

# What every operator here needs, and not more: an older reader understands it too.
OPSET = 13
IR_VERSION = 7


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

    for layer in architecture.layers(model.num_classes):
        window = {"kernel_shape": [layer.kernel_size] * 2, "strides": [layer.stride] * 2}
        if layer.is_pool:
            add("MaxPool", layer.name, **window)
            continue
        parameters = f"{layer.name}.weight", f"{layer.name}.bias"
        add("Conv", f"{layer.name}.sum", *parameters, pads=[layer.padding] * 4, **window)
        # the ReLU that ends a convolution has the layer's name
        add("Relu", layer.name)
    add("GlobalAveragePool", "global_pool")
    add("Flatten", "logits")

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


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The weights in a file by canonical name, and its metadata; neither is checked.

    The convolutions are taken in the order of the graph, so that the file may be another
    exporter's. Tensors beyond this network's parameters are returned under the file's own names.
    """
    onnx = _import("onnx")
    proto = onnx.load(str(path), load_external_data=False)
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    convolutions = (node for node in proto.graph.node if node.op_type == "Conv")
    native = [name for node in convolutions for name in node.input[1:] if name in tensors]
    canonical = dict(zip(native, architecture.parameter_shapes(), strict=False))
    weights = {
        canonical.get(name, name): np.array(onnx.numpy_helper.to_array(tensors[name]))
        for name in native
    }
    return weights, {entry.key: entry.value for entry in proto.metadata_props}


def run(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Logits that onnxruntime computes for float32 pixels, (batch, channels, height, width)."""
    runtime = _import("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: pixels})
    return np.asarray(logits)


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
