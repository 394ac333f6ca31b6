"""The chapter's figure: VGG beside NiN, a block and the whole network of each.

It is drawn from the descriptions of the networks. As in the book, the image enters at the bottom,
and what has no numbers of its own (ReLU, dropout, flattening) is left out.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from common.errors import NinError, plural
from common.files import figures
from common.network import book
from common.network.architecture import NUM_CLASSES
from common.network.book import Op
from common.network.cost import description_of
from common.network.description import CHAPTER, Block
from common.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEFAULT = ("vgg11", "nin")

WORDS = {
    "conv": ("{0}×{0} convolution", "{0}×{0} evrişim"),
    "pool": ("{0}×{0} max pooling", "{0}×{0} maksimum\nortaklama"),
    "average_pool": ("{0}×{0} average\npooling", "{0}×{0} ortalama\nortaklama"),
    "dense": ("fully connected", "tam bağlı katman"),
    "global_pool": ("global average\npooling", "küresel ortalama\nortaklama"),
    "block": ("{0} block", "{0} bloğu"),
    "channels": ("{0} channel(s)", "{0} kanal"),
    "stride": ("stride {0}", "uzun adım {0}"),
    "padding": ("padding {0}", "dolgu {0}"),
}
# light, under black letters; told apart by colour-blind people, and the words say it too
COLOURS = {
    "conv": "#9fd0ee",
    "conv1x1": "#dbeefa",
    "block": "#9fd0ee",
    "pool": "#fbf3a0",
    "dense": "#f4b183",
    "global_pool": "#a5dfcc",
}
# That fit into a line of a box, of a title, and of a long title in smaller letters.
LETTERS, TITLE, LONG_TITLE = 24, 15, 20
# In inches.
COLUMN, BOX, LINE, GAP = 3.26, 3.04, 0.29, 0.24


class _Box(NamedTuple):
    """A layer, or a block that stands for several."""

    kind: str
    """Of :data:`COLOURS`."""
    text: str


class _Column(NamedTuple):
    """Boxes from the bottom up, an arrow from each to the next."""

    title: str
    boxes: list[_Box]


def plot(networks: Sequence[str] = DEFAULT, language: str = "en") -> "Figure":
    """Networks side by side, each with the block that it is made of, if it is made of blocks.

    They are named as :func:`common.network.cost.of` takes them; two fill a slide.
    """
    words = style.words(WORDS, language)
    columns = [column for name in networks for column in _columns(name, words)]
    if not columns:
        raise NinError("`networks`: there is none to draw")
    height = max(sum(_height(box) + GAP for box in column.boxes) for column in columns)
    titles = max(_title(column).count("\n") for column in columns) * LINE
    size = (len(columns) * COLUMN + 0.3, height + 0.9 + titles)
    figure = figures.new(*size)
    axes = figure.add_subplot()
    axes.set(xlim=(0, size[0]), ylim=(-0.15, size[1] - 0.15), aspect="equal")
    axes.axis("off")
    for i, column in enumerate(columns):
        _draw(axes, column, 0.15 + COLUMN * (i + 0.5), height)
    return figure


def _draw(axes: "Axes", column: _Column, x: float, height: float) -> None:
    """One column, its title above all of them."""
    from matplotlib.patches import Rectangle

    title = _title(column)
    axes.text(
        x, height + 0.45 + title.count("\n") * LINE / 2, title, ha="center", va="center",
        fontsize=style.TITLE if len(column.title) <= TITLE else style.SMALL + 1,
        fontweight="bold", parse_math=False,
    )  # fmt: skip
    y = 0.0
    arrow = {"arrowstyle": "-|>", "linewidth": 1.5, "color": "black", "shrinkA": 0, "shrinkB": 0}
    for box in column.boxes:
        axes.annotate("", xy=(x, y + GAP), xytext=(x, y), arrowprops=arrow)
        y += GAP
        tall = _height(box)
        axes.add_patch(
            Rectangle((x - BOX / 2, y), BOX, tall, fc=COLOURS[box.kind], ec="black", lw=1.2)
        )
        axes.text(
            x, y + tall / 2 - 0.02, box.text, ha="center", va="center", fontsize=style.SMALL + 1
        )
        y += tall
    axes.annotate("", xy=(x, y + GAP), xytext=(x, y), arrowprops=arrow)


def _title(column: _Column) -> str:
    """In lines that are no wider than the column."""
    return column.title if len(column.title) <= TITLE else style.wrapped(column.title, LONG_TITLE)


def _height(box: _Box) -> float:
    return LINE * (box.text.count("\n") + 1) + 0.16


def _columns(name: str, words: dict[str, str]) -> list[_Column]:
    """The block and the network, or the network alone."""
    layers: list[Op | Block | tuple[Op, ...]]
    inside: Sequence[Op]
    if name in book.NETWORKS:
        title, layers = book.NETWORKS[name].title, [*book.NETWORKS[name].layers]
        family = title.partition("-")[0]
        several = (layer for layer in layers if not isinstance(layer, Op | Block))
        inside = max(several, key=len, default=())
    else:
        network, family = description_of(name), "NiN"
        title = family if network == CHAPTER else str(network)
        blocks, layers = network.blocks(NUM_CLASSES), []
        for each in blocks:
            layers += [each, Op("pool", 0, each.pool, 2)] if each.pool else [each]
        dense = [Op("dense", width) for width in network.dense(NUM_CLASSES)]
        layers += dense or [Op("global_pool")]
        inside = [Op("conv", *numbers[:4]) for numbers in blocks[0].convolutions]
    block = [(words["block"].format(family), inside)] if inside else []
    return [
        _Column(head, [*filter(None, (_box(layer, family, words) for layer in shown))])
        for head, shown in (*block, (title, layers))
    ]


def _box(layer: Op | Block | tuple[Op, ...], family: str, words: dict[str, str]) -> _Box | None:
    """A layer, or a block of them; None for one that is not drawn."""
    kind, what = "block", words["block"].format(family)
    if isinstance(layer, Block):
        widths = layer.channels if len(set(layer.channels)) > 1 else layer.channels[:1]
        parts = [f"{layer.kernel_size}×{layer.kernel_size}", "/".join(map(str, widths))]
        parts += _window(layer.strides, layer.padding, words)
    elif not isinstance(layer, Op):
        first, *others = [op for op in layer if op.kind == "conv"]
        window = f"{len(others) + 1} × {first.kernel_size}×{first.kernel_size}"
        parts = [window, _channels(first, words)]
    elif layer.kind == "conv":
        kind = "conv1x1" if layer.kernel_size == 1 else "conv"
        what = words["conv"].format(layer.kernel_size)
        parts = [_channels(layer, words), *_window(layer.stride, layer.padding, words)]
    elif layer.kind in ("pool", "average_pool"):
        what = words[layer.kind].format(layer.kernel_size)
        return _Box("pool", f"{what}, {words['stride'].format(layer.stride)}")
    elif layer.kind == "dense":
        return _Box("dense", f"{words['dense']}, {layer.outputs}")
    else:
        return _Box(layer.kind, words[layer.kind]) if layer.kind in words else None
    return _Box(kind, f"{what}\n{style.wrapped(', '.join(parts), LETTERS)}")


def _channels(op: Op, words: dict[str, str]) -> str:
    return plural(words["channels"].format(op.outputs))


def _window(stride: int, padding: int, words: dict[str, str]) -> list[str]:
    """Stride and padding, where they are not 1 and 0."""
    found = [words["stride"].format(stride)] if stride > 1 else []
    return found + ([words["padding"].format(padding)] if padding else [])
