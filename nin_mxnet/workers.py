"""Several processes that train one network together in MXNet: the ``dist_sync`` kvstore."""

import functools
from collections.abc import Mapping

import mxnet as mx
import numpy as np
from mxnet import np as mnp
from mxnet.gluon import Parameter

from common.contract import Device
from common.training.workers import Workers, expected


class _Group(Workers):
    """The workers of the ``DMLC_*`` variables; scheduler and servers end when they are done.

    differs: MXNet's servers hold and add up the arrays, under names; the other frameworks' workers
    exchange them with each other.
    """

    def __init__(self) -> None:
        self.store = mx.kv.create("dist_sync")
        self.rank, self.count = self.store.rank, self.store.num_workers
        self._known: set[str] = set()

    def sum(self, values: np.ndarray) -> np.ndarray:
        """See :class:`common.training.workers.Workers`."""
        total = mnp.array(values, dtype=values.dtype)
        self.sum_in_place({f"values {values.shape}": total})
        return total.asnumpy()

    def sum_in_place(self, arrays: Mapping[str, mnp.ndarray]) -> None:
        """Replace each array by the workers' sum of the arrays of that name."""
        # the store adds in float32, whatever it is given (seen in 1.9.1)
        exact = {name: a for name, a in arrays.items() if a.dtype == np.float64}
        sent = {**arrays, **{name: self._halves(array) for name, array in exact.items()}}
        for name, array in sent.items():
            if name not in self._known:
                self._known.add(name)
                self.store.init(name, mnp.zeros_like(array))
        for number, (name, array) in enumerate(sent.items()):
            # what is known first, the last layer's, is sent first
            self.store.push(name, array, priority=number)
            self.store.pull(name, out=array, priority=number)
        for name, array in exact.items():
            array[:] = sent[name].astype(np.float64).sum(0).reshape(array.shape)

    def _halves(self, array: mnp.ndarray) -> mnp.ndarray:
        """A float64 array as two of float32, in this worker's place: nothing is added to them."""
        flat = array.reshape(-1)
        high = flat.astype(np.float32)
        halves = mnp.zeros((2 * self.count, flat.size), np.float32)
        halves[2 * self.rank] = high
        halves[2 * self.rank + 1] = flat - high.astype(np.float64)
        return halves


@functools.cache
def join_workers(device: Device) -> Workers:
    """This process among those that its environment names, or alone.

    Args:
        device: that this process computes on.
    """
    return _Group() if expected("mxnet") > 1 else Workers()


def summing_gradients(named: Mapping[str, Parameter], workers: Workers) -> None:
    """Put the sums of the workers' gradients in the place of this worker's."""
    if isinstance(workers, _Group):
        workers.sum_in_place({name: value.grad() for name, value in named.items()})
