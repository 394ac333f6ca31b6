"""NiN in plain NumPy: the least that makes a backend. It only predicts.

scripts/compare.py --backends torch,examples/nin_numpy.py
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from common.data.interpolation import resize_matrix


def nin(num_classes=10, in_channels=1, dropout=0.5):
    return {}  # a network is whatever set_weights and Predictor make of it


def set_weights(net, weights):
    net.update(weights)  # "block1.conv1.weight" (out, in, height, width), "block1.conv1.bias" ...


def block(net, name, X, stride, padding):
    for i, (s, p) in enumerate([(stride, padding), (1, 0), (1, 0)], start=1):
        W, b = net[f"{name}.conv{i}.weight"], net[f"{name}.conv{i}.bias"]
        X = np.pad(X, ((0, 0), (0, 0), (p, p), (p, p)))
        windows = sliding_window_view(X, W.shape[2:], (2, 3))[:, :, ::s, ::s]
        X = np.maximum(
            np.einsum("nchwij,ocij->nohw", windows, W, optimize=True) + b[:, None, None], 0
        )
    return X


def pool(X):
    return sliding_window_view(X, (3, 3), (2, 3))[:, :, ::2, ::2].max((4, 5))


class Predictor:
    def __init__(self, net, settings):
        self.net, self.dtype = net, settings.precision
        self.resize = resize_matrix(28, settings.resize).astype(self.dtype)

    def logits(self, images):  # uint8, (batch, 28, 28)
        X = (self.resize @ (images.astype(self.dtype) / 255) @ self.resize.T)[:, None]
        X = pool(block(self.net, "block1", X, 4, 0))
        X = pool(block(self.net, "block2", X, 1, 2))
        X = pool(block(self.net, "block3", X, 1, 1))
        return block(self.net, "block4", X, 1, 1).mean((2, 3))
