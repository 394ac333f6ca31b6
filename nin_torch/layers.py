"""What comes out of each layer in PyTorch, already channels first."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from common.contract import LayerOutput
from common.network.architecture import LAYER_NAMES

# canonical name of each layer of the network
NAMES = LAYER_NAMES


def shape_walk(net: nn.Sequential, images: np.ndarray) -> Iterator[LayerOutput]:
    """The book's loop: feed images through the layers one by one.

    Args:
        net: a network of :func:`nin_torch.model.nin`.
        images: float32, (batch, channels, height, width).

    Yields:
        One entry per layer.
    """
    X = torch.from_numpy(images).to(next(net.parameters()))
    net.eval()
    with torch.no_grad():
        for layer, name in zip(net, NAMES, strict=True):
            X = layer(X)
            yield LayerOutput(layer.__class__.__name__, str(X.shape), name, to_nchw(X))


def activations(net: nn.Sequential, X: torch.Tensor) -> dict[str, np.ndarray]:
    """Outputs of all layers, and within the blocks of each convolution after its ReLU.

    Args:
        net: a network of :func:`nin_torch.model.nin`; dropout is off.
        X: pixels as the network takes them.

    Returns:
        ``input``, ``block1.conv1`` ... ``flatten`` -> array, channels first, in order.
    """
    outputs = {"input": to_nchw(X)}
    net.eval()
    with torch.no_grad():
        for layer, name in zip(net, NAMES, strict=True):
            if isinstance(layer, nn.Sequential):
                convolution = 0
                for inner in layer:
                    X = inner(X)
                    convolution += isinstance(inner, nn.Conv2d)
                    # the ReLU that follows overwrites the entry of its convolution
                    outputs[f"{name}.conv{convolution}"] = to_nchw(X)
            else:
                X = layer(X)
                outputs[name] = to_nchw(X)
    return outputs


def to_nchw(value: torch.Tensor) -> np.ndarray:
    """A layer's output as an array, channels first."""
    if value.dtype == torch.bfloat16:  # no NumPy type of its own
        value = value.float()
    return value.detach().cpu().contiguous().numpy()
