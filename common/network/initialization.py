"""A start in which no class is dead. The schemes themselves are the backends' (``init.py``)."""

from collections.abc import Mapping

import numpy as np

from common.errors import NinError

CLASS_BIAS = 1.0


class NoLastBlockError(NinError):
    """The network does not end in a block that can start as the identity."""


def identity_last_block(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights in which the last block's 1x1 convolutions pass their input through.

    The last block ends in a ReLU, and its 1x1 convolutions have one input and one output per
    class. Drawn at random they see inputs that hardly differ from image to image, all of them
    positive, so that the sum of a filter's weights decides whether its class is positive for all
    images or zero for all: about a third of the classes start dead, and stay so for long or for
    good. As the identity they keep the classes apart, and a bias in the block's first convolution
    keeps each above zero. The architecture is unchanged and all of it is trained.

    Args:
        weights: all parameters by canonical name.

    Returns:
        the same names; new arrays for the last block.

    Raises:
        NoLastBlockError: if the network ends in something else than such a block.
    """
    changed = dict(weights)
    block = list(weights)[-1].partition(".")[0]
    first, *others = (
        name for name in weights if name.startswith(f"{block}.") and weights[name].ndim > 1
    )
    if not block.startswith("block"):
        raise NoLastBlockError(f"the network ends in {block}, not in a block")
    # two in the chapter, none to three in its exercises
    for name in others:
        weight = weights[name]
        if weight.shape != (len(weight), len(weight), 1, 1):
            raise NoLastBlockError(f"{name} is no 1x1 convolution with as many outputs as inputs")
        changed[name] = np.eye(len(weight), dtype=weight.dtype)[:, :, np.newaxis, np.newaxis]
    biases = [name.removesuffix("weight") + "bias" for name in (first, *others)]
    for i, bias in enumerate(biases):
        if bias not in weights:
            raise NoLastBlockError(f"{bias.removesuffix('.bias')} has no bias")
        changed[bias] = np.full_like(weights[bias], 0 if i else CLASS_BIAS)
    return changed
