"""The bench: what is measured, in which order, and what is kept of it.

The measurements go round and round: each round measures every part of every backend once, so that
whatever disturbs the machine disturbs all alike, and what is compared was measured side by side.
"""

import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from common import settings
from common.backends import registry, session
from common.backends.session import Apart, RefusedError
from common.bench import d2l as bench_d2l
from common.bench import worker as bench_worker
from common.bench.worker import NUMPY, TRAIN_BATCHES_PER_TEST_BATCH
from common.data import fashion_mnist
from common.errors import NinError, NinWarning, in_python
from common.system import machine
from common.system.processes import LostError, why_it_ended
from common.system.signals import as_interrupts
from common.training import run_directory

FORMAT = 1
STARTUP, ACCURACY, WORKERS, D2L = "startup", "accuracy", "workers", "d2l"
# what long-lived processes measure in every round, in this order
ROUND_PARTS = ("limit", "train", "step", "predict")
PARTS = (*ROUND_PARTS, "memory", STARTUP, ACCURACY)
KNOWN_PARTS = (*PARTS, WORKERS, D2L)
QUICK = {"parts": ROUND_PARTS, "repeats": 2, "seconds": 1.0, "seeds": 1}
# Whole runs that are timed beside each other: name -> settings beside those of the preset fast. The
# last is what fast was before it had Muon and the start from training images.
RECIPES: dict[str, dict[str, Any]] = {
    "fast": {},
    "fast, 1 epoch": {"epochs": 1},
    "AdamW, 4 epochs": {
        "epochs": 4, "lr": 0.0015, "optimizer": "adamw", "weight_decay": 0.0005,
        "schedule": "one-cycle", "init": "he", "dropout": 0.5,
    },
}  # fmt: skip
# products of matrices of these sizes; the best of them is the machine's limit
PRODUCT_SIZES, QUICK_PRODUCT_SIZES = (1024, 2048, 4096), (2048,)
# d2l needs minutes where the project needs seconds
MOST_D2L_ROUNDS = 2
# so many that what is done once in a run weighs no more than in one of the book's length
D2L_TRAIN_BATCHES, D2L_TEST_BATCHES = 10, 2
# of an epoch with several workers; the second epoch is timed
WORKERS_STEPS = 20
# no measurement takes longer on a machine that is fit for it
TIMEOUT_SECONDS = 3600
STOP_SECONDS = 30  # for a run to take its last step and end
MEASURE = "common.bench.worker:measure"
SCRIPTS = machine.PROJECT_DIRECTORY / "scripts"


@dataclass
class Plan:
    """What is to be measured.

    Raises:
        NinError: for a value that makes no sense, naming its option.
    """

    backends: Sequence[str] = tuple(registry.BACKENDS)
    parts: Sequence[str] = PARTS
    sizes: Sequence[int] = (224, settings.PRESETS["fast"]["resize"])
    batch_size: int = 128
    repeats: int = 3
    seconds: float = 5.0
    """To spend on one measurement of one backend, about."""
    seeds: int = 3
    workers: Sequence[int] = (2,)
    """How many are to train together; one is always measured too."""
    device: str = "auto"
    threads: int = 0
    data: str = "auto"
    quick: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        for what in ("backends", "parts", "sizes", "workers"):
            setattr(self, what, list(dict.fromkeys(getattr(self, what))))
            if not getattr(self, what):
                raise NinError(f"`{what}`: name at least one")
        for name in self.backends:
            registry.check_name(name)
        for part in self.parts:
            if part not in KNOWN_PARTS:
                raise NinError(f"`part={part}`: unknown; choose from {', '.join(KNOWN_PARTS)}")
        for name, least, most in (("repeats", 1, 1000), ("seconds", 1e-3, 600), ("seeds", 1, 1000)):
            value = getattr(self, name)
            if not least <= value <= most:
                raise NinError(f"`{name}={value}`: must be a number from {least} to {most}")
        for count in self.workers:
            if not 1 <= count <= 256:
                raise NinError(f"`workers={count}`: must be whole numbers from 1 to 256")
        for size in self.sizes:
            try:
                bench_worker.settings_for(
                    size, self.batch_size, device=self.device, threads=self.threads
                )
            except NinError as error:
                raise NinError(error.marked.replace("`resize=", "`size=")) from error


class Task(NamedTuple):
    """One measurement of one backend."""

    part: str
    backend: str
    round: int
    request: dict[str, Any]
    """Arguments of the worker's method of that name."""
    seconds: float
    """How long it takes, about."""


def tasks(plan: Plan) -> list[Task]:
    """All measurements, in order."""
    found: list[Task] = []

    def add(part: str, number: int, guess: float, **request: Any) -> None:
        # an epoch at 224 would take a quick bench's two minutes alone
        large = request.get("size", 0) > min(plan.sizes)
        too_long = plan.quick and large and part not in ("step", D2L)
        if part in plan.parts and not too_long:
            names = [*([NUMPY] if part == "limit" else []), *plan.backends]
            # every other round backwards, so that no backend is always the first
            for name in names[:: (-1) ** number]:
                found.append(Task(part, name, number, request, guess))

    seconds = plan.seconds
    for number in range(plan.repeats):
        for n in QUICK_PRODUCT_SIZES if plan.quick else PRODUCT_SIZES:
            add("limit", number, seconds / 2, n=n, seconds=seconds / 5)
        # size by size, so that what is compared is measured within a minute
        for size in plan.sizes:
            # train first: its network serves the others too; an epoch is long enough that what
            # is done once in it counts little
            add("train", number, 3 * seconds, size=size, seconds=2 * seconds)
            add("step", number, 1.5 * seconds, size=size, seconds=seconds)
            for count in dict.fromkeys((plan.batch_size, 1)):
                add("predict", number, seconds, size=size, batch=count, seconds=seconds / 2)
    for size in plan.sizes:
        add("memory", 0, 15, size=size)
    for number, size in product(range(plan.repeats), plan.sizes):
        add(STARTUP, number, 8, size=size)
    for seed, (recipe, changes) in product(range(plan.seeds), RECIPES.items()):
        add(ACCURACY, seed, 10 + 50 * changes.get("epochs", 0.5), seed=seed, recipe=recipe)
    for number, size, request in product(range(plan.repeats), plan.sizes, crews(plan)):
        add(WORKERS, number, 10 + seconds, size=size, **request)
    for number in range(min(plan.repeats, MOST_D2L_ROUNDS)):
        add(D2L, number, 90, size=max(plan.sizes))
    return found


def crews(plan: Plan) -> list[dict[str, int]]:
    """The workers that train together: how many, their threads each, and the batch of all.

    A worker has the same threads whether it is alone or not: its share of the machine when there
    are most of them. Last comes one worker with all threads, as ``train.py`` has them.
    """
    threads, batch = machine.threads_for(plan.threads), plan.batch_size
    share = max(1, threads // max(plan.workers))
    found = [(1, share, batch)]
    for count in plan.workers:
        found += [(count, share, batch), (count, share, batch * count)]
    found.append((1, threads, batch))
    names = ("workers", "threads", "batch")
    return [dict(zip(names, crew, strict=True)) for crew in dict.fromkeys(found)]


class Bench:
    """One bench.

    ``python`` has the interpreter of a backend as ``NAME=PATH``, ``d2l_python`` is that with d2l.

    Raises:
        NinError: for whatever the user can put right before anything runs.
    """

    def __init__(
        self, plan: Plan, python: Sequence[str] = (), d2l_python: Path = Path(sys.executable)
    ) -> None:
        if D2L in plan.parts and not d2l_python.exists():
            raise NinError(
                f"`d2l_python={d2l_python}`: no such file; the environment with d2l is needed "
                "(make test-book builds it), or leave `against` out"
            )
        self.plan = plan
        self.python = session.interpreters(plan.backends, python)
        self.d2l_python = os.path.abspath(d2l_python)  # noqa: PTH100 (keeps links)
        self.dataset = fashion_mnist.load(plan.data)
        self._check_data()
        self.about: dict[str, dict[str, Any]] = {}
        self.lost: dict[str, str] = {}
        """Backend, or part and backend, -> why it is no longer measured."""
        self.rows: list[dict[str, Any]] = []
        """Every measurement as it came."""
        self.complete = False
        self._workers: dict[str, Apart] = {}
        self._started = time.monotonic()

    def measure(self, show: Callable[[float, str], None]) -> None:
        """Measure all that is planned.

        A backend that is missing, fails or hangs gets a warning of one line and is left out from
        then on; where the process of a single part fails, that part of it. ``show`` is called
        before each measurement, with the share that is done and what comes now.
        """
        planned = tasks(self.plan)
        total, done = sum(task.seconds for task in planned), 0.0
        # leaving it ends the processes, at once if something went wrong
        with as_interrupts(), contextlib.ExitStack() as self._stack:
            for task in planned:
                name = f"{task.part}, {task.backend}"
                if self.lost.keys().isdisjoint((task.backend, name)):
                    show(done / total, name)
                    self._measure(task)
                done += task.seconds
        self.complete = not self.lost
        if not self.rows:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.lost.items())
            raise NinError(f"nothing could be measured ({reasons})")

    def start(self, backend: str, data: Path | None = None) -> Apart:
        """Start a process with a :class:`common.bench.worker.Worker`.

        Raises:
            NinError: if it does not start or its backend does not.
        """
        plan, interpreter = self.plan, self.python.get(backend, sys.executable)
        # NumPy counts hyper-threads, and only when it is imported
        environment = {machine.THREADS_VARIABLE: str(machine.threads_for(plan.threads))}
        process = Apart(interpreter, TIMEOUT_SECONDS, environment)
        try:
            self.about[backend] = process.call(
                "common.bench.worker:start", backend=backend, batch=plan.batch_size,
                data=str(data or self.dataset.directory), started=process.started,
                device=plan.device, threads=plan.threads,
            )  # fmt: skip
        except BaseException:
            process.kill()
            raise
        return process

    def record(self) -> dict[str, Any]:
        """What was measured on what, for a JSON file; names no path of this machine."""
        described = machine.describe()
        described.pop("executable")
        kind = self.dataset.kind
        # of other data the notice names the directory
        custom = "On data that are not the published Fashion-MNIST files."
        notice = custom if kind == "custom" else self.dataset.notice
        return {
            "format": FORMAT,
            "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "seconds": round(time.monotonic() - self._started, 1),
            "git_commit": machine.git_commit(),
            "complete": self.complete,
            "machine": described,
            "data": {"kind": kind, "notice": notice, "sha256": self.dataset.checksums},
            "plan": {**dataclasses.asdict(self.plan), "data": kind},
            "backends": self.about,
            "lost": {name: in_python(reason) for name, reason in self.lost.items()},
            "rows": self.rows,
        }

    def _check_data(self) -> None:
        train, test = TRAIN_BATCHES_PER_TEST_BATCH, 1
        if D2L in self.plan.parts:
            train, test = D2L_TRAIN_BATCHES, D2L_TEST_BATCHES
        batch, data = self.plan.batch_size, self.dataset
        for needed, there, what in (
            (train * batch, len(data.train_images), "training"),
            (test * batch, len(data.test_images), "test"),
        ):
            if needed > there:
                raise NinError(
                    f"`batch_size={batch}`: {needed} {what} images are needed, there are {there}"
                )

    def _measure(self, task: Task) -> None:
        at = round(time.monotonic() - self._started, 3)
        try:
            answer = self._ask(task)
        except NinError as error:
            # the other parts of a backend go on when a process of a single part fails
            started = task.backend in self._workers
            whole = task.part in ROUND_PARTS and (isinstance(error, LostError) or not started)
            name = task.backend if whole else f"{task.part}, {task.backend}"
            why = self.lost[name] = error.marked.removeprefix(f"backend {task.backend}: ")
            warnings.warn(f"{name}: left out from here on: {why}", NinWarning, stacklevel=1)
            if whole and started:
                self._workers[name].kill()
        else:
            head = {"part": task.part, "backend": task.backend, "round": task.round, "at": at}
            self.rows.append({**head, **task.request, **answer})

    def _ask(self, task: Task) -> Any:
        if task.part in ROUND_PARTS:
            if task.backend not in self._workers:
                self._workers[task.backend] = self._stack.enter_context(self.start(task.backend))
            return self._workers[task.backend].call(MEASURE, method=task.part, **task.request)
        self._stack.close()
        apart = {ACCURACY: self._whole_run, WORKERS: self._together, D2L: self._against_d2l}
        if task.part in apart:
            return apart[task.part](task)
        # a fresh process: memory and time that others have used would count
        with self.start(task.backend) as worker:
            return worker.call(MEASURE, method=task.part, **task.request)

    def _whole_run(self, task: Task) -> dict[str, Any]:
        """A run of ``train.py`` as a user starts it, from the command to its end."""
        seed, recipe = task.request.values()
        options = {"preset": "fast", "threads": self.plan.threads, "seed": seed, **RECIPES[recipe]}
        seconds, run = self._train(["train.py", "--backend", task.backend], task, **options)
        kept = ("epochs", "train_examples", "train_seconds", "precision", "test_accuracy")
        return {"seconds": seconds, **{name: run.result[name] for name in kept}}

    def _together(self, task: Task) -> dict[str, Any]:
        """An epoch of workers that ``launch.py`` starts, after another one."""
        size, workers, threads, batch = task.request.values()
        chosen = bench_worker.settings_for(size, batch)
        options = {name: getattr(chosen, name) for name in ("preset", "precision", "resize")}
        options |= {"batch_size": batch, "limit": WORKERS_STEPS * batch, "epochs": 2}
        start = ["launch.py", "--backend", task.backend, "--workers", str(workers), "--"]
        _, run = self._train(start, task, threads=threads, **options)
        seconds, device = run.rows[-1]["train_seconds"], run.result["device"]
        return {"seconds": seconds, "steps": WORKERS_STEPS, "device": device}

    def _train(self, script: Sequence[str], task: Task, **options: Any) -> tuple[float, Any]:
        """Run a script with options of ``train.py``: its seconds, and what the run recorded."""
        with tempfile.TemporaryDirectory(prefix="nin-bench-") as temporary:
            out = Path(temporary) / "run"
            options |= {"data": self.dataset.directory, "device": self.plan.device, "out": out}
            command = [self.python[task.backend], str(SCRIPTS / script[0]), *script[1:]]
            command += [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
            started = time.monotonic()
            with subprocess.Popen(
                command, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            ) as process:
                try:
                    _, errors = process.communicate(timeout=TIMEOUT_SECONDS)
                except subprocess.TimeoutExpired as error:
                    raise RefusedError(f"did not end in {TIMEOUT_SECONDS} s") from error
                finally:
                    # a launcher, asked first, ends its workers, which have groups of their own
                    process.terminate()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.communicate(timeout=STOP_SECONDS)
                    process.kill()
            seconds = round(time.monotonic() - started, 3)
            if process.returncode:
                raise RefusedError(why_it_ended(process.returncode, errors.splitlines()))
            return seconds, run_directory.read(out)

    def _against_d2l(self, task: Task) -> dict[str, Any]:
        """The same work on the same files in d2l's loop and the project's, in fresh processes."""
        if task.backend not in bench_d2l.MODULES:
            raise RefusedError("d2l has no such backend")
        batch = self.plan.batch_size
        train, test = D2L_TRAIN_BATCHES * batch, D2L_TEST_BATCHES * batch
        part = self.dataset.take(slice(train), slice(test))
        with tempfile.TemporaryDirectory(prefix="nin-bench-") as temporary:
            directory = Path(temporary) / "data"
            files = bench_d2l.write_files(part, directory)
            with self.start(task.backend, files) as worker:
                ours = worker.call(MEASURE, method="whole", **task.request)
            request = {**task.request, "backend": task.backend, "directory": str(directory)}
            try:
                theirs = session.call_apart(
                    self.d2l_python, "common.bench.d2l:run", TIMEOUT_SECONDS,
                    bench_d2l.environment(directory), batch=batch, **request,
                )  # fmt: skip
            except NinError as error:
                raise RefusedError(f"in d2l's environment: {error.marked}") from error
        self.about[f"{task.backend}, d2l"] = {"versions": theirs.pop("versions")}
        return {"train_examples": train, "test_examples": test, **ours, **theirs}
