"""Devices, precisions, threads and versions in PyTorch. A GPU is ``cuda:0``."""

import os

import torch

from common.contract import Device
from common.errors import NinError
from common.training.workers import expected

PRECISIONS: tuple[str, ...] = ("float32", "bfloat16", "float64")
# a quarter of the speed at 224x224
KEEP_MEMORY = True


def find_device(kind: str) -> Device:
    """The device to compute on.

    Args:
        kind: ``cpu``, ``gpu``, or ``auto``: the first GPU if there is one; each of several workers
            on a machine has one of its own.

    Raises:
        NinError: for ``gpu`` where PyTorch sees none, and for more workers than GPUs.
    """
    if kind != "cpu" and torch.cuda.is_available():
        if _local_rank() >= torch.cuda.device_count():
            raise NinError(
                f"`device={kind}`: this machine has {torch.cuda.device_count()} GPUs, fewer than "
                "workers; start fewer, or use `device=cpu`"
            )
        name = f"cuda:{_local_rank()}"
        torch.cuda.set_device(name)
        return Device("gpu", name, torch.device(name))
    if kind == "gpu":
        raise NinError(
            "`device=gpu`: PyTorch sees no GPU here; use `device=cpu`, "
            "or run scripts/doctor.py to see what it finds"
        )
    return Device("cpu", "cpu", torch.device("cpu"))


def set_threads(count: int) -> None:
    """Compute on this many CPU threads."""
    torch.set_num_threads(count)


def versions() -> dict[str, str]:
    """Package name -> version."""
    return {"torch": str(torch.__version__)}


def _local_rank() -> int:
    """Number of this worker on its machine, from 0: that of its GPU."""
    return int(os.environ.get("LOCAL_RANK") or 0) if expected("torch") > 1 else 0
