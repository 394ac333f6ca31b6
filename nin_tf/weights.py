"""TensorFlow's parameters as NumPy arrays by canonical name. The layout is (H, W, I, O)."""

from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from common.errors import NinError
from common.network.architecture import passing
from common.network.names import leaves
from common.network.parameters import (
    check_all_have_names,
    check_parameters,
    refuse_layer,
    refuse_setting,
)
from nin_tf._paper import channels_first, on_paper
from nin_tf.layers import named_layers

# differs: Keras's layers can ask for more than to be trained
_ignored = (
    "kernel_regularizer",
    "bias_regularizer",
    "activity_regularizer",
    "kernel_constraint",
    "bias_constraint",
)


def convolutions(net: tf.keras.Sequential) -> Iterator[tuple[str, tf.keras.layers.Layer]]:
    """Canonical name and layer of each convolution and fully connected layer, in order.

    Raises:
        NinError: naming a layer whose parameters are of another kind.
    """
    trained = {id(variable) for variable in net.trainable_variables}
    for name, layer, _ in leaves(named_layers(net)):
        for setting in _ignored:
            if getattr(layer, setting, None) is not None:
                refuse_setting(str(name), setting)
        # exactly these: what is derived from them may have parameters of its own
        if type(layer) in (tf.keras.layers.Conv2D, tf.keras.layers.Dense):
            # one variable can be frozen, and the whole network before it has layers
            if not (layer.trainable and trained.issuperset(map(id, layer.weights))):
                refuse_setting(str(name), "trainable=False")
            yield str(name), layer
        elif layer.weights:
            refuse_layer(name, type(layer).__name__)


def parameters(net: tf.keras.Sequential) -> dict[str, tf.Variable]:
    """The framework's own parameters by canonical name, in order.

    Raises:
        NinError: naming a layer whose parameters have no such name.
    """
    named: dict[str, tf.Variable] = {}
    for name, layer in convolutions(net):
        # differs: a Keras variable is a shell, its value is TensorFlow's variable
        named[f"{name}.weight"] = layer.kernel.value
        if layer.bias is not None:
            named[f"{name}.bias"] = layer.bias.value
    listed = {id(variable.value): variable.path for variable in net.weights}
    check_all_have_names({name: id(value) for name, value in named.items()}, listed)
    return named


def allocate(net: tf.keras.Sequential, images: np.ndarray) -> tuple[int, ...]:
    """Let layers find their input channels where they are not stated, from the first images.

    Args:
        net: a sequence of layers; one whose parameters are there already stays as it is.
        images: float32, (batch, channels, height, width).

    Returns:
        the shape of what it gives for them, channels first.

    Raises:
        NinError: naming a layer that has no place here or that the images do not pass through.
    """
    # before anything is made
    list(convolutions(net))
    # differs: on paper, see there
    X = tf.keras.KerasTensor(images.transpose(0, 2, 3, 1).shape, tf.float32)
    for name, layer, _ in leaves(named_layers(net)):
        try:
            with passing(name, channels_first(X), images):
                X = on_paper(layer, X)
        except NinError:
            # a layer before it may be the reason
            list(convolutions(net))
            raise
    return channels_first(X)


def get_weights(net: tf.keras.Sequential) -> dict[str, np.ndarray]:
    """Copies of all parameters.

    Returns:
        canonical name -> array; convolutions (out, in, height, width), biases (out,).
    """
    return {name: to_canonical(value) for name, value in parameters(net).items()}


def set_weights(net: tf.keras.Sequential, weights: Mapping[str, np.ndarray]) -> None:
    """Set all parameters, in place.

    Args:
        net: a sequence of layers, such as :func:`nin_tf.model.nin`.
        weights: as :func:`get_weights` gives them, from any backend.

    Raises:
        NinError: if a name is missing or unknown, or a shape is another.
    """
    named = parameters(net)
    check_parameters(weights, {name: _canonical_shape(value) for name, value in named.items()})
    for name, value in named.items():
        from_canonical(value, weights[name])


def to_canonical(value: tf.Variable) -> np.ndarray:
    """A parameter-shaped tensor as a contiguous array in canonical layout."""
    array = value.numpy()
    order = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim)
    return array if order is None else np.ascontiguousarray(array.transpose(order))


def from_canonical(target: tf.Variable, array: np.ndarray) -> None:
    """Overwrite a parameter-shaped tensor with an array in canonical layout."""
    # astype copies: TensorFlow may go on to use the memory of an array that it is given
    array = array.astype(target.dtype.as_numpy_dtype)
    order = {4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim)
    target.assign(array if order is None else array.transpose(order))


def _canonical_shape(value: tf.Variable) -> tuple[int, ...]:
    shape = tuple(value.shape)
    return (*shape[:1:-1], *shape[:2]) if len(shape) == 4 else shape[::-1]
