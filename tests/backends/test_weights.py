"""A weights file travels: what is written, what is read, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest
import reference

from common.data.fashion_mnist import CLASS_NAMES
from common.errors import NinError
from common.files.arrays import save_arrays
from common.model import from_metadata, load_model, save_model, to_metadata
from common.network.parameters import check_parameters

NAME = "block2.conv1.weight"


@pytest.fixture(scope="module")
def model():
    return reference.model()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def test_a_model_comes_back_from_its_file_as_it_was(model, path):
    named = dataclasses.replace(
        model,
        dropout=0.25,
        class_names=CLASS_NAMES,
        side=28,
        training={"test_accuracy": 0.9},
    )
    save_model(path, named)
    found = load_model(path)
    for name, array in model.weights.items():
        np.testing.assert_array_equal(found.weights[name], array, err_msg=name)
    assert dataclasses.replace(found, weights={}) == dataclasses.replace(named, weights={})


def test_the_class_count_is_a_part_of_the_model(path):
    save_model(path, reference.model(num_classes=3))
    found = load_model(path)
    assert found.num_classes == 3
    assert found.class_name(2) == "class 2"


def test_tensors_without_our_metadata_are_the_chapters_network(model, path):
    save_arrays(path, model.weights, {"format": "pt"})
    found = load_model(path)
    assert (found.num_classes, found.in_channels) == (10, 1)
    # what the file does not state is not known
    assert (found.dropout, found.class_names, found.resize) == (None, (), None)


def test_the_order_of_the_tensors_in_the_file_does_not_matter(model, path):
    save_arrays(path, dict(reversed(model.weights.items())), {})
    assert list(load_model(path).weights) == list(model.weights)


def refusal(path):
    with pytest.raises(NinError) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("keep", [0, 5, 100, 5000, -1])
def test_a_truncated_file_is_refused(model, path, keep):
    save_model(path, model)
    path.write_bytes(path.read_bytes()[:keep])
    assert "damaged, or not a safetensors file" in refusal(path)


def test_another_kind_of_file_is_refused(path):
    path.write_bytes(b"PK\x03\x04" + bytes(5000))
    assert "not a safetensors file" in refusal(path)


def test_a_file_of_bfloat16_is_refused(path):
    header = json.dumps({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    refusal(path)


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


def poisoned(value):
    array = np.ones((256, 96, 5, 5), np.float32)
    array[7, 7, 2, 2] = value
    return array


OTHER_TENSORS = {
    "of another network": (
        lambda weights: {"features.0.weight": zeros(64, 3, 11, 11), "features.0.bias": zeros(64)},
        "of another network (it holds 2 tensors: features.0.bias, features.0.weight ...; expected "
        "24 tensors: block1.conv1.weight, block1.conv1.bias ...)",
    ),
    "with a missing tensor": (
        lambda weights: {name: weights[name] for name in weights if name != NAME},
        "block2.conv1.weight is missing (1 of 24 are)",
    ),
    "with an extra tensor": (
        lambda weights: {**weights, "block5.conv1.bias": zeros(10)},
        "block5.conv1.bias is no parameter of this network",
    ),
    "with a wrongly shaped tensor": (
        lambda weights: {**weights, NAME: zeros(256, 96, 3, 3)},
        "block2.conv1.weight has shape (256, 96, 3, 3), expected (256, 96, 5, 5)",
    ),
    "with a transposed tensor": (
        lambda weights: {**weights, NAME: weights[NAME].transpose(2, 3, 1, 0)},
        "has shape (5, 5, 96, 256), expected (256, 96, 5, 5)",
    ),
    "of other class counts": (
        lambda weights: {**weights, "block4.conv3.bias": zeros(7)},
        "expected (7, ",
    ),
    "of one class": (
        lambda weights: {**weights, "block4.conv3.bias": zeros(1)},
        "of another network (it has one output",
    ),
    "in half precision": (
        lambda weights: {**weights, NAME: weights[NAME].astype(np.float16)},
        "block2.conv1.weight is of type float16, expected float32",
    ),
    "in double precision": (
        lambda weights: {name: array.astype(np.float64) for name, array in weights.items()},
        "block1.conv1.weight is of type float64, expected float32",
    ),
    "with a NaN": (
        lambda weights: {**weights, NAME: poisoned(np.nan)},
        "block2.conv1.weight has values that are not finite numbers: 1",
    ),
    "with an infinity": (
        lambda weights: {**weights, NAME: poisoned(-np.inf)},
        "block2.conv1.weight has values that are not finite numbers: 1",
    ),
}


def test_a_network_without_inner_sequences_is_told_what_its_names_lack():
    words = "first is block1.conv1.bias, the network's first conv1.bias; each block has to be a seq"
    with pytest.raises(NinError, match=words):
        check_parameters({"block1.conv1.bias": zeros(96)}, {"conv1.bias": (96,)})


@pytest.mark.parametrize(("change", "words"), OTHER_TENSORS.values(), ids=OTHER_TENSORS.keys())
def test_a_file_is_refused(model, path, change, words):
    save_arrays(path, change(model.weights), {})
    assert words in refusal(path)


OTHER_METADATA = {
    "not JSON": ({"network": "{"}, "its metadata are damaged (network is not JSON)"),
    "not an object": ({"pixels": "3"}, "its metadata are damaged (pixels: 3)"),
    "of another network": ({"network": '{"name": "vgg"}'}, "(vgg, expected nin)"),
    "of other class counts": (
        {"network": '{"num_classes": 7}', "classes": "[]"},
        "has shape (10, 384, 3, 3), expected (7, 384, 3, 3)",
    ),
    "of a count that is none": ({"network": '{"num_classes": "ten"}'}, 'num_classes: "ten"'),
    "of other channels": (
        {"network": '{"in_channels": 3}'},
        "has shape (96, 1, 11, 11), expected (96, 3, 11, 11)",
    ),
    "of too many names": ({"classes": '["shirt"]'}, 'classes: ["shirt"]'),
    "of images without pixels": ({"pixels": '{"side": 0}'}, "side: 0"),
    "of an impossible size": ({"pixels": '{"resize": 5}'}, "resize: 5"),
}


@pytest.mark.parametrize(("metadata", "words"), OTHER_METADATA.values(), ids=OTHER_METADATA.keys())
def test_metadata_are_refused(model, metadata, words):
    with pytest.raises(NinError) as caught:
        from_metadata(model.weights, {**to_metadata(model), **metadata}, "FILE")
    assert str(caught.value).startswith("FILE: ")
    assert words in str(caught.value)
