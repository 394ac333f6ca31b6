"""A grid of images, each with some words below it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.errors import NinError
from common.files import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("png", "svg", "pdf")
COLUMNS = 8


def check_name(path: Path) -> None:
    """Raise :class:`NinError` for a file whose name does not end in a kind of picture we write."""
    if path.suffix[1:].lower() not in KINDS:
        raise NinError(f"`picture={path}`: its name must end with .{', .'.join(KINDS)}")


def plot_images(
    images: np.ndarray, captions: Sequence[str], marked: Sequence[bool], title: str
) -> "Figure":
    """Images in rows.

    Args:
        images: uint8, (count, height, width).
        captions: what to write below each, a line or two.
        marked: which images get a red frame and red words.
        title: above everything.
    """
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    # in inches; a single image still leaves room for the title
    figure = figures.new(max(5, 1.3 * columns), 1.7 * rows + 0.6)
    figure.suptitle(title, fontsize=10, parse_math=False)
    for i, image in enumerate(images):
        colour, width = ("red", 2.5) if marked[i] else ("black", 0.5)
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel(captions[i], fontsize=8, color=colour, parse_math=False)
        for spine in axes.spines.values():
            spine.set(color=colour, linewidth=width)
    return figure
