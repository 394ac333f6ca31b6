"""The chapter's network on paper: sizes, shapes and names, computed without a framework.

The backends build the network; this module says what it must be, so that the one can be
checked against the other. Source: d2l, chapter "Network in Network"; Lin, Chen and Yan 2013.
"""

from typing import NamedTuple

import numpy as np

from common.errors import NinError


class Block(NamedTuple):
    """A NiN block: one convolution, then two 1x1 convolutions, a ReLU after each."""

    name: str
    out_channels: int
    kernel_size: int
    stride: int
    padding: int


class Pool(NamedTuple):
    """A max pooling layer without padding; a window that does not fit is dropped."""

    name: str
    kernel_size: int
    stride: int


class Convolution(NamedTuple):
    """One of the twelve convolutions, at one size of the network's input."""

    name: str
    """Canonical: ``block1.conv1`` ... ``block4.conv3``."""
    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    padding: int
    input_size: int
    """Height and width of what it sees, in pixels."""
    output_size: int
    """Height and width of what it gives, in pixels."""
    is_first: bool
    """Whether its input is the image, of which training needs no gradient."""

    @property
    def multiply_adds(self) -> int:
        """For one image, forward."""
        window = self.in_channels * self.kernel_size**2
        return self.output_size**2 * self.out_channels * window

    @property
    def training_multiply_adds(self) -> int:
        """For one image, forward and backward: as much again for each of the two gradients."""
        return self.multiply_adds * (2 if self.is_first else 3)


NUM_CLASSES = 10
IN_CHANNELS = 1
DROPOUT = 0.5


def spatial_layers(num_classes: int = NUM_CLASSES) -> list[Block | Pool]:
    """The layers that change height and width, in order (dropout and flatten do not)."""
    return [
        Block("block1", 96, kernel_size=11, stride=4, padding=0),
        Pool("pool1", kernel_size=3, stride=2),
        Block("block2", 256, kernel_size=5, stride=1, padding=2),
        Pool("pool2", kernel_size=3, stride=2),
        Block("block3", 384, kernel_size=3, stride=1, padding=1),
        Pool("pool3", kernel_size=3, stride=2),
        Block("block4", num_classes, kernel_size=3, stride=1, padding=1),
    ]


def output_size(size: int, layer: Block | Pool) -> int:
    """Height of the output for an input of this height, in pixels; below 1 if none is left."""
    padding = layer.padding if isinstance(layer, Block) else 0
    return (size + 2 * padding - layer.kernel_size) // layer.stride + 1


def smallest_input() -> int:
    """The smallest input height for which every layer still has an output, in pixels."""
    size = 1
    for layer in reversed(spatial_layers()):
        padding = layer.padding if isinstance(layer, Block) else 0
        size = max(1, (size - 1) * layer.stride + layer.kernel_size - 2 * padding)
    return size


def random_image(size: int) -> np.ndarray:
    """One image of this height and width in pixels, float32 of shape (1, 1, size, size)."""
    shape = (1, IN_CHANNELS, size, size)
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def check_input_size(size: int) -> None:
    """Raise :class:`NinError` when an input of this height leaves some layer without output."""
    smallest = smallest_input()
    if size < smallest:
        raise NinError(
            f"`resize={size}`: too small for this network; the smallest that works is {smallest}"
        )


def layer_shapes(
    size: int, batch: int = 1, num_classes: int = NUM_CLASSES
) -> dict[str, tuple[int, ...]]:
    """Output shape of each of the chapter's ten layers, channels first.

    Args:
        size: height and width of the input, in pixels.
        batch: number of images.
        num_classes: channels of the last block.

    Returns:
        layer name -> shape ``(batch, channels, height, width)``; flatten: ``(batch, classes)``.

    Raises:
        NinError: if the input is too small.
    """
    check_input_size(size)
    shapes: dict[str, tuple[int, ...]] = {}
    channels = 0
    for layer in spatial_layers(num_classes):
        size = output_size(size, layer)
        channels = layer.out_channels if isinstance(layer, Block) else channels
        shapes[layer.name] = (batch, channels, size, size)
        if layer.name == "pool3":
            shapes["dropout"] = shapes["pool3"]
    shapes["global_pool"] = (batch, num_classes, 1, 1)
    shapes["flatten"] = (batch, num_classes)
    return shapes


def convolutions(
    size: int, num_classes: int = NUM_CLASSES, in_channels: int = IN_CHANNELS
) -> list[Convolution]:
    """The twelve convolutions in order, for an input of this height and width in pixels.

    Raises:
        NinError: if the input is too small.
    """
    check_input_size(size)
    found: list[Convolution] = []
    for layer in spatial_layers(num_classes):
        out_size = output_size(size, layer)
        if isinstance(layer, Block):
            first = (layer.kernel_size, layer.stride, layer.padding)
            for i, window in enumerate((first, (1, 1, 0), (1, 1, 0)), start=1):
                channels = (in_channels, layer.out_channels)
                name = f"{layer.name}.conv{i}"
                found.append(Convolution(name, *channels, *window, size, out_size, not found))
                in_channels, size = layer.out_channels, out_size
        size = out_size
    return found


# The canonical names of the chapter's ten layers, in order.
LAYER_NAMES = tuple(layer_shapes(224))


def parameter_shapes(
    num_classes: int = NUM_CLASSES, in_channels: int = IN_CHANNELS
) -> dict[str, tuple[int, ...]]:
    """Canonical name -> shape of the 24 parameters; convolutions are (out, in, height, width)."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in spatial_layers(num_classes):
        if isinstance(layer, Block):
            for i, kernel in enumerate((layer.kernel_size, 1, 1), start=1):
                name = f"{layer.name}.conv{i}"
                shapes[f"{name}.weight"] = (layer.out_channels, in_channels, kernel, kernel)
                shapes[f"{name}.bias"] = (layer.out_channels,)
                in_channels = layer.out_channels
    return shapes
