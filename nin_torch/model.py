"""The chapter's block and network in PyTorch."""

from torch import nn


def nin_block(
    in_channels: int, out_channels: int, kernel_size: int, strides: int, padding: int
) -> nn.Sequential:
    """A convolution, then two 1x1 convolutions that act as fully connected layers on each pixel.

    Source: d2l, "Network in Network", *NiN Blocks*; Lin, Chen and Yan 2013, section 3.1.

    Args:
        in_channels: channels of the input.
        out_channels: channels of each of the three outputs.
        kernel_size: height and width of the first convolution's window, in pixels.
        strides: its stride, in pixels.
        padding: its zero padding on each side, in pixels.

    Returns:
        Maps (batch, in_channels, height, width) to (batch, out_channels, height', width').
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, strides, padding),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, kernel_size=1),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, kernel_size=1),
        nn.ReLU(),
    )


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
    return nn.Sequential(
        nin_block(in_channels, 96, kernel_size=11, strides=4, padding=0),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nin_block(96, 256, kernel_size=5, strides=1, padding=2),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nin_block(256, 384, kernel_size=3, strides=1, padding=1),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Dropout(dropout),
        # one channel per class
        nin_block(384, num_classes, kernel_size=3, strides=1, padding=1),
        # the mean of each class's channel over all pixels, whatever the size of the input
        nn.AdaptiveAvgPool2d((1, 1)),
        # (batch, num_classes, 1, 1) -> (batch, num_classes)
        nn.Flatten(),
    )
