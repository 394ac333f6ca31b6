import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from common.data.interpolation import resize_matrix

sizes = st.integers(1, 80)


def bilinear(row, size_out):
    """Linear interpolation of one row, pixel by pixel, straight from the definition."""
    size_in = len(row)
    result = []
    for i in range(size_out):
        centre = min(max((i + 0.5) * size_in / size_out - 0.5, 0), size_in - 1)
        left = math.floor(centre)
        right = min(left + 1, size_in - 1)
        result.append(row[left] + (centre - left) * (row[right] - row[left]))
    return result


@given(sizes, sizes)
def test_every_output_pixel_is_a_weighted_mean_of_input_pixels(size_in, size_out):
    matrix = resize_matrix(size_in, size_out)
    assert matrix.shape == (size_out, size_in)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-12)


@given(st.lists(st.floats(0, 255), min_size=1, max_size=40), sizes)
def test_the_matrix_is_linear_interpolation_between_half_pixel_centres(row, size_out):
    expected = bilinear(row, size_out)
    resized = resize_matrix(len(row), size_out) @ np.array(row)
    np.testing.assert_allclose(resized, expected, atol=1e-9)


@given(sizes)
def test_the_same_size_leaves_the_image_as_it_is(size):
    np.testing.assert_array_equal(resize_matrix(size, size), np.eye(size))


@given(sizes, sizes)
def test_a_mirrored_image_resizes_to_the_mirrored_result(size_in, size_out):
    matrix = resize_matrix(size_in, size_out)
    np.testing.assert_allclose(matrix, matrix[::-1, ::-1], atol=1e-12)
