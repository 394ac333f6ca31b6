"""One backend's part of the bench: a process that lives on and measures what it is told to.

What a request needs is made and warmed up when it first comes, so that only one process computes
at a time and all are in steady state.
"""

import dataclasses
import functools
import importlib
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common import settings
from common.backends import session
from common.contract import Trainer, Work
from common.data.fashion_mnist import Dataset, load
from common.errors import NinError
from common.network import architecture
from common.settings import Settings
from common.system import machine
from common.system.signals import StopRequest
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
# A profiler's memory shifts that of a step, and page faults count for whatever comes next: one step
# at a time after so many others, and the fastest of some.
STEPS_BEFORE_PROFILE, PROFILES = 5, 3
# A run imports these when it first needs them; d2l imports all of its own at its start.
LATE_IMPORTS = (
    "common.training.tensorboard",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
)
# A run in the bench is one of so many epochs, of which only some are ever trained.
EPOCHS = 1000


def settings_for(size: int, batch_size: int, **others: Any) -> Settings:
    """The preset that trains at a size: ``fast`` at its own size, else the book's.

    In float32 and on the plain cross-entropy, for the backends and the bare step to be comparable.
    """
    preset = "fast" if size == settings.PRESETS["fast"]["resize"] else "book"
    fixed = {
        "resize": size,
        "batch_size": batch_size,
        "precision": "float32",
        "label_smoothing": 0.0,
    }
    return settings.from_preset(preset, **fixed, **others)


class Worker:
    """Measures with one backend.

    Args:
        backend: the backend as :func:`common.backends.registry.load` takes it, or :data:`NUMPY`.
        data: as :func:`common.data.fashion_mnist.load` takes it.
        device: ``auto``, ``cpu`` or ``gpu``.
        threads: CPU threads, 0 for one on each core.

    Raises:
        NinError: as :func:`common.backends.session.start`.
    """

    def __init__(self, backend: str, data: str, device: str, threads: int) -> None:
        self.common: dict[str, Any] = {"backend": backend, "device": device, "threads": threads}
        self.data = data
        self.about: dict[str, Any]
        if backend == NUMPY:
            self.about = {"threads": machine.prepare(threads), "versions": machine.versions()}
        else:
            started = session.start(Settings(**self.common))
            self.backend, self.device = started.backend, started.device
            self.about = {
                **started.prepared,
                "device": started.device.name,
                "versions": {**machine.versions(), **started.backend.versions()},
            }
        self._works: dict[str, tuple[Work, int]] = {}
        self._runs: dict[tuple[int, int], Run] = {}
        self._trainers: dict[tuple[int, int], Trainer] = {}
        self._directory = tempfile.TemporaryDirectory(prefix="nin-bench-")
        self._dataset: Dataset | None = None
        self._rehearsed = False

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request says; what came out, as plain data.

        Args:
            request: ``do``: one of the methods below, and its arguments.
        """
        actions: dict[str, Callable[..., dict[str, Any]]] = {
            "describe": self.describe,
            "product": self.product,
            "convolution": self.convolution,
            "step": self.step,
            "train": self.train,
            "predict": self.predict,
            "memory": self.memory,
            "profile": self.profile,
            "whole": self.whole,
            "accuracy": self.accuracy,
        }
        return actions[request["do"]](**{k: v for k, v in request.items() if k != "do"})

    def describe(self) -> dict[str, Any]:
        """What computes."""
        return self.about

    def product(self, n: int, seconds: float) -> dict[str, Any]:
        """Seconds of each of some products of two matrices of this size."""

        def make() -> Work:
            if self.common["backend"] != NUMPY:
                return self.backend.matrix_product(self.device, n)
            A, B = np.random.default_rng(0).standard_normal((2, n, n), np.float32)
            return _repeat(lambda: np.dot(A, B))

        work, times = self._warm(f"product {n}", make, seconds)
        return {"seconds": _time_each(work, times)}

    def convolution(
        self, size: int, batch: int, layer: str, backward: bool, seconds: float
    ) -> dict[str, Any]:
        """Seconds of each of some computations of one convolution."""
        named = {each.name: each for each in architecture.convolutions(size)}
        work = self.backend.convolution(self.device, named[layer], batch, backward)
        # made anew each time: the arrays of all twelve would be too much to keep
        times = _warm_up(work, seconds)
        return {"seconds": _time_each(work, times)}

    def step(self, size: int, batch: int, seconds: float) -> dict[str, Any]:
        """Seconds of so many bare steps together; see :class:`common.contract.Backend`."""

        def make() -> Work:
            images, labels = self._batch(batch)
            trainer = self._trainer(size, batch)
            return self.backend.bare_step(trainer, images, labels, LEARNING_RATE)

        work, times = self._warm(f"step {size} {batch}", make, seconds)
        return {"times": times, "seconds": _time(lambda _: work(times))}

    def train(self, size: int, batch: int, seconds: float) -> dict[str, Any]:
        """One epoch of ``train.py``, with all that it does in an epoch, evaluation included."""
        if not self._rehearsed:
            # what a run does once, such as to import what writes its records
            self.whole(size, 1, TRAIN_BATCHES_PER_TEST_BATCH, 1, 1)
            self._rehearsed = True
        run = self._run(size, batch, seconds)
        started = time.perf_counter()
        with run.bars() as bars:
            run.train_epoch(bars)
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
            trainer = self._trainer(size, run_batch)
            return _repeat(lambda: trainer.logits(images))

        work, times = self._warm(f"predict {size} {batch}", make, seconds)
        return {"seconds": _time_each(work, times)}

    def memory(self, size: int, batch: int) -> dict[str, Any]:
        """Do bare steps and nothing else; the peak of this process so far."""
        trainer = self._trainer(size, batch)
        images, labels = self._batch(batch)
        self.backend.bare_step(trainer, images, labels, LEARNING_RATE)(3)
        return {"bytes": machine.peak_memory()}

    def profile(self, size: int, batch: int) -> dict[str, Any]:
        """Seconds of each kind of operation in a bare step, as the framework's profiler says."""
        # or the memory that a profiler takes and gives back would be counted as page faults of
        # whatever operation comes next
        machine.set_allocator(keep=True)
        trainer = self._trainer(size, batch)
        work = self.backend.bare_step(trainer, *self._batch(batch), LEARNING_RATE)
        profiles = []
        for _ in range(PROFILES):
            work(STEPS_BEFORE_PROFILE)
            profiles.append(self.backend.profile(trainer, work))
        profiles = [operations for operations in profiles if sum(operations.values())]
        if not profiles:
            raise NinError("the framework's profiler names no operation")
        fastest = min(profiles, key=lambda operations: sum(operations.values()))
        return {"operations": {name: round(seconds, 7) for name, seconds in fastest.items()}}

    def whole(self, size: int, batch: int, train: int, test: int, epochs: int) -> dict[str, Any]:
        """Train as the book does; seconds from reading the data to the last file of the run.

        Imports are not counted as time, but as memory.
        """
        for late in LATE_IMPORTS:
            importlib.import_module(late)
        started = time.perf_counter()
        dataset = first_images(load(self.data), train, test)
        with tempfile.TemporaryDirectory(dir=self._directory.name) as directory:
            chosen = settings.from_preset(
                "book", resize=size, batch_size=batch, epochs=epochs, **self.common
            )
            run = Run(Path(directory), chosen, dataset, self.backend, StopRequest(), _nothing)
            run.train()
            run.finish()
        return {"seconds": time.perf_counter() - started, "bytes": machine.peak_memory()}

    def accuracy(
        self, seed: int, targets: list[float], limit: int | None, started: float
    ) -> dict[str, Any]:
        """Train as ``train.py --preset fast`` does, until the last target is reached.

        Args:
            seed: of the run.
            targets: test accuracies, the last is the highest.
            limit: train on so many examples only; None for all.
            started: when the process started, as ``time.monotonic()`` counts.
        """
        chosen = settings.from_preset("fast", seed=seed, **self.common)
        # the preset leaves it to the machine
        chosen = dataclasses.replace(chosen, precision=session.start(chosen).precision)
        directory = Path(self._directory.name) / "accuracy"
        directory.mkdir()
        dataset = self.dataset().limit(limit)
        run = Run(directory, chosen, dataset, self.backend, StopRequest(), _nothing)
        run.save_checkpoint()
        epochs: list[dict[str, float]] = []
        with run.bars() as bars:
            while len(epochs) < chosen.epochs and run.train_epoch(bars):
                accuracy = run.progress.rows[-1]["test_accuracy"]
                seconds = round(time.monotonic() - started, 3)
                epochs.append({"seconds": seconds, "accuracy": accuracy})
                if accuracy >= targets[-1]:
                    break
        return {"precision": chosen.precision, "epochs": epochs}

    def dataset(self) -> Dataset:
        """Of this process, read once."""
        if self._dataset is None:
            self._dataset = load(self.data)
        return self._dataset

    def _batch(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        dataset = self.dataset()
        return dataset.train_images[:count], dataset.train_labels[:count]

    def _warm(self, key: str, make: Callable[[], Work], seconds: float) -> tuple[Work, int]:
        """What was made for a key, and how often it is to be done in about so many seconds."""
        if key not in self._works:
            work = make()
            self._works[key] = work, _warm_up(work, seconds)
        return self._works[key]

    def _trainer(self, size: int, batch: int) -> Trainer:
        """That of the run at this size if there is one: two would take memory twice."""
        if (size, batch) in self._runs:
            return self._runs[size, batch].trainer
        if (size, batch) not in self._trainers:
            dataset = first_images(self.dataset(), batch, batch)
            chosen = settings_for(size, batch, **self.common)
            net = self.backend.nin(dataset.num_classes, architecture.IN_CHANNELS, chosen.dropout)
            self.backend.initialize(net, chosen.init, chosen.seed)
            self._trainers[size, batch] = self.backend.Trainer(net, chosen, dataset)
        return self._trainers[size, batch]

    def _run(self, size: int, batch: int, seconds: float) -> Run:
        """A run whose epochs take about so many seconds, its network warmed up."""
        if (size, batch) not in self._runs:
            run, step_seconds = self._new_run(size, batch, 1)
            dataset = self.dataset()
            most = min(
                len(dataset.train_images) // (TRAIN_BATCHES_PER_TEST_BATCH * batch),
                len(dataset.test_images) // batch,
            )
            test_batches = round(seconds / step_seconds / TRAIN_BATCHES_PER_TEST_BATCH)
            if min(test_batches, most) > 1:
                run, _ = self._new_run(size, batch, min(test_batches, most))
            self._runs[size, batch] = run
        return self._runs[size, batch]

    def _new_run(self, size: int, batch: int, test_batches: int) -> tuple[Run, float]:
        dataset = first_images(
            self.dataset(),
            TRAIN_BATCHES_PER_TEST_BATCH * test_batches * batch,
            test_batches * batch,
        )
        chosen = settings_for(size, batch, **{**self.common, "epochs": EPOCHS})
        directory = Path(self._directory.name) / f"{size}-{batch}"
        directory.mkdir(exist_ok=True)
        run = Run(directory, chosen, dataset, self.backend, StopRequest(), _nothing)
        indices = np.arange(batch, dtype=np.int64)

        def train_batch(times: int) -> None:
            for _ in range(times):
                run.trainer.train_batch(indices, LEARNING_RATE, 0)
            run.trainer.take_metrics()

        _time(train_batch)
        run.trainer.logits(dataset.test_images[:batch])
        return run, _time(train_batch)


def first_images(dataset: Dataset, train: int, test: int) -> Dataset:
    """The first so many images of each set."""
    for name, wanted, there in (
        ("training", train, len(dataset.train_images)),
        ("test", test, len(dataset.test_images)),
    ):
        if wanted > there:
            raise NinError(f"--data: {wanted} {name} images are needed, there are only {there}")
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


def _nothing(line: str) -> None:
    """Nobody reads what a run in the bench has to say."""


@functools.cache
def _worker(**options: Any) -> Worker:
    return Worker(**options)


def measure(options: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """What this process's worker answers; it is made when it is first asked."""
    return _worker(**options).answer(request)
