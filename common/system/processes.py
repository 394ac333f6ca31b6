"""Processes that this one starts: each can be asked, waited for, and ended with all it started."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from common.errors import NinError
from common.system.signals import deferred

if TYPE_CHECKING:
    from typing_extensions import Self

CLOSE_SECONDS = 5
# Between two looks at whether a process that writes nothing is still there.
LOOK_SECONDS = 1.0


class LostError(NinError):
    """A process did not start, crashed or hung; the message gives the reason in a few words."""


class Process:
    """A process in a group of its own, which reads and writes lines of JSON.

    Its working directory, empty, is also the one for its temporary files; that directory and all
    processes that it starts end with it. What it writes to standard error is kept to explain its
    end. A line of it is waited for ``timeout`` seconds. Use as a context manager.

    Raises:
        LostError: if it does not start.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], timeout: float
    ) -> None:
        self.timeout = timeout
        self.started = time.monotonic()
        """When it started; the clock is the same in all processes."""
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        # kill() ends both
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._directory = tempfile.TemporaryDirectory(prefix="nin-process-")
        try:
            # an interrupt in the middle of it would leave a process that nobody knows of
            with deferred():
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                    cwd=self._directory.name,
                    env={**environment, "TMPDIR": self._directory.name},
                    # Ctrl-C reaches the parent only, which then ends the whole group
                    start_new_session=True,
                )
                threading.Thread(target=self._read, daemon=True).start()
        except OSError as error:
            self._errors.close()
            self._directory.cleanup()
            raise LostError(f"{command[0]} does not start ({error.strerror})") from error
        except BaseException:
            if hasattr(self, "_process"):
                self.kill()
            raise

    def send(self, content: Any) -> None:
        """Give it a line of JSON."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the missing answer shows it
            self._process.stdin.write(json.dumps(content).encode() + b"\n")
            self._process.stdin.flush()

    def line(self) -> str | None:
        """The next line that it writes, None after the last.

        Raises:
            LostError: if it fails, or nothing comes.
        """
        until = time.monotonic() + self.timeout
        line, ended = None, False
        while not ended:
            # what it has started may still hold its output
            ended = self._process.poll() is not None
            left = until - time.monotonic()
            wait = LOOK_SECONDS if ended else max(0.0, min(left, LOOK_SECONDS))
            try:
                line = self._lines.get(timeout=wait)
                break
            except queue.Empty:
                if not ended and left <= 0:
                    raise LostError(f"no answer in {self.timeout:g} s") from None
        if line is not None:
            return line.decode(errors="replace").rstrip("\n")
        with contextlib.suppress(subprocess.TimeoutExpired):  # it has only closed its output
            if status := self._process.wait(CLOSE_SECONDS):
                raise LostError(why_it_ended(status, lines_of(self._errors)))
        return None

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
        self._errors.close()
        self._directory.cleanup()

    def __enter__(self) -> "Self":
        """It has started already."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close; kill if something went wrong."""
        if kind is None:
            self.close()
        else:
            self.kill()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self._lines.put(line)
        self._lines.put(None)


def lines_of(file: IO[bytes]) -> list[str]:
    """The lines that a process has written to a file of its own."""
    file.seek(0)
    return file.read().decode(errors="replace").strip().splitlines()


def why_it_ended(status: int, lines: Sequence[str]) -> str:
    """Why a process failed, in a few words, from its exit status and the lines that it wrote."""
    if status < 0:
        try:
            return f"crashed ({signal.Signals(-status).name})"
        except ValueError:
            return f"crashed (signal {-status})"
    last = lines[-1].strip() if lines else f"exit status {status}"
    return last.removeprefix("error: ")
