"""The layers of a network in TensorFlow by canonical name, and their outputs, channels first."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from common.contract import LayerOutput
from common.errors import NinError
from common.network.architecture import passing
from common.network.names import Named, leaves, name_layers
from nin_tf._paper import channels_first, on_paper

# kind, as names have it, of each layer
KINDS: dict[type, str | None] = {
    tf.keras.layers.Conv2D: "conv",
    tf.keras.layers.Dense: "dense",
    # differs: mostly a part of its convolution
    tf.keras.layers.Activation: "relu",
    tf.keras.layers.ReLU: "relu",
    tf.keras.layers.LeakyReLU: "relu",
    tf.keras.layers.ELU: "relu",
    tf.keras.layers.MaxPool2D: "pool",
    tf.keras.layers.AveragePooling2D: "pool",
    tf.keras.layers.Dropout: "dropout",
    # differs: this pooling drops height and width and has no name, Reshape puts them back
    tf.keras.layers.GlobalAveragePooling2D: None,
    tf.keras.layers.GlobalMaxPool2D: None,
    tf.keras.layers.Reshape: "global_pool",
    # differs: only here an image has to be put in the others' order before it is flattened
    tf.keras.layers.Permute: None,
    tf.keras.layers.Flatten: "flatten",
}


def named_layers(net: tf.keras.Sequential) -> tuple[Named, ...]:
    """The layers of a network, named; see :mod:`common.network.names`.

    Raises:
        NinError: for a network that is not a sequence of layers.
    """

    def inside(layer: tf.keras.layers.Layer) -> list[tf.keras.layers.Layer] | None:
        # one that is derived from it may do more than pass on
        sequence = tf.keras.Sequential
        plain = isinstance(layer, sequence) and type(layer).call is sequence.call
        return layer.layers if plain else None

    if inside(net) is None:
        raise NinError(f"`net={type(net).__name__}`: a keras.Sequential of layers is needed")

    def kind(layer: tf.keras.layers.Layer) -> str | None:
        return KINDS.get(type(layer), type(layer).__name__.lower())

    return name_layers(inside(net) or [], inside, kind)


def describe(net: tf.keras.Sequential) -> list[str]:
    """A line for each layer: its name and Keras's own words for all that it is made of."""
    # how it is called and how its weights were drawn describes no layer
    left_out = ("name", "dtype", "trainable", "kernel_initializer", "bias_initializer")

    def plain(config: Any) -> Any:
        if not isinstance(config, dict):
            return config
        return {key: plain(value) for key, value in config.items() if key not in left_out}

    def words(layer: tf.keras.layers.Layer) -> str:
        parts = (f"{key}={value}" for key, value in plain(layer.get_config()).items())
        return f"{type(layer).__name__}({', '.join(parts)})"

    return [f"{each.name}: {words(each.layer)}" for each in leaves(named_layers(net))]


def dropout_rate(net: tf.keras.Sequential) -> float:
    """Of the network's first dropout layer; 0 if it has none."""
    layers = (each.layer for each in leaves(named_layers(net)))
    return next((e.rate for e in layers if isinstance(e, tf.keras.layers.Dropout)), 0.0)


def shape_walk(net: tf.keras.Sequential, images: np.ndarray) -> Iterator[LayerOutput]:
    """The book's loop: feed images through the layers one by one.

    Args:
        net: a sequence of layers.
        images: float32, (batch, channels, height, width).

    Yields:
        One entry per layer.
    """
    X = tf.constant(images.transpose(0, 2, 3, 1))
    for name, layer, _ in named_layers(net):
        with passing(name, channels_first(X), images):
            on_paper(layer, tf.keras.KerasTensor(X.shape, X.dtype.name))
            X = layer(X, training=False)
        yield LayerOutput(layer.__class__.__name__, str(X.shape), name, to_nchw(X))


def activations(net: tf.keras.Sequential, X: tf.Tensor) -> dict[str, np.ndarray]:
    """Outputs of all layers, and within the blocks of each convolution after its ReLU.

    Args:
        net: a sequence of layers; dropout is off.
        X: pixels as the network takes them.

    Returns:
        ``input``, ``block1.conv1`` ... ``flatten`` -> array, channels first, in order.
    """
    outputs = {"input": to_nchw(X)}
    for name, layer, _ in leaves(named_layers(net)):
        X = layer(X, training=False)
        if name is not None:
            outputs[name] = to_nchw(X)
    return outputs


def to_nchw(value: tf.Tensor) -> np.ndarray:
    """A layer's output as an array, channels first."""
    if value.dtype == tf.bfloat16:  # no NumPy type of its own
        value = tf.cast(value, tf.float32)
    array = value.numpy()
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2)) if array.ndim == 4 else array
