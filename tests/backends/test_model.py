"""The network of each backend is the chapter's."""

import inspect

import numpy as np
import pytest

from common.comparison import shapes
from common.errors import NinError
from common.network import architecture

# what the book prints, per backend, for one image of 224x224 (a tab stands before the blank)
BOOK_LINES = {
    "torch": """\
Sequential cikti sekli:\t torch.Size([1, 96, 54, 54])
MaxPool2d cikti sekli:\t torch.Size([1, 96, 26, 26])
Sequential cikti sekli:\t torch.Size([1, 256, 26, 26])
MaxPool2d cikti sekli:\t torch.Size([1, 256, 12, 12])
Sequential cikti sekli:\t torch.Size([1, 384, 12, 12])
MaxPool2d cikti sekli:\t torch.Size([1, 384, 5, 5])
Dropout cikti sekli:\t torch.Size([1, 384, 5, 5])
Sequential cikti sekli:\t torch.Size([1, 10, 5, 5])
AdaptiveAvgPool2d cikti sekli:\t torch.Size([1, 10, 1, 1])
Flatten cikti sekli:\t torch.Size([1, 10])""",
    "mxnet": """\
sequential1 cikti sekli:\t (1, 96, 54, 54)
pool0 cikti sekli:\t (1, 96, 26, 26)
sequential2 cikti sekli:\t (1, 256, 26, 26)
pool1 cikti sekli:\t (1, 256, 12, 12)
sequential3 cikti sekli:\t (1, 384, 12, 12)
pool2 cikti sekli:\t (1, 384, 5, 5)
dropout0 cikti sekli:\t (1, 384, 5, 5)
sequential4 cikti sekli:\t (1, 10, 5, 5)
pool3 cikti sekli:\t (1, 10, 1, 1)
flatten0 cikti sekli:\t (1, 10)""",
    "tf": """\
Sequential cikti sekli:\t (1, 54, 54, 96)
MaxPooling2D cikti sekli:\t (1, 26, 26, 96)
Sequential cikti sekli:\t (1, 26, 26, 256)
MaxPooling2D cikti sekli:\t (1, 12, 12, 256)
Sequential cikti sekli:\t (1, 12, 12, 384)
MaxPooling2D cikti sekli:\t (1, 5, 5, 384)
Dropout cikti sekli:\t (1, 5, 5, 384)
Sequential cikti sekli:\t (1, 5, 5, 10)
GlobalAveragePooling2D cikti sekli:\t (1, 10)
Reshape cikti sekli:\t (1, 1, 1, 10)
Flatten cikti sekli:\t (1, 10)""",
}

BOOK_SIGNATURES = {
    "torch": ["in_channels", "out_channels", "kernel_size", "strides", "padding"],
    "tf": ["num_channels", "kernel_size", "strides", "padding"],
    "mxnet": ["num_channels", "kernel_size", "strides", "padding"],
}


@pytest.fixture
def of_the_book(backend_name):
    """For tests of what the book has in a framework; it has no other."""
    if backend_name not in BOOK_LINES:
        pytest.skip("not a framework of the book's")


@pytest.fixture
def net(backend):
    net = backend.nin()
    backend.initialize(net, "he", 0)
    return net


def random_image(rng, channels=1, size=67):
    return rng.random((1, channels, size, size), dtype=np.float32)


def test_nin_block_has_the_books_signature(backend, backend_name, of_the_book):
    parameters = inspect.signature(backend.nin_block).parameters
    assert list(parameters) == BOOK_SIGNATURES[backend_name]
    assert all(p.default is inspect.Parameter.empty for p in parameters.values())


def test_the_shape_walk_prints_the_books_lines_byte_for_byte(backend, backend_name, of_the_book):
    lines = shapes.book_lines(shapes.walk(backend_name, 224), "tr")
    assert lines == BOOK_LINES[backend_name].splitlines()


def test_the_shape_walk_is_the_books_also_after_other_networks(backend, backend_name, of_the_book):
    for _ in range(3):
        backend.nin()
    lines = shapes.book_lines(shapes.walk(backend_name, 224), "tr")
    assert lines == BOOK_LINES[backend_name].splitlines()


def test_the_english_walk_says_output_shape(backend, backend_name):
    lines = shapes.book_lines(shapes.walk(backend_name, 67), "en")
    assert all(" output shape:\t " in line for line in lines)


def test_a_shape_walk_leaves_dropout_as_it_was(backend, backend_name):
    if backend_name != "torch":
        pytest.skip("only PyTorch's networks know whether they are in training")
    net = backend.nin()
    list(backend.shape_walk(net, np.zeros((1, 1, 67, 67), np.float32)))
    assert net.training
    with pytest.raises(NinError):  # too small
        list(backend.shape_walk(net, np.zeros((1, 1, 9, 9), np.float32)))
    assert net.training


@pytest.mark.parametrize("size", [67, 68, 75, 96, 131])
def test_every_layer_has_the_shape_that_is_computed_on_paper(backend, backend_name, size):
    walk = shapes.walk(backend_name, size)
    found = {layer["name"]: tuple(layer["shape"]) for layer in walk if layer["name"]}
    assert found == architecture.layer_shapes(size)


def test_the_24_parameters_have_the_canonical_names_and_shapes(backend, net):
    found = {name: array.shape for name, array in backend.get_weights(net).items()}
    assert list(found.items()) == list(architecture.parameter_shapes().items())


@pytest.mark.parametrize("num_classes", [2, 17])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_class_count_and_input_channels_are_parameters(backend, rng, num_classes, in_channels):
    net = backend.nin(num_classes, in_channels)
    backend.initialize(net, "he", 0)
    *_, last = backend.shape_walk(net, random_image(rng, in_channels))
    assert last.output.shape == (1, num_classes)
    shapes_found = {name: array.shape for name, array in backend.get_weights(net).items()}
    assert shapes_found == architecture.parameter_shapes(num_classes, in_channels)


def test_one_network_takes_images_of_any_size(backend, net, rng):
    for size in (67, 90, 224):
        *_, last = backend.shape_walk(net, random_image(rng, size=size))
        assert last.output.shape == (1, 10)


def test_the_walk_ends_in_what_the_weights_say(backend, net, rng):
    """With all weights 0 and the last bias 1...10, every image gets the logits 1...10."""
    weights = {name: np.zeros_like(array) for name, array in backend.get_weights(net).items()}
    weights["block4.conv3.bias"] += np.arange(1, 11, dtype=np.float32)
    backend.set_weights(net, weights)
    *_, last = backend.shape_walk(net, random_image(rng))
    np.testing.assert_allclose(last.output, [np.arange(1, 11)], rtol=1e-6)


def test_a_relu_follows_the_last_convolution(backend, net, rng):
    weights = {name: np.zeros_like(array) for name, array in backend.get_weights(net).items()}
    weights["block4.conv3.bias"] -= 1
    backend.set_weights(net, weights)
    *_, last = backend.shape_walk(net, random_image(rng))
    assert (last.output == 0).all()


# ------------------------------------------------------------------ weights


def test_weights_that_are_set_come_back_unchanged(backend, net, rng):
    weights = {
        name: rng.standard_normal(array.shape, dtype=np.float32)
        for name, array in backend.get_weights(net).items()
    }
    backend.set_weights(net, weights)
    for name, array in backend.get_weights(net).items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)


def test_weights_are_set_in_the_copies_of_all_devices(backend, backend_name, rng):
    if backend_name != "mxnet":
        pytest.skip("MXNet alone has copies")
    import mxnet

    from nin_mxnet import weights as weights_module

    net = backend.nin()
    places = [mxnet.cpu(0), mxnet.cpu(1)]
    net.initialize(ctx=places, force_reinit=True)
    net(mxnet.np.zeros((1, 1, 67, 67)))
    weights = {n: rng.random(a.shape, np.float32) for n, a in backend.get_weights(net).items()}
    backend.set_weights(net, weights)
    for name, value in weights_module.parameters(net).items():
        for place in places:
            np.testing.assert_array_equal(value.data(place).asnumpy(), weights[name])


def test_the_weights_given_out_are_copies(backend, net):
    backend.get_weights(net)["block1.conv1.weight"][:] = 7
    assert not (backend.get_weights(net)["block1.conv1.weight"] == 7).any()


def test_a_missing_weight_is_refused_by_name(backend, net):
    weights = backend.get_weights(net)
    del weights["block2.conv2.bias"]
    with pytest.raises(NinError, match=r"block2\.conv2\.bias is missing"):
        backend.set_weights(net, weights)


def test_an_unknown_weight_is_refused_by_name(backend, net):
    weights = {**backend.get_weights(net), "block5.conv1.weight": np.zeros(3)}
    with pytest.raises(NinError, match=r"block5\.conv1\.weight is no parameter"):
        backend.set_weights(net, weights)


def test_a_weight_of_another_shape_is_refused_by_name(backend, net):
    weights = backend.get_weights(net)
    weights["block1.conv1.weight"] = weights["block1.conv1.weight"].transpose(2, 3, 1, 0)
    with pytest.raises(NinError, match=r"block1\.conv1\.weight has shape .* expected"):
        backend.set_weights(net, weights)


# ------------------------------------------------------------- initialization


def fans(weight):
    out_channels, in_channels, height, width = weight.shape
    return in_channels * height * width, out_channels * height * width


def weights_of(backend, scheme, seed=0):
    net = backend.nin()
    backend.initialize(net, scheme, seed)
    arrays = backend.get_weights(net)
    return {name: array for name, array in arrays.items() if name.endswith("weight")}, {
        name: array for name, array in arrays.items() if name.endswith("bias")
    }


def test_xavier_weights_are_uniform_within_glorots_bound(backend):
    for name, weight in weights_of(backend, "xavier")[0].items():
        bound = np.sqrt(6 / sum(fans(weight)))
        assert np.abs(weight).max() <= bound * 1.000001, name
        # of a uniform distribution: deciles equally full; 6 sigma of the count's spread
        counts, _ = np.histogram(weight / bound, bins=10, range=(-1, 1))
        expected = weight.size / 10
        assert np.abs(counts - expected).max() < 6 * np.sqrt(expected), name


def test_he_weights_are_normal_with_variance_two_over_fan_in(backend):
    for name, weight in weights_of(backend, "he")[0].items():
        z = weight.astype(np.float64) / np.sqrt(2 / fans(weight)[0])
        tolerance = 6 / np.sqrt(weight.size)
        assert abs(z.mean()) < tolerance, name
        assert abs(z.var() - 1) < np.sqrt(2) * tolerance, name
        # a truncated normal has no values beyond 2 sigma, this one has 4.55 %
        assert abs((np.abs(z) > 2).mean() - 0.0455) < tolerance, name


def test_he_biases_are_zero(backend):
    assert all((bias == 0).all() for bias in weights_of(backend, "he")[1].values())


def test_xavier_biases_are_the_books(backend, backend_name):
    weights, biases = weights_of(backend, "xavier")
    for name, bias in biases.items():
        if backend_name == "torch":  # the book leaves PyTorch's default: uniform
            bound = fans(weights[name.replace("bias", "weight")])[0] ** -0.5
            assert 0 < np.abs(bias).max() <= bound * 1.000001, name
        else:
            assert (bias == 0).all(), name


@pytest.mark.parametrize("scheme", ["xavier", "he"])
def test_the_same_seed_draws_the_same_weights(backend, scheme):
    first, second = weights_of(backend, scheme, 5)[0], weights_of(backend, scheme, 5)[0]
    assert all((first[name] == second[name]).all() for name in first)


@pytest.mark.parametrize("scheme", ["xavier", "he"])
def test_another_seed_draws_other_weights(backend, scheme):
    first, second = weights_of(backend, scheme, 5)[0], weights_of(backend, scheme, 6)[0]
    assert all((first[name] != second[name]).any() for name in first)


def test_layers_of_the_same_shape_start_with_different_weights(backend):
    weights = weights_of(backend, "he")[0]
    assert (weights["block2.conv2.weight"] != weights["block2.conv3.weight"]).any()


def test_an_unknown_initialization_is_refused(backend, net):
    with pytest.raises(ValueError, match="unknown initialization 'ones'"):
        backend.initialize(net, "ones", 0)
