"""The chapter's network and its variants in PyTorch, built from a description."""

from torch import nn

from common.network.architecture import dense_layers
from common.network.description import Block, Network
from nin_torch.model import nin_block


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
        PyTorch draws them. For :data:`common.network.description.CHAPTER` it is
        :func:`nin_torch.model.nin`.
    """
    layers: list[nn.Module] = []
    for block in network.blocks(num_classes):
        layers.append(build_block(in_channels, block))
        in_channels = block.channels[-1]
        if block.pool:
            layers.append(nn.MaxPool2d(block.pool, stride=2))
        if block.dropout:
            layers.append(nn.Dropout(dropout))
    if network.head == "average":
        layers.append(nn.AdaptiveAvgPool2d((1, 1)))
    layers.append(nn.Flatten())
    for dense in dense_layers(size, num_classes, network):
        layers.append(nn.Linear(dense.in_channels, dense.out_channels))
        if dense.relu:
            layers += [nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers)


def build_block(in_channels: int, block: Block) -> nn.Sequential:
    """The convolutions of a block; :func:`nin_torch.model.nin_block` where it is the book's."""
    if block.is_the_books:
        first = block.channels[0]
        return nin_block(in_channels, first, block.kernel_size, block.strides, block.padding)
    layers: list[nn.Module] = []
    for channels, kernel_size, strides, padding, relu in block.convolutions:
        layers.append(nn.Conv2d(in_channels, channels, kernel_size, strides, padding))
        if relu:
            layers.append(nn.ReLU())
        in_channels = channels
    return nn.Sequential(*layers)
