"""The picture of a bench."""

from pathlib import Path
from typing import TYPE_CHECKING

from common.bench.results import BESIDE_D2L, LIMIT, OF_D2L, STEP, TRAIN, Results, flop, remarks
from common.errors import plural
from common.files import figures
from common.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# label of the bars -> what they show
TRAINING = {"bare step": STEP, "train.py": TRAIN}
AGAINST_D2L = {"d2l": OF_D2L, "train.py": BESIDE_D2L}


def draw(results: Results, directory: Path) -> list[Path]:
    """Write ``bench.svg`` and ``bench.png``, a panel for each part, if any was measured."""
    panels = [
        (bars, size)
        for bars, size in (*((TRAINING, size) for size in results.sizes), (AGAINST_D2L, None))
        if any(results.get(what, name, size) for what in bars.values() for name in results.backends)
    ]
    if not panels:
        return []
    rows = (len(panels) + 1) // 2
    figure = figures.new(11, 3.4 * rows + 0.5)
    for i, (bars, size) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, min(2, len(panels)), i)
        _bars(axes, results, bars, size)
        axes.grid(visible=True, axis="y", alpha=0.5)
        axes.set_axisbelow(True)
        figures.add_legend(axes)
    machine = results.record["machine"]
    title = f"NiN, batch {results.batch}, {machine['processor']}, {machine['cores']} core(s)"
    figure.suptitle(plural(title), parse_math=False)
    notice = "; ".join(filter(None, remarks(results.record)))
    style.with_notice(figure, notice, "en")
    return figures.save_svg_and_png(figure, directory, "bench")


def _bars(axes: "Axes", results: Results, bars: dict[str, str], size: int | None) -> None:
    found = {
        label: {at: value for at, name in enumerate(results.backends)
                if (value := results.get(what, name, size))}
        for label, what in bars.items()
    }  # fmt: skip
    found = {label: values for label, values in found.items() if values}
    for i, (label, values) in enumerate(found.items()):
        axes.bar(
            [at + 0.4 * i - 0.2 * (len(found) - 1) for at in values],
            [v.median for v in values.values()], 0.4, color=f"C{[*bars].index(label)}", label=label,
            yerr=[[v.median - v.low for v in values.values()],
                  [v.high - v.median for v in values.values()]], capsize=2,
        )  # fmt: skip
    if size and LIMIT in results.figures:
        limit = results.figures[LIMIT].median * 1e9 / flop(size)
        axes.axhline(limit, color="k", linestyle=":", label="matrix product")
    axes.set_xticks(range(len(results.backends)), results.backends)
    axes.set_xlim(-0.5, len(results.backends) - 0.5)
    axes.margins(y=0.35)  # for the legend
    axes.set_ylim(bottom=0)
    axes.set_ylabel("examples/s")
    axes.set_title(f"training at {size}x{size}" if size else "against d2l, wall clock")
