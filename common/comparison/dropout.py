"""Is dropout on in training, and how: a network whose loss shows how many units it kept.

Masks are random and no backend gives them out. But under the weights made here every unit that
enters dropout is 1, the first class's logit is the sum of what leaves it times :data:`SHARE`,
averaged over the last map, and all other logits are 0: the loss of a step then gives that sum. Kept
units are each 1 / (1 - rate), so it is a whole number of those.
"""

import numpy as np

from common.network import architecture

# The smallest image, in pixels, for which dropout sees more than one place of each channel.
SIZE = 99
# Each with one image. Masks that drop whole channels pass for others in a quarter of the steps.
STEPS = 16
# Small enough that the loss, -log(softmax), still depends on the logit.
SHARE = 1 / 128
# A kept unit that is 1e-3 off moves the sum, some hundreds of units, by some tenths.
NEAR_WHOLE = 1e-2
# Standard deviations of a share, beyond which it is no chance.
CHANCE = 6


def counting_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The weights, float64, for parameters of these shapes by canonical name."""
    weights = {name: np.zeros(shape) for name, shape in shapes.items()}
    weights["block3.conv3.bias"][:] = 1
    # the middle of the window, so that each place counts once
    middle = weights["block4.conv1.weight"].shape[-1] // 2
    weights["block4.conv1.weight"][0, :, middle, middle] = SHARE
    for name in ("block4.conv2.weight", "block4.conv3.weight"):
        weights[name][0, 0] = 1
    return weights


def judge(losses: np.ndarray) -> dict[str, tuple[str, bool]]:
    """What the losses of the steps, for label 0, show of dropout.

    Returns:
        property -> what was found, and whether that is the chapter's dropout.
    """
    _, channels, *places = architecture.layer_shapes(SIZE)["dropout"]
    units, rate = channels * int(np.prod(places)), architecture.DROPOUT
    with np.errstate(all="ignore"):
        # loss = log(1 + (classes - 1) * exp(-logit))
        logit = -np.log(np.expm1(losses) / (architecture.NUM_CLASSES - 1))
    kept = logit / SHARE * int(np.prod(places)) * (1 - rate)
    if len(losses) != STEPS or not np.isfinite(kept).all():
        return {"kept units": (f"losses {losses.min(initial=0)} to {losses.max(initial=0)}", False)}
    whole = np.round(kept)
    alike = len(set(whole)) == 1
    chance = CHANCE * np.sqrt(rate * (1 - rate) / (units * STEPS))
    scale = np.median(kept / np.maximum(whole, 1)) / (1 - rate)
    share = whole.mean() / units
    channelwise = not alike and not (whole % np.prod(places)).any()
    mask = "the same in all steps" if alike else "whole channels" if channelwise else "drawn anew"
    return {
        "scale of a kept unit": (f"{scale:.6f}", bool(np.abs(kept - whole).max() < NEAR_WHOLE)),
        "share of kept units": (f"{share:.4f}", bool(abs(share - (1 - rate)) < chance)),
        "units dropped": (mask, mask == "drawn anew"),
    }


EXPECTED = {
    "scale of a kept unit": f"{1 / (1 - architecture.DROPOUT):.6f}",
    "share of kept units": f"{1 - architecture.DROPOUT:.4f}",
    "units dropped": "drawn anew",
}
