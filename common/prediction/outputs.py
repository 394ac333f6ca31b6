"""What outputs alone show of a network: whether it tells images apart at all."""

import numpy as np


def problem(logits: np.ndarray) -> str | None:
    """One sentence on a network whose outputs say nothing; None if they say something.

    Args:
        logits: of images that are not all the same, (count, classes).
    """
    what = "the network tells nothing apart: "
    if (logits == logits[:, :1]).all():
        which = "exactly 0" if not logits.any() else "the same number"
        return f"{what}for every image all {logits.shape[1]} logits are {which}"
    if len(logits) > 1 and (logits == logits[:1]).all():
        return f"{what}all {len(logits)} images have the same logits"
    return None
