"""What counts as agreement of two backends, and why.

**float64 is the judge: is it one function?** A float64 number is off by up to 2**-53 of its size,
and so is each sum or product: 1e-16. The sums of this network add up some ten thousand products on
the way from the pixels to a logit, and the rounding of n of them in another order grows like the
square root of n: 1e-14. Nothing else is near: the smallest thing that is not float64's rounding is
one number kept in float32, 2**-25 of its size or 3e-8. :data:`SAME` lies between the two, four
decades above the one and two below the other, so it needs no tuning for a machine. Every number is
looked at: differences are relative to the layer's largest.

**float32 is only asked whether it is that function, rounded.** Each backend's float32 numbers are
set beside its *own* float64 numbers, so that a limit need not separate mistakes from rounding; it
only has to separate rounding to 24 bits from arithmetic of fewer: TF32's and float16's 11,
bfloat16's 8. A layer that comes after sums of n products in all may be off by
``MARGIN * 2**-24 * sqrt(n)``: 1e-5 for the first convolution, 1e-4 for the logits. (Higham and
Mary 2019, "A New Approach to Probabilistic Rounding Error Analysis": with independent roundings the
error of a sum of n products is a small multiple of ``sqrt(n)`` units, not n.) Rounding has a tail,
so that the largest of a million errors depends on luck. Here a layer is measured as a whole, in
relative L2 norm, which has none: a tenth to a hundredth of the limit was measured
(``tests/comparison/sweep.py``). TF32 alone is 4e-4 after one convolution.

**Where rounding decides a branch** (which pixel of a pooling window is the largest, whether a ReLU
is on) a gradient jumps. The weights of :mod:`common.comparison.material` stay away from that; with
others, float32's gradients are judged only up to the last layer whose outputs come as near to such
a branch as a few rounding errors (:mod:`common.comparison.branches`). Any training gets to one now
and then, and the deeper the network, the smaller its maps and the fewer the images, the more a
branch changes: a sixth of what a parameter learned in eight steps was seen (30 layers, 8 pixels).
So the losses of a float32 training are only asked whether they went the same way (:data:`FALL`).
What the weights learn is judged after one step alone, as their gradients are, at a rate so large
that rounding the weights hides little of it (more where gradients are a millionth of them or less,
and the limit says so); behind a branch that rounding may decide, only an update that is lost or
goes elsewhere shows (:data:`CHANGE`).

A backend without float64 is measured beside the others' float64, with float32's limits: what is
smaller than them stays unseen, and the report says so.
"""

import math
from collections.abc import Mapping

import numpy as np

from common.comparison.job import Job
from common.network import architecture

UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}
# Of float64: any number of a layer or gradient, relative to its largest; a loss.
SAME = 1e-10
# Of float32, in units of what independent roundings come to.
MARGIN = 16
# Of float32's training: a share of what the loss has changed by since it began; of what a step
# changes in a parameter behind a branch that rounding may decide, in relative L2 norm.
FALL, CHANGE = 0.03, 0.5
# Of float32: a gradient behind a branch that rounding decides. One pixel's ReLU may be a large part
# of it (a tenth was seen, for one image), so that this is no limit: it is not judged.
BRANCHED = 1.0

# The training counts as learning when the last pass's mean loss is below this part of the first's.
# The batches are the same ones again, so that nothing but learning lowers it; the less a loss is
# rounded, the less learning it shows.
LEARNED = {"float64": 1 - 1e-6, "float32": 0.999}
# A loss this close to ln(classes), in nats, is that of a dead network: the same for every image.
DEAD_LOSS = 1e-4


def output_limits(dtype: str, weights: Mapping[str, np.ndarray], job: Job) -> dict[str, float]:
    """Layer (``input`` ... ``logits``) -> the largest difference of its output that is agreement.

    Relative: in float64 of any value to the largest, in float32 in L2 norm.
    """
    lengths = _lengths(weights, job)
    if dtype == "float64":
        return dict.fromkeys(lengths, SAME)
    return {name: _rounding(length) for name, length in lengths.items()}


def gradient_limit(dtype: str, weights: Mapping[str, np.ndarray], job: Job) -> float:
    """The same for the loss and the gradients: as far back as forth, and a sum over the pixels."""
    if dtype == "float64":
        return SAME
    largest_map = job.shapes["block1"][2] ** 2
    return _rounding(2 * _lengths(weights, job)["logits"] + job.batch_size * largest_map)


def update_rounding(dtype: str, before: np.ndarray, change: np.ndarray) -> float:
    """How far a step's changes of a parameter may be apart as both sides round the weights."""
    order = {"float64": np.inf, "float32": 2}[dtype]
    after = before + change
    size, moved = (np.linalg.norm(x.ravel().astype(np.float64), order) for x in (after, change))
    return float(2 * UNIT[dtype] * size / moved) if moved else 0.0


def words(level: str, dtype: str, weights: Mapping[str, np.ndarray], job: Job) -> str:
    """What a level is judged by."""
    if level == "dropout":
        return "the chapter's: half of the units, the others doubled"
    if level in ("shapes", "parameters"):
        kept = ", and what is set comes back" if level == "parameters" else ""
        return f"equal to the shapes on paper{kept}"
    outputs = list(output_limits(dtype, weights, job).values())
    gradients = gradient_limit(dtype, weights, job)
    if dtype == "float64":
        return {
            "activations": f"any value to {SAME:.0e} of its layer's largest",
            "gradients": f"any value to {SAME:.0e} of its parameter's largest; the loss {SAME:.0e}",
            "training": f"losses {SAME:.0e}; what a step changes {SAME:.0e} and its rounding",
        }[level]
    return {
        "activations": f"{min(outputs):.0e} (input) to {max(outputs):.0e} (logits) in L2 norm",
        "gradients": f"{gradients:.0e} in L2 norm; the loss {gradients:.0e}",
        "training": f"losses {max(outputs):.0e} and {FALL:.0%} of their fall; what a step changes "
        f"{gradients:.0e} in L2 norm",
    }[level]


def _rounding(length: int) -> float:
    """What float32 may be off by after sums of so many products."""
    return MARGIN * UNIT["float32"] * math.sqrt(length)


def _lengths(weights: Mapping[str, np.ndarray], job: Job) -> dict[str, int]:
    """Layer -> number of products in the sums that lead to one of its numbers."""
    total = 2 * 28  # the two products that resize an image
    lengths = {"input": total}
    shapes, area = job.shapes, 1
    for name in architecture.layer_names(job.description)[1:]:
        if f"{name}.weight" in weights:
            total += weights[f"{name}.weight"][0].size
        if name == "global_pool":
            total += area
        area = math.prod(shapes[name.partition(".")[0]][2:])
        lengths[name] = total
    return {**lengths, "logits": total}
