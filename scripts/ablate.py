#!/usr/bin/env python3
"""Train variants of the network side by side, over seeds (exercises 2 and 4, and others)."""

import _environment  # noqa: F401, I001 (first: it explains a missing installation)
import argparse
import sys
from pathlib import Path

from common import api
from common.backends.registry import BACKENDS
from common.errors import NinError
from common.files import figures
from common.files.paths import check_target
from common.files.write import write_json
from common.network.description import NETWORKS
from common.report import style
from common.terminal import command_line, display

# exercise -> what is compared
EXERCISES = {
    "2": ("chapter", "one-1x1", "no-1x1"),
    "three": ("chapter", "one-1x1", "three-1x1"),
    "3x3": ("chapter", "3x3"),
    "4": ("chapter", "gentle"),
    "head": ("chapter", "dense-head", "head=alexnet,hidden=512/512"),
    "relu": ("chapter", "no-last-relu"),
    "vgg": ("vgg-12@28", "vgg-12-32@28", "vgg-21-32@28", "vgg-30-32@28"),
}
# the chapter's others
ELSEWHERE = {"1": "tune.py", "3": "cost.py"}
DESCRIPTION = """\
Train variants of the network side by side, each with the same seeds: what is a part worth?

  --exercise 2      why two 1x1 convolutions? one, and none
  --exercise 4      what is wrong with 384 channels to 10 in one step? gentler steps
  --exercise three  (English editions) one or three 1x1 convolutions
  --exercise 3x3    (English editions) 3x3 in place of 1x1
  --exercise head   (English editions) fully connected in place of global average pooling; and the
                    summary's claim that it overfits: training accuracy beside test accuracy
  --exercise vgg    (English editions) a family of NiN networks, made as VGG is
  --exercise relu   what the ReLU on the logits does: dead classes

One seed shows nothing: the same network with another seed differs by as much. The table has the
mean over the seeds, the spread, and how likely chance alone makes such a difference."""
EXAMPLES = """\
examples:
  ablate.py --exercise 2 --out runs/exercise-2            in minutes, on two CPU cores
  ablate.py --exercise 2 --out runs/exercise-2            the same again resumes, or shows it
  ablate.py --networks chapter inner=1,inner_kernel=3 --seeds 3 --epochs 1 --out runs/mine
  ablate.py --exercise head --limit 6000 --seeds 2 --out runs/quick       a try, in minutes
  ablate.py --exercise head --limit 6000 --epochs 15 --out runs/overfit   long enough to overfit
  ablate.py --networks chapter vgg-12@28 --out runs/vgg   each with images of a size of its own

Where heads or last blocks are compared, images have at least 99x99 pixels: below, the last map is
a single pixel. docs/variants.md has the names, docs/exercises.md what we found.

exit status: 0; 130 after Ctrl-C (the same command goes on); 2 for anything else.
"""


def number(text: str) -> float:
    """A number, as an int if it is whole."""
    return int(text) if text.isdecimal() else float(text)


def parser() -> command_line.Parser:
    """The command line of this script."""
    p = command_line.Parser(DESCRIPTION, EXAMPLES)
    what = p.add_argument_group("what is compared")
    what.add_argument("--exercise", metavar="NAME", help=", ".join(EXERCISES))
    what.add_argument(
        "--networks",
        nargs="+",
        metavar="NAME",
        help="the first is what the others are compared with: "
        f"{', '.join(NETWORKS)}, or what differs, such as inner=1; @PIXELS behind one is its size "
        "of images",
    )
    what.add_argument(
        "--backend", default="torch", metavar="NAME", help=f"{', '.join(BACKENDS)} (torch)"
    )
    what.add_argument("--out", type=Path, metavar="DIR", required=True, help="for all runs")
    how = p.add_argument_group("how they are trained")
    how.add_argument("--preset", default="fast", metavar="NAME", help="as train.py's (fast)")
    how.add_argument(
        "--seeds",
        type=int,
        default=6,
        metavar="N",
        help="runs of each (6; with fewer no difference can be told from chance at 5 per cent)",
    )
    how.add_argument("--epochs", type=number, metavar="N", help="(the preset's)")
    how.add_argument("--lr", type=float, metavar="X", help="(the preset's)")
    how.add_argument(
        "--resize", type=int, metavar="PIXELS", help="(the preset's, or 99: see below)"
    )
    validation = "measure accuracy on N training examples that are held out, not on the test set"
    command_line.add_runs(how, validation)
    out = p.add_argument_group("what to write besides DIR/ablation.json, .svg and .png")
    out.add_argument("--json", type=Path, metavar="FILE", help="all numbers")
    out.add_argument(
        "--picture", type=Path, nargs="+", default=[], metavar="FILE", help=".svg, .png or .pdf"
    )
    command_line.add_language(out, "the picture")
    return p


def command(options: argparse.Namespace) -> int:
    """Train as the options say; returns the exit status."""
    style.check_pictures(options.picture)
    check_target(options.json, "json")
    if (options.exercise is None) == (options.networks is None):
        raise NinError("`exercise`, or `networks`: one of them says what is compared")
    if options.exercise is not None and options.exercise not in EXERCISES:
        other = ELSEWHERE.get(options.exercise)
        there = f"that one is {other}'s; here " if other else ""
        raise NinError(f"`exercise={options.exercise}`: {there}choose from {', '.join(EXERCISES)}")
    given = ("epochs", "lr", "resize", "limit", "validation", "precision", "device", "threads")
    found = api.ablate(
        *(options.networks or EXERCISES[options.exercise]),
        backend=options.backend,
        data=options.data,
        preset=options.preset,
        seeds=options.seeds,
        out=options.out,
        watchers=(display.choose(parser().in_options),),
        **{name: getattr(options, name) for name in given},
    )
    found.show()
    if found.exit_status:
        print("interrupted: the same command goes on", file=sys.stderr)
        return found.exit_status
    if options.json:
        write_json(options.json, found.report())
    figure = found.plot(options.lang)
    for path in options.picture:
        figures.save(figure, path)
    figures.save_svg_and_png(figure, options.out, "ablation")
    return 0


if __name__ == "__main__":
    command_line.run(command, parser())
