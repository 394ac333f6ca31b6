"""The table and the pictures of a search."""

import itertools
import shlex
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from common.errors import plural
from common.report import page_words, style
from common.settings import from_preset
from common.terminal import tables
from common.training.space import Range
from common.training.tune import LEAST_TRIALS, Trial, Tuning

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.gridspec import SubplotSpec
    from numpy.typing import ArrayLike
    from rich.table import Table

# of all ended trials, the best
MOST_ROWS = 12
# Of accuracy, where it is drawn at all.
TICKS = (0.1, 0.4, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.94, 0.96, 0.98, 0.99, 1)
# The scale of accuracy goes on beyond 1 by this, so that a trial without an error has a place.
BEYOND = 0.005
# what a number of trials is called in a legend, with its colour and mark
OUTCOMES = {
    "complete": (style.BLUE, "o"),
    "pruned": (style.ORANGE, "v"),
    "diverged": (style.VERMILION, "X"),
}
WORDS = {
    "history": (
        "The search: {0} trial(s), {1} training and {2} validation image(s)",
        "Arama: {0} deneme, {1} eğitim ve {2} geçerleme imgesi",
    ),
    "importance": (
        "How much of the differences between trials each setting explains",
        "Her ayar, denemeler arasındaki farkların ne kadarını açıklıyor",
    ),
    "values": ("Accuracy by the values of each setting", "Her ayarın değerlerine göre doğruluk"),
    "trial": ("trial", "deneme"),
    "accuracy": ("validation accuracy", "geçerleme doğruluğu"),
    "complete": ("trained to the end", "sonuna kadar eğitildi"),
    "pruned": ("stopped early", "erken durduruldu"),
    "diverged": ("diverged", "ıraksadı"),
    "best": ("best so far", "o ana kadarki en iyi"),
    "preset": ("the preset's own values", "ön ayarın kendi değerleri"),
    "share": (
        "share of the variation of the trials' ranks that it explains by itself",
        "denemelerin sıralamasındaki değişimden tek başına açıkladığı pay",
    ),
    "chance": (
        "up to here it may be chance (95 of 100 shuffles)",
        "buraya kadarı şans eseri olabilir (100 karıştırmanın 95'i)",
    ),
    "few": ("{0} of the {1} trials that are needed", "Gereken {1} denemenin {0} tanesi yapıldı"),
}


def show(found: Tuning, words: Callable[[str], str]) -> None:
    """Print the table, and what it does not show; ``words`` spells arguments."""
    if found.ended:
        tables.show([table(found)], 140)
    print("\n".join(map(words, remarks(found))))


def table(found: Tuning) -> "Table":
    """A line for each of the best trials."""
    searched = (name.replace("_", "\n") for name in found.space)
    made = tables.empty([], ["trial", "validation\naccuracy", *searched, "seconds"])
    made.add_column("", no_wrap=True)
    for trial in found.ended[:MOST_ROWS]:
        accuracy = f"{trial.accuracy:.4f}" if trial.accuracy is not None else _last(trial)
        values = [str(trial.values.get(name, "-")) for name in found.space]
        seconds = "-" if trial.seconds is None else f"{trial.seconds:.0f}"
        notes = ["the preset's values"] if trial.preset else []
        if trial.outcome != "complete":
            notes.append(_SAID[trial.outcome])
        made.add_row(str(trial.number), accuracy, *values, seconds, ", ".join(notes))
    return made


def remarks(found: Tuning) -> list[str]:
    """How the table is to be read, and what comes next."""
    ended = found.ended
    count = {name: sum(t.outcome == name for t in found.trials) for name in _SAID}
    counted = ", ".join(f"{number} {_SAID[name]}" for name, number in count.items() if number)
    lines = [plural(f"{len(ended)} trial(s): {counted or 'none has begun'}")]
    if len(ended) > MOST_ROWS:
        lines[0] += f"; the table has the {MOST_ROWS} best"
    best = found.best
    if best is None:
        return lines
    images = len(found.dataset.test_images)
    lines.append(
        plural(f"an accuracy on {images:,} image(s) is known to ±{found.noise:.4f} (standard ")
        + "error); the best of many trials is in part the luckiest"
    )
    own = next((t for t in ended if t.preset and t.accuracy is not None), None)
    if own is not None:
        lines.append(f"the preset's own values: {own.accuracy:.4f}, the best: {best.accuracy:.4f}")
    if found.importance:
        shares = (f"{n} {i.share:.0%} ({i.by_chance:.0%})" for n, i in found.importance.items())
        lines.append(
            "how much of the differences each setting explains by itself, and what chance alone "
            f"may give: {', '.join(shares)}"
        )
    else:
        lines.append(f"importance: from {LEAST_TRIALS} trials on")
    if found.dataset.notice:
        lines.append(found.dataset.notice)
    lines.append(f"to train with the best settings: {command(found, best)}")
    if found.tested:
        said = (
            "trial {trial}, trained on {train_examples:,} image(s), training and validation: test "
            "accuracy {accuracy:.4f} on {examples:,} image(s), measured once; the search is over"
        )
        lines.append(plural(said.format(**found.tested)))
    else:
        lines.append(
            "the test set has not been looked at; `test` looks at it, when you are done searching"
        )
    return lines


def command(found: Tuning, trial: Trial) -> str:
    """What trains with a trial's settings, on training and validation images."""
    kept = ("backend", "preset", "validation", "threads", "device")
    settings, whole = found.settings_of(trial), found.whole
    preset = from_preset(settings.preset)
    data = whole.kind if whole.kind == "sample" else whole.directory or "DATA"
    words = ["scripts/train.py", "--backend", settings.backend, "--preset", settings.preset]
    words += ["--data", data]
    for name, value in vars(settings).items():
        if name in kept or value == getattr(preset, name):
            continue
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value).removesuffix(".0")]
    return shlex.join(words)


# ------------------------------------------------------------------ pictures


def history(found: Tuning, language: str = "en") -> "Figure":
    """Each trial's accuracy, and the best so far."""
    words = style.words(WORDS, language)
    title = words["history"].format(
        len(found.ended),
        style.number(len(found.dataset.train_images), language=language),
        style.number(len(found.dataset.test_images), language=language),
    )
    figure, part = _slide(plural(title))
    axes = part.add_subplot()
    trials = sorted(found.ended, key=lambda trial: trial.number)
    numbers = [trial.number for trial in trials]
    _draw(axes, numbers, trials, words)
    bests = itertools.accumulate((trial.accuracy or 0.0 for trial in trials), max)
    steps = [best or np.nan for best in bests]
    axes.step(numbers, steps, where="post", color="black", lw=2.5, zorder=1)
    axes.plot([], [], color="black", lw=2.5, label=words["best"])
    for trial in trials:
        if trial.preset:
            axes.plot(
                trial.number, _floor(trial, trials), "o", ms=24, mfc="none", color="black",
                mew=2, label=words["preset"],
            )  # fmt: skip
    axes.set_xlabel(words["trial"], fontsize=style.TEXT)
    axes.set_ylabel(words["accuracy"], fontsize=style.TEXT)
    axes.locator_params("x", integer=True, min_n_ticks=1)
    _finish(axes, trials, language)
    _legend(part)
    return figure


def importance(found: Tuning, language: str = "en") -> "Figure":
    """A bar for each setting, with what chance alone gives."""
    words = style.words(WORDS, language)
    figure, part = _slide(words["importance"])
    axes = part.add_subplot()
    if not found.importance:
        text = words["few"].format(len(found.ended), LEAST_TRIALS)
        axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=style.TEXT)
        axes.set_axis_off()
        return figure
    for i, each in enumerate(found.importance.values()):
        axes.barh(i, each.share, color=style.BLUE, height=0.6)
        axes.plot([each.by_chance] * 2, [i - 0.38, i + 0.38], color=style.VERMILION, lw=4)
        axes.text(
            each.share + 0.01, i, style.share(each.share, language), va="center",
            fontsize=style.TEXT, bbox={"color": "white", "alpha": 0.8, "pad": 1},
        )  # fmt: skip
    axes.plot([], [], color=style.VERMILION, lw=4, label=words["chance"])
    names = [_name(name, language) for name in found.importance]
    axes.set_yticks(range(len(names)), names, fontsize=style.TEXT)
    axes.set_ylim(len(names) - 0.5, -0.5)
    most = max(max(each) for each in found.importance.values())
    axes.set_xlim(0, min(1.1, most + 0.1))
    axes.xaxis.set_major_formatter(lambda value, _: style.share(value, language))
    axes.set_xlabel(words["share"], fontsize=style.TEXT)
    axes.tick_params(labelsize=style.SMALL)
    axes.tick_params("y", labelsize=style.TEXT)
    axes.spines[["top", "right"]].set_visible(False)
    _legend(part)
    return figure


def values(found: Tuning, language: str = "en") -> "Figure":
    """For each setting the accuracy of all trials over its values."""
    words = style.words(WORDS, language)
    figure, part = _slide(words["values"])
    columns = min(3, len(found.space))
    rows = -(-len(found.space) // columns)
    trials = sorted(found.ended, key=lambda trial: trial.number)
    first = None
    for i, (name, choices) in enumerate(found.space.items(), start=1):
        axes = part.add_subplot(rows, columns, i, sharey=first)
        first = first or axes
        shown = [trial for trial in trials if name in trial.values]
        if isinstance(choices, Range):
            places = [trial.values[name] for trial in shown]
            if choices.logarithmic:
                axes.set_xscale("log")
        else:
            # beside each other, so that equal ones can be told apart
            order = list(choices.values)
            rng = np.random.default_rng(0)
            spread = rng.uniform(-0.22, 0.22, len(shown))
            places = [order.index(t.values[name]) + s for t, s in zip(shown, spread, strict=True)]
            labels = ["\n".join(textwrap.wrap(str(value), 12)) for value in order]
            axes.set_xticks(range(len(order)), labels, parse_math=False)
            axes.set_xlim(-0.5, len(order) - 0.5)
        _draw(axes, places, shown, words, small=True)
        axes.set_title(_name(name, language), fontsize=style.TEXT)
        _finish(axes, trials, language)
    _legend(part)
    part.supylabel(words["accuracy"], fontsize=style.TEXT)
    return figure


PICTURES = {"history": history, "importance": importance, "values": values}
_SAID = {
    **{outcome: WORDS[outcome][0] for outcome in OUTCOMES},
    "failed": "failed",
    "running": "running in another process",
    "interrupted": "interrupted",
}


def _slide(title: str) -> tuple["Figure", "SubFigure"]:
    """A slide and what is drawn in: a figure of its own, so that its legend is above the notice."""
    figure = style.slide(title)
    return figure, figure.add_subfigure(figure.add_gridspec()[0])


def _legend(part: "SubFigure") -> None:
    """Below all axes, of the first one's marks."""
    marks = part.axes[0].get_legend_handles_labels()
    part.legend(*marks, loc="outside lower center", ncols=3, fontsize=style.SMALL, frameon=False)


def _draw(
    axes: "Axes", places: list[Any], trials: list[Trial], words: dict[str, str], small: bool = False
) -> None:
    """A mark for each trial: its accuracy, or where it was stopped the last that was measured."""
    for outcome, (colour, mark) in OUTCOMES.items():
        chosen = [i for i, trial in enumerate(trials) if trial.outcome == outcome]
        if chosen:
            axes.plot(
                [places[i] for i in chosen], [_floor(trials[i], trials) for i in chosen], mark,
                ms=9 if small else 13, color=colour, alpha=0.85, label=words[outcome], zorder=2,
            )  # fmt: skip


def _floor(trial: Trial, trials: list[Trial]) -> float:
    """Where a trial is drawn; one without an accuracy at the lower edge."""
    return trial.reached or min((t.reached for t in trials if t.reached), default=0.0)


def _finish(axes: "Axes", trials: list[Trial], language: str) -> None:
    """Halving the errors is as far everywhere, so that the good trials can be told apart."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    axes.set_yscale("function", functions=(_errors_halved, _accuracy))
    heights = _errors_halved([_floor(trial, trials) for trial in trials] or [0, 1])
    margin = max(0.1, 0.08 * np.ptp(heights))
    low, high = _accuracy(np.array([heights.min() - margin, heights.max() + margin]))
    ticks = [tick for tick in TICKS if low <= tick <= high]
    if len(ticks) < 2:
        ticks = [t for t in MaxNLocator(5).tick_values(low, high) if low <= t <= min(1, high)]
    rows, columns = cast("SubplotSpec", axes.get_subplotspec()).get_gridspec().get_geometry()
    least = 0.06 * rows * np.ptp(_errors_halved([low, high]))
    kept = ticks[-1:]
    for tick in reversed(ticks):
        if _errors_halved(kept[-1]) - _errors_halved(tick) >= least:
            kept.append(tick)
    axes.set_yticks(kept)
    axes.set_ylim(low, high)
    if axes.get_xscale() == "log":
        # so that the closest, 2 and 3 or 1 and 3, are a number's width apart
        inches = style.WIDTH / columns / np.log10(np.divide(*axes.get_xlim()[::-1]))
        axes.xaxis.set_major_locator(
            LogLocator(subs=(1, 2, 3, 5) if inches > 5 else (1, 3) if inches > 2 else (1,))
        )
    axes.minorticks_off()
    axes.tick_params(labelsize=style.SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis="y", alpha=0.4)
    style.write_numbers(axes, language, along="xy" if axes.get_xscale() == "log" else "y")


def _errors_halved(accuracy: "ArrayLike") -> np.ndarray:
    return -np.log2(np.maximum(1 + BEYOND - np.asarray(accuracy, float), 1e-6))


def _accuracy(halvings: np.ndarray) -> np.ndarray:
    return 1 + BEYOND - 2.0**-halvings


def _name(name: str, language: str) -> str:
    return style.words(page_words.WORDS, language)[name]


def _last(trial: Trial) -> str:
    if trial.outcome != "pruned" or not trial.curve:
        return "-"
    percent, accuracy = list(trial.curve.items())[-1]
    return f"{accuracy:.4f} at {percent}%"
