"""A comparison for people: the verdict in the terminal, and one HTML page that needs no network."""

import dataclasses
import math
import shlex
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.comparison import tables
from common.comparison.job import Job
from common.comparison.layer import LayerView
from common.comparison.levels import Comparison, Level
from common.errors import plural
from common.files import figures, pages
from common.network.description import CHAPTER
from common.terminal import output

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLES = {"agree": "bold green", "deviate": "bold red", 0: "bold green", 1: "bold red"}
OTHER_STYLE = "bold yellow"
# of a long training the terminal shows these steps, the page all
STEPS_SHOWN = (1, 2, 3, 5, 10, 20, 30, 40, 50, 100, 200, 500, 1000)
# rows shown before the first deviating one, and behind it
BEFORE, BEHIND = 2, 3
# levels that are seen alone as a whole
WITHOUT_LAYERS = ("shapes", "dropout")


def precisions(report: Comparison) -> list[str]:
    """Those in which anything was compared."""
    return list(dict.fromkeys(name for level in report.levels for name in level.by_dtype))


def gaps(report: Comparison) -> list[str]:
    """What the verdict does not cover, a line each; what a level says alone names the level."""
    levels: dict[str, list[str]] = {}
    for level in report.levels:
        for note in level.notes:
            levels.setdefault(note, []).append(level.name)
    return [f"{', '.join(names)}: {note}" for note, names in levels.items()]


def about(report: Comparison) -> str:
    """What was compared, in a line."""
    job = Job(**report.job)
    network = "" if job.description == CHAPTER else f"network {job.network}, "
    images = plural(f"{job.batch_size} image(s)")
    training = plural(f", {job.steps} training step(s)") if "training" in job.levels else ""
    tf32 = ", TF32 off" if job.device == "gpu" else ""
    return (
        f"{network}{job.resize} x {job.resize} pixels (last map {job.last_map} x {job.last_map}), "
        f"{images}{training}, seed {job.seed}, {job.device}{tf32}"
    )


def seconds(report: Comparison) -> str:
    """What each precision cost, in a line; nothing for one precision."""
    spent: dict[str, float] = {}
    for facts in report.backends.values():
        for dtype, some in facts.get("seconds_in", {}).items():
            spent[dtype] = spent.get(dtype, 0.0) + some
    if len(spent) < 2:
        return ""
    total = sum(facts["seconds"] for facts in report.backends.values())
    each = ", ".join(f"{dtype} took {some:.1f} s" for dtype, some in spent.items())
    return f"Of the backends' {total:.1f} s in all, {each}; --dtype NAME computes in one alone"


def command(report: Comparison) -> str | None:
    """The command that shows the layer, or its level, alone; None if there is none to show."""
    view = report.layer
    if view is None or not report.asked:
        return None
    words = ["scripts/compare.py", "--backends", ",".join(report.asked["backends"])]
    for interpreter in report.asked["python"]:
        words += ["--python", interpreter]
    for field in dataclasses.fields(Job):
        value = report.job[field.name]
        if field.name != "levels" and value != field.default:
            words += [f"--{field.name.replace('_', '-')}", str(value)]
    if view.level in WITHOUT_LAYERS:
        words += ["--levels", view.level]
    else:
        place = "" if view.level == "activations" else f"{view.level}/"
        words += ["--layer", f"{place}{view.name}"]
    return shlex.join(words)


def _statistics(view: LayerView) -> tables.Table:
    columns = dict.fromkeys(name for row in view.statistics.values() for name in row)
    rows = [
        tables.Row(backend, {column: row.get(column, "") for column in columns})
        for backend, row in view.statistics.items()
    ]
    return tables.Table("each backend's numbers", rows)


def _places(view: LayerView) -> tables.Table:
    rows = [
        tables.Row(place.where, {name: f"{x:.9g}" for name, x in place.values.items()})
        for place in view.worst
    ]
    return tables.Table(f"{view.name}, where it differs most", rows)


def _backends(report: Comparison) -> tables.Table:
    rows = []
    for name, facts in report.backends.items():
        versions = facts.get("versions", {}).items()
        cells = {key: str(facts.get(key, "")) for key in ("device", "python", "seconds")}
        together = ", ".join(f"{package} {version}" for package, version in versions)
        rows.append(tables.Row(name, {"versions": together, **cells}))
    return tables.Table("each in a process of its own", rows)


# ------------------------------------------------------------------- the terminal


def show(report: Comparison, everything: bool = False) -> None:
    """See :meth:`common.comparison.levels.Comparison.show`."""
    console, deviation = output.console(highlight=False), report.deviation
    console.print(Text(report.verdict, STYLES.get(report.exit_status, OTHER_STYLE)))
    if report.layer is not None and deviation is not None:
        _show_findings(console, report.layer)
    _show_scope(console, report)
    console.print(_levels_table(report))
    for level in report.levels:
        for line in level.about:
            console.print(Text(f"{level.name}: {line}"))
    if everything:
        _show_rows(console, _backends(report))
        for level in report.levels:
            _show_level(console, level)
    elif deviation is not None:
        _show_deviation(console, deviation)
    if report.layer is not None and deviation is not None:
        _show_rows(console, _places(report.layer))
        if command(report):
            what = "level" if report.layer.level in WITHOUT_LAYERS else "layer"
            console.print(f"\nThat {what} alone: {command(report)}", soft_wrap=True)
    console.print(f"\n{seconds(report)}" if seconds(report) else "")
    if not everything:
        console.print("All tables: --verbose, or --html FILE; the numbers: --json FILE")


def show_layer(report: Comparison) -> None:
    """Print one layer alone."""
    console, view = output.console(highlight=False), report.layer
    assert view is not None  # or it was refused
    in_precision = f", {view.dtype}" if view.dtype else ""
    console.print(Text(f"{view.level}: {view.name}{in_precision}", "bold"))
    _show_scope(console, report)
    _show_findings(console, view)
    for pair, text in view.differences.items():
        console.print(Text(f"{pair}: {text}"))
    _show_rows(console, _statistics(view))
    _show_rows(console, _places(view))


def _table(first: str, *columns: str, title: str | None = None) -> Table:
    return Table(first, *columns, title=title, title_justify="left", box=box.SIMPLE_HEAD)


def _show_scope(console: Console, report: Comparison) -> None:
    for name, reason in report.lost.items():
        console.print(Text(f"{name} is not in it: {reason}", OTHER_STYLE))
    for gap in gaps(report):
        console.print(Text(f"not covered: {gap}"))
    console.print(about(report))


def _show_findings(console: Console, view: LayerView) -> None:
    for backend, text in view.findings.items():
        style = "bold red" if backend in view.mistakes else ""
        console.print(Text(f"  {backend}: {text}", style))


def _levels_table(report: Comparison) -> Table:
    found = precisions(report)
    table = _table("level", "verdict", "compared", *(f"{d}: nearest to its limit" for d in found))
    for level in report.levels:
        status = Text(level.status, STYLES.get(level.status, OTHER_STYLE))
        table.add_row(level.name, status, _compared(level), *(_nearest(level, d) for d in found))
    return table


def _show_level(console: Console, level: Level) -> None:
    style = STYLES.get(level.status, OTHER_STYLE)
    status = (level.name, "bold"), ": ", (level.status, style)
    console.print()
    console.print(Text.assemble(*status, f"   (tolerance: {level.tolerance})"))
    for table in level.tables:
        rows = table.rows
        if rows and rows[-1].name.startswith("step "):
            first = next((row for row in rows if row.deviating), None)
            rows = [
                row
                for number, row in enumerate(rows, start=1)
                if number in STEPS_SHOWN or row is first or row is rows[-1]
            ]
        _show_rows(console, tables.Table(table.title, rows))


def _show_deviation(console: Console, level: Level) -> None:
    """The rows around the first that deviates."""
    for table in level.tables:
        numbers = [number for number, row in enumerate(table.rows) if row.deviating]
        if numbers:
            console.print()
            rows = table.rows[max(0, numbers[0] - BEFORE) : numbers[0] + BEHIND + 1]
            _show_rows(console, tables.Table(table.title, rows))
            left_out = sum(number > numbers[0] + BEHIND for number in numbers)
            if left_out:
                console.print(f"and {left_out} more below, which the first may have caused")
            return


def _show_rows(console: Console, table: tables.Table) -> None:
    if not table.rows:
        return
    shown = _table("", *table.columns, title=table.title)
    for row in table.rows:
        # a colour alone is nothing in a file or on a poor projector
        cells = [
            Text(f"{cell} <-", "bold red") if column in row.deviating else Text(cell)
            for column, cell in row.cells.items()
        ]
        shown.add_row(Text(row.name), *cells)
    console.print(shown)


# ----------------------------------------------------------------------- the page


def html(report: Comparison) -> str:
    """The whole comparison as one page: styles and pictures are inside."""
    return pages.render(
        "comparison/page.html.j2",
        report=report,
        about=about(report),
        command=command(report),
        gaps=gaps(report),
        compared=_compared,
        nearest=_nearest,
        statistics=_statistics,
        places=_places,
        backends=_backends(report),
        precisions=precisions(report),
        drawings=_drawings(report),
    )


def _drawings(report: Comparison) -> dict[str, list[tuple[str, str]]]:
    """Level -> its pictures, each a caption and an SVG element."""
    pictures: dict[str, list[tuple[str, str]]] = {}
    for level in report.levels:
        found = pictures[level.name] = []
        if level.name in ("activations", "gradients"):
            for i, table in enumerate(level.tables):
                svg = _draw(f"{level.name}{i}", _plot_differences, table.rows)
                what = table.title.replace("absolute / ", "")
                found.append((f"Relative differences, {what}", svg))
        elif level.name == "training" and report.losses:
            svg = _draw("training0", _plot_losses, report.losses)
            found.append(("Loss of each step", svg))
    return pictures


def _draw(name: str, plot: Callable[["Axes", Any], None], data: Any) -> str:
    figure = figures.new(9, 3.6)
    axes = figure.add_subplot()
    plot(axes, data)
    axes.grid(visible=True, alpha=0.5)
    figures.add_legend(axes)
    legend = axes.get_legend()
    if legend is not None:  # a white frame would hide the words on a dark page
        legend.set_frame_on(False)
    return figures.svg_element(figure, name)


def _plot_losses(axes: "Axes", losses: Mapping[str, list[float | None]]) -> None:
    for number, (name, values) in enumerate(losses.items()):
        # each line thinner than the one before, so that all are seen where they coincide
        width = 1.5 * (len(losses) - number)
        heights = [math.nan if loss is None else loss for loss in values]
        axes.plot(range(1, len(values) + 1), heights, label=name, linewidth=width)
    axes.set_xlabel("step")
    axes.set_ylabel("loss, nats")


def _plot_differences(axes: "Axes", rows: list[tables.Row]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row.values))
    limits = [next(iter(row.values.values()))["limit"] for row in rows]
    for column in columns:
        relative = [row.values.get(column, {}).get("relative") for row in rows]
        # on a logarithmic axis, no difference lies at the bottom
        values = [math.nan if x is None else max(x, min(limits) / 1e9) for x in relative]
        axes.plot(range(len(rows)), values, "o-", markersize=3, label=column)
    axes.plot(range(len(rows)), limits, color="C3", linestyle="--", label="limit")
    axes.set_yscale("log")
    axes.set_xticks(range(len(rows)), [row.name for row in rows], rotation=90, fontsize=7)
    axes.set_ylabel("relative difference (none: bottom)")


def _compared(level: Level) -> str:
    """Of what, such as ``20 layers``."""
    if not level.tables:
        return "nothing"
    counts = [len(table.rows) for table in level.tables]
    without = f", without {', '.join(level.without)}" if level.without else ""
    scope = level.part or plural(
        {
            "shapes": f"{counts[0]} layer(s)" + (", square and oblong" if len(counts) > 1 else ""),
            "parameters": f"{counts[0] - 1} parameter(s)",
            "activations": f"{counts[0]} layer(s)",
            "gradients": f"loss, {counts[0] - 1} gradient(s)",
            "dropout": f"{counts[0]} properties",
            "training": f"{counts[0]} step(s), {counts[-1]} parameter(s)",
        }[level.name]
    )
    return scope + without


def _nearest(level: Level, dtype: str) -> str:
    """The row of a precision that is nearest to its limit; the first that is beyond it."""
    found = []
    rows = [row for table in level.tables if table.dtype == dtype for row in table.rows]
    for row in [row for row in rows if row.deviating][:1] or rows:
        for value in row.values.values():
            relative, limit = value["relative"], value["limit"]
            if relative is None:
                return f"{row.name}: {value['problem']}"
            found.append((relative / limit if limit else relative, relative, limit, row.name))
    if not found:
        return "equal" if level.status == "agree" and not level.by_dtype else ""
    _, relative, limit, name = max(found)
    return f"{relative:.1e} of {limit:.1e} ({name})"
