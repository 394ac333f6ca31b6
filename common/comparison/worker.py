"""One backend's part of a comparison, in a process and an interpreter of its own.

A backend that lacks a function is recorded as far as it goes; there must be ``nin``,
``set_weights`` and a ``Predictor`` with ``logits`` or ``activations``.
"""

import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.backends import registry
from common.backends.parts import LackingError, need
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
        except LackingError as error:
            self.recording.absent[level] = str(error)
        except Exception as error:
            self.recording.failed[level] = f"{type(error).__name__}: {one_line(error)}"

    def shapes(self) -> None:
        walk = need(self.backend, "shape_walk")
        pixels = self.images[:1] / np.float32(255)
        rows = resize_matrix(pixels.shape[1], self.job.resize)
        across = resize_matrix(pixels.shape[2], self.job.oblong_width)
        net = self.backend.nin(architecture.NUM_CLASSES, architecture.IN_CHANNELS)
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
        get = need(self.backend, "get_weights")
        net = self._ready(need(self.backend, "Predictor"), weights=False).net
        # before and after: their shapes are worth a look even if they cannot be set
        self._keep("parameters", get(net))
        self.backend.set_weights(net, self.weights)
        self._keep("parameters", get(net))

    def activations(self) -> None:
        predictor = self._ready(need(self.backend, "Predictor"))
        batch = self.images[: self.job.batch_size]
        if hasattr(predictor, "activations"):
            self._keep("activations", predictor.activations(batch))
        if hasattr(predictor, "logits"):
            self._keep("activations", {"logits": predictor.logits(batch)})
        elif not hasattr(predictor, "activations"):
            raise LackingError("its Predictor has no logits and no activations")

    def gradients(self) -> None:
        predictor = self._ready(need(self.backend, "Predictor"))
        size = self.job.batch_size
        loss, slopes = need(predictor, "gradients")(self.images[:size], self.labels[:size])
        self._keep("gradients", {"loss": np.array(loss), **slopes})

    def training(self) -> None:
        # dropout draws other masks in every framework
        trainer = self._ready(need(self.backend, "Trainer"), self.images, self.labels, dropout=0.0)
        train_batch, take_metrics = need(trainer, "train_batch"), need(trainer, "take_metrics")
        size = self.job.batch_size
        for step in range(self.job.steps):
            first = step % PASS_STEPS * size
            indices = np.arange(first, first + size, dtype=np.int64)
            train_batch(indices, self.job.learning_rate, step)
        losses, _ = take_metrics()
        self._keep("training", {"losses": np.array(losses, np.float64)})
        if hasattr(self.backend, "get_weights"):
            self._keep("training", self.backend.get_weights(trainer.net))

    def _ready(
        self,
        make: Any,
        *data: np.ndarray,
        dropout: float = architecture.DROPOUT,
        weights: bool = True,
    ) -> Any:
        """A predictor or trainer, with the weights of the job."""
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
        net = self.backend.nin(architecture.NUM_CLASSES, architecture.IN_CHANNELS, dropout)
        ready = make(net, settings, *data)
        if not hasattr(ready, "net"):
            ready.net = net
        if weights:
            self.backend.set_weights(ready.net, self.weights)
        device = getattr(ready, "device", None)
        self.recording.about["device"] = getattr(device, "name", "not stated")
        return ready

    def _keep(self, level: str, arrays: Mapping[str, Any]) -> None:
        for name, array in arrays.items():
            self.recording.arrays[f"{level}/{name}"] = np.array(array)


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
        raise NinError(f"`dtype={job.dtype}`: it has only {', '.join(precisions)}")
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
