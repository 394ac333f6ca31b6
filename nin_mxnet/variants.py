"""The chapter's network and its variants in MXNet, built from a description."""

import mxnet as mx
from mxnet.gluon import nn

from common.network.architecture import dense_layers, parameter_shapes
from common.network.description import Block, Network
from nin_mxnet.model import nin_block
from nin_mxnet.weights import parameters


def build(
    network: Network,
    num_classes: int = 10,
    in_channels: int = 1,
    dropout: float = 0.5,
    size: int = 224,
) -> nn.Sequential:
    """A network of blocks.

    Args:
        network: what it is made of.
        num_classes: number of classes, the channels of the last block.
        in_channels: channels of the images.
        dropout: probability of dropping a unit, where there is dropout.
        size: height and width of the images, in pixels, which a fully connected layer goes by.

    Returns:
        Maps images (batch, in_channels, height, width) to logits (batch, num_classes); weights as
        MXNet draws them. For :data:`common.network.description.CHAPTER` it is
        :func:`nin_mxnet.model.nin`.
    """
    # differs: layers are numbered per process, see nin()
    with mx.name.NameManager():
        net = nn.Sequential()
        for block in network.blocks(num_classes):
            net.add(build_block(block))
            if block.pool:
                net.add(nn.MaxPool2D(block.pool, strides=2))
            if block.dropout:
                net.add(nn.Dropout(dropout))
        if network.head == "average":
            net.add(nn.GlobalAvgPool2D())
        net.add(nn.Flatten())
        for dense in dense_layers(size, num_classes, network):
            net.add(nn.Dense(dense.out_channels, activation="relu" if dense.relu else None))
            if dense.relu:
                net.add(nn.Dropout(dropout))
    # differs: left alone, MXNet makes the weights when it sees the first images
    shapes = parameter_shapes(num_classes, in_channels, network, size)
    for name, parameter in parameters(net).items():
        parameter.shape = shapes[name]
    net.initialize()
    return net


def build_block(block: Block) -> nn.Sequential:
    """The convolutions of a block; :func:`nin_mxnet.model.nin_block` where it is the book's."""
    if block.is_the_books:
        return nin_block(block.channels[0], block.kernel_size, block.strides, block.padding)
    blk = nn.Sequential()
    for channels, kernel_size, strides, padding, relu in block.convolutions:
        window = (kernel_size, strides, padding)
        blk.add(nn.Conv2D(channels, *window, activation="relu" if relu else None))
    return blk
