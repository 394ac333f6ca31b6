"""Figures of matplotlib, made and written without changing it for anybody else in the process.

matplotlib takes longer to import than to draw: it is imported when there is something to draw.
Text from users (a backend's name, a file's) is no formula: it is drawn with ``parse_math=False``.
"""

import contextlib
import functools
import io
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import printable
from common.files.write import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BACKEND_VARIABLE = "MPLBACKEND"
# the same figure gives the same file
METADATA = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
DPI = 150
KINDS = ("png", "svg", "pdf")


def new(width: float, height: float) -> "Figure":
    """An empty figure, sizes in inches, that needs no display; a notebook shows it as a value."""
    return _figure_class()(figsize=(width, height), layout="constrained")


def save(figure: "Figure", path: Path) -> None:
    """Write a figure, whole or not at all, as a ``.png``, ``.svg`` or ``.pdf`` file."""
    write_bytes(path, _render(figure, path.suffix[1:].lower(), "nin"))


def save_svg_and_png(figure: "Figure", directory: Path, name: str) -> list[Path]:
    """Write ``NAME.svg`` and ``NAME.png`` into a directory; what was written."""
    paths = [directory / f"{name}.{kind}" for kind in ("svg", "png")]
    for path in paths:
        save(figure, path)
    return paths


def png(figure: "Figure", dpi: float) -> bytes:
    """A figure as the content of a PNG file, with so many dots per inch."""
    return _render(figure, "png", "nin", dpi=dpi)


def svg_element(figure: "Figure", salt: str, colours: Mapping[str, str] | None = None) -> str:
    """A figure as the ``<svg>`` element of a page, its text as text, without addresses.

    Black becomes what the page writes in, which is light on a dark page; other colours, such as
    ``#0072b2``, what the page has for each. The salt makes the names inside differ from those of
    the page's other figures.
    """
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    text = _render(figure, "svg", salt, metadata=nothing, transparent=True, fonttype="none")
    element = text.decode()[text.decode().index("<svg") :]
    for colour, own in {"#000000": "currentColor", **(colours or {})}.items():
        element = element.replace(colour, own)
    # matplotlib's groups have the same names in every figure, and nothing refers to them
    return re.sub(r'<g id="[^"]*"', "<g", element)


def add_legend(axes: "Axes", **options: Any) -> None:
    """Put a legend there, with matplotlib's options; its labels may come from users."""
    for text in axes.legend(**options).get_texts():
        text.set_parse_math(False)


def _render(
    figure: "Figure", kind: str, salt: str, fonttype: str = "path", **options: Any
) -> bytes:
    import matplotlib
    from matplotlib.text import Text

    # a control character has no glyph, and makes an SVG file one that cannot be read
    for text in figure.findobj(Text):
        text.set_text(printable(text.get_text(), keep="\n"))
    options = {"metadata": METADATA.get(kind), "dpi": DPI} | options
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": fonttype}):
        figure.savefig(file, format=kind, **options)
    return file.getvalue()


@functools.cache
def _figure_class() -> "type[Figure]":
    with _backend_of_the_environment():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        """Shown in a notebook whether or not pyplot is set up for that."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            FigureCanvasAgg(self)

        def _repr_png_(self) -> bytes:
            return png(self, self.dpi)

    return NotebookFigure


@contextlib.contextmanager
def _backend_of_the_environment() -> Iterator[None]:
    """Import matplotlib whatever ``MPLBACKEND`` says, which pyplot will go by all the same.

    Jupyter sets it for the commands of a notebook's cells too, where the package that it names
    may not be installed: the import would then fail.
    """
    wanted = None if "matplotlib" in sys.modules else os.environ.pop(BACKEND_VARIABLE, None)
    # without a home directory it warns of its cache, which is no matter of ours
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        if wanted is not None:
            os.environ[BACKEND_VARIABLE] = wanted
    if wanted:
        import matplotlib

        with contextlib.suppress(ValueError):  # pyplot chooses for itself
            matplotlib.rcParams["backend"] = wanted
