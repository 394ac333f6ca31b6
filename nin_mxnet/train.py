"""The training step in MXNet: the layers as one compiled graph, update rules written out."""

import math
from collections.abc import Mapping

import mxnet as mx
import numpy as np
from mxnet import autograd, npx
from mxnet import np as mnp
from mxnet.gluon import Parameter, nn
from mxnet.gluon.loss import SoftmaxCrossEntropyLoss

from common.data import augmentation
from common.data.fashion_mnist import Dataset
from common.data.resize import resize_matrix
from common.settings import Settings
from common.training.schedule import step_seed
from nin_mxnet import layers
from nin_mxnet._graph import as_graph, leaves
from nin_mxnet.device import find_device
from nin_mxnet.weights import from_canonical, parameters, to_canonical

# canonical name of an optimizer's memory -> MXNet's
OPTIMIZER_MEMORY = {
    "sgd": {"momentum": "mom"},
    "adamw": {"mean": "mean", "variance": "var"},
}


class Trainer:
    """A network, its optimizer and the training data, together on one device.

    Args:
        net: an initialised network; it moves to the device.
        settings: optimizer, label smoothing, shift, flip, precision, device, resize and seed
            are used.
        dataset: the training images and labels are put on the device, the images as bytes.

    Raises:
        NinError: if the device is not there.
    """

    def __init__(self, net: nn.Sequential, settings: Settings, dataset: Dataset) -> None:
        self.device = find_device(settings.device)
        device = self.device.native
        self.dtype = np.float64 if settings.precision == "float64" else np.float32
        self.seed = settings.seed
        self.label_smoothing = settings.label_smoothing

        net.collect_params().reset_ctx(device)
        net.cast(self.dtype)
        self.net = net
        self.graph = as_graph(net)
        self.cross_entropy = SoftmaxCrossEntropyLoss()
        self.cross_entropy.hybridize(static_alloc=True)
        self.parameters = parameters(self.net)
        self.optimizer_name = settings.optimizer
        self.optimizer = _optimizer(self.parameters, settings)

        self.images = mnp.array(dataset.train_images, dtype=np.uint8, ctx=device)
        self.labels = mnp.array(dataset.train_labels, dtype=np.int64, ctx=device)
        matrix = resize_matrix(dataset.train_images.shape[1], settings.resize)
        self.resize = mnp.array(matrix, dtype=self.dtype, ctx=device)
        self.views = augmentation.views(dataset.train_images.shape[1], settings)
        if self.views is not None:
            self.rows, self.columns = (
                mnp.array(matrices, dtype=self.dtype, ctx=device) for matrices in self.views
            )
        self._losses: list[mnp.ndarray] = []
        self._correct: list[mnp.ndarray] = []

    def train_batch(self, indices: np.ndarray, learning_rate: float, step: int) -> None:
        """One optimizer step; see :class:`common.contract.Trainer`."""
        # dropout depends on the seed and the step alone, so that a resumed run goes on exactly
        mx.random.seed(step_seed(self.seed, step))
        batch = mnp.array(indices, dtype=np.int64, ctx=self.device.native)
        labels = self.labels.take(batch)
        choice = None
        if self.views is not None:
            drawn = augmentation.draw(self.views, self.seed, step, len(indices))
            choice = mnp.array(drawn, dtype=np.int64, ctx=self.device.native)

        with autograd.record():
            logits = self.graph(self.pixels(self.images.take(batch, axis=0), choice))
            loss = self.cross_entropy(logits, labels).mean()
            objective = loss
            if self.label_smoothing:
                uniform = -npx.log_softmax(logits, axis=1).mean()
                objective = loss + self.label_smoothing * (uniform - loss)
        objective.backward()
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

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Predict with dropout off; see :class:`common.contract.Trainer`."""
        pixels = self.pixels(mnp.array(images, dtype=np.uint8, ctx=self.device.native))
        return self.graph(pixels).asnumpy()

    def activations(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs of all layers; see :class:`common.contract.Trainer`."""
        pixels = self.pixels(mnp.array(images, dtype=np.uint8, ctx=self.device.native))
        return layers.activations(self.net, pixels)

    def gradients(
        self, images: np.ndarray, labels: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Loss and its gradients, dropout off; see :class:`common.contract.Trainer`."""
        pixels = self.pixels(mnp.array(images, dtype=np.uint8, ctx=self.device.native))
        target = mnp.array(labels, dtype=np.int64, ctx=self.device.native)
        # differs: MXNet's dropout that is off lets values through but multiplies their gradients
        # by a mask it never drew (seen in 1.9.1), so here the layer itself is left out
        graph = nn.HybridSequential()
        graph.add(*(leaf for leaf in leaves(self.net) if not isinstance(leaf, nn.Dropout)))
        with autograd.record():
            loss = self.cross_entropy(graph(pixels), target).mean()
        loss.backward()
        named = self.parameters.items()
        return loss.item(), {name: to_canonical(value.grad()) for name, value in named}

    def state(self) -> dict[str, np.ndarray]:
        """Weights and the optimizer's memory; see :class:`common.contract.Trainer`."""
        state = {name: to_canonical(value.data()) for name, value in self.parameters.items()}
        for name in self.parameters:
            memory = self.optimizer.memory[name]
            for canonical, native in OPTIMIZER_MEMORY[self.optimizer_name].items():
                if native in memory:
                    state[f"{canonical}.{name}"] = to_canonical(memory[native])
        if isinstance(self.optimizer, _AdamW):
            state["optimizer_steps"] = np.array(self.optimizer.steps)
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up a saved state; see :class:`common.contract.Trainer`."""
        for name, value in self.parameters.items():
            from_canonical(value.data(), state[name])
            memory = self.optimizer.memory[name]
            for canonical, native in OPTIMIZER_MEMORY[self.optimizer_name].items():
                if native in memory:
                    # a state from before the first step has none: it starts at 0
                    empty = np.zeros(value.shape)
                    from_canonical(memory[native], state.get(f"{canonical}.{name}", empty))
        if isinstance(self.optimizer, _AdamW):
            self.optimizer.steps = int(state.get("optimizer_steps", 0))

    def pixels(self, images: mnp.ndarray, choice: mnp.ndarray | None = None) -> mnp.ndarray:
        """What the network sees: resized, scaled to 0...1.

        Args:
            images: uint8, (batch, height, width), on the device.
            choice: which view of each, as :func:`common.data.augmentation.draw` gives it.

        Returns:
            (batch, 1, resize, resize).
        """
        scaled = mnp.expand_dims(images, 1).astype(self.dtype) / 255
        if choice is not None:
            rows = self.rows.take(choice[:, 0], axis=0)
            columns = self.columns.take(choice[:, 1], axis=0)
            half = npx.batch_dot(rows, scaled[:, 0])
            return mnp.expand_dims(npx.batch_dot(half, columns, transpose_b=True), 1)
        # differs: MXNet's matmul copies the matrix for each image; fully_connected does not, but
        # multiplies from the right only: R @ image @ R.T = (image.T @ R.T).T @ R.T, so twice
        for _ in range(2):
            scaled = self._times_matrix(scaled.transpose(0, 1, 3, 2))
        return scaled

    def _times_matrix(self, images: mnp.ndarray) -> mnp.ndarray:
        size = self.resize.shape[0]
        return npx.fully_connected(
            images, self.resize, no_bias=True, flatten=False, num_hidden=size
        )


class _SGD:
    """PyTorch's SGD: ``mom = momentum * mom + gradient``, ``weight -= learning_rate * mom``.

    differs: MXNet's own multiplies the gradient by the learning rate before adding it to the
    memory, which is another rule as soon as a schedule changes the learning rate.
    """

    def __init__(self, named: Mapping[str, Parameter], settings: Settings) -> None:
        self.named = named
        self.momentum = settings.momentum
        self.weight_decay = settings.weight_decay
        self.memory = {
            name: {"mom": mnp.zeros_like(value.data())} if self.momentum else {}
            for name, value in named.items()
        }

    def step(self, learning_rate: float) -> None:
        for name, value in self.named.items():
            weight, change = value.data(), value.grad()
            if self.weight_decay:
                change = change + self.weight_decay * weight
            if self.momentum:
                memory = self.memory[name]["mom"]
                memory *= self.momentum
                memory += change
                change = memory
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
        self.memory = {
            name: {"mean": mnp.zeros_like(value.data()), "var": mnp.zeros_like(value.data())}
            for name, value in named.items()
        }
        self.steps = 0

    def step(self, learning_rate: float) -> None:
        self.steps += 1
        c1 = 1 - self.beta1**self.steps
        c2 = math.sqrt(1 - self.beta2**self.steps)
        for name, value in self.named.items():
            weight, memory = value.data(), self.memory[name]
            if self.weight_decay:
                weight *= 1 - learning_rate * self.weight_decay
            # the operator is of MXNet's older interface, which has its own view of an array
            old = weight.as_nd_ndarray()
            mx.nd.adam_update(
                old,
                value.grad().as_nd_ndarray(),
                memory["mean"].as_nd_ndarray(),
                memory["var"].as_nd_ndarray(),
                lr=learning_rate * c2 / c1,
                beta1=self.beta1,
                beta2=self.beta2,
                epsilon=self.epsilon * c2,
                out=old,
            )


def _optimizer(named: Mapping[str, Parameter], settings: Settings) -> _SGD | _AdamW:
    if settings.optimizer == "sgd":
        return _SGD(named, settings)
    if settings.optimizer == "adamw":
        return _AdamW(named, settings)
    raise ValueError(f"unknown optimizer {settings.optimizer!r}")
