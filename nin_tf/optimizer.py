"""The optimizers in TensorFlow: PyTorch's update rules, and the names of what they remember."""

import functools
from collections.abc import Mapping

import tensorflow as tf

from common.settings import Settings
from common.training import muon

# canonical name of what an optimizer remembers of a parameter -> TensorFlow's
OPTIMIZER_STATE = {
    "sgd": {"momentum": "accum"},
    "adamw": {"mean": "m", "variance": "v"},
    "muon": {"momentum": "accum", "mean": "m", "variance": "v"},
}


class _SGD:
    """The rule of ``torch.optim.SGD``.

    differs: Keras keeps the learning rate in the momentum, which is another rule as soon as the
    rate changes, and so the project has its own.
    """

    def __init__(self, named: Mapping[str, tf.Variable], settings: Settings) -> None:
        self.named = named
        self.momentum = settings.momentum
        self.weight_decay = settings.weight_decay
        self.slots = {
            name: {"accum": _zeros(value)} if self.momentum else {} for name, value in named.items()
        }
        self.steps = None

    def step(self, gradients: list[tf.Tensor], learning_rate: tf.Tensor) -> None:
        for (name, value), gradient in zip(self.named.items(), gradients, strict=True):
            rate = tf.cast(learning_rate, value.dtype)
            if self.weight_decay:
                gradient = gradient + self.weight_decay * value
            if self.momentum:
                tf.raw_ops.ResourceApplyMomentum(
                    var=value.handle, accum=self.slots[name]["accum"].handle,
                    lr=rate, grad=gradient, momentum=self.momentum,
                )  # fmt: skip
            else:
                tf.raw_ops.ResourceApplyGradientDescent(
                    var=value.handle, alpha=rate, delta=gradient
                )


class _AdamW:
    """The rule of ``torch.optim.AdamW`` with its default epsilon.

    differs: Keras adds epsilon before the bias correction, PyTorch after it.
    """

    def __init__(
        self,
        named: Mapping[str, tf.Variable],
        weight_decay: float,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        self.named = named
        self.weight_decay = weight_decay
        self.betas = betas
        self.slots = {
            name: {"m": _zeros(value), "v": _zeros(value)} for name, value in named.items()
        }
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)

    def step(self, gradients: list[tf.Tensor], learning_rate: tf.Tensor) -> None:
        if not self.named:
            return
        dtype = next(iter(self.named.values())).dtype
        # the betas as the operation rounds them, lest 1 - beta2 ** steps belongs to another beta2
        beta1, beta2 = (float(dtype.as_numpy_dtype(beta)) for beta in self.betas)
        steps = tf.cast(self.steps.assign_add(1), tf.float64)
        root = tf.sqrt(1 - beta2**steps)
        rate = tf.cast(learning_rate * root / (1 - beta1**steps), dtype)
        epsilon = tf.cast(1e-8 * root, dtype)
        zero = tf.zeros((), dtype)
        keep = tf.cast(1 - learning_rate * self.weight_decay, dtype)
        for (name, value), gradient in zip(self.named.items(), gradients, strict=True):
            slots = self.slots[name]
            if self.weight_decay:
                value.assign(value * keep)
            # m / (sqrt(v) / root + 1e-8) is root * m / (sqrt(v) + 1e-8 * root)
            tf.raw_ops.ResourceApplyAdam(
                var=value.handle, m=slots["m"].handle, v=slots["v"].handle,
                # the correction is in the rate already
                beta1_power=zero, beta2_power=zero,
                lr=rate, beta1=beta1, beta2=beta2, epsilon=epsilon, grad=gradient,
            )  # fmt: skip


class _Muon(_AdamW):
    """Muon (Jordan et al. 2024) for the weights, Adam for the biases; see :mod:`muon`."""

    def __init__(self, named: Mapping[str, tf.Variable], settings: Settings) -> None:
        self.scales = muon.weights(named)
        super().__init__({n: v for n, v in named.items() if n not in self.scales}, 0.0, muon.BETAS)
        self.names = list(named)
        self.weights = {name: named[name] for name in self.scales}
        self.decay = settings.weight_decay
        self.bfloat16 = settings.precision == "bfloat16"
        self.slots |= {name: {"accum": _zeros(value)} for name, value in self.weights.items()}

    def step(self, gradients: list[tf.Tensor], learning_rate: tf.Tensor) -> None:
        slopes = dict(zip(self.names, gradients, strict=True))
        super().step([slopes[name] for name in self.named], muon.BIAS_RATE * learning_rate)
        for name, weight in self.weights.items():
            slope, momentum = slopes[name], self.slots[name]["accum"]
            momentum.assign(muon.MOMENTUM * momentum + slope)
            change = _orthogonal(slope + muon.MOMENTUM * momentum, self.bfloat16)
            rate = tf.cast(learning_rate, weight.dtype)
            if self.decay:
                weight.assign(weight * (1 - rate * self.decay))
            weight.assign_sub(rate * self.scales[name] * change)


def _orthogonal(change: tf.Tensor, bfloat16: bool) -> tf.Tensor:
    """A weight's change with all singular values near 1; see :mod:`common.training.muon`."""
    # differs: the matrix lies in memory transposed, inputs first
    X = tf.reshape(change, (-1, change.shape[-1]))
    X /= tf.maximum(tf.norm(X), muon.SMALLEST)
    tall = tf.cast(X, tf.bfloat16) if bfloat16 else X
    if X.shape[0] < X.shape[1]:
        tall = tf.transpose(tall)
    a, b, c = muon.COEFFICIENTS
    gram = tf.matmul(tall, tall, transpose_a=True)
    factors: list[tf.Tensor] = []
    one = tf.eye(gram.shape[0], dtype=gram.dtype)
    for step in range(muon.STEPS):
        if step:
            gram = factors[-1] @ gram @ factors[-1]
        factors.append(a * one + b * gram + c * (gram @ gram))
    tall = tall @ functools.reduce(tf.matmul, factors)
    X = tf.cast(tf.transpose(tall) if X.shape[0] < X.shape[1] else tall, X.dtype)
    return tf.reshape(X, change.shape)


def make_optimizer(named: Mapping[str, tf.Variable], settings: Settings) -> _SGD | _AdamW | _Muon:
    """The optimizer of the settings.

    Args:
        named: the parameters by canonical name.
        settings: optimizer, momentum, weight_decay and precision are used.

    Raises:
        ValueError: for an unknown optimizer.
    """
    if settings.optimizer == "sgd":
        return _SGD(named, settings)
    if settings.optimizer == "adamw":
        return _AdamW(named, settings.weight_decay)
    if settings.optimizer == "muon":
        return _Muon(named, settings)
    raise ValueError(f"unknown optimizer {settings.optimizer!r}")


def _zeros(value: tf.Variable) -> tf.Variable:
    return tf.Variable(tf.zeros_like(value), trainable=False)
