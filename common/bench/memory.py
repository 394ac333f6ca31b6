"""How much memory a training step or a prediction really takes, in a process of its own."""

import ctypes
import gc
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from common.backends import registry, session
from common.backends.parts import make_network, need
from common.contract import Backend
from common.errors import NinError
from common.network import cost as on_paper
from common.settings import Settings
from common.system import machine

WHAT = ("training", "prediction")
# The C library gives large buffers back as soon as they are freed, so that the peak is what was
# in use, not what was kept for the next time.
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536"}
IMAGE_SIZE = 28
TIMEOUT = 900
# In the first step a framework may allocate more, or less, than in those after it.
STEPS = 3


def measure(cost: on_paper.Cost, network: str, backend: str) -> dict[str, int]:
    """The most memory that a batch takes on a CPU, beyond what the framework itself does.

    In bytes, for ``training`` and ``prediction``; size, batch, precision and optimizer are those of
    the cost. NinError if it cannot be measured.
    """
    options = {name: getattr(cost, name) for name in ("resize", *on_paper.OPTIONS)}
    options |= {"network": network, "backend": registry.absolute(backend)}
    (python,) = session.interpreters([registry.label(backend)]).values()
    process = python, f"{__name__}:peak", TIMEOUT, GIVE_BACK
    return {what: session.call_apart(*process, what=what, **options) for what in WHAT}


def peak(what: str, network: str, **options: Any) -> int:
    """What :func:`measure` does in the process: the peak of the resident memory, less the start."""
    settings = Settings(device="cpu", **options)
    backend = session.start(settings).backend
    # so that what the framework loads when it first computes counts as its own
    _work(backend, what, network, settings, batch_size=1)
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):  # sets the peak back to what is resident now
        Path("/proc/self/clear_refs").write_text("5")
    before = machine.peak_memory()
    if not before:
        raise NinError("memory can be measured on Linux only")
    _work(backend, what, network, settings, settings.batch_size)
    return machine.peak_memory() - before


def _work(backend: Backend, what: str, network: str, settings: Settings, batch_size: int) -> None:
    """Build the network, and do some steps or predictions with a batch."""
    net = make_network(backend, on_paper.description_of(network), size=settings.resize)
    need(backend, "initialize")(net, "he", 0)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch_size, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    if what == "prediction":
        predictor = backend.Predictor(net, settings)
        for _ in range(STEPS):
            predictor.logits(images)
        return
    labels = rng.integers(0, 10, batch_size)
    trainer = need(backend, "Trainer")(net, settings, images, labels)
    for step in range(STEPS):
        trainer.train_batch(np.arange(batch_size), 1e-6, step)
        trainer.take_metrics()
