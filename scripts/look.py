#!/usr/bin/env python3
"""Look at what the layers of a trained network see."""

import _environment  # noqa: F401, I001 (first: it explains a missing installation)
import argparse
import warnings
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from common.errors import NinError, NinWarning
from common.files import figures
from common.files.paths import check_target
from common.files.write import write_json
from common.report.look import VIEWS, View
from common.terminal import command_line
from common.terminal.output import console

DESCRIPTION = """\
Look at what the layers of a trained network see.

views:
  mlp        a 1x1 convolution is a fully connected layer on each pixel: both computed, compared
  maps       the last block's maps, one for each class, over images: global average pooling
             makes the logits of them, and so they show where a class is seen
  confusion  which classes are taken for which, and the accuracy of each
  wrong      the wrong answers that the network is most confident of
  filters    what the first convolution looks for
  dead       channels that are 0 everywhere: ReLU has shut them, and they learn no more"""

EXAMPLES = """\
examples:
  look.py --weights runs/first --out look                 all views, their pictures in look/
  look.py --weights model.safetensors --view mlp --backend mxnet
  look.py --weights runs/first --view maps --images shirt.jpg --out look     your own photo
  look.py --weights runs/first --view wrong --lang tr --out look

exit status: 0; 1 if a photo could not be read or a view in --view not be shown; 2 if nothing could
be shown.

Maps need images of 99x99 pixels or more: below, each is of one pixel. A network for them:
train.py --preset fast --resize 112
"""


def parser() -> command_line.Parser:
    """The command line of this script."""
    p = command_line.Parser(DESCRIPTION, EXAMPLES)
    p.add_argument(
        "--weights",
        type=Path,
        required=True,
        metavar="FILE|RUN",
        help="model.safetensors, the directory of a run, or another program's file, such as .pt",
    )
    p.add_argument(
        "--view", nargs="+", choices=VIEWS, metavar="NAME", help="which (all that can be shown)"
    )
    command_line.add_prediction(p, "0:1000")
    out = p.add_argument_group("what to write besides")
    out.add_argument(
        "--out", type=Path, metavar="DIR", help="the pictures, NAME.svg and NAME.png for each view"
    )
    out.add_argument("--json", type=Path, metavar="FILE", help="all numbers")
    command_line.add_language(out, "the pictures")
    return p


def command(options: argparse.Namespace) -> int:
    """Look, print and write; returns the exit status."""
    check_target(options.json, "json")
    if options.out and options.out.exists() and not options.out.is_dir():
        raise NinError(f"`out={options.out}`: not a directory")
    look = command_line.look(options)
    if look.images.notice:
        print(look.images.notice)
    found: dict[str, View] = {}
    missing: list[NinError] = []
    for name in options.view or VIEWS:
        try:
            found[name] = look.view(name)
        except NinError as error:
            missing.append(error)
            if not options.view:
                warnings.warn(NinWarning(error.marked), stacklevel=1)
            continue
        show(name, found[name])
    if not found:
        raise missing[0]
    if options.json:
        report = {name: view.report for name, view in found.items()}
        write_json(options.json, {**look.about(), "views": report})
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, view in found.items():
            figures.save_svg_and_png(view.plot(options.lang), options.out, name)
        print(f"pictures: {options.out}")
    failed = [*look.images.refused, *(error.marked for error in missing if options.view)]
    for line in failed:
        command_line.show_line("error", parser().in_options(line))
    return 1 if failed else 0


def show(name: str, view: View) -> None:
    """Print a table and a sentence."""
    table = Table(*view.headers, title=name)
    for row in view.rows:
        table.add_row(*map(escape, row))
    console().print(table)
    print(view.summary)


if __name__ == "__main__":
    command_line.run(command, parser())
