"""The training step in TensorFlow: one compiled graph, PyTorch's update rules."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from common.data import augmentation
from common.settings import Settings
from nin_tf.optimizer import OPTIMIZER_STATE, make_optimizer
from nin_tf.predict import Predictor
from nin_tf.weights import from_canonical, to_canonical
from nin_tf.workers import join_workers, summing_gradients


class Trainer(Predictor):
    """A network, its optimizer and the training data, together on one device.

    Args:
        net: a network with weights; it moves to the device and is trained in place.
        settings: besides those of the predictor, optimizer, label smoothing, shift, flip and seed
            are used.
        images: uint8, (count, height, width); they are put on the device as they are; differs: on
            a GPU as float16, which holds 0...255 exactly, for TensorFlow gathers no uint8 there.
        labels: whole numbers, (count,).

    Raises:
        NinError: as the predictor.
    """

    def __init__(
        self, net: tf.keras.Sequential, settings: Settings, images: np.ndarray, labels: np.ndarray
    ) -> None:
        super().__init__(net, settings)
        self.workers = join_workers(self.device)
        self.seed = settings.seed
        self.label_smoothing = settings.label_smoothing
        with tf.device(self.device.native):
            self.optimizer_name = settings.optimizer
            self.optimizer = make_optimizer(self.parameters, settings)

            storage = tf.uint8 if self.device.kind == "cpu" else tf.float16
            self.images = tf.cast(images, storage)
            self.labels = tf.cast(labels, tf.int64)
            self.views = augmentation.views(images.shape[1], settings)
            if self.views is not None:
                self.rows, self.columns = (
                    tf.constant(matrices, self.dtype) for matrices in self.views
                )
        self._losses: list[tf.Tensor] = []
        self._correct: list[tf.Tensor] = []

        indices = tf.TensorSpec((None,), tf.int64)
        number, step = tf.TensorSpec((), tf.float64), tf.TensorSpec((), tf.int64)
        choice = () if self.views is None else (tf.TensorSpec((None, 2), tf.int64),)
        self._train = self._graph(
            self._together(self._step), indices, number, number, step, *choice
        )

    def train_batch(self, indices: np.ndarray, learning_rate: float, step: int) -> None:
        """One optimizer step; see :class:`common.contract.Trainer`."""
        mine, choice = self.workers.share(indices), []
        if self.views is not None:
            drawn = augmentation.draw(self.views, self.seed, step, len(indices))
            choice.append(tf.constant(self.workers.share(drawn)))
        # as arrays: TensorFlow keeps every Python number that was ever made a tensor
        numbers = len(mine) / len(indices), float(learning_rate), int(step)
        part, rate, number = (tf.constant(np.array(each)) for each in numbers)
        loss, correct = self._train(tf.constant(mine), part, rate, number, *choice)
        self._losses.append(loss)
        self._correct.append(correct)

    def take_metrics(self) -> tuple[np.ndarray, np.ndarray]:
        """Loss and correct answers of each step; see :class:`common.contract.Trainer`."""
        if not self._losses:
            return np.zeros(0), np.zeros(0, np.int64)
        # one by one: TensorFlow keeps a kernel for every number of tensors that was ever stacked
        losses = np.array([loss.numpy() for loss in self._losses], np.float64)
        correct = np.array([count.numpy() for count in self._correct])
        self._losses, self._correct = [], []
        return losses, correct

    def state(self) -> dict[str, np.ndarray]:
        """Weights and the optimizer's state; see :class:`common.contract.Trainer`."""
        state = {name: to_canonical(value) for name, value in self.parameters.items()}
        for name, slots in self.optimizer.slots.items():
            for canonical, native in OPTIMIZER_STATE[self.optimizer_name].items():
                if native in slots:
                    state[f"{canonical}.{name}"] = to_canonical(slots[native])
        if self.optimizer.steps is not None:
            state["optimizer_steps"] = self.optimizer.steps.numpy()
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore a saved state; see :class:`common.contract.Trainer`."""
        for name, value in self.parameters.items():
            from_canonical(value, state[name])
            slots = self.optimizer.slots[name]
            for canonical, native in OPTIMIZER_STATE[self.optimizer_name].items():
                if native in slots:
                    # a state from before the first step has none: it starts at 0
                    stored = state.get(f"{canonical}.{name}", np.zeros_like(state[name]))
                    from_canonical(slots[native], stored)
        if self.optimizer.steps is not None:
            self.optimizer.steps.assign(int(state.get("optimizer_steps", 0)))

    def views_of(self, images: tf.Tensor, choice: tf.Tensor) -> tf.Tensor:
        """What the network sees of images that are moved or mirrored; as :meth:`pixels`.

        Args:
            images: 0...255, (batch, height, width), on the device.
            choice: which view of each, as :func:`common.data.augmentation.draw` gives it.
        """
        scaled = tf.cast(images, self.dtype) / 255
        rows, columns = tf.gather(self.rows, choice[:, 0]), tf.gather(self.columns, choice[:, 1])
        return (rows @ scaled @ tf.linalg.matrix_transpose(columns))[..., tf.newaxis]

    def _together(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """A step that all workers take at the same time, each with its own arguments."""
        strategy = getattr(self.workers, "strategy", None)
        return step if strategy is None else lambda *given: strategy.run(step, given)

    def _step(
        self,
        indices: tf.Tensor,
        part: tf.Tensor,
        learning_rate: tf.Tensor,
        step: tf.Tensor,
        choice: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Traced for :meth:`train_batch`; loss and number of correct answers."""
        with tf.device(self.device.native):
            # Dropout depends on seed, step and worker alone, so that a resumed run goes on exactly;
            # so does every other layer that draws, nested ones too.
            variables = (variable for layer in self.layers for variable in layer.variables)
            states = [each for each in variables if each.name == "seed_generator_state"]
            for number, state in enumerate(states):
                first = self.seed + number + len(states) * self.workers.rank
                state.assign(tf.stack([first, step]))
            values = list(self.parameters.values())
            images, labels = tf.gather(self.images, indices), tf.gather(self.labels, indices)

            with tf.GradientTape() as tape:
                seen = self.pixels(images) if choice is None else self.views_of(images, choice)
                logits = self._forward(seen, training=True)
                loss = tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                )
                objective = loss
                if self.label_smoothing:
                    uniform = -tf.reduce_mean(tf.nn.log_softmax(logits))
                    objective += self.label_smoothing * (uniform - loss)
                # the sum of the workers' is the mean of the batch
                objective *= tf.cast(part, self.dtype)
            gradients = summing_gradients(tape.gradient(objective, values), self.workers)
            # differs: TensorFlow's pooling and its fused ReLU turn NaN into a number, so that the
            # loss can look sound when the weights no longer are
            total = tf.add_n([tf.reduce_sum(value) for value in values])
            loss = tf.where(tf.math.is_finite(total), loss, np.nan)
            self.optimizer.step(gradients, learning_rate)

            correct = tf.reduce_sum(tf.cast(tf.argmax(logits, 1) == labels, tf.int64))
            return loss, correct
