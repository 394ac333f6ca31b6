#!/usr/bin/env python3
"""Measure how fast the backends are, compared with each other, the machine's limit, and d2l."""

import _environment  # noqa: F401, I001 (first: it explains a missing installation)
import argparse
import contextlib
import dataclasses
import sys
import time
from pathlib import Path

from rich.progress import Progress

from common.bench import plot as bench_plot
from common.bench import results as bench_results
from common.bench import run as bench
from common.terminal import command_line
from common.terminal.output import console
from common.backends.registry import BACKENDS
from common.bench.results import Results
from common.bench.run import Plan
from common.errors import NinError
from common.terminal.display import duration

# between two saves of the results so far, and between two lines without a terminal
SAVE_SECONDS = 60

EXAMPLES = """\
examples:
  bench.py --quick                              two minutes
  bench.py                                      all parts but the last two: half an hour on 2 cores
  bench.py --against d2l --parts d2l            d2l's own loop beside train.py, wall clock
  bench.py --backends torch,tf --parts step --sizes 68
  bench.py --parts accuracy --seeds 5           whole runs beside each other, an hour
  bench.py --workers 1,2                        do two workers train faster than one? 2 minutes
  bench.py --quick --compare docs/bench.json    ratios to the stored bench
  bench.py --show docs/bench.json               print a stored bench again

parts: limit (matrix products), step (the bare training step), train (the whole of train.py in
steady state), predict, memory, startup (from the start of a process to its first step), accuracy
(whole runs of train.py: the preset fast, one epoch of it, and four epochs of AdamW, which fast was
before), workers (train.py with several workers on this machine, which share its threads), d2l (its
own loop beside train.py). Let nothing else run meanwhile; rounds go through all
backends, so that what disturbs one disturbs all.

exit status: 0 all was measured, 1 something was left out (a backend is missing, say), 2 nothing.
"""


def parser() -> command_line.Parser:
    """The command line of this script."""
    default = Plan()
    p = command_line.Parser("Measure how fast the backends are on this machine.", EXAMPLES)
    p.add_argument(
        "--quick",
        action="store_true",
        help="little of the first 4 parts, mostly at the smallest size: two minutes",
    )
    p.add_argument(
        "--backends", metavar="NAMES", help=f"some of {','.join(BACKENDS)} (all that are installed)"
    )
    p.add_argument(
        "--parts",
        metavar="NAMES",
        help=f"some of {', '.join(bench.KNOWN_PARTS)} (all but the last 2; quick: the first 4)",
    )
    p.add_argument(
        "--workers",
        metavar="NUMBERS",
        help="how fast this many workers train together, beside one; nothing else without --parts",
    )
    p.add_argument("--against", metavar="d2l", help="also d2l 1.0.3's own loop, wall clock")
    p.add_argument(
        "--d2l-python",
        type=Path,
        default=Path(".venv-book/bin/python"),
        metavar="PATH",
        help="the interpreter of the environment with d2l (.venv-book/bin/python)",
    )
    p.add_argument(
        "--sizes",
        metavar="PIXELS",
        help=f"of the resized images ({','.join(map(str, default.sizes))})",
    )
    for name, kind, what in (
        ("batch-size", int, f"images in a batch ({default.batch_size})"),
        ("repeats", int, f"rounds ({default.repeats}; quick: 2)"),
        ("seconds", float, f"for one measurement, about ({default.seconds:g}; quick: 1)"),
        ("seeds", int, f"whole runs of each recipe, per backend ({default.seeds}; quick: 1)"),
        ("threads", int, "CPU threads (one per core)"),
    ):
        p.add_argument(f"--{name}", type=kind, metavar="N", help=what)
    p.add_argument("--device", metavar="NAME", help="auto (a GPU if there is one), cpu or gpu")
    p.add_argument("--data", metavar="auto|full|sample|PATH", help="as train.py takes it (auto)")
    command_line.add_python(p)
    p.add_argument("--out", type=Path, metavar="DIR", help="new directory (one in runs/)")
    p.add_argument("--compare", type=Path, metavar="FILE", help="bench.json of another bench")
    p.add_argument(
        "--show", type=Path, metavar="FILE", help="print that bench.json, measure nothing"
    )
    return p


def plan(options: argparse.Namespace) -> Plan:
    """What the options ask for."""
    names = {field.name for field in dataclasses.fields(Plan)}
    given = {k: value for k, value in vars(options).items() if k in names and value is not None}
    for name in given.keys() & {"backends", "parts", "sizes", "workers"}:
        given[name] = [part.strip() for part in given[name].split(",") if part.strip()]
    for name in given.keys() & {"sizes", "workers"}:
        try:
            given[name] = [int(number) for number in given[name]]
        except ValueError as error:
            raise NinError(
                f"`{name}={getattr(options, name)}`: must be whole numbers, with commas"
            ) from error
    if "workers" in given:
        given["parts"] = [*given.get("parts", ()), bench.WORKERS]
    if options.quick:
        given = {**bench.QUICK, **given}
    if options.against is not None:
        if options.against != bench.D2L:
            raise NinError(f"`against={options.against}`: must be {bench.D2L}")
        given["parts"] = [*given.get("parts", Plan.parts), bench.D2L]
    return Plan(**given)


def command(options: argparse.Namespace) -> int:
    """Measure and report; returns the exit status."""
    stored = None if options.compare is None else bench_results.load(options.compare)
    results = measure(options) if options.show is None else bench_results.load(options.show)
    bench_results.show(results, console(bench_results.WIDTH, highlight=False), stored)
    return 0 if options.show is not None or results.record["complete"] else 1


def measure(options: argparse.Namespace) -> Results:
    """Run the benchmark and write its files as it goes, so that they survive an interruption."""
    running = bench.Bench(plan(options), options.python, options.d2l_python)
    directory = options.out or Path("runs") / f"bench-{time.strftime('%Y%m%d-%H%M%S')}"
    existed = directory.exists()
    if existed and (not directory.is_dir() or any(directory.iterdir())):
        raise NinError(f"`out={directory}`: exists and is not an empty directory; choose another")
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / bench_results.BENCH
    saved = time.monotonic()
    if running.dataset.notice:
        print(running.dataset.notice, file=sys.stderr)

    # drawn between measurements only: a thread that draws would take time from them
    bar = Progress(
        *Progress.get_default_columns(), console=console(stderr=True), transient=True,
        auto_refresh=False, speed_estimate_period=3600, redirect_stdout=sys.stdout.isatty(),
        disable=not sys.stderr.isatty(),
    )  # fmt: skip
    task = bar.add_task("", total=1.0)

    def show(done: float, what: str) -> None:
        nonlocal saved
        bar.update(task, completed=done, description=what, refresh=True)
        if time.monotonic() - saved < SAVE_SECONDS:
            return
        saved = time.monotonic()
        if running.rows:
            bench_results.save(running.record(), file)
        if bar.disable:
            left = bar.tasks[0].time_remaining or 0
            print(f"{done:.0%}: {what}, {duration(left)} left", file=sys.stderr, flush=True)

    try:
        with bar:
            running.measure(show)
    finally:
        if running.rows:
            results = bench_results.save(running.record(), file)
            print(f"all that was measured: {directory}", file=sys.stderr)
        elif not existed:
            with contextlib.suppress(OSError):
                directory.rmdir()
    bench_plot.draw(results, directory)
    return results


if __name__ == "__main__":
    command_line.run(command, parser())
