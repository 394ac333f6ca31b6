"""Several processes that train one network together in TensorFlow: collective all-reduce."""

import functools

import numpy as np
import tensorflow as tf

from common.contract import Device
from common.training.workers import Workers, expected


class _Group(Workers):
    """The workers of ``TF_CONFIG``, one device each."""

    def __init__(self, device: Device) -> None:
        # the strategy would take each GPU that it sees for a worker
        gpus = tf.config.list_physical_devices("GPU")[:1] if device.kind == "gpu" else []
        tf.config.set_visible_devices(gpus, "GPU")
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        resolver = self.strategy.cluster_resolver
        self.rank, self.count = resolver.task_id, self.strategy.num_replicas_in_sync
        self.device = device.native
        self._sum = tf.function(lambda values: self.strategy.run(self._sum_here, (values,)))

    def sum(self, values: np.ndarray) -> np.ndarray:
        """See :class:`common.training.workers.Workers`."""
        return self._sum(tf.constant(values)).numpy()

    def _sum_here(self, values: tf.Tensor) -> tf.Tensor:
        with tf.device(self.device):
            return _summed([tf.identity(values)])[0]


@functools.cache
def join_workers(device: Device) -> Workers:
    """This process among those that ``TF_CONFIG`` names, or alone.

    Args:
        device: that this process computes on.
    """
    return _Group(device) if expected("tf") > 1 else Workers()


def summing_gradients(gradients: list[tf.Tensor], workers: Workers) -> list[tf.Tensor]:
    """The sums of the workers' gradients; within what the strategy runs."""
    return gradients if workers.count == 1 else _summed(gradients)


def _summed(values: list[tf.Tensor]) -> list[tf.Tensor]:
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, values)
