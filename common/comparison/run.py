"""Run a comparison: one process for each backend, then :func:`common.comparison.levels.compare`."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from common.backends import registry
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
from common.system import machine

# NIN_PYTHON_MXNET=/path/to/python is the interpreter of the backend mxnet
INTERPRETER_VARIABLE = "NIN_PYTHON_"


class LostError(Exception):
    """A backend gave no recording; the message says why."""


def interpreters(names: Sequence[str], options: Sequence[str]) -> dict[str, str]:
    """The interpreter of each backend.

    Args:
        names: of the backends, as :func:`common.backends.registry.label` gives them.
        options: ``NAME=PATH`` each; they outdo the environment's ``NIN_PYTHON_NAME``.

    Raises:
        NinError: for an option that is none, or names no backend of this comparison.
    """
    found = {
        name: os.environ.get(INTERPRETER_VARIABLE + re.sub(r"\W", "_", name).upper())
        or sys.executable
        for name in names
    }
    for option in options:
        name, equals, path = option.partition("=")
        if not equals or not path or name not in found:
            raise NinError(
                f"--python {option}: must be NAME=PATH, the name one of {', '.join(names)}"
            )
        found[name] = path
    return found


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
    names = registry.labels(specs)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise NinError(f"--backends: {twice} is named twice")
    if len(names) < 2:
        raise NinError("--backends: name at least two, with a comma between them")
    for spec in specs:
        registry.check_spec(spec)
    python_of = interpreters(names, python)
    material = draw_material(job, fashion_mnist.load("sample"))

    recordings: list[Recording] = []
    lost: dict[str, str] = {}
    for name, spec in zip(names, specs, strict=True):
        with tempfile.TemporaryDirectory(prefix="nin-compare-") as directory:
            write_job(Path(directory), registry.absolute(spec), job, material)
            try:
                recording = _work(python_of[name], Path(directory), timeout)
            except LostError as error:
                lost[name] = str(error)
                say(f"{name}: {error}")
                continue
        recording.name = name
        recordings.append(recording)
        say(f"{name}: recorded in {recording.about.get('seconds', 0)} s")
    return comparison.compare(recordings, job, weights_of(material), lost)


def _work(interpreter: str, directory: Path, timeout: float) -> Recording:
    """Let a process do the job in a directory; it may crash or hang."""
    with (directory / "output").open("w+b") as output:
        try:
            done = subprocess.run(
                [interpreter, "-m", "common.comparison.worker", str(directory)],
                # a file, not a pipe: what a backend leaves running cannot hold us up
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Python looks for modules there first, and must find this project
                cwd=machine.PROJECT_DIRECTORY,
                env=worker_environment(os.environ),
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as error:
            raise LostError(f"no answer in {timeout:g} s") from error
        except OSError as error:
            raise LostError(f"{interpreter} does not start ({error.strerror})") from error
        output.seek(0)
        lines = output.read().decode(errors="replace").strip().splitlines()
    if done.returncode:
        raise LostError(why_it_ended(done.returncode, lines))
    try:
        return read_recording(directory)
    except NinError as error:
        raise LostError("ended without a recording") from error


def why_it_ended(status: int, lines: Sequence[str]) -> str:
    """Why a process failed, in a few words, from its exit status and the lines that it wrote."""
    if status < 0:
        try:
            return f"crashed ({signal.Signals(-status).name})"
        except ValueError:
            return f"crashed (signal {-status})"
    last = lines[-1].strip() if lines else f"exit status {status}"
    return last.removeprefix("error: ")


def worker_environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of a backend's process, from that of this one."""
    path = [str(machine.PROJECT_DIRECTORY), *given.get("PYTHONPATH", "").split(os.pathsep)]
    return {
        **given,
        # the process is in another directory
        "PYTHONPATH": os.pathsep.join(str(Path(part).absolute()) for part in path if part),
        # NVIDIA's libraries: no TF32, whose products have 10 bits, whatever a framework asks for
        "NVIDIA_TF32_OVERRIDE": "0",
    }
