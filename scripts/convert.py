#!/usr/bin/env python3
"""Convert a weights file to the formats of other software, or from them."""

import _environment  # noqa: F401, I001 (first: it explains a missing installation)
import argparse
from pathlib import Path

from common.conversion import convert
from common.terminal import command_line
from common.backends.registry import BACKENDS
from common.errors import NinError

EXAMPLES = """\
examples:
  convert.py model.safetensors --to torch nin.pt        a state dict for the book's nn.Sequential
  convert.py model.safetensors --to keras nin.keras     keras.models.load_model reads it
  convert.py model.safetensors --to mxnet nin.params    and nin-symbol.json: gluon.SymbolBlock
  convert.py model.safetensors --to onnx nin.onnx       needs the packages onnx and onnxruntime
  convert.py nin.pt --from torch model.safetensors --resize 224      import a state dict

Every file is run by its own framework on real images before it is written.
"""


def parser() -> command_line.Parser:
    """The command line of this script."""
    p = command_line.Parser("Convert trained weights.", EXAMPLES)
    p.add_argument("source", type=Path, metavar="FILE", help="the file to read")
    p.add_argument("target", type=Path, metavar="OUT", help="the file to write")
    formats = ", ".join(convert.FORMATS)
    way = p.add_mutually_exclusive_group(required=True)
    way.add_argument("--to", metavar="FORMAT", help=f"from model.safetensors to {formats}")
    way.add_argument(
        "--from", dest="origin", metavar="FORMAT", help="to model.safetensors from one of these"
    )
    p.add_argument(
        "--resize",
        type=int,
        metavar="PIXELS",
        help="with --from: on what size of images the network was trained; predict.py goes by it",
    )
    p.add_argument(
        "--backend",
        metavar="NAME",
        help=f"which of {', '.join(BACKENDS)} checks an ONNX file (the first that is installed)",
    )
    return p


def command(options: argparse.Namespace) -> int:
    """Convert as the options say; returns the exit status."""
    if options.to is not None:
        if options.resize is not None:
            raise NinError("`resize`: the file says it already; leave it out with `to`")
        done = convert.export(options.source, options.to, options.target, options.backend)
    else:
        done = convert.take(
            options.source, options.origin, options.target, options.resize, options.backend
        )
    for path in done.paths:
        print(path)
    print(
        f"verified on {convert.IMAGES} images: the logits differ from {done.backend}'s by at "
        f"most {done.difference:.1e} of the largest one"
    )
    return 0


if __name__ == "__main__":
    command_line.run(command, parser())
