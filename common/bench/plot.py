"""The picture of a bench."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from common.bench.report import LIMIT, SECONDS_TO, Report, flop
from common.bench.run import ACCURACY
from common.files.write import write_bytes

TRAINING = {"bare step": "bare step, examples/s", "train.py": "train.py, examples/s"}
AGAINST_D2L = {"d2l": "d2l, examples/s", "train.py": "beside d2l, examples/s"}


def draw(report: Report, directory: Path) -> list[Path]:
    """Write ``bench.svg`` and ``bench.png``, with a panel for each part that was measured.

    Returns:
        what was written: nothing if there is nothing to draw.
    """
    panels: list[Callable[[Any], None]] = [
        *(partial(_bars, report, TRAINING, size) for size in report.sizes if _has(report, size)),
        *([partial(_bars, report, AGAINST_D2L, None)] if _has(report, None) else []),
        *([partial(_accuracies, report)] if _runs(report, *report.backends) else []),
    ]
    if not panels:
        return []
    # drawing takes longer to import than to do: only when there is something to draw
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = (len(panels) + 1) // 2
    figure = Figure(figsize=(11, 3.4 * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    for i, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, min(2, len(panels)), i)
        axes.grid(visible=True, axis="y", alpha=0.5)
        axes.set_axisbelow(True)
        panel(axes)
        axes.legend(fontsize=7)
    machine, notice = report.record["machine"], report.record["data"]["notice"]
    title = f"NiN, batch {report.batch}, {machine['processor']}, {machine['cores']} cores"
    figure.suptitle(f"{title}\n{notice}" if notice else title, fontsize=9, parse_math=False)
    written = []
    for kind, options in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 150})):
        buffer = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "nin"}):  # the same bench gives the same file
            figure.savefig(buffer, format=kind, **options)
        written.append(directory / f"bench.{kind}")
        write_bytes(written[-1], buffer.getvalue())
    return written


def _has(report: Report, size: int | None) -> bool:
    bars = AGAINST_D2L if size is None else TRAINING
    return any(report.get(what, name, size) for what in bars.values() for name in report.backends)


def _runs(report: Report, *names: str) -> list[list[dict[str, float]]]:
    rows = report.record["rows"]
    return [row["epochs"] for row in rows if row["part"] == ACCURACY and row["backend"] in names]


def _bars(report: Report, bars: dict[str, str], size: int | None, axes: Any) -> None:
    for i, (label, what) in enumerate(bars.items()):
        found = {at: report.get(what, name, size) for at, name in enumerate(report.backends)}
        values = {at: value for at, value in found.items() if value is not None}
        spread = [[v.median - v.low for v in values.values()],
                  [v.high - v.median for v in values.values()]]  # fmt: skip
        if values:
            axes.bar(
                [at + 0.4 * i - 0.2 for at in values], [v.median for v in values.values()], 0.4,
                yerr=spread, color=f"C{i}", label=label, capsize=2,
            )  # fmt: skip
    if size is not None and LIMIT in report.figures:
        limit = report.figures[LIMIT].median * 1e9 / flop(size)
        axes.axhline(limit, color="k", linestyle=":", label="matrix product")
    axes.set_xticks(range(len(report.backends)), report.backends)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("examples/s")
    title = "against d2l, wall clock" if size is None else f"training at {size}x{size}"
    axes.set_title(title, fontsize=10)


def _accuracies(report: Report, axes: Any) -> None:
    for i, name in enumerate(report.backends):
        for j, epochs in enumerate(_runs(report, name)):
            points = [[epoch[what] for epoch in epochs] for what in ("seconds", "accuracy")]
            axes.plot(*points, f"C{i}.-", label=None if j else name, linewidth=1)
    for accuracy in SECONDS_TO:
        axes.axhline(accuracy, color="k", linestyle=":", linewidth=1)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds")
    axes.set_ylabel("test accuracy")
    axes.set_title("preset fast, each seed", fontsize=10)
