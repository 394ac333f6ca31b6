"""What a comparison computes with: real images, and weights away from every kink, all alive.

A network of ReLUs and max pooling is smooth only between its kinks. Where a ReLU's input is within
rounding of 0, or two pixels of a pooling window are within rounding of each other, one backend
takes the one branch and another the other. Their gradients then differ by a thousandth or more, and
a training multiplies that step by step until the losses mean nothing (seen: 5 % after 50
steps of PyTorch alone, float32 beside float64). So weights and biases are random, but chosen, with
the images of the comparison at hand, so that no rounding decides a branch; and every layer's
outputs, before their ReLU, have standard deviation 1, so that a small learning rate moves all
weights by a share that float32 resolves and none far enough to cross many kinks.
"""

import math

import numpy as np

from common.comparison.job import PASS_STEPS, Job
from common.comparison.mistakes import convolve, leads, windows
from common.data.dataset import Dataset
from common.data.interpolation import resize_matrix
from common.data.order import example_order
from common.errors import NinError, plural
from common.network import architecture
from common.system import machine

# Largest share of a channel's outputs that its ReLU may cut off: no channel is dead, and the
# classes are alive for most images.
CUT_OFF, CUT_OFF_LOGITS = 0.9, 0.3
# Pixels of a pooling window are apart by this much, of a standard deviation of 1, or else equal.
APART, EQUAL = 5e-6, 1e-12
# Of the mean of the first filter.
LEFT = 0.1
# Standard deviation of the biases, before they are chosen.
BIAS, LAST_BIAS = 0.1, 0.5
# So often a channel is made anew: deep in a network the flat parts of images are nearly equal, but
# not quite, whatever the weights. With more such pixels, float32 decides, and that is noticed.
TRIES = 10
# Of the first image and the last, as a share of what it was.
BRIGHTEST, DARKEST = 0.98, 0.8
# images at a time, to bound memory
CHUNK = 8
# Arrays as large as the largest layer of all images, which are held at once (4.8 to 5.3: the growth
# of a process, over the size of one, with the chapter's network and vgg-12).
HELD = 5


def make_material(job: Job, dataset: Dataset) -> dict[str, np.ndarray]:
    """What every backend gets.

    Returns:
        ``images`` (uint8) and ``labels`` of the batches that training goes over (outputs and
        gradients are compared on the first); ``weights/`` and each canonical name.

    Raises:
        NinError: if there are not enough images, or too many for this machine's memory.
    """
    count, available = PASS_STEPS * job.batch_size, len(dataset.train_images)
    if count > available:
        raise NinError(
            f"`batch_size={job.batch_size}`: {PASS_STEPS} batches are needed and there are only "
            + plural(f"{available} image(s)")
        )
    largest = max(math.prod(shape) for shape in job.shapes.values())
    needed, memory = HELD * count * largest * 8 / 2**30, machine.memory_gib()
    if needed > memory / 2:
        raise NinError(
            f"`batch_size={job.batch_size}`: the comparison computes with {PASS_STEPS} batches in "
            f"float64, which needs about {needed:.0f} GiB of memory at `resize={job.resize}`, and "
            f"half of this machine's {memory:.0f} are left for that; take a smaller one"
        )
    order = example_order(job.seed, 0, available)[:count]
    # each as bright as no other: dividing by the brightest pixel of an image or a batch must show
    brightness = np.linspace(BRIGHTEST, DARKEST, count)[:, None, None]
    images = np.round(dataset.train_images[order] * brightness).astype(np.uint8)
    weights = {f"weights/{name}": array for name, array in make_weights(job, images).items()}
    return {"images": images, "labels": dataset.train_labels[order], **weights}


def make_weights(job: Job, images: np.ndarray) -> dict[str, np.ndarray]:
    """Weights under which a comparison sees everything; the same for all backends.

    Weights are normal, as He's, less each filter's mean: what a ReLU gives has a positive mean,
    which hundreds of weights of another mean than 0 turn into an offset larger than the signal,
    and the signal then carries the offset's rounding. (Ten weights, those of the last block's 1x1
    convolutions, lose more signal by it than offset.) The first filter keeps a part of its mean, or
    an offset of all pixels would not show. Biases are random but for their choice. The job's seed
    decides, with the images (uint8, (count, height, width)), all that the comparison computes with;
    of these the first batch counts for gradients.

    Returns:
        canonical name -> array of float32 numbers, which are exact in float64 too.
    """
    rng = np.random.default_rng(job.seed)
    matrix = resize_matrix(images.shape[1], job.resize)
    X = (matrix @ (images / 255) @ matrix.T)[:, None]
    weights: dict[str, np.ndarray] = {}
    layers = architecture.layers(network=job.description)
    ends = layers[-1].name if job.description.head == "average" else ""
    layers += architecture.dense_layers(job.resize, network=job.description)
    for layer, after in zip(layers, [*layers[1:], None], strict=True):
        kernel, stride, padding = layer.kernel_size, layer.stride, layer.padding
        if layer.is_pool:
            X = windows(X, kernel, stride).max((4, 5))
            continue
        if layer.name.startswith("dense"):  # a convolution of a map of one pixel
            X = X.reshape(len(X), -1, 1, 1)
        last_block = layer.name.partition(".")[0] == ends.partition(".")[0]
        weight = rng.normal(size=(layer.out_channels, layer.in_channels, kernel, kernel))
        if layer.in_channels == 1:
            mean = weight.mean(axis=(2, 3), keepdims=True)
            mean[0] *= 1 - LEFT
            weight -= mean
        elif layer.in_channels != architecture.NUM_CLASSES:
            # at each place, so that the zeros of the padding do not tip the balance
            weight -= weight.mean(axis=1, keepdims=True)
        weight = _float32(weight / np.std(_convolve(X, weight, stride, padding)))
        Y = _convolve(X, weight, stride, padding)
        if after is not None and after.is_pool:
            for channel in _undecided(Y[: job.batch_size], after):
                for _ in range(TRIES):
                    if not _undecided(Y[: job.batch_size, [channel]], after).size:
                        break
                    # the same numbers in another order: as large, and of the same mean
                    axis = 0 if layer.in_channels > 1 else None
                    weight[channel] = rng.permuted(weight[channel], axis=axis)
                    Y[:, [channel]] = _convolve(X, weight[[channel]], stride, padding)
        wanted = rng.normal(0, LAST_BIAS if last_block else BIAS, layer.out_channels)
        shares = np.mean(Y + wanted[:, None, None] < 0, axis=(0, 2, 3))
        shares = np.minimum(shares, CUT_OFF_LOGITS if layer.name == ends else CUT_OFF)
        bias = _float32(np.array([_bias(Y[:, c], share) for c, share in enumerate(shares)]))
        Y += bias[:, None, None]
        X = np.maximum(Y, 0) if layer.relu else Y
        weights[f"{layer.name}.weight"] = weight.astype(np.float32)
        weights[f"{layer.name}.bias"] = bias.astype(np.float32)
    shapes = architecture.parameter_shapes(network=job.description, size=job.resize)
    return {name: array.reshape(shapes[name]) for name, array in weights.items()}


def _bias(values: np.ndarray, share: float) -> float:
    """Minus the middle of the widest gap between values, near the one that cuts off a share."""
    ordered = np.sort(values, axis=None)
    count = len(ordered)
    low = min(max(0, math.floor((share - 0.05) * count)), count - 2)
    high = max(low + 2, math.ceil((share + 0.05) * count))
    near = ordered[low:high]
    gap = int(np.diff(near).argmax())
    return -float(near[gap] + near[gap + 1]) / 2


def _undecided(Y: np.ndarray, pool: architecture.Layer) -> np.ndarray:
    """The channels in which rounding may decide which pixel of a pooling window is the largest."""
    apart = leads(Y, pool.kernel_size, pool.stride)
    # equal ones lie in flat parts of an image: the same windows below, the same gradient
    return np.flatnonzero(((apart > EQUAL) & (apart < APART)).any(axis=(0, 2, 3)))


def _convolve(X: np.ndarray, weight: np.ndarray, stride: int, padding: int) -> np.ndarray:
    chunks = (X[first : first + CHUNK] for first in range(0, len(X), CHUNK))
    return np.concatenate([convolve(chunk, weight, stride, padding, padding) for chunk in chunks])


def _float32(array: np.ndarray) -> np.ndarray:
    """Rounded to float32, and in float64 to compute with."""
    return array.astype(np.float32).astype(np.float64)
