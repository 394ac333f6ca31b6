"""LeNet, AlexNet and VGG-11 as the book defines them: the networks that NiN is compared with.

Source: d2l, chapters "Convolutional Neural Networks (LeNet)", "Deep Convolutional Neural Networks
(AlexNet)" and "Networks Using Blocks (VGG)", all for grey images and ten classes.
"""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

from common.network import names
from common.network.architecture import IN_CHANNELS, NUM_CLASSES


class Op(NamedTuple):
    """A layer on paper, a convolution or fully connected layer with its activation."""

    kind: str
    """``conv``, ``pool``, ``average_pool``, ``flatten``, ``dense`` or ``dropout``."""
    outputs: int = 0
    """Channels of a convolution, outputs of a fully connected layer; no meaning elsewhere."""
    kernel_size: int = 0
    """Height and width of the window, in pixels, as the next two."""
    stride: int = 1
    padding: int = 0


class BookNetwork(NamedTuple):
    """One of the book's networks."""

    title: str
    resize: int
    """Side of the images that the book trains it on, in pixels."""
    layers: tuple[Op | tuple[Op, ...], ...]
    """In order; a tuple is a block."""

    def named(self) -> list[tuple[str, Op]]:
        """Each layer with a canonical name, those in blocks too."""
        found = names.name_layers(
            self.layers, lambda layer: None if isinstance(layer, Op) else layer, lambda op: op.kind
        )
        return [(str(each.name), each.layer) for each in names.leaves(found)]

    def smallest_input(self) -> int:
        """The smallest input height for which every layer still has an output, in pixels."""
        sizes = itertools.count(1)
        return next(size for size in sizes if min(map(min, self.shapes(size)[1].values())) > 0)

    def shapes(self, size: int) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
        """Shapes of its parameters, and of what each layer gives for one image of a size.

        Both as :func:`common.network.cost.of_shapes` takes them.
        """
        parameters: dict[str, tuple[int, ...]] = {}
        shape: tuple[int, ...] = (IN_CHANNELS, size, size)
        outputs = {"input": shape}
        for name, op in self.named():
            if op.kind in ("conv", "dense"):
                window = (op.kernel_size,) * 2 if op.kind == "conv" else ()
                parameters[f"{name}.weight"] = (op.outputs, shape[0], *window)
                parameters[f"{name}.bias"] = (op.outputs,)
            if op.kind == "flatten":
                shape = (math.prod(shape),)
            elif op.kind == "dense":
                shape = (op.outputs,)
            elif op.kernel_size:
                side = (shape[1] + 2 * op.padding - op.kernel_size) // op.stride + 1
                shape = (op.outputs or shape[0], side, side)
            outputs[name] = shape
        return parameters, outputs


def _vgg_blocks() -> Iterator[tuple[Op, ...]]:
    """Convolutions that keep the size, then a pooling layer that halves it."""
    for count, channels in ((1, 64), (1, 128), (2, 256), (2, 512), (2, 512)):
        yield (*[Op("conv", channels, 3, padding=1)] * count, Op("pool", 0, 2, 2))


_FLATTEN, _WIDE, _DROPOUT = Op("flatten"), Op("dense", 4096), Op("dropout")
_LARGE_HEAD = (_FLATTEN, _WIDE, _DROPOUT, _WIDE, _DROPOUT, Op("dense", NUM_CLASSES))

NETWORKS = {
    "lenet": BookNetwork(
        "LeNet",
        28,
        (
            *(Op("conv", 6, 5, padding=2), Op("average_pool", 0, 2, 2)),
            *(Op("conv", 16, 5), Op("average_pool", 0, 2, 2)),
            *(_FLATTEN, Op("dense", 120), Op("dense", 84), Op("dense", NUM_CLASSES)),
        ),
    ),
    "alexnet": BookNetwork(
        "AlexNet",
        224,
        (
            *(Op("conv", 96, 11, 4, 1), Op("pool", 0, 3, 2)),
            *(Op("conv", 256, 5, padding=2), Op("pool", 0, 3, 2)),
            *(Op("conv", 384, 3, padding=1), Op("conv", 384, 3, padding=1)),
            *(Op("conv", 256, 3, padding=1), Op("pool", 0, 3, 2)),
            *_LARGE_HEAD,
        ),
    ),
    "vgg11": BookNetwork("VGG-11", 224, (*_vgg_blocks(), *_LARGE_HEAD)),
}
