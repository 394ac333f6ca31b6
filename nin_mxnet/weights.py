"""MXNet's parameters as NumPy arrays by canonical name. The layout is already (O, I, H, W)."""

from collections.abc import Iterator, Mapping

import numpy as np
from mxnet import np as mnp
from mxnet import npx
from mxnet.gluon import Block, HybridBlock, Parameter, nn

from common.errors import NinError
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
from nin_mxnet.layers import named_layers, to_nchw

# differs: each parameter has settings of its own; these are what Gluon gives it
_expected = {"grad_req": "write", "lr_mult": 1.0, "wd_mult": 1.0}


def convolutions(net: Block) -> Iterator[tuple[str, nn.Conv2D | nn.Dense]]:
    """Canonical name and layer of each convolution and fully connected layer, in order.

    Raises:
        NinError: naming a layer whose parameters are of another kind.
    """
    for name, layer, _ in leaves(named_layers(net)):
        # exactly these: what is derived from them may have parameters of its own
        if type(layer) in (nn.Conv2D, nn.Dense):
            for setting, ours in _expected.items():
                for value in layer.collect_params().values():
                    if (given := getattr(value, setting)) != ours:
                        refuse_setting(str(name), f"{setting}={given!r}")
            yield str(name), layer
        # MXNet does not look into lists
        elif any(
            isinstance(each, Parameter)
            or (isinstance(each, Block) and each.collect_params().keys())
            for each in (layer, *contained(layer))
        ):
            refuse_layer(name, type(layer).__name__)
        elif not isinstance(layer, HybridBlock):
            raise NinError(
                f"`net`: layer {name} is a {type(layer).__name__}, of which MXNet makes no graph; "
                "build it as a HybridBlock, such as nn.HybridLambda"
            )


def parameters(net: Block) -> dict[str, Parameter]:
    """The framework's own parameters by canonical name, in order.

    Raises:
        NinError: naming a layer whose parameters have no such name.
    """
    named: dict[str, Parameter] = {}
    for name, layer in convolutions(net):
        named[f"{name}.weight"] = layer.weight
        if layer.bias is not None:
            named[f"{name}.bias"] = layer.bias
    listed = {id(parameter): name for name, parameter in net.collect_params().items()}
    check_all_have_names({name: id(value) for name, value in named.items()}, listed)
    return named


def allocate(net: Block, images: np.ndarray) -> tuple[int, ...]:
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
    list(convolutions(net))
    for parameter in net.collect_params().values():
        # differs: of one that was initialized before it knew its shape, MXNet only keeps how
        if parameter._data is None and not parameter._deferred_init:
            parameter.initialize()
    weight = next((layer.weight for _, layer in convolutions(net)), None)
    place = {} if weight is None else {"ctx": weight.list_ctx()[0], "dtype": weight.dtype}
    whole = X = mnp.array(images, **place)
    for name, layer, _ in leaves(named_layers(net)):
        with passing(name, X.shape, images):
            X = layer(X)
            X.wait_to_read()
    check_is_sequence(to_nchw(net(whole)), to_nchw(X))
    return tuple(X.shape)


def get_weights(net: Block) -> dict[str, np.ndarray]:
    """Copies of all parameters.

    Returns:
        canonical name -> array; convolutions (out, in, height, width), biases (out,).
    """
    return {name: to_canonical(value.data()) for name, value in parameters(net).items()}


def set_weights(net: Block, weights: Mapping[str, np.ndarray]) -> None:
    """Set all parameters, in place.

    Args:
        net: a sequence of layers, such as :func:`nin_mxnet.model.nin`.
        weights: as :func:`get_weights` gives them, from any backend.

    Raises:
        NinError: if a name is missing or unknown, or a shape is another.
    """
    named = parameters(net)
    check_parameters(weights, {name: tuple(value.shape) for name, value in named.items()})
    for name, value in named.items():
        # differs: a network can have a copy of its weights on each of several devices
        for copy in value.list_data():
            from_canonical(copy, weights[name])


def to_canonical(value: mnp.ndarray) -> np.ndarray:
    """A parameter-shaped array of MXNet as a contiguous array in canonical layout."""
    # differs: the first training step after a prediction changes the layout of the weights in
    # memory, on its own thread; asnumpy() alone does not wait for that and may copy a mixture
    npx.waitall()
    return value.asnumpy()


def from_canonical(target: mnp.ndarray, array: np.ndarray) -> None:
    """Overwrite a parameter-shaped array of MXNet with an array in canonical layout."""
    target[:] = mnp.array(array, dtype=target.dtype, ctx=target.ctx)
