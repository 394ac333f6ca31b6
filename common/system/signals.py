"""Ctrl-C, ``kill`` and a closed terminal as a request to stop at the next safe point."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def handling(
    handler: Callable[[int, FrameType | None], Any], numbers: Sequence[int] = SIGNALS
) -> Iterator[None]:
    """Handle signals, in the main thread, as no other gets any; what was ignored stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        numbers = ()
    handlers = {number: signal.getsignal(number) for number in numbers}
    # nohup ignores the signal of a closed terminal
    previous = {n: earlier for n, earlier in handlers.items() if earlier is not signal.SIG_IGN}
    try:
        for number in previous:
            signal.signal(number, handler)
        yield
    finally:
        for number, earlier in previous.items():
            signal.signal(number, earlier)


class StopRequest(contextlib.ExitStack):
    """While it is entered, the first signal is only noted; a second one raises at once.

    Use as a context manager and look at :attr:`signal` between steps.
    """

    signal: int | None = None
    """The signal that came, or None."""

    @property
    def exit_status(self) -> int:
        """128 + the signal's number, as shells count: 130 for Ctrl-C, 143 for ``kill``."""
        return 128 + (self.signal or 0)

    def __enter__(self) -> "StopRequest":
        """Take over the signals."""
        self.enter_context(handling(self._note))
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        # print() could be interrupted in the middle of a line of its own
        with contextlib.suppress(OSError):
            os.write(2, b"\nstopping after this step; again to stop at once\n")


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Let signals wait until the end of a few lines that must not be left halfway."""
    came: list[int] = []
    try:
        with handling(lambda number, _: came.append(number)):
            yield
    finally:
        for number in came[:1]:
            signal.raise_signal(number)


def as_interrupts() -> contextlib.AbstractContextManager[None]:
    """``kill`` and a closed terminal interrupt as Ctrl-C does, so that what was begun is undone."""
    return handling(signal.default_int_handler, (signal.SIGTERM, signal.SIGHUP))
