"""Several processes that train one network together in PyTorch: DistributedDataParallel."""

import atexit
import functools
import gc
import os

import numpy as np
import torch
from torch import distributed, nn

from common.contract import Device
from common.training.workers import Workers, expected


class _Group(Workers):
    """The process group of torchrun."""

    def __init__(self, device: Device) -> None:
        store, rank, count = next(distributed.rendezvous("env://"))
        # torchrun's store outlives a restart, and has the addresses of those that are gone
        # (pytorch/pytorch#135712); several nodes do not agree on the number of restarts
        if os.environ.get("GROUP_WORLD_SIZE") == "1":
            restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            store = distributed.PrefixStore(restarts, store)
        distributed.init_process_group(
            "nccl" if device.kind == "gpu" else "gloo", store=store, rank=rank, world_size=count
        )
        atexit.register(_leave)
        self.device = device.native
        self.rank, self.count = rank, count

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
