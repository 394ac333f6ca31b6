#!/usr/bin/env python3
"""Train the chapter's network with one backend."""

import _environment  # noqa: F401, I001 (first: it explains a missing installation)
import argparse
import dataclasses
from pathlib import Path
from typing import Any

from common import api, settings
from common.backends.registry import BACKENDS
from common.errors import NinError
from common.terminal import command_line, display
from common.training import fit, records, run_directory
from common.training.run import DivergedError

EXAMPLES = """\
examples:
  train.py --backend torch --preset fast       a trained network in half a minute, without a GPU
  train.py --preset fast --epochs 1            ... a better one in a minute
  train.py --preset best                       the highest accuracy, within an hour
  train.py --backend mxnet                     the chapter to the letter (hours without a GPU)
  train.py --preset fast --data sample --epochs 2 --out runs/first
  train.py --preset fast --validation 10000 --lr 0.001     choose without the test set
  train.py --preset fast --network one-1x1     exercise 2; docs/variants.md has the others
  train.py --resume runs/first                 go on after Ctrl-C

It ends with the book's two lines, loss and accuracies, then the speed; if the data were not the
whole set, a third line says so. The curves of all runs:
python -m pip install tensorboard; python -m tensorboard.main --logdir runs
"""
# setting -> its option's help, to which the presets' values are added
OVERRIDES = {
    "epochs": "passes over the data, such as 4 or 0.5",
    "lr": "(peak) learning rate",
    "batch_size": "examples per step",
    "resize": "side of the resized images",
    "optimizer": "sgd; adamw: a step size of its own for every weight; muon: momentum, "
    "orthogonalized",
    "schedule": "constant learning rate; one-cycle: a rise to the peak, then a fall to 0 along a "
    "cosine; linear: the same, the rise shorter and the fall straight",
    "init": "initial weights: xavier, as in the book; he, made for ReLUs; data: he, 1x1 "
    "convolutions as the identity, and channels centred on training images",
    "last_block": "its two 1x1 convolutions start random, or as the identity, so that no class is "
    "dead from the start",
    "momentum": "of sgd",
    "weight_decay": "of the optimizer",
    "dropout": "before the last block",
    "label_smoothing": "share of the target that is spread over all classes; the loss that is "
    "printed stays the plain one",
    "shift": "training images move by up to this many of their 28 pixels",
}
# placeholders for their values: by type, and by name where the type says too little
KINDS = {float: "X", int: "N", str: "NAME"}
UNITS = {"resize": "PIXELS", "shift": "PIXELS", "dropout": "P", "label_smoothing": "P"}


def of(name: str) -> str:
    """The presets' values of a setting, for the help."""
    values = {p: getattr(settings.from_preset(p), name) for p in settings.PRESETS}
    if len(set(values.values())) == 1:
        return f"({values['book']})"
    return "(" + ", ".join(f"{preset}: {value}" for preset, value in values.items()) + ")"


def parser() -> command_line.Parser:
    """The command line of this script."""
    p = command_line.Parser("Train NiN on Fashion-MNIST.", EXAMPLES)
    default = settings.Settings()
    run = p.add_argument_group("the run")
    run.add_argument(
        "--backend",
        metavar="NAME",
        help=f"{', '.join(BACKENDS)}, a file or a package (default: {default.backend})",
    )
    run.add_argument(
        "--preset",
        metavar="NAME",
        help="book: the chapter to the letter (default). fast: without dropout, trained in less "
        "than a minute on a CPU. chapter: on images so large that the last layers do what the "
        "chapter says. best: trained longer, on images that are moved and mirrored too",
    )
    run.add_argument(
        "--data",
        metavar="auto|full|sample|PATH",
        help="Fashion-MNIST in full, its embedded sample, the full set or else the sample (auto, "
        "the default), or your own (docs/your-data.md)",
    )
    run.add_argument("--out", type=Path, metavar="DIR", help="new directory for all results")
    run.add_argument(
        "--resume",
        type=Path,
        metavar="DIR|auto",
        help="continue the run in DIR; auto: in the directory of --out, if there is one already",
    )
    over = p.add_argument_group("overrides of the preset")
    for name, what in OVERRIDES.items():
        kind = settings.Settings.__annotations__[name]
        over.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            metavar=UNITS.get(name, KINDS[kind]),
            help=f"{what} {of(name)}",
        )
        if name == "last_block":
            command_line.add_network(over, default=None)
    over.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        default=None,
        help=f"half of the training images are mirrored {of('flip')}",
    )
    more = p.add_argument_group("everything else")
    more.add_argument("--seed", type=int, metavar="N", help="same seed, same numbers (0)")
    more.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="train on N images only, the same share of each class, and measure on a sixth as many "
        "test images",
    )
    more.add_argument(
        "--validation",
        type=int,
        metavar="N",
        help="hold out N training examples, the same share of each class, and measure accuracy on "
        "them",
    )
    more.add_argument("--device", metavar="NAME", help="auto (a GPU if there is one), cpu or gpu")
    more.add_argument(
        "--precision",
        metavar="NAME",
        help="float32, bfloat16 (not mxnet), float64, or auto: bfloat16 where the device is "
        f"made for it and the backend has it, otherwise float32 {of('precision')}",
    )
    more.add_argument("--threads", type=int, metavar="N", help="CPU threads (one per core)")
    command_line.add_language(more, "the curves", default=None)
    return p


def check_same(directory: Path, data: str | None, given: dict[str, Any]) -> None:
    """Refuse options that differ from those of the complete run, as :func:`api.resume` would."""
    where = f"`resume={directory}`"
    config = run_directory.open_run(directory)
    kept = settings.Settings(**config["settings"])
    fit.given_settings(kept, given, where)
    if data is not None:
        dataset = api.load_data(data).hold_out(kept.validation).limit(kept.limit)
        records.check_same_data(config, dataset, where)


def command(options: argparse.Namespace) -> int:
    """Train as the options say; returns the exit status."""
    names = [field.name for field in dataclasses.fields(settings.Settings)]
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    data = options.data
    watchers = (display.choose(parser().in_options),)
    if options.resume == Path("auto"):
        if options.out is None:
            raise NinError("`resume=auto`: name the directory of the run with `out`")
        if run_directory.is_complete(options.out):
            check_same(options.out, data, given)
            print(f"{options.out}: complete already")
            return 0
        if run_directory.is_begun(options.out):
            options.resume, options.out = options.out, None
        else:
            options.resume = None
    try:
        if options.resume is None:
            backend = given.pop("backend", settings.Settings.backend)
            preset = given.pop("preset", "book")
            run = api.fit(
                backend,
                "auto" if data is None else data,
                preset,
                out=options.out or True,
                watchers=watchers,
                lang=options.lang or "en",
                **given,
            )
        else:
            if options.out is not None:
                raise NinError("`out`: a resumed run stays in its directory; leave it out")
            lang = options.lang
            run = api.resume(options.resume, data=data, watchers=watchers, lang=lang, **given)
    except DivergedError as error:
        command_line.show_line("error", parser().in_options(error.marked))
        return 1
    return 0 if run.complete else run.stop.exit_status


if __name__ == "__main__":
    command_line.run(command, parser())
