"""What a bench has found: numbers from its measurements, tables, and the file that holds both.

docs/bench.md says what each number is. A ratio is that of two measurements of one round; the limit
in it is the best matrix product of that round, by any of the libraries.
"""

import io
import json
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from common.bench.run import ACCURACY, D2L, FORMAT, STARTUP, WORKERS
from common.errors import NinError, plural
from common.files import sealed
from common.files.write import write_text
from common.network import cost
from common.report import style
from common.terminal.tables import print_whole

WIDTH = 100
# what a bench writes into its directory
BENCH = "bench.json"
STEP, TRAIN, PREDICT = "bare step, examples/s", "train.py, examples/s", "prediction, images/s"
OF_D2L, BESIDE_D2L = "d2l, examples/s", "beside d2l, examples/s"
PRODUCT, LIMIT = "matrix product, GFLOP/s", "limit, GFLOP/s"

# an object of the file: all of it, or the row of a measurement
Json = Mapping[str, Any]

# column -> (the part that measures it, its value in a row given the batch size; falsy if there is
# none), or the fractions whose sum it is. These are in no table; with an underscore, nor stored.
UNSEEN: dict[str, Any] = {
    # older benches have other rows of this part
    PRODUCT: ("limit", lambda row, _: "n" in row and 2e-9 * row["n"] ** 3 / min(row["seconds"])),
    # per second of an epoch's wall clock
    "_trained": ("train", lambda row, batch: batch * row["steps"] / row["seconds"]),
    "_tested": ("train", lambda row, batch: batch * row["test_batches"] / row["seconds"]),
}
# title -> its columns
TABLES: dict[str, dict[str, Any]] = {
    "training": {
        STEP: ("step", lambda row, batch: batch * row["times"] / row["seconds"]),
        "bare step / fastest": [(STEP, "_fastest")],
        "bare step / limit": [(STEP, "_limit")],
        TRAIN: ("train", lambda row, batch: batch * row["steps"] / row["train_seconds"]),
        "train.py / bare step": [(TRAIN, STEP)],
        "epoch of train.py / parts": [("_trained", STEP), ("_tested", PREDICT)],
    },
    "prediction, memory and start": {
        PREDICT: ("predict", lambda row, n: row["batch"] == n and n / median(row["seconds"])),
        "one image, ms": ("predict", lambda r, _: r["batch"] == 1 and 1e3 * median(r["seconds"])),
        "peak memory, GiB": ("memory", lambda row, _: row["bytes"] / 2**30),
        "start to first step, s": (STARTUP, lambda row, _: row["seconds"]),
    },
    "against d2l": {
        OF_D2L: (D2L, lambda row, _: row["train_examples"] / row["d2l_seconds"]),
        BESIDE_D2L: (D2L, lambda row, _: row["train_examples"] / row["seconds"]),
        "times as fast as d2l": (D2L, lambda row, _: row["d2l_seconds"] / row["seconds"]),
        "d2l, peak memory, GiB": (D2L, lambda row, _: row["d2l_bytes"] / 2**30),
        "beside d2l, peak memory, GiB": (D2L, lambda row, _: row["bytes"] / 2**30),
    },
}
COLUMNS = {name: how for each in (UNSEEN, *TABLES.values()) for name, how in each.items()}
MEASURED = {name: how for name, how in COLUMNS.items() if isinstance(how, tuple)}
RATIOS = {name: how for name, how in COLUMNS.items() if isinstance(how, list)}


class Value(NamedTuple):
    """A number that was measured in several rounds."""

    median: float
    low: float
    high: float
    rounds: int

    def words(self, language: str = "en") -> str:
        """With three digits or more, and the spread in per cent of it."""
        text = style.number(self.median, ".0f" if self.median >= 99.5 else "#.3g", language)
        spread = (self.high - self.low) / 2
        return f"{text} ±{style.share(spread / self.median, language)}" if spread else text


def _value(*rounds: float) -> Value:
    return Value(median(rounds), min(rounds), max(rounds), len(rounds))


class Results:
    """The numbers of a bench, of what :meth:`common.bench.run.Bench.record` gives.

    What a record has of parts that are no longer measured is ignored.
    """

    def __init__(self, record: Json) -> None:
        self.record = record
        self.batch: int = record["plan"]["batch_size"]
        self.sizes: list[int] = list(record["plan"]["sizes"])
        self.backends: list[str] = list(record["plan"]["backends"])
        # name, backend, size -> round -> value
        rounds: dict[tuple[str, str, int | None], dict[int, float]] = defaultdict(dict)
        for row in record["rows"]:
            size = None if row["part"] == D2L else row.get("size")
            for name, (part, value_in) in MEASURED.items():
                if row["part"] == part and (value := value_in(row, self.batch)):
                    found = rounds[name, row["backend"], size]
                    # there are several products in a round
                    found[row["round"]] = max(value, found.get(row["round"], value))
        products = [found for (name, *_), found in rounds.items() if name == PRODUCT]
        limit = {n: max(p[n] for p in products if n in p) for n in set().union(*products)}
        rounds[LIMIT, "", None] = limit
        for size in self.sizes:
            steps = [found for name in self.backends if (found := rounds[STEP, name, size])]
            fastest = max(steps, key=lambda step: median(step.values()), default={})
            in_steps = {n: value * 1e9 / flop(size) for n, value in limit.items()}
            for name in self.backends:
                rounds["_fastest", name, size], rounds["_limit", name, size] = fastest, in_steps
                for ratio, fractions in RATIOS.items():
                    pairs = [(rounds[a, name, size], rounds[b, name, size]) for a, b in fractions]
                    both = set.intersection(*(a.keys() & b.keys() for a, b in pairs))
                    rounds[ratio, name, size] = {
                        n: sum(a[n] / b[n] for a, b in pairs) for n in both
                    }
        self.figures = {
            _label(*key): _value(*found.values())
            for key, found in rounds.items()
            if not key[0].startswith("_") and found
        }
        """Label -> value; a label stays the same from bench to bench."""

    def get(self, name: str, backend: str, size: int | None = None) -> Value | None:
        """A number of a backend, at a size if it depends on that; None if it was not measured."""
        return self.figures.get(_label(name, backend, size))


def whole_runs(record: Json) -> list[dict[str, Any]]:
    """Of each recipe with each backend: accuracy and seconds from the command to its end."""
    runs: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for row in _rows(record, ACCURACY):
        if "recipe" in row:  # which it has not in older benches
            runs[row["recipe"], row["backend"]].append(row)
    return [
        {
            "recipe": recipe,
            "backend": backend,
            "precision": rows[0]["precision"],
            "examples": round(rows[0]["epochs"] * rows[0]["train_examples"]),
            "seeds": len(rows),
            "mean accuracy": mean(row["test_accuracy"] for row in rows),
            "worst": min(row["test_accuracy"] for row in rows),
            "mean seconds": mean(row["seconds"] for row in rows),
            "longest": max(row["seconds"] for row in rows),
        }
        for (recipe, backend), rows in runs.items()
    ]


def scaling(record: Json) -> list[dict[str, Any]]:
    """How fast workers train together, beside one of them alone in the same round."""
    alone: dict[tuple[str, int, int], tuple[float, int]] = {}
    crews: dict[tuple[Any, ...], list[tuple[float, float, float]]] = defaultdict(list)
    names = ("size", "backend", "workers", "threads", "batch")
    for row in _rows(record, WORKERS):
        rate = row["batch"] * row["steps"] / row["seconds"]
        # each round begins with one worker
        place = row["backend"], row["size"], row["round"]
        one, threads = alone.setdefault(place, (rate, row["threads"]))
        more = row["workers"] * (row["threads"] / threads if row["device"] == "cpu" else 1)
        crews[tuple(row[name] for name in names)].append((rate, rate / one, rate / one / more))
    columns = (*names, "examples/s", "times one worker", "efficiency")
    return [
        dict(zip(columns, (*crew, *map(_value, *found)), strict=True))
        for crew, found in crews.items()
    ]


def flop(size: int) -> int:
    """Floating point operations of a training step for one image of this size."""
    return 2 * cost.of(resize=size).training_multiply_adds


OF_COMMANDS = {"whole runs of train.py --preset fast": whole_runs, "several workers": scaling}


def _rows(record: Json, part: str) -> list[Json]:
    return [row for row in record["rows"] if row["part"] == part]


def _label(name: str, backend: str, size: int | None) -> str:
    return ", ".join(str(part) for part in (name, size, backend) if part)


# ------------------------------------------------------------------- the file


def save(record: Json, path: Path) -> Results:
    """Write a record with its numbers, a line for each row; an error in them loses no row."""
    found = {name: value for name, value in record.items() if name != "rows"}
    try:
        results = Results(record)
        found["figures"] = _plain(results.figures)
        found["whole_runs"] = whole_runs(record)
        found["scaling"] = list(map(_plain, scaling(record)))
    finally:
        checksum = sealed.seal({**found, "rows": record["rows"]})[sealed.CHECKSUM]
        head = json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
        rows = ",\n".join(f"    {json.dumps(row)}" for row in record["rows"])
        end = f'  "{sealed.CHECKSUM}": "{checksum}"\n}}\n'  # the last entry, as in other files
        write_text(path, f'{head},\n  "rows": [\n{rows}\n  ],\n{end}')
    return results


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {n: v._asdict() if isinstance(v, Value) else v for n, v in values.items()}


def load(path: Path) -> Results:
    """The results in a file.

    Raises:
        NinError: if it cannot be read, or lacks what is printed of it.
    """
    try:
        record = sealed.read(path)
        if record["format"] != FORMAT:
            raise NinError(f"{path}: of format {record['format']}, this is {FORMAT}")
        results = Results(record)
        # all that may be printed, before hours are spent on what is compared with it
        show(results, Console(file=io.StringIO()), results)
    except OSError as error:
        raise NinError(f"{path}: cannot be read ({error.strerror})") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise NinError(f"{path}: not a whole bench.json ({reason})") from error
    return results


# -------------------------------------------------------------------- tables


class Printed(NamedTuple):
    """A table in words."""

    title: str
    head: list[str]
    rows: list[list[str]]
    caption: str


def show(results: Results, console: Console, stored: Results | None = None) -> None:
    """Print all tables, and the ratios to a stored bench."""
    for line in heading(results.record):
        console.print(line, markup=False)
    every = tables(results)
    if stored is not None:
        rows = [
            [label, then.words(), now.words(), f"{now.median / then.median:.2f}"]
            for label, then in stored.figures.items()
            if (now := results.figures.get(label))
        ]
        records = stored.record, results.record
        both = [name for name in results.backends if all(name in r["backends"] for r in records)]
        there, here = (_conditions(record, both) for record in records)
        unlike = [f"{k}: stored {there[k]}, now {here[k]}" for k in here if there[k] != here[k]]
        head = ["", "stored", "now", "now / stored"]
        every.append(Printed("against the stored bench", head, rows, "; ".join(unlike)))
    for each in every:
        _print(console, each)


def tables(results: Results, language: str = "en") -> list[Printed]:
    """All tables; one without rows and caption has nothing to print; numbers in a language."""

    def cell(value: Any, form: str = "") -> str:
        if isinstance(value, Value):
            return value.words(language)
        return value if isinstance(value, str) else style.number(value, form, language)

    found = []
    for title, columns in TABLES.items():
        rows = [
            [str(size or ""), name, *("" if value is None else cell(value) for value in values)]
            for size in (*results.sizes, None)
            for name in results.backends
            if any(values := [results.get(column, name, size) for column in columns])
        ]
        head = ["size", "backend", *columns]
        found.append(Printed(title, head, rows, _caption(results, title)))
    digits = {"mean accuracy": ".4f", "worst": ".4f", "mean seconds": ".1f", "longest": ".1f"}
    for title, of in OF_COMMANDS.items():
        runs = of(results.record)
        cells = [[cell(value, digits.get(name, "")) for name, value in r.items()] for r in runs]
        found.append(Printed(title, [*(runs or [{}])[0]], cells, _caption(results, title)))
    return found


def _print(console: Console, printed: Printed) -> None:
    """Print a table that says something; its caption is a line of its own, of any length."""
    title, head, rows, caption = printed
    if not rows and not caption:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in head:
        justify: Any = "left" if column in ("", "backend") else "right"
        lines = re.sub("( of| /) ", r"\1\n", column.replace(", ", "\n"))
        table.add_column(lines, justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print("", title, sep="\n")
    print_whole(console, table, end="")
    if caption:
        console.print(caption, markup=False)


def heading(record: Json) -> list[str]:
    """When and on what it was measured."""
    machine, plan = record["machine"], record["plan"]
    # each backend may run in an environment of its own
    backends = {name: {**about, **about["versions"]} for name, about in record["backends"].items()}
    lines = [
        f"{record['date']}, commit {record['git_commit']}",
        plural(f"{machine['processor']}, {machine['cores']} core(s), {machine['memory_gib']} GiB"),
        *(
            f"{name}: " + ", ".join(f"{k} {v}" for k, v in about.items() if k != "versions")
            for name, about in backends.items()
        ),
        f"batch {plan['batch_size']}, float32; rounds: {plan['repeats']}; medians ± half the range",
        *remarks(record),
        *(f"left out: {name}: {reason}" for name, reason in record["lost"].items()),
    ]
    return [line for line in lines if line]


def remarks(record: Json) -> list[str]:
    """What whoever reads its numbers must know."""
    quick = ["a quick bench: at most two digits are meaningful"] if record["plan"]["quick"] else []
    return [*quick, record["data"]["notice"]]


def _conditions(record: Json, backends: Collection[str]) -> dict[str, Any]:
    """What should be the same in two benches that are compared, in those backends."""
    here = {"data": record["data"]["kind"], "commit": record["git_commit"]}
    for name in ("threads", "device"):
        found = [str(record["backends"][each][name]) for each in backends]
        here[name] = ", ".join(found if len(set(found)) > 1 else found[:1])
    every = record["machine"] | record["plan"] | here
    names = ("processor", "cores", "threads", "device", "data", "batch_size", "quick", "commit")
    return {name.replace("_", " "): every[name] for name in names}


def _caption(results: Results, title: str) -> str:
    if title == "training" and LIMIT in results.figures:
        limit = results.figures[LIMIT].words()
        return f"limit: {limit} GFLOP/s, the best product of two large matrices"
    if title == "several workers" and _rows(results.record, WORKERS):
        return (
            "batch: of all workers together; threads: of each; efficiency: of one worker's rate, "
            "times the workers\n(on a CPU times all their threads); all are on this machine"
        )
    if title == "against d2l" and (rows := _rows(results.record, D2L)):
        counts = "{train_examples} training and {test_examples} test image(s) of {size}x{size}"
        return plural(f"rounds: {len({row['round'] for row in rows})}; {counts.format(**rows[0])}")
    return ""
