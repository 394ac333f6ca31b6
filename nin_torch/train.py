"""The training step in PyTorch: channels-last memory, the framework's own optimizers."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from common.data import augmentation
from common.data.fashion_mnist import Dataset
from common.data.resize import resize_matrix
from common.settings import Settings
from common.training.schedule import step_seed
from nin_torch import layers
from nin_torch.device import find_device
from nin_torch.weights import from_canonical, parameters, to_canonical

# canonical name of an optimizer's memory -> PyTorch's
OPTIMIZER_MEMORY = {
    "sgd": {"momentum": "momentum_buffer"},
    "adamw": {"mean": "exp_avg", "variance": "exp_avg_sq"},
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
        self.dtype = torch.float64 if settings.precision == "float64" else torch.float32
        bfloat16 = settings.precision == "bfloat16"
        self.autocast = partial(torch.autocast, device.type, torch.bfloat16, enabled=bfloat16)
        self.seed = settings.seed
        self.label_smoothing = settings.label_smoothing

        # of the GPU library's convolutions, take those that give the same numbers in every run
        torch.backends.cudnn.deterministic = True
        # channels last is what the CPU's and the GPU's convolutions are fastest with
        self.net = net.to(device, self.dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.parameters = parameters(self.net)
        self.optimizer_name = settings.optimizer
        self.optimizer = _optimizer(list(self.parameters.values()), settings)

        self.images = torch.from_numpy(dataset.train_images).to(device)
        self.labels = torch.from_numpy(dataset.train_labels.astype(np.int64)).to(device)
        matrix = resize_matrix(dataset.train_images.shape[1], settings.resize)
        self.resize = torch.from_numpy(matrix).to(device, self.dtype)
        self.views = augmentation.views(dataset.train_images.shape[1], settings)
        if self.views is not None:
            self.rows, self.columns = (
                torch.from_numpy(matrices).to(device, self.dtype) for matrices in self.views
            )
        self._losses: list[torch.Tensor] = []
        self._correct: list[torch.Tensor] = []

        self._train: Callable[..., tuple[torch.Tensor, ...]] = self._step
        # differs: on a GPU what runs is a graph, and the learning rate a tensor, or it would stay
        # what it was when the graph was captured; PyTorch takes such a tensor in float32 only
        self.captured = self.device.kind == "gpu" and self.dtype == torch.float32
        if self.captured:
            self.learning_rate = torch.zeros((), device=device)
            self._train = _CapturedStep(self._step)

    def train_batch(self, indices: np.ndarray, learning_rate: float, step: int) -> None:
        """One optimizer step; see :class:`common.contract.Trainer`."""
        # dropout depends on the seed and the step alone, so that a resumed run goes on exactly
        torch.manual_seed(step_seed(self.seed, step))
        if self.captured:
            self.learning_rate.fill_(learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate if self.captured else learning_rate
        inputs = [indices]
        if self.views is not None:
            inputs.append(augmentation.draw(self.views, self.seed, step, len(indices)))
        # non-blocking: a GPU copies them when it gets there, and nobody waits for it
        device = self.images.device
        loss, correct = self._train(
            *(torch.from_numpy(each).to(device, non_blocking=True) for each in inputs)
        )
        self._losses.append(loss)
        self._correct.append(correct)

    def take_metrics(self) -> tuple[np.ndarray, np.ndarray]:
        """Loss and correct answers of each step; see :class:`common.contract.Trainer`."""
        if not self._losses:
            return np.zeros(0), np.zeros(0, np.int64)
        losses = torch.stack(self._losses).cpu().numpy().astype(np.float64)
        correct = torch.stack(self._correct).cpu().numpy()
        self._losses, self._correct = [], []
        return losses, correct

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Predict with dropout off; see :class:`common.contract.Trainer`."""
        self.net.eval()
        with torch.inference_mode(), self.autocast():
            logits = self.net(self.pixels(torch.from_numpy(images).to(self.images.device)))
        return logits.to(self.dtype).cpu().numpy()

    def activations(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs of all layers; see :class:`common.contract.Trainer`."""
        with self.autocast():
            pixels = self.pixels(torch.from_numpy(images).to(self.images.device))
            return layers.activations(self.net, pixels)

    def gradients(
        self, images: np.ndarray, labels: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Loss and its gradients, dropout off; see :class:`common.contract.Trainer`."""
        target = torch.from_numpy(labels.astype(np.int64)).to(self.images.device)
        self.net.eval()
        with self.autocast():
            logits = self.net(self.pixels(torch.from_numpy(images).to(self.images.device)))
        loss = F.cross_entropy(logits.to(self.dtype), target)
        slopes = torch.autograd.grad(loss, list(self.parameters.values()))
        named = zip(self.parameters, slopes, strict=True)
        return loss.item(), {name: to_canonical(slope) for name, slope in named}

    def state(self) -> dict[str, np.ndarray]:
        """Weights and the optimizer's memory; see :class:`common.contract.Trainer`."""
        state = {name: to_canonical(value) for name, value in self.parameters.items()}
        for name, value in self.parameters.items():
            memory = self.optimizer.state.get(value, {})
            for canonical, native in OPTIMIZER_MEMORY[self.optimizer_name].items():
                if memory.get(native) is not None:
                    state[f"{canonical}.{name}"] = to_canonical(memory[native])
            if "step" in memory:
                state["optimizer_steps"] = np.array(int(memory["step"]))
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up a saved state; see :class:`common.contract.Trainer`."""
        if self.captured:
            # the graphs hold on to the memory that is cleared here
            self._train = _CapturedStep(self._step)
        self.optimizer.state.clear()
        for name, value in self.parameters.items():
            from_canonical(value, state[name])
            memory = self.optimizer.state[value]
            for canonical, native in OPTIMIZER_MEMORY[self.optimizer_name].items():
                if f"{canonical}.{name}" in state:
                    memory[native] = torch.zeros_like(value)
                    from_canonical(memory[native], state[f"{canonical}.{name}"])
            if "optimizer_steps" in state:
                steps = float(state["optimizer_steps"])
                memory["step"] = torch.tensor(steps, device=value.device)

    def pixels(self, images: torch.Tensor, choice: torch.Tensor | None = None) -> torch.Tensor:
        """What the network sees: resized, scaled to 0...1.

        Args:
            images: uint8, (batch, height, width), on the device.
            choice: which view of each, as :func:`common.data.augmentation.draw` gives it.

        Returns:
            (batch, 1, resize, resize).
        """
        scaled = images.to(self.dtype) / 255
        rows = self.resize if choice is None else self.rows[choice[:, 0]]
        columns = self.resize if choice is None else self.columns[choice[:, 1]]
        return (rows @ scaled @ columns.mT).unsqueeze(1)

    def _step(
        self, indices: torch.Tensor, choice: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What :meth:`train_batch` computes; loss and number of correct answers."""
        labels = self.labels[indices]
        self.net.train()
        with self.autocast():
            logits = self.net(self.pixels(self.images[indices], choice))
        logits = logits.to(self.dtype)
        loss = F.cross_entropy(logits, labels)
        objective = loss
        if self.label_smoothing:
            uniform = -F.log_softmax(logits, 1).mean()
            objective = loss + self.label_smoothing * (uniform - loss)
        self.optimizer.zero_grad(set_to_none=True)
        objective.backward()
        if self.captured:
            # PyTorch insists on it in a capture, and warns of it outside
            for group in self.optimizer.param_groups:
                group["capturable"] = torch.cuda.is_current_stream_capturing()
        self.optimizer.step()
        return loss.detach(), (logits.detach().argmax(1) == labels).sum()


def _optimizer(values: list[torch.Tensor], settings: Settings) -> torch.optim.Optimizer:
    lr, decay = settings.lr, settings.weight_decay
    # fused: one pass over each weight, and the same bits in every run; PyTorch's other AdamW is
    # not reproducible on a CPU (seen in 2.13: two or three different results in seven runs)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(values, lr, settings.momentum, weight_decay=decay, fused=True)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(values, lr, weight_decay=decay, fused=True)
    raise ValueError(f"unknown optimizer {settings.optimizer!r}")


class _CapturedStep:
    """A function of tensors on a GPU that becomes a CUDA graph.

    differs: TensorFlow and MXNet compile the step; PyTorch launches each operation by itself, and
    a GPU is done with many of this network's before the next is launched.

    Inputs of another shape, as an epoch's last batch has, become a graph of their own. The first
    few calls with a shape run the function as it is, so that nothing is computed but what was
    asked for.

    Args:
        step: neither waits for the GPU nor decides by what is in a tensor; what it changes, it
            changes in place.
    """

    # run as they are before one is captured: in them PyTorch makes what it keeps
    warm_up_steps = 3

    def __init__(self, step: Callable[..., tuple[torch.Tensor, ...]]) -> None:
        self.step = step
        self.stream = torch.cuda.Stream()
        # the graphs take turns, and so need no memory of their own
        self.pool = torch.cuda.graph_pool_handle()
        self.calls: dict[tuple[torch.Size, ...], int] = {}
        self.graphs: dict[tuple[torch.Size, ...], _Graph] = {}

    def __call__(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What the function gives."""
        shapes = tuple(each.shape for each in inputs)
        if shapes not in self.graphs:
            self.calls[shapes] = self.calls.get(shapes, 0) + 1
            if self.calls[shapes] <= self.warm_up_steps:
                return self._as_it_is(inputs)
            self.graphs[shapes] = _Graph(self.step, inputs, self.stream, self.pool)
        return self.graphs[shapes].replay(inputs)

    def _as_it_is(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        # on the stream of the capture: PyTorch's gradients stay on the stream they were first on
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            outputs = self.step(*inputs)
        torch.cuda.current_stream().wait_stream(self.stream)
        return outputs


class _Graph:
    """A captured call, with the places of its inputs and outputs."""

    def __init__(
        self,
        step: Callable[..., tuple[torch.Tensor, ...]],
        inputs: tuple[torch.Tensor, ...],
        stream: torch.cuda.Stream,
        pool: Any,
    ) -> None:
        self.inputs = tuple(each.clone() for each in inputs)
        self.graph = torch.cuda.CUDAGraph()
        # it records and computes nothing
        with torch.cuda.graph(self.graph, pool, stream):
            self.outputs = step(*self.inputs)

    def replay(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        for place, given in zip(self.inputs, inputs, strict=True):
            place.copy_(given)
        self.graph.replay()
        # the next replay overwrites them
        return tuple(each.clone() for each in self.outputs)
