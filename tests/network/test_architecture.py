import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import NinError
from common.network import architecture

# the table of the chapter, for one image of 224x224
BOOK_SHAPES = {
    "block1": (1, 96, 54, 54),
    "pool1": (1, 96, 26, 26),
    "block2": (1, 256, 26, 26),
    "pool2": (1, 256, 12, 12),
    "block3": (1, 384, 12, 12),
    "pool3": (1, 384, 5, 5),
    "dropout": (1, 384, 5, 5),
    "block4": (1, 10, 5, 5),
    "global_pool": (1, 10, 1, 1),
    "flatten": (1, 10),
}


def test_shapes_on_paper_are_the_books():
    assert architecture.layer_shapes(224) == BOOK_SHAPES


def test_parameters_on_paper_number_1_992_166():
    shapes = architecture.parameter_shapes()
    assert len(shapes) == 24
    assert sum(math.prod(shape) for shape in shapes.values()) == 1_992_166


@pytest.mark.parametrize(
    ("block", "count"),
    [("block1", 30_336), ("block2", 746_240), ("block3", 1_180_800), ("block4", 34_790)],
)
def test_parameters_of_each_block_are_the_books(block, count):
    shapes = architecture.parameter_shapes()
    assert sum(math.prod(s) for name, s in shapes.items() if name.startswith(block)) == count


def test_the_smallest_input_is_67():
    assert architecture.smallest_input() == 67


@given(st.integers(67, 1000))
def test_from_the_smallest_input_up_every_layer_has_an_output(size):
    assert all(min(shape) >= 1 for shape in architecture.layer_shapes(size).values())


@given(st.integers(-5, 66))
def test_a_smaller_input_is_refused_with_the_smallest_that_works(size):
    with pytest.raises(NinError, match="smallest that works is 67"):
        architecture.layer_shapes(size)


def test_from_99_pixels_on_the_last_map_has_more_than_one():
    assert architecture.note_on_size(99) == ""
    assert "at 98x98 the last map is one pixel" in architecture.note_on_size(98)
    assert "`resize=99`" in architecture.note_on_size(67)
    assert architecture.layer_shapes(99)["block4"][2:] == (2, 2)
