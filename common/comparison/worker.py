"""One backend's part of a comparison, in a process and an interpreter of its own.

A backend that lacks a function is recorded as far as it goes; there must be ``nin``,
``set_weights`` and a ``Predictor`` with ``logits`` or ``activations``.
"""

import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.backends import session
from common.backends.parts import LackingError, need
from common.comparison import files, shapes
from common.comparison.job import LEVELS, PASS_STEPS, Job, Recording, below
from common.contract import Backend
from common.errors import NinError, one_line
from common.files.arrays import load_arrays, save_arrays
from common.network import architecture
from common.settings import Settings

# files in the comparison's directory
MATERIAL, RECORDING = "material.safetensors", "recording.safetensors"


def work(directory: str, backend: str, job: dict[str, Any]) -> dict[str, Any]:
    """Do a job with the material in a directory, and leave the arrays of the recording there.

    Args:
        directory: of the material.
        backend: as :func:`common.backends.registry.load` takes it.
        job: fields of :class:`Job`.

    Returns:
        The other fields of the :class:`Recording`.
    """
    started = time.monotonic()
    todo = Job(**{**job, "levels": tuple(job["levels"])})
    settings = Settings(backend, precision="auto", device=todo.device, threads=todo.threads)
    is_file = files.is_file(backend)
    ready = files.start(backend, settings) if is_file else session.start(settings)
    precisions = getattr(ready.backend, "PRECISIONS", (todo.dtype,))
    if todo.dtype not in precisions:
        raise NinError(f"`dtype={todo.dtype}`: it has only {', '.join(precisions)}")
    material, _ = load_arrays(Path(directory) / MATERIAL)
    fields = vars(record(backend, ready.backend, todo, material))
    # a file without any array cannot be read back (safetensors 0.8.0)
    save_arrays(Path(directory) / RECORDING, fields.pop("arrays") or {"none": np.zeros(1)}, {})
    fields["about"] = {
        "device": ready.device.name if hasattr(ready.backend, "find_device") else "not stated",
        "versions": ready.backend.versions() if hasattr(ready.backend, "versions") else {},
        "python": platform.python_version(),
        "interpreter": sys.executable,
        "threads": ready.prepared["threads"],
        "seconds": round(time.monotonic() - started, 1),
    }
    return fields


def record(name: str, backend: Backend, job: Job, material: Mapping[str, np.ndarray]) -> Recording:
    """Do a job with a backend of this process; an error in a level does not stop the others.

    Args:
        name: what the recording is called.
        backend: computes.
        job: what to record.
        material: of :func:`common.comparison.material.make_material`.
    """
    recorder = _Recorder(name, backend, job, material)
    for level in LEVELS:
        if level not in job.levels:
            continue
        try:
            getattr(recorder, level)()
        except LackingError as error:
            recorder.recording.absent[level] = str(error)
        except Exception as error:
            recorder.recording.failed[level] = f"{type(error).__name__}: {one_line(error)}"
    return recorder.recording


class _Recorder:
    """A method for each level."""

    def __init__(
        self, name: str, backend: Backend, job: Job, material: Mapping[str, np.ndarray]
    ) -> None:
        self.backend = backend
        self.job = job
        self.images, self.labels = material["images"], material["labels"]
        self.weights = {n: a.astype(job.dtype) for n, a in below("weights", material).items()}
        self.recording = Recording(name)

    def shapes(self) -> None:
        net = self.backend.nin()
        self.recording.shapes = []
        for layer in shapes.walk_through(self.backend, net, self.job.resize):
            self.recording.shapes.append(layer)
        oblong = shapes.walk_through(self.backend, net, self.job.resize, self.job.oblong_width)
        for seen, layer in zip(self.recording.shapes, oblong, strict=False):
            seen["oblong"] = layer["shape"]

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
        self._keep("gradients", {"loss": loss, **slopes})

    def training(self) -> None:
        # dropout draws other masks in every framework
        trainer = self._ready(need(self.backend, "Trainer"), self.images, self.labels, dropout=0.0)
        train_batch, take_metrics = need(trainer, "train_batch"), need(trainer, "take_metrics")
        size = self.job.batch_size
        for step in range(self.job.steps):
            first = step % PASS_STEPS * size
            indices = np.arange(first, first + size, dtype=np.int64)
            train_batch(indices, self.job.learning_rate, step)
        self._keep("training", {"losses": np.array(take_metrics()[0], np.float64)})
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
        return ready

    def _keep(self, level: str, arrays: Mapping[str, Any]) -> None:
        for name, array in arrays.items():
            self.recording.arrays[f"{level}/{name}"] = np.array(array)
