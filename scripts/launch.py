#!/usr/bin/env python3
"""Train with several workers on this machine, one process each."""

import _environment  # noqa: F401, I001 (first: it explains a missing installation)
import argparse
import sys
from pathlib import Path

from common.backends import registry
from common.errors import NinError
from common.terminal import command_line
from common.training import launch

EXAMPLES = """\
examples:
  launch.py --workers 2 -- --preset fast --out runs/two          with PyTorch
  launch.py --backend mxnet --workers 2 -- --preset fast --data sample
  launch.py --workers 2 -- --preset fast --out runs/two --resume auto

The options after -- are those of train.py. The batch size is that of all workers together: two
workers take half of each batch, and learn what one would learn. If a worker ends, all end; the
same command with --out DIR --resume auto goes on. For several machines start train.py with
torchrun, TF_CONFIG or the DMLC_* variables (docs/several-workers.md).
"""


def parser() -> command_line.Parser:
    """The command line of this script."""
    p = command_line.Parser("Train with several workers on this machine.", EXAMPLES)
    p.add_argument("--backend", default="torch", metavar="NAME", help="torch, tf or mxnet (torch)")
    p.add_argument("--workers", type=int, default=2, metavar="N", help="processes (2)")
    p.add_argument("train", nargs="*", metavar="-- OPTION", help="options of train.py")
    return p


def command(options: argparse.Namespace) -> int:
    """Start the workers; returns the exit status."""
    if not 1 <= options.workers <= 256:
        raise NinError(f"`workers={options.workers}`: must be a whole number from 1 to 256")
    registry.check_name(options.backend)
    if any(word.partition("=")[0] == "--backend" for word in options.train):
        raise NinError("`backend`: name it before --; each framework's workers start differently")
    script = Path(__file__).with_name("train.py")
    train = [sys.executable, str(script), "--backend", options.backend, *options.train]
    return launch.launch(options.backend, options.workers, train)


if __name__ == "__main__":
    command_line.run(command, parser())
