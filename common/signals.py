"""Ctrl-C, ``kill`` and a closed terminal as a request to stop at the next safe point."""

import contextlib
import os
import signal
from types import FrameType, TracebackType

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
