"""Variants of the network go to each framework's own files and back, bit for bit."""

import dataclasses

import numpy as np
import pytest

from common.conversion import convert
from common.errors import NinError
from common.model import Model, load_model, save_model
from common.network import architecture
from common.network.description import parse

TARGETS = {"torch": "nin.pt", "tf": "nin.keras", "mxnet": "nin.params"}
VARIANTS = {
    "no-1x1": 67,
    "gentle": 67,
    "no-last-relu": 67,
    "vgg-12-32": 28,
    "vgg-12-32,head=dense": 28,
    "channels=8-12,kernels=5-3-3,strides=2-1-1,head=alexnet,hidden=9/7": 28,
}


def a_model(name, seed=2):
    network, size, rng = parse(name), VARIANTS[name], np.random.default_rng(seed)
    shapes = architecture.parameter_shapes(network=network, size=size)
    weights = {
        key: rng.normal(0.02, 0.05 if len(s) == 1 else (2 / np.prod(s[1:])) ** 0.5, s)
        for key, s in shapes.items()
    }
    floats = {key: array.astype(np.float32) for key, array in weights.items()}
    return Model(floats, network=network, resize=size, dropout=0.25)


def there_and_back(model, file, folder):
    save_model(folder / "model.safetensors", model)
    there = convert.convert(folder / "model.safetensors", folder / file)
    assert there.written.difference <= convert.TOLERANCE
    convert.convert(folder / file, folder / "back.safetensors")
    return load_model(folder / "back.safetensors")


def assert_same(back, model):
    assert (back.network, back.resize, back.dropout) == (model.network, model.resize, 0.25)
    assert all((back.weights[name] == array).all() for name, array in model.weights.items())


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.shared
def test_a_variant_comes_back_from_its_frameworks_file(backend, backend_name, name, tmp_path):
    model = a_model(name)
    assert_same(there_and_back(model, TARGETS[backend_name], tmp_path), model)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.long
def test_a_variant_comes_back_from_onnx(backend, backend_name, name, tmp_path):
    pytest.importorskip("onnxruntime")
    if backend_name != "torch":  # one backend is enough to check them
        pytest.skip("checked with torch")
    model = a_model(name)
    assert_same(there_and_back(model, "nin.onnx", tmp_path), model)


@pytest.mark.parametrize("name", ["no-1x1", "vgg-12-32,head=dense"])
def test_a_strangers_file_is_read_as_what_it_is_said_to_be(name, tmp_path):
    model, file = a_model(name), tmp_path / "stranger.npz"
    named = {key.replace("block", "features."): array for key, array in model.weights.items()}
    np.savez(file, **named)
    with pytest.raises(NinError, match=r"of another network|too small for this network"):
        convert.convert(file, tmp_path / "model.safetensors", resize=VARIANTS[name])
    convert.convert(
        file, tmp_path / "model.safetensors", resize=VARIANTS[name], network=model.network
    )
    found = load_model(tmp_path / "model.safetensors")
    assert_same(dataclasses.replace(found, dropout=0.25), model)


def test_a_fully_connected_layer_needs_a_size(tmp_path):
    model = a_model("vgg-12-32,head=dense")
    np.savez(tmp_path / "stranger.npz", **model.weights)
    with pytest.raises(NinError, match=r"size of images its fully connected layer .* resize"):
        convert.convert(
            tmp_path / "stranger.npz", tmp_path / "model.safetensors", network=model.network
        )
