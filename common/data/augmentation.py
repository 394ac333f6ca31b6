"""Training images moved by some pixels and mirrored, in another way in every epoch.

Resizing is ``R @ image @ R.T`` (:mod:`common.data.interpolation`). A moved or mirrored image is the
same with another matrix, so what is drawn here is a choice among a few matrices, and images stay on
the device as they are.
"""

from typing import NamedTuple

import numpy as np

from common.data.interpolation import resize_matrix
from common.settings import Settings

# distinguishes these random numbers from those of the order and of dropout
STREAM = 2


class Views(NamedTuple):
    """The matrices that resize, move and mirror an image: ``rows[i] @ image @ columns[j].T``."""

    rows: np.ndarray
    """float64, (moves, resize, size): resized, and moved down by -shift ... shift pixels."""
    columns: np.ndarray
    """float64, (moves or twice as many, resize, size): moved to the right; then mirrored too."""


def views(size: int, settings: Settings) -> Views | None:
    """All that resize, shift and flip allow for images of so many pixels a side.

    None if that is the image itself alone. What is moved in from outside is black.
    """
    if not settings.shift and not settings.flip:
        return None
    matrix = resize_matrix(size, settings.resize)
    # column k of the matrix is what pixel k adds to the result: moving columns moves the image
    moves = range(-settings.shift, settings.shift + 1)
    moved = np.stack([matrix @ np.eye(size, k=-move) for move in moves])
    mirrored = [moved[:, :, ::-1]] if settings.flip else []
    return Views(moved, np.concatenate([moved, *mirrored]))


def draw(views: Views, seed: int, step: int, count: int) -> np.ndarray:
    """How each example of a training step is moved and mirrored, the same in every backend.

    A run that is resumed draws the same: steps are counted from its start, from 0.

    Returns:
        int64, (count, 2): index into ``views.rows``, index into ``views.columns``, each as likely
        as the others.
    """
    rng = np.random.default_rng([seed, step, STREAM])
    return rng.integers(0, [len(views.rows), len(views.columns)], (count, 2))
