"""Devices, precisions, threads and versions in TensorFlow. A GPU is ``/GPU:0``."""

import tensorflow as tf

from common.contract import Device
from common.errors import NinError

PRECISIONS: tuple[str, ...] = ("float32", "bfloat16", "float64")
# differs: measured, no gain
KEEP_MEMORY = False


def find_device(kind: str) -> Device:
    """The device to compute on.

    Args:
        kind: ``cpu``, ``gpu``, or ``auto``: the first GPU if there is one.

    Raises:
        NinError: for ``gpu`` where TensorFlow sees none.
    """
    if kind != "cpu" and tf.config.list_physical_devices("GPU"):
        return Device("gpu", "/GPU:0", "/GPU:0")
    if kind == "gpu":
        raise NinError(
            "`device=gpu`: TensorFlow sees no GPU here; use `device=cpu`, "
            "or run scripts/doctor.py to see what it finds"
        )
    return Device("cpu", "/CPU:0", "/CPU:0")


def set_threads(count: int) -> None:
    """Compute on this many CPU threads.

    Raises:
        NinError: if TensorFlow has computed on another number already.
    """
    # differs: two numbers, threads within an operation and operations at a time; as many of each
    # was fastest (2 cores, 68x68: 4 % faster than one operation at a time)
    threading = tf.config.threading
    try:
        threading.set_intra_op_parallelism_threads(count)
        threading.set_inter_op_parallelism_threads(count)
    except RuntimeError as error:
        # differs: fixed from the first operation on, such as making a network
        found = threading.get_intra_op_parallelism_threads()
        raise NinError(
            f"`threads={count}`: TensorFlow computes on {found} since its first operation; set "
            "OMP_NUM_THREADS before it is imported, or use a new process"
        ) from error


def versions() -> dict[str, str]:
    """Package name -> version."""
    return {"tensorflow": str(tf.__version__), "keras": str(tf.keras.version())}
