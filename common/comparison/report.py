"""A comparison for people: tables in the terminal, and one HTML page that needs no network."""

import math
import sys
from collections.abc import Callable
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.comparison import levels as comparison
from common.comparison.levels import Level, Report, Row
from common.files import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEMPLATE = "page.html.j2"
STATUS_STYLES = {"agree": "bold green", "deviate": "bold red"}
# of a long training the terminal shows these steps, the page all
STEPS_SHOWN = (1, 2, 3, 5, 10, 20, 30, 40, 50, 100, 200, 500, 1000)


def show(report: Report) -> None:
    """Print the tables and the verdict."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    about = Table("backend", "versions", "device", "python", "seconds", title_justify="left")
    for name, facts in report.backends.items():
        versions = ", ".join(f"{key} {value}" for key, value in facts.get("versions", {}).items())
        cells = [versions, *(str(facts.get(key, "")) for key in ("device", "python", "seconds"))]
        about.add_row(name, *cells)
    for name, reason in report.lost.items():
        about.add_row(name, Text(reason, "red"))
    console.print(about)
    if report.job["device"] == "gpu":
        console.print("TF32 is off")
    for level in report.levels:
        _show_level(console, level)
    status = {0: "bold green", 1: "bold red"}.get(report.exit_status, "bold yellow")
    console.print(Text(report.verdict, status))
    for name, reason in report.lost.items():
        console.print(Text(f"{name} is not in it: {reason}", "bold yellow"))


def html(report: Report) -> str:
    """The whole comparison as one page: styles and pictures are inside."""
    import jinja2  # only when a page is wanted

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    source = resources.files("common.comparison").joinpath(TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source).render(
        report=report,
        drawings=drawings(report),
        tolerances=comparison.TOLERANCES[report.job["dtype"]],
        invisible=comparison.INVISIBLE,
    )


def drawings(report: Report) -> dict[str, str]:
    """Level -> its picture as SVG text, for the levels that have one."""
    pictures = {}
    for level in report.levels:
        tables = [table for table in level.tables if table.rows]
        if level.name in ("activations", "gradients") and tables:
            limit = getattr(
                comparison.TOLERANCES[report.job["dtype"]],
                "outputs" if level.name == "activations" else "gradients",
            )
            plot = partial(_differences, rows=tables[0].rows, limit=limit)
            pictures[level.name] = _draw(level.name, plot)
        if level.name == "training" and report.losses:
            pictures[level.name] = _draw(level.name, partial(_losses, report=report))
    return pictures


def _show_level(console: Console, level: Level) -> None:
    style = STATUS_STYLES.get(level.status, "bold yellow")
    console.print()
    console.print(Text.assemble((level.name, "bold"), ": ", (level.status, style),
                                f"   (tolerance: {level.tolerance})"))  # fmt: skip
    for table in level.tables:
        drawn = Table("", *table.columns, title=table.title, title_justify="left")
        for row in _shown(table.rows):
            # a colour alone is nothing in a file or on a poor projector
            cells = [
                Text(f"{cell} <-", "bold red") if column in row.deviating else Text(cell)
                for column, cell in row.cells.items()
            ]
            drawn.add_row(row.name, *cells)
        console.print(drawn)
    for note in level.notes:
        console.print(Text(f"note: {note}"))


def _shown(rows: list[Row]) -> list[Row]:
    if not rows or not rows[0].name.startswith("step "):
        return rows
    first = next((row for row in rows if row.deviating), None)
    return [
        row
        for number, row in enumerate(rows, start=1)
        if number in STEPS_SHOWN or row is first or row is rows[-1]
    ]


def _draw(name: str, plot: Callable[["Axes"], None]) -> str:
    figure = figures.new(9, 3.6)
    plot(figure.add_subplot())
    return figures.svg_element(figure, salt=name)


def _losses(axes: "Axes", report: Report) -> None:
    for number, (name, losses) in enumerate(report.losses.items()):
        values = [math.nan if loss is None else loss for loss in losses]
        # each line thinner than the one before, so that all are seen where they coincide
        width = 1.5 * (len(report.losses) - number)
        axes.plot(range(1, len(values) + 1), values, label=name, linewidth=width)
    axes.set_xlabel("step")
    axes.set_ylabel("loss, nats")
    axes.grid(visible=True, alpha=0.5)
    figures.add_legend(axes)


def _differences(axes: "Axes", rows: list[Row], limit: float) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row.values))
    for column in columns:
        relative = [row.values.get(column, {}).get("relative") for row in rows]
        # on a logarithmic axis, no difference lies at the bottom
        values = [math.nan if x is None else max(x, limit / 1e9) for x in relative]
        axes.plot(range(len(rows)), values, "o-", markersize=3, label=column)
    axes.axhline(limit, color="C3", linestyle="--", label="tolerance")
    axes.set_yscale("log")
    axes.set_xticks(range(len(rows)), [row.name for row in rows], rotation=90, fontsize=7)
    axes.set_ylabel("relative difference (none: bottom)")
    axes.grid(visible=True, alpha=0.5)
    figures.add_legend(axes)
