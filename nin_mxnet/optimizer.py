"""The optimizers in MXNet: PyTorch's update rules, and the names of what they remember."""

import functools
import math
from collections.abc import Mapping

import mxnet as mx
import numpy as np
from mxnet import np as mnp
from mxnet import npx
from mxnet.gluon import Parameter

from common.settings import Settings
from common.training import muon

# canonical name of what an optimizer remembers of a parameter -> MXNet's
OPTIMIZER_STATE = {
    "sgd": {"momentum": "mom"},
    "adamw": {"mean": "mean", "variance": "var"},
    "muon": {"momentum": "mom", "mean": "mean", "variance": "var"},
}


class _SGD:
    """PyTorch's SGD: ``mom = momentum * mom + gradient``, ``weight -= learning_rate * mom``.

    differs: MXNet's own multiplies the gradient by the learning rate before adding it to the
    momentum, which is another rule as soon as a schedule changes the learning rate.
    """

    def __init__(self, named: Mapping[str, Parameter], settings: Settings) -> None:
        self.named = named
        self.momentum = settings.momentum
        self.weight_decay = settings.weight_decay
        self.slots = {
            name: {"mom": mnp.zeros_like(value.data())} if self.momentum else {}
            for name, value in named.items()
        }
        self.steps: int | None = None

    def step(self, learning_rate: float) -> None:
        for name, value in self.named.items():
            weight, change = value.data(), value.grad()
            if self.weight_decay:
                change = change + self.weight_decay * weight
            if self.momentum:
                momentum = self.slots[name]["mom"]
                momentum *= self.momentum
                momentum += change
                change = momentum
            weight -= learning_rate * change


class _AdamW:
    """PyTorch's AdamW (Loshchilov and Hutter 2019, algorithm 2).

    differs: MXNet 1.9.1 has no AdamW optimizer, and its AdamW operators are slow or, in float64,
    wrong. Its Adam operator corrects no bias, so the corrections go into the learning rate and
    epsilon: ``lr * (mean / c1) / (sqrt(var) / c2 + eps)`` is
    ``(lr * c2 / c1) * mean / (sqrt(var) + eps * c2)``.
    """

    # the operator holds them in float32; the corrections have to use the same numbers
    beta1, beta2 = float(np.float32(0.9)), float(np.float32(0.999))
    epsilon = 1e-8

    def __init__(self, named: Mapping[str, Parameter], settings: Settings) -> None:
        self.named = named
        self.weight_decay = settings.weight_decay
        self.slots = {
            name: {"mean": mnp.zeros_like(value.data()), "var": mnp.zeros_like(value.data())}
            for name, value in named.items()
        }
        self.steps = 0

    def step(self, learning_rate: float) -> None:
        self.steps += 1
        c1 = 1 - self.beta1**self.steps
        c2 = math.sqrt(1 - self.beta2**self.steps)
        for name, value in self.named.items():
            weight, slots = value.data(), self.slots[name]
            if self.weight_decay:
                weight *= 1 - learning_rate * self.weight_decay
            # the operator is of MXNet's older interface, which has its own view of an array
            old = weight.as_nd_ndarray()
            mx.nd.adam_update(
                old,
                value.grad().as_nd_ndarray(),
                slots["mean"].as_nd_ndarray(),
                slots["var"].as_nd_ndarray(),
                lr=learning_rate * c2 / c1,
                beta1=self.beta1,
                beta2=self.beta2,
                epsilon=self.epsilon * c2,
                out=old,
            )


class _Muon:
    """Muon (Jordan et al. 2024) for the weights, Adam for the biases; see :mod:`muon`.

    differs: Adam is written out; MXNet's operator keeps its learning rate in float32.
    """

    def __init__(self, named: Mapping[str, Parameter], settings: Settings) -> None:
        self.scales = muon.weights(named)
        self.weights = {name: named[name] for name in self.scales}
        self.biases = {name: value for name, value in named.items() if name not in self.scales}
        self.decay = settings.weight_decay
        self.slots = {
            name: {"mom": mnp.zeros_like(value.data())}
            if name in self.weights
            else {"mean": mnp.zeros_like(value.data()), "var": mnp.zeros_like(value.data())}
            for name, value in named.items()
        }
        self.steps = 0

    def step(self, learning_rate: float) -> None:
        self.steps += 1
        beta1, beta2 = muon.BETAS
        c1, c2 = 1 - beta1**self.steps, math.sqrt(1 - beta2**self.steps)
        for name, value in self.biases.items():
            bias, slope, slots = value.data(), value.grad(), self.slots[name]
            mean, variance = slots["mean"], slots["var"]
            mean *= beta1
            mean += (1 - beta1) * slope
            variance *= beta2
            variance += (1 - beta2) * slope * slope
            rate = muon.BIAS_RATE * learning_rate / c1
            bias -= rate * mean / (mnp.sqrt(variance) / c2 + muon.EPSILON)
        for name, value in self.weights.items():
            weight, slope, momentum = value.data(), value.grad(), self.slots[name]["mom"]
            momentum *= muon.MOMENTUM
            momentum += slope
            change = _orthogonal(slope + muon.MOMENTUM * momentum)
            if self.decay:
                weight *= 1 - learning_rate * self.decay
            weight -= learning_rate * self.scales[name] * change


def _orthogonal(change: mnp.ndarray) -> mnp.ndarray:
    """A weight's change with all singular values near 1; see :mod:`common.training.muon`."""
    X = change.reshape(len(change), -1)
    X = X / mnp.maximum(mnp.sqrt((X * X).sum()), muon.SMALLEST)
    wide = X.T if len(X) > X.shape[1] else X
    a, b, c = muon.COEFFICIENTS
    gram = _times(wide, wide)
    factors: list[mnp.ndarray] = []
    one = mnp.eye(len(gram), dtype=gram.dtype, ctx=gram.ctx)
    for step in range(muon.STEPS):
        if step:
            gram = _times(_times(factors[-1], gram), factors[-1])
        factors.append(a * one + b * gram + c * _times(gram, gram))
    wide = mnp.dot(functools.reduce(_times, factors), wide)
    X = wide.T if len(X) > X.shape[1] else wide
    return X.reshape(change.shape)


def _times(A: mnp.ndarray, B: mnp.ndarray) -> mnp.ndarray:
    """The product of a matrix and the transpose of another.

    differs: this operator is twice as fast as MXNet's product of matrices; nearly all that is
    multiplied here is symmetric.
    """
    return npx.fully_connected(A, B, no_bias=True, num_hidden=len(B), flatten=False)


def make_optimizer(named: Mapping[str, Parameter], settings: Settings) -> _SGD | _AdamW | _Muon:
    """The optimizer of the settings.

    Args:
        named: the parameters by canonical name.
        settings: optimizer, momentum and weight_decay are used.

    Raises:
        ValueError: for an unknown optimizer.
    """
    if settings.optimizer == "sgd":
        return _SGD(named, settings)
    if settings.optimizer == "adamw":
        return _AdamW(named, settings)
    if settings.optimizer == "muon":
        return _Muon(named, settings)
    raise ValueError(f"unknown optimizer {settings.optimizer!r}")
