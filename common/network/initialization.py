"""A start in which no class is dead. The schemes themselves are the backends' (``init.py``)."""

from collections.abc import Mapping

import numpy as np

LAST_BLOCK = "block4"
CLASS_BIAS = 1.0


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
    """
    changed = dict(weights)
    first = f"{LAST_BLOCK}.conv1.bias"
    # two in the chapter, one or three in its exercises
    for name, weight in weights.items():
        if name.startswith(LAST_BLOCK) and weight.shape[2:] == (1, 1):
            identity = np.eye(len(weight), dtype=weight.dtype)
            changed[name] = identity[:, :, np.newaxis, np.newaxis]
            bias = name.removesuffix("weight") + "bias"
            changed[bias] = np.zeros_like(weights[bias])
    changed[first] = np.full_like(weights[first], CLASS_BIAS)
    return changed
