"""Photos of clothes, made into what Fashion-MNIST holds: 28x28 pixels, light on black.

The steps are those by which the data set was made (Xiao, Rasul and Vollgraf 2017, section 2),
without the sharpening: cut out the garment, shrink the longer side to 28 pixels, centre, negate.
"""

import contextlib
import functools
import glob
import importlib
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.data import garment
from common.errors import NinError, one_line

SIZE = 28
# A photo of more pixels a side is read in fewer.
MOST_PIXELS = 1024
# One that is kept to be looked at has at most so many: of a folder all are kept.
MOST_SHOWN = 512
# Pillow has other programs read these.
NOT_READ = ("EPS", "WMF", "EMF")
# The brightest pixels of a garment are at least this light, as in 95 % of the data set.
BRIGHT = 150
# A cosine: 97 % of the data set's test images have a training image that is nearer.
LIKE = 0.75
# What is opaque is a photo if it overlaps a frame by so much, and something in it is larger than
# this share of it.
FRAME = 0.97
PRINT = 0.04


class Photo(NamedTuple):
    """A photo and what the network sees of it."""

    image: np.ndarray
    """uint8, (28, 28), 0 is black."""
    picture: np.ndarray
    """The photo itself for people to look at, (height, width, 3), uint8."""
    box: tuple[int, int, int, int]
    """Left, top, right and bottom of the garment in it, in pixels."""


def expand(paths: Iterable[Path]) -> list[Path]:
    """The files that are meant: a folder stands for its photos, also those in folders in it.

    Raises:
        NinError: for a pattern such as ``*.jpg`` that fits nothing, or a folder without photos.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file())
            found, missing = [f for f in inside if _is_photo(f, path)], "a folder without photos"
        elif not path.exists() and glob.has_magic(str(path)):
            names = glob.glob(str(path), recursive=True)  # noqa: PTH207 (absolute patterns too)
            found, missing = [Path(name) for name in sorted(names)], "no such files"
        else:
            found, missing = [path], ""
        if not found:
            raise NinError(f"{path}: {missing}")
        files += found
    return files


def load(path: Path) -> Photo:
    """Read a photo, of any format that Pillow reads, whatever its name.

    A file of 28x28 pixels with a black background is taken as it is. Transparent pixels are
    background, or what is left around a photo that was cut to a frame. A photo that was taken with
    the camera on its side is turned as its file says.

    Raises:
        NinError: if it is no intact image, or nothing in it stands out.
    """
    colours, opaque = _read(path)
    picture = np.rint(colours).astype(np.uint8)
    grey = _grey(colours)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    dark = np.median(border) <= 0.05 * 255
    if grey.shape == (SIZE, SIZE) and dark and opaque.all():
        return Photo(np.rint(grey).astype(np.uint8), picture, (0, 0, SIZE, SIZE))
    found = garment.find(colours) if opaque.all() else _on_transparency(colours, opaque)
    if found is None:
        raise NinError(f"{path}: nothing stands out from the background")
    return Photo(_fit(_brightness(found)), picture, found.box)


def to_keep(photo: Photo) -> Photo:
    """The same with fewer pixels, in which it is shown."""
    scale = -(-max(photo.picture.shape) // MOST_SHOWN)
    left, top, right, bottom = (edge // scale for edge in photo.box)
    # a copy, or all of it is kept
    picture = photo.picture[::scale, ::scale].copy()
    return photo._replace(picture=picture, box=(left, top, right, bottom))


def is_unlike(images: np.ndarray) -> np.ndarray:
    """Whether images, uint8, (count, 28, 28), are unlike all of the embedded sample: (count,)."""
    from common.data import fashion_mnist

    known = _directions(fashion_mnist.load("sample").train_images)
    return (_directions(images) @ known.T).max(1) < LIKE


def _directions(images: np.ndarray) -> np.ndarray:
    flat = images.reshape(len(images), -1).astype(np.float32)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1)


def _is_photo(path: Path, folder: Path) -> bool:
    """Whether a file in a folder is meant to be a photo: by its name, else by its content."""
    if any(part.startswith(".") for part in path.relative_to(folder).parts):
        return False
    if path.suffix.lower() in suffixes():
        return True
    try:
        with opened(path):
            return True
    except NinError:
        return False


@functools.cache
def suffixes() -> frozenset[str]:
    """How the names of images end, in lower case."""
    from PIL import Image

    return frozenset({*Image.registered_extensions(), ".heic", ".heif"})


@functools.cache
def _formats() -> tuple[str, ...]:
    from PIL import Image

    with contextlib.suppress(ImportError):  # reads the photos of Apple's phones
        importlib.import_module("pillow_heif").register_heif_opener()
    Image.init()
    return tuple(name for name in Image.OPEN if name not in NOT_READ)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An image of Pillow's, whatever its name, to be decoded.

    Raises:
        NinError: if it is of no format that is read, or turns out not to be intact.
    """
    from PIL import Image

    try:
        image = Image.open(path, formats=_formats())
    except FileNotFoundError as error:
        raise NinError(f"{path}: no such file") from error
    except Image.DecompressionBombError as error:
        most = 2 * int(Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise NinError(
            f"{path}: an image of more than {most} million pixels is not read"
        ) from error
    except Exception as error:  # of many kinds, as the file may hold anything
        raise NinError(f"{path}: {_why_not(path, error)}") from error
    with image:
        try:
            yield image
        except (NinError, MemoryError):
            raise
        except Exception as error:
            raise NinError(f"{path}: not an intact image ({one_line(error)})") from error


def _why_not(path: Path, error: Exception) -> str:
    if path.is_dir():
        return "a folder"
    try:
        with path.open("rb") as file:
            start = file.read(32)
    except OSError as reason:
        return f"cannot be read ({reason.strerror})"
    if start[4:8] == b"ftyp" and any(
        brand in start[8:] for brand in (b"heic", b"heix", b"heif", b"mif1", b"msf1", b"hevc")
    ):
        return "a HEIC photo; install the package pillow-heif to read it, or save it as JPEG"
    if not start:
        return "not an intact image (the file is empty)"
    return f"not an intact image of a format that Pillow reads ({type(error).__name__})"


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The colours of an image, float from 0 to 255, (height, width, 3), and where it is opaque."""
    from PIL import ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a large image, or a strange tag: no matter here
        with opened(path) as file:
            # a JPEG of a large photo is not even decoded in full
            file.draft(None, (MOST_PIXELS, MOST_PIXELS))
            scale = max(1, max(file.size) // MOST_PIXELS)
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith(("I", "F")):
                deep = np.asarray(image)[::scale, ::scale]
                grey = scaled(deep.astype(np.float64))
                return np.repeat(grey[..., None], 3, 2), np.ones(grey.shape, bool)
            image = image.convert("RGBA").reduce(scale)
    pixels = np.asarray(image, np.float64)
    share = pixels[..., 3:] / 255
    return share * pixels[..., :3] + (1 - share) * 255, pixels[..., 3] > 127


def scaled(grey: np.ndarray) -> np.ndarray:
    """Grey values of more than 8 bits, from 0 to 255: of 10, 12, 14 or 16 bits, or any numbers."""
    grey = np.nan_to_num(grey, posinf=0, neginf=0)
    grey = grey - min(0, grey.min())
    most = grey.max()
    fitting = (white for white in (1, 255, 1023, 4095, 16383, 65535) if most <= white)
    return grey * 255 / next(fitting, most)


def _grey(colours: np.ndarray) -> np.ndarray:
    """Luminance (ITU-R BT.601), 0 to 255."""
    return colours @ np.array([0.299, 0.587, 0.114])


def _on_transparency(colours: np.ndarray, opaque: np.ndarray) -> garment.Garment | None:
    """A garment that was cut out, or that is in a photo which was cut to a frame."""
    if not opaque.any():
        return None
    whole = opaque.mean() >= 0.95  # a photo all the same
    opaque = opaque & garment.pieces(opaque)
    rows, columns = np.flatnonzero(opaque.any(1)), np.flatnonzero(opaque.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    colours, opaque = colours[top:bottom, left:right], opaque[top:bottom, left:right]
    if whole or _is_frame(opaque):
        found = garment.find(_spread(colours, opaque))
        if whole or (found and _is_inside(found.box, opaque.shape)):
            return found and found._replace(box=_moved(found.box, int(left), int(top)))
    behind = 0.0 if _grey(colours[opaque]).mean() > 127 else 255.0
    box = (int(left), int(top), int(right), int(bottom))
    return garment.Garment(box, opaque, colours, np.full_like(colours, behind))


def _is_frame(opaque: np.ndarray) -> bool:
    """Whether it has an outline that photos are cut to: a rectangle, with round corners, a circle.

    Clothes hardly ever fill one.
    """
    height, width = opaque.shape
    y, x = (np.abs(np.arange(side) + 0.5 - side / 2) for side in (height, width))
    corners = (1 - opaque.mean()) / (4 - np.pi)  # share that round corners leave free
    ellipse = np.array([height, width]) * min(corners, 0.25) ** 0.5
    circles = np.full(2, min((corners * height * width) ** 0.5, min(height, width) / 2))
    for down, across in np.maximum([ellipse, circles], 1):
        off_y = np.maximum(y - height / 2 + down, 0) / down
        off_x = np.maximum(x - width / 2 + across, 0) / across
        outline = off_y[:, None] ** 2 + off_x**2 <= 1
        if (outline & opaque).sum() >= FRAME * (outline | opaque).sum():
            return True
    return False


def _spread(colours: np.ndarray, opaque: np.ndarray) -> np.ndarray:
    """Colours with those of the nearest opaque pixels where it is transparent."""
    from scipy import ndimage

    # the edge itself is mixed with what is around it
    inner = ndimage.binary_erosion(opaque, iterations=2, border_value=1)
    if not inner.any():
        return colours
    nearest = ndimage.distance_transform_edt(~inner, return_distances=False, return_indices=True)
    return np.asarray(colours[tuple(nearest)])


def _is_inside(box: tuple[int, int, int, int], shape: tuple[int, ...]) -> bool:
    """Whether a box is inside a frame, and more than a print on what was cut out."""
    left, top, right, bottom = box
    height, width = shape
    large = (right - left) * (bottom - top) >= PRINT * height * width
    return large and left > 0 and top > 0 and right < width and bottom < height


def _moved(box: tuple[int, int, int, int], x: int, y: int) -> tuple[int, int, int, int]:
    left, top, right, bottom = box
    return left + x, top + y, right + x, bottom + y


def _brightness(found: garment.Garment) -> np.ndarray:
    """How a garment differs from its background, 0 to 1; 0 around it."""
    grey, behind = _grey(found.colours), _grey(found.background)
    lighter = np.median((grey - behind)[found.mask]) > 0
    # from 0, the background, to 1, white on a dark one and black on a light one
    difference = (grey - behind) / (255 - behind + 1) if lighter else (behind - grey) / (behind + 1)
    colour = np.linalg.norm(found.colours - found.background, axis=2) / np.linalg.norm([255] * 3)
    values = np.where(found.mask, np.maximum(difference, colour), 0)
    brightest = np.percentile(values[found.mask], 95)
    return np.clip(values * max(1, BRIGHT / 255 / max(brightest, 0.01)), 0, 1)


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
