#!/usr/bin/env python3
"""Convert a weights file to the formats of other software, or from them."""

import _environment  # noqa: F401, I001 (first: it explains a missing installation)
import argparse
from pathlib import Path

from common.conversion import convert
from common.conversion.kinds import FORMATS, TARGETS
from common.network.description import parse
from common.terminal import command_line
from common.backends.registry import BACKENDS

EXAMPLES = """\
examples:
  convert.py runs/first nin.pt               a state dict for the book's nn.Sequential
  convert.py model.safetensors nin.keras     keras.models.load_model reads it
  convert.py model.safetensors nin.params    and nin-symbol.json: gluon.SymbolBlock
  convert.py model.safetensors nin.onnx      needs the packages onnx and onnxruntime
  convert.py one.pt one.safetensors --network one-1x1    somebody else's variant
  convert.py nin.pt model.safetensors --resize 224       anybody's state dict
  convert.py nin.keras nin.onnx              from one to the other

A file that holds layers is run by its own framework on real images before anything is written.
docs/your-weights.md lists what can be read.
"""


def parser() -> command_line.Parser:
    """The command line of this script."""
    p = command_line.Parser("Convert trained weights.", EXAMPLES)
    p.add_argument(
        "source", type=Path, metavar="FILE", help="the file to read, or the directory of a run"
    )
    p.add_argument("target", type=Path, metavar="OUT", help="the file to write")
    p.add_argument("--to", metavar="FORMAT", help=f"{', '.join(TARGETS)} (what OUT's name says)")
    p.add_argument(
        "--from",
        dest="origin",
        metavar="FORMAT",
        help=f"{', '.join(FORMATS)} (what FILE's content says)",
    )
    p.add_argument(
        "--resize",
        type=int,
        metavar="PIXELS",
        help="on what size of images the network was trained, if FILE does not say; predict.py "
        "goes by it",
    )
    command_line.add_network(p)
    p.add_argument(
        "--backend",
        metavar="NAME",
        help=f"which of {', '.join(BACKENDS)} checks an ONNX file (OUT's own, or the first that "
        "is installed)",
    )
    return p


def command(options: argparse.Namespace) -> int:
    """Convert as the options say; returns the exit status."""
    done = convert.convert(
        options.source,
        options.target,
        options.origin,
        options.to,
        options.resize,
        options.backend,
        parse(options.network),
    )
    convert.warn(done.read.notes)
    for path in done.paths:
        print(path)
    for file, check in ((options.source, done.read.check), (options.target, done.written)):
        if check is not None:
            sizes = " and ".join(f"{size}x{size}" for size in check.sizes)
            print(
                f"{file} verified on {convert.IMAGES} images of {sizes}: the logits differ from "
                f"{check.backend}'s by at most {check.difference:.1e} of the largest one"
            )
    return 0


if __name__ == "__main__":
    command_line.run(command, parser())
