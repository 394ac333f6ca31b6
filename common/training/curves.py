"""The chapter's figure: train loss, train accuracy and test accuracy over the epochs."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.files.write import write_bytes


def draw(rows: Sequence[dict[str, Any]], directory: Path, title: str, notice: str) -> None:
    """Write ``curves.svg`` and ``curves.png``.

    Args:
        rows: the lines of ``metrics.jsonl``, at least one.
        directory: where to write.
        title: what was trained.
        notice: printed below the title when the data are not the whole real set.
    """
    # drawing takes longer to import than to do: only when there is something to draw
    import matplotlib

    matplotlib.rcParams["svg.hashsalt"] = "nin"  # the same curves give the same file
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    # as in the book, the training curves have five points per epoch
    points = [point for row in rows for point in row["within_epoch"]]
    fractions = [point[0] for point in points]
    epochs = [row["epoch"] for row in rows]
    evaluated_on = rows[0]["evaluated_on"]
    accuracies = [row[f"{evaluated_on}_accuracy"] for row in rows]
    axes.plot(fractions, [point[1] for point in points], "C0-", label="train loss")
    axes.plot(fractions, [point[2] for point in points], "C3--", label="train acc")
    axes.plot(epochs, accuracies, "C2-.o", markersize=3, label=f"{evaluated_on} acc")
    axes.set_xlabel("epoch")
    axes.set_ylim(bottom=0)
    axes.locator_params("x", integer=True)
    axes.grid(visible=True, alpha=0.5)
    axes.legend()
    axes.set_title(title, fontsize=11, parse_math=False)
    if notice:
        figure.suptitle(notice, fontsize=7, color="C1", wrap=True, parse_math=False)
    for kind, options in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 150})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, **options)
        write_bytes(directory / f"curves.{kind}", buffer.getvalue())
