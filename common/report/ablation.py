"""The table and the picture of an ablation."""

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from common.errors import plural
from common.files import figures
from common.report import style
from common.terminal import tables
from common.training.ablation import Ablation, Variant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.table import Table

COLOURS = (style.BLUE, style.VERMILION, style.GREEN, style.ORANGE, style.PURPLE, style.SKY)
MARKS = "osD^vP"
DASHES = ("-", "--", "-.", ":")
# That fit above a panel.
LETTERS = 28
WORDS = {
    "test": ("test accuracy", "test doğruluğu"),
    "validation": ("validation accuracy", "geçerleme doğruluğu"),
    "training": ("training accuracy, dropout off", "eğitim doğruluğu, hattan düşürme kapalı"),
    "loss": ("training loss, mean since the epoch began", "eğitim kaybı, dönem içindeki ortalama"),
    "epoch": ("epoch", "dönem"),
    "title": (
        "Variants of NiN: {0} seed(s), {1} training example(s)",
        "NiN varyantları: {0} rastgele tohum, {1} eğitim örneği",
    ),
}


def show(found: Ablation) -> None:
    """Print the table, and what it does not show."""
    if any(variant.outcomes for variant in found.variants):
        tables.show([table(found)], 160)
    print("\n".join(remarks(found)))


def table(found: Ablation) -> "Table":
    """A line for each network."""
    numbers = (
        "images",
        "parameters",
        "multiply-\nadds",
        "seconds",
        "loss",
        "training\naccuracy",
        f"{found.evaluated_on}\naccuracy",
        "against\nthe first",
        "p",
        "dead\nchannels",
        "dead\nclasses",
    )
    made = tables.empty(["network"], numbers)
    for variant in found.variants:
        outcomes, size = variant.outcomes, variant.settings.resize
        difference = found.difference(variant)
        made.add_row(
            variant.name,
            f"{size}x{size}",
            f"{variant.cost.parameters:,}",
            style.count(variant.cost.multiply_adds),
            _mean([outcome.seconds for outcome in outcomes], ".0f"),
            _mean([outcome.loss for outcome in outcomes], ".3f"),
            _mean([outcome.training_accuracy for outcome in outcomes], ".4f"),
            _mean([outcome.accuracy for outcome in outcomes], ".4f", spread=True),
            f"{difference.mean:+.4f}" if difference else "",
            f"{difference.p:.2g}" if difference else "",
            _mean([outcome.dead_channels for outcome in outcomes], ".1%"),
            " ".join(str(len(outcome.dead_classes)) for outcome in outcomes),
        )
    return made


def remarks(found: Ablation) -> list[str]:
    """How the table is to be read."""
    runs = sum(len(variant.outcomes) for variant in found.variants)
    of = len(found.variants) * len(found.seeds)
    done = [f"{runs} of {plural(f'{of} run(s)')}: the others are not done"]
    if not runs:
        return done
    least = min(len(variant.accuracies) for variant in found.variants)
    lines = [
        *(done if runs < of else []),
        plural(
            f"{len(found.seeds)} seed(s), {found.train_examples:,} training example(s), accuracy "
            f"on {found.test_examples:,} other(s): mean ± standard deviation; training accuracy "
            "after the training, with dropout off"
        ),
        "p: how often differences as large come about if chance alone decides which of two "
        + plural(f"networks is ahead; with {least} seed(s) at least {min(1.0, 2 / 2**least):.2g}"),
    ]
    for variant in found.variants:
        failed = [str(outcome.seed) for outcome in variant.outcomes if not outcome.complete]
        if failed:
            lines.append(
                f"{variant.name}: diverged with seed {', '.join(failed)}: not in the means"
            )
    lines.append(
        "dead: 0 for every test image; channels: their share, classes: how many in each run, "
        "of which one in ten costs up to ten points"
    )
    return [*lines, found.notice] if found.notice else lines


def plot(found: Ablation, language: str = "en") -> "Figure":
    """Accuracies of all runs, and the mean curve of the loss of each network."""
    words = style.words(WORDS, language)
    examples = style.number(found.train_examples, language=language)
    figure = style.slide(plural(words["title"].format(len(found.seeds), examples)))
    style.with_notice(figure, found.notice, language)
    left, right = figure.subplots(1, 2)
    _draw_accuracies(left, found, language)
    _draw_losses(right, found, language)
    for axes in (left, right):
        axes.tick_params(labelsize=style.SMALL)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, axis="x" if axes is left else "both", alpha=0.4)
    return figure


def _draw_accuracies(axes: "Axes", found: Ablation, language: str) -> None:
    """A row for each network: a mark for each seed, a line at the mean; training accuracy open."""
    words = style.words(WORDS, language)
    for i, variant in enumerate(found.variants):
        colour, mark = _look(i)
        values = list(variant.accuracies.values())
        trained = [o.training_accuracy for o in variant.outcomes if o.training_accuracy is not None]
        for each, at, face in ((trained, i - 0.17, "none"), (values, i + 0.17, colour)):
            axes.plot(each, [at] * len(each), mark, ms=11, color=colour, mfc=face, alpha=0.8)
            if each:
                axes.plot([statistics.fmean(each)] * 2, [at - 0.15, at + 0.15], color="black", lw=3)
    names = [_lines(variant) for variant in found.variants]
    axes.set_yticks(range(len(names)), names, fontsize=style.TEXT, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    # black, for the colours are the networks'
    axes.plot([], [], "o", color="black", ms=9, label=words[found.evaluated_on])
    axes.plot([], [], "o", color="black", ms=9, mfc="none", label=words["training"])
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.07), fontsize=style.SMALL, frameon=False
    )
    style.write_numbers(axes, language, ".6g", "x")
    axes.locator_params("x", nbins=4)


def _draw_losses(axes: "Axes", found: Ablation, language: str) -> None:
    """For each network the mean over its runs, with the range of them in its colour."""
    words = style.words(WORDS, language)
    for i, variant in enumerate(found.variants):
        curves = [outcome.curve for outcome in variant.outcomes if outcome.curve]
        if not curves:
            continue
        length = min(map(len, curves))
        epochs = [point[0] for point in curves[0][:length]]
        losses = np.array([[point[1] for point in curve[:length]] for curve in curves])
        colour, mark = _look(i)
        dashes = DASHES[i % len(DASHES)] + mark
        axes.plot(epochs, losses.mean(0), dashes, color=colour, lw=2.5, ms=7, label=_lines(variant))
        axes.fill_between(epochs, losses.min(0), losses.max(0), color=colour, alpha=0.15, lw=0)
    axes.set_xlabel(words["epoch"], fontsize=style.TEXT)
    axes.set_title(style.wrapped(words["loss"], LETTERS), fontsize=style.TEXT)
    style.leave_out_large_losses(axes, language)
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])  # room for the topmost mark
    axes.locator_params("x", nbins=4)
    style.write_numbers(axes, language, ".3g", "y")
    style.write_numbers(axes, language, "g", "x")
    if any(variant.outcomes for variant in found.variants):
        figures.add_legend(axes, fontsize=style.SMALL, frameon=False)


def _lines(variant: Variant) -> str:
    """A variant's name; a long one leaves room for the axes."""
    return variant.name.replace(",", ",\n")


def _look(number: int) -> tuple[str, str]:
    return COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]


def _mean(values: Sequence[float | None], form: str, spread: bool = False) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    text = format(statistics.fmean(known), form)
    if spread and len(known) > 1:
        text += f" ±{statistics.stdev(known):{form}}"
    return text
