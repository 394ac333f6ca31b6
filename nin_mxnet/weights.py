"""MXNet's parameters as NumPy arrays by canonical name. The layout is already (O, I, H, W)."""

from collections.abc import Iterator, Mapping

import numpy as np
from mxnet import np as mnp
from mxnet import npx
from mxnet.gluon import Parameter, nn

from common.model import check_parameters


def convolutions(net: nn.Sequential) -> Iterator[tuple[str, nn.Conv2D]]:
    """Canonical name (``block1.conv1`` ...) and layer of each convolution, in order."""
    blocks = (layer for layer in net if isinstance(layer, nn.Sequential))
    for i, block in enumerate(blocks, start=1):
        layers = (layer for layer in block if isinstance(layer, nn.Conv2D))
        for j, layer in enumerate(layers, start=1):
            yield f"block{i}.conv{j}", layer


def parameters(net: nn.Sequential) -> dict[str, Parameter]:
    """The framework's own parameters by canonical name, in order."""
    named: dict[str, Parameter] = {}
    for name, convolution in convolutions(net):
        named[f"{name}.weight"] = convolution.weight
        named[f"{name}.bias"] = convolution.bias
    return named


def get_weights(net: nn.Sequential) -> dict[str, np.ndarray]:
    """Copies of all parameters.

    Returns:
        canonical name -> array; convolutions (out, in, height, width), biases (out,).
    """
    return {name: to_canonical(value.data()) for name, value in parameters(net).items()}


def set_weights(net: nn.Sequential, weights: Mapping[str, np.ndarray]) -> None:
    """Set all parameters, in place.

    Args:
        net: a network of :func:`nin_mxnet.model.nin`.
        weights: as :func:`get_weights` gives them, from any backend.

    Raises:
        NinError: if a name is missing or unknown, or a shape is another.
    """
    named = parameters(net)
    check_parameters(weights, {name: tuple(value.shape) for name, value in named.items()})
    for name, value in named.items():
        from_canonical(value.data(), weights[name])


def to_canonical(value: mnp.ndarray) -> np.ndarray:
    """A parameter-shaped array of MXNet as a contiguous array in canonical layout."""
    # differs: the first training step after a prediction changes the layout of the weights in
    # memory, on its own thread; asnumpy() alone does not wait for that and may copy a mixture
    npx.waitall()
    return value.asnumpy()


def from_canonical(target: mnp.ndarray, array: np.ndarray) -> None:
    """Overwrite a parameter-shaped array of MXNet with an array in canonical layout."""
    target[:] = mnp.array(array, dtype=target.dtype, ctx=target.ctx)
