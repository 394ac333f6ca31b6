"""What the pictures for learners and teachers share: sizes, colours, and numbers in words.

They are as large as a slide (13.3 by 7.5 inches), so that the sizes of letters are a slide's too.
"""

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import NinError
from common.files import figures
from common.files.paths import check_target

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LANGUAGES = ("en", "tr")

WIDTH, HEIGHT = 13.33, 7.5
TITLE, TEXT, SMALL = 22, 18, 15
"""Sizes of letters in points; on a slide, 18 is read from the last row of a lecture hall."""

# Okabe and Ito, "Color Universal Design", 2008: told apart by colour-blind people too
BLUE, SKY, GREEN = "#0072B2", "#56B4E9", "#009E73"
ORANGE, VERMILION, PURPLE, GREY = "#E69F00", "#D55E00", "#CC79A7", "#BBBBBB"


def check_pictures(paths: Sequence[Path]) -> None:
    """Raise :class:`NinError` for a picture that could not be written, before it is drawn."""
    for path in paths:
        check_target(path, "picture")
        if path.suffix[1:].lower() not in figures.KINDS:
            raise NinError(f"`picture={path}`: its name must end with .{', .'.join(figures.KINDS)}")


def check(language: str) -> None:
    """Raise :class:`NinError` for a language that is none of :data:`LANGUAGES`."""
    if language not in LANGUAGES:
        raise NinError(f"`lang={language}`: must be {' or '.join(LANGUAGES)}")


def words(table: Mapping[str, Sequence[str]], language: str) -> dict[str, str]:
    """The words of a language, of a table that has each in all of :data:`LANGUAGES`.

    Raises:
        NinError: for another language.
    """
    check(language)
    return {name: each[LANGUAGES.index(language)] for name, each in table.items()}


def slide(title: str, height: float = HEIGHT) -> "Figure":
    """An empty picture as wide as a slide, with its title."""
    figure = figures.new(WIDTH, height)
    figure.suptitle(title, fontsize=TITLE, parse_math=False)
    return figure


def wrapped(text: str, letters: int) -> str:
    """A text in lines of so many letters, broken at commas, or else between its numbers."""
    parts = text.replace(", ", ",").replace(" ", "\N{NO-BREAK SPACE}").replace(",", ", ")
    lines = textwrap.wrap(parts, letters, break_long_words=False, break_on_hyphens=False)
    for i, line in enumerate(lines):
        if len(line) > letters:
            shorter = textwrap.fill(re.sub("([-/])", r"\1 ", line), letters)
            lines[i] = re.sub("([-/]) ", r"\1", shorter)
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")


def write_numbers(axes: "Axes", language: str) -> None:
    """Write the numbers along both axes as the language does."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: decimal(f"{value:.4g}", language))


def decimal(text: str, language: str) -> str:
    """A number as the language writes it: with a comma for the point in Turkish."""
    return text.replace(".", ",") if language == "tr" else text


def whole(number: int, language: str) -> str:
    """A whole number, its thousands set apart."""
    text = f"{number:,}"
    return text.replace(",", ".") if language == "tr" else text


def share(part: float, language: str, digits: int = 0) -> str:
    """A part of one in per cent."""
    number = decimal(f"{100 * part:.{digits}f}", language)
    return f"%{number}" if language == "tr" else f"{number}%"


def count(value: float, language: str = "en") -> str:
    """A count in three digits, with k, M, G or T: ``1.99 M``."""
    return _with_prefix(value, 1000, ("", " k", " M", " G", " T", " P"), language)


def size(value: float, language: str = "en") -> str:
    """Bytes in three digits: ``904 MiB``."""
    return _with_prefix(value, 1024, (" B", " KiB", " MiB", " GiB", " TiB"), language)


def _with_prefix(value: float, step: int, units: Sequence[str], language: str) -> str:
    at = 0
    # 999.6 would be written 1000
    while value >= 999.5 and at < len(units) - 1:
        value, at = value / step, at + 1
    digits = 0 if value >= 99.95 or not at else 1 if value >= 9.995 else 2
    return decimal(f"{value:.{digits}f}", language) + units[at]
