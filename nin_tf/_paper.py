"""Layers tried on paper, without numbers.

differs: TensorFlow's pooling of an image that is too small ends the process instead of raising.
"""

import tensorflow as tf


def on_paper(layer: tf.keras.layers.Layer, X: tf.keras.KerasTensor) -> tf.keras.KerasTensor:
    """What a layer would give.

    Raises:
        ValueError: if nothing would be left; older releases of Keras do not say so themselves.
    """
    output = layer(X, training=False)
    if any(size is not None and size < 1 for size in output.shape):
        raise ValueError(f"nothing is left of an input of shape {tuple(X.shape)}: it is too small")
    return output


def channels_first(X: tf.keras.KerasTensor | tf.Tensor) -> tuple[int, ...]:
    """The shape of a layer's input or output, channels first as everywhere else."""
    batch, *sizes, channels = X.shape
    return (batch, channels, *sizes)
