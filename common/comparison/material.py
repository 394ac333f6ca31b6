"""The weights that a comparison starts from: well away from every kink, and alive everywhere.

A network of ReLUs and max pooling is smooth only between its kinks. Where a ReLU's input is within
rounding of 0, or two pixels of a pooling window are within rounding of each other, one backend
takes the one branch and another the other. Their gradients then differ by a thousandth or more, and
a training multiplies that step by step until nothing can be said of the losses (seen: 5 % after 50
steps of PyTorch alone, float32 beside float64). So weights and biases are random, but chosen, with
the images of the comparison at hand, so that no rounding decides a branch; and every layer's
outputs, before their ReLU, have standard deviation 1, so that a small learning rate moves all
weights by a share that float32 resolves and none far enough to cross many kinks.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from common.data.resize import resize_matrix
from common.network import architecture
from common.network.architecture import Block

# Largest share of a channel's outputs that its ReLU may cut off: no channel is dead, and the
# classes are alive for most images.
CUT_OFF, CUT_OFF_LOGITS = 0.9, 0.3
# Pixels of a pooling window are apart by this much, of a standard deviation of 1, or else equal.
APART, EQUAL = 5e-6, 1e-12
# Standard deviation of the biases, before they are chosen.
BIASES = {"block1": 0.1, "block2": 0.1, "block3": 0.1, "block4": 0.5}
# images at a time, to bound memory
CHUNK = 8


def draw_weights(
    seed: int, images: np.ndarray, resize: int, batch_size: int
) -> dict[str, np.ndarray]:
    """Weights under which a comparison sees everything; the same for all backends.

    Weights are normal, as He's, less each filter's mean: what a ReLU gives has a positive mean,
    which hundreds of weights of another mean than 0 turn into an offset larger than the signal,
    and the signal then carries the offset's rounding. (Ten weights, those of the last block's 1x1
    convolutions, lose more signal by it than offset.) Biases are random but for their choice.

    Args:
        seed: with the images it decides the weights.
        images: uint8, (count, height, width): all that the comparison computes with.
        resize: height and width of what the network sees, in pixels.
        batch_size: how many of the images, the first, gradients are compared on.

    Returns:
        canonical name -> array of float32 numbers, which are exact in float64 too.
    """
    rng = np.random.default_rng(seed)
    matrix = resize_matrix(images.shape[1], resize)
    X = (matrix @ (images / 255) @ matrix.T)[:, None]
    weights: dict[str, np.ndarray] = {}
    for layer in architecture.spatial_layers():
        if not isinstance(layer, Block):
            X = _windows(X, layer.kernel_size, layer.stride).max((4, 5))
            continue
        steps = ((layer.kernel_size, layer.stride, layer.padding), (1, 1, 0), (1, 1, 0))
        for i, (kernel, stride, padding) in enumerate(steps, start=1):
            name = f"{layer.name}.conv{i}"
            weight = rng.normal(size=(layer.out_channels, X.shape[1], kernel, kernel))
            if X.shape[1] == 1:
                weight -= weight.mean(axis=(2, 3), keepdims=True)
            elif X.shape[1] != architecture.NUM_CLASSES:
                # at each place, so that the zeros of the padding do not tip the balance
                weight -= weight.mean(axis=1, keepdims=True)
            weight = _float32(weight / np.std(_convolve(X, weight, stride, padding)))
            Y = _convolve(X, weight, stride, padding)
            if i == 3 and layer.name != "block4":
                for channel in _undecided(Y[:batch_size]):
                    while _undecided(Y[:batch_size, [channel]]).size:
                        # the same numbers in another order: as large, and of the same mean
                        weight[channel] = rng.permuted(weight[channel], axis=0)
                        Y[:, [channel]] = _convolve(X, weight[[channel]], stride, padding)
            wanted = rng.normal(0, BIASES[layer.name], layer.out_channels)
            shares = np.mean(Y + wanted[:, None, None] < 0, axis=(0, 2, 3))
            shares = np.minimum(shares, CUT_OFF_LOGITS if name == "block4.conv3" else CUT_OFF)
            bias = _float32(np.array([_bias(Y[:, c], share) for c, share in enumerate(shares)]))
            X = np.maximum(Y + bias[:, None, None], 0)
            weights[f"{name}.weight"] = weight.astype(np.float32)
            weights[f"{name}.bias"] = bias.astype(np.float32)
    return weights


def _bias(values: np.ndarray, share: float) -> float:
    """Minus the middle of the widest gap between values, near the one that cuts off a share."""
    ordered = np.sort(values, axis=None)
    count = len(ordered)
    low = min(max(0, math.floor((share - 0.05) * count)), count - 2)
    high = max(low + 2, math.ceil((share + 0.05) * count))
    near = ordered[low:high]
    gap = int(np.diff(near).argmax())
    return -float(near[gap] + near[gap + 1]) / 2


def _undecided(Y: np.ndarray) -> np.ndarray:
    """The channels in which rounding may decide which pixel of a pooling window is the largest."""
    windows = _windows(Y, kernel=3, stride=2)
    if not windows.size:
        return np.zeros(0, np.int64)
    two = np.partition(windows.reshape(*windows.shape[:4], 9), -2)[..., -2:]
    apart = two[..., 1] - two[..., 0]
    # equal ones lie in flat parts of an image: the same windows below, the same gradient
    return np.flatnonzero(((apart > EQUAL) & (apart < APART)).any(axis=(0, 2, 3)))


def _convolve(X: np.ndarray, weight: np.ndarray, stride: int, padding: int) -> np.ndarray:
    X = np.pad(X, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    rows = weight.reshape(len(weight), -1).T

    def outputs() -> Iterator[np.ndarray]:
        for first in range(0, len(X), CHUNK):
            windows = _windows(X[first : first + CHUNK], weight.shape[2], stride)
            windows = windows.transpose(0, 2, 3, 1, 4, 5)
            yield (windows.reshape(*windows.shape[:3], -1) @ rows).transpose(0, 3, 1, 2)

    return np.concatenate(list(outputs()))


def _windows(X: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """(batch, channels, height, width, kernel, kernel)."""
    windows = sliding_window_view(X, (kernel, kernel), (2, 3))  # type: ignore[call-overload]
    return windows[:, :, ::stride, ::stride]


def _float32(array: np.ndarray) -> np.ndarray:
    """Rounded to float32, and in float64 to compute with."""
    return array.astype(np.float32).astype(np.float64)
