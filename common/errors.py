"""The exception that a person is meant to read, and what other exceptions mean."""

import difflib
import re
from collections.abc import Iterable, Mapping

# `resize=20` or `batch_size` in a message: an argument as Python spells it. A value may hold
# anything; other text in backticks is left as it is.
ARGUMENT = re.compile(r"`([a-z]\w*)(?:=(.*?))?`(?!\w)", re.DOTALL)

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# MXNet's own messages begin so, with places in its C++
TRACEBACK = re.compile(r"\A\s*Traceback \(most recent call last\):\n(?:[ \t].*\n)*(?:\w+: )?")

# a number, and what is counted
COUNTED = re.compile(r"(?<![\w.,/])(([\d.,]+)(?: [^\W\d]+)+)\((e?s)\)")

# No memory left: classes by name, as no framework is imported here, and the frameworks' own words.
MEMORY_CLASSES = {"MemoryError", "OutOfMemoryError", "ResourceExhaustedError"}
MEMORY_WORDS = re.compile(
    "out of memory|not enough memory|unable to allocate|allocate (cpu |gpu )?memory|bad_alloc|"
    "oom when allocating|resource_?exhausted|(cublas|cudnn)_status_alloc_failed|"
    # oneDNN; of a descriptor it is said when there is no such operation
    r"could not create a (primitive(?! descriptor)|memory object)",
    re.IGNORECASE,
)


class NinError(Exception):
    """Something the user can put right.

    Its message is one line: what is wrong, where, and what to do. Arguments stand in it between
    backticks, as in "`resize=20`: too small" or "take a smaller `batch_size`". Python users read
    them without the backticks, users of the command line as ``--resize 20`` and ``--batch-size``.
    The scripts print the message on stderr and exit with status 2; with ``--debug`` they show the
    traceback.
    """

    @property
    def marked(self) -> str:
        """The message with its arguments in backticks, for :func:`in_options`."""
        return super().__str__()

    def __str__(self) -> str:
        """The message as a Python user reads it."""
        return in_python(self.marked)

    def _render_traceback_(self) -> list[str]:
        """What IPython and Jupyter show instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class NinWarning(UserWarning):
    """Something that the user should know; commands print it as a line that begins ``note:``."""


def in_python(text: str) -> str:
    """Text with arguments in backticks, as Python users read it: ``resize=20``."""
    return ARGUMENT.sub(lambda found: found[0][1:-1], text)


def in_options(text: str, options: Mapping[str, str]) -> str:
    """The same as users of a command line read it: ``--resize 20``.

    ``options`` has the option of an argument, as ``batch_size`` -> ``--batch-size``; an argument
    without one is left as Python users read it.
    """

    def option(found: re.Match[str]) -> str:
        name, value = found.groups()
        if name not in options:
            return found[0][1:-1]
        if value == "False":
            return options[name].replace("--", "--no-", 1)
        return options[name] if value in (None, "True") else f"{options[name]} {value}"

    return ARGUMENT.sub(option, text)


def one_line(error: BaseException) -> str:
    """An exception's message without line breaks, a terminal's colours and where it comes from."""
    text = TRACEBACK.sub("", COLOUR.sub("", str(error)))
    return " ".join(text.split()) or type(error).__name__


# what other programs call our settings and backends
OTHER_NAMES = {"learning_rate": "lr", "image_size": "resize", "tensorflow": "tf", "keras": "tf"}


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The known word that was perhaps meant, or nothing; ``cutoff`` is how alike it must be.

    >>> closest("epoch", ["lr", "epochs"]), closest("learning_rate", ["lr", "epochs"])
    ('epochs', 'lr')
    """
    ours = {name: name for name in known}
    names = {other: name for other, name in OTHER_NAMES.items() if name in ours} | ours
    like = difflib.get_close_matches(word.lower(), names, 1, cutoff)
    return names[like[0]] if like else ""


def plural(text: str) -> str:
    """Text with each ``image(s)`` in the form for the number before it: ``1 image``, ``2 images``.

    >>> plural("1 seed(s), 5 training image(s) of 3 class(es)")
    '1 seed, 5 training images of 3 classes'
    """
    return COUNTED.sub(lambda found: found[1] + ("" if found[2] == "1" else found[3]), text)


def printable(text: str, keep: str = "") -> str:
    """Text of a stranger, safe on a terminal: control characters not in ``keep`` are spelt out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def shortened(text: str, most: int = 1000) -> str:
    """Text without its middle if it is long: names can be, and the end says what is wrong."""
    return text if len(text) <= most else f"{text[: most // 4]} [...] {text[-most // 2 :]}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception, of Python, NumPy or any framework, means that memory ran out."""
    if MEMORY_CLASSES.intersection(kind.__name__ for kind in type(error).__mro__):
        return True
    return MEMORY_WORDS.search(str(error)) is not None
