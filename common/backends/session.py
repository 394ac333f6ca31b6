"""Start a backend: in this process, or in one of its own."""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.backends.parts import LackingError, join_workers
from common.backends.registry import load
from common.contract import Backend, Device
from common.data.fashion_mnist import DIRECTORY_VARIABLE
from common.errors import NinError
from common.settings import Settings
from common.system import machine
from common.system.processes import LostError, Process
from common.system.signals import as_interrupts
from common.training.workers import Workers

# NIN_PYTHON_MXNET=/path/to/python is the interpreter of the backend mxnet
INTERPRETER_VARIABLE = "NIN_PYTHON_"
# backend -> how many threads it was last told to compute on in this process
_threads: dict[str, int] = {}


class Started(NamedTuple):
    """A backend that is ready to compute."""

    backend: Backend
    device: Device
    prepared: dict[str, str | int]
    """``threads`` and ``allocator``, as :mod:`common.system.machine` set them, for the records."""
    precision: str
    """That of the settings, or what ``auto`` comes to here."""
    workers: Workers = Workers()
    """Those that train together with this process; it alone, mostly."""


def start(settings: Settings) -> Started:
    """Prepare this process, import a backend and find its device.

    Args:
        settings: backend, precision, threads and device are used. Precision ``auto`` is bfloat16
            where the backend has it and the device is made for it (a GPU, a processor with AMX
            or AVX-512 BF16: one and a half to two times as fast), otherwise float32.

    Raises:
        NinError: as :func:`load`; or the backend has no such precision or device.
    """
    with machine.prepared(settings.threads) as threads:
        backend = load(settings.backend)
    # a small backend need not have what is not needed for numbers
    known = getattr(backend, "PRECISIONS", (settings.precision, "float32"))
    if settings.precision not in (*known, "auto"):
        raise NinError(
            f"`precision={settings.precision}`: {settings.backend} has only {', '.join(known)}"
        )
    if hasattr(backend, "set_threads"):
        try:
            backend.set_threads(threads)
        except NinError:
            # it cannot change any more, and nobody asks it to
            if settings.threads or settings.backend not in _threads:
                raise
            threads = _threads[settings.backend]
        _threads[settings.backend] = threads
    allocator = machine.set_allocator(getattr(backend, "KEEP_MEMORY", False))
    device = Device("cpu", "cpu", None)
    if hasattr(backend, "find_device"):
        device = backend.find_device(settings.device)
    elif settings.device == "gpu":
        raise LackingError(f"`device=gpu`: {settings.backend} has no find_device")
    precision = settings.precision
    if precision == "auto":
        made_for_it = device.kind == "gpu" or machine.has_bfloat16()
        precision = "bfloat16" if made_for_it and "bfloat16" in known else "float32"
    workers = join_workers(backend, device)
    prepared: dict[str, str | int] = {"threads": threads, "allocator": allocator}
    if workers.count > 1:
        prepared["workers"] = workers.count
    return Started(backend, device, prepared, precision, workers)


class RefusedError(NinError):
    """A process could not do what it was asked to, and lives on; the message gives the reason."""


class Apart(Process):
    """A process that calls functions of this project, one after the other, until it is closed.

    The interpreter is of this environment or another; the timeout, in seconds, is for its start and
    for each result; the environment has variables beside those of this process.

    Raises:
        LostError: if it does not start.
    """

    def __init__(
        self, interpreter: str, timeout: float, environment: Mapping[str, str] | None = None
    ) -> None:
        command = [interpreter, "-m", "common.backends.serve"]
        super().__init__(command, {**_environment(), **(environment or {})}, timeout)
        try:
            self._answer()
        except BaseException as error:
            self.kill()
            lacking = re.search(r"No module named '?(\w+)", str(error))
            if not isinstance(error, LostError) or lacking is None:
                raise
            raise LostError(
                f"{interpreter} has no module {lacking[1]}; install this project for it"
            ) from error

    def call(self, function: str, **arguments: Any) -> Any:
        """Call ``package.module:name`` there, with arguments and a result such as JSON holds.

        Raises:
            RefusedError: if the function raises an error.
            LostError: if the process is no more, or does not answer in time.
        """
        self.ask(function, **arguments)
        return self.result()

    def ask(self, function: str, **arguments: Any) -> None:
        """As :meth:`call`, but :meth:`result` waits for what comes of it."""
        self.send({"function": function, "arguments": arguments})

    def result(self) -> Any:
        """What the function that was asked for returns; raises as :meth:`call`."""
        answer = self._answer()
        if "refused" in answer:
            raise RefusedError(answer["refused"])
        return answer["result"]

    def _answer(self) -> dict[str, Any]:
        line = self.line()
        if line is None:
            raise LostError("ended without an answer")
        return dict(json.loads(line))


def call_apart(
    interpreter: str,
    function: str,
    timeout: float,
    environment: Mapping[str, str] | None = None,
    **arguments: Any,
) -> Any:
    """Call one function in a process of its own; see :class:`Apart`."""
    with as_interrupts(), Apart(interpreter, timeout, environment) as apart:
        return apart.call(function, **arguments)


def interpreters(names: Sequence[str], options: Sequence[str] = ()) -> dict[str, str]:
    """The interpreter of each backend: this one, if the user names no other.

    Args:
        names: of the backends, as :func:`common.backends.registry.label` gives them.
        options: ``NAME=PATH`` each; they come before the environment's ``NIN_PYTHON_NAME``.

    Raises:
        NinError: for an option of another form, or for a backend that is not among the names.
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
                f"`python={option}`: must be NAME=PATH, the name one of {', '.join(names)}"
            )
        found[name] = path
    # a relative path is the user's, not that of the process
    return {name: _absolute(path) if os.sep in path else path for name, path in found.items()}


def _environment() -> dict[str, str]:
    """The user's environment, for a process in another directory that has to find this project."""
    given = dict(os.environ)
    path = [_absolute(part) for part in given.get("PYTHONPATH", "").split(os.pathsep) if part]
    # An installed package is found anyway, and its folder would show another interpreter the
    # packages beside it.
    if (machine.PROJECT_DIRECTORY / "pyproject.toml").is_file():
        path.insert(0, str(machine.PROJECT_DIRECTORY))
    if not {"", str(Path.cwd())}.isdisjoint(sys.path):
        path.append(str(Path.cwd()))
    if path:
        given["PYTHONPATH"] = os.pathsep.join(path)
    if given.get(DIRECTORY_VARIABLE):
        given[DIRECTORY_VARIABLE] = _absolute(given[DIRECTORY_VARIABLE])
    return given


def _absolute(path: str) -> str:
    # not resolve(): the Python of a virtual environment is a link that leads out of it
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111
