"""The processes that train one network together, each on its share of every batch."""

import json
import os
from collections.abc import Mapping

import numpy as np


class Workers:
    """This process among those that train together; as it stands here, it is the only one.

    The module ``workers`` of a backend has a class derived from it, on its framework's own engine.
    """

    rank = 0
    """From 0; worker 0 alone writes files and shows progress."""
    count = 1

    def share(self, examples: np.ndarray) -> np.ndarray:
        """This worker's part of a batch: all parts together are the batch, in its order."""
        return np.array_split(examples, self.count)[self.rank]

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Add up the workers' float64 arrays of one shape; waits for all workers."""
        return values


def expected(backend: str, environment: Mapping[str, str] = os.environ) -> int:
    """How many workers the environment of a launcher announces; 1 without a launcher.

    The variables are torchrun's, TensorFlow's and MXNet's own.
    """
    try:
        if backend == "tf":
            cluster = json.loads(environment.get("TF_CONFIG") or "{}").get("cluster", {})
            return max(1, len(cluster.get("worker", ())))
        name = {"torch": "WORLD_SIZE", "mxnet": "DMLC_NUM_WORKER"}.get(backend, "")
        return max(1, int(environment.get(name) or 1))
    except (ValueError, AttributeError, TypeError):
        return 1  # the framework itself complains of it
