"""The order of the training examples."""

import numpy as np


def example_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order in which one epoch visits the training examples.

    It depends on nothing but its arguments, so every backend sees the same batches and a
    resumed run goes on where it stopped.

    Args:
        seed: the run's seed.
        epoch: number of the epoch, from 0.
        count: number of training examples.

    Returns:
        int64 array of shape ``(count,)``, a permutation of ``range(count)``.
    """
    return np.random.default_rng([seed, epoch]).permutation(count)
