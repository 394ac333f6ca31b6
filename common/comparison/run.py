"""Run a comparison: a process for each backend, then :func:`common.comparison.levels.compare`."""

import contextlib
import dataclasses
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.backends import registry, session
from common.comparison import files
from common.comparison.job import Job, Recording, below
from common.comparison.layer import check_name, look
from common.comparison.levels import Comparison, compare
from common.comparison.material import make_material
from common.data import fashion_mnist
from common.errors import NinError
from common.files.arrays import load_arrays, save_arrays
from common.network.description import CHAPTER
from common.system import machine
from common.system.signals import as_interrupts

WORK = "common.comparison.worker:work"
# NVIDIA's libraries: no TF32, whose products have 10 bits, whatever a framework asks for
EXACT = {"NVIDIA_TF32_OVERRIDE": "0"}


def run(
    specs: Sequence[str],
    job: Job,
    python: Sequence[str] = (),
    timeout: float = 900,
    log: Callable[[str], None] = lambda line: None,
    layer: str | None = None,
) -> Comparison:
    """Compare backends.

    Args:
        specs: two or more, as :func:`common.backends.registry.load` takes them, weights files or
            directories of runs.
        job: what to compare.
        python: ``NAME=PATH`` each, the interpreter of a backend.
        timeout: seconds for each backend.
        log: prints a line of progress.
        layer: to look at alone, such as ``block2.conv1``; the first that deviates if not given.

    Raises:
        NinError: for whatever the user can put right before anything runs.
    """
    job.check()
    if not 0 < timeout <= 1_000_000:
        raise NinError(f"`timeout={timeout}`: must be a number above 0 and at most 1000000")
    if layer is not None:
        check_name(layer, job.description)
    specs = [files.in_run(spec) for spec in specs]
    names = registry.labels(specs)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise NinError(f"`backends`: {twice} is named twice")
    if len(names) < 2:
        raise NinError("`backends`: name at least two")
    for spec in specs:
        (files.check if files.is_file(spec) else registry.check_spec)(spec)
    if job.description != CHAPTER and any(map(files.is_file, specs)):
        raise NinError(f"`network={job.network}`: a weights file is compared as the chapter's")
    python_of = session.interpreters(names, python)
    material = make_material(job, fashion_mnist.load("sample"))

    recordings: list[Recording] = []
    lost: dict[str, str] = {}
    source = ""
    with tempfile.TemporaryDirectory(prefix="nin-compare-") as directory:
        save_arrays(Path(directory) / files.MATERIAL, material, {})
        sides = [(name, python_of[name], spec) for name, spec in zip(names, specs, strict=True)]
        for side in [side for side in sides if files.is_file(side[2])]:
            owner, interpreter, spec = side
            try:
                weights, rate = _weights_of(spec, job, interpreter, timeout, directory)
            except NinError as error:
                lost[owner] = str(error)
                sides.remove(side)
            else:
                material.update({f"weights/{name}": array for name, array in weights.items()})
                save_arrays(Path(directory) / files.MATERIAL, material, {})
                job = dataclasses.replace(job, lr=job.lr or rate)
                log(f"weights: those of {owner}")
                source = owner
                break
        for name, found in _record(sides, job, directory, timeout) if len(sides) > 1 else ():
            if isinstance(found, NinError):
                lost[name] = str(found)
                log(f"{name}: {found}")
            else:
                recordings += found
                log(f"{name}: recorded in {found[0].about['seconds']} s")
    comparison = compare(recordings, job, below("weights", material), lost, source)
    comparison.asked = {"backends": list(specs), "python": list(python)}
    if len(comparison.backends) > 1:  # else it is said why there is nothing to look at
        comparison.layer = look(comparison, recordings, job, material, layer)
    return comparison


def processes_and_threads(job: Job, count: int) -> tuple[int, int]:
    """How many of so many backends compute at once, and on how many threads each.

    One thread in each of two processes is faster than two threads in one process after the other:
    not everything that a process does is done on all threads. A GPU's memory is for one.
    """
    threads = machine.threads_for(job.threads)
    if job.device == "gpu":
        return 1, threads
    if job.threads:
        return max(1, min(count, machine.physical_cores() // threads)), threads
    at_once = min(count, threads)
    return at_once, threads // at_once


def _record(
    sides: Sequence[tuple[str, str, str]], job: Job, directory: str, timeout: float
) -> Iterator[tuple[str, list[Recording] | NinError]]:
    """Each backend's recordings, or why there are none, in order.

    ``sides`` are the name, interpreter and specification of each; ``directory`` has the material.
    """
    at_once, threads = processes_and_threads(job, len(sides))
    todo = dataclasses.asdict(dataclasses.replace(job, threads=threads))
    running: deque[tuple[str, session.Apart]] = deque()

    def finish() -> tuple[str, list[Recording] | NinError]:
        name, process = running.popleft()
        try:
            with process:
                return name, read(process.result(), name)
        except NinError as error:
            return name, error

    with as_interrupts(), contextlib.ExitStack() as processes:
        for name, interpreter, spec in sides:
            if len(running) == at_once:
                yield finish()
            try:
                process = session.Apart(interpreter, timeout, EXACT)
            except NinError as error:
                yield from (finish() for _ in range(len(running)))
                yield name, error
                continue
            # whatever happens to the others
            processes.callback(process.kill)
            process.ask(WORK, directory=directory, backend=registry.absolute(spec), job=todo)
            running.append((name, process))
        yield from (finish() for _ in range(len(running)))


def read(found: Sequence[dict[str, Any]], name: str) -> list[Recording]:
    """The recordings of which :func:`common.comparison.worker.work` returned the fields."""
    return [
        Recording(**{**fields, "name": name, "arrays": load_arrays(Path(fields["arrays"]))[0]})
        for fields in found
    ]


def _weights_of(
    spec: str, job: Job, interpreter: str, timeout: float, directory: str
) -> tuple[dict[str, np.ndarray], float]:
    """The weights in a file, and a learning rate for them, from a process of its own."""
    extract, path = "common.comparison.files:extract", registry.absolute(spec)
    rate = session.call_apart(
        interpreter, extract, timeout, path=path, directory=directory, job=vars(job)
    )
    return load_arrays(Path(directory) / files.WEIGHTS)[0], float(rate)
