"""The processes that the bench starts: one at a time computes, and none is left behind."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from common.bench.worker import NUMPY
from common.comparison.run import LostError, why_it_ended, worker_environment
from common.data import fashion_mnist
from common.system import machine
from common.system.signals import deferred

# None of a bench's requests takes longer on a machine that is fit for it.
TIMEOUT_SECONDS = 3600
CLOSE_SECONDS = 5


class RefusedError(Exception):
    """A process could not do what it was asked, and lives on; the message says why."""


class Process:
    """A process in a group of its own, so that all that it starts can be ended with it.

    Its temporary files are in a directory of their own, which goes with it too.

    Use as a context manager.

    Args:
        command: to run, in the project's directory.
        environment: of the process.
        timeout: seconds to wait for a line.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self.timeout = timeout
        # kill() ends both
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._temporary = tempfile.TemporaryDirectory(prefix="nin-bench-")
        try:
            # an interrupt in the middle of it would leave a process that nobody knows of
            with deferred():
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                    cwd=machine.PROJECT_DIRECTORY,
                    env={**environment, "TMPDIR": self._temporary.name},
                    # Ctrl-C reaches the parent only, which then ends the whole group
                    start_new_session=True,
                )
                assert self._process.stdout is not None
                self._output = self._process.stdout
        except OSError as error:
            self._errors.close()
            self._temporary.cleanup()
            raise LostError(f"{command[0]} does not start ({error.strerror})") from error
        except BaseException:
            if hasattr(self, "_process"):
                self.kill()
            raise
        self._buffer = b""

    def send(self, content: Any) -> None:
        """Give it a line of JSON."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the missing answer will tell
            self._process.stdin.write(json.dumps(content).encode() + b"\n")
            self._process.stdin.flush()

    def line(self) -> str | None:
        """The next line that it writes, None after the last.

        Raises:
            LostError: if it fails, or nothing comes.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            until = time.monotonic() + self.timeout
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise LostError(f"no answer in {self.timeout:g} s")
                read = os.read(self._output.fileno(), 65536)
                if not read:
                    self._check_end()
                    return None
                self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode(errors="replace")

    def close(self) -> None:
        """End it and all that it started."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        # a process that waits for requests ends when there will be no more
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it and all that it started, at once."""
        if self._errors.closed:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._output.close()
        self._errors.close()
        self._temporary.cleanup()

    def __enter__(self) -> "Process":
        """Nothing more: it runs already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close; kill if something went wrong."""
        if kind is None:
            self.close()
        else:
            self.kill()

    def _check_end(self) -> None:
        try:
            status = self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            return  # it has said all that it had to say
        if status:
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").strip().splitlines()
            raise LostError(why_it_ended(status, lines))


class WorkerProcess(Process):
    """A :mod:`common.bench.worker` in a process of its own.

    Args:
        interpreter: to run it.
        options: of :class:`common.bench.worker.Worker`.

    Raises:
        LostError: if it does not start or its backend does not.
    """

    def __init__(self, interpreter: str, options: Mapping[str, Any]) -> None:
        environment = worker_environment(settled(os.environ))
        # rich draws its bars, as for a person who watches: they are part of what is measured
        environment |= {"FORCE_COLOR": "1", "TERM": "xterm"}
        if options["backend"] == NUMPY:  # it counts hyper-threads, and only when it is imported
            threads = options["threads"] or environment.get("OMP_NUM_THREADS")
            environment["OMP_NUM_THREADS"] = str(threads or machine.physical_cores())
        super().__init__([interpreter, "-m", "common.bench.worker"], environment)
        try:
            self.about = self._ask(options)
        except RefusedError as error:
            self.kill()
            raise LostError(str(error)) from error
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> "WorkerProcess":
        """Nothing more: it runs already."""
        return self

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            RefusedError: if it cannot be done.
            LostError: if the process is no more, or hangs.
        """
        return self._ask(request)

    def _ask(self, content: Mapping[str, Any]) -> dict[str, Any]:
        self.send(content)
        line = self.line()
        if line is None:
            raise LostError("ended without an answer")
        answer = dict(json.loads(line))
        if "error" in answer:
            raise RefusedError(answer["error"])
        return answer


def train(interpreter: str, arguments: Sequence[str], on_line: Callable[[str], bool]) -> None:
    """Run ``scripts/train.py``, until it ends or has shown enough.

    Args:
        interpreter: to run it.
        arguments: of the script.
        on_line: gets each line that it prints; False when there is no need to go on.

    Raises:
        LostError: if it fails or hangs.
    """
    script = str(machine.PROJECT_DIRECTORY / "scripts" / "train.py")
    environment = worker_environment(settled(os.environ))
    with Process([interpreter, script, *arguments], environment) as process:
        while (line := process.line()) is not None:
            if not on_line(line):
                process.kill()
                return


def settled(given: Mapping[str, str]) -> dict[str, str]:
    """An environment for a process in another directory, its relative paths made absolute."""
    directory = given.get(fashion_mnist.DIRECTORY_VARIABLE)
    if not directory:
        return dict(given)
    return {**given, fashion_mnist.DIRECTORY_VARIABLE: str(Path(directory).resolve())}
