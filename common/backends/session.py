"""Start a backend in this process."""

from typing import NamedTuple

from common.backends.registry import load
from common.contract import Backend, Device
from common.errors import NinError
from common.settings import Settings
from common.system import machine


class Started(NamedTuple):
    """A backend that is ready to compute."""

    backend: Backend
    device: Device
    prepared: dict[str, str | int]
    """``threads`` and ``allocator``, as :mod:`common.system.machine` set them, for the records."""
    precision: str
    """That of the settings, or what ``auto`` comes to here."""


def start(settings: Settings) -> Started:
    """Prepare this process, import a backend and find its device.

    Args:
        settings: backend, precision, threads and device are used. Precision ``auto`` is bfloat16
            where the backend has it and the device is made for it (a GPU, a processor with AMX
            or AVX-512 BF16: one and a half to two times as fast), otherwise float32.

    Raises:
        NinError: as :func:`load`; or the backend has no such precision or device.
    """
    threads = machine.prepare(settings.threads)
    backend = load(settings.backend)
    if settings.precision not in (*backend.PRECISIONS, "auto"):
        raise NinError(
            f"`precision={settings.precision}`: {settings.backend} has only "
            f"{', '.join(backend.PRECISIONS)}"
        )
    backend.set_threads(threads)
    allocator = machine.set_allocator(backend.KEEP_MEMORY)
    device = backend.find_device(settings.device)
    precision = settings.precision
    if precision == "auto":
        made_for_it = device.kind == "gpu" or machine.has_bfloat16()
        precision = "bfloat16" if made_for_it and "bfloat16" in backend.PRECISIONS else "float32"
    return Started(backend, device, {"threads": threads, "allocator": allocator}, precision)
