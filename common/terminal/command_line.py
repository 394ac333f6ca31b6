"""What all commands share: one clear line for bad input, and ``--debug`` for the traceback."""

import argparse
import io
import itertools
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from common import errors
from common.errors import NinError, NinWarning, closest, printable, shortened
from common.system import signals
from common.terminal import output

if TYPE_CHECKING:
    from common.report.look import Look

# A home directory at the beginning of a path: also in --out=~/run, NAME=~/python and a list.
HOME = re.compile(r"(?:^|(?<=[=,]))~[^/=,\s]*(?=/|$)")

# Variables by which rich takes a pipe or a file for a terminal.
NO_TERMINAL = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")

# What options are added to: a parser, or a group of its options.
Options = argparse.ArgumentParser | argparse._ArgumentGroup


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on stderr, exit status 2."""

    def __init__(self, description: str, epilog: str = "") -> None:
        super().__init__(
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def error(self, message: str) -> NoReturn:
        """Print one line, with an option that was perhaps meant, and exit."""
        meant = ""
        if message.startswith("unrecognized arguments: -"):
            wrong = message.split()[2].partition("=")[0].strip("-").replace("-", "_")
            known = self._option_string_actions
            options = {option.strip("-").replace("-", "_"): option for option in known}
            like = closest(wrong, options, 0.75)
            meant = f"; did you mean {options[like]}?" if like else ""
        # a decimal comma; commas or points between thousands
        if number := re.search(r"(int|float|number) value: '([\d.,]+)'$", message):
            kind, text = number.groups()
            whole = kind == "int"
            text = re.sub(r"[.,](?=\d{3}\b)", "", text) if whole else text.replace(",", ".")
            if text.replace(".", "", not whole).isdecimal():
                meant = f"; did you mean {text}?"
        message = message.replace("invalid int value: ", "expected a whole number, not ")
        show_line("error", f"{shortened(message)}{meant}; --help lists the options")
        self.exit(2)

    def in_options(self, text: str) -> str:
        """The arguments in a message (:class:`NinError`) spelt as this command's options.

        An option that takes several values, such as ``--backends``, stands for each of them.
        """
        named = (action for action in self._actions if action.option_strings)
        options = {action.dest: action.option_strings[0] for action in named}
        singular = {name.removesuffix("s"): option for name, option in options.items()}
        return errors.in_options(text, singular | options)


def show_line(kind: str, text: str) -> None:
    """Print one line on standard error: ``error`` or ``note``, and text of any kind and length."""
    print(f"{kind}: {shortened(printable(' '.join(text.split())))}", file=sys.stderr)


def add_python(parser: Options) -> None:
    """Add ``--python``, which :func:`common.backends.session.interpreters` takes."""
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="the interpreter of a backend (or the variable NIN_PYTHON_NAME); may be repeated",
    )


def add_prediction(parser: argparse.ArgumentParser, indices: str) -> None:
    """Add what a network is shown, and where; ``indices`` is an example of which images."""
    from common.backends.registry import BACKENDS
    from common.prediction.predict import SPLITS

    parser.add_argument(
        "--backend",
        default="torch",
        metavar="NAME",
        help=f"{', '.join(BACKENDS)}, a file or a package (torch)",
    )
    what = parser.add_argument_group("the images")
    what.add_argument(
        "--images",
        dest="photos",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="photos of any kind, or folders of them, not a data set",
    )
    what.add_argument(
        "--data",
        metavar="auto|full|sample|PATH",
        help="the data set, as train.py takes it (your own if the run used them, else auto)",
    )
    what.add_argument("--split", metavar="NAME", help=f"{' or '.join(SPLITS)} (test)")
    what.add_argument(
        "--indices", metavar="A:B", help=f"like {indices}, or 3,5,8 (all of the split)"
    )
    parser.add_argument(
        "--resize",
        type=int,
        metavar="PIXELS",
        help="side of the resized images (what the network was trained on)",
    )
    parser.add_argument("--device", metavar="NAME", help="auto (a GPU if there is one), cpu or gpu")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (one per core)")


def look(options: argparse.Namespace) -> "Look":
    """The network of ``--weights`` with what the options of :func:`add_prediction` show it."""
    from common import api
    from common.backends.registry import check_spec

    check_spec(options.backend)
    names = ("backend", "data", "split", "indices", "resize", "device", "threads")
    chosen = {name: getattr(options, name) for name in names}
    return api.look(options.weights, options.photos, **chosen)


def add_runs(parser: Options, validation: str, threads: str = "CPU threads (one per core)") -> None:
    """Add options of commands that train many runs; the help of two of them is the command's."""
    limit = "train on N images only, and measure on a sixth as many"
    parser.add_argument("--limit", type=int, metavar="N", help=limit)
    parser.add_argument("--validation", type=int, metavar="N", help=validation)
    parser.add_argument(
        "--data", default="auto", metavar="auto|full|sample|PATH", help="as train.py's (auto)"
    )
    parser.add_argument("--precision", metavar="NAME", help="as train.py's (the preset's)")
    parser.add_argument("--device", metavar="NAME", help="auto (a GPU if there is one), cpu or gpu")
    parser.add_argument("--threads", type=int, metavar="N", help=threads)


def add_network(parser: Options, default: str | None = "chapter") -> None:
    """Add ``--network``, which :func:`common.network.description.parse` takes."""
    parser.add_argument(
        "--network",
        default=default,
        metavar="NAME",
        help="chapter (default); for the exercises no-1x1, one-1x1, three-1x1, 3x3 (in place of "
        "1x1), dense-head (in place of global average pooling), gentle (384 to 10 channels in "
        "steps), vgg-12 ...; or what differs, such as inner=1,head=dense: docs/variants.md",
    )


def add_networks(parser: Options, default: Sequence[str]) -> None:
    """Add ``--networks``, each of which :func:`common.network.cost.of` takes."""
    from common.network.book import NETWORKS

    parser.add_argument(
        "--networks",
        nargs="+",
        default=list(default),
        metavar="NAME",
        help=f"nin, {', '.join(NETWORKS)}, or variants of NiN as train.py --network takes them "
        f"({' '.join(default)})",
    )


def add_language(parser: Options, of: str, default: str | None = "en") -> None:
    """Add ``--lang``, the language ``of`` what is written."""
    from common.report.style import LANGUAGES

    parser.add_argument("--lang", choices=LANGUAGES, default=default, help=f"language of {of} (en)")


def run(command: Callable[[argparse.Namespace], int], parser: Parser) -> NoReturn:
    """Parse the command line, run the command with it, and exit with the status that it gives."""
    # Python has None for a closed one; the null device takes its place, and its number, which a
    # file that is opened later would get otherwise
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (stays open)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a file's name that the terminal's encoding lacks is no reason to stop
        sys.stdout.reconfigure(errors="backslashreplace")
    if not sys.stdout.isatty():
        for name in NO_TERMINAL:
            os.environ.pop(name, None)
    signals.set_up_command()
    try:
        status = execute(command, parser, sys.argv[1:])
    except KeyboardInterrupt:  # in the few lines there that are not guarded
        status = 130
    finally:
        signals.end_command()
    sys.exit(status)


@output.guarded()
def execute(
    command: Callable[[argparse.Namespace], int], parser: Parser, arguments: Sequence[str]
) -> int:
    """Parse arguments and run a command; errors become one line and an exit status."""
    for argument in itertools.takewhile(lambda argument: argument != "--", arguments):
        # argparse takes the value for the mark before positional arguments, and leaves nothing
        if re.fullmatch(r"-[^=]*=--", argument):
            parser.error(f"{argument}: -- is not a value")
    options = parser.parse_args([HOME.sub(_home, argument) for argument in arguments])
    warnings.showwarning = _note(parser, warnings.showwarning)
    try:
        return command(options)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has seen enough, as with `| head`
        sys.stderr.close()
        return 141
    except (NinError, OSError, MemoryError) as error:
        if options.debug:
            traceback.print_exc()
            return 1
        message = parser.in_options(error.marked) if isinstance(error, NinError) else str(error)
        show_line("error", message.strip() or type(error).__name__)
        return 2


def _home(found: re.Match[str]) -> str:
    # pathlib raises where there is no home directory
    return os.path.expanduser(found[0])  # noqa: PTH111


def _note(parser: Parser, otherwise: Callable[..., None]) -> Callable[..., None]:
    """What prints our own warnings as notes."""

    def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
        if issubclass(category, NinWarning):
            show_line("note", parser.in_options(str(message)))
        else:
            otherwise(message, category, *rest)

    return show
