"""What is printed cannot command the terminal: control characters in it are spelt out.

They come in names of files, options, and what is inside of files. What is printed goes through
:class:`Guarded`, and what rich draws, which needs some itself, through :func:`console`.
"""

import contextlib
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from common.errors import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn


# control characters that are harmless
LAYOUT = "\n\t"


class Guarded:
    """A text stream that spells out control characters, but for line breaks and tabs."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write it, and return how much of it that was."""
        self.stream.write(printable(text, LAYOUT))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's."""
        return getattr(self.stream, name)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Guard standard output and standard error."""
    out, err = Guarded(sys.stdout), Guarded(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):  # type: ignore[type-var]
        yield


def console(width: int = 120, *, stderr: bool = False, **options: Any) -> "Console":
    """A console of rich, with its options, that spells out control characters in what it is given.

    The width, in characters, is that where there is no terminal.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    # rich's own colours are control characters too
    stream = stream.stream if isinstance(stream, Guarded) else stream
    made = Console(file=stream, width=None if stream.isatty() else width, **options)
    made.push_render_hook(_SpellOut())  # type: ignore[arg-type]
    return made


def progress(*columns: "ProgressColumn", on: "Console | None" = None) -> "Progress":
    """Bars on standard error, taken away at their end: of each its name, a bar, and columns."""
    from rich.progress import BarColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        *columns,
        console=on or console(stderr=True),
        # what is printed on a piped stdout is not to be pulled to stderr too
        redirect_stdout=sys.stdout.isatty(),
        transient=True,
    )


class _SpellOut:
    """What rich calls with everything that is to be drawn."""

    def process_renderables(self, renderables: list[Any]) -> list[Any]:
        return [_SpeltOut(each) for each in renderables]


class _SpeltOut:
    def __init__(self, drawn: Any) -> None:
        self.drawn = drawn

    def __rich_console__(self, console: "Console", options: Any) -> Iterator[Any]:
        for segment in console.render(self.drawn, options):
            text = segment.text if segment.control else printable(segment.text, LAYOUT)
            yield segment._replace(text=text)
