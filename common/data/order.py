"""The order of the training examples."""

import numpy as np


def example_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order in which an epoch visits the examples, the same in every backend and resumed run.

    It is a permutation of ``range(count)``, int64; epochs count from 0.
    """
    return np.random.default_rng([seed, epoch]).permutation(count)
