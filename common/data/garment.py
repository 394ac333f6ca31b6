"""Find the one piece of clothing in a photo with a plain background.

The background is a colour that may change slowly over the photo, as with a vignette or light from
a side: a quadratic function of the place, fitted to the photo's border. What differs from it by
more than the photo's noise is the garment, except for shadows: darker, of the background's colour,
and without a sharp edge.
"""

from typing import NamedTuple

import numpy as np

# The photo is looked at in at most so many pixels a side; a small garment again, from nearer.
SIDE = 256
# Differences are Euclidean distances in RGB, from 0 to 255 each. A smaller one is never seen, nor
# one of less than so many standard deviations of what the border has.
SMALLEST_DIFFERENCE = 12.0
NOISE = 5.0
# The steepest rise in 3x3 pixels is at a sharp edge this share of the one in 9x9; on a ramp a
# quarter.
SHARP = 0.5
# Share of the largest piece's pixels that another needs to count, as the second shoe of a pair.
SECOND_PIECE = 0.1


class Garment(NamedTuple):
    """A piece of clothing that was found."""

    box: tuple[int, int, int, int]
    """Left, top, right and bottom in the photo, in pixels."""
    mask: np.ndarray
    """Where in the box the garment is: bool, (height, width), not more than 256 pixels a side."""
    colours: np.ndarray
    """Float, (height, width, 3)."""
    background: np.ndarray
    """The colour that the background has or would have there, (height, width, 3)."""


def find(pixels: np.ndarray) -> Garment | None:
    """The garment in a photo, float, (height, width, 3), 0 to 255; None if nothing stands out."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = 0, 0, width, height
    while True:
        scale = -(-max(right - left, bottom - top) // SIDE)
        small = _shrink(pixels[top:bottom, left:right], scale)
        background, mask = _separate(small)
        if not mask.any():
            return None
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        cut = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        box = (
            left + scale * int(columns[0]),
            top + scale * int(rows[0]),
            min(width, left + scale * int(columns[-1] + 1)),
            min(height, top + scale * int(rows[-1] + 1)),
        )
        size = max(box[2] - box[0], box[3] - box[1])
        if scale == 1 or 2 * size > max(right - left, bottom - top):
            return Garment(box, mask[cut], small[cut], background[cut])
        margin = size // 3 + scale
        left, top = max(0, box[0] - margin), max(0, box[1] - margin)
        right, bottom = min(width, box[2] + margin), min(height, box[3] + margin)


def _shrink(pixels: np.ndarray, scale: int) -> np.ndarray:
    """Means of squares of so many pixels a side."""
    height, width = pixels.shape[:2]
    padding = ((0, -height % scale), (0, -width % scale), (0, 0))
    padded = np.pad(pixels, padding, "edge")
    rows, columns = padded.shape[0] // scale, padded.shape[1] // scale
    return padded.reshape(rows, scale, columns, scale, 3).mean((1, 3))


def _separate(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The background's colour at each pixel, and where the garment is."""
    from scipy import ndimage

    smooth = ndimage.median_filter(pixels, (3, 3, 1))
    background, smallest = _background(smooth)
    difference = np.linalg.norm(smooth - background, axis=2)
    found = difference > smallest
    # in a shadow the background is itself, times a number below 1
    times = (smooth * background).sum(2) / np.maximum((background**2).sum(2), 1)
    off = np.linalg.norm(smooth - times[..., None] * background, axis=2)
    shade = found & (times < 1) & (times > 0.3) & (off < smallest)
    if shade.any():
        found = _without_shadows(found, shade, difference)
    # the edge is where the difference is half of that inside
    found &= difference > 0.4 * ndimage.maximum_filter(difference, 5)
    return background, pieces(found)


def _background(pixels: np.ndarray) -> tuple[np.ndarray, float]:
    """The background's colour at each pixel, and the smallest difference from it that counts."""
    height, width = pixels.shape[:2]
    y, x = (axis.ravel() for axis in np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j])
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], 1)
    colours = pixels.reshape(-1, 3)
    ring = max(2, round(0.04 * max(height, width)))
    border = np.ones((height, width), bool)
    border[ring:-ring, ring:-ring] = False
    at = np.flatnonzero(border)
    weights = np.ones(len(at))
    # a robust fit: what lies far off, such as a sleeve at the edge, counts less
    for _ in range(20):
        root = np.sqrt(weights)[:, None]
        fit = np.linalg.lstsq(terms[at] * root, colours[at] * root, rcond=None)[0]
        away = np.linalg.norm(colours[at] - terms[at] @ fit, axis=1)
        spread = max(float(np.median(away)), 0.5)
        weights = 1 / (1 + (away / spread) ** 2) ** 2
    smallest = max(SMALLEST_DIFFERENCE, NOISE * spread)
    for _ in range(2):  # and once more with all of the background that this found
        away = np.linalg.norm(colours - terms @ fit, axis=1)
        inliers = np.flatnonzero(away < smallest)[::3]
        if len(inliers) > len(at) // 4:
            fit = np.linalg.lstsq(terms[inliers], colours[inliers], rcond=None)[0]
    return np.clip(terms @ fit, 0, 255).reshape(pixels.shape), smallest


def _without_shadows(found: np.ndarray, shade: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Take away of what may be shadow as little as leaves sharp edges."""
    from scipy import ndimage

    near, far = (
        ndimage.maximum_filter(difference, size) - ndimage.minimum_filter(difference, size)
        for size in (3, 9)
    )
    sharp = near > SHARP * far
    certain, level = found & ~shade, float(difference[shade].min())
    sharpest, best = 0.0, found
    while True:
        kept = certain | (shade & (difference >= level))
        edge = shade & kept & ~ndimage.binary_erosion(kept, border_value=1)
        if edge.sum() <= 0.05 * np.sqrt(kept.sum()):  # nothing of it is left
            return best if certain.sum() < 0.25 * found.sum() else kept
        share = float(sharp[edge].mean())
        if share > 0.7:
            return kept
        if share > sharpest:
            sharpest, best = share, kept
        level *= 1.15


def pieces(found: np.ndarray) -> np.ndarray:
    """Without specks: the largest connected piece, and others if they are large too."""
    from scipy import ndimage

    solid = ndimage.binary_opening(found)
    if not solid.any():
        solid = found
    labels, count = ndimage.label(ndimage.binary_fill_holes(found), np.ones((3, 3)))
    sizes = np.bincount(labels[solid], minlength=count + 1)
    sizes[0] = 0
    return np.isin(labels, np.flatnonzero(sizes > SECOND_PIECE * sizes.max()))
