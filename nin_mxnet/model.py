"""The chapter's block and network in MXNet."""

import mxnet as mx
from mxnet.gluon import nn

from nin_mxnet.weights import convolutions


def nin_block(num_channels: int, kernel_size: int, strides: int, padding: int) -> nn.Sequential:
    """A convolution, then two 1x1 convolutions that act as fully connected layers on each pixel.

    Source: d2l, "Network in Network", *NiN Blocks*; Lin, Chen and Yan 2013, section 3.1.

    Args:
        num_channels: channels of each of the three outputs.
        kernel_size: height and width of the first convolution's window, in pixels.
        strides: its stride, in pixels.
        padding: its zero padding on each side, in pixels.

    Returns:
        Maps (batch, in_channels, height, width) to (batch, num_channels, height', width').
    """
    blk = nn.Sequential()
    blk.add(
        nn.Conv2D(num_channels, kernel_size, strides, padding, activation="relu"),
        nn.Conv2D(num_channels, kernel_size=1, activation="relu"),
        nn.Conv2D(num_channels, kernel_size=1, activation="relu"),
    )
    return blk


def nin(num_classes: int = 10, in_channels: int = 1, dropout: float = 0.5) -> nn.Sequential:
    """The chapter's network.

    Source: d2l, "Network in Network", *NiN Model*; Lin, Chen and Yan 2013, section 3.3.

    Args:
        num_classes: number of classes, the channels of the last block.
        in_channels: channels of the images.
        dropout: probability of dropping a unit before the last block.

    Returns:
        Maps images (batch, in_channels, height, width), from 67x67 pixels up, to logits
        (batch, num_classes).
    """
    # differs: layers are numbered per process; a manager of its own starts them at 0, so that
    # every network has the names that the book prints
    with mx.name.NameManager():
        net = nn.Sequential()
        net.add(
            nin_block(96, kernel_size=11, strides=4, padding=0),
            nn.MaxPool2D(pool_size=3, strides=2),
            nin_block(256, kernel_size=5, strides=1, padding=2),
            nn.MaxPool2D(pool_size=3, strides=2),
            nin_block(384, kernel_size=3, strides=1, padding=1),
            nn.MaxPool2D(pool_size=3, strides=2),
            nn.Dropout(dropout),
            # one channel per class
            nin_block(num_classes, kernel_size=3, strides=1, padding=1),
            # the mean of each class's channel over all pixels, whatever the size of the input
            nn.GlobalAvgPool2D(),
            # (batch, num_classes, 1, 1) -> (batch, num_classes)
            nn.Flatten(),
        )
    # differs: left alone, MXNet makes the weights when it sees the first images
    for _, convolution in convolutions(net):
        out_channels, _, *window = convolution.weight.shape
        convolution.weight.shape = (out_channels, in_channels, *window)
        in_channels = out_channels
    net.initialize()
    return net
