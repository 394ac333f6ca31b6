"""Several processes that train one network together in PyTorch: DistributedDataParallel."""

import atexit
import functools
import gc

import numpy as np
import torch
from torch import distributed, nn

from common.contract import Device
from common.training.workers import Workers, expected


class _Group(Workers):
    """The process group of torchrun."""

    def __init__(self, device: Device) -> None:
        distributed.init_process_group("nccl" if device.kind == "gpu" else "gloo")
        atexit.register(_leave)
        self.device = device.native
        self.rank, self.count = distributed.get_rank(), distributed.get_world_size()

    def sum(self, values: np.ndarray) -> np.ndarray:
        """See :class:`common.training.workers.Workers`."""
        total = torch.from_numpy(values.copy()).to(self.device)
        distributed.all_reduce(total)
        return total.cpu().numpy()


def _leave() -> None:
    """End gloo's threads, which let go of tensors late: after Python has ended that is an abort."""
    gc.collect()  # of networks that still refer to the group
    distributed.destroy_process_group()
    gc.collect()


@functools.cache
def join_workers(device: Device) -> Workers:
    """This process among those that torchrun started, or alone.

    Args:
        device: that this process computes on.
    """
    return _Group(device) if expected("torch") > 1 else Workers()


def summing_gradients(net: nn.Module, workers: Workers) -> nn.Module:
    """A network whose gradients are the means over the workers' after each backward pass."""
    if workers.count == 1:
        return net
    device = next(net.parameters()).device
    return nn.parallel.DistributedDataParallel(net, [device] if device.type == "cuda" else None)
