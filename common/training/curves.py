"""The chapter's figure: train loss, train accuracy and test accuracy over the epochs."""

from typing import TYPE_CHECKING

from common.files import figures
from common.report import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from common.training.run import Run

# That fit into a line of the title.
TITLE_LETTERS = 56

WORDS = {
    "loss": ("train loss", "eğitim kaybı"),
    "train": ("train acc", "eğitim doğruluğu"),
    "test": ("test acc", "test doğruluğu"),
    "validation": ("validation acc", "geçerleme doğruluğu"),
    "epoch": ("epoch", "dönem"),
    "seed": ("seed", "rastgele tohum"),
}


def plot(run: "Run", language: str = "en") -> "Figure":
    """The curves of a run, as far as it has come, in ``en`` or ``tr``."""
    words = style.words(WORDS, language)
    points, rows = run.points(), run.history
    figure = figures.new(6, 4)
    axes = figure.add_subplot()
    # as in the book, the training curves have five points per epoch
    fractions = [point[0] for point in points]
    axes.plot(fractions, [point[1] for point in points], "C0-", label=words["loss"])
    axes.plot(fractions, [point[2] for point in points], "C3--", label=words["train"])
    if rows:
        # where the training curves end: in older runs after whole steps, not at the part of an
        # epoch that was asked for
        epochs = [row["within_epoch"][-1][0] for row in rows]
        evaluated_on = rows[0]["evaluated_on"]
        accuracies = [row[f"{evaluated_on}_accuracy"] for row in rows]
        axes.plot(epochs, accuracies, "C2-.o", markersize=3, label=words[evaluated_on])
    axes.set_xlabel(words["epoch"])
    style.leave_out_large_losses(axes, language)
    axes.set_ylim(bottom=0)
    if fractions and fractions[-1] > 1:
        axes.locator_params("x", integer=True)
    style.write_numbers(axes, language)
    axes.grid(visible=True, alpha=0.5)
    axes.legend()
    title = f"{style.told(run.title, language)}, {words['seed']} {run.settings.seed}"
    axes.set_title(style.wrapped(title, TITLE_LETTERS), fontsize=11, parse_math=False)
    return style.with_notice(figure, run.dataset.notice, language)
