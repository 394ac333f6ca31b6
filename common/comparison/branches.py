"""Where a network of ReLUs and max pooling may take another branch when it is rounded."""

from collections.abc import Mapping

import numpy as np

from common.comparison.mistakes import leads
from common.network import architecture
from common.network.description import CHAPTER, Network

# Values of a pooling window that are this near, relative to the largest, are the same number: they
# lie in flat parts of an image, and the same windows below them give the same gradient.
EQUAL = 1e-12
# A margin of so many times the layer's largest rounding error may be gone in another computation in
# float32: gradients may come from other kernels than outputs, and the errors of two pixels add up.
NEAR = 4


def last_branch(
    rounded: Mapping[str, np.ndarray], exact: Mapping[str, np.ndarray], network: Network = CHAPTER
) -> str | None:
    """The last layer at which rounding may decide a branch; gradients there and before may differ.

    It is a convolution with an output (``rounded``, and ``exact`` in float64) so near 0 that its
    ReLU may be on or off, or the one before a pooling layer that may take another pixel; None if
    there is none, or the outputs are not known.
    """
    last, before = None, ""
    dense = architecture.dense_layers(architecture.smallest_input(network), network=network)
    for layer in [*architecture.layers(network=network), *dense]:
        if not (layer.is_pool or layer.relu):
            continue
        name = before if layer.is_pool else layer.name
        if name in rounded and name in exact and rounded[name].shape == exact[name].shape:
            one, other = rounded[name], exact[name]
            error = np.abs(one - other).max(initial=0)
            if layer.is_pool:
                margins = leads(other, layer.kernel_size, layer.stride)
                margins = margins[margins > EQUAL * other.max(initial=0)]
            else:
                margins = np.concatenate([one[one > 0], other[other > 0]])
            last = name if (margins < NEAR * error).any() else last
        before = layer.name
    return last
