"""Tables and pictures of what networks cost."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from common.network.cost import Cost, LayerCost
from common.network.scale import Step
from common.report import style
from common.terminal import tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.table import Table

MIB = 2**20
# That fit into a line of the title, and of a bar's name.
TITLE_LETTERS, LETTERS = 60, 23
# A layer's share of the whole that is worth a percentage.
LARGE = 0.05

WORDS = {
    "parameters": ("parameters", "parametreler"),
    "multiply_adds": ("multiply-adds, one image", "çarpma-toplama, bir imge"),
    "memory": ("memory of a training step", "bir eğitim adımının belleği"),
    "conv": ("k×k convolution", "k×k evrişim"),
    "conv1x1": ("1×1 convolution", "1×1 evrişim"),
    "dense": ("fully connected", "tam bağlı"),
    "activations": ("activations", "etkinleştirmeler"),
    "working": ("working memory", "geçici bellek"),
    "of_parameters": ("weights, gradients, optimizer", "ağırlık, gradyan, eniyileyici"),
    "cost": ("What it costs", "Maliyet"),
    "batch": ("batch", "minigrup boyutu"),
    "input": ("images", "imgeler"),
}
COLOURS = {
    "conv": style.BLUE,
    "conv1x1": style.SKY,
    "dense": style.VERMILION,
    "of_parameters": style.ORANGE,
    "activations": style.GREEN,
    "working": style.GREY,
}
COMPUTING = ("conv", "conv1x1", "dense")
MEMORY = ("of_parameters", "activations", "working")


class _Panel(NamedTuple):
    """Bars, one below the other, each in parts."""

    what: str
    parts: tuple[str, ...]
    bars: Sequence[tuple[int, ...]]


def settings_words(cost: Cost, language: str = "en") -> str:
    """The batch size, precision and optimizer in a few words."""
    momentum = f" {style.number(cost.momentum, 'g', language)}" if cost.momentum else ""
    batch = f"{style.words(WORDS, language)['batch']} {cost.batch_size}"
    return f"{batch}, {cost.precision}, {cost.optimizer}{momentum}"


def layers_table(cost: Cost) -> "Table":
    """A line for each layer of a network, and what they come to."""
    title = f"{cost.title}, images of {cost.resize}x{cost.resize} ({settings_words(cost)})"
    numbers = ("parameters", "multiply-adds", "MiB in\ntraining", "MiB in\nprediction")
    table = tables.empty(["layer", "output"], numbers, title)
    for layer, in_mib in zip(cost.layers, cost.layer_bytes(), strict=True):
        counts = (layer.parameters, layer.multiply_adds)
        table.add_row(
            "the images" if layer.name == "input" else layer.name,
            "x".join(map(str, layer.output)),
            *(f"{number:,}" if number else "" for number in counts),
            *(_mib(number) if number else "" for number in in_mib),
        )
    table.add_row("working memory", *[""] * 3, _mib(cost.training.working), "")
    table.add_section()
    counts = (cost.parameters, cost.multiply_adds)
    totals = (cost.training.total, cost.prediction.total)
    table.add_row("the network", "", *(f"{n:,}" for n in counts), *map(_mib, totals))
    return table


def workers_table(cost: Cost, steps: Sequence[Step]) -> "Table":
    """A line for each number of workers; the last columns beside one worker."""
    numbers = ("batch\nof each", "MB sent", "ms\ncomputing", "ms\nsending", "times\none worker")
    title = f"{cost.title}, a step of several workers"
    table = tables.empty(["workers"], (*numbers, "efficiency"), title)
    alone = next((step.seconds for step in steps if step.workers == 1), None)
    for step in steps:
        times = alone / step.seconds if alone else None
        table.add_row(
            str(step.workers),
            f"{cost.batch_size / step.workers:.4g}",
            f"{step.bytes_sent / 1e6:.1f}",
            f"{1e3 * step.compute:.4g}",
            f"{1e3 * step.send:.3g}",
            *((f"{times:.3g}", f"{times / step.workers:.2f}") if times else ("", "")),
        )
    return table


def comparison_table(costs: Sequence[Cost]) -> "Table":
    """Networks side by side."""
    table = tables.empty([""], [f"{cost.title}\n{cost.resize}x{cost.resize}" for cost in costs])
    for name, counts in (
        ("parameters", [cost.parameters for cost in costs]),
        ("multiply-adds", [cost.multiply_adds for cost in costs]),
        ("forward and backward", [cost.training_multiply_adds for cost in costs]),
    ):
        table.add_row(name, *(f"{number:,}" for number in counts))
    table.add_section()
    table.add_row("MiB in training", *(_mib(cost.training.total) for cost in costs))
    for name in ("weights", "gradients", "optimizer", "activations", "working"):
        table.add_row(f"… {name}", *(_mib(getattr(cost.training, name)) for cost in costs))
    table.add_section()
    table.add_row("MiB in prediction", *(_mib(cost.prediction.total) for cost in costs))
    return table


def _mib(number: int) -> str:
    return f"{number / MIB:,.1f}"


def plot(costs: Sequence[Cost], language: str = "en") -> "Figure":
    """What dominates: of one network layer by layer, of several network by network."""
    words = style.words(WORDS, language)
    bars: list[Sequence[LayerCost]]
    memory: list[tuple[int, ...]]
    if len(costs) == 1:
        (cost,) = costs
        in_training = dict(zip(cost.layers, cost.layer_bytes(), strict=True))
        layers = [layer for layer in cost.layers if layer.numbers]
        names = [words["input"], *(layer.name for layer in layers[1:])]
        bars = [[layer] for layer in layers]
        outputs = {layer: cost.bytes_of(layer.numbers) for layer in layers}
        memory = [(in_training[layer][0] - output, output, 0) for layer, output in outputs.items()]
        # a row of its own, so that a share is one of the whole step
        names, bars = [*names, words["working"]], [*bars, []]
        memory.append((0, 0, cost.training.working))
        title = f"{words['cost']}: {cost.title}, {cost.resize}×{cost.resize}"
        title = f"{style.wrapped(title, TITLE_LETTERS)}\n{settings_words(cost, language)}"
    else:
        names = [
            f"{style.wrapped(cost.title, LETTERS)}\n{cost.resize}×{cost.resize}" for cost in costs
        ]
        bars = [cost.layers for cost in costs]
        memory = [
            (each.weights + each.gradients + each.optimizer, each.activations, each.working)
            for each in (cost.training for cost in costs)
        ]
        title = f"{words['cost']}: {settings_words(costs[0], language)}"
    panels = [
        _Panel(what, COMPUTING, [_by_kind(what, layers) for layers in bars])
        for what in ("parameters", "multiply_adds")
    ]
    panels.append(_Panel("memory", MEMORY, memory))
    lines = max(name.count("\n") for name in names) + 1
    letters = style.TEXT if len(names) <= 8 and lines <= 2 else style.SMALL
    figure = style.slide(title, max(style.HEIGHT, 2.6 + 0.29 * lines * len(names)))
    first = None
    for i, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), i, sharey=first)
        _draw(axes, panel, language)
        _write(axes, panel, letters, language, of_whole=len(costs) == 1)
        if first is None:
            first = axes
            axes.set_yticks(range(len(names)), names, fontsize=letters, parse_math=False)
            axes.invert_yaxis()
        else:
            axes.tick_params(labelleft=False)
    return figure


def _by_kind(what: str, layers: Sequence[LayerCost]) -> tuple[int, ...]:
    """Parameters or multiply-adds of the layers of each kind of :data:`COMPUTING`."""
    return tuple(
        sum(getattr(layer, what) for layer in layers if layer.kind == kind) for kind in COMPUTING
    )


def _draw(axes: "Axes", panel: _Panel, language: str) -> None:
    """The bars and their legend."""
    words = style.words(WORDS, language)
    lefts = [0] * len(panel.bars)
    for i, part in enumerate(panel.parts):
        numbers = [bar[i] for bar in panel.bars]
        if any(numbers):
            places = range(len(numbers))
            axes.barh(places, numbers, left=lefts, color=COLOURS[part], label=words[part])
        lefts = [left + number for left, number in zip(lefts, numbers, strict=True)]
    axes.set_xlim(0, 1.6 * max(max(lefts), 1))  # room for words at the end of the longest bar
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(left=False)
    axes.set_title(words[panel.what], fontsize=style.TEXT)
    axes.legend(fontsize=style.SMALL, loc="upper center", bbox_to_anchor=(0.5, 0), frameon=False)


def _write(axes: "Axes", panel: _Panel, letters: float, language: str, of_whole: bool) -> None:
    """What each bar comes to, at its end, with its share of the whole or its largest part's."""
    totals = [sum(bar) for bar in panel.bars]
    for at, (bar, total) in enumerate(zip(panel.bars, totals, strict=True)):
        if not total:
            continue
        amount = (style.size if panel.what == "memory" else style.count)(total, language)
        weight = "bold" if total == max(totals) else "normal"
        options: dict[str, Any] = {"xy": (total, at), "textcoords": "offset points"}
        options["fontsize"] = letters
        if of_whole:
            if total > LARGE * sum(totals):
                amount += f", {style.share(total / sum(totals), language)}"
            axes.annotate(amount, xytext=(5, 0), va="center", fontweight=weight, **options)
        else:
            largest = bar.index(max(bar))
            share = style.share(bar[largest] / total, language)
            colour = COLOURS[panel.parts[largest]]
            axes.annotate(amount, xytext=(5, 2), va="bottom", fontweight=weight, **options)
            axes.annotate(share, xytext=(5, -2), va="top", color=colour, **options)
