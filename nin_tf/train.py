"""The training step in TensorFlow: one compiled graph, PyTorch's update rules."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from common.data import augmentation
from common.data.fashion_mnist import Dataset
from common.data.resize import resize_matrix
from common.settings import Settings
from nin_tf import layers
from nin_tf.device import find_device
from nin_tf.weights import from_canonical, parameters, to_canonical

# canonical name of an optimizer's memory -> TensorFlow's
OPTIMIZER_MEMORY = {
    "sgd": {"momentum": "accum"},
    "adamw": {"mean": "m", "variance": "v"},
}


class Trainer:
    """A network, its optimizer and the training data, together on one device.

    Args:
        net: an initialised network; differs: the trainer's ``net`` is a copy of it.
        settings: optimizer, label smoothing, shift, flip, precision, device, resize and seed
            are used.
        dataset: the training images and labels are put on the device, the images as bytes;
            differs: on a GPU as float16, which holds 0...255 exactly, for TensorFlow gathers no
            uint8 there.

    Raises:
        NinError: if the device is not there.
    """

    def __init__(self, net: tf.keras.Sequential, settings: Settings, dataset: Dataset) -> None:
        self.device = find_device(settings.device)
        device = self.device.native
        self.dtype = tf.float64 if settings.precision == "float64" else tf.float32
        self.seed = settings.seed
        self.label_smoothing = settings.label_smoothing

        if self.device.kind == "gpu":
            # the same numbers in every run, also on a GPU
            tf.config.experimental.enable_op_determinism()
        with tf.device(device):
            self.net = _copy(net, settings.precision)
            self.parameters = parameters(self.net)
            self.optimizer_name = settings.optimizer
            self.optimizer = _optimizer(self.parameters, settings)

            storage = tf.uint8 if self.device.kind == "cpu" else tf.float16
            self.images = tf.cast(dataset.train_images, storage)
            self.labels = tf.cast(dataset.train_labels, tf.int64)
            matrix = resize_matrix(dataset.train_images.shape[1], settings.resize)
            self.resize = tf.constant(matrix, self.dtype)
            self.views = augmentation.views(dataset.train_images.shape[1], settings)
            if self.views is not None:
                self.rows, self.columns = (
                    tf.constant(matrices, self.dtype) for matrices in self.views
                )
        self._losses: list[tf.Tensor] = []
        self._correct: list[tf.Tensor] = []

        # differs: what runs is two graphs, traced here and once, for batches of any length
        images = tf.TensorSpec((None, *dataset.train_images.shape[1:]), tf.uint8)
        indices = tf.TensorSpec((None,), tf.int64)
        rate, step = tf.TensorSpec((), tf.float64), tf.TensorSpec((), tf.int64)
        choice = () if self.views is None else (tf.TensorSpec((None, 2), tf.int64),)
        self._train = _graph(self._step, indices, rate, step, *choice)
        self._predict = _graph(self._forward, images)

    def train_batch(self, indices: np.ndarray, learning_rate: float, step: int) -> None:
        """One optimizer step; see :class:`common.contract.Trainer`."""
        rate = tf.constant(learning_rate, tf.float64)
        choice = []
        if self.views is not None:
            drawn = augmentation.draw(self.views, self.seed, step, len(indices))
            choice.append(tf.constant(drawn))
        loss, correct = self._train(
            tf.constant(indices), rate, tf.constant(step, tf.int64), *choice
        )
        self._losses.append(loss)
        self._correct.append(correct)

    def take_metrics(self) -> tuple[np.ndarray, np.ndarray]:
        """Loss and correct answers of each step; see :class:`common.contract.Trainer`."""
        if not self._losses:
            return np.zeros(0), np.zeros(0, np.int64)
        losses = tf.stack(self._losses).numpy().astype(np.float64)
        correct = tf.stack(self._correct).numpy()
        self._losses, self._correct = [], []
        return losses, correct

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Predict with dropout off; see :class:`common.contract.Trainer`."""
        return self._predict(tf.constant(images)).numpy()

    def activations(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs of all layers; see :class:`common.contract.Trainer`."""
        with tf.device(self.device.native):
            return layers.activations(self.net, self.pixels(tf.constant(images)))

    def gradients(
        self, images: np.ndarray, labels: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Loss and its gradients, dropout off; see :class:`common.contract.Trainer`."""
        with tf.device(self.device.native):
            pixels = self.pixels(tf.constant(images))
            target = tf.constant(labels.astype(np.int64))
            with tf.GradientTape() as tape:
                logits = tf.cast(self.net(pixels, training=False), self.dtype)
                loss = tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(target, logits)
                )
            slopes = tape.gradient(loss, list(self.parameters.values()))
        named = zip(self.parameters, slopes, strict=True)
        return float(loss.numpy()), {name: to_canonical(slope) for name, slope in named}

    def state(self) -> dict[str, np.ndarray]:
        """Weights and the optimizer's memory; see :class:`common.contract.Trainer`."""
        state = {name: to_canonical(value) for name, value in self.parameters.items()}
        for name, memory in self.optimizer.memory.items():
            for canonical, native in OPTIMIZER_MEMORY[self.optimizer_name].items():
                if native in memory:
                    state[f"{canonical}.{name}"] = to_canonical(memory[native])
        if self.optimizer.steps is not None:
            state["optimizer_steps"] = self.optimizer.steps.numpy()
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up a saved state; see :class:`common.contract.Trainer`."""
        for name, value in self.parameters.items():
            from_canonical(value, state[name])
            memory = self.optimizer.memory[name]
            for canonical, native in OPTIMIZER_MEMORY[self.optimizer_name].items():
                if native in memory:
                    # a state from before the first step has no memory yet, which means 0
                    stored = state.get(f"{canonical}.{name}", np.zeros_like(state[name]))
                    from_canonical(memory[native], stored)
        if self.optimizer.steps is not None:
            self.optimizer.steps.assign(int(state.get("optimizer_steps", 0)))

    def pixels(self, images: tf.Tensor, choice: tf.Tensor | None = None) -> tf.Tensor:
        """What the network sees: resized, scaled to 0...1.

        Args:
            images: 0...255, (batch, height, width), on the device.
            choice: which view of each, as :func:`common.data.augmentation.draw` gives it.

        Returns:
            (batch, resize, resize, 1).
        """
        scaled = tf.cast(images, self.dtype) / 255
        rows = self.resize if choice is None else tf.gather(self.rows, choice[:, 0])
        columns = self.resize if choice is None else tf.gather(self.columns, choice[:, 1])
        return (rows @ scaled @ tf.linalg.matrix_transpose(columns))[..., tf.newaxis]

    def _step(
        self,
        indices: tf.Tensor,
        learning_rate: tf.Tensor,
        step: tf.Tensor,
        choice: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Traced for :meth:`train_batch`; loss and number of correct answers."""
        with tf.device(self.device.native):
            # dropout depends on the seed and the step alone, so that a resumed run goes on exactly
            for layer in self.net.layers:
                if isinstance(layer, tf.keras.layers.Dropout) and layer.rate > 0:
                    layer.seed_generator.state.assign(tf.stack([self.seed, step]))
            values = list(self.parameters.values())
            labels = tf.gather(self.labels, indices)

            with tf.GradientTape() as tape:
                pixels = self.pixels(tf.gather(self.images, indices), choice)
                logits = tf.cast(self.net(pixels, training=True), self.dtype)
                loss = tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                )
                objective = loss
                if self.label_smoothing:
                    uniform = -tf.reduce_mean(tf.nn.log_softmax(logits))
                    objective += self.label_smoothing * (uniform - loss)
            gradients = tape.gradient(objective, values)
            # differs: TensorFlow's pooling and its fused ReLU turn NaN into a number, so that the
            # loss can look sound when the weights no longer are
            total = tf.add_n([tf.reduce_sum(value) for value in values])
            loss = tf.where(tf.math.is_finite(total), loss, np.nan)
            self.optimizer.step(gradients, learning_rate)

            correct = tf.reduce_sum(tf.cast(tf.argmax(logits, 1) == labels, tf.int64))
            return loss, correct

    def _forward(self, images: tf.Tensor) -> tf.Tensor:
        """Traced for :meth:`logits`."""
        with tf.device(self.device.native):
            return tf.cast(self.net(self.pixels(images), training=False), self.dtype)


def _graph(function: Callable[..., Any], *signature: tf.TensorSpec) -> Callable[..., Any]:
    return tf.function(function, signature, autograph=False).get_concrete_function()


class _SGD:
    """The rule of ``torch.optim.SGD``.

    differs: Keras keeps the learning rate in the momentum, which is another rule as soon as the
    rate changes, and so the project has its own.
    """

    def __init__(self, named: Mapping[str, tf.Variable], settings: Settings) -> None:
        self.named = named
        self.momentum = settings.momentum
        self.weight_decay = settings.weight_decay
        self.memory = {
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
                    var=value.handle, accum=self.memory[name]["accum"].handle,
                    lr=rate, grad=gradient, momentum=self.momentum,
                )  # fmt: skip
            else:
                tf.raw_ops.ResourceApplyGradientDescent(
                    var=value.handle, alpha=rate, delta=gradient
                )


class _AdamW:
    """The rule of ``torch.optim.AdamW`` with its default betas and epsilon.

    differs: Keras adds epsilon before the bias correction, PyTorch after it.
    """

    def __init__(self, named: Mapping[str, tf.Variable], settings: Settings) -> None:
        self.named = named
        self.weight_decay = settings.weight_decay
        self.memory = {
            name: {"m": _zeros(value), "v": _zeros(value)} for name, value in named.items()
        }
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)

    def step(self, gradients: list[tf.Tensor], learning_rate: tf.Tensor) -> None:
        dtype = next(iter(self.named.values())).dtype
        # the betas as the operation rounds them, lest 1 - beta2 ** steps belongs to another beta2
        beta1, beta2 = (float(dtype.as_numpy_dtype(beta)) for beta in (0.9, 0.999))
        steps = tf.cast(self.steps.assign_add(1), tf.float64)
        root = tf.sqrt(1 - beta2**steps)
        rate = tf.cast(learning_rate * root / (1 - beta1**steps), dtype)
        epsilon = tf.cast(1e-8 * root, dtype)
        zero = tf.zeros((), dtype)
        keep = tf.cast(1 - learning_rate * self.weight_decay, dtype)
        for (name, value), gradient in zip(self.named.items(), gradients, strict=True):
            memory = self.memory[name]
            if self.weight_decay:
                value.assign(value * keep)
            # m / (sqrt(v) / root + 1e-8) is root * m / (sqrt(v) + 1e-8 * root)
            tf.raw_ops.ResourceApplyAdam(
                var=value.handle, m=memory["m"].handle, v=memory["v"].handle,
                # the correction is in the rate already
                beta1_power=zero, beta2_power=zero,
                lr=rate, beta1=beta1, beta2=beta2, epsilon=epsilon, grad=gradient,
            )  # fmt: skip


def _optimizer(named: Mapping[str, tf.Variable], settings: Settings) -> _SGD | _AdamW:
    if settings.optimizer == "sgd":
        return _SGD(named, settings)
    if settings.optimizer == "adamw":
        return _AdamW(named, settings)
    raise ValueError(f"unknown optimizer {settings.optimizer!r}")


def _zeros(value: tf.Variable) -> tf.Variable:
    return tf.Variable(tf.zeros_like(value), trainable=False)


def _copy(net: tf.keras.Sequential, precision: str) -> tf.keras.Sequential:
    """A network with the same layers and weights that computes in a precision.

    differs: a Keras variable keeps the type and the device that it was made with, and so a
    network does not move. In bfloat16 the variables stay float32.
    """
    policy = {"bfloat16": "mixed_bfloat16"}.get(precision, precision)

    def again(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        if isinstance(layer, tf.keras.Sequential):
            return tf.keras.Sequential([again(inner) for inner in layer.layers])
        return type(layer).from_config({**layer.get_config(), "dtype": policy})

    before = tf.keras.config.dtype_policy()
    # a Sequential takes its precision from here only
    tf.keras.config.set_dtype_policy(policy)
    try:
        pixels = tf.keras.Input(net.input_shape[1:], dtype=precision)
        copy = tf.keras.Sequential([pixels, *(again(layer) for layer in net.layers)])
    finally:
        tf.keras.config.set_dtype_policy(before)
    for name, value in parameters(copy).items():
        value.assign(tf.cast(parameters(net)[name], value.dtype))
    return copy
