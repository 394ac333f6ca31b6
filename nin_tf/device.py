"""Devices, threads and versions in TensorFlow. A GPU is ``/GPU:0``."""

import tensorflow as tf

from common.backends import Device
from common.errors import NinError


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
            "--device gpu: TensorFlow sees no GPU here; use --device cpu, "
            "or see scripts/doctor.py for what it sees"
        )
    return Device("cpu", "/CPU:0", "/CPU:0")


def set_threads(count: int) -> None:
    """Compute on this many CPU threads."""
    # differs: two numbers, threads within an operation and operations at a time; as many of each
    # was fastest (2 cores, 68x68: 4 % faster than one operation at a time)
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)


def versions() -> dict[str, str]:
    """Package name -> version."""
    return {"tensorflow": str(tf.__version__), "keras": str(tf.keras.version())}
