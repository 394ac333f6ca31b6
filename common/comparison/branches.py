"""Where a network of ReLUs and max pooling took another branch in two computations."""

from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from common.network import architecture
from common.network.description import CHAPTER, Network

# Values of a pooling window that are this near, relative to the largest, are the same number: they
# lie in flat parts of an image, and the same windows below them give the same gradient.
EQUAL = 1e-12


def last_branch(
    rounded: Mapping[str, np.ndarray], exact: Mapping[str, np.ndarray], network: Network = CHAPTER
) -> str | None:
    """The last layer at which rounding decided a branch, so that gradients there and before differ.

    Args:
        rounded: layer -> output, after its ReLU.
        exact: the same in float64.
        network: whose layers they are.

    Returns:
        A convolution whose ReLU is on in one and off in the other, or the one before a pooling
        layer that takes another pixel; None if there is none, or the outputs are not known.
    """
    last = None
    before = ""
    for layer in _with_branches(network):
        name = before if layer.is_pool else layer.name
        if name in rounded and name in exact and rounded[name].shape == exact[name].shape:
            one, other = rounded[name], exact[name]
            if layer.is_pool:
                decided = _takes_another(one, other, layer.kernel_size, layer.stride)
            else:
                decided = bool(((one > 0) != (other > 0)).any())
            last = name if decided else last
        before = layer.name
    return last


def _with_branches(network: Network) -> list[architecture.Layer]:
    """The layers at which a computation goes one way or another."""
    dense = architecture.dense_layers(architecture.smallest_input(network), network=network)
    every = [*architecture.layers(network=network), *dense]
    return [layer for layer in every if layer.is_pool or layer.relu]


def _takes_another(one: np.ndarray, other: np.ndarray, kernel: int, stride: int) -> bool:
    """Whether some pooling window of the two has its largest value at another place."""
    windows = []
    for array in (one, other):
        cut = sliding_window_view(array, (kernel, kernel), (2, 3))  # type: ignore[call-overload]
        cut = cut[:, :, ::stride, ::stride]
        windows.append(cut.reshape(*cut.shape[:4], -1))
    taken = windows[0].argmax(-1)[..., None]
    lost = windows[1].max(-1) - np.take_along_axis(windows[1], taken, -1)[..., 0]
    return bool((lost > EQUAL * other.max(initial=0)).any())
