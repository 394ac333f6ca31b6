"""Photos of clothes, made into what Fashion-MNIST holds: 28x28 pixels, white on black.

The steps are those by which the data set was made (Xiao, Rasul and Vollgraf 2017, section 2),
without the sharpening: crop the empty edges, shrink the longer side to 28 pixels, centre,
negate.
"""

from pathlib import Path

import numpy as np

from common.errors import NinError

SIZE = 28
# As in the paper: a pixel is background if it is this close to it, of a range of 1.
TOLERANCE = 0.05


def load(path: Path) -> np.ndarray:
    """Read a PNG or JPEG file.

    A file of 28x28 pixels with a black background is taken as it is. Transparent pixels are
    white, and an image that was photographed lying on its side is turned as its file says.

    Returns:
        uint8, (28, 28), 0 is black.

    Raises:
        NinError: if it is no intact image, or nothing in it stands out.
    """
    grey = _read(path)
    background = _background(grey)
    if background > 0.5:
        grey, background = 1 - grey, 1 - background
    if grey.shape == (SIZE, SIZE) and background <= TOLERANCE:
        return np.rint(grey * 255).astype(np.uint8)
    piece = grey - background > TOLERANCE
    if not piece.any():
        raise NinError(f"{path}: nothing stands out from the background")
    rows, columns = np.flatnonzero(piece.any(1)), np.flatnonzero(piece.any(0))
    grey = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # black is exactly 0 in the data set, whatever the light was
    return _fit(np.clip((grey - background) / (1 - background), 0, 1))


def _read(path: Path) -> np.ndarray:
    """An image as grey values from 0 to 1."""
    from PIL import Image, ImageOps  # only photos need it

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I"):  # 16 bits; Pillow would cut them off, not scale
                return np.asarray(image, np.float64) / 65535
            colors = image.convert("RGBA")
            white = Image.new("RGBA", colors.size, "white")
            return np.asarray(Image.alpha_composite(white, colors).convert("L")) / 255
    except FileNotFoundError as error:
        raise NinError(f"{path}: no such file") from error
    # Pillow raises many kinds for files that are damaged or enormous
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        why = " ".join(str(error).split())
        raise NinError(f"{path}: not an intact PNG or JPEG image ({why})") from error


def _background(grey: np.ndarray) -> float:
    """The grey value of most of the pixels at the edge."""
    edge = np.concatenate((grey[0], grey[-1], grey[:, 0], grey[:, -1]))
    return float(np.median(edge))


def _fit(grey: np.ndarray) -> np.ndarray:
    """Scale the longer side to 28 pixels and center the result on black."""
    from PIL import Image

    smooth = Image.Resampling.BILINEAR  # Pillow averages over all pixels when it shrinks
    scale = SIZE / max(grey.shape)
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    small = Image.fromarray(grey.astype(np.float32)).resize((width, height), smooth)
    top, left = (SIZE - height) // 2, (SIZE - width) // 2
    canvas = np.zeros((SIZE, SIZE), np.uint8)
    canvas[top : top + height, left : left + width] = np.rint(np.asarray(small) * 255)
    return canvas
