"""The figure of a bench."""

import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from common.bench.report import PASSES, Figure, Report
from common.bench.run import TARGET_ACCURACIES
from common.files.write import write_bytes
from common.network import architecture

NAME = "bench"


def draw(report: Report, directory: Path) -> list[Path]:
    """Write ``bench.svg`` and ``bench.png``, with a panel for each part that was measured.

    Returns:
        what was written: nothing if there is nothing to draw.
    """
    # drawing takes longer to import than to do: only when there is something to draw
    import matplotlib

    matplotlib.rcParams["svg.hashsalt"] = "nin"  # the same bench gives the same file
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    panels: list[Callable[[Any], None]] = []
    for size in report.sizes:
        if any(report.step(size, name) or report.train(size, name) for name in report.backends):
            panels.append(partial(_rates, report, size))
    for size in report.sizes:
        first = architecture.convolutions(size)[0].name
        if any(report.convolution(size, first, "training", name) for name in report.backends):
            panels.append(partial(_convolutions, report, size))
    if any(report.against_d2l(name) for name in report.backends):
        panels.append(partial(_against_d2l, report))
    if any(report.seconds_to(TARGET_ACCURACIES[0], name) for name in report.backends):
        panels.append(partial(_accuracy, report))
    if not panels:
        return []
    rows = (len(panels) + 1) // 2
    figure = Canvas(figsize=(11, 3.4 * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    for i, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, min(2, len(panels)), i)
        axes.grid(visible=True, axis="y", alpha=0.5)
        axes.set_axisbelow(True)
        panel(axes)
    machine = report.record["machine"]
    title = f"NiN, batch {report.batch}, {machine['processor']}, {machine['cores']} cores"
    notice = report.record["data"]["notice"]
    figure.suptitle(f"{title}\n{notice}" if notice else title, fontsize=9, parse_math=False)
    written = []
    for kind, options in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 150})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, **options)
        written.append(directory / f"{NAME}.{kind}")
        write_bytes(written[-1], buffer.getvalue())
    return written


def _rates(report: Report, size: int, axes: Any) -> None:
    rates = {
        label: [get(size, name) for name in report.backends]
        for label, get in (("bare step", report.step), ("train.py", report.train))
    }
    # a quick bench measures less at some sizes
    rates = {label: values for label, values in rates.items() if any(values)}
    for i, (label, values) in enumerate(rates.items()):
        _bars(axes, values, i, len(rates), label)
    limit = report.limit()
    if limit is not None:
        flop = 2 * sum(c.training_multiply_adds for c in architecture.convolutions(size))
        axes.axhline(limit.median * 1e9 / flop, color="k", linestyle=":", label="matrix product")
    _finish(axes, report.backends, f"training at {size}x{size}", "examples/s")


def _convolutions(report: Report, size: int, axes: Any) -> None:
    names = [layer.name for layer in architecture.convolutions(size)]
    for i, backend in enumerate(report.backends):
        for passes, style in zip(PASSES, ("--", "-"), strict=True):
            found = [report.convolution(size, name, passes, backend) for name in names]
            rates = [float("nan") if value is None else value.median for value in found]
            axes.plot(
                names, rates, f"C{i}", ls=style, marker=".", lw=1, label=f"{backend}, {passes}"
            )
    limit = report.limit()
    if limit is not None:
        axes.axhline(limit.median, color="k", linestyle=":", label="matrix product")
    axes.tick_params("x", rotation=45, labelsize=7)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("GFLOP/s")
    axes.set_title(f"each convolution alone at {size}x{size}", fontsize=10)
    axes.legend(fontsize=6, ncols=2)


def _against_d2l(report: Report, axes: Any) -> None:
    for i, (label, whose) in enumerate((("d2l", "d2l"), ("train.py", "ours"))):
        _bars(axes, [report.d2l_rate(name, whose) for name in report.backends], i, 2, label)
    _finish(axes, report.backends, "against d2l, wall clock", "examples/s")


def _accuracy(report: Report, axes: Any) -> None:
    for i, name in enumerate(report.backends):
        rows = [r for r in report.record["rows"] if (r["part"], r["backend"]) == ("accuracy", name)]
        for j, row in enumerate(rows):
            seconds = [epoch["seconds"] for epoch in row["epochs"]]
            accuracies = [epoch["accuracy"] for epoch in row["epochs"]]
            axes.plot(seconds, accuracies, f"C{i}.-", label=None if j else name, linewidth=1)
    for accuracy in TARGET_ACCURACIES:
        axes.axhline(accuracy, color="k", linestyle=":", linewidth=1)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds")
    axes.set_ylabel("test accuracy")
    axes.set_title("preset fast, each seed", fontsize=10)
    axes.legend(fontsize=7)


def _bars(axes: Any, found: Sequence[Figure | None], i: int, count: int, label: str) -> None:
    width = 0.8 / count
    first = next((at for at, value in enumerate(found) if value is not None), None)
    for at, value in enumerate(found):
        if value is not None:
            spread = [[value.median - value.low], [value.high - value.median]]
            axes.bar(
                at + (i - (count - 1) / 2) * width, value.median, width, yerr=spread,
                color=f"C{i}", label=label if at == first else None, capsize=2,
            )  # fmt: skip


def _finish(axes: Any, names: Sequence[str], title: str, unit: str) -> None:
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(unit)
    axes.set_title(title, fontsize=10)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=7)
