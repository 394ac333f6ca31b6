"""Run a comparison: one process for each backend, then :func:`common.comparison.levels.compare`."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from common.backends import registry, session
from common.comparison import levels as comparison
from common.comparison.job import (
    Job,
    Recording,
    draw_material,
    read_recording,
    weights_of,
    write_job,
)
from common.data import fashion_mnist
from common.errors import NinError

# NVIDIA's libraries: no TF32, whose products have 10 bits, whatever a framework asks for
EXACT = {"NVIDIA_TF32_OVERRIDE": "0"}


def run(
    specs: Sequence[str],
    job: Job,
    python: Sequence[str] = (),
    timeout: float = 900,
    say: Callable[[str], None] = lambda line: None,
) -> comparison.Report:
    """Compare backends.

    Args:
        specs: two or more, as :func:`common.backends.registry.load` takes them.
        job: what to compare.
        python: ``NAME=PATH`` each, the interpreter of a backend.
        timeout: seconds for each backend.
        say: prints a line for the person who watches.

    Raises:
        NinError: for whatever the user can put right before anything runs.
    """
    job.check()
    if not timeout > 0:
        raise NinError(f"`timeout={timeout}`: must be a number above 0")
    names = registry.labels(specs)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise NinError(f"`backends`: {twice} is named twice")
    if len(names) < 2:
        raise NinError("`backends`: name at least two, with a comma between them")
    for spec in specs:
        registry.check_spec(spec)
    python_of = session.interpreters(names, python)
    material = draw_material(job, fashion_mnist.load("sample"))

    recordings: list[Recording] = []
    lost: dict[str, str] = {}
    for name, spec in zip(names, specs, strict=True):
        with tempfile.TemporaryDirectory(prefix="nin-compare-") as directory:
            write_job(Path(directory), registry.absolute(spec), job, material)
            try:
                recording = _work(python_of[name], Path(directory), timeout)
            except NinError as error:
                lost[name] = str(error)
                say(f"{name}: {error}")
                continue
        recording.name = name
        recordings.append(recording)
        say(f"{name}: recorded in {recording.about.get('seconds', 0)} s")
    return comparison.compare(recordings, job, weights_of(material), lost)


def _work(interpreter: str, directory: Path, timeout: float) -> Recording:
    """Let a process do the job in a directory; it may crash or hang."""
    function = "common.comparison.worker:work"
    session.call_apart(interpreter, function, timeout, EXACT, directory=str(directory))
    return read_recording(directory)
