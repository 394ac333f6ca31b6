"""Tables on the terminal: made alike, and printed whole."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from common.terminal import output

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def empty(words: Sequence[str], numbers: Sequence[str], title: str | None = None) -> "Table":
    """A table without rows: columns of words, and behind them of numbers."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE, title=title)
    for name in words:
        made.add_column(name, no_wrap=True)
    for name in numbers:
        made.add_column(name, justify="right", no_wrap=True)
    return made


def show(tables: "Iterable[Table]", width: int = 120) -> None:
    """Print them whole, as :func:`print_whole`.

    The width, in characters, is that where there is no terminal, if they need no more.
    """
    shown = output.console(width)
    for table in tables:
        print_whole(shown, table)


def print_whole(console: "Console", table: "Table", end: str = "\n") -> None:
    """Print a table: a terminal that is too narrow wraps lines, but no number is cut off."""
    own = console.width
    needed = console.measure(table, options=console.options.update(width=1000)).maximum
    console.width = max(own, needed)
    console.print(table, end=end)
    console.width = own
