"""The chapter's block and network in TensorFlow."""

import tensorflow as tf


def nin_block(
    num_channels: int, kernel_size: int, strides: int, padding: str
) -> tf.keras.Sequential:
    """A convolution, then two 1x1 convolutions that act as fully connected layers on each pixel.

    Source: d2l, "Network in Network", *NiN Blocks*; Lin, Chen and Yan 2013, section 3.1.

    Args:
        num_channels: channels of each of the three outputs.
        kernel_size: height and width of the first convolution's window, in pixels.
        strides: its stride, in pixels.
        padding: ``'valid'`` (none) or ``'same'`` (at stride 1 the output keeps its size).

    Returns:
        Maps (batch, height, width, in_channels) to (batch, height', width', num_channels).
    """
    return tf.keras.models.Sequential([
        tf.keras.layers.Conv2D(num_channels, kernel_size, strides, padding, activation="relu"),
        tf.keras.layers.Conv2D(num_channels, kernel_size=1, activation="relu"),
        tf.keras.layers.Conv2D(num_channels, kernel_size=1, activation="relu"),
    ])  # fmt: skip


def nin(num_classes: int = 10, in_channels: int = 1, dropout: float = 0.5) -> tf.keras.Sequential:
    """The chapter's network.

    Source: d2l, "Network in Network", *NiN Model*; Lin, Chen and Yan 2013, section 3.3.

    Args:
        num_classes: number of classes, the channels of the last block.
        in_channels: channels of the images.
        dropout: probability of dropping a unit before the last block.

    Returns:
        Maps images (batch, height, width, in_channels), from 67x67 pixels up, to logits
        (batch, num_classes).
    """
    return tf.keras.models.Sequential([
        # differs: Keras makes the weights when it knows the channels; height and width stay open
        tf.keras.Input((None, None, in_channels)),
        nin_block(96, kernel_size=11, strides=4, padding="valid"),
        tf.keras.layers.MaxPool2D(pool_size=3, strides=2),
        nin_block(256, kernel_size=5, strides=1, padding="same"),
        tf.keras.layers.MaxPool2D(pool_size=3, strides=2),
        nin_block(384, kernel_size=3, strides=1, padding="same"),
        tf.keras.layers.MaxPool2D(pool_size=3, strides=2),
        tf.keras.layers.Dropout(dropout),
        # one channel per class
        nin_block(num_classes, kernel_size=3, strides=1, padding="same"),
        # the mean of each class's channel over all pixels, whatever the size of the input
        tf.keras.layers.GlobalAveragePooling2D(),
        # differs: the pooling gives (batch, num_classes); the book makes it an image again
        tf.keras.layers.Reshape((1, 1, num_classes)),
        # (batch, 1, 1, num_classes) -> (batch, num_classes)
        tf.keras.layers.Flatten(),
    ])  # fmt: skip
