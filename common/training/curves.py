"""The chapter's figure: train loss, train accuracy and test accuracy over the epochs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.files import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def paint(
    points: Sequence[Sequence[float]], rows: Sequence[dict[str, Any]], title: str, notice: str
) -> "Figure":
    """The figure.

    Args:
        points: of the training curves, as :meth:`common.training.run.Run.points` gives them.
        rows: the lines of ``metrics.jsonl``, which have the other accuracy.
        title: what was trained.
        notice: printed below the title when the data are not the whole real set.
    """
    figure = figures.new(6, 4)
    axes = figure.add_subplot()
    # as in the book, the training curves have five points per epoch
    fractions = [point[0] for point in points]
    axes.plot(fractions, [point[1] for point in points], "C0-", label="train loss")
    axes.plot(fractions, [point[2] for point in points], "C3--", label="train acc")
    if rows:
        evaluated_on = rows[0]["evaluated_on"]
        accuracies = [row[f"{evaluated_on}_accuracy"] for row in rows]
        epochs = [row["epoch"] for row in rows]
        axes.plot(epochs, accuracies, "C2-.o", markersize=3, label=f"{evaluated_on} acc")
    axes.set_xlabel("epoch")
    axes.set_ylim(bottom=0)
    axes.locator_params("x", integer=True)
    axes.grid(visible=True, alpha=0.5)
    axes.legend()
    axes.set_title(title, fontsize=11, parse_math=False)
    if notice:
        figure.suptitle(notice, fontsize=7, color="C1", wrap=True, parse_math=False)
    return figure


def draw(figure: "Figure", directory: Path) -> None:
    """Write ``curves.svg`` and ``curves.png``."""
    for kind in ("svg", "png"):
        figures.save(figure, directory / f"curves.{kind}")
