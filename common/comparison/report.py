"""A comparison for people: tables in the terminal, and one HTML page that needs no network."""

import math
import sys
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.comparison.levels import INVISIBLE, Comparison, Level
from common.comparison.tables import Row
from common.files import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEMPLATE = "page.html.j2"
STYLES = {"agree": "bold green", "deviate": "bold red", 0: "bold green", 1: "bold red"}
# of a long training the terminal shows these steps, the page all
STEPS_SHOWN = (1, 2, 3, 5, 10, 20, 30, 40, 50, 100, 200, 500, 1000)


def show(report: Comparison) -> None:
    """Print the tables and the verdict."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    about = Table("backend", "versions", "device", "python", "seconds", title_justify="left")
    for name, facts in report.backends.items():
        versions = ", ".join(f"{key} {value}" for key, value in facts["versions"].items())
        about.add_row(name, versions, *(str(facts[key]) for key in ("device", "python", "seconds")))
    for name, reason in report.lost.items():
        about.add_row(name, Text(reason, "red"))
    console.print(about)
    if report.job["device"] == "gpu":
        console.print("TF32 is off")
    for level in report.levels:
        _show_level(console, level)
    console.print(Text(report.verdict, STYLES.get(report.exit_status, "bold yellow")))
    for name, reason in report.lost.items():
        console.print(Text(f"{name} is not in it: {reason}", "bold yellow"))


def html(report: Comparison) -> str:
    """The whole comparison as one page: styles and pictures are inside."""
    import jinja2  # only when a page is wanted

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    source = resources.files("common.comparison").joinpath(TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source).render(
        report=report,
        drawings=drawings(report),
        invisible=INVISIBLE,
    )


def drawings(report: Comparison) -> dict[str, str]:
    """Level -> its picture as SVG text, for the levels that have one."""
    pictures = {}
    for level in report.levels:
        figure = figures.new(9, 3.6)
        if level.name in ("activations", "gradients") and level.tables:
            _plot_differences(figure.add_subplot(), level.tables[0].rows)
        elif level.name == "training" and report.losses:
            _plot_losses(figure.add_subplot(), report.losses)
        if figure.axes:
            pictures[level.name] = figures.svg_element(figure, salt=level.name)
    return pictures


def _show_level(console: Console, level: Level) -> None:
    style = STYLES.get(level.status, "bold yellow")
    status = (level.name, "bold"), ": ", (level.status, style)
    console.print()
    console.print(Text.assemble(*status, f"   (tolerance: {level.tolerance})"))
    for table in level.tables:
        shown = Table("", *table.columns, title=table.title, title_justify="left")
        first = next((row for row in table.rows if row.deviating), None)
        for number, row in enumerate(table.rows, start=1):
            kept = number in STEPS_SHOWN or row is first or row is table.rows[-1]
            if not kept and row.name.startswith("step "):
                continue
            # a colour alone is nothing in a file or on a poor projector
            cells = [
                Text(f"{cell} <-", "bold red") if column in row.deviating else Text(cell)
                for column, cell in row.cells.items()
            ]
            shown.add_row(row.name, *cells)
        console.print(shown)
    for note in level.notes:
        console.print(Text(f"note: {note}"))


def _plot_losses(axes: "Axes", losses: Mapping[str, list[float | None]]) -> None:
    for number, (name, values) in enumerate(losses.items()):
        # each line thinner than the one before, so that all are seen where they coincide
        width = 1.5 * (len(losses) - number)
        heights = [math.nan if loss is None else loss for loss in values]
        axes.plot(range(1, len(values) + 1), heights, label=name, linewidth=width)
    axes.set_xlabel("step")
    axes.set_ylabel("loss, nats")
    axes.grid(visible=True, alpha=0.5)
    figures.add_legend(axes)


def _plot_differences(axes: "Axes", rows: list[Row]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row.values))
    limits = [next(iter(row.values.values()))["limit"] for row in rows]
    for column in columns:
        relative = [row.values.get(column, {}).get("relative") for row in rows]
        # on a logarithmic axis, no difference lies at the bottom
        values = [math.nan if x is None else max(x, min(limits) / 1e9) for x in relative]
        axes.plot(range(len(rows)), values, "o-", markersize=3, label=column)
    axes.plot(range(len(rows)), limits, color="C3", linestyle="--", label="tolerance")
    axes.set_yscale("log")
    axes.set_xticks(range(len(rows)), [row.name for row in rows], rotation=90, fontsize=7)
    axes.set_ylabel("relative difference (none: bottom)")
    axes.grid(visible=True, alpha=0.5)
    figures.add_legend(axes)
