"""One backend's part of a comparison, in a process and an interpreter of its own.

A backend that lacks a function is recorded as far as it goes; there must be
``nin``, ``set_weights`` and a ``Trainer`` with ``logits`` or ``activations``.
"""

import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.backends import registry
from common.comparison.job import (
    LEVELS,
    PASS_STEPS,
    Job,
    Recording,
    read_job,
    weights_of,
    write_recording,
)
from common.contract import Backend
from common.data.fashion_mnist import Dataset
from common.data.resize import resize_matrix
from common.errors import NinError, one_line
from common.network import architecture
from common.settings import Settings
from common.system import machine


def record(name: str, backend: Backend, job: Job, material: Mapping[str, np.ndarray]) -> Recording:
    """Do a job with a backend of this process.

    Args:
        name: what the report calls the backend.
        backend: computes.
        job: what to record.
        material: as :func:`common.comparison.job.draw_material` gives it.
    """
    recorder = _Recorder(name, backend, job, material)
    for level in LEVELS:
        if level in job.levels:
            recorder.record(level)
    return recorder.recording


class _Recorder:
    def __init__(
        self, name: str, backend: Backend, job: Job, material: Mapping[str, np.ndarray]
    ) -> None:
        self.backend = backend
        self.job = job
        self.images, self.labels = material["images"], material["labels"]
        self.weights = {
            name: array.astype(job.dtype) for name, array in weights_of(material).items()
        }
        self.recording = Recording(name)

    def record(self, level: str) -> None:
        """Record one level; an error in it does not stop the others."""
        steps: dict[str, Callable[[], None]] = {
            "shapes": self.shapes,
            "parameters": self.parameters,
            "activations": self.activations,
            "gradients": self.gradients,
            "training": self.training,
        }
        try:
            steps[level]()
        except _AbsentError as error:
            self.recording.absent[level] = str(error)
        except Exception as error:
            self.recording.failed[level] = f"{type(error).__name__}: {one_line(error)}"

    def shapes(self) -> None:
        walk = _need(self.backend, "shape_walk")
        pixels = self.images[:1] / np.float32(255)
        rows = resize_matrix(pixels.shape[1], self.job.resize)
        across = resize_matrix(pixels.shape[2], self.job.oblong_width)
        net = self._net(architecture.DROPOUT)
        self.recording.shapes = []
        square, oblong = (
            np.ascontiguousarray((rows @ pixels @ matrix.T)[:, None], np.float32)
            for matrix in (rows, across)
        )
        for layer in walk(net, square):
            self.recording.shapes.append(
                {
                    "name": layer.name,
                    "book_name": layer.book_name,
                    "book_shape": layer.shape_text,
                    "shape": list(layer.output.shape),
                }
            )
        for seen, layer in zip(self.recording.shapes, walk(net, oblong), strict=False):
            seen["oblong"] = list(layer.output.shape)

    def parameters(self) -> None:
        get = _need(self.backend, "get_weights")
        trainer = self._trainer(architecture.DROPOUT)
        net = getattr(trainer, "net", None)
        # before and after: their shapes are worth a look even if they cannot be set
        self._keep("parameters", get(net))
        self.backend.set_weights(net, self.weights)
        self._keep("parameters", get(net))

    def activations(self) -> None:
        trainer = self._ready(architecture.DROPOUT)
        batch = self.images[: self.job.batch_size]
        if hasattr(trainer, "activations"):
            self._keep("activations", trainer.activations(batch))
        if hasattr(trainer, "logits"):
            self._keep("activations", {"logits": trainer.logits(batch)})
        elif not hasattr(trainer, "activations"):
            raise _AbsentError("its Trainer has no logits and no activations")

    def gradients(self) -> None:
        trainer = self._ready(architecture.DROPOUT)
        gradients = _need(trainer, "gradients", "its Trainer has")
        size = self.job.batch_size
        loss, slopes = gradients(self.images[:size], self.labels[:size])
        self._keep("gradients", {"loss": np.array(loss), **slopes})

    def training(self) -> None:
        # dropout draws other masks in every framework
        trainer = self._ready(dropout=0.0)
        train_batch = _need(trainer, "train_batch", "its Trainer has")
        take_metrics = _need(trainer, "take_metrics", "its Trainer has")
        size = self.job.batch_size
        for step in range(self.job.steps):
            first = step % PASS_STEPS * size
            indices = np.arange(first, first + size, dtype=np.int64)
            train_batch(indices, self.job.learning_rate, step)
        losses, _ = take_metrics()
        self._keep("training", {"losses": np.array(losses, np.float64)})
        if hasattr(self.backend, "get_weights"):
            self._keep("training", self.backend.get_weights(trainer.net))

    def _net(self, dropout: float) -> Any:
        net = self.backend.nin(architecture.NUM_CLASSES, architecture.IN_CHANNELS, dropout)
        if hasattr(self.backend, "initialize"):
            self.backend.initialize(net, "he", self.job.seed)
        return net

    def _trainer(self, dropout: float) -> Any:
        """A trainer whose weights are not yet those of the job."""
        job = self.job
        settings = Settings(
            backend=self.recording.name,
            lr=job.learning_rate,
            batch_size=job.batch_size,
            resize=job.resize,
            dropout=dropout,
            seed=job.seed,
            device=job.device,
            precision=job.dtype,
        )
        one = slice(0, 1)
        dataset = Dataset(
            self.images, self.labels, self.images[one], self.labels[one],
            architecture.NUM_CLASSES, "sample", "", {},
        )  # fmt: skip
        net = self._net(dropout)
        trainer = self.backend.Trainer(net, settings, dataset)
        if not hasattr(trainer, "net"):
            trainer.net = net
        device = getattr(trainer, "device", None)
        self.recording.about["device"] = getattr(device, "name", "not said")
        return trainer

    def _ready(self, dropout: float) -> Any:
        trainer = self._trainer(dropout)
        self.backend.set_weights(trainer.net, self.weights)
        return trainer

    def _keep(self, level: str, arrays: Mapping[str, Any]) -> None:
        for name, array in arrays.items():
            self.recording.arrays[f"{level}/{name}"] = np.array(array)


class _AbsentError(Exception):
    """The backend has no such function."""


def _need(owner: Any, name: str, has: str = "it has") -> Any:
    if not hasattr(owner, name):
        raise _AbsentError(f"{has} no {name}")
    return getattr(owner, name)


def work(directory: str) -> None:
    """Do the job in a directory, and leave the recording there.

    Raises:
        NinError: if the backend cannot be loaded, or has not what the job needs.
    """
    started = time.monotonic()
    spec, job, material = read_job(Path(directory))
    threads = machine.prepare(job.threads)
    backend = registry.load(spec)
    precisions = getattr(backend, "PRECISIONS", (job.dtype,))
    if job.dtype not in precisions:
        raise NinError(f"--dtype {job.dtype}: it has only {', '.join(precisions)}")
    if hasattr(backend, "set_threads"):
        backend.set_threads(threads)
    if hasattr(backend, "find_device"):
        backend.find_device(job.device)
    recording = record(registry.label(spec), backend, job, material)
    recording.about |= {
        "versions": backend.versions() if hasattr(backend, "versions") else {},
        "python": platform.python_version(),
        "interpreter": sys.executable,
        "threads": threads,
        "seconds": round(time.monotonic() - started, 1),
    }
    write_recording(Path(directory), recording)
