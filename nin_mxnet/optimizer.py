"""The optimizers in MXNet: PyTorch's update rules, and the names of what they remember."""

import math
from collections.abc import Mapping

import mxnet as mx
import numpy as np
from mxnet import np as mnp
from mxnet.gluon import Parameter

from common.settings import Settings

# canonical name of what an optimizer remembers of a parameter -> MXNet's
OPTIMIZER_STATE = {
    "sgd": {"momentum": "mom"},
    "adamw": {"mean": "mean", "variance": "var"},
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


def make_optimizer(named: Mapping[str, Parameter], settings: Settings) -> _SGD | _AdamW:
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
    raise ValueError(f"unknown optimizer {settings.optimizer!r}")
