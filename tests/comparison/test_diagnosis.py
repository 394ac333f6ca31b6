"""A mistake in a layer is named, and nothing else ever is.

The layers are small ones, computed by the NumPy backend (``tests/numpy_nin.py``); the mistakes are
put into it, one at a time. How a mistake in a whole network comes into the report is in
``test_report.py``.
"""

import math

import numpy as np
import numpy_nin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import softmax

from common.comparison.diagnosis import PARAMETER_AXES, explain
from common.comparison.mistakes import explain_shape, layer_on_paper
from common.data.interpolation import resize_matrix
from common.network.architecture import Layer

SIZE = 40
BATCH = 3


def convolution(name="block2.conv1", inputs=3, outputs=6, kernel=3, stride=1, padding=1):
    return Layer(name, inputs, outputs, kernel, stride, padding, True)


LAYERS = {
    layer.name: layer
    for layer in (
        convolution(),
        convolution("block1.conv1", 2, 4, 5, 2, 0),
        convolution("block3.conv2", 6, 6, 1, 1, 0),
        convolution("block3.conv3", 6, 6, 1, 1, 0),
        Layer("pool2", 6, 6, 3, 2, 0, False),
    )
}


def numbers(*shape, seed=0, positive=False):
    found = np.random.default_rng([seed, *shape]).normal(size=shape)
    return np.maximum(found, 0) if positive else found


WEIGHTS = {
    f"{name}.{kind}": numbers(*shape, seed=7)
    for name, layer in LAYERS.items()
    if not layer.is_pool
    for kind, shape in (
        ("weight", (layer.out_channels, layer.in_channels, *[layer.kernel_size] * 2)),
        ("bias", (layer.out_channels,)),
    )
}
# two layers of one shape have weights of their own
WEIGHTS["block3.conv3.weight"] = numbers(6, 6, 1, 1, seed=8)
WEIGHTS["block3.conv3.bias"] = numbers(6, seed=8)

SOURCES = {
    "input": np.random.default_rng(0).integers(0, 256, (BATCH, 28, 28), np.uint8),
    "block2.conv1": numbers(BATCH, 3, 9, 9, positive=True),
    "block1.conv1": numbers(BATCH, 2, 13, 13, positive=True),
    "block3.conv2": numbers(BATCH, 6, 5, 5, positive=True),
    "block3.conv3": numbers(BATCH, 6, 5, 5, positive=True),
    "pool2": numbers(BATCH, 6, 10, 10, positive=True),
    "dropout": numbers(BATCH, 6, 5, 5, positive=True),
    "global_pool": numbers(BATCH, 10, 4, 4, positive=True),
    "flatten": numbers(BATCH, 10, 1, 1),
    "logits": numbers(BATCH, 10),
}


def diagnose(name, wrong, dtype="float64"):
    source = SOURCES[name].astype(np.float64)
    layer = layer_on_paper(name, LAYERS, WEIGHTS, SIZE, source, wrong.shape)
    right = layer.compute(source)
    return explain(right, wrong, dtype, source, layer.mistakes, layer.fits, layer.factors)


def compute(name, relu=True, **changes):
    """A layer as the NumPy backend computes it, with attributes of a convolution changed."""
    source = SOURCES[name].astype(np.float64)
    if name == "input":
        matrix = resize_matrix(28, SIZE)
        return (matrix @ (source / 255) @ matrix.T)[:, None]
    if name.startswith("pool"):
        return numpy_nin.MaxPool().forward(source)
    if name in LAYERS:
        layer = numpy_nin.Convolution(*LAYERS[name][1:6])
        layer.weight, layer.bias = WEIGHTS[f"{name}.weight"], WEIGHTS[f"{name}.bias"]
        for attribute, value in changes.items():
            setattr(layer, attribute, value)
        Y = layer.forward(source)
        return np.maximum(Y, 0) if relu else Y
    if name == "global_pool":
        return source.mean((2, 3), keepdims=True)
    return source.reshape(len(source), -1) if name == "flatten" else source


def windows(X, kernel, stride):
    return sliding_window_view(X, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]


@pytest.mark.parametrize("name", SOURCES)
def test_a_layer_on_paper_is_the_numpy_backends(name):
    right = compute(name)
    source = SOURCES[name].astype(np.float64)
    layer = layer_on_paper(name, LAYERS, WEIGHTS, SIZE, source, right.shape)
    np.testing.assert_allclose(layer.compute(source), right, rtol=0, atol=1e-13)
    assert diagnose(name, right) is None


# ------------------------------------------------- each mistake, and what it is called

CONV = "block2.conv1"
W, B = WEIGHTS[f"{CONV}.weight"], WEIGHTS[f"{CONV}.bias"]
Y, P = compute(CONV), compute(CONV, relu=False)


def changed(array, place, value):
    array = array.copy()
    array[place] = value
    return array


def dropped(x, rate=0.5, scale=2.0):
    return x * (np.random.default_rng(1).random(x.shape) >= rate) * scale


def ones_by(factors, x):
    return x * np.asarray(factors)[:, None, None]


def bilinear(places):
    """The input resized with pixel centres elsewhere."""
    places = np.clip(places, 0, 27)
    low = np.minimum(places.astype(int), 26)
    part = places - low
    x = SOURCES["input"] / 255
    x = x[:, low] * (1 - part)[:, None] + x[:, low + 1] * part[:, None]
    return (x[:, :, low] * (1 - part) + x[:, :, low + 1] * part)[:, None]


def padded_with(mode):
    source = np.pad(SOURCES[CONV], ((0, 0), (0, 0), (1, 1), (1, 1)), mode)
    product = np.einsum("nchwij,ocij->nohw", windows(source, 3, 1), W)
    return np.maximum(product + B[:, None, None], 0)


def shifted_windows(name, before, after, stride=None):
    """A convolution that pads the top and left by one number, the bottom and right by another."""
    layer = LAYERS[name]
    source = np.pad(SOURCES[name], ((0, 0), (0, 0), *[(before, after)] * 2))
    product = np.einsum(
        "nchwij,ocij->nohw",
        windows(source, layer.kernel_size, stride or layer.stride),
        WEIGHTS[f"{name}.weight"],
    )
    return np.maximum(product + WEIGHTS[f"{name}.bias"][:, None, None], 0)


def pooled(reduce=np.max, kernel=3, stride=2, start=0, ceil=False):
    X = SOURCES["pool2"][:, :, start:, start:]
    if ceil:
        X = np.pad(X, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=-np.inf)
    return reduce(windows(X, kernel, stride), axis=(4, 5))


def nhwc(x):
    return x.transpose(0, 2, 3, 1).reshape(x.shape)


POOL, INPUT, DROP, GLOBAL = (compute(n) for n in ("pool2", "input", "dropout", "global_pool"))
LOGITS = compute("logits")
NEAREST = np.arange(SIZE) * 28 // SIZE
MISTAKES = [
    # the numbers of any layer
    (CONV, Y * 1.001, "every value is 1.001 times what it should be"),
    (CONV, Y * (1 + 2.0**-26), "a constant rounded to float32"),
    ("logits", LOGITS + 0.25, "every value is off by 0.25"),
    ("logits", 3 * LOGITS + 0.5, "every value is 3 times what it should be and 0.5 more"),
    ("logits", -LOGITS, "every value is -1 times"),
    (CONV, ones_by([1, 1, 1, 0.5, 1, 1], Y), "channel 3 is 0.5 times what it should be"),
    (CONV, ones_by([1, 1, 1, 0, 1, 1], Y), "channel 3 is 0"),
    (CONV, ones_by([1, 2, 3, 4, 5, 6], Y), "5 channels (1, 2, 3, 4, ...) are 2 to 6 times"),
    ("logits", LOGITS + np.eye(10)[4], "channel 4 is off by 1"),
    (CONV, Y[:, [0, 1, 4, 3, 2, 5]], "channels 2, 4 are swapped"),
    (CONV, Y[:, ::-1], "channels are in reverse order"),
    (CONV, np.roll(Y, 1, 1), "channels are shifted by 1"),
    (CONV, Y[:, [3, 5, 0, 1, 4, 2]], "channels are in another order, 3, 5, 0, 1, 4, 2"),
    (CONV, Y[:, [0, 1, 2, 3, 4, 4]], "channel 5 holds what belongs to channel 4"),
    (CONV, Y[[1, 0, 2]], "images 0, 1 are swapped"),
    (CONV, Y[[0, 1, 1]], "image 2 holds what belongs to image 1"),
    (CONV, np.roll(Y, 1, 2), "shifted by pixels: 1 down, and round the edge"),
    (CONV, np.pad(Y, ((0, 0), (0, 0), (1, 0), (0, 1)))[:, :, :-1, 1:],
     "shifted by pixels: 1 down, 1 to the left; zeros move in"),
    (CONV, Y.transpose(0, 1, 3, 2), "height and width are swapped"),
    (CONV, Y[:, :, ::-1], "upside down"),
    (CONV, Y[..., ::-1], "mirrored"),
    (CONV, Y[:, :, ::-1, ::-1], "turned by 180 degrees"),
    (CONV, np.rot90(Y, 1, (2, 3)), "turned by 90 degrees, anticlockwise"),
    (CONV, nhwc(Y), "in the order NHWC, and read as NCHW"),
    (CONV, Y.reshape(BATCH, 9, 9, 6).transpose(0, 3, 1, 2), "in the order NCHW, and read as NHWC"),
    (CONV, Y.astype(np.float16), "rounded to float16"),
    (CONV, Y.astype(np.float32), "rounded to float32"),
    (CONV, dropped(Y), "of the values are 0, the others 2 times as large"),
    (CONV, dropped(Y, scale=1.0), "of the values are 0 instead of what they should be"),
    (CONV, 0 * Y, "0 everywhere"),
    (CONV, (Y - 1) * np.array([1, 2, 3, 4, 5, 6])[:, None, None],
     "each channel has a factor and an offset of its own, as a normalization has"),
    # convolutions
    (CONV, P, "the ReLU is missing"),
    (CONV, np.clip(P, 0, 6), "ReLU6"),
    (CONV, np.abs(P), "absolute values instead of a ReLU"),
    (CONV, np.where(P > 0, P, 0.2 * P), "a leaky ReLU of slope 0.2"),
    (CONV, np.where(P > 0, P, np.exp(P) - 1), "ELU"),
    (CONV, P / (1 + np.exp(-P)), "SiLU"),
    (CONV, P * 0.5 * (1 + np.vectorize(math.erf)(P / 2**0.5)), "GELU instead"),
    (CONV, np.log1p(np.exp(P)), "softplus"),
    (CONV, np.tanh(P), "a tanh instead of a ReLU"),
    (CONV, 1 / (1 + np.exp(-P)), "a sigmoid instead of a ReLU"),
    (CONV, compute(CONV, bias=0 * B), "there is no bias"),
    (CONV, compute(CONV, bias=2 * B), "the bias is added twice"),
    (CONV, compute(CONV, bias=-B), "the bias is subtracted"),
    (CONV, compute(CONV, bias=changed(B, 4, 0)), "there is no bias in channel 4"),
    (CONV, compute(CONV, bias=changed(B, 4, B[4] + 0.01)), "the bias is off by 0.01 in channel 4"),
    (CONV, compute(CONV, bias=B[::-1]), "the bias's channels are in reverse order"),
    (CONV, compute(CONV, bias=0 * B + 1), "the bias is 1 in 6 channels"),
    (CONV, np.maximum(P - B[:, None, None], 0) + B[:, None, None],
     "the ReLU comes before the bias"),
    (CONV, compute(CONV, weight=W * 1.5), "the weights are 1.5 times what was given"),
    (CONV, compute(CONV, weight=changed(W, 2, W[2] * 1.5)),
     "1.5 times what was given in channel 2"),
    (CONV, compute(CONV, weight=changed(W, (2, 1, 0, 2), W[2, 1, 0, 2] + 1e-6)),
     "one weight, [2, 1, 0, 2], is off by 1e-06"),
    (CONV, compute(CONV, weight=W.astype(np.float16)),
     "the weights are rounded to TF32 or float16"),
    (CONV, compute(CONV, weight=W[:, :, ::-1, ::-1]), "the kernel is turned by 180 degrees"),
    (CONV, compute(CONV, weight=W[:, :, ::-1]), "the kernel is upside down"),
    (CONV, compute(CONV, weight=W[..., ::-1]), "the kernel is mirrored"),
    (CONV, compute(CONV, weight=W.transpose(0, 1, 3, 2)),
     "height and width of the kernel are swapped"),
    (CONV, compute(CONV, weight=W[:, ::-1]), "input channels are in reverse order"),
    (CONV, compute(CONV, weight=W[::-1]),
     "output channels are in reverse order (the bias's are not)"),
    (CONV, compute(CONV, weight=W.transpose(2, 3, 1, 0).reshape(W.shape)),
     "in the order (height, width, input, output), read as (output, input, height, width)"),
    (CONV, compute(CONV, weight=W.reshape(3, 3, 3, 6).transpose(3, 2, 0, 1)),
     "in the order (output, input, height, width), read as (height, width, input, output)"),
    ("block3.conv2", compute("block3.conv2", weight=WEIGHTS["block3.conv2.weight"].swapaxes(0, 1)),
     "output and input channels are swapped"),
    ("block3.conv2", compute("block3.conv2", weight=WEIGHTS["block3.conv3.weight"]),
     "the weights are those of block3.conv3"),
    ("block3.conv2", SOURCES["block3.conv2"], "the layer is left out"),
    (CONV, padded_with("edge"), "mode 'edge'"),
    (CONV, padded_with("reflect"), "mode 'reflect'"),
    (CONV, compute(CONV, padding=0), "padding 0 instead of 1"),
    (CONV, compute(CONV, padding=2), "padding 2 instead of 1"),
    (CONV, shifted_windows(CONV, 0, 2), "padding 0 at the top and left, and 2 at the bottom and"),
    (CONV, compute(CONV, stride=2), "stride 2 instead of 1"),
    ("block1.conv1", compute("block1.conv1", stride=1), "stride 1 instead of 2"),
    ("block1.conv1", shifted_windows("block1.conv1", 1, 1)[:, :, :5, :5],
     "padding 1 at the top and left, and 0 at the bottom and right, instead of 0 all round"),
    # pooling
    ("pool2", pooled(np.mean), "the average of each window, not the maximum"),
    ("pool2", pooled(np.min), "the minimum of each window, not the maximum"),
    ("pool2", pooled(ceil=True), "a window that does not fit is kept (rounding up, ceil_mode)"),
    ("pool2", pooled(kernel=2), "windows of 2 x 2 instead of 3 x 3"),
    ("pool2", pooled(stride=3), "stride 3 instead of 2"),
    ("pool2", pooled(start=1), "windows begin 1 pixel into the image"),
    # the input
    ("input", 255 * INPUT, "pixels from 0 to 255 instead of 0 to 1"),
    ("input", INPUT * 255 / 256, "pixels divided by 256 instead of 255"),
    ("input", (INPUT - 0.286) / 0.353, "as if 0.286 were subtracted and the rest divided by 0.353"),
    ("input", 2 * INPUT - 1, "as if 0.5 were subtracted and the rest divided by 0.5"),
    ("input", 1 - INPUT, "inverted"),
    ("input", np.round(255 * INPUT) / 255, "rounded to whole 255ths"),
    ("input", np.floor(255 * INPUT) / 255, "cut to whole 255ths"),
    ("input", INPUT.transpose(0, 1, 3, 2), "height and width are swapped"),
    ("input", bilinear(np.arange(SIZE) * 27 / (SIZE - 1)), "align_corners=True"),
    ("input", bilinear(np.arange(SIZE) * 28 / SIZE), "pixel centres are not at halves"),
    ("input", SOURCES["input"][:, None, NEAREST][..., NEAREST] / 255,
     "the nearest pixel is taken, counted from the corner"),
    # the end
    ("dropout", dropped(DROP), "dropout is active"),
    ("dropout", DROP / 2, "dropout's scale is applied in evaluation"),
    ("global_pool", SOURCES["global_pool"].max((2, 3), keepdims=True),
     "the maximum, not the average"),
    ("global_pool", 16 * GLOBAL, "the sum, not the average"),
    ("global_pool", SOURCES["global_pool"], "the layer is left out"),
    ("global_pool", nhwc(SOURCES["global_pool"]).mean((2, 3), keepdims=True), "pooled as if"),
    ("logits", softmax(LOGITS, axis=1), "softmax is applied"),
    ("logits", np.log(softmax(LOGITS, axis=1)), "log-softmax is applied"),
    ("logits", np.maximum(LOGITS, 0), "a ReLU too many"),
]  # fmt: skip


def each(entries):
    return pytest.mark.parametrize(
        ("name", "wrong", "words"), entries, ids=[words for *_, words in entries]
    )


@each(MISTAKES)
def test_a_mistake_is_named(name, wrong, words):
    found = diagnose(name, np.asarray(wrong, np.float64))
    assert found is not None
    assert words in found


# of the others, float32's own rounding is as large
TINY = ("float32", "off by 1e-06", "255ths")
LARGE = [entry for entry in MISTAKES if not any(word in entry[2] for word in TINY)]


@each(LARGE)
def test_a_mistake_is_named_in_float32_too(name, wrong, words):
    found = diagnose(name, np.asarray(wrong, np.float32), "float32")
    assert found is not None
    assert words in found


PARAMETER = numbers(6, 3, 3, 3)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (B[[0, 3, 2, 1, 4, 5]], "output channels 1, 3 are swapped"),
        (np.roll(B, 1), "output channels are shifted by 1"),
        (B[[0, 0, 2, 3, 4, 5]], None),
        (PARAMETER * 4, "the sum over the batch"),
        (-PARAMETER, "the sign"),
        (PARAMETER[::-1], "output channels are in reverse order"),
        (PARAMETER[:, [1, 0, 2]], "input channels 0, 1 are swapped"),
        (changed(PARAMETER, 2, 0), "output channel 2 is 0"),
    ],
)
def test_a_mistake_in_a_parameter_or_its_gradient_is_named(wrong, words):
    factors = {"the sum over the batch": 4.0, "the sign": -1.0}
    right = PARAMETER if wrong.ndim == 4 else B
    found = explain(right, wrong, "float64", factors=factors, axes=PARAMETER_AXES)
    # one number alone is always like some other
    assert words in found if words else found is None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [(changed(B, 0, 0), "step 1 is 0"), (B[[0, 2, 1, 3, 4, 5]], "steps 2, 3 are swapped")],
)
def test_steps_count_from_1_as_in_the_table_of_losses(wrong, words):
    assert explain(B, wrong, "float64", axes=("step",)) == words


POOLING = Layer("pool1", 6, 6, 3, 2, 0, False)


@pytest.mark.parametrize(
    ("layer", "given", "words"),
    [
        (convolution(kernel=5, padding=2), [(7, 7), (7, 10)], "padding 0 instead of 2"),
        (convolution(kernel=5, padding=2), [(4, 4), (4, 5)], "stride 3 instead of 1"),
        (convolution(kernel=5, padding=2), [(11, 11), (14, 11)], "height and width are swapped"),
        (convolution(kernel=5, padding=2), [(11, 11), (11, 13)], None),
        (POOLING, [(5, 5), (5, 7)], "rounding up, ceil_mode"),
        (POOLING, [(11, 11), (11, 14)], "the layer is left out"),
        (POOLING, [(5, 5), (5, 40)], None),
        (POOLING, [(5, 5), ()], None),
    ],
)
def test_the_number_that_gives_a_wrong_shape_is_named(layer, given, words):
    found = explain_shape(layer, [(11, 11), (11, 14)], given)
    assert found is None if words is None else words in found


# ------------------------------------------------------- and nothing else is

magnitudes = st.floats(-7, 1).map(lambda power: 10.0**power)
unrelated = st.sampled_from(
    ["noise", "a few numbers", "mixed channels", "other weights", "a curve", "blurred"]
)


@given(st.sampled_from(sorted(SOURCES)), unrelated, magnitudes, st.integers(0, 2**32 - 1))
@settings(max_examples=150)
@pytest.mark.long
def test_a_mistake_that_is_none_of_these_is_not_given_a_name(name, kind, magnitude, seed):
    rng, right = np.random.default_rng(seed), compute(name)
    size = np.abs(right).max()
    if kind == "noise":
        wrong = right + magnitude * size * rng.normal(size=right.shape)
    elif kind == "a few numbers":
        # several images, rows and channels: a single weight or bias explains none of it
        wrong = right.copy()
        places = rng.choice(right.size, max(4, right.size // 20), replace=False)
        wrong.flat[places] += magnitude * size * rng.normal(size=len(places))
    elif kind == "mixed channels" and right.shape[1] > 1:
        count = right.shape[1]
        mixture = np.eye(count) + magnitude * rng.normal(size=(count, count))
        wrong = np.moveaxis(np.tensordot(right, mixture, (1, 0)), -1, 1)
    elif kind == "other weights" and name in LAYERS and not LAYERS[name].is_pool:
        weight = WEIGHTS[f"{name}.weight"]
        wrong = compute(name, weight=weight + magnitude * rng.normal(size=weight.shape))
    elif kind == "blurred" and right.ndim == 4 and min(right.shape[2:]) > 2:
        wrong = right + magnitude * (1 + rng.random()) * (
            np.roll(right, 1, 3) + np.roll(right, 1, 2)
        )
    else:
        wrong = right + magnitude * size * np.sin(1 + rng.random() + 3 * right / size)
    for dtype in ("float64", "float32"):
        assert diagnose(name, wrong.astype(dtype).astype(np.float64), dtype) is None
