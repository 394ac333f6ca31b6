"""Ctrl-C, ``kill`` and a closed terminal as a request to stop at the next safe point."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
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
        self._previous = _take_over(self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        _give_back(self._previous)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        # print() could be interrupted in the middle of a line of its own
        with contextlib.suppress(OSError):
            os.write(2, b"\nstopping after this step; again to stop at once\n")


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Let signals wait until the end of a few lines that must not be left halfway.

    The first one is dealt with there; in the main thread, as only that gets any.
    """
    came: list[int] = []
    previous = _take_over(lambda number, _: came.append(number))
    try:
        yield
    finally:
        _give_back(previous)
        for number in came[:1]:
            signal.raise_signal(number)


@contextlib.contextmanager
def as_interrupts() -> Iterator[None]:
    """``kill`` and a closed terminal interrupt as Ctrl-C does, so that what was begun is undone."""
    previous = _take_over(signal.default_int_handler, (signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        _give_back(previous)


def _take_over(
    handler: Callable[[int, FrameType | None], Any], numbers: Sequence[int] = SIGNALS
) -> dict[int, Any]:
    """Handle the signals but for those that are ignored; the handlers that they had.

    None in a thread other than the main one, which gets no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    previous: dict[int, Any] = {
        number: earlier
        for number in numbers
        if (earlier := signal.getsignal(number)) is not signal.SIG_IGN
    }
    for number in previous:
        signal.signal(number, handler)
    return previous


def _give_back(previous: dict[int, Any]) -> None:
    for number, handler in previous.items():
        signal.signal(number, handler)
