"""The network on paper: sizes, shapes and names, computed without a framework.

The backends build the network, and are checked against this. Where no network is given, it is the
chapter's. Source: d2l, chapter "Network in Network"; Lin, Chen and Yan 2013.
"""

import math
from typing import NamedTuple

import numpy as np

from common.errors import NinError
from common.network.description import CHAPTER, Network

NUM_CLASSES = 10
IN_CHANNELS = 1
DROPOUT = 0.5


class Layer(NamedTuple):
    """A convolution, max pooling (which drops a window that does not fit), or fully connected."""

    name: str
    """``block1.conv1`` ... ``block4.conv3``, ``pool1`` ... ``pool3``, ``dense1`` ..."""
    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    padding: int
    relu: bool = True
    """Whether a ReLU follows."""

    @property
    def is_pool(self) -> bool:
        """Whether it is max pooling."""
        return self.name.startswith("pool")

    def output_size(self, size: int) -> int:
        """Height of the output for an input of this height; below 1 if none is left."""
        return (size + 2 * self.padding - self.kernel_size) // self.stride + 1


def layers(
    num_classes: int = NUM_CLASSES, in_channels: int = IN_CHANNELS, network: Network = CHAPTER
) -> list[Layer]:
    """The convolutions and the pooling layers in order; sizes are in pixels.

    Global average pooling or :func:`dense_layers` come after them.
    """
    found: list[Layer] = []
    pools = 0
    for number, block in enumerate(network.blocks(num_classes), start=1):
        for i, convolution in enumerate(block.convolutions, start=1):
            found.append(Layer(f"block{number}.conv{i}", in_channels, *convolution))
            in_channels = convolution.channels
        if block.pool:
            pools += 1
            pool = Layer(f"pool{pools}", in_channels, in_channels, block.pool, 2, 0, False)
            found.append(pool)
    return found


def dense_layers(
    size: int, num_classes: int = NUM_CLASSES, network: Network = CHAPTER
) -> list[Layer]:
    """The fully connected layers at the end, of which the chapter has none.

    Args:
        size: height and width of the input, in pixels: the first of them depends on it.
        num_classes: width of the last.
        network: whose.
    """
    *_, last_map = map_shapes(size, num_classes, network).values()
    inputs, found = math.prod(last_map), []
    widths = network.dense(num_classes)
    for i, outputs in enumerate(widths, start=1):
        found.append(Layer(f"dense{i}", inputs, outputs, 1, 1, 0, i < len(widths)))
        inputs = outputs
    return found


def smallest_input(network: Network = CHAPTER) -> int:
    """The smallest input height for which every layer still has an output, in pixels."""
    size = 1
    for layer in reversed(layers(network=network)):
        size = max(1, (size - 1) * layer.stride + layer.kernel_size - 2 * layer.padding)
    return size


def random_image(height: int, width: int | None = None) -> np.ndarray:
    """One image, float32 of shape (1, 1, height, width), square if no width in pixels is given."""
    shape = (1, IN_CHANNELS, height, width or height)
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def check_input_size(size: int, network: Network = CHAPTER) -> None:
    """Raise :class:`NinError` when an input of this height leaves some layer without output."""
    smallest = smallest_input(network)
    if size < smallest:
        raise NinError(
            f"`resize={size}`: too small for this network; the smallest that works is {smallest}"
        )


def note_on_size(size: int, network: Network = CHAPTER) -> str:
    """What a reader should know of the last layers at an input of this height; mostly nothing."""
    # a head of three fully connected layers is in place of the last block
    if network.head == "alexnet":
        return ""

    def last_map(height: int) -> tuple[str, int]:
        shapes = layer_shapes(height, network=network)
        name = [name for name in shapes if name.startswith("block")][-1]
        return name, shapes[name][2]

    name, width = last_map(size)
    if width > 1:
        return ""
    enough = next(more for more in range(size, 4096) if last_map(more)[1] > 1)
    return (
        f"at {size}x{size} the last map is one pixel: global average pooling averages nothing, and "
        f"only the centre of {name}.conv1's window is trained; the last layers need "
        f"`resize={enough}` or more to do what they are for"
    )


def map_shapes(
    size: int, num_classes: int = NUM_CLASSES, network: Network = CHAPTER
) -> dict[str, tuple[int, ...]]:
    """Channels, height and width of what each convolution and pooling layer gives, by its name."""
    found: dict[str, tuple[int, ...]] = {}
    for layer in layers(num_classes, network=network):
        size = layer.output_size(size)
        found[layer.name] = (layer.out_channels, size, size)
    return found


def layer_shapes(size: int, network: Network = CHAPTER) -> dict[str, tuple[int, ...]]:
    """Output shape of each layer that the book's shape walk shows, for one image, channels first.

    Args:
        size: height and width of the image, in pixels.
        network: whose layers; ten of the chapter's.

    Returns:
        layer name -> shape ``(1, channels, height, width)``; from flatten on ``(1, features)``.

    Raises:
        NinError: if the input is too small.
    """
    check_input_size(size, network)
    shapes: dict[str, tuple[int, ...]] = {}
    drops = [block.dropout for block in network.blocks(NUM_CLASSES) if block.pool]
    dropouts = 0

    def drop(shape: tuple[int, ...]) -> None:
        nonlocal dropouts
        dropouts += 1
        shapes["dropout" if dropouts == 1 else f"dropout{dropouts}"] = shape

    last: tuple[int, ...] = ()
    for name, map_shape in map_shapes(size, network=network).items():
        last = (1, *map_shape)
        # what a block gives is what the last of its convolutions gives
        shapes[name.partition(".")[0]] = last
        if name.startswith("pool") and drops.pop(0):
            drop(last)
    dense = dense_layers(size, network=network)
    if not dense:
        shapes["global_pool"] = (1, NUM_CLASSES, 1, 1)
        last = shapes["global_pool"]
    shapes["flatten"] = (1, math.prod(last[1:]))
    for layer in dense:
        shapes[layer.name] = (1, layer.out_channels)
        if layer.relu:
            drop(shapes[layer.name])
    return shapes


def layer_names(network: Network = CHAPTER) -> list[str]:
    """Every layer, and of the blocks every convolution, in order; before them ``input``."""
    names = ["input"]
    inside = [layer.name for layer in layers(network=network)]
    for name in layer_shapes(smallest_input(network), network=network):
        names += [each for each in inside if each.startswith(f"{name}.")] or [name]
    return names


def parameter_shapes(
    num_classes: int = NUM_CLASSES,
    in_channels: int = IN_CHANNELS,
    network: Network = CHAPTER,
    size: int | None = None,
) -> dict[str, tuple[int, ...]]:
    """Canonical name -> shape of all parameters, of which the chapter has 24.

    Args:
        num_classes: channels of the last block.
        in_channels: channels of the images.
        network: whose parameters.
        size: height and width of the input, in pixels; of no account without a fully connected
            layer.

    Returns:
        shapes of weights: of convolutions (out, in, height, width), of fully connected layers
        (out, in); of biases (out,).
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in layers(num_classes, in_channels, network):
        if not layer.is_pool:
            window = (layer.kernel_size,) * 2
            shapes[f"{layer.name}.weight"] = (layer.out_channels, layer.in_channels, *window)
            shapes[f"{layer.name}.bias"] = (layer.out_channels,)
    for layer in dense_layers(size or smallest_input(network), num_classes, network):
        shapes[f"{layer.name}.weight"] = (layer.out_channels, layer.in_channels)
        shapes[f"{layer.name}.bias"] = (layer.out_channels,)
    return shapes
