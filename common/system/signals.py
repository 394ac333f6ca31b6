"""Ctrl-C, ``kill`` and a closed terminal as a request to stop at the next safe point."""

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Ctrl-C again so soon after the last one is a key that is held down, and the same wish.
BURST_SECONDS = 0.5

Handler = Callable[[int, FrameType | None], Any]


def once(handler: Handler) -> Handler:
    """The same for every signal but the later ones in a burst of Ctrl-C, which are dropped.

    One that raises then does not raise again while the first exception is being dealt with.
    """
    last = -math.inf

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal last
        before, last = last, time.monotonic()
        if number != signal.SIGINT or last - before > BURST_SECONDS:
            handler(number, frame)

    return handle


@contextlib.contextmanager
def handling(handler: Handler, numbers: Sequence[int] = SIGNALS) -> Iterator[None]:
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
    """While it is entered, the first signal is only noted and prints words; a second one raises.

    Use as a context manager and look at :attr:`signal` between steps.
    """

    signal: int | None = None
    """The signal that came, or None."""

    @property
    def exit_status(self) -> int:
        """128 + the signal's number, as shells count: 130 for Ctrl-C, 143 for ``kill``."""
        return 128 + (self.signal or 0)

    def __init__(self, words: str = "stopping after this step; again to stop at once") -> None:
        super().__init__()
        self._words = words

    def __enter__(self) -> "StopRequest":
        """Take over the signals."""
        self.enter_context(handling(once(self._note)))
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        # print() could be interrupted in the middle of a line of its own
        with contextlib.suppress(OSError):
            os.write(2, f"\n{self._words}\n".encode())


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


def set_up_command() -> None:
    """Let signals interrupt this process as Ctrl-C does, which it does once however often it comes.

    ``kill`` would leave temporary files and processes otherwise, wherever it comes.
    """
    handler = once(signal.default_int_handler)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def end_command() -> None:
    """Interrupt nothing from here on: Python itself is about to end this process."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)
