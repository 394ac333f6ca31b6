"""The bench: what is measured, in which order, and the file that it leaves.

The measurements go round and round: each round measures every part of every backend once, so that
whatever disturbs the machine disturbs all alike, and what is compared was measured side by side.
"""

import contextlib
import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from common import settings
from common.backends import registry, session
from common.backends.session import Apart, RefusedError
from common.bench import d2l as bench_d2l
from common.bench.worker import (
    NUMPY,
    TRAIN_BATCHES_PER_TEST_BATCH,
    first_images,
    settings_for,
)
from common.data.fashion_mnist import load_and_tell
from common.errors import NinError
from common.network import architecture
from common.system import machine
from common.system.processes import LostError
from common.system.signals import as_interrupts

FORMAT = 1
STARTUP, ACCURACY, D2L = "startup", "accuracy", "d2l"
# what long-lived processes measure in every round, in this order
ROUND_PARTS = ("limit", "train", "step", "predict")
PARTS = (*ROUND_PARTS, "memory", STARTUP, ACCURACY)
KNOWN_PARTS = (*PARTS, D2L)
QUICK_PARTS = ROUND_PARTS
TARGET_ACCURACIES = (0.845, 0.880, 0.900)
# products of matrices of these sizes; the best of them is the machine's limit
PRODUCT_SIZES, QUICK_PRODUCT_SIZES = (1024, 2048, 4096), (2048,)
# d2l needs minutes where the project needs seconds
MOST_D2L_ROUNDS = 2
# so many, lest what is done once in a run weighs more than in one of the book's length
D2L_TRAIN_BATCHES, D2L_TEST_BATCHES = 10, 2
# None of a bench's measurements takes longer on a machine that is fit for it.
TIMEOUT_SECONDS = 3600


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    backends: tuple[str, ...] = tuple(registry.BACKENDS)
    parts: tuple[str, ...] = PARTS
    sizes: tuple[int, ...] = (224, settings.PRESETS["fast"]["resize"])
    batch_size: int = 128
    repeats: int = 3
    seconds: float = 5.0
    """To spend on one measurement of one backend, about."""
    seeds: int = 3
    device: str = "auto"
    threads: int = 0
    data: str = "auto"
    quick: bool = False
    accuracy_limit: int | None = None
    """Train on so many examples only, for tests."""

    def check(self) -> None:
        """Raise :class:`NinError` for a value that makes no sense, naming its option."""
        smallest = architecture.smallest_input()
        for what, known in (("backends", registry.names()), ("parts", KNOWN_PARTS), ("sizes", ())):
            values = getattr(self, what)
            if not values:
                raise NinError(f"`{what}`: choose from {','.join(known) or 'sizes in pixels'}")
            for value in values:
                if known and value not in known:
                    raise NinError(f"`{what}={value}`: unknown; choose from {', '.join(known)}")
                if values.count(value) > 1:
                    raise NinError(f"`{what}`: {value} is named twice")
                if not known and not smallest <= value <= 4096:
                    works = f"the smallest that works is {smallest}, the largest 4096"
                    raise NinError(f"`sizes={value}`: {works} pixels")
        for name, good, wanted in (
            ("repeats", 1 <= self.repeats <= 1000, "a whole number from 1 to 1000"),
            ("seconds", 0 < self.seconds <= 600, "a number above 0, at most 600"),
            ("seeds", 1 <= self.seeds <= 1000, "a whole number from 1 to 1000"),
        ):
            if not good:
                raise NinError(f"`{name}={getattr(self, name)}`: must be {wanted}")
        settings_for(self.sizes[0], self.batch_size, device=self.device, threads=self.threads)

    def sizes_of(self, part: str) -> tuple[int, ...]:
        """The sizes at which a part is measured: in a quick bench the smallest, but for the step.

        An epoch at 224 would take a quick bench's two minutes alone.
        """
        if part == D2L:
            return (max(self.sizes),)
        return (min(self.sizes),) if self.quick and part != "step" else self.sizes


@dataclass(frozen=True)
class Job:
    """One measurement of one backend."""

    part: str
    backend: str
    round: int
    request: dict[str, Any]
    guess: float
    """How long it takes, in seconds, until one like it has been measured."""

    def __str__(self) -> str:
        """For a person who watches."""
        size = f" at {self.request['size']}" if "size" in self.request else ""
        return f"{self.part}{size}, {self.backend}"

    @property
    def kind(self) -> tuple[Any, ...]:
        """What it has in common with its like in other rounds."""
        return self.part, self.backend, *map(self.request.get, ("n", "size", "batch"))


def jobs(plan: Plan) -> list[Job]:
    """All measurements, in order."""
    found: list[Job] = []

    def add(part: str, number: int, guess: float, **request: Any) -> None:
        if part in plan.parts and request.get("size") in (None, *plan.sizes_of(part)):
            order = (NUMPY, *plan.backends) if part == "limit" else plan.backends
            # every other round backwards, so that nobody is always the first
            for backend in order if number % 2 == 0 else reversed(order):
                found.append(Job(part, backend, number, request, guess))

    seconds, batch = plan.seconds, plan.batch_size
    for number in range(plan.repeats):
        for n in QUICK_PRODUCT_SIZES if plan.quick else PRODUCT_SIZES:
            add("limit", number, seconds / 2, n=n, seconds=seconds / 5)
        # size by size, so that what is compared is measured within a minute
        for size in plan.sizes:
            # train first: its network serves the others too; an epoch is long enough that what
            # is done once in it counts little
            add("train", number, 3 * seconds, size=size, batch=batch, seconds=2 * seconds)
            add("step", number, 1.5 * seconds, size=size, batch=batch, seconds=seconds)
            for count in dict.fromkeys((batch, 1)):
                sizes = {"size": size, "batch": count, "run_batch": batch}
                add("predict", number, seconds, seconds=seconds / 2, **sizes)
    for size in plan.sizes:
        add("memory", 0, 15, size=size, batch=batch)
    for number in range(plan.repeats):
        for size in plan.sizes:
            add(STARTUP, number, 8, size=size, batch=batch)
    for number in range(plan.seeds):
        until, limit = TARGET_ACCURACIES[-1], plan.accuracy_limit
        add(ACCURACY, number, 240, seed=number, until=until, limit=limit)
    for number in range(min(plan.repeats, MOST_D2L_ROUNDS)):
        add(D2L, number, 90, size=max(plan.sizes), batch=batch, epochs=1)
    return found


class WorkerProcess(Apart):
    """A :class:`common.bench.worker.Worker` in a process of its own.

    Args:
        interpreter: to run it.
        options: of the worker.

    Raises:
        LostError: if it does not start or its backend does not.
    """

    def __init__(self, interpreter: str, options: Mapping[str, Any]) -> None:
        # rich draws its bars, as for a person who watches: they are part of what is measured
        environment = {"FORCE_COLOR": "1", "TERM": "xterm"}
        if options["backend"] == NUMPY:  # it counts hyper-threads, and only when it is imported
            threads = options["threads"] or machine.given(machine.THREADS_VARIABLE)
            environment[machine.THREADS_VARIABLE] = str(threads or machine.physical_cores())
        super().__init__(interpreter, TIMEOUT_SECONDS, environment)
        self._options = {**options, "started": self.started}
        try:
            self.about = self.ask("about", {})
        except BaseException as error:
            self.kill()
            if isinstance(error, RefusedError):
                raise LostError(str(error)) from error
            raise

    def __enter__(self) -> "WorkerProcess":
        """It has started already."""
        return self

    def ask(self, do: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """What a method of the worker returns; raises as :meth:`Apart.call`."""
        function = "common.bench.worker:measure"
        return dict(self.call(function, do=do, options=self._options, request=request))


class Bench:
    """One bench. Use as a context manager, which ends its processes.

    Args:
        plan: what to measure.
        python: ``NAME=PATH`` each, the interpreter of a backend.
        d2l_python: the interpreter that has d2l.
        say: prints a line for the person who watches.

    Raises:
        NinError: for whatever the user can put right before anything runs.
    """

    def __init__(
        self, plan: Plan, python: Sequence[str], d2l_python: Path, say: Callable[[str], None]
    ) -> None:
        plan.check()
        if D2L in plan.parts and not d2l_python.exists():
            raise NinError(
                f"`d2l_python={d2l_python}`: no such file; the environment with d2l is needed "
                "(make test-book builds it), or leave `against` out"
            )
        self.plan = plan
        self.say = say
        self.python = session.interpreters(plan.backends, python)
        self.d2l_python = os.path.abspath(d2l_python)  # noqa: PTH100 (keeps links)
        self.dataset = load_and_tell(plan.data)
        self._check_data()
        known = plan.data in ("auto", "full", "sample")
        self.data = plan.data if known else str(Path(plan.data).resolve())
        self.about: dict[str, dict[str, Any]] = {}
        self.lost: dict[str, str] = {}
        """Backend, or part and backend, -> why it is no longer measured."""
        self.rows: list[dict[str, Any]] = []
        """Every measurement as it came."""
        self.complete = False
        self._workers: dict[str, WorkerProcess] = {}
        self._signals = contextlib.ExitStack()
        self._started = time.monotonic()

    def __enter__(self) -> "Bench":
        """Processes start when they are needed."""
        self._signals.enter_context(as_interrupts())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the processes; at once if something went wrong."""
        with self._signals:
            self._end_workers(kind is not None)

    def measure(self, progress: Callable[[float, float | None, str], None]) -> None:
        """Measure all that is planned.

        A backend that is missing, fails or hangs is told in one line and left out from then on;
        where the process of a single part fails, that part of it.

        Args:
            progress: gets the share that is done, the seconds that are left (None if that cannot
                be told yet) and what is measured now.
        """
        planned = jobs(self.plan)
        took: dict[tuple[Any, ...], float] = {}
        begun = time.monotonic()
        for i, job in enumerate(planned):
            if self._is_lost(job):
                continue
            expected = sum(took.get(j.kind, j.guess) for j in planned[i:] if not self._is_lost(j))
            started = time.monotonic()
            spent = started - begun
            progress(spent / (spent + expected), expected if took else None, str(job))
            try:
                answer = self._do(job)
            except NinError as error:
                # a process of its own takes nothing with it
                whole = isinstance(error, LostError) and job.part in ROUND_PARTS
                self._lose(job.backend if whole else _what(job), str(error))
                continue
            took[job.kind] = time.monotonic() - started
            head = {"part": job.part, "backend": job.backend, "round": job.round}
            at = round(started - self._started, 3)
            self.rows.append({**head, "at": at, **job.request, **answer})
        self.complete = not self.lost
        if not self.rows:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.lost.items())
            raise NinError(f"nothing could be measured ({reasons})")

    def record(self) -> dict[str, Any]:
        """What was measured on what, for a JSON file; names no path of this machine."""
        described = machine.describe()
        described.pop("executable")
        # of other data the notice names the directory
        custom = "On data that are not the published Fashion-MNIST files."
        notice = custom if self.dataset.kind == "custom" else self.dataset.notice
        return {
            "format": FORMAT,
            "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "seconds": round(time.monotonic() - self._started, 1),
            "git_commit": machine.git_commit(),
            "complete": self.complete,
            "machine": described,
            "data": {
                "kind": self.dataset.kind,
                "notice": notice,
                "sha256": self.dataset.checksums,
            },
            "plan": {**dataclasses.asdict(self.plan), "data": self.dataset.kind},
            "backends": self.about,
            "lost": self.lost,
            "rows": self.rows,
        }

    def _check_data(self) -> None:
        batches = {"training": TRAIN_BATCHES_PER_TEST_BATCH, "test": 1}
        if D2L in self.plan.parts:
            batches = {"training": D2L_TRAIN_BATCHES, "test": D2L_TEST_BATCHES}
        images = {"training": self.dataset.train_images, "test": self.dataset.test_images}
        for name, count in batches.items():
            needed, there = count * self.plan.batch_size, len(images[name])
            if needed > there:
                raise NinError(
                    f"`batch_size={self.plan.batch_size}`: {needed} {name} images are needed, "
                    f"there are only {there}"
                )

    def _worker(self, name: str, data: str | None = None) -> WorkerProcess:
        options = {
            "backend": registry.absolute(name),
            "data": data or self.data,
            "device": self.plan.device,
            "threads": self.plan.threads,
        }
        worker = WorkerProcess(self.python.get(name, sys.executable), options)
        self.about.setdefault(name, worker.about)
        return worker

    def _end_workers(self, at_once: bool) -> None:
        for name in tuple(self._workers):
            worker = self._workers.pop(name)
            worker.kill() if at_once else worker.close()

    def _is_lost(self, job: Job) -> bool:
        return job.backend in self.lost or _what(job) in self.lost

    def _lose(self, name: str, reason: str) -> None:
        self.lost[name] = reason.removeprefix(f"backend {name.split(', ')[-1]}: ")
        self.say(f"note: {name}: left out from here on: {self.lost[name]}")
        if name in self._workers:
            self._workers.pop(name).kill()

    def _do(self, job: Job) -> dict[str, Any]:
        if job.part in ROUND_PARTS:
            if job.backend not in self._workers:
                self._workers[job.backend] = self._worker(job.backend)
            return self._workers[job.backend].ask(job.part, job.request)
        self._end_workers(at_once=False)
        if job.part == D2L:
            return self._against_d2l(job)
        # a fresh process: memory and time that others have used would count
        with self._worker(job.backend) as worker:
            return worker.ask(job.part, job.request)

    def _against_d2l(self, job: Job) -> dict[str, Any]:
        """The same work of the same files with d2l's loop and the project's, in fresh processes."""
        if job.backend not in bench_d2l.MODULES:
            raise RefusedError("d2l has no such backend")
        batch = job.request["batch"]
        train, test = D2L_TRAIN_BATCHES * batch, D2L_TEST_BATCHES * batch
        with tempfile.TemporaryDirectory(prefix="nin-bench-") as temporary:
            directory = Path(temporary) / "data"
            files = bench_d2l.write_files(first_images(self.dataset, train, test), directory)
            with self._worker(job.backend, str(files)) as worker:
                ours = worker.ask("whole", {**job.request, "train": train, "test": test})
            environment = bench_d2l.environment(directory)
            request = {**job.request, "backend": job.backend, "directory": str(directory)}
            try:
                function = "common.bench.d2l:run"
                theirs = session.call_apart(
                    self.d2l_python, function, TIMEOUT_SECONDS, environment, **request
                )
            except NinError as error:
                raise RefusedError(f"in d2l's environment: {error}") from error
        self.about.setdefault(f"{job.backend}, d2l", {"versions": theirs["versions"]})
        return {
            "train_examples": train,
            "test_examples": test,
            **ours,
            "d2l_seconds": theirs["seconds"],
            "d2l_bytes": theirs["bytes"],
        }


def create_directory(out: Path | None) -> Path:
    """Make the directory of a bench: this one, new or empty, or one named after the time.

    Raises:
        NinError: if it holds something, or cannot be made.
    """
    directory = out or Path("runs") / f"bench-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise FileExistsError
    except FileExistsError as error:
        raise NinError(
            f"`out={directory}`: exists and is not an empty directory; choose another"
        ) from error
    except OSError as error:
        raise NinError(f"`out={directory}`: cannot be written ({error.strerror})") from error
    return directory


def _what(job: Job) -> str:
    return f"{job.part}, {job.backend}"
