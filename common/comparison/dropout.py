"""Is dropout on in training, and how: a network whose loss shows how many units it kept.

Masks are random and no backend exposes them. But with the weights made here every unit that enters
the last dropout layer is 1, the first class's logit is the sum of the layer's outputs times
:attr:`Site.share`, averaged over the map, and all other logits are 0: the loss of a step then gives
that sum. Each kept unit is 1 / (1 - rate), so the sum is a multiple of that. The units come from a
white image that passes through all layers, so that dropout where none belongs shows too.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from common.network import architecture
from common.network.description import CHAPTER, Network

# Each with one image. Over so many, counts that are all even are no accident.
STEPS = 32
# The first class's logit when the expected number of units is kept: so small that the loss,
# -log(softmax), still depends on it.
LOGIT = 3
# If kept units are 1e-3 off, the sum of some hundreds of them is off by some tenths.
NEAR_WHOLE = 1e-2
WITH_WEIGHTS = ("block", "dense")
# The units in a window of the chapter's pooling, of which the largest is kept.
POOLED = 9
# A share that is off by more standard deviations than this is no accident.
CHANCE = 6


class Site(NamedTuple):
    """Where units are counted: the last dropout layer of a network."""

    size: int
    """The smallest image, in pixels, at which it sees more than one place of each channel."""
    layers: int
    """How many dropout layers there are."""
    before: tuple[str, ...]
    """The layers with weights before it, back to the previous dropout layer."""
    after: tuple[str, ...]
    """The layers with weights after it."""
    channels: int
    places: int
    """How many places of each channel the next layer uses."""

    @property
    def share(self) -> float:
        """What a unit adds to the logit."""
        return LOGIT / self.channels


def site(network: Network = CHAPTER) -> Site | None:
    """Where units are counted in a network; None if it has no dropout."""
    names = architecture.layer_names(network)
    dropouts = [place for place, name in enumerate(names) if name.startswith("dropout")]
    if not dropouts:
        return None
    first, last = [0, *dropouts][-2:]
    before = tuple(name for name in names[first:last] if name.startswith(WITH_WEIGHTS))
    after = tuple(name for name in names[last:] if name.startswith(WITH_WEIGHTS))
    # the stride of a convolution may skip some
    counted = after[0].partition(".")[0] if after[0].startswith("block") else names[last]
    size = architecture.smallest_input(network)
    while True:
        shapes = architecture.layer_shapes(size, network=network)
        _, channels, *map_shape = shapes[names[last]]
        places = math.prod(shapes[counted][2:])
        if places > 1 or not map_shape:
            return Site(size, len(dropouts), before, after, channels, places)
        size += 1


def counting_weights(where: Site, network: Network) -> dict[str, np.ndarray]:
    """The weights, float64, by canonical name, with which a network counts in white images."""
    shapes = architecture.parameter_shapes(network=network, size=where.size)
    weights = {name: np.zeros(shape) for name, shape in shapes.items()}
    for name in where.before:
        weight = weights[f"{name}.weight"]
        if weight.ndim == 2 or (where.layers > 1 and name == where.before[0]):
            weights[f"{name}.bias"][:] = 1
            continue
        middle = weight.shape[-1] // 2
        channels = np.arange(len(weight))
        weight[channels, channels % weight.shape[1], middle, middle] = 1
    for name in where.after:
        weight, is_first = weights[f"{name}.weight"], name == where.after[0]
        if weight.ndim == 4:
            # the middle of the window, so that each place counts once
            middle = weight.shape[-1] // 2
            weight[0, slice(None) if is_first else 0, middle, middle] = (
                where.share if is_first else 1
            )
        elif is_first:
            weight[0] = where.share / where.places
        else:  # the mean of the first channel's map
            weight[0, : where.places] = 1 / where.places
    return weights


def judge(losses: np.ndarray, where: Site) -> dict[str, tuple[str, bool]]:
    """What the losses of :data:`STEPS` steps with :func:`counting_weights`, label 0, show.

    Returns:
        property -> what was found, and whether that is the chapter's dropout.
    """
    units, rate = where.channels * where.places, architecture.DROPOUT
    with np.errstate(all="ignore"):
        # loss = log(1 + (classes - 1) * exp(-logit))
        logit = -np.log(np.expm1(losses) / (architecture.NUM_CLASSES - 1))
    kept = logit / where.share * where.places * (1 - rate)
    if len(losses) != STEPS or not np.isfinite(kept).all():
        return {"kept units": (f"losses {losses.min(initial=0)} to {losses.max(initial=0)}", False)}
    if np.ptp(kept) < NEAR_WHOLE:
        # without a mask the sum is as in evaluation, which a fixed mask hardly ever gives
        none = abs(kept[0] - units * (1 - rate)) < NEAR_WHOLE
        return {"units dropped": ("none" if none else "the same in all steps", False)}
    unit = _unit(kept)
    usual = abs(kept.mean() / units - (1 - rate)) < _chance(where) * math.sqrt(where.places)
    channelwise = where.places > 1 and abs(unit - where.places) < NEAR_WHOLE and bool(usual)
    if channelwise:  # kept or dropped together
        unit /= where.places
    share = kept.mean() / unit / units
    if share > 1:
        return {"scale of a kept unit": ("not the same for all", False)}
    mask = "whole channels" if channelwise else "drawn anew"
    return {
        "scale of a kept unit": (f"{unit / (1 - rate):.6f}", unit == 1),
        "share of kept units": (f"{share:.4f}", bool(abs(share - (1 - rate)) < _chance(where))),
        "units dropped": (mask, mask == "drawn anew"),
    }


def _chance(where: Site) -> float:
    """How far the share of kept units may be off by chance."""
    rate = architecture.DROPOUT
    return CHANCE * math.sqrt(rate * (1 - rate) / (where.channels * where.places * STEPS))


def _unit(sums: np.ndarray) -> float:
    """The largest number of which all sums are whole multiples, up to rounding."""
    whole = np.round(sums)
    if np.abs(sums - whole).max() < NEAR_WHOLE:
        return float(np.gcd.reduce(whole.astype(np.int64)))
    unit = 0.0
    for gap in np.diff(np.sort(sums)):
        while gap > 10 * NEAR_WHOLE:  # rounding errors are multiplied, too
            unit, gap = gap, abs(math.remainder(unit, gap))
    unit = unit or float(np.ptp(sums))
    # the larger a multiple, the more exact
    for multiples in (sums - sums.min(), sums):
        counts = np.round(multiples / unit)
        unit = float(multiples @ counts / (counts @ counts))
    return unit


def explain(found: Mapping[str, str], where: Site) -> str | None:
    """The mistake that explains what :func:`judge` found, or None if no known one does."""
    if len(found) < len(EXPECTED) or found["units dropped"] in MASKS:
        return MASKS.get(found.get("units dropped", ""))
    scale, share = float(found["scale of a kept unit"]), float(found["share of kept units"])
    rate = architecture.DROPOUT
    as_many = abs(share - (1 - rate)) < _chance(where)
    times = round(math.log(scale, 1 / (1 - rate)))
    several = times > 1 and math.isclose(scale, (1 - rate) ** -times, rel_tol=1e-4)
    if as_many and math.isclose(scale, 1, rel_tol=1e-4):
        return f"kept units are not scaled by 1 / (1 - {rate:g})"
    if abs(share - 1 / scale) < _chance(where):
        what = "kept units are scaled as for a" if as_many else "units are dropped at a"
        also = f", or dropout is applied {times} times there" if several else ""
        return f"{what} rate of {1 - 1 / scale:.4g}, not {rate:g}{also}"
    in_front = abs(share - (1 - rate**POOLED)) < _chance(where)
    if in_front and math.isclose(scale, 1 / (1 - rate), rel_tol=1e-4):
        return "units are dropped in front of a pooling layer, not behind it"
    if several:
        return (
            f"kept units are scaled {times} times by 1 / (1 - {rate:g}): there is dropout in front "
            "of a pooling layer too, or the scale is wrong"
        )
    return None


# what was found for "units dropped" -> the mistake
MASKS = {
    "none": "no unit is dropped: dropout is missing, or off in training",
    "the same in all steps": "every step keeps the same units: each has to draw its own mask",
    "whole channels": "whole channels are dropped, not single units",
}
EXPECTED = {
    "scale of a kept unit": f"{1 / (1 - architecture.DROPOUT):.6f}",
    "share of kept units": f"{1 - architecture.DROPOUT:.4f}",
    "units dropped": "drawn anew",
}
