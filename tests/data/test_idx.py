import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from idx_files import idx

from common.data.idx import parse_idx, read_uncompressed
from common.errors import NinError


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6)))
def test_an_idx_file_reads_back_as_what_was_written(array):
    np.testing.assert_array_equal(parse_idx(idx(array), array.ndim, "file"), array)


@given(st.binary(max_size=200), st.integers(1, 3))
def test_any_other_content_is_an_array_or_one_clear_error(content, dimensions):
    try:
        array = parse_idx(content, dimensions, "some-file")
    except NinError as error:
        assert str(error).startswith("some-file: ")
    else:
        assert idx(array) == content


@pytest.mark.parametrize("name", ["file", "file.gz"])
def test_a_file_is_unzipped_if_its_name_says_that_it_is_zipped(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"content") if path.suffix else b"content")
    assert read_uncompressed(path) == b"content"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(NinError, match=f"{tmp_path}: cannot be read"):
        read_uncompressed(tmp_path)
