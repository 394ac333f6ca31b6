"""The training step in PyTorch: channels-last memory, the framework's own optimizers."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from common.data import augmentation
from common.settings import Settings
from common.training.schedule import step_seed
from nin_torch._graph import CapturedStep
from nin_torch.optimizer import OPTIMIZER_STATE, make_optimizer
from nin_torch.predict import Predictor
from nin_torch.weights import from_canonical, to_canonical
from nin_torch.workers import join_workers, summing_gradients


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
        self, net: nn.Module, settings: Settings, images: np.ndarray, labels: np.ndarray
    ) -> None:
        super().__init__(net, settings)
        device = self.device.native
        self.workers = join_workers(self.device)
        self.model = summing_gradients(self.net, self.workers)
        self.seed = settings.seed
        self.label_smoothing = settings.label_smoothing
        self.optimizer_name = settings.optimizer
        self.optimizer = make_optimizer(self.parameters, settings)

        self.images = torch.from_numpy(images).to(device)
        self.labels = torch.from_numpy(labels.astype(np.int64)).to(device)
        self.views = augmentation.views(images.shape[1], settings)
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
        self.captured &= self.workers.count == 1
        if self.captured:
            self.learning_rate = torch.zeros((), device=device)
            self._train = CapturedStep(self._step)

    def train_batch(self, indices: np.ndarray, learning_rate: float, step: int) -> None:
        """One optimizer step; see :class:`common.contract.Trainer`."""
        # dropout depends on seed, step and worker alone, so that a resumed run goes on exactly
        torch.manual_seed(step_seed(self.seed, step, self.workers.rank))
        if self.captured:
            self.learning_rate.fill_(learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate if self.captured else learning_rate
        inputs = [indices]
        if self.views is not None:
            inputs.append(augmentation.draw(self.views, self.seed, step, len(indices)))
        inputs = [self.workers.share(each) for each in inputs]
        # the sum of the workers' objectives is the batch's mean; DistributedDataParallel divides it
        self.part = len(inputs[0]) / len(indices) * self.workers.count
        loss, correct = self._train(*map(self.on_device, inputs))
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

    def state(self) -> dict[str, np.ndarray]:
        """Weights and the optimizer's state; see :class:`common.contract.Trainer`."""
        state = {name: to_canonical(value) for name, value in self.parameters.items()}
        for name, value in self.parameters.items():
            slots = self.optimizer.state.get(value, {})
            for canonical, native in OPTIMIZER_STATE[self.optimizer_name].items():
                if slots.get(native) is not None:
                    state[f"{canonical}.{name}"] = to_canonical(slots[native])
            if "step" in slots:
                state["optimizer_steps"] = np.array(int(slots["step"]))
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore a saved state; see :class:`common.contract.Trainer`."""
        if self.captured:
            # the graphs hold on to the memory that is cleared here
            self._train = CapturedStep(self._step)
        self.optimizer.state.clear()
        for name, value in self.parameters.items():
            from_canonical(value, state[name])
            slots = self.optimizer.state[value]
            for canonical, native in OPTIMIZER_STATE[self.optimizer_name].items():
                if f"{canonical}.{name}" in state:
                    slots[native] = torch.zeros_like(value)
                    from_canonical(slots[native], state[f"{canonical}.{name}"])
            if "optimizer_steps" in state:
                steps = float(state["optimizer_steps"])
                slots["step"] = torch.tensor(steps, device=value.device)

    def views_of(self, images: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        """What the network sees of images that are moved or mirrored; as :meth:`pixels`.

        Args:
            images: uint8, (batch, height, width), on the device.
            choice: which view of each, as :func:`common.data.augmentation.draw` gives it.
        """
        scaled = images.to(self.dtype) / 255
        rows, columns = self.rows[choice[:, 0]], self.columns[choice[:, 1]]
        return (rows @ scaled @ columns.mT).unsqueeze(1)

    def _step(
        self, indices: torch.Tensor, choice: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What :meth:`train_batch` computes; loss and number of correct answers."""
        images, labels = self.images[indices], self.labels[indices]
        self.net.train()
        with self.autocast():
            seen = self.pixels(images) if choice is None else self.views_of(images, choice)
            logits = self.model(seen)
        logits = logits.to(self.dtype)
        loss = F.cross_entropy(logits, labels)
        objective = loss
        if self.label_smoothing:
            uniform = -F.log_softmax(logits, 1).mean()
            objective = loss + self.label_smoothing * (uniform - loss)
        self.optimizer.zero_grad()
        (objective * self.part if self.workers.count > 1 else objective).backward()
        if self.captured:
            # PyTorch insists on it in a capture, and warns of it outside
            for group in self.optimizer.param_groups:
                group["capturable"] = torch.cuda.is_current_stream_capturing()
        self.optimizer.step()
        return loss.detach(), (logits.detach().argmax(1) == labels).sum()
