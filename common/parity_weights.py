"""The weights that a comparison starts from: well away from every kink, and alive everywhere.

A ReLU network is smooth only between its kinks. Where a ReLU's input is within rounding of 0, one
backend has it on and another off, their gradients differ by a thousandth or more, and a training
of a few steps multiplies that until nothing can be said of the losses (seen: 5 % after 50 steps,
within PyTorch alone, between float32 and float64). So the weights are random, but each bias is
put, with the images of the comparison at hand, into the widest gap between the ReLU's inputs near
a random share of them: then no rounding decides whether a ReLU is on.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from common import architecture
from common.architecture import Block
from common.resize import resize_matrix

# Standard deviation of the logits before their ReLU: large, so that training lowers the loss
# clearly while the weights hardly move, and so crosses few kinks.
LOGIT_SPREAD = 5.0
# Shares of a channel's outputs that its ReLU cuts off: of the classes', fewer.
CUT_OFF, CUT_OFF_LOGITS = (0.35, 0.65), (0.1, 0.3)
# images at a time, to bound memory
CHUNK = 8


def draw_weights(seed: int, images: np.ndarray, resize: int) -> dict[str, np.ndarray]:
    """Weights under which a comparison sees everything; the same for all backends.

    Weights are He's normal ones less each filter's mean. (What a ReLU gives has a positive mean,
    which a filter of another mean than 0 turns into an offset as large as the signal.)

    Args:
        seed: with the images it decides the weights.
        images: uint8, (count, height, width): all that the comparison computes with.
        resize: height and width of what the network sees, in pixels.

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
            last = name == "block4.conv3"
            shape = (layer.out_channels, X.shape[1], kernel, kernel)
            weight = rng.normal(0, math.sqrt(2 / math.prod(shape[1:])), shape)
            weight -= weight.mean(axis=(1, 2, 3), keepdims=True)
            if last:
                weight *= LOGIT_SPREAD / np.std(_convolve(X, weight, stride, padding))
            weight = weight.astype(np.float32).astype(np.float64)
            X = _convolve(X, weight, stride, padding)
            shares = rng.uniform(*(CUT_OFF_LOGITS if last else CUT_OFF), layer.out_channels)
            bias = np.array(
                [_bias_in_gap(X[:, c], share) for c, share in enumerate(shares)], np.float32
            )
            X = np.maximum(X + bias[:, None, None], 0)
            weights[f"{name}.weight"] = weight.astype(np.float32)
            weights[f"{name}.bias"] = bias
    return weights


def _bias_in_gap(values: np.ndarray, share: float) -> float:
    """Minus the middle of the widest gap between values, near the one that cuts off a share."""
    ordered = np.sort(values, axis=None)
    count = len(ordered)
    low = max(0, math.floor((share - 0.1) * (count - 1)))
    high = max(low + 2, math.ceil((share + 0.1) * (count - 1)) + 1)
    near = ordered[low:high]
    gap = int(np.diff(near).argmax())
    return -float(near[gap] + near[gap + 1]) / 2


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
    return sliding_window_view(X, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]
