"""What a bench's measurements say: figures and tables, and the file that holds both.

The definitions. A *bare step* is the framework's own loop on one batch of pixels that are already
resized and on the device: forward, loss, backward, update. *train.py* is everything that the
command does in an epoch in steady state: order, gathering, resizing, metrics, progress, records,
evaluation; its *parts* are its bare steps and its predictions alone. A figure is the median over
the rounds (or seeds), its spread half of the range; a ratio is that of two measurements of one
round. The *limit* is the best product of two large matrices by any of the libraries, in that round.
"""

import io
import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from common.bench.run import ACCURACY, D2L, FORMAT, STARTUP, TARGET_ACCURACIES
from common.errors import NinError
from common.files.write import write_text
from common.network import architecture

WIDTH = 100
LIMIT, PRODUCT = "limit, GFLOP/s", "matrix product, GFLOP/s"
SECONDS_TO = {accuracy: f"seconds to {accuracy:.3f}" for accuracy in TARGET_ACCURACIES}
# title -> the figures in its columns
TABLES = {
    "training": (
        "bare step, examples/s", "bare step / fastest", "bare step / limit",
        "train.py, examples/s", "train.py / bare step", "epoch of train.py / parts",
    ),
    "prediction, memory and start": (
        "prediction, images/s", "one image, ms", "peak memory, GiB", "start to first step, s",
    ),
    "against d2l": (
        "d2l, examples/s", "beside d2l, examples/s", "times as fast as d2l",
        "d2l, peak memory, GiB", "beside d2l, peak memory, GiB",
    ),
    "test accuracy, preset fast": tuple(SECONDS_TO.values()),
}  # fmt: skip
# beside what a comparison compares: where it stands in a record
CONDITIONS = {
    "processor": ("machine", "processor"),
    "cores": ("machine", "cores"),
    "data": ("data", "kind"),
    "batch size": ("plan", "batch_size"),
    "quick": ("plan", "quick"),
}


class Figure(NamedTuple):
    """A measured value."""

    median: float
    low: float
    high: float
    rounds: int
    """In which it was measured."""

    def __str__(self) -> str:
        """With three digits or more, and the spread in per cent of it."""
        text = f"{self.median:.0f}" if self.median >= 99.5 else f"{self.median:#.3g}"
        spread = (self.high - self.low) / 2
        return f"{text} ±{100 * spread / self.median:.0f}%" if spread else text


class Report:
    """The figures of a bench.

    Args:
        record: as :meth:`common.bench.run.Bench.record` gives it; what it has of parts that are
            no longer measured is passed over.
    """

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record = record
        self.batch: int = record["plan"]["batch_size"]
        self.sizes: list[int] = list(record["plan"]["sizes"])
        self.backends: list[str] = list(record["plan"]["backends"])
        # figure -> round -> value
        self._rounds: dict[str, dict[int, float]] = defaultdict(dict)
        for row in record["rows"]:
            size = None if row["part"] == D2L else row.get("size")
            for what, value in _values(row, self.batch).items():
                for name in (LIMIT, what) if what == PRODUCT else (what,):
                    backend = "" if name == LIMIT else row["backend"]
                    rounds = self._rounds[_name(name, backend, size)]
                    # there are several products in a round
                    rounds[row["round"]] = max(value, rounds.get(row["round"], value))
        for size in self.sizes:
            self._add_ratios(size)
        self.figures = {
            name: Figure(statistics.median(found), min(found), max(found), len(found))
            for name, rounds in self._rounds.items()
            if not name.startswith("_") and (found := list(rounds.values()))
        }
        """Name -> figure; a name stays the same from bench to bench."""

    def get(self, what: str, backend: str, size: int | None = None) -> Figure | None:
        """A figure of a backend, at a size if it depends on that; None if it was not measured."""
        return self.figures.get(_name(what, backend, size))

    def _add_ratios(self, size: int) -> None:
        def rounds(what: str, backend: str) -> dict[int, float]:
            return self._rounds.get(_name(what, backend, size), {})

        limit = {n: v * 1e9 / flop(size) for n, v in self._rounds.get(LIMIT, {}).items()}
        steps = {name: rounds("bare step, examples/s", name) for name in self.backends}
        measured = [found for found in steps.values() if found]
        fastest = max(measured, key=lambda found: statistics.median(found.values()), default={})
        for name, step in steps.items():
            test, train = rounds("prediction, images/s", name), rounds("train.py, examples/s", name)
            parts = [(rounds("_trained", name), step), (rounds("_tested", name), test)]
            for what, fractions in (
                ("bare step / fastest", [(step, fastest)]),
                ("bare step / limit", [(step, limit)]),
                ("train.py / bare step", [(train, step)]),
                ("epoch of train.py / parts", parts),
            ):
                both = set.intersection(*(a.keys() & b.keys() for a, b in fractions))
                self._rounds[_name(what, name, size)] = {
                    n: sum(a[n] / b[n] for a, b in fractions) for n in both
                }


def flop(size: int) -> int:
    """Floating point operations of a training step for one image of this size."""
    return 2 * architecture.training_multiply_adds(size)


def _values(row: Mapping[str, Any], batch: int) -> dict[str, float]:
    """What a measurement says: figure -> value; nothing if it is of a part that is no more."""
    part = row["part"]
    if part == "limit" and "n" in row:
        return {PRODUCT: 2 * row["n"] ** 3 / min(row["seconds"]) / 1e9}
    if part == "step":
        return {"bare step, examples/s": batch * row["times"] / row["seconds"]}
    if part == "train":
        return {
            "train.py, examples/s": batch * row["steps"] / row["train_seconds"],
            # per second of an epoch's wall clock
            "_trained": batch * row["steps"] / row["seconds"],
            "_tested": batch * row["test_batches"] / row["seconds"],
        }
    if part == "predict":
        seconds = statistics.median(row["seconds"])
        single = {"one image, ms": 1000 * seconds} if row["batch"] == 1 else {}
        return {"prediction, images/s": batch / seconds} if row["batch"] == batch else single
    if part == "memory":
        return {"peak memory, GiB": row["bytes"] / 2**30}
    if part == STARTUP:
        return {"start to first step, s": row["seconds"]}
    if part == D2L:
        return {
            "d2l, examples/s": row["train_examples"] / row["d2l_seconds"],
            "beside d2l, examples/s": row["train_examples"] / row["seconds"],
            "times as fast as d2l": row["d2l_seconds"] / row["seconds"],
            "d2l, peak memory, GiB": row["d2l_bytes"] / 2**30,
            "beside d2l, peak memory, GiB": row["bytes"] / 2**30,
        }
    if part == ACCURACY:
        return {
            what: seconds[0]
            for accuracy, what in SECONDS_TO.items()
            if (seconds := [e["seconds"] for e in row["epochs"] if e["accuracy"] >= accuracy])
        }
    return {}


def _name(what: str, backend: str, size: int | None) -> str:
    return ", ".join(
        [what, *([] if size is None else [str(size)]), *([backend] if backend else [])]
    )


# ------------------------------------------------------------------- the file


def save(record: Mapping[str, Any], path: Path) -> Report:
    """Write a record with its figures; without them first, lest an error in one loses all."""
    _write(record, path)
    report = Report(record)
    figures = {name: figure._asdict() for name, figure in report.figures.items()}
    _write({**record, "figures": figures}, path)
    return report


def _write(record: Mapping[str, Any], path: Path) -> None:
    """Each measurement is a line."""
    rest = {name: value for name, value in record.items() if name != "rows"}
    rows = ",\n".join(f"    {json.dumps(row)}" for row in record["rows"])
    head = json.dumps(rest, indent=2, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    write_text(path, f'{head},\n  "rows": [\n{rows}\n  ]\n}}\n')


def load(path: Path) -> Report:
    """The report of what a bench has left.

    Raises:
        NinError: if it cannot be read, or lacks what is printed of it.
    """
    try:
        record = json.loads(path.read_text())
        if record["format"] != FORMAT:
            raise NinError(f"{path}: of format {record['format']}, this is {FORMAT}")
        report = Report(record)
        # all that may be printed, before hours are spent on what is compared with it
        show(report, Console(file=io.StringIO()), report)
    except OSError as error:
        raise NinError(f"{path}: cannot be read ({error.strerror})") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise NinError(f"{path}: not a whole bench.json ({reason})") from error
    return report


# -------------------------------------------------------------------- tables


def show(report: Report, console: Console, stored: Report | None = None) -> None:
    """Print all tables, and the ratios to a stored bench."""
    for line in heading(report.record):
        console.print(line, markup=False)
    for title, columns in TABLES.items():
        table = _table(title, ("size", "backend"), columns)
        for size in (*report.sizes, None):
            for name in report.backends:
                values = [report.get(what, name, size) for what in columns]
                if any(values):
                    texts = ["" if value is None else str(value) for value in values]
                    table.add_row(str(size or ""), name, *texts)
        _show_table(console, table, _caption(report, title))
    if stored is not None:
        table = _table("against the stored bench", ("",), ("stored", "now", "now / stored"))
        for name, then in stored.figures.items():
            now = report.figures.get(name)
            if now is not None and then.median:
                table.add_row(name, str(then), str(now), f"{now.median / then.median:.2f}")
        _show_table(console, table, "; ".join(_unlike(report.record, stored.record)))


def _table(title: str, names: Sequence[str], columns: Sequence[str]) -> Table:
    table = Table(*names, box=box.SIMPLE_HEAD, title=title, pad_edge=False)
    for column in columns:
        table.add_column(column.replace(", ", "\n").replace(" / ", " /\n"), justify="right")
    return table


def _show_table(console: Console, table: Table, caption: str) -> None:
    """Print a table that says something; title and caption as lines of their own, any length."""
    if table.row_count or caption:
        title, table.title = table.title, None
        console.print("", title, sep="\n")
        console.print(table, end="")
        if caption:
            console.print(caption, markup=False)


def _caption(report: Report, title: str) -> str:
    rows = report.record["rows"]
    if title == "training" and LIMIT in report.figures:
        return f"limit: {report.figures[LIMIT]} GFLOP/s, the best product of two large matrices"
    if title == "against d2l" and (found := [row for row in rows if row["part"] == D2L]):
        counts = "{train_examples} training and {test_examples} test images of {size}x{size}"
        return (
            f"rounds: {len({row['round'] for row in found})}; {counts.format(**found[0])}, "
            f"{found[0]['epochs']} epoch, from the data to the end, imports not counted; memory is "
            "the peak of a run with all its processes, imports and all"
        )
    if found := [row for row in rows if row["part"] == ACCURACY and "accuracy" in title]:
        # the preset leaves it to the machine; older records do not have what came of that
        precisions = {row["backend"]: row.get("precision", "auto") for row in found}
        text = ", ".join(f"{name} {precision}" for name, precision in precisions.items())
        seeds = {name: sum(row["backend"] == name for row in found) for name in precisions}
        missed = [
            f"{name} did not reach {accuracy:.3f} with {missing} of {count} seeds"
            for accuracy, what in SECONDS_TO.items()
            for name, count in seeds.items()
            if (missing := count - getattr(report.get(what, name), "rounds", 0))
        ]
        start = "from the start of the process to the end of the epoch that reached it; precision: "
        return "; ".join([start + text, *missed])
    return ""


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
        f"in d2l's environment: {of_d2l}" if of_d2l else "",
        f"batch {record['plan']['batch_size']}, float32; rounds: {record['plan']['repeats']}; a "
        "figure is their median, ± half of their range",
        "A quick bench: few steps, so look at no more than two digits."
        if record["plan"]["quick"]
        else "",
        record["data"]["notice"],
        *(f"left out: {name}: {reason}" for name, reason in record["lost"].items()),
    ]
    return [line for line in lines if line]


def _libraries(record: Mapping[str, Any], of_d2l: bool) -> str:
    """The versions of what computed, here or in d2l's environment."""
    found = [
        f"{library} {version}"
        for name, about in record["backends"].items()
        for library, version in about.get("versions", {}).items()
        if library not in ("python", "numpy") and name.endswith(f", {D2L}") == of_d2l
    ]
    return ", ".join(dict.fromkeys(found))


def _unlike(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """In what two benches were not measured alike."""
    found = {
        what: (then[section][name], now[section][name])
        for what, (section, name) in CONDITIONS.items()
    }
    found["commit"] = (_commit(then), _commit(now))
    return [f"{what}: stored {a}, now {b}" for what, (a, b) in found.items() if a != b]


def _commit(record: Mapping[str, Any]) -> str:
    """Of the project, shortened."""
    commit, plus, changes = str(record["git_commit"]).partition("+")
    return commit[:12] + plus + changes
