"""One backend's part of the bench, in a process that lives on: it measures what it is asked to.

What a request needs is made and warmed up when it first comes, so that only one process computes
at a time and all are in steady state.
"""

import functools
import importlib
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from common import settings
from common.backends import session
from common.backends.parts import benchmark
from common.contract import Work
from common.data.dataset import Dataset
from common.data.fashion_mnist import load
from common.settings import Settings
from common.system import machine
from common.terminal.display import Bars
from common.training import fit
from common.training.records import Records
from common.training.run import Run

# Measured beside the backends, but only its matrix products.
NUMPY = "numpy"
# So low that the network stays as it is, and every backend keeps computing on similar numbers.
LEARNING_RATE = 1e-6
# A run evaluates a sixth as many images as it trains on, as Fashion-MNIST's 10000 and 60000.
TRAIN_BATCHES_PER_TEST_BATCH = 6
MOST_TIMES = 1000
# Of what is timed call by call; each is recorded.
MOST_CALLS = 100


def settings_for(size: int, batch_size: int, **others: Any) -> Settings:
    """The preset that trains at a size: ``fast`` at its own size, else the book's.

    In float32 and on the plain cross-entropy, for the backends and the bare step to be comparable.
    """
    preset = "fast" if size == settings.PRESETS["fast"]["resize"] else "book"
    fixed = {"resize": size, "batch_size": batch_size, "label_smoothing": 0.0}
    return settings.from_preset(preset, precision="float32", **fixed, **others)


class Worker:
    """Measures with one backend, or :data:`NUMPY`; plain data are what its methods take and return.

    It trains on so many images at a time, of data as ``--data`` takes them. The process started
    when ``time.monotonic()`` was ``started``; the others are settings: ``device`` and ``threads``.
    """

    def __init__(self, backend: str, data: str, batch: int, started: float, **others: Any) -> None:
        self.common = {"backend": backend, **others}
        self.data, self.batch, self.started = data, batch, started
        if backend != NUMPY:
            self.ready = session.start(Settings(**self.common))
        self._works: dict[tuple[Any, ...], tuple[Work, float]] = {}
        self._runs: dict[tuple[int, int], Run] = {}
        self._directory = tempfile.TemporaryDirectory(prefix="nin-bench-")
        # drawn as on a terminal while a run trains: they are part of what train.py costs
        nowhere = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm"})
        self._bars = Bars(console=nowhere)

    def about(self) -> dict[str, Any]:
        """The threads, device and versions that compute."""
        versions = machine.versions()
        if self.common["backend"] == NUMPY:
            return {"threads": machine.threads_for(self.common["threads"]), "versions": versions}
        versions |= self.ready.backend.versions()
        return {**self.ready.prepared, "device": self.ready.device.name, "versions": versions}

    def limit(self, n: int, seconds: float) -> dict[str, Any]:
        """Seconds of each of some products of two float32 matrices of this size."""
        return {"seconds": self._time_each(seconds, self._product, n)}

    def step(self, size: int, seconds: float) -> dict[str, Any]:
        """Seconds of so many bare steps together; see :class:`common.contract.Benchmark`."""
        work, times = self._warm(seconds, self._bare_step, size)
        return {"times": times, "seconds": _time(work, times)}

    def predict(self, size: int, batch: int, seconds: float) -> dict[str, Any]:
        """Seconds of each of some predictions; pixels go to the device and logits come back."""
        return {"seconds": self._time_each(seconds, self._prediction, size, batch)}

    def train(self, size: int, seconds: float) -> dict[str, Any]:
        """One epoch of ``train.py``, with all that it does in an epoch, evaluation included."""
        _, steps = self._warm(seconds, self._bare_step, size)
        train, test = self._dataset.train_images, self._dataset.test_images
        steps = min(steps, len(train) // self.batch)
        test_batches = min(steps // TRAIN_BATCHES_PER_TEST_BATCH, len(test) // self.batch)
        run = self._run(size, max(1, test_batches))
        self._bars.begin(run)
        if not run.history:
            run.train_epoch()  # in which a framework may compile, and late imports happen
        started = time.perf_counter()
        run.train_epoch()
        elapsed = time.perf_counter() - started
        self._bars.close()
        return {
            "steps": run.steps_per_epoch,
            "test_batches": len(run.dataset.test_images) // self.batch,
            "seconds": elapsed,
            "train_seconds": run.history[-1]["train_seconds"],
        }

    def memory(self, size: int) -> dict[str, Any]:
        """The peak of this process, which has done some bare steps and nothing else."""
        self._bare_step(size)(3)
        return {"bytes": machine.peak_memory()}

    def startup(self, size: int) -> dict[str, Any]:
        """Seconds from the start of the process until a run has done its first step."""
        run = self._new_run(settings_for(size, self.batch, **self.common), self._dataset)
        for watcher in run.watchers:
            watcher.begin(run)
        run.trainer.train_batch(np.arange(self.batch), LEARNING_RATE, 0)
        run.trainer.take_metrics()
        return {"seconds": round(time.monotonic() - self.started, 3)}

    def whole(self, size: int) -> dict[str, Any]:
        """Train an epoch as the book does; seconds from reading the data to the run's last file.

        Imports are not counted as time, but as memory.
        """
        # a run imports these when it first needs them, d2l all of its own at its start
        for late in ("common.training.tensorboard", "matplotlib.backends.backend_agg"):
            importlib.import_module(late)
        started = time.perf_counter()
        fixed = {"resize": size, "batch_size": self.batch, "epochs": 1}
        chosen = settings.from_preset("book", **fixed, **self.common)
        fit.fit(chosen, load(self.data), out=self._new_directory(), watchers=[self._bars])
        return {"seconds": time.perf_counter() - started, "bytes": machine.peak_memory()}

    @functools.cached_property
    def _dataset(self) -> Dataset:
        return load(self.data)

    def _time_each(self, seconds: float, make: Callable[..., Work], *arguments: int) -> list[float]:
        work, times = self._warm(seconds, make, *arguments)
        return [_time(work) for _ in range(min(times, MOST_CALLS))]

    def _warm(self, seconds: float, make: Callable[..., Work], *arguments: int) -> tuple[Work, int]:
        """What is made once of these arguments, and how often it can be done in so many seconds."""
        key = make, *arguments
        if key not in self._works:
            work = make(*arguments)
            _time(work)  # in which a framework may compile
            self._works[key] = work, _time(work)
        work, once = self._works[key]
        return work, max(1, min(MOST_TIMES, round(seconds / max(once, 1e-6))))

    def _product(self, n: int) -> Work:
        if self.common["backend"] != NUMPY:
            return benchmark(self.ready.backend).matrix_product(self.ready.device, n)
        A, B = np.random.default_rng(0).standard_normal((2, n, n), np.float32)
        return _repeat(lambda: np.dot(A, B))

    def _bare_step(self, size: int) -> Work:
        run = self._run(size)
        data = run.dataset.take(slice(self.batch), slice(1))
        images, labels = data.train_images, data.train_labels
        return benchmark(self.ready.backend).bare_step(run.trainer, images, labels, LEARNING_RATE)

    def _prediction(self, size: int, batch: int) -> Work:
        run = self._run(size)
        images = run.dataset.train_images[:batch]
        return _repeat(lambda: run.trainer.logits(images))

    def _run(self, size: int, test_batches: int = 1) -> Run:
        """One with so many batches in its evaluation, and more epochs than are ever trained."""
        if (size, test_batches) not in self._runs:
            test = test_batches * self.batch
            dataset = self._dataset.take(slice(TRAIN_BATCHES_PER_TEST_BATCH * test), slice(test))
            chosen = settings_for(size, self.batch, epochs=1000, **self.common)
            self._runs[size, test_batches] = self._new_run(chosen, dataset)
        return self._runs[size, test_batches]

    def _new_run(self, chosen: Settings, dataset: Dataset) -> Run:
        """A run as one of ``train.py`` on a terminal: with its files and bars."""
        run = fit.make(self.ready, chosen, dataset, watchers=[Records(), self._bars])
        run.directory = self._new_directory()
        return run

    def _new_directory(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._directory.name))


_workers: list[Worker] = []


def start(**options: Any) -> dict[str, Any]:
    """Make this process's worker; see :meth:`Worker.about`."""
    _workers.append(Worker(**options))
    return _workers[0].about()


def measure(method: str, **arguments: Any) -> dict[str, Any]:
    """Call a method of this process's worker."""
    return dict(getattr(_workers[0], method)(**arguments))


def _repeat(function: Callable[[], Any]) -> Work:
    def work(times: int) -> None:
        for _ in range(times):
            function()

    return work


def _time(work: Work, times: int = 1) -> float:
    """Seconds to do it so many times."""
    started = time.perf_counter()
    work(times)
    return round(time.perf_counter() - started, 7)
