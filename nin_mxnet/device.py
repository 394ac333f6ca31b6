"""Devices, precisions, threads and versions in MXNet. A GPU is ``gpu(0)``."""

import ctypes
import os

import mxnet as mx
from mxnet import npx
from mxnet.base import _LIB, check_call

from common.contract import Device
from common.errors import NinError
from nin_mxnet._import import THREADS

# differs: no bfloat16, a type that MXNet's NumPy interface does not know
PRECISIONS: tuple[str, ...] = ("float32", "float64")
# differs: its graph keeps its arrays itself
KEEP_MEMORY = False
# threads that MXNet has computed on
_fewest = THREADS


def find_device(kind: str) -> Device:
    """The device to compute on.

    Args:
        kind: ``cpu``, ``gpu``, or ``auto``: the first GPU if there is one.

    Raises:
        NinError: for ``gpu`` where MXNet sees none.
    """
    if kind != "cpu" and mx.context.num_gpus() > 0:
        return Device("gpu", "gpu(0)", mx.gpu(0))
    if kind == "gpu":
        raise NinError(
            "`device=gpu`: MXNet sees no GPU here; use `device=cpu`, "
            "or run scripts/doctor.py to see what it finds"
        )
    return Device("cpu", "cpu(0)", mx.cpu(0))


def set_threads(count: int) -> None:
    """Compute on this many CPU threads.

    differs: MXNet's engine computes on a worker thread of its own (but for NaiveEngine, which works
    in the caller's), and OpenMP counts per thread, so the worker has to set the count itself
    (``MXSetNumOMPThreads`` reaches the caller only).

    Raises:
        NinError: if MXNet may have computed on fewer threads already.
    """
    global _fewest
    # differs: MXNet keeps each convolution that it has made, with memory for the threads of that
    # time; on more it writes beyond that memory
    if count > _fewest:
        raise NinError(
            f"`threads={count}`: MXNet has computed on {_fewest} and would crash on more; set "
            "OMP_NUM_THREADS before it is imported, or use a new process"
        )
    _fewest = count

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
    def on_worker(_context: int, _argument: int) -> None:
        _LIB.omp_set_num_threads(count)

    # MXNet's C struct Context: 1 is the CPU, and 0 its number
    cpu = (ctypes.c_int * 2)(1, 0)
    no_arrays = (None, 0, None, 0)
    check_call(
        _LIB.MXEnginePushSync(on_worker, None, None, ctypes.byref(cpu), *no_arrays, None, 0, None)
    )
    # the worker must have run it before Python frees it
    npx.waitall()


def versions() -> dict[str, str]:
    """Package name -> version, with the engine (see ``_import.py``) that its speed depends on."""
    engine = os.environ.get("MXNET_ENGINE_TYPE", "default engine")
    return {"mxnet": f"{mx.__version__}, {engine}"}
