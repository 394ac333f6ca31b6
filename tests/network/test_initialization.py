import numpy as np
import pytest

from common.network import initialization
from common.settings import Settings, from_preset


@pytest.fixture(scope="module")
def dead_classes(backend, sample):
    """How many classes have the logit 0 for each of 100 images at the start of training."""
    net = backend.nin()
    predictor = backend.Predictor(net, Settings(resize=67, device="cpu"))

    def dead_classes(last_block, seed):
        backend.initialize(net, "he", seed)
        weights = backend.get_weights(net)
        if last_block == "identity":
            weights = initialization.identity_last_block(weights)
        backend.set_weights(predictor.net, weights)
        logits = predictor.logits(sample.train_images[:100])
        return int((logits == 0).all(axis=0).sum())

    return dead_classes


@pytest.mark.shared
def test_as_drawn_some_classes_are_dead_from_the_start(dead_classes):
    assert sum(dead_classes("random", seed) for seed in range(6)) >= 6


@pytest.mark.shared
def test_with_an_identity_in_the_last_block_none_is(dead_classes):
    assert [dead_classes("identity", seed) for seed in range(6)] == [0] * 6


def test_only_the_last_block_is_changed(rng):
    weights = {
        "block3.conv2.weight": rng.random((4, 4, 1, 1)),
        "block4.conv1.weight": rng.random((3, 4, 3, 3)),
        "block4.conv1.bias": rng.random(3),
        "block4.conv2.weight": rng.random((3, 3, 1, 1)),
        "block4.conv2.bias": rng.random(3),
        "block4.conv3.weight": rng.random((3, 3, 1, 1)),
        "block4.conv3.bias": rng.random(3),
    }
    changed = initialization.identity_last_block(weights)
    assert changed.keys() == weights.keys()
    assert [name for name in weights if changed[name] is weights[name]] == [
        "block3.conv2.weight",
        "block4.conv1.weight",
    ]
    x = rng.random(3)
    np.testing.assert_array_equal(changed["block4.conv3.weight"][:, :, 0, 0] @ x, x)
    assert changed["block4.conv1.bias"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_exercises_other_numbers_of_1x1_convolutions_start_as_the_identity_too(rng, count):
    names = [f"block4.conv{i}" for i in range(2, 2 + count)]
    weights = {"block4.conv1.weight": rng.random((3, 4, 3, 3)), "block4.conv1.bias": rng.random(3)}
    for name in names:
        weights |= {f"{name}.weight": rng.random((3, 3, 1, 1)), f"{name}.bias": rng.random(3)}
    changed = initialization.identity_last_block(weights)
    assert changed.keys() == weights.keys()
    for name in names:
        np.testing.assert_array_equal(changed[f"{name}.weight"][:, :, 0, 0], np.eye(3))
        np.testing.assert_array_equal(changed[f"{name}.bias"], np.zeros(3))


def test_the_book_preset_draws_the_last_block_like_the_others():
    assert from_preset("book").last_block == "random"
