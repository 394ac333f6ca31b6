#!/usr/bin/env python3
"""Search for hyperparameters that give a higher accuracy (exercise 1)."""

import _environment  # noqa: F401, I001 (first: it explains a missing installation)
import argparse
import sys
from pathlib import Path

from common import api
from common.backends.registry import BACKENDS
from common.terminal import command_line
from common.terminal.search import SearchDisplay
from common.training.space import DEFAULT, VALUES

DESCRIPTION = """\
Exercise 1 of the chapter: adjust the hyperparameters so that the accuracy rises. Instead of by
hand, with Optuna: it trains the network with values at random, then with values like those of the
best trials, and stops early what is worse than half of the others.

Trials are judged on a validation split: training images that are held out. The test set is not
looked at, since whoever chooses by it measures nothing on it any more. With --test, when you are
done searching, the best settings are trained on training and validation images together, and the
test set is looked at once. That ends the search: the directory then takes no more trials.

The first trial has the preset's own values, so that you see what searching was worth."""
EXAMPLES = f"""\
examples:
  tune.py --out runs/tune                               20 trials, some minutes on a CPU
  tune.py --out runs/tune                               the same again resumes, or shows it
  tune.py --out runs/tune --trials 40                   ... or searches further
  tune.py --out runs/tune --test                        done: one look at the test set
  tune.py --out runs/mine --search lr=0.01:0.5 --search batch_size=64,128,256
  tune.py --out runs/mine --search lr momentum optimizer=sgd     with ranges of its own choice
  tune.py --out runs/quick --limit 5000 --trials 8      a try, in a minute or two
  tune.py --out runs/tune --jobs 4                      four trials at a time

--search NAME=LOW:HIGH is a range, NAME=VALUE,VALUE are choices, NAME=VALUE sets it, NAME alone is:
{chr(10).join(f"  {name}={values}" for name, values in VALUES.items())}
Without --search: {", ".join(DEFAULT)}.
Ranges of lr, batch_size and weight_decay are searched on a logarithmic scale.

In DIR: study.db (Optuna's SQLite database, which its other tools read too), tune.json, and the
pictures history, importance and values. The same command started twice, on one directory, shares
the work. A trial that is interrupted is recorded as such, and tried again.

exit status: 0; 130 after Ctrl-C (the same command goes on); 2 for anything else.
"""


def parser() -> command_line.Parser:
    """The command line of this script."""
    p = command_line.Parser(DESCRIPTION, EXAMPLES)
    what = p.add_argument_group("the search")
    what.add_argument(
        "--search",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME[=VALUES]",
        help="what is searched (see below); all else is the preset's",
    )
    what.add_argument(
        "--trials", type=int, default=20, metavar="N", help="in all, with those already in DIR (20)"
    )
    what.add_argument("--jobs", type=int, default=1, metavar="N", help="processes at a time (1)")
    what.add_argument("--out", type=Path, metavar="DIR", required=True, help="of the search")
    what.add_argument(
        "--test",
        action="store_true",
        help="at the end train with the best settings and look at the test set, once",
    )
    how = p.add_argument_group("how a trial is trained")
    how.add_argument(
        "--backend", default="torch", metavar="NAME", help=f"{', '.join(BACKENDS)} (torch)"
    )
    how.add_argument("--preset", default="fast", metavar="NAME", help="as train.py's (fast)")
    how.add_argument("--epochs", type=float, metavar="X", help="(the preset's)")
    how.add_argument("--seed", type=int, metavar="N", help="of the search and of each trial (0)")
    validation = "hold N training examples out (a sixth: 10000 of Fashion-MNIST)"
    command_line.add_runs(how, validation, "CPU threads of each process (one per core)")
    command_line.add_language(p, "the pictures")
    return p


def command(options: argparse.Namespace) -> int:
    """Search as the options say; returns the exit status."""
    given = ("epochs", "seed", "limit", "validation", "precision", "device", "threads")
    found = api.tune(
        *options.search,
        backend=options.backend,
        data=options.data,
        preset=options.preset,
        trials=options.trials,
        jobs=options.jobs,
        out=options.out,
        **{name: getattr(options, name) for name in given},
    )
    if options.test and not found.exit_status:
        found.test(SearchDisplay())
    found.show(parser().in_options)
    found.write(options.lang)
    if found.exit_status:
        print("interrupted: the same command goes on", file=sys.stderr)
    return found.exit_status


if __name__ == "__main__":
    command_line.run(command, parser())
