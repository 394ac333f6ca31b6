"""A grid of images, each with some words below it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from common.data.photos import Photo
from common.files import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 8

WORDS = {
    "one": ("1 image", "1 imge"),
    "images": ("{0} images", "{0} imge"),
    "right": ("{0} of {1} right: accuracy {2}", "{1}nin {0} tanesi doğru, doğruluk {2}"),
    "first": ("the first {0}", "ilk {0} imge"),
    "is": ("is: {0}", "doğrusu: {0}"),
}


def plot_images(
    images: np.ndarray,
    captions: Sequence[str],
    marked: Sequence[bool],
    title: str,
    notice: str = "",
    photos: Sequence[Photo] = (),
) -> "Figure":
    """Images in rows.

    Args:
        images: uint8, (count, height, width).
        captions: what to write below each, a line or two.
        marked: which images get a red frame and red words.
        title: above everything.
        notice: below everything, when the images are not of the real set.
        photos: that the images were made of, if they were; each is drawn beside its image, with a
            frame around the part that was taken.
    """
    figures.new(1, 1)  # imports matplotlib, whatever the environment says of its backend
    from matplotlib.patches import Rectangle

    columns = min(COLUMNS // 2 if photos else COLUMNS, len(images))
    rows = -(-len(images) // columns)
    # in inches; a single image still leaves room for the title
    width = 2.6 if photos else 1.3
    figure = figures.new(max(5, width * columns), 1.7 * rows + 0.6)
    figure.suptitle(title, fontsize=10, parse_math=False)
    for i, image in enumerate(images):
        colour, line = ("red", 2.5) if marked[i] else ("black", 0.5)
        axes = figure.add_subplot(rows, columns, i + 1)
        if photos:
            image, (left, top, right, bottom) = _beside(photos[i], image)
            box = (left - 0.5, top - 0.5), right - left, bottom - top
            axes.add_patch(Rectangle(*box, fill=False, edgecolor="C1", linewidth=1))
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel(captions[i], fontsize=8, color=colour, parse_math=False)
        for spine in axes.spines.values():
            spine.set(color=colour, linewidth=line)
    return figures.with_notice(figure, notice)


def _beside(photo: Photo, image: np.ndarray) -> tuple[np.ndarray, tuple[float, ...]]:
    """A photo and the image that was made of it, of the same height; the box in this picture."""
    from PIL import Image

    side = 8 * len(image)
    picture = Image.fromarray(photo.picture)
    scale = side / max(picture.size)
    picture = picture.resize([max(1, round(scale * length)) for length in picture.size])
    both = Image.new("RGB", (2 * side, side), "white")
    left, top = (side - picture.width) // 2, (side - picture.height) // 2
    both.paste(picture, (left, top))
    both.paste(Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST), (side, 0))
    box = tuple(scale * edge + (left, top)[i % 2] for i, edge in enumerate(photo.box))
    return np.asarray(both), box
