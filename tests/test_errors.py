import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import errors
from common.errors import NinError, in_options, in_python

OPTIONS = {"resize": "--resize", "batch_size": "--batch-size", "origin": "--from", "flip": "--flip"}


@pytest.mark.parametrize(
    ("text", "python", "options"),
    [
        ("`resize=20`: too small", "resize=20: too small", "--resize 20: too small"),
        ("take a smaller `batch_size`", "take a smaller batch_size", "take a smaller --batch-size"),
        ("`origin=h5`: unknown", "origin=h5: unknown", "--from h5: unknown"),
        ("`flip=True`: no", "flip=True: no", "--flip: no"),
        ("`flip=False`: no", "flip=False: no", "--no-flip: no"),
        ("`resize=1` or `flip`", "resize=1 or flip", "--resize 1 or --flip"),
        ("`origin=a`b`: bad", "origin=a`b: bad", "--from a`b: bad"),
        ("`origin=`: bad", "origin=: bad", "--from : bad"),
        # a command without that option; text that is no argument
        ("`sizes=20`: too small", "sizes=20: too small", "sizes=20: too small"),
        ("run `pip install x`", "run `pip install x`", "run `pip install x`"),
        ("a ` alone", "a ` alone", "a ` alone"),
        ("", "", ""),
    ],
)
def test_arguments_are_spelt_for_python_and_for_the_command_line(text, python, options):
    error = NinError(text)
    assert (str(error), error.marked) == (python, text)
    assert in_python(text) == python
    assert in_options(text, OPTIONS) == options


@given(st.sampled_from(list(OPTIONS)), st.text().filter(lambda value: "`" not in value))
def test_any_value_of_an_argument_is_passed_on(name, value):
    text = f"`{name}={value}`: bad"
    assert in_python(text) == f"{name}={value}: bad"
    if value not in ("True", "False"):
        assert in_options(text, OPTIONS) == f"{OPTIONS[name]} {value}: bad"


@given(st.text())
def test_text_without_arguments_is_left_as_it_is(text):
    plain = text.replace("`", "'")
    assert in_python(plain) == in_options(plain, OPTIONS) == plain


def test_a_notebook_shows_one_line_and_no_traceback():
    """IPython asks an exception for this before it makes a traceback of its own."""
    assert NinError("`resize=20`: too small")._render_traceback_() == [
        "NinError: resize=20: too small"
    ]


class OutOfMemoryError(RuntimeError):
    """As PyTorch calls it."""


class ResourceExhaustedError(Exception):
    """As TensorFlow calls it."""


class OfAnAllocatorError(OutOfMemoryError):
    """A class made from it."""


@pytest.mark.parametrize(
    "words",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 4000000000000 bytes.",
        "OOM when allocating tensor: ResourceExhaustedError",
        "OOM when allocating tensor with shape[1,2] and type float",
        "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4 bytes.",
        "cudaMalloc retry failed: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)",
        "Failed to allocate CPU Memory",
        "[Errno 12] Cannot allocate memory",
        "Unable to allocate 1.00 TiB for an array with shape (1,) and data type float64",
        "std::bad_alloc",
        "could not create a primitive",
    ],
)
def test_memory_that_ran_out_is_recognised_in_each_frameworks_words(words):
    assert errors.is_out_of_memory(RuntimeError(words))


@pytest.mark.parametrize(
    "kind", [MemoryError, OutOfMemoryError, OfAnAllocatorError, ResourceExhaustedError]
)
def test_memory_that_ran_out_is_recognised_by_the_class_whatever_it_says(kind):
    assert errors.is_out_of_memory(kind())


def test_an_array_that_numpy_has_no_room_for_is_memory_that_ran_out():
    with pytest.raises(MemoryError) as caught:
        np.empty(2**60, np.uint8)
    assert errors.is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shapes do not match"),
        StopIteration("iterator exhausted"),
        RuntimeError("iterator exhausted"),
        RuntimeError("could not create a primitive descriptor for a convolution"),
        OSError(28, "No space left on device"),
        ValueError("memory layout not supported"),
        NinError("`epochs=2.5`: must be a whole number"),
    ],
)
def test_other_errors_are_not_taken_for_it(error):
    assert not errors.is_out_of_memory(error)


def test_where_in_its_source_mxnet_raised_an_error_is_left_out():
    where = 'Traceback (most recent call last):\n  File "../src/operator/nn/pooling.cc", line 155\n'
    error = RuntimeError(f"{where}MXNetError: Check failed: 3 <= 2: kernel size exceeds input")
    assert errors.one_line(error) == "Check failed: 3 <= 2: kernel size exceeds input"
