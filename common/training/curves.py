"""The chapter's figure: train loss, train accuracy and test accuracy over the epochs."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from common.files import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# In characters, of the size that the notice has.
NOTICE_WIDTH = 100


def plot_curves(
    points: Sequence[Sequence[float]], rows: Sequence[dict[str, Any]], title: str, notice: str
) -> "Figure":
    """The curves of a run, as far as it has come.

    Args:
        points: of the training curves, as :meth:`common.training.run.Run.points` gives them.
        rows: one for each epoch that is done, as in ``metrics.jsonl``.
        title: what was trained.
        notice: printed above the title when the data are not the whole real set.
    """
    figure = figures.new(6, 4)
    axes = figure.add_subplot()
    # as in the book, the training curves have five points per epoch
    fractions = [point[0] for point in points]
    axes.plot(fractions, [point[1] for point in points], "C0-", label="train loss")
    axes.plot(fractions, [point[2] for point in points], "C3--", label="train acc")
    if rows:
        epochs = [row["epoch"] for row in rows]
        evaluated_on = rows[0]["evaluated_on"]
        accuracies = [row[f"{evaluated_on}_accuracy"] for row in rows]
        axes.plot(epochs, accuracies, "C2-.o", markersize=3, label=f"{evaluated_on} acc")
    axes.set_xlabel("epoch")
    axes.set_ylim(bottom=0)
    if fractions and fractions[-1] > 1:
        axes.locator_params("x", integer=True)
    axes.grid(visible=True, alpha=0.5)
    axes.legend()
    axes.set_title(title, fontsize=11, parse_math=False)
    if notice:
        # matplotlib's own wrapping takes dollars for formulas after all
        lines = textwrap.fill(notice, NOTICE_WIDTH)
        figure.suptitle(lines, fontsize=7, color="C1", parse_math=False)
    return figure
