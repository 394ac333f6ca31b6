"""How a bench shows where it is, without taking time from what it measures."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from common.terminal.display import PLAIN_LINE_SECONDS, duration


@contextlib.contextmanager
def shown() -> Iterator[Callable[[float, float | None, str], None]]:
    """A bar on a terminal, lines elsewhere; on standard error.

    Yields:
        what shows the share that is done, the seconds that are left (None if not yet known) and
        what is measured now.
    """
    console = Console(stderr=True)
    columns = (
        BarColumn(30),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.description}"),
    )
    last_line = time.monotonic()
    # drawn between measurements only
    with Progress(
        *columns, console=console, transient=True, auto_refresh=False,
        redirect_stdout=sys.stdout.isatty(), disable=not console.is_terminal,
    ) as bar:  # fmt: skip
        task = bar.add_task("", total=1.0)

        def show(share: float, seconds_left: float | None, what: str) -> None:
            nonlocal last_line
            text = what if seconds_left is None else f"{what}, {duration(seconds_left)} left"
            bar.update(task, completed=share, description=text, refresh=True)
            if bar.disable and time.monotonic() - last_line >= PLAIN_LINE_SECONDS:
                last_line = time.monotonic()
                print(f"{share:.0%}: {text}", file=sys.stderr, flush=True)

        yield show
