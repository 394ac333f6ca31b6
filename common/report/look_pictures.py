"""The pictures of :mod:`common.report.look`, one function for each view, in ``en`` or ``tr``."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import plural
from common.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# So many dots are enough to see that they lie on a line.
MOST_POINTS = 2000
# Letters that fit beside each other across a slide; of a class beside a matrix; of all above one.
ACROSS, BESIDE, ABOVE = 90, 24, 132
# Maps in a row; below so many points a cell has no room for its number.
MOST_MAPS, NUMBER = 11, 16

WORDS = {
    "mlp": (
        "A 1×1 convolution is a fully connected layer per pixel",
        "1×1 evrişim, piksel başına tam bağlı bir katmandır",
    ),
    "by_hand": ("fully connected,\npixel by pixel (NumPy)", "tam bağlı,\npiksel piksel (NumPy)"),
    "by_framework": ("1×1 convolutions (framework)", "1×1 evrişimler (çerçeve)"),
    "maps": (
        "The last block's maps, one per class: their means are the logits",
        "Son bloğun haritaları, her sınıfa bir tane: ortalamaları logitlerdir",
    ),
    "image": ("image", "imge"),
    "first": ("the first {0} of {1} image(s)", "{1} imgenin ilk {0} tanesi"),
    "largest": (
        "the {0} of {1} classes with the largest means",
        "{1} sınıftan ortalaması en büyük olan {0} tanesi",
    ),
    "confusion": (
        "What is taken for what, in % of the true class: {0} image(s)",
        "Hangi sınıf hangisiyle karıştırılıyor (gerçek sınıfın yüzdesi, {0} imge)",
    ),
    "true": ("true class", "gerçek sınıf"),
    "predicted": ("predicted class", "tahmin edilen sınıf"),
    "wrong": (
        "The most confident of {0} wrong answer(s) on {1} image(s)",
        "{1} imgedeki {0} yanlış tahminden en emin olunanlar",
    ),
    "right": ("No wrong answer on {1} image(s)", "{1} imgede yanlış tahmin yok"),
    "is": ("is", "doğrusu"),
    "filters": ("The filters of the first convolution", "İlk evrişimin filtreleri"),
    "dead": (
        "Channels that are 0 in every pixel of {0} image(s)",
        "{0} imgenin her pikselinde 0 olan kanallar",
    ),
    "no_dead": ("none", "yok"),
}


def mlp(points: Sequence[tuple[str, np.ndarray, np.ndarray]], language: str) -> "Figure":
    """Of each block its name, and the outputs of the framework and of NumPy, of the same shape."""
    words = style.words(WORDS, language)
    columns = min(4, len(points))
    rows = -(-len(points) // columns)
    figure = style.slide(words["mlp"], 3.3 * rows + 1.9)
    for i, (name, *both) in enumerate(points, start=1):
        by_framework, by_hand = map(np.ravel, both)
        axes = figure.add_subplot(rows, columns, i)
        chosen = np.linspace(0, len(by_hand) - 1, min(MOST_POINTS, len(by_hand))).astype(int)
        end = float(max(by_hand.max(), by_framework.max(), 1e-30))
        axes.plot([0, end], [0, end], color=style.ORANGE, linewidth=2)
        axes.plot(by_hand[chosen], by_framework[chosen], ".", color=style.BLUE, markersize=7)
        axes.set_title(name, fontsize=style.TEXT)
        axes.set_aspect("equal")
        axes.locator_params(nbins=3)
        style.write_numbers(axes, language)
        axes.tick_params(labelsize=style.SMALL)
        if i > len(points) - columns:
            axes.set_xlabel(words["by_hand"], fontsize=style.SMALL)
    figure.supylabel(words["by_framework"], fontsize=style.TEXT)
    return figure


def maps(
    pixels: np.ndarray,
    found: np.ndarray,
    names: Sequence[str],
    classes: Sequence[str],
    place: tuple[float, float],
    language: str,
) -> "Figure":
    """Each image, and over it the map of each class, brighter where that class is seen.

    Images are uint8, (count, height, width), the first of those with the names; maps (count,
    classes, height, width) and at least 0, of many classes the largest; the place is that of the
    maps' edges, as shares of the image's height.
    """
    words = style.words(WORDS, language)
    largest = np.argsort(-found.mean((2, 3)).max(0), kind="stable")[:MOST_MAPS]
    parts = ("first", len(pixels), len(names)), ("largest", len(largest), len(classes))
    of = [plural(words[name].format(some, whole)) for name, some, whole in parts if some < whole]
    title = f"{words['maps']}\n{'; '.join(of)}"
    figure = style.slide(title.strip(), max(4, 1.45 * len(pixels) + 1.7))
    chosen, columns = sorted(largest), len(largest) + 1
    rows, _ = names_beside_and_above([style.told(name, language) for name in classes])
    titles = [words["image"], *(rows[k] for k in chosen)]
    found = found[:, chosen]
    for i, image in enumerate(pixels):
        brightest = max(float(found[i].max()), 1e-30)
        means = found[i].mean((1, 2))
        for k in range(columns):
            axes = figure.add_subplot(len(pixels), columns, i * columns + k + 1)
            _show(axes, image)
            if k:
                own = found[i, k - 1]
                height, width = image.shape
                low, high = (edge * height - 0.5 for edge in place)
                # where there is nothing the image stays as it is
                alpha = 0.85 * np.sqrt(np.clip(own / brightest, 0, 1))
                axes.imshow(
                    own, cmap="plasma", vmin=0, vmax=brightest, alpha=alpha,
                    extent=(low, high, high, low),
                )  # fmt: skip
                axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
                mean = style.number(means[k - 1], ".2f", language)
                best = k - 1 == means.argmax()
                weight = "bold" if best else "normal"
                axes.set_xlabel(mean, fontsize=style.SMALL, fontweight=weight)
                for spine in axes.spines.values():
                    spine.set(linewidth=4 if best else 0.5, color=style.VERMILION if best else "k")
            else:
                name = _short(style.told(Path(names[i]).name, language), ACROSS // columns)
                axes.set_xlabel(name, fontsize=style.SMALL, parse_math=False)
            if not i:
                lines = textwrap.wrap(
                    titles[k].replace("/", "/ "), ACROSS // columns, break_long_words=False,
                    max_lines=3, placeholder=" …",
                )  # fmt: skip
                lines = [_short(line.replace("/ ", "/"), ACROSS // columns) for line in lines]
                axes.set_title("\n".join(lines), fontsize=style.SMALL, parse_math=False)
    return figure


def confusion(matrix: np.ndarray, classes: Sequence[str], language: str) -> "Figure":
    """Numbers of images, (true class, predicted class), in per cent of each row."""
    words = style.words(WORDS, language)
    title = words["confusion"].format(style.number(matrix.sum(), language=language))
    figure = style.slide(plural(title), 9 if len(classes) <= 12 else style.WIDTH)
    axes = figure.add_subplot()
    shares, cell = in_per_cent(matrix), 650 / len(classes)  # in points
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    if cell < NUMBER:
        figure.colorbar(image).ax.tick_params(labelsize=style.SMALL)
    for (true, predicted), share in np.ndenumerate(shares):
        if share and cell >= NUMBER:
            axes.text(
                predicted, true, str(share), ha="center", va="center",
                color="white" if share > 55 else "black", fontsize=min(style.TEXT, cell / 2),
            )  # fmt: skip
    rows, columns = names_beside_and_above([style.told(name, language) for name in classes])
    letters = min(style.SMALL, max(5, 0.8 * cell))
    shown = slice(None, None, math.ceil(1.2 * letters / cell))  # those for which there is room
    turned = 35 if rows is columns else 90 if len(classes) > 100 else 0
    places = range(len(classes))
    axes.set_xticks(
        places[shown], columns[shown], fontsize=letters, rotation=turned,
        ha="right" if turned == 35 else "center",
    )  # fmt: skip
    axes.set_yticks(places[shown], [_short(row, BESIDE) for row in rows[shown]], fontsize=letters)
    for label in [*axes.get_xticklabels(), *axes.get_yticklabels()]:
        label.set_parse_math(False)
    axes.set_xlabel(words["predicted"], fontsize=style.TEXT)
    axes.set_ylabel(words["true"], fontsize=style.TEXT)
    return figure


def in_per_cent(matrix: np.ndarray) -> np.ndarray:
    """Whole per cents of each row's sum, a half up as readers do, not to the even number."""
    totals = np.maximum(matrix.sum(1, keepdims=True), 1)
    return np.floor(100 * matrix / totals + 0.5).astype(int)


def names_beside_and_above(classes: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """What to call the rows and the columns of a matrix: both by name, or many columns by number.

    The rows then have both.
    """
    longest = max(map(len, classes))
    if longest <= BESIDE and longest * len(classes) <= ABOVE:
        return classes, classes
    numbers = [*map(str, range(len(classes)))]
    # "class 3" has its number
    pairs = zip(numbers, classes, strict=True)
    return [name if name.split()[1:] == [i] else f"{i} {name}" for i, name in pairs], numbers


def wrong(
    pixels: np.ndarray, entries: Sequence[Mapping[str, Any]], wrong: int, images: int, language: str
) -> "Figure":
    """Images, uint8, (count, height, width), each with the wrong answer and the right one.

    They are some of so many wrong answers, on so many images.
    """
    words = style.words(WORDS, language)
    columns = max(1, min(5, len(pixels)))
    rows = -(-len(pixels) // columns)
    numbers = (style.number(number, language=language) for number in (wrong, images))
    title = plural(words["wrong" if wrong else "right"].format(*numbers))
    captions = []
    for entry in entries:
        answer, true = (style.told(entry[name], language) for name in ("predicted", "true"))
        share = style.share(entry["probability"], language)
        lines = f"{answer} {share}", f"{words['is']}: {true}"
        captions.append(
            "\n".join(style.filled(line, style.WIDTH / columns, style.SMALL) for line in lines)
        )
    tall = max((caption.count("\n") for caption in captions), default=0)
    figure = style.slide(title, (3.1 + 0.29 * tall) * rows + 0.7)
    for i, (image, caption) in enumerate(zip(pixels, captions, strict=True), start=1):
        # at the bottom of its cell, so that the layout knows how far the words below it reach
        axes = figure.add_subplot(rows, columns, i, anchor="S")
        _show(axes, image)
        axes.set_xlabel(caption, fontsize=style.SMALL, parse_math=False)
    return figure


def filters(weights: np.ndarray, language: str) -> "Figure":
    """Filters, (count, height, width): grey is 0, white and black their largest weights."""
    count = len(weights)
    columns = min(16, count)
    rows = -(-count // columns)
    _, height, width = weights.shape
    # one image with a gap between filters: ninety-six pairs of axes would take long to lay out
    canvas = np.full((rows * (height + 1), columns * (width + 1)), np.nan)
    for i, each in enumerate(weights):
        top, left = (i // columns) * (height + 1), (i % columns) * (width + 1)
        canvas[top : top + height, left : left + width] = each / max(np.abs(each).max(), 1e-30)
    figure = style.slide(style.words(WORDS, language)["filters"], min(12, 13 * rows / columns + 1))
    axes = figure.add_subplot()
    axes.imshow(canvas[:-1, :-1], cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    axes.axis("off")
    return figure


def dead(layers: Sequence[Mapping[str, Any]], seen: int, language: str) -> "Figure":
    """How much of each layer is dead: 0 in so many images."""
    words = style.words(WORDS, language)
    figure = style.slide(
        plural(words["dead"].format(style.number(seen, language=language))),
        max(4, 0.42 * len(layers) + 1.2),
    )
    axes = figure.add_subplot()
    places = range(len(layers))
    shares = [len(each["dead"]) / each["channels"] for each in layers]
    axes.barh(places, [1] * len(layers), color="#e6e6e6")
    axes.barh(places, shares, color=style.VERMILION)
    for place, each, share in zip(places, layers, shares, strict=True):
        text = f"{len(each['dead'])} / {each['channels']}" if share else words["no_dead"]
        axes.text(share + 0.01, place, text, va="center", fontsize=style.TEXT)
    axes.set_yticks(places, [each["layer"] for each in layers], fontsize=style.SMALL)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12)
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    return figure


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _show(axes: "Axes", image: np.ndarray) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    axes.set_xticks([])
    axes.set_yticks([])
