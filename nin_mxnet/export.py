"""Files that MXNet's own users write and load: Gluon's ``.params`` and the layers as JSON."""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon, npx
from mxnet import np as mnp
from mxnet.gluon import nn

from common.contract import Content
from common.conversion.kinds import layers_of_mxnet
from common.errors import NinError
from common.model import network_of, size_of
from common.network import architecture
from nin_mxnet._graph import as_graph
from nin_mxnet.model import nin
from nin_mxnet.weights import parameters

# Among the attributes of the layers' file, beside the version of MXNet.
METADATA = "nin"


def save_native(net: nn.Sequential, path: Path, metadata: Mapping[str, str]) -> list[Path]:
    """Write a network; see :class:`common.contract.Exporter`.

    ``gluon.SymbolBlock.imports("nin-symbol.json", ["data"], "nin.params")`` reads it, without
    this project.
    """
    graph = as_graph(net)
    # differs: the graph comes into being when it sees the first images
    in_channels = next(iter(parameters(net).values())).shape[1]
    size = size_of(metadata) or architecture.smallest_input(network_of(metadata))
    graph(mnp.zeros((1, in_channels, size, size))).wait_to_read()
    prefix = str(layers_of_mxnet(path)).removesuffix("-symbol.json")
    graph.export(prefix, epoch=0)
    Path(f"{prefix}-0000.params").rename(path)
    layers = json.loads(layers_of_mxnet(path).read_text())
    layers["attrs"][METADATA] = ["str", json.dumps(dict(metadata))]
    layers_of_mxnet(path).write_text(json.dumps(layers, indent=2))
    return [layers_of_mxnet(path), path]


def load_native(path: Path) -> Content:
    """What a file holds; see :class:`common.contract.Exporter`."""
    arrays = _arrays(path)
    layers = _layers(path, arrays)
    if layers is None:
        # differs: Gluon's save_parameters writes no layers
        notes = (
            (f"{layers_of_mxnet(path)} is of other parameters than {path}, and was passed over",)
            if layers_of_mxnet(path).exists()
            else ()
        )
        return Content({"": arrays}, True, {}, notes=notes)
    nodes = layers["nodes"]
    tensors: dict[str, np.ndarray] = {}
    used = set()
    rate = 0.0
    for i, node in enumerate(nodes):
        names = [nodes[each[0]]["name"] for each in node["inputs"]]
        if node["op"] in ("Convolution", "FullyConnected"):
            for kind, name in zip(("weight", "bias"), names[1:], strict=False):
                tensors[f"{i}.{node['name']}.{kind}"] = arrays[name]
        elif node["op"] == "Dropout":
            rate = float(node.get("attrs", {}).get("p", 0.5))
            continue
        used.update(names)
    # what other layers have, for the message that will refuse it
    known = {id(array) for array in tensors.values()}
    others = {n: a for n, a in arrays.items() if n in used and id(a) not in known}
    ours = layers.get("attrs", {}).get(METADATA, ["str", "{}"])[1]
    open_shape = (None, None, None, None)
    return Content({"": tensors | others}, True, json.loads(ours), open_shape, rate)


def run_native(path: Path, pixels: np.ndarray) -> list[np.ndarray]:
    """The outputs for pixels; see :class:`common.contract.Exporter`."""
    arrays = _arrays(path)
    layers = _layers(path, arrays)
    if layers is None:
        # differs: without layers the book's have to be there
        net: Any = nin(len([*arrays.values()][-1]), pixels.shape[1])
        net.load_parameters(str(path))
    else:
        net = _block(layers, arrays)
    with autograd.predict_mode():
        outputs = net(mnp.array(pixels))
    return [each.asnumpy() for each in (outputs if isinstance(outputs, list) else [outputs])]


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays in a file, whether or not NumPy's semantics were on when it was written."""
    try:
        arrays = npx.load(str(path))
    except mx.base.MXNetError as error:
        if "np_shape" not in str(error):
            raise
        npx.reset_np()
        try:
            arrays = mx.nd.load(str(path))
        finally:
            npx.set_np()
    if not isinstance(arrays, dict):
        raise NinError(f"{path}: holds arrays without names; save them with net.save_parameters")
    # what export writes says of each whether it is trained
    return {re.sub("^(arg|aux):", "", name): each.asnumpy() for name, each in arrays.items()}


def _layers(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, Any] | None:
    """The layers beside a file; None without any, or if they are of other parameters."""
    if not layers_of_mxnet(path).exists():
        return None
    try:
        layers: dict[str, Any] = dict(json.loads(layers_of_mxnet(path).read_bytes()))
        nodes = layers["nodes"]
    except (ValueError, TypeError, KeyError) as error:
        raise NinError(f"{layers_of_mxnet(path)}: damaged, or not MXNet's layers") from error
    for node in nodes:
        if node["op"] in ("Convolution", "FullyConnected"):
            if any(nodes[i]["name"] not in arrays for i, *_ in node["inputs"][1:]):
                return None
        elif node["op"] == "Custom":
            raise NinError(
                f"{layers_of_mxnet(path)}: it has a layer that is code, which is not run"
            )
        elif node["op"] in ("LRN", "L2Normalization"):  # others have parameters, which show
            raise NinError(
                f"{layers_of_mxnet(path)}: of another network: it has normalization ({node['op']})"
            )
        elif node["op"] == "SoftmaxOutput":  # it wants the labels too
            node.update(op="softmax", inputs=node["inputs"][:1], attrs={})
        # in float32, to be judged beside ours
        attributes = node.get("attrs", {})
        if "__dtype__" in attributes:
            attributes["__dtype__"] = "0"
        if attributes.get("dtype") in ("float16", "bfloat16", "float64"):
            attributes["dtype"] = "float32"
    return layers


def _block(layers: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    """Layers with their weights."""
    with tempfile.TemporaryDirectory() as directory:
        symbol, weights = Path(directory) / "symbol.json", Path(directory) / "weights.params"
        symbol.write_text(json.dumps(layers))
        graph = mx.sym.load(str(symbol))
        names = graph.list_arguments() + graph.list_auxiliary_states()
        given = [name for name in names if name not in arrays]
        kept = {n: mnp.array(arrays[n], dtype="float32") for n in names if n in arrays}
        npx.save(str(weights), {f"arg:{name}": array for name, array in kept.items()})
        return gluon.SymbolBlock.imports(str(symbol), given, str(weights))
