"""Photos of clothes whose right crop is known: drawn shapes on backgrounds as people have them."""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

# Outlines in a square from 0 to 1, y downwards.
SHAPES = {
    "t-shirt": [(0, .2), (.3, 0), (.42, .06), (.58, .06), (.7, 0), (1, .2), (.88, .38), (.76, .3),
                (.76, 1), (.24, 1), (.24, .3), (.12, .38)],
    "trouser": [(.28, 0), (.72, 0), (.8, 1), (.56, 1), (.5, .3), (.44, 1), (.2, 1)],
    "dress": [(.38, 0), (.45, .1), (.55, .1), (.62, 0), (.62, .4), (.85, 1), (.15, 1), (.38, .4)],
    "coat": [(.3, 0), (.7, 0), (.9, .12), (1, .75), (.86, .78), (.78, .4), (.78, 1), (.22, 1),
             (.22, .4), (.14, .78), (0, .75), (.1, .12)],
    "sneaker": [(0, .5), (.08, .28), (.3, .3), (.45, .2), (.7, .48), (.95, .56), (1, .72),
                (0, .72)],
    "boot": [(.2, 0), (.6, 0), (.6, .55), (.95, .7), (1, .92), (.2, .92)],
    "bag": [(.1, .35), (.3, .35), (.36, .12), (.64, .12), (.7, .35), (.9, .35), (1, 1), (0, 1)],
    "rectangle": [(.15, 0), (.85, 0), (.85, 1), (.15, 1)],
}  # fmt: skip
KINDS = ("plain", "noise", "vignette", "shadow", "specks", "exif", "alpha", "everything")


class Photo(NamedTuple):
    """A made photo."""

    kind: str
    content: bytes
    box: tuple[int, int, int, int]
    """Left, top, right, bottom of the garment, in pixels of the photo as it is looked at."""


def make(number: int) -> Photo:
    """The photo of a number: every eighth is of the same kind."""
    rng = np.random.default_rng([20131216, number])
    kind = KINDS[number % len(KINDS)]
    width, height = rng.integers(240, 560, 2)
    mask = _garment(rng, width, height)
    background, garment = _colours(rng)
    pixels = np.broadcast_to(background, (height, width, 3)).copy()
    has = lambda name: kind in (name, "everything")  # noqa: E731
    if has("vignette"):
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        tilt = rng.uniform(-0.12, 0.12, 2)
        light = 1 - rng.uniform(0.1, 0.3) * (x**2 + y**2) / 2 + tilt[0] * x + tilt[1] * y
        pixels *= light[..., None]
    if has("shadow"):
        away, blur = rng.integers(-14, 15, 2), rng.uniform(5, 14)
        thrown = Image.fromarray(np.roll(mask, away, (0, 1))).filter(ImageFilter.GaussianBlur(blur))
        pixels *= 1 - rng.uniform(0.12, 0.35) * np.asarray(thrown)[..., None] / 255
    cloth = np.broadcast_to(garment, pixels.shape).copy()
    rows, columns = np.flatnonzero((mask > 127).any(1)), np.flatnonzero((mask > 127).any(0))
    middle = (rows[0] + rows[-1]) // 2
    if rng.random() < 0.2:  # of two colours
        cloth[middle:] = _unlike(rng, background)
    if rng.random() < 0.3:  # a print of the background's colour
        inside = np.asarray(Image.fromarray(mask).filter(ImageFilter.MinFilter(15))) == 255
        inside[: middle - 20], inside[middle + 20 :] = False, False
        cloth[inside] = background
    cloth *= 1 + rng.uniform(0, 0.08) * np.sin(np.arange(width) / rng.uniform(2, 9))[:, None]
    share = mask[..., None] / 255
    pixels = share * cloth + (1 - share) * pixels
    if has("noise"):
        pixels += rng.normal(0, rng.uniform(2, 8), pixels.shape)
    if has("specks"):
        for _ in range(rng.integers(1, 12)):
            y, x, size = rng.integers(0, height - 3), rng.integers(0, width - 3), rng.integers(1, 4)
            pixels[y : y + size, x : x + size] = rng.choice([0, 255])
    box = tuple(map(int, (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)))
    image = Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
    return Photo(kind, _encode(image, mask, kind, rng), box)


def _garment(rng, width, height):
    """A shape somewhere in the photo, turned a little; 255 inside, smooth at its edge."""
    outline = np.array(list(SHAPES.values())[rng.integers(len(SHAPES))]) - 0.5
    angle = rng.normal(0, 0.12)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    outline = outline * rng.uniform([0.7, 0.7], [1, 1]) @ turn.T
    size = rng.uniform(0.3, 0.85) * min(width, height)
    outline *= size / np.ptp(outline, 0).max()
    low, high = -outline.min(0) + 6, np.array([width, height]) - outline.max(0) - 6
    points = (outline + rng.uniform(low, high)) * 4
    large = Image.new("L", (4 * width, 4 * height))
    ImageDraw.Draw(large).polygon([tuple(point) for point in points], fill=255)
    return np.asarray(large.reduce(4))


def _colours(rng):
    """A background of any grey or colour, and a garment that a person can tell from it."""
    background = _colour(rng) if rng.random() < 0.7 else np.full(3, rng.uniform(215, 255))
    return background, _unlike(rng, background)


def _unlike(rng, background):
    while np.linalg.norm((found := _colour(rng)) - background) < 45:
        pass
    return found


def _colour(rng):
    """A grey or a colour, either as likely."""
    return np.full(3, rng.uniform(0, 255)) if rng.random() < 0.5 else rng.uniform(0, 255, 3)


def _encode(image, mask, kind, rng):
    file = io.BytesIO()
    if kind == "exif":
        exif, turned = Image.Exif(), int(rng.choice([3, 6, 8]))
        exif[0x0112] = turned
        back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90,
                8: Image.Transpose.ROTATE_270}[turned]  # fmt: skip
        image.transpose(back).save(file, "JPEG", quality=90, exif=exif)
    elif kind == "alpha":
        image.putalpha(Image.fromarray(mask))
        image.save(file, "PNG" if rng.random() < 0.5 else "WEBP", lossless=True)
    elif kind == "plain":
        image.save(file, "PNG")
    else:
        image.save(file, "JPEG", quality=int(rng.integers(60, 96)))
    return file.getvalue()


def overlap(found, right) -> float:
    """Intersection over union of two boxes."""
    left, top = max(found[0], right[0]), max(found[1], right[1])
    width, height = min(found[2], right[2]) - left, min(found[3], right[3]) - top
    both = max(0, width) * max(0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (found, right)]
    return both / (sum(areas) - both)
