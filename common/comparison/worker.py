"""One backend's part of a comparison, in a process and an interpreter of its own.

A backend that lacks a function is recorded as far as it goes; there must be ``nin``,
``set_weights`` and a ``Predictor`` with ``logits`` or ``activations``.
"""

import dataclasses
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from common.backends import session
from common.backends.parts import LackingError, make_network, need
from common.comparison import dropout, files, shapes
from common.comparison.job import LEVELS, OF_NO_PRECISION, PASS_STEPS, Job, Recording, below
from common.contract import Backend
from common.conversion.convert import TELLING_SIZE
from common.errors import NinError, one_line, shortened
from common.files.arrays import load_arrays, save_arrays
from common.network import architecture
from common.settings import Settings

# Of one batch after the training. Losses of chance alone all rise, or all fall, in 2 of 120 cases.
REPEATS = 5
# Of the step whose changes are compared: large enough to leave float32 many digits of each, however
# small its gradient. Nothing is computed with what comes of it.
STEP_RATE = 1.0


def work(directory: str, backend: str, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Do a job with the material in a directory, and leave the arrays of the recordings there.

    ``backend`` is as :func:`common.backends.registry.load` takes it, or a weights file; ``job`` has
    the fields of a :class:`Job`.

    Returns:
        The fields of a :class:`Recording` for each precision, with a file in place of its arrays.
    """
    started = time.monotonic()
    todo = Job(**{**job, "levels": tuple(job["levels"])})
    settings = Settings(backend, precision="auto", device=todo.device, threads=todo.threads)
    is_file = files.is_file(backend)
    ready = files.start(backend, settings) if is_file else session.start(settings)
    material, _ = load_arrays(Path(directory) / files.MATERIAL)
    recordings = record(backend, ready.backend, todo, material)
    about: dict[str, Any] = {
        "device": ready.device.name if hasattr(ready.backend, "find_device") else "not stated",
        "versions": ready.backend.versions() if hasattr(ready.backend, "versions") else {},
        "python": platform.python_version(),
        "interpreter": sys.executable,
        "threads": ready.prepared["threads"],
        "seconds": round(time.monotonic() - started, 1),
        "seconds_in": {r.dtype: round(r.seconds, 1) for r in recordings},
    }
    if is_file:  # what is to be said of it
        about |= {n: x for n, x in vars(ready.backend).items() if n in ("run_as", "notes")}
    found = []
    for recording in recordings:
        # others do the same beside it
        file = Path(tempfile.mkdtemp(dir=directory)) / "recording.safetensors"
        # a file without any array cannot be read back (safetensors 0.8.0)
        save_arrays(file, recording.arrays or {"none": np.zeros(1)}, {})
        found.append({**vars(recording), "arrays": str(file), "about": about})
    return found


def record(
    name: str, backend: Backend, job: Job, material: Mapping[str, np.ndarray]
) -> list[Recording]:
    """A recording for each precision of a job that a backend has; NinError if it has none of them.

    An error in a level does not stop the others.
    """
    has = getattr(backend, "PRECISIONS", job.precisions)
    precisions = [dtype for dtype in job.precisions if dtype in has]
    if not precisions:
        raise NinError(f"`dtype={job.dtype}`: it has only {', '.join(has)}")
    recordings: list[Recording] = []
    for dtype in precisions:
        recorder = _Recorder(name, backend, dataclasses.replace(job, dtype=dtype), material)
        for level in LEVELS:
            if level not in job.levels or (recordings and level in OF_NO_PRECISION):
                continue
            started = time.monotonic()
            try:
                getattr(recorder, level)()
            except LackingError as error:
                recorder.recording.absent[level] = str(error)
            except Exception as error:
                kind = "" if isinstance(error, NinError) else f"{type(error).__name__}: "
                text = f"{kind}{one_line(error)}"
                # dropout is counted at a size of its own
                small = level != "dropout" and architecture.TOO_SMALL.search(text)
                if small and job.resize < TELLING_SIZE:
                    text += f"; compare at {TELLING_SIZE}, which shows which layer shrinks too much"
                recorder.recording.failed[level] = shortened(text, 500)
            if level not in OF_NO_PRECISION:
                recorder.recording.seconds += time.monotonic() - started
        recordings.append(recorder.recording)
    if len(recordings) > 1 and not hasattr(backend, "PRECISIONS") and _is_rounded(recordings[0]):
        # it takes no notice of the precision
        return [dataclasses.replace(recordings[0], dtype="float32")]
    return recordings


def _is_rounded(recording: Recording) -> bool:
    """Whether what should be float64 came as float32."""
    computed = {
        array.dtype.name
        for level in ("activations", "gradients", "training")
        for name, array in recording.group(level).items()
        if name not in ("loss", "losses")  # Python's numbers are float64
    }
    return computed == {"float32"}


class _Recorder:
    """A method for each level; the job has one precision."""

    def __init__(
        self, name: str, backend: Backend, job: Job, material: Mapping[str, np.ndarray]
    ) -> None:
        self.backend = backend
        self.job = job
        self.images, self.labels = material["images"], material["labels"]
        # a backend may go by the order
        weights = job.in_order(below("weights", material))
        self.weights = {name: array.astype(job.dtype) for name, array in weights.items()}
        self.recording = Recording(name, job.dtype)

    def shapes(self) -> None:
        net = make_network(self.backend, self.job.description, size=self.job.resize)
        self.recording.shapes = []
        for layer in shapes.walk_through(self.backend, net, self.job.resize):
            self.recording.shapes.append(layer)
        if self.job.description.head != "average":
            return  # a fully connected layer is made for square images
        oblong = shapes.walk_through(self.backend, net, self.job.resize, self.job.oblong_width)
        try:
            for seen, layer in zip(self.recording.shapes, oblong, strict=False):
                seen["oblong"] = layer["shape"]
        except LackingError:  # of a file for images of one size
            self.recording.shapes = None
            raise

    def parameters(self) -> None:
        get = need(self.backend, "get_weights")
        net = self._predictor.net
        # before and after: their shapes are worth a look even if they cannot be set
        self._keep("parameters", get(net))
        self.backend.set_weights(net, self.weights)
        self._keep("parameters", get(net))

    def activations(self) -> None:
        predictor = self._predictor
        self.backend.set_weights(predictor.net, self.weights)
        batch = self.images[: self.job.batch_size]
        if hasattr(predictor, "activations"):
            self._keep("activations", predictor.activations(batch))
        if hasattr(predictor, "logits"):
            self._keep("activations", {"logits": predictor.logits(batch)})
        elif not hasattr(predictor, "activations"):
            raise LackingError("its Predictor has no logits and no activations")

    def gradients(self) -> None:
        predictor = self._predictor
        self.backend.set_weights(predictor.net, self.weights)
        size = self.job.batch_size
        loss, slopes = need(predictor, "gradients")(self.images[:size], self.labels[:size])
        loss = np.asarray(loss)  # of any shape, if it is one number
        self._keep("gradients", {"loss": loss.reshape(()) if loss.size == 1 else loss, **slopes})

    def dropout(self) -> None:
        where = dropout.site(self.job.description)
        if where is None:
            return
        if isinstance(self.backend, files.WeightsFile):
            raise LackingError("it keeps the weights of the file, and this needs other ones")
        white, label = np.full_like(self.images[:1], 255), np.zeros_like(self.labels[:1])
        trainer = self._make("Trainer", white, label, resize=where.size, batch_size=1)
        weights = dropout.counting_weights(where, self.job.description)
        weights = {name: array.astype(self.job.dtype) for name, array in weights.items()}
        self.backend.set_weights(trainer.net, weights)
        batches = [np.zeros(1, np.int64)] * dropout.STEPS
        self._keep("dropout", {"losses": self._train(trainer, batches, 0.0)})

    def training(self) -> None:
        # dropout draws other masks in every framework
        trainer = self._make("Trainer", self.images, self.labels, dropout=0.0)
        self.backend.set_weights(trainer.net, self.weights)
        size = self.job.batch_size
        passes = np.arange(PASS_STEPS * size, dtype=np.int64).reshape(PASS_STEPS, size)
        batches = [passes[step % PASS_STEPS] for step in range(self.job.steps)]
        self._keep("training", {"losses": self._train(trainer, batches, self.job.learning_rate)})
        # The first batch again and again, each time with the weights as they were and at rate 0:
        # what a trainer keeps to itself, such as a running mean, moves these losses one way only.
        again = []
        for step in range(self.job.steps, self.job.steps + REPEATS):
            self.backend.set_weights(trainer.net, self.weights)
            again.append(self._train(trainer, batches[:1], 0.0, step))
        self._keep("again", {"losses": np.concatenate(again)})
        if hasattr(self.backend, "get_weights"):
            self.backend.set_weights(trainer.net, self.weights)
            self._train(trainer, batches[:1], STEP_RATE, self.job.steps + REPEATS)
            self._keep("training", self.backend.get_weights(trainer.net))

    def _train(
        self, trainer: Any, batches: Sequence[np.ndarray], rate: float, first: int = 0
    ) -> np.ndarray:
        """The losses of these steps, the first of which has this number."""
        train_batch, take_metrics = need(trainer, "train_batch"), need(trainer, "take_metrics")
        for step, indices in enumerate(batches, start=first):
            train_batch(indices, rate, step)
        losses = np.array(take_metrics()[0], np.float64)
        if losses.shape != (len(batches),):
            raise NinError(
                f"take_metrics: the losses have shape {losses.shape}, not ({len(batches)},)"
            )
        return losses

    @cached_property
    def _predictor(self) -> Any:
        return self._make("Predictor")

    def _make(self, part: str, *data: np.ndarray, **settings: Any) -> Any:
        """A predictor or trainer, with a network of its own."""
        job, make = self.job, need(self.backend, part)
        given = {
            "backend": self.recording.name,
            # each step is told its rate, which a trainer that takes this one overlooks
            "lr": 2 * job.learning_rate,
            "batch_size": job.batch_size,
            "resize": job.resize,
            "seed": job.seed,
            "device": job.device,
            "precision": job.dtype,
            "network": job.network,
        }
        chosen = Settings(**{**given, **settings})
        network, rate = job.description, chosen.dropout
        net = make_network(self.backend, network, dropout=rate, size=chosen.resize)
        ready = make(net, chosen, *data)
        if not hasattr(ready, "net"):
            ready.net = net
        return ready

    def _keep(self, level: str, arrays: Mapping[str, Any]) -> None:
        for name, array in arrays.items():
            self.recording.arrays[f"{level}/{name}"] = np.array(array)
