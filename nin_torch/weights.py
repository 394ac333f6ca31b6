"""PyTorch's parameters as NumPy arrays by canonical name. The layout is already (O, I, H, W)."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import nn

from common.network.architecture import passing
from common.network.names import leaves
from common.network.parameters import (
    check_all_have_names,
    check_is_sequence,
    check_parameters,
    contained,
    refuse_layer,
    refuse_setting,
)
from nin_torch.layers import _evaluating, named_layers, to_nchw


def convolutions(net: nn.Module) -> Iterator[tuple[str, nn.Conv2d | nn.Linear]]:
    """Canonical name and layer of each convolution and fully connected layer, in order.

    Raises:
        NinError: naming a layer whose parameters are of another kind.
    """
    for name, layer, _ in leaves(named_layers(net)):
        # exactly these: what is derived from them may have parameters of its own
        if type(layer) in (nn.Conv2d, nn.Linear, nn.LazyConv2d, nn.LazyLinear):
            if not all(value.requires_grad for value in layer.parameters()):
                refuse_setting(str(name), "requires_grad=False")
            yield str(name), layer
        # PyTorch does not look into lists
        elif any(
            isinstance(each, nn.Parameter)
            or (isinstance(each, nn.Module) and [*each.parameters(), *each.buffers()])
            for each in (layer, *contained(layer))
        ):
            refuse_layer(name, type(layer).__name__)


def parameters(net: nn.Module) -> dict[str, torch.Tensor]:
    """The framework's own parameters by canonical name, in order.

    Raises:
        NinError: naming a layer whose parameters have no such name.
    """
    named: dict[str, torch.Tensor] = {}
    for name, layer in convolutions(net):
        named[f"{name}.weight"] = layer.weight
        if layer.bias is not None:
            named[f"{name}.bias"] = layer.bias
    listed = {id(value): name for name, value in net.named_parameters()}
    check_all_have_names({name: id(value) for name, value in named.items()}, listed)
    return named


def allocate(net: nn.Module, images: np.ndarray) -> tuple[int, ...]:
    """Let layers find their input channels where they are not stated, from the first images.

    Args:
        net: a sequence of layers; one whose parameters are there already stays as it is.
        images: float32, (batch, channels, height, width).

    Returns:
        the shape of what it gives for them.

    Raises:
        NinError: naming a layer that has no place here or that the images do not pass through.
    """
    # before anything is made
    weight = next((layer.weight for _, layer in list(convolutions(net))), torch.empty(0))
    whole = X = torch.from_numpy(images).to(weight.device, weight.dtype)
    with _evaluating(net):
        for name, layer, _ in leaves(named_layers(net)):
            with passing(name, X.shape, images):
                X = layer(X)
        check_is_sequence(to_nchw(net(whole)), to_nchw(X))
    return tuple(X.shape)


def get_weights(net: nn.Module) -> dict[str, np.ndarray]:
    """Copies of all parameters.

    Returns:
        canonical name -> array; convolutions (out, in, height, width), biases (out,).
    """
    return {name: to_canonical(value) for name, value in parameters(net).items()}


def set_weights(net: nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Set all parameters, in place.

    Args:
        net: a sequence of layers, such as :func:`nin_torch.model.nin`.
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
    return to_nchw(value).copy()


def from_canonical(target: torch.Tensor, array: np.ndarray) -> None:
    """Overwrite a parameter-shaped tensor with an array in canonical layout."""
    with torch.no_grad():
        target.copy_(torch.from_numpy(np.ascontiguousarray(array)))
