#!/usr/bin/env python3
"""Compare backends layer by layer: do they compute the same network, and where do they differ?"""

import _environment  # noqa: F401, I001 (first: it explains a missing installation)
import argparse
import dataclasses
import sys
from pathlib import Path

from common.comparison import junit, layer, run
from common.comparison import report as comparison_report
from common.comparison.job import Job
from common.terminal import command_line
from common.backends.registry import BACKENDS
from common.files.paths import check_target
from common.files.write import write_json, write_text

EXAMPLES = """\
examples:
  compare.py                                       the three backends, all levels
  compare.py --backends torch,tf --dtype float64   one precision: is it one function?
  compare.py --backends torch,./my_nin.py          an implementation of your own
  compare.py --backends torch,nin.onnx             a file (also .keras, .pt, .params, .safetensors):
                                                   the others are given its weights
  compare.py --resize 99 --steps 8 --html out.html
  compare.py --resize 99 --network no-1x1          a variant from the exercises
  compare.py --backends torch,./my_nin.py --layer block2.conv1
                                                   that layer alone, and what went wrong in it
  compare.py --python mxnet=/opt/old/bin/python    a backend from another environment
                                                   (or NIN_PYTHON_MXNET=/opt/old/bin/python)

exit status: 0 all that could be compared agrees, 1 the first deviating layer is named, 2 something
could not run: a backend is missing, crashed or hung, or nothing of it (or of the --layer) could be
compared, or the network is dead.
"""


def parser() -> command_line.Parser:
    """The command line of this script."""
    default = Job()
    p = command_line.Parser("Compare backends layer by layer.", EXAMPLES)
    p.add_argument(
        "--backends",
        nargs="+",
        default=list(BACKENDS),
        metavar="NAME",
        help=f"two or more of {', '.join(BACKENDS)}, a .py file, a package, a weights file, the "
        f"directory of a run ({','.join(BACKENDS)})",
    )
    p.add_argument(
        "--levels", nargs="+", metavar="NAME", help=f"some of {','.join(default.levels)} (all)"
    )
    for name, what in (
        ("resize", "image size in pixels"),
        ("batch-size", "images, also of a training batch"),
        ("seed", "decides weights and images"),
        ("steps", "steps of training, 8 or more"),
        ("threads", "CPU threads, 0 for one per core"),
    ):
        value = getattr(default, name.replace("-", "_"))
        p.add_argument(f"--{name}", type=int, default=value, metavar="N", help=f"{what} ({value})")
    p.add_argument(
        "--lr",
        type=float,
        default=default.lr,
        metavar="X",
        help="learning rate of that training (0: one that suits the weights)",
    )
    p.add_argument(
        "--dtype",
        default=default.dtype,
        metavar="NAME",
        help="float64 (is it one function?), float32 (is it that one, rounded?) or both (default)",
    )
    command_line.add_network(p)
    p.add_argument("--device", default=default.device, metavar="NAME", help="cpu (default) or gpu")
    p.add_argument("--json", type=Path, metavar="FILE", help="write everything there for machines")
    p.add_argument("--html", type=Path, metavar="FILE", help="write a page there, with curves")
    p.add_argument(
        "--layer",
        metavar="NAME",
        help="show one layer alone: block2.conv1, block2.conv1.weight, loss, LEVEL/NAME",
    )
    p.add_argument("--verbose", action="store_true", help="print all tables")
    p.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit's XML there, for CI")
    command_line.add_python(p)
    p.add_argument(
        "--timeout", type=float, default=900, metavar="SECONDS", help="for each backend (900)"
    )
    return p


def command(options: argparse.Namespace) -> int:
    """Compare; returns the exit status."""
    for name in ("json", "html", "junit"):
        check_target(getattr(options, name), name)
    chosen = {field.name: getattr(options, field.name) for field in dataclasses.fields(Job)}
    chosen["levels"] = Job.levels
    if options.levels is not None:
        chosen["levels"] = _names(options.levels)
    elif options.layer is not None:
        chosen["levels"] = layer.levels_for(options.layer)
    report = run.run(
        _names(options.backends),
        Job(**chosen),
        options.python,
        options.timeout,
        log=lambda line: print(line, file=sys.stderr, flush=True),
        layer=options.layer,
    )
    if options.json is not None:
        write_json(options.json, report.as_json())
    if options.html is not None:
        write_text(options.html, comparison_report.html(report))
    if options.junit is not None:
        write_text(options.junit, junit.junit(report))
    report.check_ran()
    if options.layer is None:
        report.show(options.verbose)
    else:
        comparison_report.show_layer(report)
    return report.exit_status


def _names(words: list[str]) -> tuple[str, ...]:
    """Names with commas or spaces between them."""
    return tuple(name.strip() for name in ",".join(words).split(",") if name.strip())


if __name__ == "__main__":
    command_line.run(command, parser())
