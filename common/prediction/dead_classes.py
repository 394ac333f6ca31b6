"""Which classes of a network are dead, and whether it tells images apart: what its outputs show.

The last block ends in a ReLU. A class whose channel is below 0 everywhere has the logit 0 for every
image; no gradient flows to it any more, so that it stays dead, and costs a tenth of the accuracy.
"""

import numpy as np

from common.errors import plural

# Of this many images of its own a living class recognises one, however bad the network is.
ENOUGH = 20


def problem(logits: np.ndarray) -> str | None:
    """One sentence on a network whose logits, (count, classes), say nothing; else None."""
    if (logits == logits[:, :1]).all():
        which = "exactly 0" if not logits.any() else "the same number"
        found = f"for every image all {logits.shape[1]} logits are {which}"
    elif len(logits) > 1 and (logits == logits[:1]).all():
        found = f"all {len(logits)} images have the same logits"
    else:
        return None
    return f"the network tells nothing apart: {found}"


def find(logits: np.ndarray, labels: np.ndarray | None) -> list[int]:
    """The classes whose logit is 0 for every image; none if :func:`problem` says more.

    A class of which there are few images, by the labels, is not judged.
    """
    if labels is None or problem(logits) is not None:
        return []
    classes = range(logits.shape[1])
    counts = np.bincount(np.asarray(labels, np.int64), minlength=len(classes))
    return [c for c in classes if counts[c] >= ENOUGH and not logits[:, c].any()]


def explain(names: list[str], count: int) -> str:
    """One sentence on dead classes, of so many images that were looked at."""
    their, it = ("its logit is", "it") if len(names) == 1 else ("their logits are", "they")
    found = plural(f"{len(names)} dead class(es)")
    return (
        f"{found}: {', '.join(names)}; {their} 0 for all {count} images, so that {it} can hardly "
        "ever be predicted and no gradient flows there"
    )
