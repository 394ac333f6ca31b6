"""The chapter's network on paper: sizes, shapes and names, computed without a framework.

The backends build the network, and are checked against this. Source: d2l, chapter "Network in
Network"; Lin, Chen and Yan 2013.
"""

from typing import NamedTuple

import numpy as np

from common.errors import NinError

NUM_CLASSES = 10
IN_CHANNELS = 1
DROPOUT = 0.5


class Layer(NamedTuple):
    """A convolution, a ReLU after it; or max pooling, which drops a window that does not fit."""

    name: str
    """``block1.conv1`` ... ``block4.conv3``, ``pool1`` ... ``pool3``."""
    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    padding: int

    @property
    def is_pool(self) -> bool:
        """Whether it is max pooling."""
        return self.name.startswith("pool")

    def output_size(self, size: int) -> int:
        """Height of the output for an input of this height; below 1 if none is left."""
        return (size + 2 * self.padding - self.kernel_size) // self.stride + 1


def layers(num_classes: int = NUM_CLASSES, in_channels: int = IN_CHANNELS) -> list[Layer]:
    """The twelve convolutions and the three pooling layers in order; sizes are in pixels."""
    blocks = ((96, 11, 4, 0), (256, 5, 1, 2), (384, 3, 1, 1), (num_classes, 3, 1, 1))
    found = []
    for block, (out_channels, *window) in enumerate(blocks, start=1):
        for i, (kernel, stride, padding) in enumerate((window, (1, 1, 0), (1, 1, 0)), start=1):
            name = f"block{block}.conv{i}"
            found.append(Layer(name, in_channels, out_channels, kernel, stride, padding))
            in_channels = out_channels
        if block < len(blocks):
            found.append(Layer(f"pool{block}", in_channels, in_channels, 3, 2, 0))
    return found


def smallest_input() -> int:
    """The smallest input height for which every layer still has an output, in pixels."""
    size = 1
    for layer in reversed(layers()):
        size = max(1, (size - 1) * layer.stride + layer.kernel_size - 2 * layer.padding)
    return size


def random_image(height: int, width: int | None = None) -> np.ndarray:
    """One image, float32 of shape (1, 1, height, width), square if no width in pixels is given."""
    shape = (1, IN_CHANNELS, height, width or height)
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def check_input_size(size: int) -> None:
    """Raise :class:`NinError` when an input of this height leaves some layer without output."""
    smallest = smallest_input()
    if size < smallest:
        raise NinError(
            f"`resize={size}`: too small for this network; the smallest that works is {smallest}"
        )


def note_on_size(size: int) -> str:
    """What a reader should know of the last layers at an input of this height; mostly nothing."""
    if layer_shapes(size)["pool3"][2] > 1:
        return ""
    enough = next(more for more in range(size, 4096) if layer_shapes(more)["pool3"][2] > 1)
    return (
        f"at {size}x{size} the last map is one pixel: global average pooling averages nothing, and "
        "only the centre of block4.conv1's window is trained; the chapter's last layers need "
        f"`resize={enough}` or more"
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
    for layer in layers(num_classes):
        size = layer.output_size(size)
        # what a block gives is what the last of its convolutions gives
        shapes[layer.name.partition(".")[0]] = (batch, layer.out_channels, size, size)
        if layer.name == "pool3":
            shapes["dropout"] = shapes["pool3"]
    return {**shapes, "global_pool": (batch, num_classes, 1, 1), "flatten": (batch, num_classes)}


def parameter_shapes(
    num_classes: int = NUM_CLASSES, in_channels: int = IN_CHANNELS
) -> dict[str, tuple[int, ...]]:
    """Canonical name -> shape of the 24 parameters; convolutions are (out, in, height, width)."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, inputs, outputs, kernel, *_ in layers(num_classes, in_channels):
        if not name.startswith("pool"):
            shapes[f"{name}.weight"] = (outputs, inputs, kernel, kernel)
            shapes[f"{name}.bias"] = (outputs,)
    return shapes


def training_multiply_adds(size: int) -> int:
    """Of the convolutions, for one image of this height, forward and backward.

    Backward is as much again for each of the two gradients; the image needs none.
    """
    total = 0
    for i, layer in enumerate(layers()):
        size = layer.output_size(size)
        window = 0 if layer.is_pool else layer.in_channels * layer.kernel_size**2
        total += size**2 * layer.out_channels * window * (3 if i else 2)
    return total
