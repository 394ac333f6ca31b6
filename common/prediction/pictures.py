"""A grid of images, each with some words below it."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.errors import NinError
from common.files.write import write_bytes

KINDS = ("png", "svg", "pdf")
COLUMNS = 8


def check_name(path: Path) -> None:
    """Raise :class:`NinError` for a file name that says no kind of picture we draw."""
    if path.suffix[1:].lower() not in KINDS:
        raise NinError(f"`picture={path}`: its name must end with .{', .'.join(KINDS)}")


def draw(
    path: Path, images: np.ndarray, captions: Sequence[str], marked: Sequence[bool], title: str
) -> None:
    """Write a picture of images in rows.

    Args:
        path: its ending decides the kind of file.
        images: uint8, (count, height, width).
        captions: what to write below each, a line or two.
        marked: which images get a red frame and red words.
        title: above everything.
    """
    # drawing takes longer to import than to do: only when there is something to draw
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    # in inches; a single image still leaves room for the title
    figure = Figure(figsize=(max(5, 1.3 * columns), 1.7 * rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    for i, image in enumerate(images):
        colour, width = ("red", 2.5) if marked[i] else ("black", 0.5)
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel(captions[i], fontsize=8, color=colour)
        for spine in axes.spines.values():
            spine.set(color=colour, linewidth=width)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:].lower(), dpi=150)
    write_bytes(path, buffer.getvalue())
