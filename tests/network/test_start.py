"""The start from training images, held against the network written out in NumPy."""

import numpy as np
import numpy_nin
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from common.data.interpolation import resize_matrix
from common.model import Model
from common.network import architecture, start
from common.network.description import parse
from common.settings import Settings
from common.training import plateau


@pytest.fixture(scope="module")
def images(sample):
    return sample.train_images[:40]


@pytest.fixture(scope="module")
def weights(images):
    return start.from_images(architecture.layers(), images, 67, seed=3)


def channel_means(weights, images):
    """Convolution -> mean of each channel before its ReLU, in float64."""
    model = Model(weights, num_classes=10, resize=67)
    matrix = resize_matrix(28, 67)
    X, means = (matrix @ (images / 255) @ matrix.T)[:, None], {}
    for layer in architecture.layers():
        if layer.is_pool:
            X = reference.windows(X, 3, layer.stride).max((4, 5))
        else:
            # a bias so large that nothing is clipped, and away again
            shifted = {**weights, f"{layer.name}.bias": weights[f"{layer.name}.bias"] + 1000.0}
            raised = Model(shifted, num_classes=10, resize=67)
            Y = reference.convolution(X, raised, layer.name, layer.stride, layer.padding) - 1000
            means[layer.name] = Y.mean((0, 2, 3))
            X = reference.convolution(X, model, layer.name, layer.stride, layer.padding)
    return means


def test_the_first_convolutions_are_centred_and_every_class_starts_alike(weights, images):
    means = channel_means(weights, images)
    for block in (1, 2, 3):
        np.testing.assert_allclose(means[f"block{block}.conv1"], 0, atol=1e-3)
    np.testing.assert_allclose(means["block4.conv1"], start.CLASS_MEAN, atol=1e-3)


def test_the_1x1_convolutions_are_the_identity(weights):
    shapes = {name: array.shape for name, array in weights.items()}
    assert shapes == architecture.parameter_shapes()
    for name, array in weights.items():
        if ".conv1" not in name:
            np.testing.assert_array_equal(
                array, np.eye(len(array))[:, :, None, None] if array.ndim == 4 else 0
            )


def test_no_class_is_dead(images):
    for seed in range(3):
        weights = start.from_images(architecture.layers(), images, 67, seed)
        logits = reference.logits(Model(weights, num_classes=10, resize=67), images)
        assert (logits > 0).any(0).all()


def test_the_first_convolutions_have_the_variance_of_he(weights):
    for block in (1, 2, 3, 4):
        weight = weights[f"block{block}.conv1.weight"]
        assert np.sqrt(weight[0].size / 2) * weight.std() == pytest.approx(1, abs=0.03)


@given(st.integers(0, 2**31 - 1))
def test_a_seed_decides_the_weights(seed):
    # one small layer is enough
    layers = [architecture.Layer("block1.conv1", 1, 2, 3, 1, 1)]
    images = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    one, other, third = (
        start.from_images(layers, images, 4, number) for number in (seed, seed, seed + 1)
    )
    assert all((one[name] == other[name]).all() for name in one)
    assert (one["block1.conv1.weight"] != third["block1.conv1.weight"]).any()


def test_a_random_last_block_is_drawn_as_the_scheme_he_draws_it(images):
    weights = start.from_images(architecture.layers(), images, 67, 0, identity_last=False)
    assert not weights["block4.conv1.bias"].any()
    assert weights["block4.conv2.weight"].std() > 0.3


@pytest.mark.parametrize(
    "name", ["no-1x1", "3x3", "gentle", "dense-head", "vgg-21-32", "head=alexnet,hidden=40/30"]
)
def test_a_variant_starts_alive_and_with_classes_alike(images, name):
    network = parse(name)
    size = max(28, architecture.smallest_input(network))
    layers = architecture.layers(network=network)
    dense = architecture.dense_layers(size, network=network)
    weights = start.from_images(layers, images, size, 0, True, dense)
    shapes = {name: array.shape for name, array in weights.items()}
    assert shapes == architecture.parameter_shapes(network=network, size=size)
    net = numpy_nin.build(network, size=size)
    numpy_nin.set_weights(net, weights)
    settings = Settings(resize=size, network=name)
    outputs = numpy_nin.Predictor(net, settings).activations(images)
    logits = list(outputs.values())[-1]
    assert not plateau.silent_channels(outputs)[layers[0].name].any()
    assert (logits != 0).any(0).all()
    # a class far above the others is all that would be predicted
    np.testing.assert_allclose(logits.mean(0), logits.mean(), atol=1)
