"""What comes out of each layer in TensorFlow, turned from channels last to channels first."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from common.contract import LayerOutput
from common.network.architecture import LAYER_NAMES

# canonical name of each layer of the network
# differs: GlobalAveragePooling2D drops height and width and has no name, Reshape puts them back
NAMES = (*LAYER_NAMES[:-2], None, *LAYER_NAMES[-2:])


def shape_walk(net: tf.keras.Sequential, images: np.ndarray) -> Iterator[LayerOutput]:
    """The book's loop: feed images through the layers one by one.

    Args:
        net: a network of :func:`nin_tf.model.nin`.
        images: float32, (batch, channels, height, width).

    Yields:
        One entry per layer.
    """
    X = tf.constant(images.transpose(0, 2, 3, 1), net.input_dtype)
    for layer, name in zip(net.layers, NAMES, strict=True):
        X = layer(X, training=False)
        yield LayerOutput(layer.__class__.__name__, str(X.shape), name, to_nchw(X))


def activations(net: tf.keras.Sequential, X: tf.Tensor) -> dict[str, np.ndarray]:
    """Outputs of all layers, and within the blocks of each convolution after its ReLU.

    Args:
        net: a network of :func:`nin_tf.model.nin`; dropout is off.
        X: pixels as the network takes them.

    Returns:
        ``input``, ``block1.conv1`` ... ``flatten`` -> array, channels first, in order.
    """
    outputs = {"input": to_nchw(X)}
    for layer, name in zip(net.layers, NAMES, strict=True):
        if isinstance(layer, tf.keras.Sequential):
            # differs: each ReLU is part of its convolution
            for convolution, inner in enumerate(layer.layers, start=1):
                X = inner(X)
                outputs[f"{name}.conv{convolution}"] = to_nchw(X)
        else:
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
