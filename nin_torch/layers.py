"""The layers of a network in PyTorch by canonical name, and their outputs, channels first."""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from common.contract import LayerOutput
from common.errors import NinError
from common.network.architecture import passing
from common.network.names import Named, leaves, name_layers

# kind, as names have it, of each layer
KINDS: dict[type, str | None] = {
    **dict.fromkeys((nn.Conv2d, nn.LazyConv2d), "conv"),
    **dict.fromkeys((nn.Linear, nn.LazyLinear), "dense"),
    **dict.fromkeys((nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid), "relu"),
    nn.MaxPool2d: "pool",
    nn.AvgPool2d: "pool",
    nn.Dropout: "dropout",
    nn.AdaptiveAvgPool2d: "global_pool",
    nn.AdaptiveMaxPool2d: "global_pool",
    nn.Flatten: "flatten",
}


def named_layers(net: nn.Module) -> tuple[Named, ...]:
    """The layers of a network, named; see :mod:`common.network.names`.

    Raises:
        NinError: for a network that is not a sequence of layers.
    """
    # the book's edition 1.0 has the sequence in a class, as its only part
    while not isinstance(net, nn.Sequential) and len(list(net.children())) == 1:
        net = next(net.children())

    def inside(layer: nn.Module) -> list[nn.Module] | None:
        # one that is derived from it may do more than pass on
        if isinstance(layer, nn.Sequential) and type(layer).forward is nn.Sequential.forward:
            return list(layer)
        return None

    if inside(net) is None:
        raise NinError(f"`net={type(net).__name__}`: an nn.Sequential of layers is needed")

    def kind(layer: nn.Module) -> str | None:
        return KINDS.get(type(layer), type(layer).__name__.lower())

    return name_layers(inside(net) or [], inside, kind)


def describe(net: nn.Module) -> list[str]:
    """A line for each layer: its name and PyTorch's own words for all that it is made of."""
    return [f"{each.name}: {each.layer}" for each in leaves(named_layers(net))]


def dropout_rate(net: nn.Module) -> float:
    """Of the network's first dropout layer; 0 if it has none."""
    rates = (e.layer.p for e in leaves(named_layers(net)) if isinstance(e.layer, nn.Dropout))
    return next(rates, 0.0)


def shape_walk(net: nn.Module, images: np.ndarray) -> Iterator[LayerOutput]:
    """The book's loop: feed images through the layers one by one.

    Args:
        net: a sequence of layers.
        images: float32, (batch, channels, height, width).

    Yields:
        One entry per layer.
    """
    first = next(net.parameters(), torch.empty(0))
    X = torch.from_numpy(images).to(first.device, first.dtype)
    with _evaluating(net):
        for name, layer, _ in named_layers(net):
            with passing(name, X.shape, images):
                X = layer(X)
            yield LayerOutput(layer.__class__.__name__, str(X.shape), name, to_nchw(X))


@contextlib.contextmanager
def _evaluating(net: nn.Module) -> Iterator[None]:
    """Dropout is off and no gradients are kept; then the network's own mode again."""
    training = net.training
    net.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        net.train(training)


def activations(net: nn.Module, X: torch.Tensor) -> dict[str, np.ndarray]:
    """Outputs of all layers, and within the blocks of each convolution after its ReLU.

    Args:
        net: a sequence of layers; dropout is off.
        X: pixels as the network takes them.

    Returns:
        ``input``, ``block1.conv1`` ... ``flatten`` -> array, channels first, in order.
    """
    outputs = {"input": to_nchw(X)}
    net.eval()
    with torch.no_grad():
        for name, layer, _ in leaves(named_layers(net)):
            X = layer(X)
            # a ReLU overwrites the entry of its convolution
            if name is not None:
                outputs[name] = to_nchw(X)
    return outputs


def to_nchw(value: torch.Tensor) -> np.ndarray:
    """A layer's output as an array, channels first."""
    if value.dtype == torch.bfloat16:  # no NumPy type of its own
        value = value.float()
    return value.detach().cpu().contiguous().numpy()
