"""What comes out of each layer in MXNet, already channels first."""

from collections.abc import Iterator

import numpy as np
from mxnet import np as mnp
from mxnet.gluon import nn

from common.contract import LayerOutput
from common.network.architecture import LAYER_NAMES
from nin_mxnet.weights import parameters

# canonical name of each layer of the network
NAMES = LAYER_NAMES


def shape_walk(net: nn.Sequential, images: np.ndarray) -> Iterator[LayerOutput]:
    """The book's loop: feed images through the layers one by one.

    Args:
        net: a network of :func:`nin_mxnet.model.nin`.
        images: float32, (batch, channels, height, width).

    Yields:
        One entry per layer.
    """
    weight = next(iter(parameters(net).values())).data()
    X = mnp.array(images, dtype=weight.dtype, ctx=weight.ctx)
    for layer, name in zip(net, NAMES, strict=True):
        X = layer(X)
        yield LayerOutput(layer.name, str(X.shape), name, to_nchw(X))


def activations(net: nn.Sequential, X: mnp.ndarray) -> dict[str, np.ndarray]:
    """Outputs of all layers, and within the blocks of each convolution after its ReLU.

    Args:
        net: a network of :func:`nin_mxnet.model.nin`; dropout is off.
        X: pixels as the network takes them.

    Returns:
        ``input``, ``block1.conv1`` ... ``flatten`` -> array, channels first, in order.
    """
    outputs = {"input": to_nchw(X)}
    for layer, name in zip(net, NAMES, strict=True):
        if isinstance(layer, nn.Sequential):
            for convolution, inner in enumerate(layer, start=1):
                X = inner(X)
                outputs[f"{name}.conv{convolution}"] = to_nchw(X)
        else:
            X = layer(X)
            outputs[name] = to_nchw(X)
    return outputs


def to_nchw(value: mnp.ndarray) -> np.ndarray:
    """A layer's output as an array, channels first."""
    return value.asnumpy()
