"""The chapter's network and its variants in TensorFlow, built from a description."""

import tensorflow as tf

from common.network.architecture import dense_layers
from common.network.description import Block, Network
from nin_tf.model import nin_block


def build(
    network: Network,
    num_classes: int = 10,
    in_channels: int = 1,
    dropout: float = 0.5,
    size: int = 224,
) -> tf.keras.Sequential:
    """A network of blocks.

    Args:
        network: what it is made of.
        num_classes: number of classes, the channels of the last block.
        in_channels: channels of the images.
        dropout: probability of dropping a unit, where there is dropout.
        size: height and width of the images, in pixels, which a fully connected layer goes by.

    Returns:
        Maps images (batch, height, width, in_channels) to logits (batch, num_classes); weights as
        TensorFlow draws them. For :data:`common.network.description.CHAPTER` it is
        :func:`nin_tf.model.nin`.
    """
    side = None if network.head == "average" else size
    layers = [tf.keras.Input((side, side, in_channels))]
    for block in network.blocks(num_classes):
        layers.append(build_block(block))
        if block.pool:
            layers.append(tf.keras.layers.MaxPool2D(block.pool, strides=2))
        if block.dropout:
            layers.append(tf.keras.layers.Dropout(dropout))
    if network.head == "average":
        layers.append(tf.keras.layers.GlobalAveragePooling2D())
        layers.append(tf.keras.layers.Reshape((1, 1, num_classes)))
    else:
        # differs: channels come first again, so that a fully connected layer has the same weights
        layers.append(tf.keras.layers.Permute((3, 1, 2)))
    layers.append(tf.keras.layers.Flatten())
    for dense in dense_layers(size, num_classes, network):
        activation = "relu" if dense.relu else None
        layers.append(tf.keras.layers.Dense(dense.out_channels, activation))
        if dense.relu:
            layers.append(tf.keras.layers.Dropout(dropout))
    return tf.keras.models.Sequential(layers)


def build_block(block: Block) -> tf.keras.Sequential:
    """The convolutions of a block; :func:`nin_tf.model.nin_block` where it is the book's."""
    if block.is_the_books:
        padding = "same" if block.padding else "valid"
        return nin_block(block.channels[0], block.kernel_size, block.strides, padding)
    layers = []
    for channels, kernel_size, strides, pixels, relu in block.convolutions:
        window = (kernel_size, strides, "same" if pixels else "valid")
        activation = "relu" if relu else None
        layers.append(tf.keras.layers.Conv2D(channels, *window, activation=activation))
    return tf.keras.models.Sequential(layers)
