"""The order of the training examples."""

import numpy as np


def example_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order in which an epoch visits the examples, the same in every backend and resumed run.

    Args:
        seed: of the run.
        epoch: number of the epoch, from 0.
        count: number of training examples.

    Returns:
        int64, (count,): a permutation of ``range(count)``.
    """
    return np.random.default_rng([seed, epoch]).permutation(count)
