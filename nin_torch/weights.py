"""PyTorch's parameters as NumPy arrays by canonical name. The layout is already (O, I, H, W)."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import nn

from common.model import check_parameters


def convolutions(net: nn.Sequential) -> Iterator[tuple[str, nn.Conv2d]]:
    """Canonical name (``block1.conv1`` ...) and layer of each convolution, in order."""
    blocks = (layer for layer in net if isinstance(layer, nn.Sequential))
    for i, block in enumerate(blocks, start=1):
        layers = (layer for layer in block if isinstance(layer, nn.Conv2d))
        for j, layer in enumerate(layers, start=1):
            yield f"block{i}.conv{j}", layer


def parameters(net: nn.Sequential) -> dict[str, torch.Tensor]:
    """The framework's own parameters by canonical name, in order."""
    named: dict[str, torch.Tensor] = {}
    for name, convolution in convolutions(net):
        assert convolution.bias is not None
        named[f"{name}.weight"] = convolution.weight
        named[f"{name}.bias"] = convolution.bias
    return named


def get_weights(net: nn.Sequential) -> dict[str, np.ndarray]:
    """Copies of all parameters.

    Returns:
        canonical name -> array; convolutions (out, in, height, width), biases (out,).
    """
    return {name: to_canonical(value) for name, value in parameters(net).items()}


def set_weights(net: nn.Sequential, weights: Mapping[str, np.ndarray]) -> None:
    """Set all parameters, in place.

    Args:
        net: a network of :func:`nin_torch.model.nin`.
        weights: as :func:`get_weights` gives them, from any backend.

    Raises:
        NinError: if a name is missing or unknown, or a shape is another.
    """
    named = parameters(net)
    check_parameters(weights, {name: tuple(value.shape) for name, value in named.items()})
    for name, value in named.items():
        from_canonical(value, weights[name])


def to_canonical(value: torch.Tensor) -> np.ndarray:
    """A parameter-shaped tensor as a contiguous array in canonical layout."""
    return value.detach().cpu().contiguous().numpy().copy()


def from_canonical(target: torch.Tensor, array: np.ndarray) -> None:
    """Overwrite a parameter-shaped tensor with an array in canonical layout."""
    with torch.no_grad():
        target.copy_(torch.from_numpy(np.ascontiguousarray(array)))
