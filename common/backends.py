"""The contract between the project and a backend, and the registry that finds backends.

A backend is a package that fulfils :class:`Backend`: ``nin_torch``, ``nin_tf``, ``nin_mxnet``.
A fourth one is a new package and one line in :data:`BACKENDS`.
"""

import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from common import machine
from common.data import Dataset
from common.errors import NinError
from common.settings import Settings

# backend -> (package, module of the framework)
BACKENDS: dict[str, tuple[str, str]] = {
    "torch": ("nin_torch", "torch"),
    "tf": ("nin_tf", "tensorflow"),
    "mxnet": ("nin_mxnet", "mxnet"),
}


class LayerOutput(NamedTuple):
    """One layer of the book's shape walk, and what came out of it."""

    book_name: str
    """The name that the book's loop prints: class name, or MXNet's ``layer.name``."""
    shape_text: str
    """The shape as the book's loop prints it, in the framework's own layout."""
    name: str | None
    """Canonical name (``block1`` ... ``flatten``), ``None`` if only this framework has it."""
    output: np.ndarray
    """The output itself, channels first."""


class Device(NamedTuple):
    """Where a backend computes."""

    kind: str
    """``cpu`` or ``gpu``."""
    name: str
    """As the book prints it: ``cuda:0`` or ``cpu``, ``gpu(0)``, ``/GPU:0`` ..."""
    native: Any
    """The framework's own device object."""


class Trainer(Protocol):
    """A network, its optimizer and the training data, together on one device."""

    net: Any
    device: Device

    def train_batch(self, indices: np.ndarray, learning_rate: float, step: int) -> None:
        """One optimizer step on the cross-entropy of a batch. Does not wait for the device.

        Args:
            indices: int64, shape ``(batch,)``: which training examples.
            learning_rate: for this step.
            step: number of the step in the run, from 0. With the seed it decides the dropout
                mask, so that a resumed run drops the same units.
        """
        ...

    def take_metrics(self) -> tuple[np.ndarray, np.ndarray]:
        """Wait for the device; what each step since the last call measured.

        Returns:
            mean cross-entropy of each batch in nats, float64 of shape ``(steps,)``, and
            correctly classified examples of each batch, int64 of shape ``(steps,)``; both
            measured on the batch before its update, with dropout on, as in the book.
        """
        ...

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Predict, with dropout off.

        Args:
            images: uint8, shape ``(batch, height, width)``, before resizing.

        Returns:
            float array of shape ``(batch, classes)``.
        """
        ...

    def activations(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs of all layers and convolutions for uint8 images, dropout off.

        Returns:
            ``input``, ``block1.conv1`` (after its ReLU) ... ``flatten`` -> array, channels
            first, in the order of computation.
        """
        ...

    def state(self) -> dict[str, np.ndarray]:
        """All that the next steps depend on: weights and the optimizer's memory, copied."""
        ...

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up a state that :meth:`state` gave, bit for bit."""
        ...


class Backend(Protocol):
    """What scripts and tests use of a backend package. Each name is a module-level function."""

    NAME: str
    PRECISIONS: tuple[str, ...]

    # nin_block(...) has the book's signature, which differs between the frameworks.
    nin_block: Any

    def nin(self, num_classes: int = 10, in_channels: int = 1, dropout: float = 0.5) -> Any:
        """The chapter's network, a sequence of layers, its weights not yet meaningful."""
        ...

    def initialize(self, net: Any, scheme: str, seed: int) -> None:
        """Draw all weights anew: ``xavier`` as the book does, or ``he``."""
        ...

    def get_weights(self, net: Any) -> dict[str, np.ndarray]:
        """Copies of all parameters by canonical name, convolutions (out, in, height, width)."""
        ...

    def set_weights(self, net: Any, weights: Mapping[str, np.ndarray]) -> None:
        """The reverse of :meth:`get_weights`; raises ``NinError`` on a name or shape amiss."""
        ...

    def shape_walk(self, net: Any, images: np.ndarray) -> Iterator[LayerOutput]:
        """The book's loop over the layers, for float32 images (batch, channels, height, width)."""
        ...

    def find_device(self, kind: str) -> Device:
        """The device for ``auto``, ``cpu`` or ``gpu``; ``NinError`` if there is none."""
        ...

    def set_threads(self, count: int) -> None:
        """Compute on this many CPU threads; to be called before anything is computed."""
        ...

    def versions(self) -> dict[str, str]:
        """Package name -> version of what computes."""
        ...

    def Trainer(self, net: Any, settings: Settings, dataset: Dataset) -> Trainer:
        """Put an initialised network and the training data on the device."""
        ...

    # A file as the framework's users write and load it, without this project.

    def save_native(self, net: Any, path: Path) -> list[Path]:
        """Write the network; all files that were written, ``path`` being the last of them."""
        ...

    def load_native(self, path: Path) -> dict[str, np.ndarray]:
        """The weights in such a file, named as :meth:`get_weights` does; not checked."""
        ...

    def run_native(self, path: Path, pixels: np.ndarray) -> np.ndarray:
        """What the file makes of float32 pixels (batch, channels, height, width): logits."""
        ...


class Started(NamedTuple):
    """A backend that is ready to compute."""

    backend: Backend
    device: Device
    prepared: dict[str, str | int]
    """Threads and allocator, as :func:`common.machine.prepare` set them."""


def load(name: str) -> Backend:
    """Import a backend.

    Args:
        name: a key of :data:`BACKENDS`.

    Raises:
        NinError: unknown name, or its framework is not installed or does not import.
    """
    check_name(name)
    package, framework = BACKENDS[name]
    try:
        module: ModuleType = importlib.import_module(package)
    except Exception as error:  # a framework beside the wrong NumPy fails in any way it likes
        missing = getattr(error, "name", None) or ""
        if isinstance(error, ModuleNotFoundError) and missing.split(".")[0] == framework:
            raise NinError(
                f"backend {name}: {framework} is not installed; {install_hint(name)}"
            ) from error
        raise NinError(
            f"backend {name}: {framework} does not import ({one_line(error)}); "
            "scripts/doctor.py shows more"
        ) from error
    return cast(Backend, module)


def start(settings: Settings) -> Started:
    """Prepare this process, import a backend and find its device.

    Args:
        settings: backend, precision, threads and device are used.

    Raises:
        NinError: as :func:`load`; or the backend has no such precision or device.
    """
    prepared = machine.prepare(settings.threads)
    backend = load(settings.backend)
    if settings.precision not in backend.PRECISIONS:
        raise NinError(
            f"--precision {settings.precision}: {settings.backend} has only "
            f"{', '.join(backend.PRECISIONS)}"
        )
    backend.set_threads(int(prepared["threads"]))
    return Started(backend, backend.find_device(settings.device), prepared)


def install_hint(name: str) -> str:
    """What to do to get a backend, in a few words."""
    if name == "mxnet" and sys.version_info >= (3, 13):
        return (
            "it needs NumPy 1, so Python 3.10 to 3.12: make train BACKEND=mxnet PYTHON=python3.12"
        )
    return f'install it with: pip install -e ".[{name}]" (or make train BACKEND={name})'


def one_line(error: BaseException) -> str:
    """An exception's message without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception of any framework says that memory ran out; each has its own words."""
    words = f"{type(error).__name__} {error}".lower()
    phrases = ("out of memory", "not enough memory", "exhausted", "allocate memory", "bad_alloc")
    return any(phrase in words for phrase in (*phrases, "allocate cpu memory"))


def check_name(name: str) -> None:
    """Raise :class:`NinError` unless this is the name of a backend."""
    if name not in BACKENDS:
        raise NinError(f"--backend {name}: unknown; choose one of {', '.join(BACKENDS)}")
