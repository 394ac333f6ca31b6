"""The contract between the project and a backend, and the registry that finds backends.

A backend is a package that fulfils :class:`Backend`: ``nin_torch``, ``nin_tf``, ``nin_mxnet``.
A fourth one is a new package and one line in :data:`BACKENDS`, or, from outside of this project,
a package that registers itself under the entry point group ``nin.backends``, or just a file
(``./my_nin.py``) or a package's name. The comparison needs little of the contract: the names in
:data:`REQUIRED`, and of a :class:`Trainer` ``logits`` or ``activations``.
"""

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from common import machine
from common.architecture import Convolution
from common.data import Dataset
from common.errors import NinError
from common.settings import Settings

# backend -> (package, module of the framework)
BACKENDS: dict[str, tuple[str, str]] = {
    "torch": ("nin_torch", "torch"),
    "tf": ("nin_tf", "tensorflow"),
    "mxnet": ("nin_mxnet", "mxnet"),
}

ENTRY_POINTS = "nin.backends"

# What scripts/bench.py times: does something so many times, one at least, and waits for the device.
Work = Callable[[int], None]

# without these there is nothing to load
REQUIRED = ("nin", "set_weights", "Trainer")


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
                mask and the views (:mod:`common.augmentation`), so that a resumed run drops the
                same units and sees the same views.
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

    def gradients(
        self, images: np.ndarray, labels: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Loss of a batch and its slope in every parameter, dropout off; changes nothing.

        Args:
            images: uint8, shape ``(batch, height, width)``, before resizing.
            labels: whole numbers, shape ``(batch,)``.

        Returns:
            mean cross-entropy in nats, and canonical name -> gradient, shaped as
            :meth:`Backend.get_weights` shapes the parameter.
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
    KEEP_MEMORY: bool
    """Whether its steps are faster if the process keeps the memory that they free."""

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

    # What scripts/bench.py times. The arrays are on the device before it begins.

    def bare_step(
        self, trainer: Any, images: np.ndarray, labels: np.ndarray, learning_rate: float
    ) -> Work:
        """A trainer's network and optimizer on one batch: what the framework itself costs.

        Forward, loss, backward and update; the pixels are resized beforehand, nothing is gathered
        and nothing is measured but the last loss.
        """
        ...

    def matrix_product(self, device: Device, size: int) -> Work:
        """The product of two float32 matrices of this height and width."""
        ...

    def convolution(self, device: Device, layer: Convolution, batch: int, backward: bool) -> Work:
        """A float32 convolution with its bias, alone, laid out in memory as in training.

        Args:
            device: where to compute.
            layer: which one.
            batch: number of images.
            backward: also the gradients of weights, bias and, but for the first, of the input.
        """
        ...

    def profile(self, trainer: Any, work: Work) -> dict[str, float]:
        """Some work, done once under the framework's own profiler.

        Args:
            trainer: with whose network it computes.
            work: what :meth:`bare_step` gave.

        Returns:
            operation, as the framework calls it -> seconds, added up over all of this kind in one
            step. Operations that run side by side count each.
        """
        ...


class Started(NamedTuple):
    """A backend that is ready to compute."""

    backend: Backend
    device: Device
    prepared: dict[str, str | int]
    """``threads`` and ``allocator``: what :mod:`common.machine` set, to be recorded with a run."""
    precision: str
    """That of the settings, or what ``auto`` comes to here."""


def names() -> list[str]:
    """The backends with a name of their own: this project's and the registered ones."""
    return list(dict.fromkeys([*BACKENDS, *_entry_points()]))


def load(spec: str) -> Backend:
    """Import a backend.

    Args:
        spec: one of :func:`names`, a file (``./my_nin.py``), a directory that is a package, or
            the name of a package.

    Raises:
        NinError: unknown, its framework is not installed or does not import, or not a backend.
    """
    check_spec(spec)
    package, framework = BACKENDS.get(spec, (spec, None))
    try:
        module = _import(spec) if framework is None else importlib.import_module(package)
    except Exception as error:  # a framework beside the wrong NumPy fails in any way it likes
        missing = getattr(error, "name", None) or ""
        if isinstance(error, ModuleNotFoundError) and missing.split(".")[0] == framework:
            raise NinError(
                f"backend {spec}: {framework} is not installed; {install_hint(spec)}"
            ) from error
        more = "; scripts/doctor.py shows more" if framework is not None else ""
        raise NinError(
            f"backend {spec}: {framework or 'it'} does not import ({one_line(error)}){more}"
        ) from error
    lacking = [name for name in REQUIRED if not hasattr(module, name)]
    if lacking:
        raise NinError(f"backend {spec}: not a backend, it has no {', '.join(lacking)}")
    return cast(Backend, module)


def check_name(name: str) -> None:
    """Raise :class:`NinError` unless this is the name of a backend."""
    if name not in names():
        raise NinError(f"--backend {name}: unknown; choose one of {', '.join(names())}")


def check_spec(spec: str) -> None:
    """Raise :class:`NinError` unless :func:`load` would find something; imports no backend."""
    if _is_path(spec):
        if not Path(spec).exists():
            raise NinError(f"backend {spec}: no such file")
    elif not _is_package(spec):
        check_name(spec)


def label(spec: str) -> str:
    """A short name for reports: ``my_nin`` for ``./my_nin.py``."""
    return Path(spec).resolve().stem if _is_path(spec) else spec


def absolute(spec: str) -> str:
    """The same backend, for a process in another directory."""
    return str(Path(spec).resolve()) if _is_path(spec) else spec


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
            f"--precision {settings.precision}: {settings.backend} has only "
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


def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def _is_path(spec: str) -> bool:
    return spec.endswith(".py") or "/" in spec


def _is_package(spec: str) -> bool:
    try:
        return importlib.util.find_spec(spec) is not None
    except (ImportError, ValueError):
        return False


def _import(spec: str) -> ModuleType:
    """Import a backend that is not of this project."""
    if _is_path(spec):
        path = Path(spec).resolve()
        # under its own name, beside what it may import from its directory
        sys.path.insert(0, str(path.parent))
        return importlib.import_module(path.stem)
    if spec in _entry_points():
        return cast(ModuleType, _entry_points()[spec].load())
    return importlib.import_module(spec)
