"""What the pictures for learners and teachers share: sizes, colours, and numbers in words.

They are as large as a slide (13.3 by 7.5 inches), so that the sizes of letters are a slide's too.
"""

import functools
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.errors import NinError
from common.files import figures
from common.files.paths import check_target
from common.report.recorded import TURKISH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LANGUAGES = ("en", "tr")
# of a number
SWAPPED = str.maketrans(",.", ".,")

WIDTH, HEIGHT = 13.33, 7.5
TITLE, TEXT, SMALL = 22, 18, 15
"""Sizes of letters in points; on a slide, 18 is read from the last row of a lecture hall."""

# Okabe and Ito, "Color Universal Design", 2008: told apart by colour-blind people too
BLUE, SKY, GREEN = "#0072B2", "#56B4E9", "#009E73"
ORANGE, VERMILION, PURPLE, GREY = "#E69F00", "#D55E00", "#CC79A7", "#BBBBBB"

# Beside larger losses no other can be read; guessing has ln 10 = 2.3, of 256 classes 5.5.
MOST_LOSS = 10
WORDS = {"larger": ("losses above {0} are not drawn", "{0} üstü kayıplar çizilmedi")}


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
    """The words of a language, of a table that has each in all of :data:`LANGUAGES`."""
    check(language)
    return {name: each[LANGUAGES.index(language)] for name, each in table.items()}


def slide(title: str, height: float = HEIGHT) -> "Figure":
    """An empty picture as wide as a slide, with its title."""
    figure = figures.new(WIDTH, height)
    figure.suptitle(title, fontsize=TITLE, parse_math=False)
    return figure


def wrapped(text: str, letters: int) -> str:
    """A text in lines of so many letters, broken at commas, or else between words and numbers."""
    parts = text.replace(", ", ",").replace(" ", "\N{NO-BREAK SPACE}").replace(",", ", ")
    lines = textwrap.wrap(parts, letters, break_long_words=False, break_on_hyphens=False)
    for i, line in enumerate(lines):
        if len(line) > letters:
            parts = re.sub("([-/])", r"\1 ", line).replace("\N{NO-BREAK SPACE}", " ")
            shorter = textwrap.fill(parts, letters)
            lines[i] = re.sub("([-/]) ", r"\1", shorter)
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")


def filled(text: str, width: float, size: float) -> str:
    """A text in lines of a width in inches, in letters of so many points, about 0.64 as wide."""
    return textwrap.fill(text, int(72 * width / (0.64 * size)))


def write_numbers(axes: "Axes", language: str, form: str = ".4g", along: str = "xy") -> None:
    """Write the numbers along both axes, or along one, as the language does."""
    for axis in along:
        getattr(axes, f"{axis}axis").set_major_formatter(
            lambda value, _: number(value, form, language)
        )


def leave_out_large_losses(axes: "Axes", language: str) -> None:
    """Draw what is at most :data:`MOST_LOSS` as if there were no more; say so below the axis."""
    values = [value for line in axes.lines for value in np.ravel(line.get_ydata()).tolist()]
    drawn = [value for value in values if value <= MOST_LOSS] or [0, MOST_LOSS]
    if max(values, default=0) > MOST_LOSS:
        room = 0.05 * max(drawn)
        axes.set_ylim(min(drawn) - room, max(drawn) + room)
        note = words(WORDS, language)["larger"].format(MOST_LOSS)
        axes.set_xlabel(f"{axes.get_xlabel()}\n({note})")


def number(value: float, form: str = "", language: str = "en") -> str:
    """A number as the language writes it, its thousands apart: ``1,234.5``, ``1.234,5``.

    The form is what :func:`format` takes, but for the comma: a sign, ``.3f``, ``.4g``.
    """
    text = format(value, form.replace(".", ",.", 1) if "." in form else f",{form}")
    return text.translate(SWAPPED) if language == "tr" else text


def share(part: float, language: str, digits: int = 0) -> str:
    """A part of one in per cent."""
    text = number(100 * part, f".{digits}f", language)
    return f"%{text}" if language == "tr" else f"{text}%"


def with_notice(figure: "Figure", notice: str, language: str) -> "Figure":
    """A figure below which it says that the data are not the whole real set, if they are not."""
    width = figure.get_figwidth()
    size = max(8, 0.75 * width)
    if notice:
        lines = filled(told(notice, language), width, size)
        figure.supxlabel(lines, fontsize=size, parse_math=False)
    return figure


def told(text: str, language: str) -> str:
    """What was recorded in English, in a language as far as :mod:`common.report.recorded` has it.

    Names in it, and what else comes from users, stay as they are.
    """
    for pattern, turkish in _patterns() if language == "tr" else ():
        text = pattern.sub(functools.partial(_filled, turkish), text)
    return text


def _filled(turkish: str, found: re.Match[str]) -> str:
    """A sentence with what was found in the English one, its numbers as Turkish has them."""
    values = [
        number(float(each), f".{len(each.partition('.')[2])}f", "tr")
        if re.fullmatch(r"\d+(\.\d+)?", each)
        else each
        for each in found.groups()
    ]
    return turkish.format(*values)


@functools.cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """English, as it may stand in a text, in singular or plural, and Turkish."""
    found = []
    for english, turkish in TURKISH.items():
        # anything may stand for a number in braces, digits at the end: "train 5.png" is a photo
        pattern = re.sub(r"\\{\d\\}$", r"(\\d+)(?!\\.?\\w)", re.escape(english))
        pattern = re.sub(r"\\{\d\\}", "(.+?)", pattern)
        pattern = re.sub(r"\\\((e?s)\\\)", r"(?:\1)?", pattern)
        found.append((re.compile(pattern), turkish))
    return found


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
    return number(value, f".{digits}f", language) + units[at]
