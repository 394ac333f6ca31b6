"""The layers of a network in MXNet by canonical name, and their outputs, channels first."""

from collections.abc import Iterator

import numpy as np
from mxnet import np as mnp
from mxnet.gluon import Block, nn

from common.contract import LayerOutput
from common.errors import NinError
from common.network.architecture import passing
from common.network.names import Named, leaves, name_layers

# kind, as names have it, of each layer
KINDS: dict[type, str | None] = {
    nn.Conv2D: "conv",
    nn.Dense: "dense",
    # differs: mostly a part of its convolution
    **dict.fromkeys((nn.Activation, nn.LeakyReLU, nn.ELU, nn.GELU, nn.Swish), "relu"),
    nn.MaxPool2D: "pool",
    nn.AvgPool2D: "pool",
    nn.Dropout: "dropout",
    nn.GlobalAvgPool2D: "global_pool",
    nn.GlobalMaxPool2D: "global_pool",
    nn.Flatten: "flatten",
}


def named_layers(net: Block) -> tuple[Named, ...]:
    """The layers of a network, named; see :mod:`common.network.names`.

    Raises:
        NinError: for a network that is not a sequence of layers, or was built for the
            old kind of MXNet's arrays.
    """
    # the book's edition 1.0 has the sequence in a class, as its only part
    while not isinstance(net, nn.Sequential | nn.HybridSequential) and len(net._children) == 1:
        (net,) = net._children.values()

    def inside(layer: Block) -> list[Block] | None:
        # one that is derived from it may do more than pass on
        for plain in (nn.Sequential, nn.HybridSequential):
            methods = ("forward", "hybrid_forward")
            found, own = (
                [getattr(kind, m, None) for m in methods] for kind in (type(layer), plain)
            )
            if isinstance(layer, plain) and found == own:
                return list(layer)
        return None

    if inside(net) is None:
        raise NinError(f"`net={type(net).__name__}`: an nn.Sequential of layers is needed")

    def kind(layer: Block) -> str | None:
        if getattr(layer, "_op_name", None) == "Convolution":
            raise NinError(
                f"`net={type(net).__name__}`: built before MXNet's NumPy interface was "
                "switched on; build it after `import nin_mxnet`, or after `mxnet.npx.set_np()`"
            )
        return KINDS.get(type(layer), type(layer).__name__.lower())

    return name_layers(inside(net) or [], inside, kind)


def describe(net: Block) -> list[str]:
    """A line for each layer: its name and MXNet's own words for all that it is made of."""
    return [f"{each.name}: {each.layer}" for each in leaves(named_layers(net))]


def dropout_rate(net: Block) -> float:
    """Of the network's first dropout layer; 0 if it has none."""
    layers = (each.layer for each in leaves(named_layers(net)))
    return next((layer._rate for layer in layers if isinstance(layer, nn.Dropout)), 0.0)


def shape_walk(net: Block, images: np.ndarray) -> Iterator[LayerOutput]:
    """The book's loop: feed images through the layers one by one.

    Args:
        net: a sequence of layers.
        images: float32, (batch, channels, height, width).

    Yields:
        One entry per layer.
    """
    X = mnp.array(images)
    for value in net.collect_params().values():
        # differs: a network that was built by hand has no weights yet
        if value._data is None and not value._deferred_init:
            value.initialize()
        X = X.astype(value.dtype).as_in_ctx(value.list_ctx()[0])
    for name, layer, _ in named_layers(net):
        with passing(name, X.shape, images):
            X = layer(X)
        yield LayerOutput(layer.name, str(X.shape), name, to_nchw(X))


def activations(net: Block, X: mnp.ndarray) -> dict[str, np.ndarray]:
    """Outputs of all layers, and within the blocks of each convolution after its ReLU.

    Args:
        net: a sequence of layers; dropout is off.
        X: pixels as the network takes them.

    Returns:
        ``input``, ``block1.conv1`` ... ``flatten`` -> array, channels first, in order.
    """
    outputs = {"input": to_nchw(X)}
    for name, layer, _ in leaves(named_layers(net)):
        X = layer(X)
        if name is not None:
            outputs[name] = to_nchw(X)
    return outputs


def to_nchw(value: mnp.ndarray) -> np.ndarray:
    """A layer's output as an array, channels first."""
    return value.asnumpy()
