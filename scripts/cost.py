#!/usr/bin/env python3
"""Compute what networks cost: parameters, multiply-adds, memory (exercise 3)."""

import _environment  # noqa: F401, I001 (first: it explains a missing installation)
import argparse
import sys
from pathlib import Path
from typing import Any

from rich.table import Table

from common import api
from common.backends.registry import check_spec
from common.bench import memory
from common.files import figures
from common.files.paths import check_target
from common.files.write import write_json
from common.network import cost as on_paper
from common.network import scale
from common.network.book import NETWORKS
from common.report import cost as report
from common.report import style
from common.terminal import command_line, tables

DESCRIPTION = """\
Compute what networks cost: parameters, multiply-adds, memory.

This is exercise 3 of the chapter, and shows its claim that NiN has far fewer parameters than
AlexNet and VGG: their fully connected layers have most of theirs, and NiN has none. What is large
in NiN are the activations. All is computed on paper, in a second; --measure trains a step."""

EXAMPLES = """\
examples:
  cost.py                                      NiN, LeNet, AlexNet and VGG-11 side by side
  cost.py --networks nin --picture layers.png  NiN layer by layer
  cost.py --networks nin one-1x1 no-1x1        what the 1x1 convolutions cost (exercise 2)
  cost.py --networks nin --resize 96 --batch-size 256 --precision bfloat16 --optimizer adamw
  cost.py --networks nin --measure torch tf mxnet     beside the memory that is really allocated
  cost.py --networks nin --workers 1 2 8 --rate 93 --gigabits 10     several workers (docs/scale.md)

docs/cost.md has the rules of the computation, and how far from it the frameworks are.
"""
BASIS = """\
multiply-adds: of one image, forward; biases, activations and pooling are not counted
memory in training: of a batch; every layer keeps its output, weights, gradients, optimizer state
memory in prediction: of a batch; outputs are freed, so it takes all weights, the images, and the
    outputs around the most expensive layer"""


def parser() -> command_line.Parser:
    """The command line of this script."""
    p = command_line.Parser(DESCRIPTION, EXAMPLES)
    command_line.add_networks(p, on_paper.COMPARED)
    p.add_argument(
        "--resize", type=int, metavar="PIXELS", help="side of the images (224, for LeNet 28)"
    )
    p.add_argument(
        "--batch-size", type=int, default=128, metavar="N", help="images at a time (128)"
    )
    p.add_argument(
        "--precision",
        default="float32",
        metavar="NAME",
        help=f"{', '.join(on_paper.ACTIVATION_BYTES)} (float32)",
    )
    p.add_argument(
        "--optimizer",
        default="sgd",
        metavar="NAME",
        help=f"{', '.join(on_paper.OPTIMIZER_STATE)} (sgd)",
    )
    p.add_argument("--momentum", type=float, default=0.0, metavar="X", help="of sgd (0)")
    p.add_argument(
        "--measure",
        nargs="+",
        metavar="BACKEND",
        help="also train a few steps and predict with these backends on the CPU, each in a "
        "process of its own, and show how much memory that really took",
    )
    plan = p.add_argument_group("a step of several workers, on paper (docs/scale.md)")
    plan.add_argument(
        "--workers", type=int, nargs="+", metavar="N", help="share the batch among this many"
    )
    plan.add_argument(
        "--rate", type=float, default=100.0, metavar="X", help="examples/s of one worker (100)"
    )
    plan.add_argument(
        "--gigabits", type=float, default=10.0, metavar="X", help="per second, of the network (10)"
    )
    plan.add_argument(
        "--per-step",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="what of a step does not depend on the batch, such as the optimizer (0)",
    )
    out = p.add_argument_group("what to write besides")
    out.add_argument("--json", type=Path, metavar="FILE", help="all numbers, memory in bytes")
    out.add_argument(
        "--picture",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="what dominates, of several networks or in the layers of one (.svg, .png or .pdf)",
    )
    command_line.add_language(out, "the picture")
    return p


def command(options: argparse.Namespace) -> int:
    """Compute, print and write; returns the exit status."""
    style.check_pictures(options.picture)
    check_target(options.json, "json")
    for backend in options.measure or ():
        check_spec(backend)
    names = list(dict.fromkeys(options.networks))
    chosen = {name: getattr(options, name) for name in on_paper.OPTIONS}
    costs = {name: api.cost(name, options.resize, **chosen) for name in names}
    tables.show(map(report.layers_table, costs.values()))
    if len(costs) > 1:
        tables.show([report.comparison_table(list(costs.values()))])
    print(BASIS)
    plans = {}
    for name, cost in costs.items() if options.workers else ():
        numbers = (options.rate, options.gigabits, options.per_step)
        plans[name] = scale.steps(cost, options.workers, *numbers)
        tables.show([report.workers_table(cost, plans[name])])
    measured = []
    if options.measure:
        measured = measure(costs, options.measure)
        tables.show([measured_table(measured)])
    if options.json:
        write_json(
            options.json,
            {
                **chosen,
                "basis": BASIS.splitlines(),
                "networks": {name: cost.report() for name, cost in costs.items()},
                "workers": {n: [each._asdict() for each in plan] for n, plan in plans.items()},
                "measured": measured,
            },
        )
    if options.picture:
        figure = report.plot(list(costs.values()), options.lang)
        for path in options.picture:
            figures.save(figure, path)
    return 0


def measure(costs: dict[str, on_paper.Cost], backends: list[str]) -> list[dict[str, Any]]:
    """What each backend really allocates for each network, beside the computed numbers."""
    rows = []
    for name, cost in costs.items():
        if name in NETWORKS:
            print(f"note: {name} is not measured: no backend here builds it", file=sys.stderr)
            continue
        for backend in backends:
            print(f"measuring {name} with {backend} ...", file=sys.stderr)
            found = memory.measure(cost, name, backend)
            rows += [
                {
                    "network": name,
                    "backend": backend,
                    "what": what,
                    "bytes": taken,
                    "computed_bytes": getattr(cost, what).total,
                }
                for what, taken in found.items()
            ]
    return rows


def measured_table(rows: list[dict[str, Any]]) -> Table:
    """Measured and computed memory, side by side."""
    table = Table(
        *("network", "backend", "", "measured, MiB", "computed, MiB", "measured/computed"),
        caption="below some 100 MiB the measurement is not reliable (docs/cost.md)",
    )
    for row in rows:
        taken, computed = row["bytes"], row["computed_bytes"]
        mib = (f"{number / report.MIB:,.1f}" for number in (taken, computed))
        table.add_row(row["network"], row["backend"], row["what"], *mib, f"{taken / computed:.2f}")
    return table


if __name__ == "__main__":
    command_line.run(command, parser())
