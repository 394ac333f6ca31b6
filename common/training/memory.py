"""A step too large for the memory: refused before it is taken, explained after it failed."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from common.errors import NinError, is_out_of_memory
from common.network import cost
from common.report.style import size
from common.settings import Settings
from common.system import machine
from common.training import run_directory


def check(settings: Settings) -> str:
    """A note if a step on the CPU hardly fits into memory; NinError if, on paper, it cannot."""
    needed = cost.of_run(settings).training.total
    available = machine.memory_gib() * 2**30
    if needed > available:
        raise NinError(
            f"`batch_size={settings.batch_size}`: this machine has {size(available)} of memory; "
            f"take a smaller one{_what_fits(settings)}"
        )
    if needed > available / 2:
        return f"the {size(available)} of memory may not suffice{_what_fits(settings)}"
    return ""


@contextlib.contextmanager
def explained(settings: Settings, directory: Path | None = None) -> Iterator[None]:
    """Turn a failure for want of memory into a NinError: what would fit, and where the run is."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        is_there = directory is not None and (directory / run_directory.CONFIG).is_file()
        where = f" in {directory}" if is_there else ""
        raise NinError(
            f"out of memory{where}; take a smaller `batch_size` or `resize`{_what_fits(settings)}"
        ) from error


def _what_fits(settings: Settings) -> str:
    """What a step takes by the cost model, and a batch for which there is room; in brackets."""
    # what auto comes to is not known here; float32 takes more
    precision = "float32" if settings.precision == "auto" else settings.precision
    known = dataclasses.replace(settings, precision=precision)

    def needs(batch_size: int) -> float:
        return cost.of_run(known, batch_size=batch_size).training.total

    batch = settings.batch_size
    try:
        words = f"a step of {batch} takes about {size(needs(batch))} besides the program"
        # half of it is left to the framework, the data and others
        room = machine.memory_gib() * 2**30 / 2
        while batch > 1 and (batch == settings.batch_size or needs(batch) > room):
            batch = 2 ** ((batch - 1).bit_length() - 1)
        fits = f", of `batch_size={batch}` {size(needs(batch))}" if needs(batch) <= room else ""
    except NinError:  # a network built by hand, or of a kind that is not in the model
        return ""
    return f" ({words}{fits})"
