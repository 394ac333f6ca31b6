"""Whether recordings of several backends are of one network: level by level, layer by layer.

Pure arithmetic on arrays that :mod:`common.comparison.worker` recorded.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.comparison.job import LEVELS, PASS_STEPS, Job, Recording
from common.comparison.measures import largest_difference, norm_difference
from common.comparison.tables import Row, Table, difference_rows, shape_rows, shape_text
from common.comparison.tolerances import DEAD_LOSS, LEARNED, TOLERANCES
from common.errors import NinError
from common.network import architecture

# Mistakes of porting that no comparison of numbers can show in this network, and why.
INVISIBLE = {
    "an extra ReLU": "every layer's output, and every pixel, is 0 or more already",
    "flattened as NHWC where NCHW is meant": "flatten comes after global pooling, where height "
    "and width are 1: both orders are the same",
    "'same' padding for the numbers 2 and 1": "at stride 1 and odd windows they are the same",
    "pooling that rounds up, at 67 or 68 pixels": "every window fits exactly there; the oblong "
    "image of the shapes level shows it at any size",
}


# The version of what as_json() gives, which report.schema.json describes: raised when a field that
# is described there goes or changes its meaning, not when one is added.
SCHEMA = 1


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
class Comparison:
    """The whole comparison."""

    job: dict[str, Any]
    backends: dict[str, dict[str, Any]]
    """Name -> versions, device and the rest that is known of it."""
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
        return f"<Comparison: {self.verdict}>"

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        deviation = self.deviation
        return {
            "schema": SCHEMA,
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
) -> Comparison:
    """Compare recordings of the same job, each with each.

    Args:
        recordings: of at least one backend; levels need two.
        job: what they recorded.
        weights: that they were given.
        lost: backend -> why there is no recording of it.
    """
    levels = []
    for name in LEVELS:
        if name not in job.levels:
            continue
        level = Level(name, "agree", TOLERANCES[job.dtype].of(name))
        for recording in recordings:
            if name in recording.absent:
                level.notes.append(f"{recording.name} not compared: {recording.absent[name]}")
            if name in recording.failed:
                level.notes.append(f"{recording.name} failed: {recording.failed[name]}")
        have = [recording for recording in recordings if recording.has(name)]
        if len(have) >= 2:
            COMPARE[name](level, have, job, weights)
        rows = [row for table in level.tables for row in table.rows]
        first = next((row for row in rows if row.deviating), None)
        if first is not None:
            level.status, level.first = "deviate", first.name
            level.between = [f"{column}: {first.cells[column]}" for column in first.deviating]
        elif any(name in recording.failed for recording in recordings):
            level.status = "failed"
        elif not rows:
            level.status = "not compared"
        levels.append(level)
    return Comparison(
        job=dataclasses.asdict(job),
        backends={recording.name: recording.about for recording in recordings},
        levels=levels,
        lost=dict(lost or {}),
        losses={
            recording.name: [float(x) if math.isfinite(x) else None for x in losses]
            for recording in recordings
            if (losses := recording.arrays.get("training/losses")) is not None
        },
    )


# ------------------------------------------------------------------ the levels

Have = Sequence[Recording]
Weights = Mapping[str, np.ndarray]


def _shapes(level: Level, have: Have, job: Job, weights: Weights) -> None:
    walks = {recording.name: recording.shapes or [] for recording in have}
    square, wide = (architecture.layer_shapes(size) for size in (job.resize, job.oblong_width))
    rows = shape_rows(walks, square)
    for row in rows:
        for backend, layers in walks.items():
            if row.values[backend] is not None:
                name = next(layer["book_name"] for layer in layers if layer["name"] == row.name)
                row.cells[backend] = f"{name}  {row.cells[backend]}"
    oblong = {name: square[name][:3] + wide[name][3:] for name in square}
    level.tables = [
        Table("the book's names, batch x channels x height x width", rows),
        Table(
            "an oblong image, every pooling window leaves a column over",
            shape_rows(walks, oblong, "oblong"),
        ),
    ]


def _parameters(level: Level, have: Have, job: Job, weights: Weights) -> None:
    given = _arrays(have, "parameters")
    expected = {name: array.shape for name, array in weights.items()}
    shapes = {backend: {n: a.shape for n, a in found.items()} for backend, found in given.items()}
    rows = []
    for name in dict.fromkeys(itertools.chain(weights, *given.values())):
        row = Row(name, {"on paper": shape_text(expected.get(name))})
        for backend, found in given.items():
            shape = shapes[backend].get(name)
            text, good = shape_text(shape), shape == expected.get(name)
            # with one parameter of another shape a backend refuses all: the shape is the mistake
            if name in expected and shapes[backend] == expected:
                good = np.array_equal(found[name], weights[name])
                text += "" if good else "  does not keep what it was given"
            row.add(backend, text, shape, good)
        rows.append(row)
    total = Row("total", {"on paper": f"{sum(array.size for array in weights.values()):,}"})
    for backend, found in given.items():
        count = sum(array.size for array in found.values())
        total.add(backend, f"{count:,}", count, good=True)
    level.tables = [Table("out x in x height x width", [*rows, total])]


def layer_names() -> list[str]:
    """What the activations level compares, in the order of computation."""
    names = [layer.name for layer in architecture.layers()]
    names.insert(names.index("pool3") + 1, "dropout")
    # logits are what the backend's fast path predicts; the layers were computed one by one
    return ["input", *names, "global_pool", "flatten", "logits"]


def _activations(level: Level, have: Have, job: Job, weights: Weights) -> None:
    known, arrays = layer_names(), _arrays(have, "activations")
    for backend, given in arrays.items():
        lacking = [name for name in known if name not in given]
        if lacking:
            level.notes.append(f"{backend} does not give {', '.join(lacking)}")
        extra = [name for name in given if name not in known]
        if extra:
            level.notes.append(f"{backend} also gives {', '.join(extra)}: not compared")
    rows = difference_rows(arrays, known, largest_difference, TOLERANCES[job.dtype].outputs)
    if not any(row.name in ("flatten", "logits") for row in rows):
        level.notes.append("no two backends give logits")
        return
    level.tables = [Table("output of each layer: absolute / relative to its largest", rows)]
    _refuse_if(level, _nothing_to_see(arrays))
    logits = [given["flatten"] for given in arrays.values() if "flatten" in given]
    dead = [int((array == 0).all(axis=0).sum()) for array in logits if array.ndim == 2]
    if any(dead):
        level.notes.append(f"{max(dead)} of {logits[0].shape[1]} logits are 0 for every image")
    if architecture.layer_shapes(job.resize)["pool3"][2:] == (1, 1):
        level.notes.append(
            f"at {job.resize} x {job.resize} pixels the last map is 1 x 1, so that global pooling "
            "and the rim of block4.conv1's window do nothing; from 99 x 99 up they are seen too"
        )


def _gradients(level: Level, have: Have, job: Job, weights: Weights) -> None:
    arrays, limit = _arrays(have, "gradients"), TOLERANCES[job.dtype].gradients
    # as they are computed: from the loss backwards
    names = ["loss", *reversed(architecture.parameter_shapes())]
    rows = difference_rows(arrays, names, norm_difference, limit, complete=True)
    title = "loss and gradients, from the last layer back: absolute / relative in L2 norm"
    level.tables = [Table(title, rows)]
    slopes = [a for given in arrays.values() for name, a in given.items() if name != "loss"]
    if slopes and not any(array.any() for array in slopes):
        _refuse_if(level, "every gradient is 0: a dead network agrees with any other")


def _training(level: Level, have: Have, job: Job, weights: Weights) -> None:
    limits, after = TOLERANCES[job.dtype], _arrays(have, "training")
    losses = {backend: arrays.pop("losses") for backend, arrays in after.items()}
    rows = []
    for step in range(job.steps):
        # none of a backend that has lost a step
        at = {backend: values[step : step + 1] for backend, values in losses.items()}
        texts = {b: f"{loss[0]:.6f}" if loss.size else "missing" for b, loss in at.items()}
        row = Row(f"step {step + 1}", texts)
        for one, other in itertools.combinations(at, 2):
            row.compare((one, other), largest_difference(at[one], at[other]), limits.losses)
        rows.append(row)
    level.tables = [Table("loss of each step: absolute / relative", rows)]
    for backend, values in losses.items():
        _refuse_if(level, _not_learned(backend, values))
    first, last = _ends(next(iter(losses.values())))
    level.notes.append(f"mean loss of the first pass {first:.4f}, of the last {last:.4f}")

    changes = {
        backend: {
            name: array.astype(np.float64) - weights[name]
            for name, array in arrays.items()
            if name in weights and array.shape == weights[name].shape
        }
        for backend, arrays in after.items()
        if arrays
    }
    level.notes += [
        f"{backend} does not give its weights after the training"
        for backend in after
        if backend not in changes
    ]
    if len(changes) >= 2:
        rows = difference_rows(changes, weights, norm_difference, limits.updates, complete=True)
        title = "drift: what training changed in each parameter: absolute / relative in L2 norm"
        level.tables.append(Table(title, rows))


COMPARE = {
    "shapes": _shapes,
    "parameters": _parameters,
    "activations": _activations,
    "gradients": _gradients,
    "training": _training,
}


def _arrays(have: Have, level: str) -> dict[str, dict[str, np.ndarray]]:
    return {recording.name: recording.group(level) for recording in have}


def _refuse_if(level: Level, problem: str | None) -> None:
    if problem:
        level.status = "refused"
        level.notes.append(f"refused: {problem}")


def _nothing_to_see(arrays: Mapping[str, Mapping[str, np.ndarray]]) -> str | None:
    """Why these activations would agree whatever the code does."""
    for name in layer_names():
        outputs = [given[name] for given in arrays.values() if name in given]
        if outputs and not any(array.any() for array in outputs):
            return f"{name} is 0 everywhere: a dead network agrees with any other"
        same = name in ("flatten", "logits") and all(
            array.ndim == 2 and (array == array[:1]).all() for array in outputs
        )
        if outputs and same and len(outputs[0]) > 1:
            return f"{name}: the same for every image, so that nothing before it counts"
    return None


def _not_learned(name: str, losses: np.ndarray) -> str | None:
    """Why this training would agree whatever the code does."""
    if len(losses) < 2 * PASS_STEPS or not np.isfinite(losses).all():
        return None
    at_rest = math.log(architecture.NUM_CLASSES)
    if np.abs(losses[-PASS_STEPS:] - at_rest).max() < DEAD_LOSS:
        return f"{name} ends at the loss of a dead network, ln 10"
    first, last = _ends(losses)
    if last > LEARNED * first:
        return f"{name} did not learn: loss {first:.4f} in the first pass, {last:.4f} in the last"
    return None


def _ends(losses: np.ndarray) -> tuple[float, float]:
    """The mean loss of the first pass over the batches, and of the last."""
    return float(losses[:PASS_STEPS].mean()), float(losses[-PASS_STEPS:].mean())
