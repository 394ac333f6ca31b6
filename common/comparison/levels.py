"""Whether recordings of several backends are of one network: level by level, layer by layer.

Pure arithmetic on arrays that :mod:`common.comparison.worker` recorded.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.comparison import dropout, tolerances
from common.comparison.branches import last_branch
from common.comparison.job import LEVELS, PASS_STEPS, Job, Recording, fitting_pools
from common.comparison.measures import largest_difference, norm_difference
from common.comparison.tables import Pair, Row, Table, difference_rows, shape_rows, shape_text
from common.errors import NinError, plural
from common.network import architecture
from common.network.description import CHAPTER, Network

if TYPE_CHECKING:
    from common.comparison.layer import LayerView

REFUSED = "refused: "  # begins the note that says why

# Mistakes of porting that no comparison of numbers can show in the chapter's network, and why.
INVISIBLE = {
    "an extra ReLU": "every layer's output, and every pixel, is 0 or more already",
    "flattened as NHWC where NCHW is meant": "flatten comes after global pooling, where height "
    "and width are 1: both orders are the same",
    "'same' padding for the numbers 2 and 1": "at stride 1 and odd windows they are the same",
    "pooling that rounds up, at 67 to 70 or 99 to 102 pixels": "every window fits exactly there; "
    "the oblong image of the shapes level shows it at any size",
}


# Of outputs, in ReLU6.
BOUND = 6

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
    about: list[str] = field(default_factory=list)
    """What was done, and what came of it; one line each."""
    part: str = ""
    """What of it was compared, such as ``logits only``; empty if all of it was."""
    without: list[str] = field(default_factory=list)
    """The backends that have no part in it, though the others were compared."""
    first: str | None = None
    """The first row that deviates."""
    between: list[str] = field(default_factory=list)
    """The backends, or pairs of them, that deviate there."""
    dtype: str = ""
    """The precision in which that row deviates; none for a shape or a parameter."""
    by_dtype: dict[str, str] = field(default_factory=dict)
    """Precision that was compared -> ``agree`` or ``deviate``; empty for shapes and parameters."""


@dataclass
class Comparison:
    """The whole comparison."""

    job: dict[str, Any]
    backends: dict[str, dict[str, Any]]
    """Name -> versions, device and the rest that is known of it."""
    levels: list[Level]
    lost: dict[str, str]
    """Backend that gave no recording, or nothing to compare -> why."""
    losses: dict[str, list[float | None]]
    """Backend -> loss of each training step; None where it is not finite."""
    without_float64: dict[str, str] = field(default_factory=dict)
    """Backend that has none -> what that cannot show."""
    layer: "LayerView | None" = None
    """The first layer that deviates, or the one that was asked for, alone."""
    asked: dict[str, list[str]] = field(default_factory=dict)
    """The ``backends`` and interpreters (``python``) as they were asked for."""

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
            between = "; ".join([*filter(None, [self.deviation.dtype]), *self.deviation.between])
            return f"first deviation: {self.deviation.name}, {self.deviation.first} ({between})"

        def levels(status: str) -> list[Level]:
            return [level for level in self.levels if level.status == status]

        parts = []
        if refused := levels("refused"):
            why = next(note for note in refused[0].notes if note.startswith(REFUSED))
            names = ", ".join(level.name for level in refused)
            parts.append(f"agreement in {names} refused: {why.removeprefix(REFUSED)}")
        parts += [f"{level.name}: failed" for level in levels("failed")]
        agreeing = []
        for level in levels("agree"):
            without = f"without {', '.join(level.without)}" if level.without else ""
            scope = "; ".join(filter(None, (level.part, without)))
            agreeing.append(level.name + (f" ({scope})" if scope else ""))
        agree = f"{', '.join(self.backends)} agree in {', '.join(agreeing)}"
        parts.append(agree if agreeing else "nothing could be compared")
        parts += [f"{level.name}: not compared" for level in levels("not compared")]
        parts += [f"{name} {reason}" for name, reason in self.without_float64.items()]
        return "; ".join(parts)

    @property
    def invisible(self) -> dict[str, str]:
        """Mistakes that no numbers can show in the network that is compared, and why."""
        return INVISIBLE if Job(**self.job).description == CHAPTER else {}

    def check_ran(self) -> None:
        """Raise :class:`NinError` if there are not two backends to compare."""
        if len(self.backends) < 2:
            lost = [
                # of a file, the reason names its path
                reason if Path(reason.partition(": ")[0]).name == name else f"{name}: {reason}"
                for name, reason in self.lost.items()
            ]
            raise NinError("; ".join([*lost, "that leaves fewer than two backends to compare"]))

    def show(self, everything: bool = False) -> None:
        """Print the verdict and the rows around the first deviation, or all tables."""
        from common.comparison import report  # draws, and knows this class

        report.show(self, everything)

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
            "invisible_mistakes": self.invisible,
            **finite(dataclasses.asdict(self)),
        }


def finite(value: Any) -> Any:
    """Plain data with None for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def compare(
    recordings: Sequence[Recording],
    job: Job,
    weights: Mapping[str, np.ndarray],
    lost: Mapping[str, str] | None = None,
    source: str = "",
) -> Comparison:
    """Compare recordings of the same job.

    float64 is compared between backends, each with each. float32 is compared with the same
    backend's float64, or with another's if it has none; between backends if nobody has any.
    ``lost`` says why there is no recording of a backend; ``source`` is whose weights they are, if
    anybody's: it has done its part with that.
    """
    # as a network computes: the first deviation is named, gradients are judged up to a layer
    weights = job.in_order(weights)
    levels, compared = [], set[str]()
    for name in LEVELS:
        if name not in job.levels:
            continue
        level = Level(name, "agree", "")
        if name == "dropout" and dropout.site(job.description) is None:
            level.notes.append("this network has no dropout")
        for recording in recordings:
            if name == "activations":
                if "run_as" in recording.about:
                    level.notes.append(f"{recording.name} {recording.about['run_as']}")
                level.notes += recording.about.get("notes", [])
            if name in recording.absent:
                level.notes.append(f"{recording.name} not compared: {recording.absent[name]}")
            if name in recording.failed:
                own = [each for each in recordings if each.name == recording.name]
                same = len({each.failed.get(name) for each in own}) == 1
                dtype = "" if same else f" in {recording.dtype}"
                level.notes.append(f"{recording.name} failed{dtype}: {recording.failed[name]}")
        have = [recording for recording in recordings if recording.has(name)]
        if len({recording.name for recording in have}) >= 2:
            if name in ONCE:
                level.tolerance = tolerances.words(name, "", weights, job)
                ONCE[name](level, have, job, weights)
                compared |= {recording.name for recording in have}
            else:
                compared |= _numbers(level, have, job, weights)
        # two precisions may give the same note
        level.notes = list(dict.fromkeys(level.notes))
        rows = [(table, row) for table in level.tables for row in table.rows]
        first = next(((table, row) for table, row in rows if row.deviating), None)
        if first is not None:
            table, row = first
            level.status, level.first, level.dtype = "deviate", row.name, table.dtype
            level.between = [f"{column}: {row.cells[column]}" for column in row.deviating]
            # there is no agreement to refuse
            level.notes = [note.removeprefix(REFUSED) for note in level.notes]
        elif any(name in recording.failed for recording in recordings):
            level.status = "failed"
        elif not rows and level.status != "refused":
            level.status = "not compared"
        levels.append(level)
    lost = dict(lost or {})
    names = dict.fromkeys(recording.name for recording in recordings)
    if compared:  # else the verdict says so of all of them
        idle = "nothing of it could be compared"
        lost |= {name: idle for name in names if name not in {*compared, source}}
        names = {name: None for name in names if name in compared}
    for level in levels:
        took_part = {recording.name for recording in recordings if recording.has(level.name)}
        level.without = [name for name in names if level.tables and name not in took_part]
    losses: dict[str, list[float | None]] = {}
    for recording in recordings:
        if recording.has("training"):  # of two precisions, the first
            values = recording.arrays["training/losses"]
            losses.setdefault(recording.name, finite(values.tolist()))
    outputs = tolerances.output_limits("float32", weights, job).values()
    unseen = max(*outputs, tolerances.gradient_limit("float32", weights, job))
    judged = {recording.name for recording in recordings if recording.dtype == "float64"}
    return Comparison(
        job=dataclasses.asdict(job),
        backends={name: next(r.about for r in recordings if r.name == name) for name in names},
        levels=levels,
        lost=lost,
        losses=losses,
        without_float64={
            name: f"in float32 only: a mistake below {unseen:.0e} of a layer would not show"
            for name in names
            if "float64" in job.precisions and name not in judged
        },
    )


# ------------------------------------------------------------------ the levels

Recordings = Sequence[Recording]
Weights = Mapping[str, np.ndarray]


def _numbers(level: Level, have: Recordings, job: Job, weights: Weights) -> set[str]:
    """Compare a level in each precision; the backends of which anything was compared."""
    compared = set[str]()
    exact, rounded = (_arrays(have, level.name, dtype) for dtype in ("float64", "float32"))
    texts = {}
    for dtype, arrays in (("float64", exact), ("float32", rounded)):
        beside, names = arrays, [*itertools.combinations(arrays, 2)]
        if dtype == "float32" and exact:
            beside = exact
            names = [(name, name if name in exact else next(iter(exact))) for name in rounded]
        pairs = []
        for one, other in names:
            column = one if one == other else f"{one} - {other}"
            pairs.append(Pair(column, arrays[one], beside[other], (one, other)))
        across = [pair for pair in pairs if pair.names[0] != pair.names[1]]
        # float32 beside the same backend's float64 says nothing of another backend
        if not pairs or not (across or compared):
            continue
        outside = _out_of_range(level.name, exact, weights) if dtype == "float32" else None
        _refuse_if(level, outside)
        if outside:
            continue
        before = len(level.tables)
        PER_PRECISION[level.name](level, dtype, pairs, have, job, weights)
        tables = level.tables[before:]
        for table in tables:
            table.dtype = dtype
            kind = f"{dtype} beside float64" if exact and dtype == "float32" else dtype
            table.title = f"{kind}: {table.title}"
        filled = {column for table in tables for row in table.rows for column in row.values}
        compared |= {name for pair in across if pair.column in filled for name in pair.names}
        if tables:
            bad = any(row.deviating for table in tables for row in table.rows)
            level.by_dtype[dtype] = "deviate" if bad else "agree"
            texts[dtype] = tolerances.words(level.name, dtype, weights, job)
    level.tolerance = "; ".join(f"{dtype}: {text}" for dtype, text in texts.items())
    return compared


def _shapes(level: Level, have: Recordings, job: Job, weights: Weights) -> None:
    walks = {recording.name: recording.shapes or [] for recording in have}
    square = job.shapes
    rows = shape_rows(walks, square)
    for row in rows:
        for backend, layers in walks.items():
            if row.values[backend] is not None:
                name = next(layer["book_name"] for layer in layers if layer["name"] == row.name)
                row.cells[backend] = f"{name}  {row.cells[backend]}"
    level.tables = [Table("the book's names, batch x channels x height x width", rows)]
    if job.description.head != "average":
        level.notes.append("a network with a fully connected layer takes no oblong image")
        return
    wide = architecture.layer_shapes(job.oblong_width, network=job.description)
    oblong = {name: square[name][:3] + wide[name][3:] for name in square}
    title = "an oblong image, every pooling window leaves a column over"
    level.tables.append(Table(title, shape_rows(walks, oblong, "oblong")))


def _parameters(level: Level, have: Recordings, job: Job, weights: Weights) -> None:
    given = {recording.name: recording.group("parameters") for recording in have}
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
                text += "" if good else ", but other numbers"
            row.add(backend, text, shape, good)
        rows.append(row)
    total = Row("total", {"on paper": f"{sum(array.size for array in weights.values()):,}"})
    for backend, found in given.items():
        count = sum(array.size for array in found.values())
        total.add(backend, f"{count:,}", count, good=True)
    level.tables = [Table("out x in x height x width", [*rows, total])]


def _dropout(level: Level, have: Recordings, job: Job, weights: Weights) -> None:
    where = dropout.site(job.description)
    assert where is not None  # there are recordings
    if where.layers > 1:
        level.part = f"the last of {where.layers} layers"
    found = {r.name: dropout.judge(r.arrays["dropout/losses"], where) for r in have}
    rows = []
    for name in dict.fromkeys(itertools.chain(dropout.EXPECTED, *found.values())):
        row = Row(name, {"on paper": dropout.EXPECTED.get(name, "")})
        for backend, properties in found.items():
            text, good = properties.get(name, ("", True))
            row.add(backend, text, text, good)
        rows.append(row)
    title = "read off from the losses of a network that counts the units that are kept"
    level.tables = [Table(title, rows)]


def layer_names(network: Network = CHAPTER) -> list[str]:
    """What the activations level compares, in the order of computation."""
    # logits are what the backend's fast path predicts; the layers were computed one by one
    return [*architecture.layer_names(network), "logits"]


def _activations(
    level: Level, dtype: str, pairs: Sequence[Pair], have: Recordings, job: Job, weights: Weights
) -> None:
    arrays = _arrays(have, level.name, dtype)
    known = layer_names(job.description)
    ends = known[-2:]
    for backend, given in arrays.items():
        lacking = [name for name in known if name not in given]
        if given and set(given) <= set(ends):
            one = next(name for name in ends if name in given)
            level.notes.append(
                f"{backend} gives no layer before {one}: with them in its Predictor's "
                "activations(), the first one that deviates is named"
            )
        elif lacking:
            level.notes.append(f"{backend} does not give {', '.join(lacking)}")
        extra = [name for name in given if name not in known]
        if extra:
            level.notes.append(f"{backend} also gives {', '.join(extra)}: not compared")
    limits = tolerances.output_limits(dtype, weights, job)
    rows = difference_rows(pairs, known, MEASURES[dtype], lambda name, pair: limits[name])
    if not any(row.name in ends for row in rows):
        level.notes.append("no two backends give logits")
        return
    level.tables.append(Table(f"output of each layer: absolute / {RELATIVE[dtype]}", rows))
    if len(rows) < len(known):
        only_logits = {row.name for row in rows} <= {*ends}
        some = plural(f"{len(rows)} of {len(known)} layer(s)")
        level.part = "logits only" if only_logits else some
    counts = {backend: sum(name in given for name in known) for backend, given in arrays.items()}
    fewer = [f"{n} layer(s) of {name}" for name, n in counts.items() if 0 < n < len(rows)]
    if len(arrays) > 2 and fewer and not level.part:  # two of them have more in common
        level.part = plural(f"{len(rows)} of {len(known)} layer(s); {', '.join(fewer)}")
    _refuse_if(level, _nothing_to_see(arrays, known))
    logits = [given[ends[0]] for given in arrays.values() if ends[0] in given]
    classes = architecture.NUM_CLASSES
    right = [array for array in logits if array.shape[1:] == (classes,)]
    dead = [int((array == 0).all(axis=0).sum()) for array in right]
    if any(dead):
        level.notes.append(f"{max(dead)} of {classes} logits are 0 for every image")
    relus = [layer.name for layer in architecture.layers(network=job.description) if layer.relu]
    outputs = {name: [given[name] for given in arrays.values() if name in given] for name in relus}
    idle = [name for name, found in outputs.items() if found and all((x > 0).all() for x in found)]
    if idle:
        level.notes.append(
            f"the ReLU of {', '.join(idle)} lets everything through on these images: a missing "
            "one would not show"
        )
    if outputs and all((x < BOUND).all() for found in outputs.values() for x in found):
        level.notes.append(
            f"no output of a convolution's ReLU reaches {BOUND} on these images: a bound there, as "
            "in ReLU6, would not show"
        )
    walked = {recording.name for recording in have if recording.shapes}  # in one precision
    unwalked = [backend for backend in arrays if backend not in walked]
    fitting = fitting_pools(job.resize, job.description)
    if "shapes" in job.levels and unwalked and fitting:
        level.notes.append(
            f"at {job.resize} x {job.resize} pixels every window of {', '.join(fitting)} fits, so "
            f"pooling that rounds up (ceil_mode) would not show in {', '.join(unwalked)}, whose "
            "shapes are not compared"
            + ("; at 224 x 224 it would" if job.description == CHAPTER else "")
        )
    if job.last_map == 1 and job.description == CHAPTER:
        level.notes.append(
            f"at {job.resize} x {job.resize} pixels the last map is 1 x 1, so that global pooling "
            "and the rim of block4.conv1's window do nothing; from 99 x 99 up they are seen too"
        )


def _gradients(
    level: Level, dtype: str, pairs: Sequence[Pair], have: Recordings, job: Job, weights: Weights
) -> None:
    arrays = _arrays(have, level.name, dtype)
    strict = tolerances.gradient_limit(dtype, weights, job)
    unsure: dict[str, set[str]] = {}

    def limit(name: str, pair: Pair) -> float:
        return tolerances.BRANCHED if name in unsure.get(pair.column, ()) else strict

    # as they are computed: from the loss backwards
    names = ["loss", *reversed([*weights])]
    rows = difference_rows(pairs, names, MEASURES[dtype], limit, complete=True)
    if dtype == "float32" and any(row.deviating for row in rows):
        words = "its gradients from there back are shown and not judged"
        unsure = _branched(level, pairs, have, weights, job, words)
        rows = difference_rows(pairs, names, MEASURES[dtype], limit, complete=True)
    title = f"loss and gradients, from the last layer back: absolute / {RELATIVE[dtype]}"
    level.tables.append(Table(title, rows))
    slopes = [a for given in arrays.values() for name, a in given.items() if name != "loss"]
    if slopes and not any(array.any() for array in slopes):
        _refuse_if(level, "every gradient is 0: a dead network agrees with any other")


def _branched(
    level: Level, pairs: Sequence[Pair], have: Recordings, weights: Weights, job: Job, words: str
) -> dict[str, set[str]]:
    """The parameters up to the last layer of which float32 may take another branch, by column.

    ``words`` say what follows from that.
    """
    outputs = {(r.dtype, r.name): r.group("activations") for r in have}
    names, found = [*weights], {}
    for pair in pairs:
        one, other = pair.names
        exact = outputs.get(("float64", other)) or outputs.get(("float32", other), {})
        layer = last_branch(outputs.get(("float32", one), {}), exact, job.description)
        if layer is not None:
            found[pair.column] = set(names[: names.index(f"{layer}.bias") + 1])
            level.notes.append(
                f"{pair.column}: rounding to float32 may decide a branch in {layer} (whether a "
                f"ReLU is on, or which pixel of a window is the largest), so that {words}"
            )
    return found


def _training(
    level: Level, dtype: str, pairs: Sequence[Pair], have: Recordings, job: Job, weights: Weights
) -> None:
    arrays = _arrays(have, level.name, dtype)
    losses = {backend: given["losses"] for backend, given in arrays.items()}
    if not any(np.isfinite(values).all() for values in losses.values()):
        rate = f"learning rate {job.learning_rate:.2g}"
        _refuse_if(level, f"no training stays finite at {rate}; take a smaller one (lr)")
        return
    rows = []
    allowed = [_loss_limits(dtype, pair.other["losses"], weights, job) for pair in pairs]
    for step in range(job.steps):
        # none of a backend that has lost a step
        at = {backend: values[step : step + 1] for backend, values in losses.items()}
        texts = {b: f"{loss[0]:.6f}" if loss.size else "missing" for b, loss in at.items()}
        row = Row(f"step {step + 1}", texts)
        for pair, limits in zip(pairs, allowed, strict=True):
            one, other = (side["losses"][step : step + 1] for side in (pair.one, pair.other))
            # the column of the losses themselves has the backend's name alone
            column = pair.column if " - " in pair.column else f"{pair.column} off by"
            row.compare(column, largest_difference(one, other), limits[step])
        rows.append(row)
    level.tables.append(Table("loss of each step: absolute / relative", rows))
    if not level.by_dtype:  # the second precision's are the same losses, rounded
        for backend, values in losses.items():
            _refuse_if(level, _not_learned(backend, values, tolerances.LEARNED[dtype]))
        level.about.append(job.learning_rate_text)
        backend, values = next(iter(losses.items()))
        first, last = _ends(values)
        level.about.append(
            f"mean loss of the first pass {first:.4f}, of the last {last:.4f} ({backend})"
        )

    level.notes += [
        f"{backend} does not give its weights after a step"
        for backend, given in arrays.items()
        if set(given) == {"losses"}
    ]
    moved = [
        pair._replace(one=changes(pair.one, weights), other=changes(pair.other, weights))
        for pair in pairs
    ]
    moved = [pair for pair in moved if pair.one and pair.other]
    strict = tolerances.gradient_limit(dtype, weights, job)
    unsure: dict[str, set[str]] = {}

    def limit(name: str, pair: Pair) -> float:
        if name not in pair.other:
            return 0.0
        rounding = tolerances.update_rounding(dtype, weights[name], pair.other[name])
        return rounding + (tolerances.CHANGE if name in unsure.get(pair.column, ()) else strict)

    rows = difference_rows(moved, weights, MEASURES[dtype], limit, complete=True)
    if dtype == "float32" and any(row.deviating for row in rows):
        only = f"mistakes from {tolerances.CHANGE:.0%} on only"
        words = f"a step's changes from there back show {only}"
        unsure = _branched(level, moved, have, weights, job, words)
        layer = next(iter(weights)).rpartition(".")[0]
        blind = {r.name for r in have if layer not in r.group("activations")}
        for pair in moved:
            if not blind.isdisjoint(pair.names):
                unsure[pair.column] = set(weights)
                level.notes.append(
                    f"{pair.column}: not all layers' outputs are known, nor where rounding may "
                    f"decide a branch, so that a step's changes show {only}"
                )
        rows = difference_rows(moved, weights, MEASURES[dtype], limit, complete=True)
    if not rows:
        level.part = "losses only"
    else:
        title = f"what one step at rate 1 changes in each parameter: absolute / {RELATIVE[dtype]}"
        level.tables.append(Table(title, rows))


def changes(after: Mapping[str, np.ndarray], weights: Weights) -> dict[str, np.ndarray]:
    """What a step changed in each parameter."""
    return {
        name: after[name].astype(np.float64) - before
        for name, before in weights.items()
        if name in after and after[name].shape == before.shape
    }


def _loss_limits(dtype: str, losses: np.ndarray, weights: Weights, job: Job) -> np.ndarray:
    """How far the loss of each step may be off, relative to it."""
    if dtype == "float64":
        return np.full(job.steps, tolerances.SAME)
    rounding = tolerances.output_limits(dtype, weights, job)["logits"]
    # by how much a batch's loss has moved since the first pass; in that, as much as in the second
    moved = np.zeros(job.steps)
    with np.errstate(all="ignore"):
        for step in range(PASS_STEPS, min(job.steps, len(losses))):
            moved[step] = abs(losses[step] / losses[step % PASS_STEPS] - 1)
    moved = np.maximum.accumulate(np.nan_to_num(moved, posinf=0.0))
    moved[:PASS_STEPS] = moved[PASS_STEPS : 2 * PASS_STEPS].max(initial=0)
    return np.asarray(rounding + tolerances.FALL * moved)


# A sum of products is in range of float32 if its largest result lies between these, and its parts
# are not much smaller or larger.
FLOAT32 = (1e-30, 1e37)
# float64 has no tail to speak of: any single number counts
MEASURES = {"float64": largest_difference, "float32": norm_difference}
RELATIVE = {"float64": "relative to its largest", "float32": "relative in L2 norm"}
ONCE = {"shapes": _shapes, "parameters": _parameters, "dropout": _dropout}
PER_PRECISION = {"activations": _activations, "gradients": _gradients, "training": _training}


def _arrays(have: Recordings, level: str, dtype: str) -> dict[str, dict[str, np.ndarray]]:
    return {r.name: r.group(level) for r in have if r.dtype == dtype}


def _refuse_if(level: Level, problem: str | None) -> None:
    if problem:
        level.status = "refused"
        level.notes.append(f"{REFUSED}{problem}")


def _out_of_range(
    name: str, exact: Mapping[str, Mapping[str, np.ndarray]], weights: Weights
) -> str | None:
    """Why a level cannot be compared in float32: a number of it is too large or small for that."""
    for given in exact.values():
        arrays = changes(given, weights) if name == "training" else given
        for what, array in arrays.items():
            largest = np.abs(array).max(initial=0)
            if largest and not FLOAT32[0] < largest < FLOAT32[1]:
                return (
                    f"{what} is {largest:.0e}, which float32 cannot hold; float64 alone can be "
                    "compared"
                )
    return None


def _nothing_to_see(
    arrays: Mapping[str, Mapping[str, np.ndarray]], known: Sequence[str]
) -> str | None:
    """Why these activations would agree whatever the code does."""
    for name in known:
        outputs = [given[name] for given in arrays.values() if name in given]
        if outputs and not any(array.any() for array in outputs):
            return f"{name} is 0 everywhere: a dead network agrees with any other"
        same = name in known[-2:] and all(
            array.ndim == 2 and (array == array[:1]).all() for array in outputs
        )
        if outputs and same and len(outputs[0]) > 1:
            return f"{name}: the same for every image, so that nothing before it counts"
    return None


def _not_learned(name: str, losses: np.ndarray, learned: float) -> str | None:
    """Why this training would agree whatever the code does.

    ``learned``: below this part of the first pass's mean loss the last pass's must be.
    """
    if len(losses) < 2 * PASS_STEPS or not np.isfinite(losses).all():
        return None
    at_rest = math.log(architecture.NUM_CLASSES)
    if np.abs(losses[-PASS_STEPS:] - at_rest).max() < tolerances.DEAD_LOSS:
        return f"{name} ends at the loss of a dead network, ln 10"
    first, last = _ends(losses)
    if last > learned * first:
        return f"{name} did not learn: loss {first:.6f} in the first pass, {last:.6f} in the last"
    return None


def _ends(losses: np.ndarray) -> tuple[float, float]:
    """The mean loss of the first pass over the batches, and of the last."""
    return float(losses[:PASS_STEPS].mean()), float(losses[-PASS_STEPS:].mean())
