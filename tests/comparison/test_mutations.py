"""The comparison catches every classic mistake of porting, at the right level and layer.

Each mistake is put, alone, into the plain NumPy network, which is then compared with an intact
one. A mistake that no numbers can show in this network is here too, with what shows it instead.
Those that are far below float32's rounding are put into the frameworks' own networks as well.
"""

import dataclasses
import functools
import importlib
import importlib.util
import operator
import sys
import types
from pathlib import Path

import numpy as np
import numpy_nin
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from common.comparison import job as comparison_job
from common.comparison import levels as comparison
from common.comparison import tolerances
from common.comparison import worker as comparison_worker
from common.comparison.job import PASS_STEPS, Job, below
from common.comparison.material import make_material

JOB = Job(resize=67, batch_size=2, steps=8, dtype="float64")
# the smallest size with more than one pixel left for the global pooling
WIDE = dataclasses.replace(JOB, resize=99)
LAYERS_OF = {"block1": 96, "block2": 256, "block3": 384, "block4": 10}
CONVOLUTIONS = [f"{block}.conv{i}" for block in LAYERS_OF for i in (1, 2, 3)]


@pytest.fixture(scope="module")
def materials(sample):
    return {job: make_material(job, sample) for job in (JOB, WIDE)}


def record(name, backend, job, material):
    (recording,) = comparison_worker.record(name, backend, job, material)
    return recording


@pytest.fixture(scope="module")
def intact(materials):
    return {job: record("right", numpy_nin, job, material) for job, material in materials.items()}


@pytest.fixture
def mutant():
    """A copy of the NumPy network of its own, to be changed."""
    spec = importlib.util.spec_from_file_location("mutant_nin", Path(numpy_nin.__file__))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("mutant_nin", None)


MISTAKES = {}


def mistake(level, layer, job=JOB):
    """Register a mistake: what it is in words, and the level and layer that must name it."""

    def register(function):
        name = function.__name__.replace("_", " ")
        MISTAKES[name] = (function, level, layer, WIDE if level == "shapes" else job)
        return function

    return register


def changing_nin(module, change):
    """Let ``nin`` give a network that has been changed."""
    build = module.nin

    def nin(*arguments):
        net = build(*arguments)
        change(net)
        return net

    module.nin = nin


class Instead:
    """A layer that computes something else, forwards only."""

    def __init__(self, function):
        self.function = function

    def forward(self, X, training=False):
        return self.function(X)


# ---------------------------------------------------------------- shapes


@mistake("shapes", "block2")
def valid_for_same(module):
    changing_nin(module, lambda net: setattr(net["block2"]["conv1"], "padding", 0))


@mistake("shapes", "block4")
def valid_for_same_in_the_last_block(module):
    changing_nin(module, lambda net: setattr(net["block4"]["conv1"], "padding", 0))


@mistake("shapes", "block1")
def same_for_valid(module):
    changing_nin(module, lambda net: setattr(net["block1"]["conv1"], "padding", 5))


@mistake("shapes", "block1")
def a_wrong_stride(module):
    changing_nin(module, lambda net: setattr(net["block1"]["conv1"], "stride", 2))


def pool_with(reduce, kernel=3, stride=2, ceil=False):
    def forward(X):
        if ceil:
            extra = [(0, (size - kernel) % stride) for size in X.shape[2:]]
            X = np.pad(X, ((0, 0), (0, 0), *extra), constant_values=-np.inf)
        windows = sliding_window_view(X, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]
        return reduce(windows, axis=(4, 5))

    return Instead(forward)


@mistake("shapes", "pool1")
def a_wrong_stride_in_pooling(module):
    changing_nin(module, lambda net: net.update(pool1=pool_with(np.max, stride=3)))


@mistake("shapes", "pool1")
def ceil_for_floor_in_the_first_pooling(module):
    changing_nin(module, lambda net: net.update(pool1=pool_with(np.max, ceil=True)))


@mistake("shapes", "pool3")
def ceil_for_floor_in_the_last_pooling(module):
    changing_nin(module, lambda net: net.update(pool3=pool_with(np.max, ceil=True)))


@mistake("shapes", "block1")
def height_and_width_swapped_in_an_image_that_is_not_square(module):
    walk = module.shape_walk
    module.shape_walk = lambda net, images: walk(net, images.transpose(0, 1, 3, 2))


@mistake("shapes", "global_pool")
def no_global_pooling(module):
    changing_nin(module, lambda net: net.update(global_pool=Instead(lambda X: X)))


# -------------------------------------------------------------- parameters


@mistake("parameters", "block2.conv1.weight")
def hwio_given_out_for_oihw(module):
    get = module.get_weights

    def get_weights(net):
        weights = get(net)
        weights["block2.conv1.weight"] = weights["block2.conv1.weight"].transpose(2, 3, 1, 0)
        return weights

    module.get_weights = get_weights


@mistake("parameters", "block3.conv2.bias")
def a_layer_without_a_bias(module):
    get = module.get_weights

    def get_weights(net):
        return {name: w for name, w in get(net).items() if name != "block3.conv2.bias"}

    module.get_weights = get_weights


@mistake("parameters", "block1.conv2.weight")
def weights_that_are_not_taken_up(module):
    take = module.set_weights

    def set_weights(net, weights):
        take(net, {**weights, "block1.conv2.weight": weights["block1.conv2.weight"] * 1.01})

    module.set_weights = set_weights


# ------------------------------------------------------------- activations


def wrong_pixels(module, pixels):
    module.Predictor.pixels = pixels


@mistake("activations", "input")
def pixels_not_scaled(module):
    whole = module.Predictor.pixels
    wrong_pixels(module, lambda self, images: whole(self, images) * 255)


@mistake("activations", "input")
def pixels_over_the_largest_of_the_batch(module):
    whole = module.Predictor.pixels
    wrong_pixels(module, lambda self, images: whole(self, images) * (255 / images.max()))


@mistake("activations", "input")
def pixels_over_the_largest_of_their_image(module):
    whole = module.Predictor.pixels
    wrong_pixels(module, lambda self, images: whole(self, images) * (
        255 / images.max(axis=(1, 2)).astype(np.float64)[:, None, None, None]
    ))  # fmt: skip


@mistake("activations", "input")
def pixels_scaled_by_256(module):
    whole = module.Predictor.pixels
    wrong_pixels(module, lambda self, images: whole(self, images) * (255 / 256))


@mistake("activations", "input")
def pixels_rounded_to_whole_numbers_after_resizing(module):
    whole = module.Predictor.pixels
    wrong_pixels(
        module,
        lambda self, images: (np.round(whole(self, images) * 255) / 255).astype(self.dtype),
    )


@mistake("activations", "input")
def another_resize_convention(module):
    """Corners aligned with corners, as ``align_corners=True``."""

    def resize_matrix(size_in, size_out):
        places = np.linspace(0, size_in - 1, size_out)
        return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(size_in)))

    module.resize_matrix = resize_matrix


@mistake("activations", "input")
def nearest_pixel_for_bilinear(module):
    def resize_matrix(size_in, size_out):
        places = ((np.arange(size_out) + 0.5) * size_in / size_out).astype(int)
        return np.eye(size_in)[places]

    module.resize_matrix = resize_matrix


@mistake("activations", "input")
def height_and_width_swapped_in_a_square_image(module):
    whole = module.Predictor.pixels
    wrong_pixels(module, lambda self, images: whole(self, images.transpose(0, 2, 1)))


def loading(module, change):
    """Weights taken up in another way, in a backend that does not give them out again."""
    take = module.set_weights

    def set_weights(net, weights):
        take(net, weights)
        change(net)

    module.set_weights = set_weights
    del module.get_weights


@mistake("activations", "block1.conv1")
def hwio_not_transposed(module):
    """The numbers in the order (height, width, in, out), taken as (out, in, height, width)."""

    def change(net):
        for block in LAYERS_OF:
            layer = net[block]["conv1"]
            layer.weight = layer.weight.transpose(2, 3, 1, 0).reshape(layer.weight.shape)

    loading(module, change)


@mistake("activations", "block2.conv2")
def input_and_output_channels_swapped_in_a_1x1_convolution(module):
    def change(net):
        layer = net["block2"]["conv2"]
        layer.weight = layer.weight.transpose(1, 0, 2, 3)

    loading(module, change)


@mistake("activations", "block3.conv1")
def a_window_turned_upside_down(module):
    def change(net):
        layer = net["block3"]["conv1"]
        layer.weight = layer.weight[:, :, ::-1, ::-1]

    loading(module, change)


@mistake("activations", "block2.conv1")
def a_window_with_height_and_width_swapped(module):
    def change(net):
        layer = net["block2"]["conv1"]
        layer.weight = layer.weight.transpose(0, 1, 3, 2)

    loading(module, change)


@mistake("activations", "block1.conv2")
def the_relu_before_the_bias(module):
    def change(net):
        convolution = net["block1"]["conv2"]

        def forward(X, training=False):
            bias, convolution.bias = convolution.bias, 0 * convolution.bias
            Y = type(convolution).forward(convolution, X)
            convolution.bias = bias
            return np.maximum(Y, 0) + bias[:, None, None]

        convolution.forward = forward

    changing_nin(module, change)


@mistake("activations", "block3.conv2")
def a_leaky_relu(module):
    leaky = Instead(lambda X: np.maximum(X, X / 100))
    changing_nin(module, lambda net: net["block3"].update(relu2=leaky))


@mistake("activations", "pool2")
def average_for_max_pooling(module):
    changing_nin(module, lambda net: net.update(pool2=pool_with(np.mean)))


@mistake("activations", "dropout")
def dropout_active_in_evaluation(module):
    forward = module.Dropout.forward
    module.Dropout.forward = lambda self, X, training=False: forward(self, X, True)


@mistake("activations", "dropout")
def dropout_that_scales_in_evaluation(module):
    module.Dropout.forward = lambda self, X, training=False: X * (1 - self.rate)


@mistake("activations", "global_pool", WIDE)
def largest_for_average_in_the_global_pooling(module):
    pool = Instead(lambda X: X.max((2, 3), keepdims=True))
    changing_nin(module, lambda net: net.update(global_pool=pool))


@mistake("activations", "global_pool", WIDE)
def nhwc_numbers_pooled_where_nchw_is_expected(module):
    def pool(X):
        last = X.transpose(0, 2, 3, 1)
        return last.reshape(X.shape).mean((2, 3), keepdims=True)

    changing_nin(module, lambda net: net.update(global_pool=Instead(pool)))


@mistake("activations", "flatten")
def softmax_in_the_network(module):
    def softmax(X):
        powers = np.exp(X.reshape(len(X), -1))
        return powers / powers.sum(1, keepdims=True)

    changing_nin(module, lambda net: net.update(flatten=Instead(softmax)))


@mistake("activations", "logits")
def predictions_that_are_not_the_networks_output(module):
    logits = module.Predictor.logits
    module.Predictor.logits = lambda self, images: logits(self, images) * 1.001


# --------------------------------------------------------------- gradients


def wrong_loss(module, change):
    """``change`` gets the right loss function, the logits and the labels."""
    right = module.cross_entropy
    module.cross_entropy = lambda logits, labels: change(right, logits, labels)


@mistake("gradients", "loss")
def softmax_before_the_loss(module):
    def change(right, logits, labels):
        powers = np.exp(logits)
        return right(powers / powers.sum(1, keepdims=True), labels)

    wrong_loss(module, change)


@mistake("gradients", "loss")
def the_sum_for_the_mean_in_the_loss(module):
    def change(right, logits, labels):
        loss, slope = right(logits, labels)
        return loss * len(labels), slope * len(labels)

    wrong_loss(module, change)


@mistake("gradients", "block4.conv3.bias")
def the_sum_for_the_mean_in_the_gradient_only(module):
    def change(right, logits, labels):
        loss, slope = right(logits, labels)
        return loss, slope * len(labels)

    wrong_loss(module, change)


@mistake("gradients", "loss")
def labels_shifted_by_one(module):
    wrong_loss(module, lambda right, logits, labels: right(logits, (labels + 1) % 10))


@mistake("gradients", "loss")
def the_loss_in_bits(module):
    def change(right, logits, labels):
        loss, slope = right(logits, labels)
        return loss / np.log(2), slope

    wrong_loss(module, change)


@mistake("gradients", "block3.conv3.bias")
def a_pooling_whose_gradient_goes_to_all_pixels(module):
    def backward(self, slope):
        windows = np.broadcast_to(slope[..., None, None] / 9, (*slope.shape, 3, 3))
        return module.add_windows(windows.transpose(0, 2, 3, 1, 4, 5), self.input_shape, 2)

    changing_nin(module, lambda net: setattr(
        net["pool3"], "backward", backward.__get__(net["pool3"])
    ))  # fmt: skip


@mistake("gradients", "block2.conv2.bias")
def a_bias_that_does_not_learn(module):
    gradients = module.Predictor.gradients

    def without(self, images, labels, training=False):
        loss, slopes = gradients(self, images, labels, training)
        return loss, {**slopes, "block2.conv2.bias": 0 * slopes["block2.conv2.bias"]}

    module.Predictor.gradients = without


@mistake("gradients", "block2.conv2.bias")
def the_mask_of_a_relu_forgotten_on_the_way_back(module):
    # its own convolution is the first to see a slope that should have been cut off
    def change(net):
        net["block2"]["relu2"].backward = lambda slope: slope

    changing_nin(module, change)


# ---------------------------------------------------------------- training


def wrong_step(module, step):
    """``step`` gets the trainer, its weights, slopes and the rate; returns the new weights."""

    def train_batch(self, indices, learning_rate, number):
        images, labels = self.images[indices], self.labels[indices]
        loss, slopes = self.gradients(images, labels, training=True)
        self.metrics.append(loss)
        weights = module.get_weights(self.net)
        module.set_weights(self.net, step(self, weights, slopes, learning_rate))

    module.Trainer.train_batch = train_batch


# training with this step or that: the first one in which the loss shows it depends on the images
A_STEP = "step "
STEPS_BUT_THE_FIRST = [f"step {i}" for i in range(2, JOB.steps + 1)]


@mistake("training", A_STEP)
def a_learning_rate_of_its_own(module):
    wrong_step(module, lambda self, weights, slopes, rate: {
        name: w - 1.1 * rate * slopes[name] for name, w in weights.items()
    })  # fmt: skip


def momentum(module, share):
    def step(self, weights, slopes, rate):
        before = getattr(self, "memory", {})
        self.memory = {name: slopes[name] + share * before.get(name, 0) for name in weights}
        return {name: w - rate * self.memory[name] for name, w in weights.items()}

    wrong_step(module, step)


@mistake("training", A_STEP)
def momentum_in_plain_sgd(module):
    momentum(module, 0.9)


@mistake("training", A_STEP)
def gradients_that_add_up_from_step_to_step(module):
    momentum(module, 1)


@mistake("training", A_STEP)
def weights_that_are_never_updated(module):
    wrong_step(module, lambda self, weights, slopes, rate: weights)


@mistake("training", A_STEP)
def weights_that_decay(module):
    wrong_step(module, lambda self, weights, slopes, rate: {
        name: w - rate * (slopes[name] + 5e-4 * w) for name, w in weights.items()
    })  # fmt: skip


@mistake("training", "step 1")
def labels_shifted_in_training_only(module):
    make = module.Trainer.__init__

    def init(self, net, settings, images, labels):
        make(self, net, settings, images, labels)
        self.labels = (self.labels + 1) % 10

    module.Trainer.__init__ = init


@mistake("training", "step 1")
def the_next_batch_for_this_one(module):
    train_batch = module.Trainer.train_batch
    module.Trainer.train_batch = lambda self, indices, *rest: train_batch(
        self, (indices + len(indices)) % len(self.images), *rest
    )


@mistake("training", "step 1")
def dropout_that_ignores_its_rate(module):
    changing_nin(module, lambda net: setattr(net["dropout"], "rate", 0.5))


@mistake("training", A_STEP)
def the_rate_of_the_settings_not_of_the_step(module):
    train_batch, make = module.Trainer.train_batch, module.Trainer.__init__

    def remember(self, net, settings, *data):
        make(self, net, settings, *data)
        self.rate = settings.lr

    module.Trainer.__init__ = remember
    module.Trainer.train_batch = lambda self, indices, rate, step: train_batch(
        self, indices, self.rate, step
    )


@mistake("training", A_STEP)
def the_sum_for_the_mean_in_training_only(module):
    wrong_step(module, lambda self, weights, slopes, rate: {
        name: w - 2 * rate * slopes[name] for name, w in weights.items()
    })  # fmt: skip


# ----------------------------------------------------------------- dropout


@mistake("dropout", "units dropped")
def dropout_that_is_never_on(module):
    forward = module.Dropout.forward
    module.Dropout.forward = lambda self, X, training=False: forward(self, X)


@mistake("dropout", "scale of a kept unit")
def dropout_in_the_first_pooling_too(module):
    class Pooling(module.MaxPool):
        def __init__(self, rate):
            super().__init__()
            self.dropout = module.Dropout(rate)

        def forward(self, X, training=False):
            return self.dropout.forward(super().forward(X, training), training)

        def backward(self, slope):
            return super().backward(self.dropout.backward(slope))

    changing_nin(module, lambda net: net.update(pool1=Pooling(net["dropout"].rate)))


@mistake("dropout", "scale of a kept unit")
def dropout_twice_in_the_same_place(module):
    forward = module.Dropout.forward
    module.Dropout.forward = lambda self, X, training=False: forward(
        self, forward(self, X, training), training
    )


@mistake("dropout", "scale of a kept unit")
def dropout_that_does_not_scale(module):
    forward = module.Dropout.forward
    module.Dropout.forward = lambda self, X, training=False: (
        forward(self, X, training) * (1 - self.rate if training else 1)
    )


@mistake("dropout", "scale of a kept unit")
def dropout_that_drops_less(module):
    changing_nin(module, lambda net: setattr(net["dropout"], "rate", 0.8 * net["dropout"].rate))


@mistake("dropout", "units dropped")
def dropout_of_whole_channels(module):
    def forward(self, X, training=False):
        self.mask = np.ones_like(X)
        if training and self.rate:
            keep = self.rng.random((*X.shape[:2], 1, 1)) >= self.rate
            self.mask = self.mask * keep / (1 - self.rate)
        return X * self.mask

    module.Dropout.forward = forward


@mistake("dropout", "units dropped")
def dropout_with_the_same_mask_in_every_step(module):
    forward = module.Dropout.forward

    def seeded(self, X, training=False):
        self.rng = np.random.default_rng(0)
        return forward(self, X, training)

    module.Dropout.forward = seeded


# ------------------------------------------- small, and in any backend's network
#
# These work on whatever has the contract's names, so that they are put into the NumPy network and
# into each framework's alike.

SMALL_MISTAKES = {}


def small_mistake(level, layer):
    """Register a mistake that is below float32's rounding, or hardly above it."""

    def register(function):
        SMALL_MISTAKES[function.__name__.replace("_", " ")] = (function, level, layer)
        return function

    return register


def wrapping(module, method, change, parts=("Predictor", "Trainer")):
    """``change`` gets the right method, bound, and its arguments."""
    for part in parts:
        base = getattr(module, part)
        right = getattr(base, method)

        def changed(self, *arguments, right=right, **options):
            return change(functools.partial(right, self), *arguments, **options)

        setattr(module, part, type(part, (base,), {method: changed}))


def wrong_weights(module, name, change):
    """In a backend that does not give its weights out again, or they would show it."""
    take = module.set_weights
    module.set_weights = lambda net, weights: take(net, {**weights, name: change(weights[name])})
    del module.get_weights


def part_of(module, name):
    """A module of a backend, or the backend itself if it is one file."""
    file = module.__name__ == "mutant_nin"
    return module if file else importlib.import_module(f"{module.__name__}.{name}")


def scaled_pixels(module, factor):
    wrapping(module, "pixels", lambda pixels, *arguments: pixels(*arguments) * factor)


@small_mistake("activations", "input")
def pixels_divided_by_256(module):
    scaled_pixels(module, 255 / 256)


@small_mistake("activations", "input")
def pixels_divided_by_255_01(module):
    scaled_pixels(module, 255 / 255.01)


@small_mistake("activations", "input")
def a_constant_kept_in_float32_in_a_float64_network(module):
    scaled_pixels(module, float(np.float32(1 / 255)) * 255)


@small_mistake("activations", "input")
def a_resizing_matrix_rounded_to_float16(module):
    where = part_of(module, "predict")
    exact = where.resize_matrix
    module.patch(
        where, "resize_matrix", lambda *sizes: exact(*sizes).astype(np.float16).astype(np.float64)
    )


@small_mistake("activations", "block3.conv2")
def a_bias_dropped_in_one_channel_of_384(module):
    wrong_weights(module, "block3.conv2.bias", lambda bias: bias * (np.arange(len(bias)) != 200))


@small_mistake("activations", "block2.conv1")
def one_weight_off_by_a_millionth(module):
    def change(weight):
        weight = weight.copy()
        largest = np.unravel_index(np.abs(weight).argmax(), weight.shape)
        weight[largest] *= 1 + 1e-6
        return weight

    wrong_weights(module, "block2.conv1.weight", change)


@small_mistake("parameters", "block2.conv1.weight")
def one_weight_off_by_a_millionth_and_given_out_so(module):
    get = module.get_weights

    def get_weights(net):
        weights = get(net)
        weights["block2.conv1.weight"].flat[7] *= 1 + 1e-6
        return weights

    module.get_weights = get_weights


@small_mistake("activations", "input")
def one_image_of_a_batch_repeated(module):
    def repeated(right, images, *labels):
        return right(images[[0, 0, *range(2, len(images))]], *labels)

    for method in ("activations", "logits", "gradients"):
        wrapping(module, method, repeated, ["Predictor"])


@small_mistake("training", "step 1")
def one_image_of_a_batch_repeated_in_training(module):
    def repeated(right, indices, *others):
        return right(indices[[0, 0, *range(2, len(indices))]], *others)

    wrapping(module, "train_batch", repeated, ["Trainer"])


@small_mistake("training", "step 1")
def batches_shuffled(module):
    order = np.random.default_rng(0).permutation(PASS_STEPS * JOB.batch_size)
    wrapping(module, "train_batch", lambda right, i, *others: right(order[i], *others), ["Trainer"])


@small_mistake("gradients", "loss")
def an_epsilon_in_the_logarithm_of_the_loss(module):
    """-log(softmax + 1e-8)."""
    predict = part_of(module, "predict")
    if module.__name__ == "mutant_nin":
        right = module.cross_entropy
        module.cross_entropy = lambda logits, labels: (
            -np.log(np.exp(-right(logits, labels)[0]) + 1e-8), right(logits, labels)[1]
        )  # fmt: skip
    elif module.__name__ == "nin_torch":
        import torch

        def cross_entropy(logits, labels):
            return -(torch.softmax(logits, 1) + 1e-8).log()[range(len(labels)), labels].mean()

        module.patch(predict, "F", types.SimpleNamespace(cross_entropy=cross_entropy))
    elif module.__name__ == "nin_tf":
        import tensorflow as tf

        def cross_entropy(labels, logits):
            return -tf.math.log(tf.gather(tf.nn.softmax(logits), labels, batch_dims=1) + 1e-8)

        module.patch(tf.nn, "sparse_softmax_cross_entropy_with_logits", cross_entropy)
    else:
        from mxnet import np as mnp
        from mxnet import npx

        class Loss:
            def hybridize(self, **options):
                pass

            def __call__(self, logits, labels):
                return -mnp.log(npx.pick(npx.softmax(logits), labels) + 1e-8)

        module.patch(predict, "SoftmaxCrossEntropyLoss", Loss)


@small_mistake("training", "step 3")
def a_momentum_of_one_in_ten_thousand(module):
    if module.__name__ == "mutant_nin":
        return momentum(module, 1e-4)

    def with_momentum(right, net, settings, *data):
        return right(net, dataclasses.replace(settings, momentum=1e-4), *data)

    return wrapping(module, "__init__", with_momentum, ["Trainer"])


@small_mistake("dropout", "scale of a kept unit")
def a_dropout_of_half_the_units_that_scales_as_if_it_were_0_499(module):
    factor = 0.5 / 0.501
    if module.__name__ == "mutant_nin":
        forward = module.Dropout.forward
        module.Dropout.forward = lambda self, X, training=False: (
            forward(self, X, training) * (factor if training and self.rate else 1)
        )
    elif module.__name__ == "nin_torch":

        def change(net):
            layer = next(layer for layer in net if type(layer).__name__ == "Dropout")
            right = layer.forward
            layer.forward = lambda X: right(X) * (factor if layer.training and layer.p else 1)

        changing_nin(module, change)
    elif module.__name__ == "nin_tf":

        def change(net):
            layer = next(layer for layer in net.layers if type(layer).__name__ == "Dropout")
            right = layer.call
            layer.call = lambda X, training=False: (
                right(X, training=training) * (factor if training and layer.rate else 1)
            )

        changing_nin(module, change)
    else:
        # its graph does not know whether it trains, so that here the rate itself is off
        def change(net):
            layer = next(layer for layer in net if type(layer).__name__ == "Dropout")
            layer._rate = min(layer._rate, 0.499)

        changing_nin(module, change)


@small_mistake("training", "step 2")
def a_learning_rate_off_by_a_thousandth(module):
    def wrong_rate(right, indices, rate, step):
        return right(indices, rate * 1.001, step)

    wrapping(module, "train_batch", wrong_rate, ["Trainer"])


# ---------------------------------------------------------------- the tests


def compare(materials, intact, module, levels=comparison_job.LEVELS, job=JOB):
    job_of_levels = dataclasses.replace(job, levels=levels)
    wrong = record("wrong", module, job_of_levels, materials[job])
    return comparison.compare([intact[job], wrong], job_of_levels, below("weights", materials[job]))


def levels_up_to(level):
    """What comes after the level is not needed, what comes before must agree."""
    return comparison_job.LEVELS[: comparison_job.LEVELS.index(level) + 1]


def assert_caught(report, level, layer):
    assert report.exit_status == 1, report.verdict
    found = report.deviation
    assert found.name == level
    assert found.first == layer or (layer == A_STEP and found.first in STEPS_BUT_THE_FIRST)
    assert f"first deviation: {level}, {layer}" in report.verdict


def one_of_dropout(name):
    """Of the mistakes in dropout, which take seconds each, one is in make test."""
    long = MISTAKES[name][1] == "dropout" and name != "dropout that drops less"
    return pytest.param(name, marks=[pytest.mark.long] if long else [])


@pytest.mark.parametrize("name", [one_of_dropout(name) for name in MISTAKES])
def test_a_mistake_is_caught_at_its_level_and_layer(materials, intact, mutant, name):
    change, level, layer, job = MISTAKES[name]
    change(mutant)
    assert_caught(compare(materials, intact, mutant, levels_up_to(level), job), level, layer)


@pytest.mark.long
@pytest.mark.parametrize("name", SMALL_MISTAKES)
def test_a_small_mistake_is_caught_at_its_level_and_layer(
    materials, intact, mutant, monkeypatch, name
):
    change, level, layer = SMALL_MISTAKES[name]
    mutant.patch = monkeypatch.setattr
    change(mutant)
    assert_caught(compare(materials, intact, mutant, levels_up_to(level)), level, layer)


# ------------------------------------------------ in a backend without float64

ROUNDED = dataclasses.replace(JOB, dtype="float32", steps=16)


@pytest.fixture(scope="module")
def intact_in_both(materials):
    job = dataclasses.replace(ROUNDED, dtype="both")
    return comparison_worker.record("right", numpy_nin, job, materials[JOB])


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        "pixels scaled by 256",
        "the relu before the bias",
        "a leaky relu",
        "predictions that are not the networks output",
        "labels shifted by one",
        "a bias that does not learn",
        "the mask of a relu forgotten on the way back",
        "a learning rate of its own",
        "momentum in plain sgd",
        "weights that are never updated",
        "weights that decay",
        "the next batch for this one",
        "dropout of whole channels",
    ],
)
def test_without_float64_the_classic_mistakes_are_still_caught(
    materials, intact_in_both, mutant, name
):
    change, level, layer, _ = MISTAKES[name]
    change(mutant)
    job = dataclasses.replace(ROUNDED, levels=levels_up_to(level))
    wrong = record("wrong", mutant, job, materials[JOB])
    report = comparison.compare(
        [*intact_in_both, wrong],
        dataclasses.replace(job, dtype="both"),
        below("weights", materials[JOB]),
    )
    assert report.exit_status == 1, report.verdict
    assert report.deviation.name == level
    # in the losses, or only in what a step changes
    places = (*STEPS_BUT_THE_FIRST, *below("weights", materials[JOB]))
    assert report.deviation.first in (places if layer == A_STEP else (layer,))


def test_rounding_hides_of_no_parameter_what_it_learns(materials, intact_in_both):
    weights = below("weights", materials[JOB])
    for recording in intact_in_both:
        limit = tolerances.gradient_limit(recording.dtype, weights, JOB)
        for name, moved in comparison.changes(recording.group("training"), weights).items():
            assert tolerances.update_rounding(recording.dtype, weights[name], moved) < 0.1 * limit


UP_TO_ACTIVATIONS = levels_up_to("activations")


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_missing_relu_is_caught_wherever_it_is(materials, intact, mutant, name):
    block, convolution = name.split(".")
    relu = convolution.replace("conv", "relu")
    changing_nin(mutant, lambda net: net[block].update({relu: Instead(lambda X: X)}))
    report = compare(materials, intact, mutant, UP_TO_ACTIVATIONS)
    assert_caught(report, "activations", name)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_bias_that_is_dropped_is_caught_wherever_it_is(materials, intact, mutant, name):
    block, convolution = name.split(".")

    def change(net):
        net[block][convolution].bias = np.zeros_like(net[block][convolution].bias)

    loading(mutant, change)
    report = compare(materials, intact, mutant, UP_TO_ACTIVATIONS)
    assert_caught(report, "activations", name)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_one_bias_of_one_channel_is_enough(materials, intact, mutant, name):
    block, convolution = name.split(".")
    # not of one that the ReLU cuts off for all images of the batch
    alive = intact[JOB].group("activations")[name].any(axis=(0, 2, 3))

    def change(net):
        bias = net[block][convolution].bias.copy()
        bias[np.flatnonzero(alive)[-1]] *= 1.01
        net[block][convolution].bias = bias

    loading(mutant, change)
    report = compare(materials, intact, mutant, UP_TO_ACTIVATIONS)
    assert_caught(report, "activations", name)


# --------------------------------------------------- what no numbers can show


def an_extra_relu(module):
    def change(net):
        for name, layer in list(net.items()):
            if isinstance(layer, dict):
                layer["relu4"] = Instead(lambda X: np.maximum(X, 0))
            elif name != "flatten":
                forward = layer.forward
                layer.forward = lambda X, training=False, f=forward: np.maximum(f(X, training), 0)

    changing_nin(module, change)


def flattened_as_nhwc_where_nchw_is_meant(module):
    flatten = Instead(lambda X: X.transpose(0, 2, 3, 1).reshape(len(X), -1))
    changing_nin(module, lambda net: net.update(flatten=flatten))


@pytest.mark.parametrize("change", [an_extra_relu, flattened_as_nhwc_where_nchw_is_meant])
def test_an_invisible_mistake_is_listed_with_its_reason_and_is_invisible(
    materials, intact, mutant, change
):
    change(mutant)
    report = compare(materials, intact, mutant, UP_TO_ACTIVATIONS)
    assert report.exit_status == 0
    words = change.__name__.replace("_", " ").lower()
    assert words in [known.lower() for known in comparison.INVISIBLE]


def test_pooling_that_rounds_up_changes_no_number_at_67_pixels_but_a_shape(
    materials, intact, mutant
):
    ceil = {f"pool{i}": pool_with(np.max, ceil=True) for i in (1, 2, 3)}
    changing_nin(mutant, lambda net: net.update(ceil))
    report = compare(materials, intact, mutant, ("shapes", "activations"))
    assert [level.status for level in report.levels] == ["deviate", "agree"]
    assert report.deviation.first == "pool1"


# ---------------------------------------------- in the frameworks' own networks

POOLING = {
    "torch": ("nn", "MaxPool2d", "AvgPool2d"),
    "tf": ("tf.keras.layers", "MaxPool2D", "AveragePooling2D"),
    "mxnet": ("nn", "MaxPool2D", "AvgPool2D"),
}


@pytest.fixture(scope="module")
def intact_network(backend, materials):
    return {JOB: record("right", backend, JOB, materials[JOB])}


@pytest.mark.parametrize("name", SMALL_MISTAKES)
@pytest.mark.long
def test_a_small_mistake_in_a_frameworks_network_is_caught_at_its_level_and_layer(
    backend, intact_network, materials, monkeypatch, name
):
    change, level, layer = SMALL_MISTAKES[name]
    mutant = types.SimpleNamespace(**vars(backend), patch=monkeypatch.setattr)
    change(mutant)
    assert_caught(compare(materials, intact_network, mutant, levels_up_to(level)), level, layer)


@pytest.mark.shared
def test_average_pooling_in_a_framework_is_caught(
    backend, backend_name, intact_network, materials, monkeypatch
):
    where, largest, average = POOLING[backend_name]
    layers = operator.attrgetter(where)(importlib.import_module(f"{backend.__name__}.model"))
    monkeypatch.setattr(layers, largest, getattr(layers, average))
    report = compare(materials, intact_network, backend, UP_TO_ACTIVATIONS)
    assert_caught(report, "activations", "pool1")


@pytest.mark.parametrize(
    ("window", "changes", "level", "layer"),
    [
        (5, {"padding": {2: 0, "same": "valid"}}, "shapes", "block2"),
        pytest.param(11, {"strides": {4: 3}}, "shapes", "block1", marks=pytest.mark.long),
        pytest.param(
            5,
            {"kernel_size": {5: 3}, "padding": {2: 1}},
            "parameters",
            "block2.conv1.weight",
            marks=pytest.mark.long,
        ),
    ],
    ids=["valid for same", "a wrong stride", "a smaller window"],
)
def test_a_wrong_block_in_a_framework_is_caught(
    backend, intact_network, materials, monkeypatch, window, changes, level, layer
):
    model = importlib.import_module(f"{backend.__name__}.model")
    right = model.nin_block

    def wrong(*arguments, **options):
        if options["kernel_size"] == window:
            for name, instead in changes.items():
                options[name] = instead.get(options[name], options[name])
        return right(*arguments, **options)

    monkeypatch.setattr(model, "nin_block", wrong)
    assert_caught(compare(materials, intact_network, backend, UP_TO_ACTIVATIONS), level, layer)
