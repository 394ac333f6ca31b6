"""Is dropout on in training, and how: a network whose loss shows how many units it kept.

Masks are random and no backend gives them out. But under the weights made here every unit that
enters the last dropout layer is 1, the first class's logit is the sum of what leaves it times
:attr:`Site.share`, averaged over the map, and all other logits are 0: the loss of a step then gives
that sum. Kept units are each 1 / (1 - rate), so it is a whole number of those. The ones come from
a white image through all layers, so that dropout where none belongs shows too.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

from common.network import architecture
from common.network.description import CHAPTER, Network

# Each with one image. In so many, numbers that happen to be all even are no chance.
STEPS = 32
# Of the first class, when as many units are kept as should be: so small that the loss,
# -log(softmax), still depends on it.
LOGIT = 3
# A kept unit that is 1e-3 off moves the sum, some hundreds of units, by some tenths.
NEAR_WHOLE = 1e-2
WITH_WEIGHTS = ("block", "dense")
# Standard deviations of a share, beyond which it is no chance.
CHANCE = 6


class Site(NamedTuple):
    """Where units are counted: the last dropout layer of a network."""

    size: int
    """The smallest image, in pixels, for which it sees more than one place of each channel."""
    layers: int
    """How many dropout layers there are."""
    before: tuple[str, ...]
    """The layers with weights in front of it, from the dropout layer before it on."""
    after: tuple[str, ...]
    """The layers with weights behind it."""
    channels: int
    places: int
    """Of each channel, of which the next layer takes notice."""

    @property
    def share(self) -> float:
        """What a unit adds to the logit."""
        return LOGIT / self.channels


def site(network: Network = CHAPTER) -> Site | None:
    """Where units are counted in a network; None if it has no dropout."""
    for size in itertools.count(architecture.smallest_input(network)):
        shapes = architecture.layer_shapes(size, network=network)
        names = architecture.layer_names(network)
        dropouts = [name for name in shapes if name.startswith("dropout")]
        if not dropouts:
            break
        place = names.index(dropouts[-1])
        first = names.index(dropouts[-2]) if len(dropouts) > 1 else 0
        before = [name for name in names[first:place] if name.startswith(WITH_WEIGHTS)]
        after = [name for name in names[place:] if name.startswith(WITH_WEIGHTS)]
        # the stride of a convolution may pass over some
        counted = after[0].partition(".")[0] if after[0].startswith("block") else dropouts[-1]
        _, channels, *_ = shapes[dropouts[-1]]
        places = math.prod(shapes[counted][2:])
        if places > 1 or len(shapes[dropouts[-1]]) == 2:
            return Site(size, len(dropouts), tuple(before), tuple(after), channels, places)
    return None


def counting_weights(where: Site, network: Network) -> dict[str, np.ndarray]:
    """The weights, float64, by canonical name, with which a network counts there.

    The images are to be white.
    """
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
    """What the losses of the steps, for label 0, show of dropout.

    Args:
        losses: of :data:`STEPS` steps with :func:`counting_weights`.
        where: units are counted.

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
    whole = np.round(kept)
    if np.abs(kept - whole).max() < NEAR_WHOLE and len(set(whole)) == 1:
        # without a mask it is as in evaluation, which one that stays hardly ever comes to
        mask = "none" if whole[0] == units * (1 - rate) else "the same in all steps"
        return {"units dropped": (mask, False)}
    chance = CHANCE * np.sqrt(rate * (1 - rate) / (units * STEPS))
    # units that are kept together, or larger than they should be, come in such a number
    group = int(np.gcd.reduce(whole.astype(np.int64))) or 1
    usual = abs(whole.mean() / units - (1 - rate)) < chance * math.sqrt(where.places)
    channelwise = group == where.places > 1 and bool(usual)
    group = 1 if channelwise else group
    scale = group * np.median(kept / np.maximum(whole, 1)) / (1 - rate)
    share = whole.mean() / group / units
    mask = "whole channels" if channelwise else "drawn anew"
    right = group == 1 and bool(np.abs(kept - whole).max() < NEAR_WHOLE)
    return {
        "scale of a kept unit": (f"{scale:.6f}", right),
        "share of kept units": (f"{share:.4f}", bool(abs(share - (1 - rate)) < chance)),
        "units dropped": (mask, mask == "drawn anew"),
    }


EXPECTED = {
    "scale of a kept unit": f"{1 / (1 - architecture.DROPOUT):.6f}",
    "share of kept units": f"{1 - architecture.DROPOUT:.4f}",
    "units dropped": "drawn anew",
}
