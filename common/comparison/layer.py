"""One layer, parameter or loss alone: both sides' numbers at the worst places, and what went wrong.

The layer is computed again on paper, in float64, from what each backend itself recorded before it.
So it shows which backend is right, whatever came before.
"""

import itertools
import math
import operator
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from scipy.special import log_softmax, softmax

from common.backends.registry import BACKENDS
from common.comparison import dropout
from common.comparison.diagnosis import (
    AXES,
    OF_IMAGES,
    OF_VALUES,
    PARAMETER_AXES,
    ROUNDING,
    Array,
    Fit,
    Function,
    Mistake,
    explain,
    listed,
    one_of,
)
from common.comparison.job import Job, Recording, below
from common.comparison.levels import Comparison, Level, changes, layer_names
from common.comparison.measures import largest_difference, norm_difference
from common.comparison.mistakes import (
    NO_RELU,
    WEIGHT_AXES,
    OnPaper,
    explain_shape,
    layer_on_paper,
    rearranged,
    relu,
)
from common.comparison.tables import shape_text
from common.errors import NinError
from common.network import architecture
from common.network.description import Network

WORST = 5  # places shown
ON_PAPER = "on paper"
NO_MISTAKE = "no known mistake gives this"
SAME = ("pool", "dropout")  # layers that do not tell whether a ReLU comes before or behind them
AS_PIXEL = "its shape"  # the step from a map to one of a pixel
STEPS: Sequence[str] = ("step",)
# where a name alone is looked for
SEARCHED = ("activations", "gradients", "parameters", "training")


@dataclass
class Place:
    """A single number, as each backend has it."""

    where: str
    values: dict[str, float]
    """Backend -> number; and ``on paper`` where the layer can be computed."""


@dataclass
class LayerView:
    """One layer alone."""

    level: str
    name: str
    dtype: str
    statistics: dict[str, dict[str, str]]
    """Backend -> shape, smallest, largest, mean, standard deviation, share of zeros."""
    differences: dict[str, str]
    """Pair of backends -> how much they differ, and where."""
    worst: list[Place] = field(default_factory=list)
    """Where they differ most, the worst first."""
    findings: dict[str, str] = field(default_factory=dict)
    """Backend -> whether it is right, and the mistake that gives its numbers."""
    mistakes: dict[str, str] = field(default_factory=dict)
    """Of these, the mistakes that have a name: backend -> mistake."""


def levels_for(name: str) -> tuple[str, ...]:
    """The levels to record for a look at ``block2.conv1``, ``block2.conv1.weight``, ``loss``."""
    level = name.rpartition("/")[0]
    if level == "training":
        return ("activations", "training")
    if level in ("", "activations") and name.rpartition(".")[2] not in ("weight", "bias", "loss"):
        return ("activations",)
    return ("parameters", "activations", "gradients")


def look(
    comparison: Comparison,
    recordings: Sequence[Recording],
    job: Job,
    material: Mapping[str, Array],
    name: str | None = None,
) -> LayerView | None:
    """One layer of compared recordings alone; None if there is nothing to look at.

    The recordings are of one or two precisions; ``name`` is ``block2.conv1``, ``gradients/loss``
    ..., or the first that deviates.

    Raises:
        NinError: if fewer than two backends gave anything of that name.
    """
    if name is not None:
        given = {each: {n for r in recordings for n in r.group(each)} for each in SEARCHED}
        place = _find(name, given)
        if place is None:
            raise NinError(f"`layer={name}`: no backend gives it")
        level, inside = place
        found = next((x for x in comparison.levels if x.name == level), None)
        dtype = found.dtype if found and found.first == inside else ""
        view = look_at(level, inside, _one_of_each(dtype, recordings), job, material)
        if view is None:
            raise NinError(f"`layer={name}`: only one backend gives it, so nothing is compared")
        return view
    deviation = comparison.deviation
    if deviation is None:
        return None
    first = str(deviation.first)
    if deviation.name == "shapes":
        numbers = next((x for x in comparison.levels if x.name == "activations" and x.first), None)
        if numbers is None:
            return _look_at_shapes(deviation, recordings, job)
        # by its numbers, if they deviate too
        deviation, first = numbers, str(numbers.first)
    if deviation.name == "dropout":
        return _look_at_dropout(deviation, job)
    inside = "losses" if first.startswith("step ") else first
    view = look_at(deviation.name, inside, _one_of_each(deviation.dtype, recordings), job, material)
    last = comparison.levels[-1]
    if view and deviation.name == "training" and (last.name, last.status) == ("dropout", "deviate"):
        # a wrong dropout shows in the training first, and its own level counts the units
        for backend, mistake in _look_at_dropout(last, job).mistakes.items():
            findings = [view.findings.get(backend), mistake]
            view.findings[backend] = "; ".join(filter(None, findings))
            view.mistakes.setdefault(backend, mistake)
    return view


def check_name(name: str, network: Network) -> None:
    """Raise :class:`NinError` if a network has no layer, parameter or loss of this name."""
    layers = layer_names(network)
    parameters = list(architecture.parameter_shapes(network=network))
    known = {
        "activations": layers,
        "gradients": ["loss", *parameters],
        "parameters": parameters,
        "training": ["losses", *parameters],
    }
    if _find(name, known) is None:
        raise NinError(
            f"`layer={name}`: unknown; take one of {', '.join(layers)}, a parameter such as "
            f"{parameters[0]} (its gradient), loss, or LEVEL/NAME such as training/losses"
        )


def _find(name: str, known: Mapping[str, Collection[str]]) -> tuple[str, str] | None:
    """Level and name of what a person asks for, if it is among the known names of its level."""
    level, _, inside = name.rpartition("/")
    levels = [level] if level else SEARCHED
    return next(((each, inside) for each in levels if inside in known.get(each, ())), None)


def _one_of_each(dtype: str, recordings: Sequence[Recording]) -> list[Recording]:
    """One recording of each backend, in a precision if there is one."""
    found: dict[str, Recording] = {}
    for recording in recordings:
        if recording.name not in found or recording.dtype == dtype:
            found[recording.name] = recording
    return list(found.values())


def _look_at_shapes(level: Level, recordings: Sequence[Recording], job: Job) -> LayerView:
    """A layer whose shape deviates, by its shapes."""
    name, every = str(level.first), architecture.layers(network=job.description)
    layers = [layer for layer in every if layer.name.partition(".")[0] == name]
    view = LayerView("shapes", name, "", {}, {})
    rows = [row for table in level.tables for row in table.rows if row.name == name]
    widths = {"shape": job.resize, "oblong": job.oblong_width}
    if len(rows) == 1:  # this network takes no oblong image
        del widths["oblong"]
    for recording in _one_of_each("", recordings):
        walk = {layer["name"]: layer for layer in recording.shapes or ()}
        if name not in walk or not layers:
            continue
        shapes = {key: tuple(walk[name].get(key) or ()) for key in widths}
        view.statistics[recording.name] = {key: shape_text(x) for key, x in shapes.items()}
        if not any(recording.name in row.deviating for row in rows):
            view.findings[recording.name] = f"as {ON_PAPER}"
            continue
        before = list(walk)[: list(walk).index(name)]
        sizes = [(job.resize, width) for width in widths.values()]
        if before:
            sizes = [tuple(walk[before[-1]].get(key, ())[2:]) for key in widths]
        mistake = explain_shape(layers[0], sizes, [x[2:] for x in shapes.values()])
        _blame(view, recording.name, f"not as {ON_PAPER}", mistake)
    return view


def _look_at_dropout(level: Level, job: Job) -> LayerView:
    """The properties of each backend's dropout, and the mistake that they show."""
    rows, where = level.tables[0].rows, dropout.site(job.description)
    assert where is not None  # it was counted there
    view = LayerView("dropout", str(level.first), "", {}, {})
    for backend in [column for column in rows[0].cells if column != ON_PAPER]:
        found = {row.name: row.cells[backend] for row in rows if row.cells[backend]}
        view.statistics[backend] = found
        if any(backend in row.deviating for row in rows):
            _blame(view, backend, f"not as {ON_PAPER}", dropout.explain(found, where))
        else:
            view.findings[backend] = f"as {ON_PAPER}"
    return view


def _blame(
    view: LayerView, backend: str, what: str, mistake: str | None, otherwise: str = NO_MISTAKE
) -> None:
    view.findings[backend] = f"{what}: {mistake or otherwise}"
    if mistake:
        view.mistakes[backend] = mistake


def look_at(
    level: str, name: str, recordings: Sequence[Recording], job: Job, material: Mapping[str, Array]
) -> LayerView | None:
    """As :func:`look`, from recordings of one precision; None if fewer than two have it."""
    have = [recording for recording in recordings if name in recording.group(level)]
    if len(have) < 2:
        return None
    outputs = {r.name: np.asarray(r.group(level)[name], np.float64) for r in have}
    # what was computed in float32 decides how far rounding goes
    dtype = "float32" if any(r.dtype == "float32" for r in have) else "float64"
    axes: Sequence[str] = AXES if level == "activations" else PARAMETER_AXES
    if level == "training":
        before = material.get(f"weights/{name}", np.zeros(()))
        outputs = {backend: after - before for backend, after in outputs.items()}
        axes = STEPS if name == "losses" else PARAMETER_AXES
    view = LayerView(
        level,
        name,
        dtype,
        {backend: _statistics(output) for backend, output in outputs.items()},
        {
            f"{one} - {other}": _difference(outputs[one], outputs[other], dtype, axes)
            for one, other in itertools.combinations(outputs, 2)
        },
    )
    papers: dict[str, Array] = {}
    for recording in have:
        paper, mistake = _on_paper(level, name, recording, job, material)
        if paper is not None:
            _judge(view, recording.name, ON_PAPER, paper, outputs[recording.name], mistake)
            papers[recording.name] = paper
        elif mistake:
            view.findings[recording.name] = mistake
    weights = below("weights", material)
    learned = _judge_training(view, have, weights) if level == "training" else {}
    every = len(papers) == len(outputs)
    if not view.mistakes and not every:
        _beside_each_other(view, outputs, axes, job, learned, papers)
    view.worst = _worst(outputs, papers[have[-1].name] if every else None, axes)
    return view


def _judge(
    view: LayerView,
    backend: str,
    beside: str,
    right: Array,
    wrong: Array,
    mistake: str | None,
    otherwise: str = NO_MISTAKE,
) -> None:
    """Say whether a backend is right, and if not, which mistake it is, or what else is known."""
    apart = largest_difference(right, wrong)
    if apart.within(ROUNDING[view.dtype]):
        view.findings[backend] = f"as {beside}, to {apart.relative:.0e}"
        return
    size = apart.problem or f"{apart.relative:.1e} of the largest value apart"
    _blame(view, backend, f"not as {beside} ({size})", mistake, otherwise)


def _judge_training(
    view: LayerView, recordings: Sequence[Recording], weights: Mapping[str, Array]
) -> dict[tuple[str, str], str]:
    """What the weights before and after show: no other step can be computed on paper.

    Returns two backends -> how what the second has learned differs.
    """
    moved = {each.name: changes(each.group("training"), weights) for each in recordings}
    mistakes = {
        backend: "no weight has changed: nothing is learned"
        for backend, change in moved.items()
        if change and not any(part.any() for part in change.values())
    }
    limit = ROUNDING[view.dtype]
    first = [recording.group("training")["losses"][:1] for recording in recordings]
    deviate = not all(largest_difference(first[0], other).within(limit) for other in first)
    for recording in recordings if deviate else ():
        again = recording.group("again").get("losses", np.zeros(1))
        # six digits show such a difference
        least = max(limit, 1e-5) * np.abs(again).max()
        steps = np.diff(again)
        if (steps > least).any() and (steps < -least).any():
            mistakes[recording.name] = (
                "units are dropped though nin(dropout=0) was asked for, or images changed at "
                "random: one batch had with the same weights the losses "
                + ", ".join(f"{loss:.6g}" for loss in again)
            )
    view.mistakes |= mistakes
    view.findings |= mistakes
    learned = {}
    for one, other in itertools.permutations(moved.keys() - mistakes.keys(), 2):
        names = [name for name, part in moved[one].items() if name in moved[other] and part.any()]
        apart = {}
        for name in names:
            share = norm_difference(moved[one][name], moved[other][name]).relative
            apart[name] = math.inf if share is None else share
        sizes = [np.linalg.norm([np.linalg.norm(moved[x][n]) for n in names]) for x in (one, other)]
        most = max(names, key=apart.__getitem__, default="")
        if not names or apart[most] <= max(limit, 1e-6):
            where = "it is the loss alone" if deviate else "look at the other batches"
            text = f"what a step on the first batch changes is the same: {where}" if names else ""
        elif deviate:
            text = "they differ before anything is learned: look at the levels before"
        elif 0.01 < abs(sizes[1] / sizes[0] - 1) < math.inf:
            text = f"what a step changes is on the whole {sizes[1] / sizes[0]:.4g} times as large"
        elif moved[other][most].any():
            text = f"what a step changes differs most in {most}"
        else:
            text = f"a step does not change {most}"
        learned[one, other] = text
    return learned


def _beside_each_other(
    view: LayerView,
    outputs: Mapping[str, Array],
    axes: Sequence[str],
    job: Job,
    learned: Mapping[tuple[str, str], str],
    papers: Mapping[str, Array],
) -> None:
    """What cannot be computed on paper: beside the one that is right there, or most agree with."""
    limit = ROUNDING[view.dtype]

    def trust(name: str) -> tuple[bool, int, bool]:
        right = name in papers and largest_difference(papers[name], outputs[name]).within(limit)
        alike = sum(largest_difference(outputs[name], x).within(limit) for x in outputs.values())
        # of two that differ, it is rather not one of this project's that is wrong
        return right, alike, name in BACKENDS

    reference = max(outputs, key=trust)
    right = outputs[reference]
    factors = {}
    if view.level != "activations":
        factors = {
            "the sum over the batch, not the mean": float(job.batch_size),
            "divided by the batch size once more": 1 / job.batch_size,
            "the sign is wrong": -1.0,
        }
    for backend, wrong in outputs.items():
        if backend != reference and backend not in papers:
            reason = view.findings.get(backend) or learned.get((reference, backend))
            orders = one_of(_other_orders(right, wrong))
            mistake = explain(right, wrong, view.dtype, None, (), [orders], factors, axes)
            if view.level == "training" and not wrong.any():
                mistake = "a step does not change it"
            _judge(view, backend, reference, right, wrong, mistake, reason or NO_MISTAKE)


def _on_paper(
    level: str, name: str, recording: Recording, job: Job, material: Mapping[str, Array]
) -> tuple[Array | None, str | None]:
    """What a backend should have given, and the mistake that gives what it gave instead.

    None and why it cannot be computed, if it could be of another backend.
    """
    wrong, dtype = recording.group(level)[name], recording.dtype
    weights = below("weights", material)
    if level == "activations":
        return _activation_on_paper(name, recording, job, material)
    if level == "parameters" and name in weights:
        right = np.asarray(weights[name], np.float64)
        orders = one_of(_other_orders(right, wrong))
        return right, explain(right, wrong, dtype, fits=[orders], axes=PARAMETER_AXES)
    activations = recording.group("activations")
    logits = activations.get(layer_names(job.description)[-2], activations.get("logits"))
    if (level, name) != ("gradients", "loss") or logits is None or logits.ndim != 2:
        return None, None
    logits, labels = np.asarray(logits, np.float64), material["labels"][: len(logits)]
    right = np.asarray(_cross_entropy(logits, labels))
    return right, explain(right, wrong, dtype, fits=[one_of(_wrong_losses(logits, labels))])


def _activation_on_paper(
    name: str, recording: Recording, job: Job, material: Mapping[str, Array]
) -> tuple[Array | None, str | None]:
    given = recording.group("activations")
    path = _path_to(name, given, job, material)
    if not isinstance(path, tuple):
        return None, path
    begin, steps, right = path
    wrong, layer = np.asarray(given[name]), steps[name]
    shape = wrong.shape
    if name.startswith("dense"):  # a convolution of a map of one pixel
        wrong = _as_pixel(wrong)
    left_out = [each for each in steps if each not in (AS_PIXEL, name)]
    where = f"in {' or '.join(left_out)}, not given" if left_out else ""
    mistakes: Iterable[Mistake] = _mistakes(steps)
    if name == layer_names(job.description)[1] and not where:  # a file may prepare its images
        where = "in its input"
        prepared: list[Mistake] = [
            (f"{where}: {text}", partial(_one_by_one, [change, layer.compute]))
            for text, change in OF_IMAGES.items()
        ]
        mistakes = itertools.chain(mistakes, prepared)
    fits = itertools.chain(_named(where, layer.input_fits if where else ()), layer.fits)
    mistake = explain(right, wrong, recording.dtype, begin, mistakes, fits, layer.factors)
    if mistake == NO_RELU and _next_had_the_relu(name, recording, job, material):
        mistake = (
            "given before its ReLU, which the next layer's input has had: activations() has to "
            "return what comes after it"
        )
    return right.reshape(shape) if right.shape == wrong.shape else right, mistake


def _path_to(
    name: str, given: Mapping[str, Array], job: Job, material: Mapping[str, Array]
) -> tuple[Array, dict[str, OnPaper], Array] | str | None:
    """The last output before a layer that is given, the steps from there, and what they give.

    The steps between are layers without weights; else it is said why it cannot be computed.
    """
    known = layer_names(job.description)
    if name not in known:
        return None
    first = place = known.index(name)
    while first and not (
        known[first - 1] in given or known[first - 1].startswith(dropout.WITH_WEIGHTS)
    ):
        first -= 1
    begin = given.get(known[first - 1]) if first else material["images"][: job.batch_size]
    if begin is None:
        return f"not computed {ON_PAPER}: {known[first - 1]} before it is not given"
    begin, shape = np.asarray(begin, np.float64), given[name].shape
    network = job.description
    dense = architecture.dense_layers(job.resize, network=network)
    layers = {layer.name: layer for layer in [*architecture.layers(network=network), *dense]}
    wanted = dict.fromkeys(known[first:place], _input_shape(layers.get(name), begin, shape))
    wanted[name] = (shape[0], math.prod(shape[1:]), 1, 1) if name.startswith("dense") else shape
    steps: dict[str, OnPaper] = {}
    output = begin
    try:
        for each in known[first : place + 1]:
            if each.startswith("dense"):
                steps[AS_PIXEL], output = OnPaper(_as_pixel), _as_pixel(output)
            source = output
            steps[each] = layer_on_paper(
                each, layers, below("weights", material), job.resize, source, wanted[each]
            )
            output = steps[each].compute(source)
    except ValueError:  # the input is of another shape than the layer takes
        return None
    return begin, steps, output


def _next_had_the_relu(
    name: str, recording: Recording, job: Job, material: Mapping[str, Array]
) -> bool:
    """Whether the next layer that is given was computed from this one's output after a ReLU."""
    given = recording.group("activations")
    known = layer_names(job.description)
    later = known[known.index(name) + 1 :]
    # a maximum is the same before a ReLU and behind it: only what adds up tells
    after = next((each for each in later if each in given and not each.startswith(SAME)), None)
    if after is None:
        return False
    given = {each: x for each, x in given.items() if each not in later[: later.index(after)]}
    path = _path_to(after, {**given, name: relu(given[name])}, job, material)
    if not isinstance(path, tuple):
        return False
    found = [given[after]]
    if ".conv" in after:  # it may be given before its own ReLU too
        found.append(relu(given[after]))
    limit = ROUNDING[recording.dtype]
    return any(largest_difference(path[-1].ravel(), x.ravel()).within(limit) for x in found)


def _mistakes(steps: Mapping[str, OnPaper]) -> Iterator[Mistake]:
    """Those of the last step, then of those before it; from the first one's input to its output."""
    names = list(steps)
    compute: list[Function] = [step.compute for step in steps.values()]
    *before, last = range(len(names))
    for at in [last, *before]:
        step, where = steps[names[at]], ""
        mistakes: list[Mistake] = [*step.mistakes]
        if at != last:
            where = f"in {names[at]}, not given: "
            of_values: dict[str, Function] = {
                text: partial(operator.mul, factor) for text, factor in step.factors.items()
            }
            of_values |= OF_VALUES | (OF_IMAGES if names[at] == "input" else {})
            for text, change in of_values.items():
                mistakes.append((text, partial(_one_by_one, [step.compute, change])))
        for text, function in mistakes:
            whole = [*compute[:at], function, *compute[at + 1 :]]
            yield where + text, partial(_one_by_one, whole)


def _named(where: str, fits: Iterable[Fit]) -> Iterator[Fit]:
    """Fits whose names say first where they look."""

    def named(fit: Fit) -> Fit:
        return lambda wrong, judge: (text := fit(wrong, judge)) and f"{where}: {text}"

    return map(named, fits)


def _one_by_one(functions: Sequence[Function], x: Array) -> Array:
    for function in functions:
        x = function(x)
    return x


def _as_pixel(x: Array) -> Array:
    return x.reshape(len(x), -1, 1, 1)


def _input_shape(
    layer: architecture.Layer | None, source: Array, output: tuple[int, ...]
) -> tuple[int, ...]:
    """Of a convolution, from that of its output; else the output's."""
    if layer is None:
        return output
    reach = layer.kernel_size - 2 * layer.padding
    return (*source.shape[:2], *((n - 1) * layer.stride + reach for n in output[2:]))


def _other_orders(right: Array, wrong: Array) -> Iterator[tuple[str, Array]]:
    """The numbers of a parameter in other orders."""
    if right.ndim == 4:
        for order in itertools.permutations(range(4)) if wrong.shape != right.shape else ():
            axes = ", ".join(WEIGHT_AXES[i] for i in order)
            yield f"the axes are in the order ({axes})", right.transpose(order)
        yield from rearranged(right)


def _wrong_losses(logits: Array, labels: Array) -> Iterator[tuple[str, Array]]:
    right, classes = _cross_entropy(logits, labels), logits.shape[1]
    each = [_cross_entropy(logits[i : i + 1], labels[i : i + 1]) for i in range(len(labels))]
    for text, loss in {
        "the sum over the batch, not the mean": right * len(labels),
        "one for each image, not their mean": each,
        "in bits, not nats": right / np.log(2),
        "softmax is applied before it, twice in all": _cross_entropy(softmax(logits, 1), labels),
        "the labels are one too large": _cross_entropy(logits, (labels + 1) % classes),
        "the labels are one too small": _cross_entropy(logits, (labels - 1) % classes),
        "the labels are those of the images in reverse order": _cross_entropy(logits, labels[::-1]),
        "its sign is wrong": -right,
        "divided by the number of classes too": right / classes,
    }.items():
        yield text, np.asarray(loss)


def _cross_entropy(logits: Array, labels: Array) -> float:
    """Mean, in nats."""
    return float(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())


# ----------------------------------------------------------------- what is printed


def _statistics(x: Array) -> dict[str, str]:
    finite = x[np.isfinite(x)]
    figures = {"shape": shape_text(x.shape)}
    if finite.size < x.size:
        figures["not finite"] = f"{x.size - finite.size:,}"
    if finite.size:
        figures |= {
            "smallest": f"{finite.min() + 0.0:.4g}",
            "largest": f"{finite.max():.4g}",
            "mean": f"{finite.mean():.4g}",
            "deviation": f"{finite.std():.4g}",
            "zeros": f"{(finite == 0).mean():.0%}",
        }
    return figures


def _difference(a: Array, b: Array, dtype: str, axes: Sequence[str]) -> str:
    apart = largest_difference(a, b)
    if apart.relative is None:
        return apart.problem
    far = np.abs(a - b) > ROUNDING[dtype] * max(np.abs(a).max(), np.abs(b).max())
    text = f"largest {apart.absolute:.1e}, {apart.relative:.1e} of the largest value"
    if not far.any():
        return f"{text}: rounding"
    text += f"; {far.sum():,} of {far.size:,} values differ"
    if far.ndim < 2 and far.size == 1:
        return text
    where = []
    for axis, what in zip(range(far.ndim), axes, strict=False):
        rest = tuple(i for i in range(far.ndim) if i != axis)
        places = np.flatnonzero(far.any(rest))
        if len(places) < far.shape[axis]:
            where.append(f"{listed(places, what)} of {far.shape[axis]}")
    return f"{text}, in {', '.join(where)}" if where else f"{text}, everywhere"


def _worst(outputs: Mapping[str, Array], right: Array | None, axes: Sequence[str]) -> list[Place]:
    """Where two backends differ most, each place in another channel if there are several."""
    shown = dict(outputs)
    if right is not None:
        shown[ON_PAPER] = right
    first = next(iter(outputs.values()))
    same = {backend: x for backend, x in shown.items() if x.shape == first.shape}
    if len(same.keys() & outputs.keys()) < 2 or not first.size:
        return []
    arrays = np.stack(list(same.values()))
    spread = np.nan_to_num(arrays.max(0) - arrays.min(0), nan=np.inf)
    places = []
    for flat in np.argsort(spread, axis=None)[::-1][:WORST]:
        place = np.unravel_index(int(flat), spread.shape)
        if not spread[place]:
            break
        named = [listed([int(i)], axis) for axis, i in zip(axes, place, strict=False)]
        where = ", ".join(named) or "the value"
        places.append(Place(where, {backend: float(x[place]) + 0.0 for backend, x in same.items()}))
    return places
