"""Files that MXNet's own users write and load: Gluon's ``.params`` and the layers as JSON."""

import re
import warnings
from pathlib import Path

import numpy as np
from mxnet import autograd, gluon, npx
from mxnet import np as mnp
from mxnet.gluon import nn

from common.network import architecture
from nin_mxnet._graph import as_graph
from nin_mxnet.model import nin
from nin_mxnet.weights import parameters


def save_native(net: nn.Sequential, path: Path) -> list[Path]:
    """Write a network; see :class:`common.contract.Backend`.

    ``gluon.SymbolBlock.imports("nin-symbol.json", ["data"], "nin.params")`` reads it, without
    this project.
    """
    graph = as_graph(net)
    # differs: the graph comes into being when it sees the first images
    in_channels = next(iter(parameters(net).values())).shape[1]
    size = architecture.smallest_input()
    graph(mnp.zeros((1, in_channels, size, size))).wait_to_read()
    graph.export(str(path.with_suffix("")), epoch=0)
    path.with_name(f"{path.stem}-0000.params").rename(path)
    return [_symbol(path), path]


def load_native(path: Path) -> dict[str, np.ndarray]:
    """The weights in a file by canonical name; see :class:`common.contract.Backend`."""
    arrays = npx.load(str(path))
    # differs: Gluon numbers the layers per process, so the order counts and not the names; it is
    # that of the numbers in a graph's names (conv0_weight) as in a network's (0.0.weight)
    native = sorted(arrays, key=_in_order)
    canonical = sorted(architecture.parameter_shapes(), key=_in_order)
    names = dict(zip(native, canonical, strict=True)) if len(native) == len(canonical) else {}
    return {names.get(name, name): arrays[name].asnumpy() for name in native}


def run_native(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Logits of what the file holds; see :class:`common.contract.Backend`."""
    if _symbol(path).exists():
        with warnings.catch_warnings():
            # it cannot tell the type of the images before it sees some
            warnings.simplefilter("ignore", UserWarning)
            net = gluon.SymbolBlock.imports(str(_symbol(path)), ["data"], str(path))
    else:
        # differs: Gluon's save_parameters writes no layers, so the book's have to be there
        net = nin(len(load_native(path)["block4.conv3.bias"]), pixels.shape[1])
        net.load_parameters(str(path))
    with autograd.predict_mode():
        return net(mnp.array(pixels)).asnumpy()


def _symbol(path: Path) -> Path:
    """Where the layers are, as ``export`` names it."""
    return path.with_name(f"{path.stem}-symbol.json")


def _in_order(name: str) -> list[str | int]:
    """A key that sorts conv10 behind conv9."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
