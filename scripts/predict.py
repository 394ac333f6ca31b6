#!/usr/bin/env python3
"""Predict the classes of images of Fashion-MNIST or of photos, with a trained network."""

import _environment  # noqa: F401, I001 (first: it explains a missing installation)
import argparse
import io
import sys
from itertools import islice
from pathlib import Path

import numpy as np
from rich.markup import escape
from rich.table import Table

from common.errors import NinError, one_line, printable
from common.files import figures
from common.files.paths import check_target
from common.files.write import write_bytes, write_json
from common.prediction import predict
from common.report import style
from common.terminal import command_line
from common.terminal.output import console

EXAMPLES = """\
examples:
  predict.py --weights runs/first                                    accuracy on the test images
  predict.py --weights model.safetensors --backend mxnet             weights of any backend
  predict.py --weights model.safetensors --indices 0:64 --picture grid.png
  predict.py --weights nin.pt --images shirt.jpg boot.png            photos (docs/your-photos.md)
  predict.py --weights model.safetensors --images photos/ --picture seen.png

Exit status: 0; 1 if some photos could not be read, which are named; 2 for anything else.
"""
# Rows of the table if nobody chose the images.
MOST_ROWS = 20


def parser() -> command_line.Parser:
    """The command line of this script."""
    p = command_line.Parser("Predict the classes of images.", EXAMPLES)
    p.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        required=True,
        help="model.safetensors, the directory of a run, or another program's file, such as .pt",
    )
    command_line.add_prediction(p, "0:64")
    out = p.add_argument_group("what to write besides")
    out.add_argument("--logits", type=Path, metavar="FILE", help="a NumPy file, (images, classes)")
    out.add_argument(
        "--picture", type=Path, metavar="FILE", help="the images with their classes, wrong ones red"
    )
    out.add_argument("--json", type=Path, metavar="FILE", help="all probabilities")
    command_line.add_language(out, "the picture")
    return p


def command(options: argparse.Namespace) -> int:
    """Predict as the options say; returns the exit status."""
    for name in ("logits", "picture", "json"):
        check_target(getattr(options, name), name)
    style.check_pictures([options.picture] if options.picture else [])
    look = command_line.look(options)
    if look.images.notice:
        print(look.images.notice)
    predictions = look.predictions
    show(predictions, None if options.photos or options.indices else MOST_ROWS)
    write(predictions, options)
    for note in predictions.notes:
        command_line.show_line("note", parser().in_options(note))
    for line in look.images.refused:
        command_line.show_line("error", parser().in_options(line))
    return 1 if look.images.refused else 0


def show(predictions: predict.Predictions, most: int | None) -> None:
    """Print a table on a terminal, lines with tabs elsewhere; then how many are right."""
    rows = islice(predictions.rows(), most)
    if sys.stdout.isatty():
        known = predictions.images.labels is not None
        table = Table("image", "predicted", "next", *(["true", ""] if known else []))
        for row in rows:
            # a file name is not markup
            table.add_row(*map(escape, row), style="red" if row[-1] == "wrong" else None)
        console().print(table)
    else:
        for row in rows:
            print("\t".join(map(printable, row)).rstrip())
    left = 0 if most is None else len(predictions.logits) - most
    if left > 0:
        print(f"... and {left} more; --indices or --json shows them")
    print(predictions.summary())


def write(predictions: predict.Predictions, options: argparse.Namespace) -> None:
    """Write the files that are asked for."""
    if options.logits:
        buffer = io.BytesIO()
        np.save(buffer, predictions.logits)
        write_bytes(options.logits, buffer.getvalue())
    if options.json:
        write_json(options.json, predictions.report())
    if options.picture:
        try:
            figures.save(predictions.plot(options.lang), options.picture)
        except OSError:
            raise
        except Exception as error:  # matplotlib's, which may not even be importable
            raise NinError(
                f"`picture={options.picture}`: could not be drawn "
                f"({type(error).__name__}: {one_line(error)})"
            ) from error


if __name__ == "__main__":
    command_line.run(command, parser())
