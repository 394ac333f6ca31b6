"""One HTML page from run directories and bench files: styles and pictures are inside."""

import base64
import io
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from common.bench import results as bench_results
from common.bench.results import BENCH, Results
from common.errors import NinError, in_python, plural
from common.files import figures, pages
from common.network import architecture, cost
from common.network.description import CHAPTER, Network
from common.prediction.predict import Predictions
from common.report import look, look_pictures, style
from common.report.cost import settings_words
from common.report.page_words import BENCH_IN_TURKISH, WORDS
from common.settings import Settings
from common.training import run_directory
from common.training.run_directory import Record
from common.training.tune import STUDY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SAMPLES = 12
# Columns of runs that fit on a sheet of paper.
RUNS_ON_PAPER = 6
FRAMEWORKS = {"mxnet": "MXNet", "torch": "PyTorch", "tf": "TensorFlow"}
# names in WORDS, as the next two
RESULTS = (
    "backend", "network", "resize", "data", "epochs", "loss", "train", "test", "rate", "device",
    "state",
)  # fmt: skip
COSTS = (
    "network", "resize", "runs", "step", "parameters", "multiply_adds", "training", "prediction",
)  # fmt: skip
FACTS = (
    "started", "device", "threads", "processor", "cores", "memory_gib", "system", "git_commit",
)  # fmt: skip


# d2l, "Network in Network", "Training": loss, train acc, test acc, examples/s for each framework
BOOK = {
    "mxnet": (0.998, 0.650, 0.653, 2930.3),
    "torch": (0.364, 0.864, 0.845, 3180.3),
    "tf": (0.349, 0.872, 0.880, 3663.5),
}
# Lines: told apart without colours too. The page has each colour for light and for dark paper; in
# the figures they are these until then.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#666666")
DASHES = ("", "6 2", "2 2", "8 2 2 2", "8 2 2 2 2 2")
# and points, as matplotlib calls them and as SVG paths; with six colours thirty runs differ
MARKS = (
    ("o", "M20 6a4 4 0 1 0 8 0a4 4 0 1 0-8 0"), ("s", "M20.5 2.5h7v7h-7z"),
    ("^", "M24 1.5l4.5 8h-9z"), ("D", "M24 1l5 5-5 5-5-5z"), ("v", "M24 10.5l4.5-8h-9z"),
)  # fmt: skip
PUBLISHED = "Fashion-MNIST"


@dataclass
class Sources:
    """What is shown."""

    runs: dict[str, Record] = field(default_factory=dict)
    """By names that tell them apart."""
    benches: dict[str, Results] = field(default_factory=dict)
    seen: dict[str, Predictions] = field(default_factory=dict)
    """What a run's network predicts for the test images."""
    problems: list[str] = field(default_factory=list)
    """What could not be read, and why, a line each."""
    notes: list[str] = field(default_factory=list)
    """What another command has left, which was skipped."""


def read(paths: Sequence[Path]) -> Sources:
    """Read directories of runs, and files of ``scripts/bench.py``.

    Raises:
        NinError: if none can be read, naming the first.
    """
    found = Sources()
    records: dict[Path, Record] = {}
    benches: dict[Path, Results] = {}
    for path in dict.fromkeys(path.resolve() for path in paths):
        try:
            if path.is_dir():
                records[path] = run_directory.read(path)
            else:
                benches[path] = bench_results.load(path)
        except NinError as error:
            other = _of_another_command(path)
            (found.notes if other else found.problems).append(error.marked + other)
    if not records and not benches:
        first, *others = [*found.problems, *found.notes]
        raise NinError(first + (f" (and {len(others)} more)" if others else ""))
    found.runs = dict(zip(_names(records), records.values(), strict=True))
    found.benches = dict(zip(_names(benches), benches.values(), strict=True))
    return found


def predict(
    sources: Sources,
    backend: str | None = None,
    data: str | None = None,
    indices: str | None = None,
) -> None:
    """Add what each run's network predicts for the test images; what fails is a problem.

    Arguments are those of ``scripts/report.py``: the backend is that which trained all runs, or
    else PyTorch's, if none is given; the data are what each run was trained on.
    """
    from common import api  # which imports whatever there is

    trained = {run.settings.backend for run in sources.runs.values()}
    backend = backend or (trained.pop() if len(trained) == 1 else "torch")
    for name, run in sources.runs.items():
        try:
            where = data or run_directory.data_source(run.config, name)
            found = api.look(run.directory, backend=backend, data=where, indices=indices)
            sources.seen[name] = found.predictions
        except NinError as error:
            known = str(run.directory) in error.marked or error.marked.startswith(name)
            sources.problems.append(error.marked if known else f"{name}: {error.marked}")


def html(sources: Sources, language: str = "en") -> str:
    """The whole page, in one of :data:`common.report.style.LANGUAGES`."""
    return pages.render("report/page.html.j2", page=Page(sources, language))


class Unusual(str):
    """A cell to notice."""

    is_unusual = True


class Table(NamedTuple):
    """With a caption, and a head for each column."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    """The first cell is the row's name."""


class Drawing(NamedTuple):
    """A picture, and what it shows in words."""

    caption: str
    words: str
    svg: str


class Picture(NamedTuple):
    """An image with an answer to it."""

    address: str
    """With the image itself in it."""
    words: str
    lines: Sequence[str]
    is_wrong: bool


class Page:
    """What the template shows: at least one source."""

    def __init__(self, sources: Sources, language: str) -> None:
        self.sources = sources
        self.language = language
        self.words = style.words(WORDS, language)
        self.runs = sources.runs
        self.on_paper = {
            name: run for name, run in self.runs.items() if not run_directory.is_by_hand(run.config)
        }
        self.problems = [in_python(problem) for problem in sources.problems]

    @property
    def title(self) -> str:
        """Of the page."""
        return self.words["title"].format(", ".join([*self.runs, *self.sources.benches]))

    def line(self, number: int) -> tuple[int, str, tuple[str, str]]:
        """The colour, the dashes and the mark of a run."""
        dashes = DASHES[(number // len(COLOURS) + number) % len(DASHES)]
        return number % len(COLOURS), dashes, MARKS[number % len(MARKS)]

    # ---------------------------------------------------------------- results

    def results(self) -> Table:
        """A row for each run, and for each of the book's three."""
        rows = [[name, *self._result(run)] for name, run in self.runs.items()]
        for backend, printed in BOOK.items():
            name = self.words["book_of"].format(FRAMEWORKS[backend])
            numbers = map(self._number, printed, (".3f", ".3f", ".3f", ".1f"))
            images = f"{PUBLISHED}, {self._number(60_000)}"
            settings = (backend, "chapter", "224", images, "10")
            rows.append([name, *settings, *numbers, "GPU", ""])
        return Table(self.words["results_caption"], ["", *self._words(RESULTS)], rows)

    def _result(self, run: Record) -> list[str]:
        settings, result, last = run.settings, run.result or {}, (run.rows or [{}])[-1]
        on = last.get("evaluated_on", "test")
        accuracy = self._number(last.get(f"{on}_accuracy"), ".3f")
        network = self._of(run, "network").replace(",", ", ")
        state = "complete" if result.get("complete") else "stopped" if result else "unfinished"
        if any("diverged" in str(note) for note in result.get("notes", [])):
            state = "diverged"
        return [
            settings.backend,
            network,
            self._number(settings.resize),
            f"{_data(run)}, {self._number(run.config['data'].get('train_examples'))}".lstrip(", "),
            self._number(last.get("epoch", 0), "g"),
            self._number(last.get("train_loss"), ".3f"),
            self._number(last.get("train_accuracy"), ".3f"),
            accuracy if on == "test" else self.words["on_validation"].format(accuracy),
            self._number(result.get("examples_per_second"), ".1f"),
            str(run.config.get("device", "")),
            self.words[state],
        ]

    def notes(self) -> dict[str, list[str]]:
        """Run -> the sentences that it recorded."""
        found = {}
        for name, run in self.runs.items():
            notes = [run.config["data"].get("notice"), *(run.result or {}).get("notes", [])]
            found[name] = [self._sentence(self._told(str(note))) for note in notes if note]
        return {name: notes for name, notes in found.items() if notes}

    # --------------------------------------------------------------- settings

    def _differing(self) -> list[str]:
        """The settings that are not the book's in some run; the book has every framework."""
        return [
            name
            for name, usual in vars(Settings()).items()
            if any(self._of(run, name) != usual for run in self.runs.values())
            or (name == "backend" and len(self.runs) > 1)
        ]

    def settings(self) -> list[Table]:
        """The book's settings and the runs', where they differ."""
        rows = []
        for name in self._differing():
            usual = getattr(Settings(), name)
            values = [self._of(run, name) for run in self.runs.values()]
            book = ", ".join(BOOK) if name == "backend" else self._value(name, usual)
            cells = [
                self._value(name, value)
                if value == usual or name == "backend"
                else Unusual(self._value(name, value))
                for value in values
            ]
            rows.append([self.words[name], book, *cells])
        columns = ["", self.words["book"], *self.runs]
        return self._split(Table(self.words["settings_caption"], columns, rows), 2)

    def same(self) -> str:
        """The settings that are the book's in every run, in a sentence."""
        differing = {*self._differing(), "backend"}
        usual = [
            f"{self.words[name]} {self._value(name, value)}"
            for name, value in vars(Settings()).items()
            if name not in differing
        ]
        return self.words["same"].format(", ".join(usual)) if usual else ""

    def _of(self, run: Record, name: str) -> Any:
        """A setting of a run; that of the network says nothing of one that was built by hand."""
        by_hand = name == "network" and run_directory.is_by_hand(run.config)
        return self.words["own"] if by_hand else getattr(run.settings, name)

    def _value(self, name: str, value: Any) -> str:
        if value is None or isinstance(value, bool):
            return self.words[{None: "none", True: "yes", False: "no"}[value]]
        if name == "threads" and not value:
            return self.words["per_core"]
        # a seed is a name
        return str(value) if isinstance(value, str) or name == "seed" else self._number(value, "g")

    # ----------------------------------------------------------------- curves

    def key(self) -> dict[str, tuple[int, str, tuple[str, str]]]:
        """Each run that has a curve, and its line."""
        runs = enumerate(self.runs.items())
        return {name: self.line(number) for number, (name, run) in runs if run.rows}

    def curves(self) -> list[Drawing]:
        """Loss, training accuracy, and test accuracy, of all runs."""
        if not any(run.rows for run in self.runs.values()):
            return []
        measured = {row["evaluated_on"] for run in self.runs.values() for row in run.rows}
        on = measured.pop() if len(measured) == 1 else "mixed"
        return [
            self._curve("loss_curve", 1),
            self._curve("train_curve", 2),
            self._curve(f"{on}_curve", None),
        ]

    def _curve(self, name: str, column: int | None) -> Drawing:
        """Of a column of what was recorded within epochs (1 is the loss), or of evaluations."""
        figure = figures.new(4.8, 3.4)
        axes = figure.add_subplot()
        ends = []
        for number, (run, record) in enumerate(self.runs.items()):
            found = _evaluations(record)
            if column:
                points = [point for row in record.rows for point in row["within_epoch"]]
                found = [(point[0], point[column]) for point in points]
            if not found:
                continue
            colour, dashes, (mark, _) = self.line(number)
            lengths = tuple(map(float, dashes.split()))
            axes.plot(
                *zip(*found, strict=True), color=COLOURS[colour], linewidth=2,
                linestyle=(0, lengths) if lengths else "-", markersize=5,
                marker=None if column and len(found) > 1 else mark,
            )  # fmt: skip
            ends.append(f"{run} {self._number(found[-1][1], '.3f')}")
        if name == "test_curve":
            self._draw_book(axes)
        axes.set_xlabel(self.words["epoch"], fontsize=12)
        style.leave_out_large_losses(axes, self.language)
        axes.tick_params(labelsize=11)
        _, last = axes.set_xlim(left=0)
        axes.locator_params("x", nbins=4, integer=last >= 2)
        axes.locator_params("y", nbins=6)
        style.write_numbers(axes, self.language)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, alpha=0.5)
        caption = self.words[name]
        shown = caption if self.language == "en" else caption[0].lower() + caption[1:]
        words = self.words["of_runs"].format(shown, ", ".join(ends))
        # the page has each colour for light and for dark paper
        colours = {colour: f"var(--run{number})" for number, colour in enumerate(COLOURS)}
        return Drawing(caption, words, figures.svg_element(figure, name, colours))

    def _draw_book(self, axes: "Axes") -> None:
        """What the book reaches with the frameworks of those of these runs that have its data."""
        used = {run.settings.backend for run in self.runs.values() if _data(run) == PUBLISHED}
        shown = sorted(
            (accuracy, name) for name, (_, _, accuracy, _) in BOOK.items() if name in used
        )
        for height, name in shown:
            axes.axhline(height, color="black", linewidth=1, linestyle=":")
            # beside the axes, where no curve crosses it
            label = self.words["book_of"].format(FRAMEWORKS[name]).replace(", ", ",\n")
            is_top = height == shown[-1][0]
            axes.annotate(
                label, (1, height), (3, 0), xycoords=("axes fraction", "data"), fontsize=10,
                textcoords="offset points", va="bottom" if is_top else "top",
            )  # fmt: skip

    def numbers(self) -> Table:
        """A row for each epoch of each run."""
        rows = []
        for name, run in self.runs.items():
            for row, (epoch, accuracy) in zip(run.rows, _evaluations(run), strict=True):
                values = (row["train_loss"], row["train_accuracy"], accuracy)
                cells = [self._number(value, ".4f") for value in values]
                rows.append([name, self._number(epoch, "g"), *cells])
        columns = self._words(("epochs", "loss", "train", "test"))
        return Table(self.words["numbers_caption"], ["", *columns], rows)

    # --------------------------------------------------------- shapes and cost

    def by_hand(self) -> str:
        """The runs of networks that are not known on paper, in a sentence."""
        names = [name for name in self.runs if name not in self.on_paper]
        return self.words["by_hand"].format(", ".join(names)) if names else ""

    def walks(self) -> list[Table]:
        """A table for each network, a column for each size."""
        sizes: dict[tuple[Network, int], set[int]] = {}
        for run in self.on_paper.values():
            which = (run.settings.description, _classes(run))
            sizes.setdefault(which, set()).add(run.settings.resize)
        sizes.setdefault((CHAPTER, architecture.NUM_CLASSES), set()).add(Settings.resize)
        tables = []
        for (network, classes), found in sizes.items():
            columns = sorted(found, reverse=True)
            walks = [architecture.layer_shapes(size, network, classes) for size in columns]
            rows = [
                [layer, *("×".join(map(str, walk[layer][1:])) for walk in walks)]
                for layer in walks[0]
            ]
            caption = self.words["walk_caption"].format(self._of_classes(network.title, classes))
            heads = [f"{size}×{size}" for size in columns]
            tables.append(Table(caption, [self.words["layer"], *heads], rows))
        return tables

    def costs(self) -> Table:
        """A row for each network at a size and in a kind of training; then the book's."""
        found: dict[cost.Cost, list[str]] = {}
        for name, run in self.on_paper.items():
            paid = cost.of_run(run.settings, num_classes=_classes(run))
            found.setdefault(paid, []).append(name)
        for name in cost.COMPARED:
            found.setdefault(cost.of(name), []).append(self.words["book"])
        rows = [
            [
                self._of_classes(each.title, *each.layers[-1].output),
                f"{each.resize}×{each.resize}",
                ", ".join(names),
                settings_words(each, self.language),
                self._number(each.parameters),
                self._number(each.multiply_adds),
                style.size(each.training.total, self.language),
                style.size(each.prediction.total, self.language),
            ]
            for each, names in found.items()
        ]
        return Table(self.words["cost_caption"], self._words(COSTS), rows)

    def _of_classes(self, network: str, classes: int) -> str:
        """What to call a network that ends in so many classes: ten, if nothing is said of them."""
        if classes == architecture.NUM_CLASSES:
            return network
        return f"{network}, {plural(self.words['of_classes'].format(classes))}"

    # ------------------------------------------------------------ predictions

    def confusion(self, run: str, found: Predictions) -> Table:
        """In per cent of each true class; the shares are the cells' numbers."""
        matrix = look.confusion_matrix(found)
        right, images = int(np.trace(matrix)), int(matrix.sum())
        numbers = map(self._number, (right, images, right / images), ("", "", ".3f"))
        names = [self._told(name) for name in found.class_names]
        beside, above = look_pictures.names_beside_and_above(names)
        rows = [
            [name, *(str(share or "") for share in line)]
            for name, line in zip(beside, look_pictures.in_per_cent(matrix), strict=True)
        ]
        caption = plural(self.words["confusion_caption"].format(run, *numbers))
        return Table(caption, [self.words["true"], *above], rows)

    def notes_on(self, found: Predictions) -> list[str]:
        """What a reader should know of predictions."""
        return [self._told(in_python(note)) for note in found.notes]

    def pictures(self, found: Predictions) -> dict[str, list[Picture]]:
        """The first images, and the most confident wrong answers."""
        samples = range(min(SAMPLES, len(found.logits)))
        chosen = {"samples": samples, "wrong": look.most_confident_wrong(found)}
        return {name: [self._picture(found, i) for i in each] for name, each in chosen.items()}

    def _picture(self, found: Predictions, i: int) -> Picture:
        images, answer, true = found.images, found.class_names[found.labels[i]], found.true_class(i)
        share = style.share(float(found.probabilities[i].max()), self.language)
        is_wrong = bool(found.wrong[i])
        lines = [f"{answer} {share}"] + [self.words["is"].format(true)] * is_wrong
        words = self.words["wrong_alt" if is_wrong else "right_alt"]
        words = self._told(words.format(images.names[i], true, answer))
        address = _data_address(images.pixels[i])
        return Picture(address, words, [self._told(line) for line in lines], is_wrong)

    # ------------------------------------------------------------------ speed

    def bench_heading(self, results: Results) -> list[str]:
        """When and on what it was measured."""
        return [self._told(line) for line in bench_results.heading(results.record)]

    def bench_tables(self, results: Results) -> list[Table]:
        """The tables that the command prints."""
        words = BENCH_IN_TURKISH if self.language == "tr" else {}
        tables = []
        for title, head, rows, _ in bench_results.tables(results, self.language):
            # d2l's table has no sizes: an empty cell names no row
            kept = [i for i, _ in enumerate(head) if any(row[i] for row in rows)]
            columns = [words.get(head[i], head[i]) for i in kept]
            if rows and title:
                cells = [[row[i] for i in kept] for row in rows]
                tables.append(Table(words.get(title, title), columns, cells))
        return tables

    # --------------------------------------------------------------- versions

    def versions(self) -> list[Table]:
        """The machine and the releases, a column for each run."""
        configs = [run.config for run in self.runs.values()]
        packages = dict.fromkeys(name for config in configs for name in config["versions"])
        rows = []
        for name in FACTS:
            found = [c.get(name, c["machine"].get(name, "")) for c in configs]
            rows.append([self.words[name], *(self._fact(name, value) for value in found)])
        for name in packages:
            rows.append([name, *(str(c["versions"].get(name, "")) for c in configs)])
        return self._split(Table(self.words["versions_caption"], ["", *self.runs], rows), 1)

    def commands(self) -> dict[str, str]:
        """Run -> the command that made it."""
        commands = {name: str(run.config.get("command") or "") for name, run in self.runs.items()}
        return {name: command for name, command in commands.items() if command}

    # ----------------------------------------------------------------- tables

    def _split(self, whole: Table, kept: int) -> list[Table]:
        """Tables no wider than paper; each keeps the columns before those of the runs."""
        runs = len(self.runs)
        if not whole.rows or not runs:
            return []
        each = math.ceil(runs / math.ceil(runs / RUNS_ON_PAPER))
        tables = []
        for start in range(0, runs, each):
            stop = min(start + each, runs)
            caption = whole.caption if each == runs else f"{whole.caption} ({start + 1}–{stop})"
            columns, *rows = (
                [*cells[:kept], *cells[kept:][start:stop]] for cells in (whole.columns, *whole.rows)
            )
            tables.append(Table(caption, columns, rows))
        return tables

    # ------------------------------------------------------ words and numbers

    def _words(self, names: Sequence[str]) -> list[str]:
        return [self.words[name] for name in names]

    def _number(self, value: float | None, form: str = "") -> str:
        if value is None or not math.isfinite(value):
            return "–"
        return style.number(value, form, self.language)

    def _sentence(self, text: str) -> str:
        """A text with its first letter large."""
        first = "İ" if self.language == "tr" and text[0] == "i" else text[0].upper()
        return first + text[1:]

    def _fact(self, name: str, value: Any) -> str:
        if isinstance(value, int | float):
            return self._number(value)
        return str(value)[:12] if name == "git_commit" else str(value)

    def _told(self, text: str) -> str:
        return style.told(text, self.language)


def _classes(run: Record) -> int:
    """How many classes the data of a run have; they were not always recorded."""
    return int(run.config["data"].get("num_classes", architecture.NUM_CLASSES))


def _data(run: Record) -> str:
    """What a run was trained on: the name of its directory or file, empty if it was arrays."""
    data = run.config["data"]
    return PUBLISHED if data["kind"] in ("full", "sample") else Path(data["directory"]).name


def _of_another_command(path: Path) -> str:
    """What a directory is if not a run's, to be added to a message; empty if that is not known."""
    if (path / run_directory.CONFIG).exists():
        return ""
    found = {f"the runs in it are {path}/{d}": f"{d}/{run_directory.CONFIG}" for d in ("*", "*/*")}
    found |= {f"it has a search: {STUDY}": STUDY, f"it has a bench: {path}/{BENCH}": BENCH}
    return next((f"; {what}" for what, name in found.items() if any(path.glob(name))), "")


def _names(paths: Iterable[Path]) -> list[str]:
    """The last parts of paths, as many as it takes to tell them apart."""
    parts = [path.parts for path in paths]
    names = ([str(Path(*each[-count:])) for each in parts] for count in itertools.count(1))
    return next(each for each in names if len(set(each)) == len(each))


def _evaluations(run: Record) -> list[tuple[float, float]]:
    """Of each epoch the end, and the accuracy there."""
    # where the training curves end: in older runs after whole steps, not at the part of an
    # epoch that was asked for
    ends = [row["within_epoch"][-1][0] for row in run.rows]
    accuracies = [row[f"{row['evaluated_on']}_accuracy"] for row in run.rows]
    return [*zip(ends, accuracies, strict=True)]


def _data_address(image: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
