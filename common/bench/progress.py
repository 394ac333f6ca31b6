"""How a bench shows where it is, without taking time from what it measures."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from common.terminal.display import PLAIN_LINE_SECONDS, duration


class BenchProgress:
    """A bar on a terminal, lines elsewhere; on standard error. Use as a context manager."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._last_line = time.monotonic()
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                BarColumn(bar_width=30),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.description}"),
                console=console,
                redirect_stdout=sys.stdout.isatty(),
                transient=True,
                # drawn between measurements only
                auto_refresh=False,
            )
            self._task = self._bar.add_task("", total=1.0)

    def show(self, share: float, seconds_left: float | None, what: str) -> None:
        """Say how far it is.

        Args:
            share: 0 to 1.
            seconds_left: None if not yet known.
            what: is measured now.
        """
        left = "" if seconds_left is None else f", {duration(seconds_left)} left"
        if self._bar is not None:
            self._bar.update(self._task, completed=share, description=f"{what}{left}")
            self._bar.refresh()
        elif time.monotonic() - self._last_line >= PLAIN_LINE_SECONDS:
            self._last_line = time.monotonic()
            print(f"{share:.0%}: {what}{left}", file=sys.stderr, flush=True)

    def __enter__(self) -> "BenchProgress":
        """Start to show."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop to show."""
        if self._bar is not None:
            self._bar.stop()
