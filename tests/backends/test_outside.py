"""A backend from outside this project, such as examples/nin_jax.py, is the same network."""

import pytest

from common.backends import registry
from common.comparison import assert_same


def test_a_backend_from_outside_agrees_with_torch_in_every_level(backend, backend_name):
    if backend_name in registry.BACKENDS:
        pytest.skip("tests/comparison compares this project's own")
    assert_same("torch", backend_name, resize=99, batch_size=4, steps=8)
