#!/usr/bin/env python3
"""Make one page of runs and benchmarks: curves, results beside the book's, settings, costs."""

import _environment  # noqa: F401, I001 (first: it explains a missing installation)
import argparse
from pathlib import Path

from common.backends.registry import BACKENDS, check_spec
from common.files.paths import check_target
from common.files.write import write_text
from common.report import page
from common.terminal import command_line

EXAMPLES = """\
examples:
  report.py runs/*                                  report.html, of all runs side by side
  report.py runs/first bench.json --out first.html  with a file of bench.py
  report.py runs/first --predict                    with confusion matrix and sample predictions
  report.py runs/exercise-2/*/* --lang tr           the runs of ablate.py, in Turkish

The page is one file: it opens from disk, without a network, in light and dark, on a phone, and
prints on A4.

exit status: 0; 1 if something could not be read, which is named here and on the page; 2 if nothing
could, or the page could not be written.
"""


def parser() -> command_line.Parser:
    """The command line of this script."""
    p = command_line.Parser("Make one HTML page of training runs and benches.", EXAMPLES)
    p.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="directory of a run, or bench.json"
    )
    p.add_argument(
        "--out", type=Path, default=Path("report.html"), metavar="FILE", help="(report.html)"
    )
    command_line.add_language(p, "the page")
    seen = p.add_argument_group("predictions")
    seen.add_argument(
        "--predict",
        action="store_true",
        help="compute confusion matrices and sample predictions from each run's weights",
    )
    seen.add_argument(
        "--backend",
        metavar="NAME",
        help=f"{', '.join(BACKENDS)} (the one that trained all runs, or torch)",
    )
    seen.add_argument(
        "--data", metavar="auto|full|sample|PATH", help="the data set (each run's own)"
    )
    seen.add_argument(
        "--indices", metavar="A:B", help="which test images, like 0:1000 or 3,5,8 (all)"
    )
    return p


def command(options: argparse.Namespace) -> int:
    """Make the page; returns the exit status."""
    if options.backend is not None:
        check_spec(options.backend)
    check_target(options.out, "out")
    sources = page.read(options.runs)
    if options.predict:
        page.predict(sources, options.backend, options.data, options.indices)
    write_text(options.out, page.html(sources, options.lang))
    for note in sources.notes:
        command_line.show_line("note", parser().in_options(note))
    for problem in sources.problems:
        command_line.show_line("error", parser().in_options(problem))
    print(options.out)
    return 1 if sources.problems else 0


if __name__ == "__main__":
    command_line.run(command, parser())
