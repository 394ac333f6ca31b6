"""TensorFlow's parameters as NumPy arrays by canonical name. The layout is (H, W, I, O)."""

from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from common.model import check_parameters


def convolutions(net: tf.keras.Sequential) -> Iterator[tuple[str, tf.keras.layers.Conv2D]]:
    """Canonical name (``block1.conv1`` ...) and layer of each convolution, in order."""
    blocks = (layer for layer in net.layers if isinstance(layer, tf.keras.Sequential))
    for i, block in enumerate(blocks, start=1):
        layers = (layer for layer in block.layers if isinstance(layer, tf.keras.layers.Conv2D))
        for j, layer in enumerate(layers, start=1):
            yield f"block{i}.conv{j}", layer


def parameters(net: tf.keras.Sequential) -> dict[str, tf.Variable]:
    """The framework's own parameters by canonical name, in order."""
    named: dict[str, tf.Variable] = {}
    for name, convolution in convolutions(net):
        # differs: a Keras variable is a shell, its value is TensorFlow's variable
        named[f"{name}.weight"] = convolution.kernel.value
        named[f"{name}.bias"] = convolution.bias.value
    return named


def get_weights(net: tf.keras.Sequential) -> dict[str, np.ndarray]:
    """Copies of all parameters.

    Returns:
        canonical name -> array; convolutions (out, in, height, width), biases (out,).
    """
    return {name: to_canonical(value) for name, value in parameters(net).items()}


def set_weights(net: tf.keras.Sequential, weights: Mapping[str, np.ndarray]) -> None:
    """Set all parameters, in place.

    Args:
        net: a network of :func:`nin_tf.model.nin`.
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
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1)) if array.ndim == 4 else array


def from_canonical(target: tf.Variable, array: np.ndarray) -> None:
    """Overwrite a parameter-shaped tensor with an array in canonical layout."""
    # astype copies: TensorFlow may go on to use the memory of an array that it is given
    array = array.astype(target.dtype.as_numpy_dtype)
    target.assign(array.transpose(2, 3, 1, 0) if array.ndim == 4 else array)


def _canonical_shape(value: tf.Variable) -> tuple[int, ...]:
    shape = tuple(value.shape)
    return (shape[3], shape[2], shape[0], shape[1]) if len(shape) == 4 else shape
