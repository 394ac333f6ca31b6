"""A grid of images, each with some words below it."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.data.photos import Photo
from common.files import figures
from common.report import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from common.prediction.predict import Predictions

COLUMNS = 8
# A picture of more cannot be read.
MOST_PICTURES = 96

WORDS = {
    "images": ("{0} image(s)", "{0} imge"),
    "right": ("{0} of {1} right: accuracy {2}", "{1}nin {0} tanesi doğru, doğruluk {2}"),
    "first": ("the first {0}", "ilk {0} imge"),
    "is": ("is: {0}", "doğrusu: {0}"),
}


def plot(found: "Predictions", lang: str) -> "Figure":
    """Images in rows, each with its predicted and its true class, the wrong ones red.

    A photo is drawn beside the image that was made of it, with a frame around the part that was
    taken. Names of classes stay as they are.
    """
    figures.new(1, 1)  # imports matplotlib, whatever the environment says of its backend
    from matplotlib.patches import Rectangle

    words, images, size = style.words(WORDS, lang), found.images, found.settings.resize
    count = min(MOST_PICTURES, len(found.logits))
    columns = min(COLUMNS // 2 if images.made_of else COLUMNS, count)
    rows = -(-count // columns)
    # in inches; a single image still leaves room for the title
    width = max(5, (2.6 if images.made_of else 1.3) * columns)
    captions = []
    for i in range(count):
        lines = [found.likely(i, found.labels[i], lang)]
        if images.labels is None:
            lines.insert(0, Path(images.names[i]).name)
        else:
            lines.append(words["is"].format(style.told(found.true_class(i), lang)))
        captions.append("\n".join(style.filled(line, width / columns, 8) for line in lines))
    title = f"{style.told(found.model.title, lang)}, {found.settings.backend}, {size}x{size}; "
    title += found.summary(lang)
    if count < len(found.logits):
        title += f"; {words['first'].format(count)}"
    title = style.filled(title, width, 10)
    tall = max(caption.count("\n") for caption in captions)
    figure = figures.new(width, (1.55 + 0.15 * tall) * rows + 0.6 + 0.15 * title.count("\n"))
    figure.suptitle(title, fontsize=10, parse_math=False)
    for i, (image, caption) in enumerate(zip(images.pixels, captions, strict=False)):
        colour, line = ("red", 2.5) if found.wrong[i] else ("black", 0.5)
        # at the bottom of its cell, so that the layout knows how far the words below it reach
        axes = figure.add_subplot(rows, columns, i + 1, anchor="S")
        if images.made_of:
            image, (left, top, right, bottom) = _beside(images.made_of[i], image)
            box = (left - 0.5, top - 0.5), right - left, bottom - top
            axes.add_patch(Rectangle(*box, fill=False, edgecolor="C1", linewidth=1))
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel(caption, fontsize=8, color=colour, parse_math=False)
        for spine in axes.spines.values():
            spine.set(color=colour, linewidth=line)
    return style.with_notice(figure, images.notice, lang)


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
