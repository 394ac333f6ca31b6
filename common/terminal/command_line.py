"""What all commands share: one clear line for bad input, and ``--debug`` for the whole story."""

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn


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
        """Print one line and exit."""
        self.exit(2, f"error: {message}; --help lists the options\n")


def add_python(parser: argparse.ArgumentParser) -> None:
    """Add ``--python``, which :func:`common.backends.session.interpreters` takes."""
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="the interpreter of a backend (or the variable NIN_PYTHON_NAME); may be repeated",
    )


def run(command: Callable[[argparse.Namespace], int], parser: Parser) -> NoReturn:
    """Parse the command line, run the command, and exit with its status.

    Args:
        command: takes the parsed arguments, returns the exit status.
        parser: of the command line.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a file's name that the terminal's encoding lacks is no reason to stop
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(execute(command, parser, sys.argv[1:]))


def execute(
    command: Callable[[argparse.Namespace], int], parser: Parser, arguments: Sequence[str]
) -> int:
    """Parse arguments and run a command; errors become one line and an exit status."""
    from common.errors import NinError

    options = parser.parse_args(arguments)
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
            raise
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"error: {message}", file=sys.stderr)
        return 2
