"""Each backend fulfils the contract in common/backends.py to the letter."""

import inspect

import pytest

from common import contract
from common.backends import parts, registry


def members(protocol):
    return [name for name in vars(protocol) if not name.startswith("_")]


def parameters(function):
    return [name for name in inspect.signature(function).parameters if name != "self"]


@pytest.mark.parametrize("name", members(contract.Backend))
def test_a_function_of_the_contract_is_there_with_its_parameters(backend, name):
    assert parameters(getattr(backend, name)) == parameters(getattr(contract.Backend, name))


def test_predictor_and_trainer_are_made_alike(backend):
    for made in ("Predictor", "Trainer"):
        expected = parameters(getattr(contract.Backend, made))
        assert parameters(getattr(backend, made)) == expected


@pytest.mark.parametrize("name", members(contract.Predictor))
def test_a_method_of_the_predictor_is_there_with_its_parameters(backend, name):
    found = parameters(getattr(backend.Predictor, name))
    assert found == parameters(getattr(contract.Predictor, name))


@pytest.mark.parametrize("name", members(contract.Exporter))
def test_a_function_of_the_exporter_is_there_with_its_parameters(backend, backend_name, name):
    if backend_name not in registry.BACKENDS and not hasattr(backend, name):
        pytest.skip("a backend from outside may lack it")
    found = parameters(getattr(parts.exporter(backend), name))
    assert found == parameters(getattr(contract.Exporter, name))


def test_variants_are_built_as_the_contract_has_it(backend):
    assert parameters(parts.variants(backend).build) == parameters(contract.Variants.build)


@pytest.mark.parametrize("name", members(contract.Benchmark))
def test_a_function_of_the_benchmark_is_there_with_its_parameters(backend, name):
    found = parameters(getattr(parts.benchmark(backend), name))
    assert found == parameters(getattr(contract.Benchmark, name))


@pytest.mark.parametrize("name", members(contract.Trainer))
def test_a_method_of_the_trainer_is_there_with_its_parameters(backend, name):
    found = parameters(getattr(backend.Trainer, name))
    assert found == parameters(getattr(contract.Trainer, name))


def test_the_constants_of_the_contract_are_there(backend, backend_name):
    assert backend_name == backend.NAME or backend_name not in registry.BACKENDS
    assert backend.PRECISIONS[0] == "float32"
    assert callable(backend.nin_block)
