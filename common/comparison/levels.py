"""Whether recordings of several backends are of one network: level by level, layer by layer.

Pure arithmetic on arrays that :mod:`common.comparison.worker` recorded. The tolerances:

A float32 number is off by up to 6e-8 of its size, and so is each sum or product. The longest sums
here have 3,456 products (block4), and the rounding of n of them in another order grows like the
root of n: about 4e-6 in the worst layer, less where sums are blocked, as all frameworks do. Twelve
convolutions in a row were measured at 1e-6 to 7e-6. So 1e-5 is the limit for outputs and
gradients, and any mistake of a port is far above it: even a bias dropped from one channel is 1e-3
or more. In float64 the same rounding is near 1e-15, and 1e-9 leaves a mistake nowhere to hide:
what agrees to 1e-5 in float32 and to 1e-9 in float64 differs by rounding only.

The losses of a training agree to 1e-6 at first, and less from step to step, because now and then
rounding decides whether a ReLU is on: 50 steps stay within 1e-4 from the weights of
:mod:`common.comparison.material`.

Each difference is relative to the largest value of its layer (its largest logit, for logits), and
for gradients it is ``norm(a - b) / norm(a)``: a single number near 0, where all of it is
cancellation, says nothing about a layer.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from common.comparison.job import LEVELS, PASS_STEPS, Job, Recording
from common.errors import NinError
from common.network import architecture


class Tolerances(NamedTuple):
    """The largest relative differences that still are agreement."""

    outputs: float
    """Of a layer, relative to its largest value."""
    gradients: float
    """Of a parameter's gradient, in relative L2 norm; of the loss."""
    losses: float
    """Of the loss at any step of the training."""
    updates: float
    """Of what the training changed in a parameter, in relative L2 norm. In float32 the changes are
    as small as a few units in a weight's last place, so that a hundredth of them is rounding."""


TOLERANCES = {
    "float32": Tolerances(outputs=1e-5, gradients=1e-5, losses=1e-4, updates=1e-1),
    "float64": Tolerances(outputs=1e-9, gradients=1e-9, losses=1e-9, updates=1e-7),
}

# The training counts as learning when the last pass's mean loss is below this part of the first's.
# The batches are the same ones again, so that nothing but learning lowers it.
LEARNED = 0.999
# A loss this close to ln(classes), in nats, is that of a network that answers nothing.
DEAD_LOSS = 1e-4

# Mistakes of porting that no comparison of numbers can show in this network, and why.
INVISIBLE = {
    "an extra ReLU": "every layer's output, and every pixel, is 0 or more already",
    "flattened as NHWC where NCHW is meant": "flatten comes after global pooling, where height "
    "and width are 1: both orders are the same",
    "'same' padding for the numbers 2 and 1": "at stride 1 and odd windows they are the same",
    "pooling that rounds up, at 67 or 68 pixels": "every window fits exactly there; the oblong "
    "image of the shapes level shows it at any size",
}


@dataclass(frozen=True)
class Difference:
    """How far two arrays are apart."""

    absolute: float | None
    """The largest difference of two values; None if it is no finite number."""
    relative: float | None
    """On the scale that the level states; None if the arrays cannot be compared."""
    problem: str = ""
    """Why they cannot be compared."""

    def within(self, tolerance: float) -> bool:
        """Whether this counts as agreement; what cannot be compared never does."""
        return self.relative is not None and self.relative <= tolerance

    def __str__(self) -> str:
        """For a table: absolute and relative."""
        if self.relative is None:
            return self.problem
        absolute = "overflow" if self.absolute is None else f"{self.absolute:.1e}"
        return f"{absolute} / {self.relative:.1e}"


Measure = Callable[[np.ndarray, np.ndarray], Difference]


def largest_difference(a: np.ndarray, b: np.ndarray) -> Difference:
    """The largest difference of two values, also relative to the largest value in both arrays."""
    return _difference(a, b, lambda x: float(np.abs(x).max()))


def norm_difference(a: np.ndarray, b: np.ndarray) -> Difference:
    """The largest difference of two values, and ``norm(a - b)`` relative to the larger norm."""
    return _difference(a, b, lambda x: float(np.linalg.norm(x.ravel())))


def _difference(a: np.ndarray, b: np.ndarray, size: Callable[[np.ndarray], float]) -> Difference:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        return Difference(None, None, f"shapes {a.shape} and {b.shape}")
    if not a.size:
        return Difference(None, None, "empty")
    lost = max(int((~np.isfinite(a)).sum()), int((~np.isfinite(b)).sum()))
    if lost:
        return Difference(None, None, f"{lost} of {a.size} not finite")
    # brought to size 1 first: no square overflows or vanishes
    largest = max(float(np.abs(a).max()), float(np.abs(b).max()))
    if largest == 0:
        return Difference(0.0, 0.0)
    with np.errstate(over="ignore"):
        apart = a - b
    scale = max(size(a / largest), size(b / largest))
    if not np.isfinite(apart).all():
        return Difference(None, size(a / largest - b / largest) / scale)
    return Difference(float(np.abs(apart).max()), size(apart / largest) / scale)


@dataclass
class Row:
    """One layer, parameter or step."""

    name: str
    cells: dict[str, str]
    """Column -> what to print."""
    deviating: list[str] = field(default_factory=list)
    """The columns in which this row deviates."""
    values: dict[str, Any] = field(default_factory=dict)
    """Column -> the figures, for machines."""


@dataclass
class Table:
    """Rows with the same columns."""

    title: str
    rows: list[Row]

    @property
    def columns(self) -> list[str]:
        """The columns' names."""
        return list(self.rows[0].cells) if self.rows else []


@dataclass
class Level:
    """What one level of the comparison found."""

    name: str
    status: str
    """``agree``, ``deviate``, ``failed``, ``refused`` or ``not compared``."""
    tolerance: str
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was not compared, what failed, why agreement is refused; one line each."""
    first: str | None = None
    """The first row that deviates."""
    between: list[str] = field(default_factory=list)
    """The backends, or pairs of them, that deviate there."""


@dataclass
class Report:
    """The whole comparison."""

    job: dict[str, Any]
    backends: dict[str, dict[str, Any]]
    """Name -> versions, device and the rest that it says about itself."""
    levels: list[Level]
    lost: dict[str, str]
    """Backend that gave no recording -> why."""
    losses: dict[str, list[float | None]]
    """Backend -> loss of each training step; None where it is not finite."""

    @property
    def deviation(self) -> Level | None:
        """The first level that deviates."""
        return next((level for level in self.levels if level.status == "deviate"), None)

    @property
    def exit_status(self) -> int:
        """0 all that was compared agrees, 1 something deviates, 2 not everything could run."""
        states = {level.status for level in self.levels}
        if self.lost:
            return 2
        if self.deviation:
            return 1
        return 2 if states & {"failed", "refused"} or "agree" not in states else 0

    @property
    def verdict(self) -> str:
        """The outcome in one sentence."""
        if self.deviation:
            between = "; ".join(self.deviation.between)
            return f"first deviation: {self.deviation.name}, {self.deviation.first} ({between})"
        agreeing = [level.name for level in self.levels if level.status == "agree"]
        others = [f"{x.name}: {x.status}" for x in self.levels if x.status != "agree"]
        if not agreeing:
            return "; ".join(["nothing could be compared", *others])
        return "; ".join([f"{', '.join(self.backends)} agree in {', '.join(agreeing)}", *others])

    def check_ran(self) -> None:
        """Raise :class:`NinError` if there are not two backends to compare."""
        if len(self.backends) < 2:
            lost = "; ".join(f"{name}: {reason}" for name, reason in self.lost.items())
            raise NinError(f"fewer than two backends ran ({lost})")

    def show(self) -> None:
        """Print the tables and the verdict."""
        from common.comparison import report  # draws, and knows this class

        report.show(self)

    def __repr__(self) -> str:
        """The verdict: all else is long, and ``show()`` prints it."""
        return f"<Report: {self.verdict}>"

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        deviation = self.deviation
        return {
            "exit_status": self.exit_status,
            "verdict": self.verdict,
            "first_deviation": deviation
            and {"level": deviation.name, "layer": deviation.first, "between": deviation.between},
            "tolerances": TOLERANCES[self.job["dtype"]]._asdict(),
            "invisible_mistakes": INVISIBLE,
            **dataclasses.asdict(self),
        }


def compare(
    recordings: Sequence[Recording],
    job: Job,
    weights: Mapping[str, np.ndarray],
    lost: Mapping[str, str] | None = None,
) -> Report:
    """Compare recordings of the same job, each with each.

    Args:
        recordings: of at least one backend; levels need two.
        job: what they recorded.
        weights: that they were given.
        lost: backend -> why there is no recording of it.
    """
    compare_level: dict[str, Callable[[Level, Sequence[Recording], Job], None]] = {
        "shapes": _shapes,
        "parameters": lambda level, have, job: _parameters(level, have, weights),
        "activations": _activations,
        "gradients": _gradients,
        "training": lambda level, have, job: _training(level, have, job, weights),
    }
    levels = []
    for name in LEVELS:
        if name not in job.levels:
            continue
        level = Level(name, "agree", _tolerance_text(name, job.dtype))
        have = [recording for recording in recordings if recording.has(name)]
        for recording in recordings:
            if name in recording.absent:
                level.notes.append(f"{recording.name} not compared: {recording.absent[name]}")
            if name in recording.failed:
                level.notes.append(f"{recording.name} failed: {recording.failed[name]}")
        if len(have) >= 2:
            compare_level[name](level, have, job)
        _conclude(level, have, recordings)
        levels.append(level)
    return Report(
        job=dataclasses.asdict(job),
        backends={recording.name: recording.about for recording in recordings},
        levels=levels,
        lost=dict(lost or {}),
        losses={
            recording.name: [
                float(loss) if math.isfinite(loss) else None
                for loss in recording.group("training")["losses"]
            ]
            for recording in recordings
            if "losses" in recording.group("training")
        },
    )


def _conclude(level: Level, have: Sequence[Recording], all_: Sequence[Recording]) -> None:
    """Set the level's status from its rows."""
    rows = [row for table in level.tables for row in table.rows]
    first = next((row for row in rows if row.deviating), None)
    if first is not None:
        level.status, level.first = "deviate", first.name
        level.between = [f"{column}: {first.cells[column]}" for column in first.deviating]
    elif any(level.name in recording.failed for recording in all_):
        level.status = "failed"
    elif len(have) < 2 or not rows:
        level.status = "not compared"


# ------------------------------------------------------------------ the levels


def _shapes(level: Level, have: Sequence[Recording], job: Job) -> None:
    for key, title, width in (
        ("shape", "the book's names, batch x channels x height x width", job.resize),
        ("oblong", "an oblong image, every pooling window leaves a column over", job.oblong_width),
    ):
        paper = architecture.layer_shapes(job.resize)
        across = architecture.layer_shapes(width)
        rows = []
        for name in paper:
            expected = tuple(paper[name][:3] + across[name][3:])
            row = Row(name, {"on paper": _shape_text(expected)})
            for recording in have:
                found = [layer for layer in recording.shapes or [] if layer["name"] == name]
                shape = found[0].get(key) if len(found) == 1 else None
                text = "missing" if not found else "twice" if len(found) > 1 else "-"
                if shape is not None:
                    text = _shape_text(shape)
                    if key == "shape":
                        text = f"{found[0]['book_name']}  {text}"
                row.cells[recording.name] = text
                row.values[recording.name] = shape
                if shape is None or tuple(shape) != expected:
                    row.deviating.append(recording.name)
            rows.append(row)
        if key == "shape":
            rows += _extra_layers(have, set(paper))
        level.tables.append(Table(title, rows))


def _extra_layers(have: Sequence[Recording], known: set[str]) -> list[Row]:
    rows = []
    for recording in have:
        for layer in recording.shapes or []:
            # a layer without a canonical name is one that only this framework has
            if layer["name"] is not None and layer["name"] not in known:
                row = Row(layer["name"], {"on paper": "missing"}, [recording.name])
                for other in have:
                    same = other is recording
                    row.cells[other.name] = _shape_text(layer["shape"]) if same else "missing"
                rows.append(row)
    return rows


def _parameters(level: Level, have: Sequence[Recording], weights: Mapping[str, np.ndarray]) -> None:
    rows, totals = [], Row("total", {"on paper": f"{sum(w.size for w in weights.values()):,}"})
    names = [*weights]
    names += [n for r in have for n in r.group("parameters") if n not in names]
    shapes = {name: array.shape for name, array in weights.items()}
    # where one parameter has another shape, a backend refuses all of them: the shape is the mistake
    settable = {
        recording.name: {n: a.shape for n, a in recording.group("parameters").items()} == shapes
        for recording in have
    }
    for name in dict.fromkeys(names):
        expected = shapes.get(name)
        row = Row(name, {"on paper": _shape_text(expected) if expected else "missing"})
        for recording in have:
            found = recording.group("parameters").get(name)
            text, good = "missing", False
            if found is not None:
                text, good = _shape_text(found.shape), found.shape == expected
                kept = good and np.array_equal(found, weights[name])
                if good and settable[recording.name] and not kept:
                    text, good = f"{text}  does not keep what it was given", False
            row.cells[recording.name] = text
            row.values[recording.name] = None if found is None else list(found.shape)
            if not good:
                row.deviating.append(recording.name)
        rows.append(row)
    for recording in have:
        count = sum(array.size for array in recording.group("parameters").values())
        totals.cells[recording.name] = f"{count:,}"
        totals.values[recording.name] = count
    level.tables.append(Table("out x in x height x width", [*rows, totals]))


def layer_names() -> list[str]:
    """What the activations level compares, in the order of computation."""
    names = ["input"]
    for name in architecture.layer_shapes(architecture.smallest_input()):
        convolutions = [f"{name}.conv{i}" for i in (1, 2, 3)]
        names += convolutions if name.startswith("block") else [name]
    # what the backend's fast path predicts; the layers before it were computed one by one
    return [*names, "logits"]


def _activations(level: Level, have: Sequence[Recording], job: Job) -> None:
    known = layer_names()
    for recording in have:
        given = recording.group("activations")
        lacking = [name for name in known if name not in given]
        if lacking:
            level.notes.append(f"{recording.name} does not give {', '.join(lacking)}")
        extra = [name for name in given if name not in known]
        if extra:
            level.notes.append(f"{recording.name} also gives {', '.join(extra)}: not compared")
    rows = _rows(have, "activations", known, largest_difference, TOLERANCES[job.dtype].outputs)
    level.tables.append(Table("output of each layer: absolute / relative to its largest", rows))
    if not any(row.name in ("flatten", "logits") for row in rows):
        level.tables.clear()
        level.notes.append("no two backends give logits")
    else:
        _refuse_if(level, _nothing_to_see(have))
        level.notes += _weak_spots(have, job)


def _gradients(level: Level, have: Sequence[Recording], job: Job) -> None:
    # as they are computed: from the loss backwards
    parameters = reversed(list(architecture.parameter_shapes()))
    names = ["loss", *parameters]
    tolerance = TOLERANCES[job.dtype].gradients
    rows = _rows(have, "gradients", names, norm_difference, tolerance, complete=True)
    title = "loss and gradients, from the last layer back: absolute / relative in L2 norm"
    level.tables.append(Table(title, rows))
    slopes = [a for r in have for n, a in r.group("gradients").items() if n != "loss"]
    if slopes and not any(array.any() for array in slopes):
        _refuse_if(level, "every gradient is 0: a dead network agrees with any other")


def _training(
    level: Level, have: Sequence[Recording], job: Job, weights: Mapping[str, np.ndarray]
) -> None:
    rows = []
    losses = {recording.name: recording.group("training")["losses"] for recording in have}
    for step in range(job.steps):
        row = Row(f"step {step + 1}", {})
        for name, values in losses.items():
            row.cells[name] = f"{values[step]:.6f}" if step < len(values) else "missing"
        for one, other in itertools.combinations(losses, 2):
            a, b = losses[one][step : step + 1], losses[other][step : step + 1]
            _add(row, _pair(one, other), largest_difference(a, b), TOLERANCES[job.dtype].losses)
        rows.append(row)
    level.tables.append(Table("loss of each step: absolute / relative", rows))
    for name, values in losses.items():
        _refuse_if(level, _not_learned(name, values))
    first = next(iter(losses.values()))
    before, after = first[:PASS_STEPS].mean(), first[-PASS_STEPS:].mean()
    level.notes.append(f"mean loss of the first pass {before:.4f}, of the last {after:.4f}")

    changes = []
    for recording in have:
        after = {n: a for n, a in recording.group("training").items() if n != "losses"}
        if not after:
            level.notes.append(f"{recording.name} does not give its weights after the training")
            continue
        arrays = {
            f"weights/{n}": a.astype(np.float64) - weights[n]
            for n, a in after.items()
            if n in weights and a.shape == weights[n].shape
        }
        changes.append(Recording(recording.name, arrays=arrays))
    if len(changes) >= 2:
        tolerance = TOLERANCES[job.dtype].updates
        rows = _rows(changes, "weights", list(weights), norm_difference, tolerance, complete=True)
        title = "drift: what training changed in each parameter: absolute / relative in L2 norm"
        level.tables.append(Table(title, rows))


# ------------------------------------------------------------- rows and reasons


def _rows(
    have: Sequence[Recording],
    group: str,
    names: Sequence[str],
    measure: Measure,
    tolerance: float,
    complete: bool = False,
) -> list[Row]:
    """A row per name that two recordings have (or one, when each must be complete)."""
    rows = []
    for name in names:
        given = {r.name: a for r in have if (a := r.group(group).get(name)) is not None}
        if len(given) < (1 if complete else 2):
            continue
        first = next(iter(given.values()))
        row = Row(name, {"shape": _shape_text(first.shape), "largest": _largest_text(first)})
        for one, other in itertools.combinations([recording.name for recording in have], 2):
            if one in given and other in given:
                _add(row, _pair(one, other), measure(given[one], given[other]), tolerance)
            elif complete and (one in given or other in given):
                missing = Difference(None, None, f"missing in {other if one in given else one}")
                _add(row, _pair(one, other), missing, tolerance)
            else:
                row.cells[_pair(one, other)] = "-"
        rows.append(row)
    return rows


def _add(row: Row, column: str, difference: Difference, tolerance: float) -> None:
    row.cells[column] = str(difference)
    row.values[column] = dataclasses.asdict(difference)
    if not difference.within(tolerance):
        row.deviating.append(column)


def _refuse_if(level: Level, problem: str | None) -> None:
    if problem:
        level.status = "refused"
        level.notes.append(f"refused: {problem}")


def _nothing_to_see(have: Sequence[Recording]) -> str | None:
    """Why these activations would agree whatever the code does."""
    for name in layer_names():
        outputs = [a for r in have if (a := r.group("activations").get(name)) is not None]
        if outputs and not any(array.any() for array in outputs):
            return f"{name} is 0 everywhere: a dead network agrees with any other"
        same = name in ("flatten", "logits") and all(
            array.ndim == 2 and (array == array[:1]).all() for array in outputs
        )
        if outputs and same and len(outputs[0]) > 1:
            return f"{name}: the same for every image, so that nothing before it counts"
    return None


def _weak_spots(have: Sequence[Recording], job: Job) -> list[str]:
    """What this comparison sees less of than another would."""
    notes = []
    logits = [a for r in have if (a := r.group("activations").get("flatten")) is not None]
    dead = [int((array == 0).all(axis=0).sum()) for array in logits if array.ndim == 2]
    if any(dead):
        notes.append(f"{max(dead)} of {logits[0].shape[1]} logits are 0 for every image")
    if architecture.layer_shapes(job.resize)["pool3"][2:] == (1, 1):
        notes.append(
            f"at {job.resize} x {job.resize} pixels the last map is 1 x 1, so that global pooling "
            "and the rim of block4.conv1's window do nothing; from 99 x 99 up they are seen too"
        )
    return notes


def _not_learned(name: str, losses: np.ndarray) -> str | None:
    """Why this training would agree whatever the code does."""
    if len(losses) < 2 * PASS_STEPS or not np.isfinite(losses).all():
        return None
    first, last = float(losses[:PASS_STEPS].mean()), float(losses[-PASS_STEPS:].mean())
    at_rest = math.log(architecture.NUM_CLASSES)
    if np.abs(losses[-PASS_STEPS:] - at_rest).max() < DEAD_LOSS:
        return f"{name} ends at the loss of a dead network, ln 10"
    if last > LEARNED * first:
        return f"{name} did not learn: loss {first:.4f} in the first pass, {last:.4f} in the last"
    return None


def _tolerance_text(level: str, dtype: str) -> str:
    limits = TOLERANCES[dtype]
    return {
        "shapes": "equal to the shapes on paper",
        "parameters": "equal to the shapes on paper, and what is set comes back",
        "activations": f"{limits.outputs:.0e} of the layer's largest value",
        "gradients": f"{limits.gradients:.0e} in relative L2 norm; the loss {limits.gradients:.0e}",
        "training": f"losses {limits.losses:.0e}; what was learned {limits.updates:.0e} in L2 norm",
    }[level]


def _pair(one: str, other: str) -> str:
    return f"{one} - {other}"


def _shape_text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "number"


def _largest_text(array: np.ndarray) -> str:
    largest = float(np.abs(array).max()) if array.size else 0.0
    return f"{largest:.2e}"
