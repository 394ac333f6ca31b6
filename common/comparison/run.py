"""Run a comparison: one process for each backend, then :func:`common.comparison.levels.compare`."""

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.backends import registry, session
from common.comparison import files
from common.comparison.job import Job, Recording, below
from common.comparison.layer import check_name, look
from common.comparison.levels import Comparison, compare
from common.comparison.material import make_material
from common.comparison.worker import MATERIAL, RECORDING
from common.data import fashion_mnist
from common.errors import NinError
from common.files.arrays import load_arrays, save_arrays
from common.network.description import CHAPTER

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
        specs: two or more, as :func:`common.backends.registry.load` takes them.
        job: what to compare.
        python: ``NAME=PATH`` each, the interpreter of a backend.
        timeout: seconds for each backend.
        log: prints a line of progress.
        layer: to look at alone, such as ``block2.conv1``; the first that deviates if not given.

    Raises:
        NinError: for whatever the user can put right before anything runs.
    """
    job.check()
    if not timeout > 0:
        raise NinError(f"`timeout={timeout}`: must be a number above 0")
    if layer is not None:
        check_name(layer, job.description)
    names = registry.labels(specs)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise NinError(f"`backends`: {twice} is named twice")
    if len(names) < 2:
        raise NinError("`backends`: name at least two, with a comma between them")
    for spec in specs:
        (files.check if files.is_file(spec) else registry.check_spec)(spec)
    if job.description != CHAPTER and any(map(files.is_file, specs)):
        raise NinError(f"`network={job.network}`: a weights file is compared as the chapter's")
    python_of = session.interpreters(names, python)
    material = make_material(job, fashion_mnist.load("sample"))

    recordings: list[Recording] = []
    lost: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="nin-compare-") as directory:
        owner = next(
            (each for each in zip(names, specs, strict=True) if files.is_file(each[1])), None
        )
        if owner is not None:
            weights = _weights_of(owner[1], python_of[owner[0]], timeout, directory)
            material.update({f"weights/{name}": array for name, array in weights.items()})
            log(f"weights: those of {owner[0]}")
        save_arrays(Path(directory) / MATERIAL, material, {})
        for name, spec in zip(names, specs, strict=True):
            try:
                found = session.call_apart(
                    python_of[name],
                    "common.comparison.worker:work",
                    timeout,
                    EXACT,
                    directory=directory,
                    backend=registry.absolute(spec),
                    job=dataclasses.asdict(job),
                )
                recordings += read(found, name, directory)
            except NinError as error:
                lost[name] = str(error)
                log(f"{name}: {error}")
                continue
            log(f"{name}: recorded in {found[0]['about']['seconds']} s")
    comparison = compare(recordings, job, below("weights", material), lost)
    comparison.asked = {"backends": list(specs), "python": list(python)}
    comparison.layer = look(comparison, recordings, job, material, layer)
    return comparison


def read(found: Sequence[dict[str, Any]], name: str, directory: str) -> list[Recording]:
    """The recordings that :func:`common.comparison.worker.work` left in a directory.

    Args:
        found: what it returned.
        name: what the backend is called here.
        directory: as it got it.
    """
    files = [Path(directory) / RECORDING.format(dtype=fields["dtype"]) for fields in found]
    return [
        Recording(**{**fields, "name": name, "arrays": load_arrays(file)[0]})
        for fields, file in zip(found, files, strict=True)
    ]


def _weights_of(
    spec: str, interpreter: str, timeout: float, directory: str
) -> dict[str, np.ndarray]:
    """The weights in a file, read in a process of its own."""
    extract, path = "common.comparison.files:extract", registry.absolute(spec)
    session.call_apart(interpreter, extract, timeout, path=path, directory=directory)
    return load_arrays(Path(directory) / files.WEIGHTS)[0]
