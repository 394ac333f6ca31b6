"""The network on paper: sizes, shapes and names, computed without a framework.

The backends build the network, and are checked against this. Where no network is given, it is the
chapter's. Source: d2l, chapter "Network in Network"; Lin, Chen and Yan 2013.
"""

import contextlib
import itertools
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from common.errors import NinError, is_out_of_memory, one_line
from common.network.description import CHAPTER, Network

NUM_CLASSES = 10
IN_CHANNELS = 1
DROPOUT = 0.5
# the frameworks' own words for an image of which a layer would leave nothing
TOO_SMALL = re.compile(
    "too small|greater than actual input|zero or negative|would be negative|exceeds? input"
)


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

    The first of them depends on the size of the input, in pixels.
    """
    *_, last_map = map_shapes(size, num_classes, network).values()
    inputs, found = math.prod(last_map), []
    widths = network.dense(num_classes)
    for i, outputs in enumerate(widths, start=1):
        found.append(Layer(f"dense{i}", inputs, outputs, 1, 1, 0, i < len(widths)))
        inputs = outputs
    return found


def smallest_input(network: Network = CHAPTER, last_map: int = 1) -> int:
    """The smallest input height for which the last map has so many pixels, in pixels."""
    size = last_map
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


@contextlib.contextmanager
def passing(name: str | None, shape: tuple[int, ...], images: np.ndarray) -> Iterator[None]:
    """Say of images that do not pass through a layer where and why.

    Args:
        name: of the layer.
        shape: of what it gets, channels first.
        images: (batch, channels, height, width).

    Raises:
        NinError: instead of the framework's own error.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, NinError) or is_out_of_memory(error):
            raise
        words = f"`net`: layer {name}: {one_line(error)}"
        if TOO_SMALL.search(words):
            words = (
                f"`resize={images.shape[2]}`: the images are too small for layer {name}, which "
                f"gets {' x '.join(map(str, shape[1:]))}"
            )
        raise NinError(words) from error


def note_on_size(size: int, network: Network = CHAPTER) -> str:
    """What a reader should know of the last layers at an input of this height; mostly nothing."""
    enough = smallest_input(network, last_map=2)
    # a head of three fully connected layers is in place of the last block
    if size >= enough or network.head == "alexnet":
        return ""
    last_block = layers(network=network)[-1].name.partition(".")[0]
    return (
        f"at {size}x{size} the last map is one pixel: global average pooling averages nothing, and "
        f"only the centre of {last_block}.conv1's window is trained; the last layers need "
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


def output_shapes(
    size: int, network: Network = CHAPTER, num_classes: int = NUM_CLASSES
) -> dict[str, tuple[int, ...]]:
    """Output shape of every layer, of the blocks of every convolution, for one image, in order.

    Args:
        size: height and width of the image, in pixels.
        network: whose layers.
        num_classes: of the last block.

    Returns:
        ``input``, ``block1.conv1`` ... -> (channels, height, width); from flatten on (features,).

    Raises:
        NinError: if the input is too small.
    """
    check_input_size(size, network)
    shapes: dict[str, tuple[int, ...]] = {"input": (IN_CHANNELS, size, size)}
    drops = iter([block.dropout for block in network.blocks(num_classes) if block.pool])
    dropouts = map("dropout{}".format, itertools.chain([""], itertools.count(2)))
    last: tuple[int, ...] = ()
    for name, last in map_shapes(size, num_classes, network).items():
        shapes[name] = last
        if name.startswith("pool") and next(drops):
            shapes[next(dropouts)] = last
    dense = dense_layers(size, num_classes, network)
    if not dense:
        last = shapes["global_pool"] = (num_classes, 1, 1)
    shapes["flatten"] = (math.prod(last),)
    for layer in dense:
        shapes[layer.name] = (layer.out_channels,)
        if layer.relu:
            shapes[next(dropouts)] = (layer.out_channels,)
    return shapes


def layer_shapes(
    size: int, network: Network = CHAPTER, num_classes: int = NUM_CLASSES
) -> dict[str, tuple[int, ...]]:
    """The same of a batch of one, for the layers of the book's shape walk, ten of the chapter's."""
    shapes = output_shapes(size, network, num_classes)
    del shapes["input"]
    # what a block gives is what the last of its convolutions gives
    return {name.partition(".")[0]: (1, *shape) for name, shape in shapes.items()}


def layer_names(network: Network = CHAPTER) -> list[str]:
    """Every layer, and of the blocks every convolution, in order; before them ``input``."""
    return list(output_shapes(smallest_input(network), network))


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
        size: height and width of the input, in pixels; ignored without a fully connected
            layer.

    Returns:
        shapes of weights: of convolutions (out, in, height, width), of fully connected layers
        (out, in); of biases (out,).
    """
    shapes: dict[str, tuple[int, ...]] = {}
    dense = dense_layers(size or smallest_input(network), num_classes, network)
    for layer in (*layers(num_classes, in_channels, network), *dense):
        if not layer.is_pool:
            window = () if layer in dense else (layer.kernel_size,) * 2
            shapes[f"{layer.name}.weight"] = (layer.out_channels, layer.in_channels, *window)
            shapes[f"{layer.name}.bias"] = (layer.out_channels,)
    return shapes
