"""What a bench's measurements say: figures, the targets of the project, tables.

The definitions. A *bare step* is the framework's own loop on one batch of pixels that are already
resized and on the device: forward, loss, backward, update. *train.py* is everything that the
command does in an epoch in steady state: order, gathering, resizing, metrics, progress, records,
evaluation. Its share of the bare step is (steps x bare step + test batches x prediction) / wall
clock. A figure is the median over the rounds, its spread half of the range; a ratio is that of
two measurements of one round. The *limit* is the best product of two large matrices by any of
the libraries, in that round.
"""

import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from common.bench.run import ACCURACY, D2L, TARGET_ACCURACIES, load_record, save_record
from common.errors import NinError
from common.network import architecture

WIDTH = 100
# the project's targets: share of the bare step, of the fastest backend, of the machine's limit
SHARE = 0.95
LIMIT_SIZE = 224
D2L_TARGETS = {"torch": 2.4, "tf": 1.5, "mxnet": 2.9}
PASSES = {"forward": False, "training": True}
# what a step is made of -> what the names of such operations hold, in any of the frameworks
KINDS = {
    "convolutions, gradients": r"conv.*back|back.*conv",
    "convolutions": r"conv",
    "ReLU": r"relu|activation|clamp_min|threshold",
    "pooling": r"pool",
    "the rest": r"",
}


class Figure(NamedTuple):
    """A measured value."""

    median: float
    low: float
    high: float
    rounds: int
    """In which it was measured."""

    def __str__(self) -> str:
        """With three or four digits, and the spread in per cent of it."""
        text = short(self.median)
        if self.rounds < 2 or not self.median:
            return text
        spread = (self.high - self.low) / 2 / self.median
        return f"{text} ±{100 * spread:.0f}%"


def figure(values: Iterable[float]) -> Figure | None:
    """The median and range of some values; None of none."""
    found = list(values)
    if not found:
        return None
    return Figure(statistics.median(found), min(found), max(found), len(found))


def short(value: float) -> str:
    """A number for people: ``1234``, ``123``, ``12.3``, ``1.23``."""
    return (
        f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
    )


class Target(NamedTuple):
    """One of the project's targets."""

    what: str
    found: float
    wanted: float

    @property
    def met(self) -> bool:
        """Whether it is reached; half a digit of what is printed is forgiven."""
        return self.found >= self.wanted - 0.005


class Report:
    """The figures of a bench.

    Args:
        record: as :meth:`common.bench.run.Bench.record` gives it.
    """

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record = record
        self.batch: int = record["plan"]["batch_size"]
        self.sizes: list[int] = list(record["plan"]["sizes"])
        self.backends: list[str] = list(record["plan"]["backends"])
        # (part, ...) -> round -> row
        self._rows: dict[tuple[Any, ...], dict[int, Mapping[str, Any]]] = defaultdict(dict)
        for row in record["rows"]:
            self._rows[_key(row)][row["round"]] = row
        self._limits = self._find_limits()

    # ---------------------------------------------------------------- figures

    def product(self, library: str, n: int) -> Figure | None:
        """Rate of a product of two n x n matrices, the best of each round, in GFLOP/s."""
        return self._figure(("product", library, n), lambda row: _product_rate(row))

    def products(self) -> dict[tuple[str, int], Figure]:
        """All of :meth:`product`, by library and size."""
        keys = [key[1:] for key in self._rows if key[0] == "product"]
        return {(a, n): found for a, n in keys if (found := self.product(a, n)) is not None}

    def limit(self) -> Figure | None:
        """The machine's limit in GFLOP/s: in each round the best of all products."""
        return figure(self._limits.values())

    def convolution(self, size: int, layer: str, passes: str, backend: str) -> Figure | None:
        """Rate of a convolution, the best of each round, in GFLOP/s.

        Args:
            size: of the network's input, in pixels.
            layer: its canonical name.
            passes: ``forward``, or ``training`` for forward and backward.
            backend: which.
        """
        flop = self._convolution_flop(size, layer, passes)
        key = ("convolution", backend, size, layer, PASSES[passes])
        return self._figure(key, lambda row: flop / min(row["seconds"]) / 1e9)

    def step(self, size: int, backend: str) -> Figure | None:
        """Rate of the bare step, in examples/s."""
        return self._figure(("step", backend, size), self._step_rate)

    def step_of_fastest(self, size: int, backend: str) -> Figure | None:
        """Its share of the rate of the backend that is fastest at this size."""
        found = {name: step for name in self.backends if (step := self.step(size, name))}
        if backend not in found:
            return None
        fastest = max(found, key=lambda name: found[name].median)
        return self._ratio(
            ("step", backend, size), self._step_rate, ("step", fastest, size), self._step_rate
        )

    def step_of_limit(self, size: int, backend: str) -> Figure | None:
        """Its arithmetic per second, as a share of the machine's limit."""
        gflop = 2 * sum(c.training_multiply_adds for c in architecture.convolutions(size)) / 1e9
        rows = self._rows[("step", backend, size)]
        return figure(
            self._step_rate(row) * gflop / self._limits[number]
            for number, row in rows.items()
            if number in self._limits
        )

    def train(self, size: int, backend: str) -> Figure | None:
        """Rate of ``train.py`` as it tells it itself, without evaluation, in examples/s."""
        return self._figure(("train", backend, size), self._train_rate)

    def train_of_step(self, size: int, backend: str) -> Figure | None:
        """That rate as a share of the bare step's."""
        return self._ratio(
            ("train", backend, size), self._train_rate, ("step", backend, size), self._step_rate
        )

    def epoch_of_parts(self, size: int, backend: str) -> Figure | None:
        """Bare steps and predictions as a share of an epoch's wall clock."""
        steps = self._rows[("step", backend, size)]
        predictions = self._rows[("predict", backend, size, self.batch)]
        return figure(
            (
                row["steps"] * steps[number]["seconds"] / steps[number]["times"]
                + row["test_batches"] * statistics.median(predictions[number]["seconds"])
            )
            / row["seconds"]
            for number, row in self._rows[("train", backend, size)].items()
            if number in steps and number in predictions
        )

    def predict(self, size: int, backend: str) -> Figure | None:
        """Rate of prediction in whole batches, in images/s."""
        key = ("predict", backend, size, self.batch)
        return self._figure(key, lambda row: self.batch / statistics.median(row["seconds"]))

    def latency(self, size: int, backend: str) -> Figure | None:
        """Time to predict a single image, in ms."""
        key = ("predict", backend, size, 1)
        return self._figure(key, lambda row: 1000 * statistics.median(row["seconds"]))

    def memory(self, size: int, backend: str) -> Figure | None:
        """Peak resident memory of a process that does bare steps only, in GiB."""
        return self._figure(("memory", backend, size), lambda row: row["bytes"] / 2**30)

    def profile(self, size: int, backend: str) -> dict[str, Figure]:
        """Shares of a bare step's operations by :data:`KINDS`, as the framework's profiler says."""
        key = ("profile", backend, size)
        found = {kind: self._figure(key, partial(_share, kind)) for kind in KINDS}
        return {kind: share for kind, share in found.items() if share is not None}

    def d2l_rate(self, backend: str, whose: str) -> Figure | None:
        """Training examples per second of wall clock, ``ours`` or ``d2l``'s."""
        name = {"ours": "seconds", "d2l": "d2l_seconds"}[whose]
        return self._figure((D2L, backend), lambda row: row["train_examples"] / row[name])

    def against_d2l(self, backend: str) -> Figure | None:
        """How many times as fast as d2l."""
        return self._figure((D2L, backend), lambda row: row["d2l_seconds"] / row["seconds"])

    def d2l_memory(self, backend: str, whose: str) -> Figure | None:
        """Peak memory of a run with all its processes, ``ours`` or ``d2l``'s, in GiB."""
        name = {"ours": "bytes", "d2l": "d2l_bytes"}[whose]
        return self._figure((D2L, backend), lambda row: row[name] / 2**30)

    def memory_against_d2l(self, backend: str) -> Figure | None:
        """d2l's peak memory as a multiple of ours."""
        return self._figure((D2L, backend), lambda row: row["d2l_bytes"] / row["bytes"])

    def seconds_to(self, accuracy: float, backend: str) -> list[float | None]:
        """For each seed the seconds until this test accuracy; None where it was not reached.

        Counted from the start of the command to the end of the first epoch that reached it.
        """
        return [
            next((e["seconds"] for e in row["epochs"] if e["accuracy"] >= accuracy), None)
            for row in self._rows[(ACCURACY, backend)].values()
        ]

    def figures(self) -> dict[str, Figure]:
        """Every figure under a name that stays the same from bench to bench."""
        found: dict[str, Figure | None] = {"limit GFLOP/s": self.limit()}
        for (library, n), value in self.products().items():
            found[f"product {n}, {library}, GFLOP/s"] = value
        of_size: dict[str, Callable[[int, str], Figure | None]] = {
            "bare step, examples/s": self.step,
            "bare step / fastest": self.step_of_fastest,
            "bare step / limit": self.step_of_limit,
            "train.py, examples/s": self.train,
            "train.py / bare step": self.train_of_step,
            "epoch of train.py / parts": self.epoch_of_parts,
            "prediction, images/s": self.predict,
            "prediction of one image, ms": self.latency,
            "peak memory, GiB": self.memory,
        }
        for what, get in of_size.items():
            for size in self.sizes:
                for name in self.backends:
                    found[f"{what}, {size}, {name}"] = get(size, name)
        for size in self.sizes:
            for name in self.backends:
                for kind, value in self.profile(size, name).items():
                    found[f"share of the bare step, {kind}, {size}, {name}"] = value
        for name in self.backends:
            found[f"d2l, examples/s, {name}"] = self.d2l_rate(name, "d2l")
            found[f"against d2l, examples/s, {name}"] = self.d2l_rate(name, "ours")
            found[f"times as fast as d2l, {name}"] = self.against_d2l(name)
            found[f"d2l, peak memory, GiB, {name}"] = self.d2l_memory(name, "d2l")
            found[f"against d2l, peak memory, GiB, {name}"] = self.d2l_memory(name, "ours")
            for accuracy in TARGET_ACCURACIES:
                reached = [s for s in self.seconds_to(accuracy, name) if s is not None]
                found[f"seconds to {accuracy:.3f}, {name}"] = figure(reached)
        return {name: value for name, value in found.items() if value is not None}

    def targets(self) -> list[Target]:
        """The project's targets, as far as they were measured."""
        found: list[tuple[str, Figure | None, float]] = []
        for size in self.sizes:
            for name in self.backends:
                what = f"train.py / bare step at {size}, {name}"
                found.append((what, self.train_of_step(size, name), SHARE))
                what = f"epoch of train.py / its parts at {size}, {name}"
                found.append((what, self.epoch_of_parts(size, name), SHARE))
        for size in self.sizes:
            measured = [name for name in self.backends if self.step(size, name)]
            if len(measured) > 1:
                for name in measured:
                    what = f"bare step / fastest at {size}, {name}"
                    found.append((what, self.step_of_fastest(size, name), SHARE))
        shares = [self.step_of_limit(LIMIT_SIZE, name) for name in self.backends]
        best = max((s for s in shares if s is not None), default=None)
        found.append((f"fastest bare step / limit at {LIMIT_SIZE}", best, SHARE))
        for name, wanted in D2L_TARGETS.items():
            found.append((f"times as fast as d2l, {name}", self.against_d2l(name), wanted))
            what = f"d2l's memory / train.py's, {name}"
            found.append((what, self.memory_against_d2l(name), 1.0))
        return [
            Target(what, value.median, wanted) for what, value, wanted in found if value is not None
        ]

    def as_json(self) -> dict[str, Any]:
        """The record, and what it says."""
        return {
            **self.record,
            "figures": {name: value._asdict() for name, value in self.figures().items()},
            "targets": [{**t._asdict(), "met": t.met} for t in self.targets()],
        }

    # ---------------------------------------------------------------- helpers

    def _find_limits(self) -> dict[int, float]:
        best: dict[int, float] = {}
        for key, rows in self._rows.items():
            for number, row in rows.items() if key[0] == "product" else ():
                best[number] = max(best.get(number, 0.0), _product_rate(row))
        return best

    def _figure(
        self, key: tuple[Any, ...], value: Callable[[Mapping[str, Any]], float | None]
    ) -> Figure | None:
        found = (value(row) for row in self._rows[key].values())
        return figure(each for each in found if each is not None)

    def _ratio(
        self,
        key: tuple[Any, ...],
        value: Callable[[Mapping[str, Any]], float],
        other_key: tuple[Any, ...],
        other_value: Callable[[Mapping[str, Any]], float],
    ) -> Figure | None:
        others = self._rows[other_key]
        return figure(
            value(row) / other_value(others[number])
            for number, row in self._rows[key].items()
            if number in others
        )

    def _step_rate(self, row: Mapping[str, Any]) -> float:
        return self.batch * row["times"] / row["seconds"]

    def _train_rate(self, row: Mapping[str, Any]) -> float:
        return self.batch * row["steps"] / row["train_seconds"]

    def _convolution_flop(self, size: int, layer: str, passes: str) -> int:
        named = {each.name: each for each in architecture.convolutions(size)}
        one = named[layer]
        multiply_adds = one.training_multiply_adds if PASSES[passes] else one.multiply_adds
        return 2 * self.batch * multiply_adds


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    part, backend = row["part"], row["backend"]
    if part in (D2L, ACCURACY):
        return part, backend
    if part == "limit":
        if row["do"] == "product":
            return "product", backend, row["n"]
        return "convolution", backend, row["size"], row["layer"], row["backward"]
    if part == "predict":
        return part, backend, row["size"], row["batch"]
    return part, backend, row["size"]


def _product_rate(row: Mapping[str, Any]) -> float:
    return 2 * row["n"] ** 3 / min(row["seconds"]) / 1e9


def _kind(operation: str) -> str:
    return next(kind for kind, words in KINDS.items() if re.search(words, operation, re.I))


def _share(kind: str, row: Mapping[str, Any]) -> float | None:
    operations = row["operations"]
    total = sum(operations.values())
    if not total:
        return None
    return sum(s for name, s in operations.items() if _kind(name) == kind) / total


def load(path: Path) -> Report:
    """The report of what a bench has left.

    Raises:
        NinError: if it cannot be read, or lacks what is printed of it.
    """
    record = load_record(path)
    try:
        report = Report(record)
        # all that may be printed, before hours are spent on what is compared with it
        heading(record)
        tables(report)
        comparison(report, report)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, NinError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise NinError(f"{path}: not a whole bench.json ({reason})") from error
    return report


def save(record: Mapping[str, Any], path: Path) -> Report:
    """Write a record with its figures; without them first, lest an error in one loses all."""
    save_record(path, record)
    report = Report(record)
    save_record(path, report.as_json())
    return report


# -------------------------------------------------------------------- tables


def show(report: Report, console: Console | None = None) -> None:
    """Print all tables, at most :data:`WIDTH` columns wide."""
    console = console or Console(width=WIDTH, highlight=False)
    for line in heading(report.record):
        console.print(line, markup=False)
    for table in tables(report):
        show_table(console, table)


def show_table(console: Console, table: Table) -> None:
    """Print a table, its title and caption as lines of their own, which may be longer."""
    title, table.title = table.title, None
    caption, table.caption = table.caption, None
    console.print()
    console.print(title)
    console.print(table, end="")
    if caption:
        console.print(caption)


def heading(record: Mapping[str, Any]) -> list[str]:
    """When and on what it was measured."""
    machine = record["machine"]
    threads = {about["threads"] for about in record["backends"].values() if "threads" in about}
    of_d2l = _libraries(record, of_d2l=True)
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{'/'.join(map(str, sorted(threads)))} threads",
        f"{record['date']}, commit {_commit(record)}, Python {machine['python']}",
        _libraries(record, of_d2l=False),
        *([f"in d2l's environment: {of_d2l}"] if of_d2l else []),
        f"batch {record['plan']['batch_size']}, float32; rounds: {record['plan']['repeats']}; a "
        "figure is their median, ± half of their range",
    ]
    if record["plan"]["quick"]:
        lines.append("A quick bench: few steps, so look at no more than two digits.")
    if record["data"]["notice"]:
        lines.append(record["data"]["notice"])
    lines += [f"left out: {name}: {reason}" for name, reason in record["lost"].items()]
    return lines


def _libraries(record: Mapping[str, Any], of_d2l: bool) -> str:
    """The versions of what computed, here or in d2l's environment."""
    found = [
        f"{library} {version}"
        for name, about in record["backends"].items()
        for library, version in about.get("versions", {}).items()
        if library not in ("python", "numpy") and name.endswith(f", {D2L}") == of_d2l
    ]
    return ", ".join(dict.fromkeys(found))


def tables(report: Report) -> list[Table]:
    """Those of which anything was measured."""
    found = [_training(report), _prediction(report), _products(report)]
    found += [_convolutions(report, size) for size in report.sizes]
    found += [_profile(report, size) for size in report.sizes]
    found += [_against_d2l(report), _accuracy(report), _targets(report)]
    return [table for table in found if table.row_count]


def _table(title: str, *columns: str, caption: str = "") -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, caption=caption or None, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    return table


def _training(report: Report) -> Table:
    table = _table(
        "training", "size", "backend", "bare step\nexamples/s", "of the\nfastest",
        "of the\nlimit", "train.py\nexamples/s", "of the\nbare step", "whole epoch\nof its parts",
        caption="train.py as it tells it itself; a whole epoch's wall clock, evaluation and all, "
        "beside its bare steps and predictions",
    )  # fmt: skip
    for size in report.sizes:
        for name in report.backends:
            values = (
                report.step(size, name),
                _median(report.step_of_fastest(size, name)),
                _median(report.step_of_limit(size, name)),
                report.train(size, name),
                _median(report.train_of_step(size, name)),
                _median(report.epoch_of_parts(size, name)),
            )
            _add(table, (str(size), name), values)
    return table


def _prediction(report: Report) -> Table:
    table = _table(
        "prediction and memory", "size", "backend", "images/s", "one image\nms",
        "peak memory of\nbare steps, GiB",
    )  # fmt: skip
    for size in report.sizes:
        for name in report.backends:
            values = (
                report.predict(size, name),
                report.latency(size, name),
                report.memory(size, name),
            )
            _add(table, (str(size), name), values)
    return table


def _products(report: Report) -> Table:
    products = report.products()
    sizes = sorted({n for _, n in products})
    limit = report.limit()
    caption = "" if limit is None else f"the limit: {limit} GFLOP/s, {short(limit.high)} at best"
    table = _table("matrix product, GFLOP/s", "", *(f"{n}x{n}" for n in sizes), caption=caption)
    for library in dict.fromkeys(library for library, _ in products):
        _add(table, (library,), [products.get((library, n)) for n in sizes])
    return table


def _convolutions(report: Report, size: int) -> Table:
    columns = [(passes, name) for passes in PASSES for name in report.backends]
    table = _table(
        f"convolutions alone at {size}, GFLOP/s", "", "% of the\narithmetic",
        *(f"{passes}\n{name}" for passes, name in columns),
    )  # fmt: skip
    layers = architecture.convolutions(size)
    total = sum(layer.training_multiply_adds for layer in layers)
    for layer in layers:
        share = f"{100 * layer.training_multiply_adds / total:.1f}"
        values = [report.convolution(size, layer.name, *column) for column in columns]
        _add(table, (layer.name, share), [_median(value) for value in values])
    return table


def _profile(report: Report, size: int) -> Table:
    table = _table(
        f"what a bare step at {size} is made of, % of its operations' time", "", *report.backends,
        caption="by each framework's own profiler; operations that run side by side count each",
    )  # fmt: skip
    found = [report.profile(size, name) for name in report.backends]
    for kind in KINDS:
        shares = [profile.get(kind) for profile in found]
        _add(table, (kind,), [s and f"{100 * s.median:.1f}" for s in shares])
    return table


def _against_d2l(report: Report) -> Table:
    rows = [row for row in report.record["rows"] if row["part"] == D2L]
    caption = ""
    if rows:
        rounds = len({row["round"] for row in rows})
        caption = (
            f"rounds: {rounds}; "
            f"{rows[0]['train_examples']} training and {rows[0]['test_examples']} test images of "
            f"{rows[0]['size']}x{rows[0]['size']}, {rows[0]['epochs']} epoch, from the data to the "
            "end, imports not counted; memory is the peak of a run with all its processes, imports "
            "and all"
        )
    table = _table(
        "against d2l", "", "d2l\nexamples/s", "train.py\nexamples/s", "times\nas fast",
        "d2l\nGiB", "train.py\nGiB", caption=caption,
    )  # fmt: skip
    for name in report.backends:
        values = (
            report.d2l_rate(name, "d2l"),
            report.d2l_rate(name, "ours"),
            report.against_d2l(name),
            report.d2l_memory(name, "d2l"),
            report.d2l_memory(name, "ours"),
        )
        _add(table, (name,), values)
    return table


def _accuracy(report: Report) -> Table:
    # the preset leaves it to the machine; older records do not tell what came of that
    precisions = {
        row["backend"]: row.get("precision", "auto")
        for row in report.record["rows"]
        if row["part"] == ACCURACY
    }
    told = ", ".join(f"{name} {precision}" for name, precision in precisions.items())
    table = _table(
        "seconds to a test accuracy, preset fast, mean ± standard deviation over seeds", "",
        *(f"{accuracy:.3f}" for accuracy in TARGET_ACCURACIES), "seeds",
        caption="from the start of the command to the end of the epoch that reached it; precision: "
        f"{told}",
    )  # fmt: skip
    for name in report.backends:
        columns = [report.seconds_to(accuracy, name) for accuracy in TARGET_ACCURACIES]
        if columns[0]:
            table.add_row(name, *(mean_and_spread(c) for c in columns), str(len(columns[0])))
    return table


def _targets(report: Report) -> Table:
    table = _table("targets", "", "found", "wanted", "met")
    for target in report.targets():
        table.add_row(
            target.what,
            f"{target.found:.2f}",
            f"{target.wanted:.2f}",
            "yes" if target.met else "no",
        )
    return table


def mean_and_spread(seconds: Sequence[float | None]) -> str:
    """Mean and standard deviation of the seeds that got there, and how many did if not all."""
    reached = [value for value in seconds if value is not None]
    if not reached:
        return "never"
    text = f"{statistics.mean(reached):.0f}"
    if len(reached) > 1:
        text += f" ±{statistics.stdev(reached):.0f}"
    return text if len(reached) == len(seconds) else f"{text} ({len(reached)} of {len(seconds)})"


def comparison(report: Report, stored: Report) -> tuple[Table, list[str]]:
    """This bench beside a stored one: a table of ratios, and what is not alike in the two."""
    now, then = report.figures(), stored.figures()
    table = _table("against the stored bench", "", "stored", "now", "now / stored")
    for name in then:
        if name in now and then[name].median:
            ratio = now[name].median / then[name].median
            table.add_row(name, str(then[name]), str(now[name]), f"{ratio:.2f}")
    notes = []
    for what, get in (
        ("processor", lambda record: record["machine"]["processor"]),
        ("cores", lambda record: record["machine"]["cores"]),
        ("data", lambda record: record["data"]["kind"]),
        ("batch size", lambda record: record["plan"]["batch_size"]),
        ("quick", lambda record: record["plan"]["quick"]),
        ("commit", _commit),
    ):
        before, after = get(stored.record), get(report.record)
        if before != after:
            notes.append(f"{what}: stored {before}, now {after}")
    return table, notes


def show_comparison(report: Report, stored: Report, console: Console) -> None:
    """Print :func:`comparison`."""
    table, notes = comparison(report, stored)
    console.print()
    for note in notes:
        console.print(note, markup=False)
    show_table(console, table)


def _commit(record: Mapping[str, Any]) -> str:
    """Of the project, shortened."""
    commit, plus, changes = str(record["git_commit"]).partition("+")
    return commit[:12] + plus + changes


def _median(value: Figure | None) -> str | None:
    return None if value is None else short(value.median)


def _add(table: Table, names: Sequence[str], values: Sequence[Figure | str | None]) -> None:
    """Add a row, if there is anything in it."""
    if any(value is not None for value in values):
        table.add_row(*names, *("" if value is None else str(value) for value in values))
