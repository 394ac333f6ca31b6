#!/usr/bin/env python3
"""Draw the chapter's figure: VGG beside NiN, blocks and networks."""

import _environment  # noqa: F401, I001 (first: it explains a missing installation)
import argparse
from pathlib import Path

from common.files import figures
from common.report import figure, style
from common.terminal import command_line

DESCRIPTION = """\
Draw the chapter's figure: VGG beside NiN, a block and the whole network of each.

It shows what the chapter changes: a NiN block follows its convolution with 1x1 convolutions, and
global average pooling stands in place of the fully connected layers. It is drawn from the networks
themselves, so that it can show the exercises' variants too. ReLU and dropout are left out."""

EXAMPLES = """\
examples:
  figure.py --picture nin.svg nin.pdf             the chapter's figure
  figure.py --picture nin.svg --lang tr           with the words of the Turkish edition
  figure.py --networks nin one-1x1 --picture exercise2.png
  figure.py --networks alexnet nin --picture alexnet.svg
"""


def parser() -> command_line.Parser:
    """The command line of this script."""
    p = command_line.Parser(DESCRIPTION, EXAMPLES)
    p.add_argument(
        "--picture",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="where to draw it: .svg, .pdf or .png",
    )
    command_line.add_networks(p, figure.DEFAULT)
    command_line.add_language(p, "the picture")
    return p


def command(options: argparse.Namespace) -> int:
    """Draw it; returns the exit status."""
    style.check_pictures(options.picture)
    drawn = figure.plot(options.networks, options.lang)
    for path in options.picture:
        figures.save(drawn, path)
        print(path)
    return 0


if __name__ == "__main__":
    command_line.run(command, parser())
