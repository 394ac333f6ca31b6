"""The bench: what is measured, in which order, and the file that it leaves.

The measurements go round and round: each round measures every part of every backend once, so that
whatever disturbs the machine disturbs all alike, and what is compared was measured side by side.
"""

import contextlib
import dataclasses
import json
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
from common.backends.registry import BACKENDS
from common.backends.session import RefusedError
from common.bench import d2l as bench_d2l
from common.bench.client import TIMEOUT_SECONDS, WorkerProcess
from common.bench.worker import (
    NUMPY,
    TRAIN_BATCHES_PER_TEST_BATCH,
    first_images,
    settings_for,
)
from common.data.fashion_mnist import load_and_tell
from common.errors import NinError
from common.files.write import write_text
from common.network import architecture
from common.system import machine
from common.system.processes import LostError

FORMAT = 1
D2L = "d2l"
ACCURACY = "accuracy"
# what long-lived processes measure in every round, in this order
ROUND_PARTS = ("limit", "train", "step", "predict")
PARTS = (*ROUND_PARTS, "memory", "profile", ACCURACY)
KNOWN_PARTS = (*PARTS, D2L)
QUICK_PARTS = ROUND_PARTS
FAST_SIZE: int = settings.PRESETS["fast"]["resize"]
TARGET_ACCURACIES = (0.845, 0.880, 0.900)
# products of matrices of these sizes; the best of them is the machine's limit
PRODUCT_SIZES, QUICK_PRODUCT_SIZES = (1024, 2048, 4096), (2048,)
# d2l needs minutes where the project needs seconds
MOST_D2L_ROUNDS = 2
# so many, lest what is done once in a run weighs more than in one of the book's length
D2L_TRAIN_BATCHES, D2L_TEST_BATCHES = 10, 2


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    backends: tuple[str, ...] = tuple(BACKENDS)
    parts: tuple[str, ...] = PARTS
    sizes: tuple[int, ...] = (224, FAST_SIZE)
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
        if not self.backends:
            raise NinError(f"--backends: choose from {','.join(registry.names())}")
        for name in self.backends:
            if name not in registry.names():
                known = ", ".join(registry.names())
                raise NinError(f"--backends {name}: unknown; choose from {known}")
        if not self.parts:
            raise NinError(f"--parts: choose from {','.join(KNOWN_PARTS)}")
        for name in self.parts:
            if name not in KNOWN_PARTS:
                raise NinError(f"--parts {name}: unknown; choose from {', '.join(KNOWN_PARTS)}")
        if not self.sizes:
            raise NinError("--sizes: name at least one, in pixels")
        for what in ("backends", "parts", "sizes"):
            values = getattr(self, what)
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                raise NinError(f"--{what}: {twice} is named twice")
        for name, good, wanted in (
            ("repeats", 1 <= self.repeats <= 1000, "a whole number from 1 to 1000"),
            ("seconds", 0 < self.seconds <= 600, "a number above 0, at most 600"),
            ("seeds", 1 <= self.seeds <= 1000, "a whole number from 1 to 1000"),
        ):
            if not good:
                raise NinError(f"--{name} {getattr(self, name)}: must be {wanted}")
        for size in self.sizes:
            settings_for(size, self.batch_size, device=self.device, threads=self.threads)

    def sizes_of(self, part: str) -> tuple[int, ...]:
        """The sizes at which a part is measured: in a quick bench the smallest, but for the step.

        An epoch at 224 would take a quick bench's two minutes alone.
        """
        return (min(self.sizes),) if self.quick and part != "step" else self.sizes

    @property
    def batches(self) -> tuple[int, ...]:
        """Images at a time in predictions."""
        return tuple(dict.fromkeys((self.batch_size, 1)))


@dataclass(frozen=True)
class Job:
    """One measurement of one backend."""

    part: str
    backend: str
    round: int
    request: dict[str, Any]
    guess: float
    """How long it takes, in seconds, until one like it has been measured."""

    @property
    def kind(self) -> str:
        """What it has in common with its like in other rounds."""
        request = {name: value for name, value in self.request.items() if name != "seed"}
        return json.dumps([self.part, self.backend, request], sort_keys=True)


def jobs(plan: Plan) -> list[Job]:
    """All measurements, in order."""
    found: list[Job] = []

    def add(part: str, number: int, request: dict[str, Any], guess: float, *more: str) -> None:
        # forth and back, so that nobody is always the first
        order = (*more, *plan.backends)
        for backend in order if number % 2 == 0 else reversed(order):
            found.append(Job(part, backend, number, request, guess))

    for number in range(plan.repeats):
        if "limit" in plan.parts:
            for n in QUICK_PRODUCT_SIZES if plan.quick else PRODUCT_SIZES:
                request = {"do": "product", "n": n, "seconds": plan.seconds / 5}
                add("limit", number, request, plan.seconds / 2, NUMPY)
            for size in plan.sizes_of("limit"):
                for layer in architecture.convolutions(size):
                    for backward in (False, True):
                        request = {
                            "do": "convolution",
                            "size": size,
                            "batch": plan.batch_size,
                            "layer": layer.name,
                            "backward": backward,
                            "seconds": plan.seconds / 25,
                        }
                        add("limit", number, request, 0.5)
        # size by size, so that what is compared is measured within a minute
        for size in plan.sizes:
            parts = [part for part in plan.parts if size in plan.sizes_of(part)]
            # train first: its network serves the others too
            for part in ("train", "step"):
                if part in parts:
                    # an epoch is long enough that what is done once in it counts little
                    seconds = plan.seconds * (2 if part == "train" else 1)
                    what = {"do": part, "size": size, "batch": plan.batch_size}
                    add(part, number, {**what, "seconds": seconds}, seconds * 1.5)
            for batch in plan.batches if "predict" in parts else ():
                request = {
                    "do": "predict",
                    "size": size,
                    "batch": batch,
                    "run_batch": plan.batch_size,
                    "seconds": plan.seconds / 2,
                }
                add("predict", number, request, plan.seconds)
    for part in ("memory", "profile"):
        for size in plan.sizes_of(part) if part in plan.parts else ():
            add(part, 0, {"do": part, "size": size, "batch": plan.batch_size}, 15)
    for number in range(min(plan.repeats, MOST_D2L_ROUNDS)) if D2L in plan.parts else ():
        request = {"do": D2L, "size": max(plan.sizes), "batch": plan.batch_size, "epochs": 1}
        add(D2L, number, request, 90)
    for number in range(plan.seeds) if ACCURACY in plan.parts else ():
        add(ACCURACY, number, {"do": ACCURACY, "seed": number}, 240)
    return found


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
        self,
        plan: Plan,
        python: Sequence[str],
        d2l_python: Path,
        say: Callable[[str], None],
    ) -> None:
        plan.check()
        if D2L in plan.parts and not d2l_python.exists():
            raise NinError(
                f"--d2l-python {d2l_python}: no such file; the environment with d2l is needed "
                "(make test-book builds it), or leave --against out"
            )
        self.plan = plan
        self.say = say
        self.python = session.interpreters(plan.backends, python)
        self.d2l_python = os.path.abspath(d2l_python)  # noqa: PTH100 (keeps links)
        self.dataset = load_and_tell(plan.data)
        self._check_data()
        self.data = plan.data
        if plan.data not in ("auto", "full", "sample"):
            self.data = str(Path(plan.data).resolve())
        self.about: dict[str, dict[str, Any]] = {}
        self.lost: dict[str, str] = {}
        """Backend, or part and backend, -> why it is no longer measured."""
        self.rows: list[dict[str, Any]] = []
        """Every measurement as it came."""
        self.complete = False
        self._workers: dict[str, WorkerProcess] = {}
        self._started = time.monotonic()

    def __enter__(self) -> "Bench":
        """Nothing more: processes start when they are needed."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the processes; at once if something went wrong."""
        if kind is None:
            self._close()
        for worker in self._workers.values():
            worker.kill()

    def _close(self) -> None:
        for worker in self._workers.values():
            worker.close()
        self._workers = {}

    def measure(self, progress: Callable[[float, float | None, str], None]) -> None:
        """Measure all that is planned.

        A backend that is missing, fails or hangs is told in one line and left out from then on;
        where the process of a single part fails, that part of it.

        Args:
            progress: gets the share that is done, the seconds that are left (None if that cannot
                be told yet) and what is measured now.
        """
        planned = jobs(self.plan)
        if any(job.part in ROUND_PARTS for job in planned):
            self._start(progress, numpy="limit" in self.plan.parts)
        took: dict[str, float] = {}
        begun = time.monotonic()
        for i, job in enumerate(planned):
            if job.part not in ROUND_PARTS:
                self._close()
            if self._is_lost(job):
                continue
            expected = sum(took.get(j.kind, j.guess) for j in planned[i:] if not self._is_lost(j))
            spent = time.monotonic() - begun
            progress(spent / (spent + expected), expected if took else None, _label(job))
            started = time.monotonic()
            try:
                answer = self._do(job)
            except LostError as error:
                # a process of its own takes nothing with it
                what = job.backend if job.part in ROUND_PARTS else _what(job)
                self._lose(what, str(error))
                continue
            except RefusedError as error:
                self._lose(_what(job), str(error))
                continue
            took[job.kind] = time.monotonic() - started
            self.rows.append(
                {
                    "part": job.part,
                    "backend": job.backend,
                    "round": job.round,
                    "at": round(started - self._started, 3),
                    **{k: v for k, v in job.request.items() if k not in ("seconds", "run_batch")},
                    **answer,
                }
            )
        self.complete = not self.lost
        if not self.rows:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.lost.items())
            raise NinError(f"nothing could be measured ({reasons})")

    def record(self) -> dict[str, Any]:
        """What was measured on what, for a JSON file; names no path of this machine."""
        described = machine.describe()
        described.pop("executable")
        return {
            "format": FORMAT,
            "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "seconds": round(time.monotonic() - self._started, 1),
            "git_commit": machine.git_commit(),
            "complete": self.complete,
            "machine": described,
            "data": {
                "kind": self.dataset.kind,
                "notice": self._notice(),
                "sha256": self.dataset.checksums,
            },
            "plan": {**dataclasses.asdict(self.plan), "data": self.dataset.kind},
            "backends": self.about,
            "lost": self.lost,
            "rows": self.rows,
        }

    def _check_data(self) -> None:
        plan = self.plan
        train_batches, test_batches = TRAIN_BATCHES_PER_TEST_BATCH, 1
        if D2L in plan.parts:
            train_batches, test_batches = D2L_TRAIN_BATCHES, D2L_TEST_BATCHES
        for name, needed, there in (
            ("training", train_batches, len(self.dataset.train_images)),
            ("test", test_batches, len(self.dataset.test_images)),
        ):
            if needed * plan.batch_size > there:
                raise NinError(
                    f"--batch-size {plan.batch_size}: {needed * plan.batch_size} {name} images are "
                    f"needed, there are only {there}"
                )

    def _notice(self) -> str:
        # of other data it says the directory
        if self.dataset.kind == "custom":
            return "On data that are not the published Fashion-MNIST files."
        return self.dataset.notice

    def _start(self, progress: Callable[..., None], numpy: bool) -> None:
        for name in (*([NUMPY] if numpy else []), *self.plan.backends):
            progress(0.0, None, f"starting {name}")
            try:
                self._workers[name] = self._worker(name)
            except LostError as error:
                self._lose(name, str(error))

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

    def _is_lost(self, job: Job) -> bool:
        return job.backend in self.lost or _what(job) in self.lost

    def _lose(self, name: str, reason: str) -> None:
        if name in self.lost:
            return
        self.lost[name] = reason.removeprefix(f"backend {name.split(', ')[-1]}: ")
        self.say(f"note: {name}: left out from here on: {self.lost[name]}")
        if name in self._workers:
            self._workers.pop(name).kill()

    def _do(self, job: Job) -> dict[str, Any]:
        if job.part in ROUND_PARTS:
            return self._workers[job.backend].ask(job.request)
        actions = {D2L: self._against_d2l, ACCURACY: self._accuracy}
        return actions.get(job.part, self._alone)(job)

    def _alone(self, job: Job) -> dict[str, Any]:
        # a fresh process: memory that others have used would count, and a profiler may leave traces
        with self._worker(job.backend) as worker:
            return worker.ask(job.request)

    def _against_d2l(self, job: Job) -> dict[str, Any]:
        """The same work of the same files with d2l's loop and the project's, in fresh processes."""
        if job.backend not in bench_d2l.MODULES:
            raise RefusedError("d2l has no such backend")
        size, batch, epochs = (job.request[name] for name in ("size", "batch", "epochs"))
        counts = D2L_TRAIN_BATCHES * batch, D2L_TEST_BATCHES * batch
        with tempfile.TemporaryDirectory(prefix="nin-bench-") as temporary:
            directory = Path(temporary) / "data"
            files = bench_d2l.write_files(first_images(self.dataset, *counts), directory)
            with self._worker(job.backend, str(files)) as worker:
                request = {"size": size, "batch": batch, "epochs": epochs}
                ours = worker.ask({"do": "whole", "train": counts[0], "test": counts[1], **request})
            try:
                theirs = session.call_apart(
                    self.d2l_python,
                    "common.bench.d2l:run",
                    TIMEOUT_SECONDS,
                    bench_d2l.environment(directory),
                    backend=job.backend,
                    directory=str(directory),
                    lr=settings.from_preset("book").lr,
                    **request,
                )
            except NinError as error:
                raise RefusedError(f"in d2l's environment: {error}") from error
        self.about.setdefault(f"{job.backend}, d2l", {"versions": theirs["versions"]})
        return {
            "train_examples": counts[0],
            "test_examples": counts[1],
            "seconds": ours["seconds"],
            "bytes": ours["bytes"],
            "d2l_seconds": theirs["seconds"],
            "d2l_bytes": theirs["bytes"],
        }

    def _accuracy(self, job: Job) -> dict[str, Any]:
        """Train until the last target is reached; seconds count from the start of the process."""
        with self._worker(job.backend) as worker:
            more = {
                "targets": TARGET_ACCURACIES,
                "limit": self.plan.accuracy_limit,
                "started": worker.started,
            }
            return worker.ask({**job.request, **more})


def save_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record, with what was added to it; each measurement is a line."""
    rest = {name: value for name, value in record.items() if name != "rows"}
    rows = ",\n".join(f"    {json.dumps(row)}" for row in record["rows"])
    head = json.dumps(rest, indent=2, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    write_text(path, f'{head},\n  "rows": [\n{rows}\n  ]\n}}\n')


def load_record(path: Path) -> dict[str, Any]:
    """Read what a bench has left.

    Raises:
        NinError: if it cannot be read, or is not such a file.
    """
    try:
        record = json.loads(path.read_text())
        if record["format"] != FORMAT:
            raise NinError(f"{path}: of format {record['format']}, this is {FORMAT}")
        if not {"rows", "machine", "plan", "data", "backends"} <= record.keys():
            raise KeyError
    except OSError as error:
        raise NinError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise NinError(f"{path}: not a bench.json") from error
    return dict(record)


def create_directory(out: Path | None, parent: Path = Path("runs")) -> Path:
    """Make the directory of a bench.

    Args:
        out: it, new or empty; None for one in ``parent`` named after the time.
        parent: where.

    Raises:
        NinError: if it holds something, or cannot be made.
    """
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise NinError(f"--out {out}: exists and is not an empty directory; choose another")
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            return out
        stem = f"bench-{time.strftime('%Y%m%d-%H%M%S')}"
        for name in (stem, *(f"{stem}-{i}" for i in range(2, 100))):
            with contextlib.suppress(FileExistsError):
                (parent / name).mkdir(parents=True)
                return parent / name
        raise NinError(f"{parent}: no name is free for a new directory")
    except OSError as error:
        raise NinError(f"--out {out or parent}: cannot be written ({error.strerror})") from error


def _what(job: Job) -> str:
    return f"{job.part}, {job.backend}"


def _label(job: Job) -> str:
    size = f" at {job.request['size']}" if "size" in job.request else ""
    return f"{job.part}{size}, {job.backend}"
