"""The network in plain NumPy and float64, to hold the backends against; and weights for it."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from common.data.interpolation import resize_matrix
from common.model import Model
from common.network import architecture


def model(seed=2, num_classes=10, resize=67, **fields):
    """A model with He weights and small biases, drawn by NumPy: the same on every machine.

    Not every seed gives one that is good to compare with: where the last ReLUs are nearly all
    shut, the logits are small remainders of large sums and mostly rounding.
    """
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in architecture.parameter_shapes(num_classes).items():
        deviation = 0.05 if len(shape) == 1 else np.sqrt(2 / np.prod(shape[1:]))
        weights[name] = rng.normal(0, deviation, shape).astype(np.float32)
    return Model(weights, num_classes=num_classes, resize=resize, **fields)


def logits(model, images):
    """What the network makes of uint8 images, (count, height, width), resized by its own size."""
    matrix = resize_matrix(images.shape[1], model.resize)
    X = (matrix @ (images / 255) @ matrix.T)[:, None]
    for layer in architecture.layers(model.num_classes):
        if layer.is_pool:
            X = windows(X, layer.kernel_size, layer.stride).max((4, 5))
        else:
            X = convolution(X, model, layer.name, layer.stride, layer.padding)
    return X.mean((2, 3))


def convolution(X, model, name, stride, padding):
    """A convolution and its ReLU."""
    weight = model.weights[f"{name}.weight"].astype(np.float64)
    X = np.pad(X, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    X = np.tensordot(windows(X, weight.shape[2], stride), weight, ((1, 4, 5), (1, 2, 3)))
    return np.maximum(X + model.weights[f"{name}.bias"], 0).transpose(0, 3, 1, 2)


def windows(X, size, stride):
    """(batch, channels, height, width) -> (batch, channels, height', width', size, size)."""
    return sliding_window_view(X, (size, size), (2, 3))[:, :, ::stride, ::stride]
