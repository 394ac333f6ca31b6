"""Bilinear resizing as two matrix products, the same matrix for every backend."""

import numpy as np


def resize_matrix(size_in: int, size_out: int) -> np.ndarray:
    """The matrix ``R`` for which ``R @ image @ R.T`` is the bilinearly resized image.

    Pixel centres lie at half-integers (the convention of ``align_corners=False``, of OpenCV
    and of TensorFlow 2) and samples outside the image take the nearest edge pixel. There is no
    antialiasing: the chapter enlarges 28x28 images, where none is needed.

    Args:
        size_in: height (or width) of the input, in pixels, at least 1.
        size_out: height (or width) of the output, in pixels, at least 1.

    Returns:
        float64, (size_out, size_in); its rows sum to 1.
    """
    centres = (np.arange(size_out) + 0.5) * (size_in / size_out) - 0.5
    # column k is what pixel k adds to the result
    return np.stack([np.interp(centres, np.arange(size_in), row) for row in np.eye(size_in)], 1)
