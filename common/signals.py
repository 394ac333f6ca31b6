"""Ctrl-C, ``kill`` and a closed terminal as a request to stop at the next safe point."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """While it is entered, the first signal is only noted; a second one raises at once.

    Use as a context manager and look at :attr:`signal` between steps. A signal that was ignored
    before (as ``nohup`` does with a closed terminal) stays ignored.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        """The signal that came, or None."""

    @property
    def exit_status(self) -> int:
        """128 + the signal's number, as shells count: 130 for Ctrl-C, 143 for ``kill``."""
        return 128 + (self.signal or 0)

    def __enter__(self) -> "StopRequest":
        """Take over the signals."""
        self._previous = {
            number: handler
            for number in SIGNALS
            if (handler := signal.getsignal(number)) is not signal.SIG_IGN
        }
        for number in self._previous:
            signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        # print() could be interrupted in the middle of a line of its own
        with contextlib.suppress(OSError):
            os.write(2, b"\nstopping after this step, with a checkpoint; again to stop at once\n")


class Deferred:
    """While it is entered, signals wait; the first one is dealt with at its end.

    Use as a context manager around a few lines that must not be left halfway.
    """

    def __enter__(self) -> "Deferred":
        """Take over the signals; only the main thread gets any."""
        self._came: list[int] = []
        self._previous: dict[int, Callable[[int, FrameType | None], Any]] = {}
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if callable(handler := signal.getsignal(number)):
                    self._previous[number] = handler
                    signal.signal(number, lambda number, _: self._came.append(number))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the signals back, and send the one that came."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        for number in self._came[:1]:
            signal.raise_signal(number)
