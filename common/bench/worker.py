"""One backend's part of the bench, in a process that lives on: it measures what it is asked to.

What a request needs is made and warmed up when it first comes, so that only one process computes
at a time and all are in steady state.
"""

import dataclasses
import functools
import importlib
import io
import math
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
from common.terminal.bars import Bars
from common.training import fit
from common.training.records import Records
from common.training.run import Run

# The library that is measured beside the backends; it only multiplies matrices.
NUMPY = "numpy"
# So low that the network stays as it is, and every backend goes on with the same sort of numbers.
LEARNING_RATE = 1e-6
# A run evaluates a sixth as many images as it trains on, as Fashion-MNIST's 10000 and 60000.
TRAIN_BATCHES_PER_TEST_BATCH = 6
MOST_TIMES = 1000
# Of what is timed call by call; each is recorded.
MOST_CALLS = 100
WARM_UP_SECONDS = 2
# A run imports these when it first needs them; d2l imports all of its own at its start.
LATE_IMPORTS = ("common.training.tensorboard", "matplotlib.backends.backend_agg")
# A run in the bench is one of so many epochs, of which only some are ever trained.
EPOCHS = 1000


def settings_for(size: int, batch_size: int, **others: Any) -> Settings:
    """The preset that trains at a size: ``fast`` at its own size, else the book's.

    In float32 and on the plain cross-entropy, for the backends and the bare step to be comparable.
    """
    preset = "fast" if size == settings.PRESETS["fast"]["resize"] else "book"
    fixed = {"resize": size, "batch_size": batch_size, "label_smoothing": 0.0}
    return settings.from_preset(preset, precision="float32", **fixed, **others)


class Worker:
    """Measures with one backend. What its methods return is plain data, as is what they take.

    Args:
        backend: as :func:`common.backends.registry.load` takes it, or :data:`NUMPY`.
        data: as :func:`common.data.fashion_mnist.load` takes it.
        device: ``auto``, ``cpu`` or ``gpu``.
        threads: CPU threads, 0 for one on each core.
        started: when the process started, as ``time.monotonic()`` counts.

    Raises:
        NinError: as :func:`common.backends.session.start`.
    """

    def __init__(self, backend: str, data: str, device: str, threads: int, started: float) -> None:
        self.common: dict[str, Any] = {"backend": backend, "device": device, "threads": threads}
        self.data = data
        self.started = started
        if backend != NUMPY:
            self.ready = session.start(Settings(**self.common))
            self.backend: Any = self.ready.backend
        self._works: dict[str, tuple[Work, int]] = {}
        self._runs: dict[tuple[int, int], Run] = {}
        self._directory = tempfile.TemporaryDirectory(prefix="nin-bench-")

    def about(self) -> dict[str, Any]:
        """What computes."""
        if self.common["backend"] == NUMPY:
            threads = machine.prepare(self.common["threads"])
            return {"threads": threads, "versions": machine.versions()}
        versions = {**machine.versions(), **self.backend.versions()}
        return {**self.ready.prepared, "device": self.ready.device.name, "versions": versions}

    def limit(self, n: int, seconds: float) -> dict[str, Any]:
        """Seconds of each of some products of two float32 matrices of this size."""

        def make() -> Work:
            if self.common["backend"] != NUMPY:
                return benchmark(self.backend).matrix_product(self.ready.device, n)
            A, B = np.random.default_rng(0).standard_normal((2, n, n), np.float32)
            return _repeat(lambda: np.dot(A, B))

        work, times = self._warm(f"limit {n}", make, seconds)
        return {"seconds": _time_each(work, times)}

    def step(self, size: int, batch: int, seconds: float) -> dict[str, Any]:
        """Seconds of so many bare steps together; see :class:`common.contract.Backend`."""

        def make() -> Work:
            trainer = self._run(size, batch).trainer
            return benchmark(self.backend).bare_step(trainer, *self._batch(batch), LEARNING_RATE)

        work, times = self._warm(f"step {size} {batch}", make, seconds)
        return {"times": times, "seconds": _time(lambda _: work(times))}

    def train(self, size: int, batch: int, seconds: float) -> dict[str, Any]:
        """One epoch of ``train.py``, with all that it does in an epoch, evaluation included."""
        run = self._run(size, batch, seconds)
        started = time.perf_counter()
        run.train_epoch()
        elapsed = time.perf_counter() - started
        row = run.progress.rows[-1]
        return {
            "steps": run.steps_per_epoch,
            "test_batches": math.ceil(len(run.dataset.test_images) / batch),
            "seconds": elapsed,
            "train_seconds": row["train_seconds"],
            "evaluation_seconds": row["evaluation_seconds"],
        }

    def predict(self, size: int, batch: int, seconds: float, run_batch: int) -> dict[str, Any]:
        """Seconds of each of some predictions; pixels go to the device and logits come back.

        Args:
            size: of the resized images, in pixels.
            batch: images at a time.
            seconds: to spend, about.
            run_batch: batch of the training run whose network predicts.
        """

        def make() -> Work:
            images, _ = self._batch(batch)
            trainer = self._run(size, run_batch).trainer
            return _repeat(lambda: trainer.logits(images))

        work, times = self._warm(f"predict {size} {batch}", make, seconds)
        return {"seconds": _time_each(work, times)}

    def memory(self, size: int, batch: int) -> dict[str, Any]:
        """Do bare steps and nothing else; the peak of this process so far."""
        trainer = self._run(size, batch).trainer
        benchmark(self.backend).bare_step(trainer, *self._batch(batch), LEARNING_RATE)(3)
        return {"bytes": machine.peak_memory()}

    def startup(self, size: int, batch: int) -> dict[str, Any]:
        """Seconds from the start of the process until a run has done its first step."""
        run = self._new_run(settings_for(size, batch, **self.common), self._dataset)
        _step(run)
        return {"seconds": round(time.monotonic() - self.started, 3)}

    def accuracy(self, seed: int, until: float, limit: int | None) -> dict[str, Any]:
        """Train as ``train.py --preset fast`` does, until a test accuracy is reached.

        Args:
            seed: of the run.
            until: the accuracy.
            limit: train on so many examples only; None for all.

        Returns:
            ``precision``, and for each epoch its test accuracy and the seconds from the start of
            the process to its end.
        """
        chosen = settings.from_preset("fast", seed=seed, **self.common)
        chosen = dataclasses.replace(chosen, precision=session.start(chosen).precision)
        run = self._new_run(chosen, self._dataset.limit(limit))
        epochs: list[dict[str, float]] = []
        while len(epochs) < chosen.epochs and run.train_epoch():
            accuracy = run.history[-1]["test_accuracy"]
            seconds = round(time.monotonic() - self.started, 3)
            epochs.append({"seconds": seconds, "accuracy": accuracy})
            if accuracy >= until:
                break
        return {"precision": chosen.precision, "epochs": epochs}

    def whole(self, size: int, batch: int, train: int, test: int, epochs: int) -> dict[str, Any]:
        """Train as the book does; seconds from reading the data to the last file of the run.

        Imports are not counted as time, but as memory.
        """
        for late in LATE_IMPORTS:
            importlib.import_module(late)
        started = time.perf_counter()
        dataset = first_images(load(self.data), train, test)
        chosen = settings.from_preset(
            "book", resize=size, batch_size=batch, epochs=epochs, **self.common
        )
        run = self._new_run(chosen, dataset)
        run.train()
        return {"seconds": time.perf_counter() - started, "bytes": machine.peak_memory()}

    @functools.cached_property
    def _dataset(self) -> Dataset:
        return load(self.data)

    def _batch(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        return self._dataset.train_images[:count], self._dataset.train_labels[:count]

    def _warm(self, key: str, make: Callable[[], Work], seconds: float) -> tuple[Work, int]:
        """What was made for a key, and how often it is to be done in about so many seconds."""
        if key not in self._works:
            work = make()
            self._works[key] = work, _warm_up(work, seconds)
        return self._works[key]

    def _new_run(self, chosen: Settings, dataset: Dataset) -> Run:
        """A run that has begun as one of ``train.py`` on a terminal: with its files and bars."""
        nowhere = Console(file=io.StringIO(), force_terminal=True)
        run = fit.make(self.ready, chosen, dataset, watchers=[Records(), Bars(console=nowhere)])
        run.directory = Path(tempfile.mkdtemp(dir=self._directory.name))
        for watcher in run.watchers:
            watcher.begin(run)
        return run

    def _run(self, size: int, batch: int, seconds: float = 0.0) -> Run:
        """The run at this size: one serves all, as two would take memory twice.

        Args:
            size: of the resized images, in pixels.
            batch: images at a time.
            seconds: that one of its epochs is to take, about; its network is then warmed up.
        """
        if (size, batch) not in self._runs:
            self._runs[size, batch] = run = self._run_of(size, batch, 1)
            if seconds:
                # what a run does once, such as to import what writes its records
                self.whole(size, 1, TRAIN_BATCHES_PER_TEST_BATCH, 1, 1)
                steps = seconds / _warm_run(run)
                most = min(
                    len(self._dataset.train_images) // (TRAIN_BATCHES_PER_TEST_BATCH * batch),
                    len(self._dataset.test_images) // batch,
                )
                test_batches = min(most, round(steps / TRAIN_BATCHES_PER_TEST_BATCH))
                if test_batches > 1:
                    self._runs[size, batch] = run = self._run_of(size, batch, test_batches)
                    _warm_run(run)
        return self._runs[size, batch]

    def _run_of(self, size: int, batch: int, test_batches: int) -> Run:
        train_batches = TRAIN_BATCHES_PER_TEST_BATCH * test_batches
        dataset = first_images(self._dataset, train_batches * batch, test_batches * batch)
        return self._new_run(settings_for(size, batch, epochs=EPOCHS, **self.common), dataset)


def _warm_run(run: Run) -> float:
    """Do in a run what is slower when it is done first; the seconds of one of its steps."""
    run.trainer.logits(run.dataset.test_images[: run.settings.batch_size])
    return [_time(lambda _: _step(run)) for _ in range(2)][1]


def _step(run: Run) -> None:
    indices = np.arange(run.settings.batch_size, dtype=np.int64)
    run.trainer.train_batch(indices, LEARNING_RATE, 0)
    run.trainer.take_metrics()


@functools.cache
def _worker(**options: Any) -> Worker:
    return Worker(**options)


def measure(do: str, options: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """What a method of this process's worker returns.

    Args:
        do: the method.
        options: of the worker, which is made when it is first asked.
        request: arguments of the method.
    """
    return dict(getattr(_worker(**options), do)(**request))


def first_images(dataset: Dataset, train: int, test: int) -> Dataset:
    """The first so many images of each set."""
    return dataclasses.replace(
        dataset,
        train_images=dataset.train_images[:train],
        train_labels=dataset.train_labels[:train],
        test_images=dataset.test_images[:test],
        test_labels=dataset.test_labels[:test],
    )


def _repeat(function: Callable[[], Any]) -> Work:
    def work(times: int) -> None:
        for _ in range(times):
            function()

    return work


def _time(work: Work) -> float:
    """Seconds to do it once."""
    started = time.perf_counter()
    work(1)
    return round(time.perf_counter() - started, 7)


def _time_each(work: Work, times: int) -> list[float]:
    return [_time(work) for _ in range(min(times, MOST_CALLS))]


def _warm_up(work: Work, seconds: float) -> int:
    """Do it until it is warm; how many times it can then be done in so many seconds, at least 1."""
    once = _time(work)  # in which a framework may compile
    spent = once
    for _ in range(2):
        if spent > WARM_UP_SECONDS:
            break
        once = _time(work)
        spent += once
    return max(1, min(MOST_TIMES, round(seconds / max(once, 1e-6))))
