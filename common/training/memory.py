"""A step too large for the memory: refused before it is taken, explained after it failed."""

import contextlib
import dataclasses
from collections.abc import Iterator

from common.errors import NinError, is_out_of_memory
from common.network import cost
from common.settings import Settings
from common.system import machine


def check(settings: Settings) -> str:
    """Refuse a batch whose step cannot fit into this machine's memory; a note if it hardly does.

    Args:
        settings: of a run on this machine's CPU.

    Raises:
        NinError: if the cost model says that it cannot fit.
    """
    try:
        needed = cost.of_run(settings).training.total / 2**30
    except NinError:  # of a kind that is not in the model
        return ""
    available = machine.memory_gib()
    if needed > available:
        raise NinError(
            f"`batch_size={settings.batch_size}`: this machine has {available:.1f} GiB of memory; "
            f"take a smaller one{_what_fits(settings)}"
        )
    if needed > available / 2:
        return f"the {available:.1f} GiB of memory may not suffice{_what_fits(settings)}"
    return ""


@contextlib.contextmanager
def explained(settings: Settings, where: str = "") -> Iterator[None]:
    """Turn a failure for want of memory into one line that says what would fit.

    Args:
        settings: of the run.
        where: the run's directory, as words behind "out of memory".

    Raises:
        NinError: in place of such a failure.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise NinError(
            f"out of memory{where}; take a smaller `batch_size` or `resize`{_what_fits(settings)}"
        ) from error


def _what_fits(settings: Settings) -> str:
    """What a step takes by the cost model, and a batch for which there is room; in brackets."""
    # what auto comes to is not known here; float32 takes more
    precision = "float32" if settings.precision == "auto" else settings.precision
    known = dataclasses.replace(settings, precision=precision)

    def gib(batch_size: int) -> float:
        return cost.of_run(known, batch_size=batch_size).training.total / 2**30

    size = settings.batch_size
    try:
        words = f"a step of {size} takes about {gib(size):.1f} GiB besides the program"
        # half of it is left to the framework, the data and others
        room = machine.memory_gib() / 2
        while size > 1 and (size == settings.batch_size or gib(size) > room):
            size = 2 ** ((size - 1).bit_length() - 1)
        fits = f", of `batch_size={size}` {gib(size):.1f}" if gib(size) <= room else ""
    except NinError:  # a network built by hand, or of a kind that is not in the model
        return ""
    return f" ({words}{fits})"
