"""The training step in MXNet: the layers as one compiled graph, PyTorch's update rules."""

from collections.abc import Mapping

import mxnet as mx
import numpy as np
from mxnet import autograd, npx
from mxnet import np as mnp
from mxnet.gluon import Block

from common.data import augmentation
from common.settings import Settings
from common.training.schedule import step_seed
from nin_mxnet.optimizer import OPTIMIZER_STATE, make_optimizer
from nin_mxnet.predict import Predictor
from nin_mxnet.weights import from_canonical, to_canonical
from nin_mxnet.workers import join_workers, summing_gradients


class Trainer(Predictor):
    """A network, its optimizer and the training data, together on one device.

    Args:
        net: a network with weights; it moves to the device and is trained in place.
        settings: besides those of the predictor, optimizer, label smoothing, shift, flip and seed
            are used.
        images: uint8, (count, height, width); they are put on the device as they are.
        labels: whole numbers, (count,).

    Raises:
        NinError: as the predictor.
    """

    def __init__(
        self, net: Block, settings: Settings, images: np.ndarray, labels: np.ndarray
    ) -> None:
        super().__init__(net, settings)
        device = self.device.native
        self.workers = join_workers(self.device)
        self.seed = settings.seed
        self.label_smoothing = settings.label_smoothing
        self.optimizer_name = settings.optimizer
        self.optimizer = make_optimizer(self.parameters, settings)

        self.images = mnp.array(images, dtype=np.uint8, ctx=device)
        self.labels = mnp.array(labels, dtype=np.int64, ctx=device)
        self.views = augmentation.views(images.shape[1], settings)
        if self.views is not None:
            self.rows, self.columns = (
                mnp.array(matrices, dtype=self.dtype, ctx=device) for matrices in self.views
            )
        self._losses: list[mnp.ndarray] = []
        self._correct: list[mnp.ndarray] = []

    def train_batch(self, indices: np.ndarray, learning_rate: float, step: int) -> None:
        """One optimizer step; see :class:`common.contract.Trainer`."""
        # dropout depends on seed, step and worker alone, so that a resumed run goes on exactly
        mx.random.seed(step_seed(self.seed, step, self.workers.rank))
        mine = self.workers.share(indices)
        batch = self.on_device(mine)
        images, labels = self.images.take(batch, axis=0), self.labels.take(batch)
        if self.views is None:
            seen = self.pixels(images)
        else:
            choice = augmentation.draw(self.views, self.seed, step, len(indices))
            seen = self.views_of(images, self.on_device(self.workers.share(choice)))

        with autograd.record():
            logits = self.graph(seen)
            loss = self.cross_entropy(logits, labels).mean()
            objective = loss
            if self.label_smoothing:
                uniform = -npx.log_softmax(logits, axis=1).mean()
                objective = loss + self.label_smoothing * (uniform - loss)
            if self.workers.count > 1:
                # the sum of the workers' is the mean of the batch
                objective = objective * (len(mine) / len(indices))
        objective.backward()
        summing_gradients(self.parameters, self.workers)
        self.optimizer.step(learning_rate)

        self._losses.append(loss.detach())
        self._correct.append((logits.detach().argmax(1) == labels).sum())
        # differs: MXNet resizes the batches of all queued steps at once, which takes memory;
        # waiting for the step before the previous one bounds that and never leaves it idle
        if len(self._losses) > 2:
            self._losses[-3].wait_to_read()

    def take_metrics(self) -> tuple[np.ndarray, np.ndarray]:
        """Loss and correct answers of each step; see :class:`common.contract.Trainer`."""
        if not self._losses:
            return np.zeros(0), np.zeros(0, np.int64)
        losses = mnp.stack(self._losses).asnumpy().astype(np.float64)
        correct = mnp.stack(self._correct).asnumpy().astype(np.int64)
        self._losses, self._correct = [], []
        return losses, correct

    def state(self) -> dict[str, np.ndarray]:
        """Weights and the optimizer's state; see :class:`common.contract.Trainer`."""
        state = {name: to_canonical(value.data()) for name, value in self.parameters.items()}
        for name in self.parameters:
            slots = self.optimizer.slots[name]
            for canonical, native in OPTIMIZER_STATE[self.optimizer_name].items():
                if native in slots:
                    state[f"{canonical}.{name}"] = to_canonical(slots[native])
        if self.optimizer.steps is not None:
            state["optimizer_steps"] = np.array(self.optimizer.steps)
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore a saved state; see :class:`common.contract.Trainer`."""
        for name, value in self.parameters.items():
            from_canonical(value.data(), state[name])
            slots = self.optimizer.slots[name]
            for canonical, native in OPTIMIZER_STATE[self.optimizer_name].items():
                if native in slots:
                    # a state from before the first step has none: it starts at 0
                    empty = np.zeros(value.shape)
                    from_canonical(slots[native], state.get(f"{canonical}.{name}", empty))
        if self.optimizer.steps is not None:
            self.optimizer.steps = int(state.get("optimizer_steps", 0))

    def views_of(self, images: mnp.ndarray, choice: mnp.ndarray) -> mnp.ndarray:
        """What the network sees of images that are moved or mirrored; as :meth:`pixels`.

        Args:
            images: uint8, (batch, height, width), on the device.
            choice: which view of each, as :func:`common.data.augmentation.draw` gives it.
        """
        scaled = images.astype(self.dtype) / 255
        rows = self.rows.take(choice[:, 0], axis=0)
        columns = self.columns.take(choice[:, 1], axis=0)
        half = npx.batch_dot(rows, scaled)
        return mnp.expand_dims(npx.batch_dot(half, columns, transpose_b=True), 1)
