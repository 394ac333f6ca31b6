"""The parts of the contract that a backend has, and one rule for what it lacks."""

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from common.contract import Backend, Benchmark, Device, Distribution, Exporter, Variants
from common.errors import NinError
from common.network import architecture
from common.network.description import CHAPTER, NETWORKS, Network
from common.settings import Settings
from common.training.workers import Workers


class LackingError(NinError):
    """A backend lacks a name that is needed for what was asked; the comparison goes on without."""


def need(owner: Any, name: str) -> Any:
    """What a backend, or its ``Predictor``, has under a name of the contract, or LackingError."""
    if not hasattr(owner, name):
        where = getattr(owner, "__name__", f"its {type(owner).__name__}")
        file = Path(getattr(owner, "__file__", None) or "__init__.py")
        if file.name != "__init__.py":  # its module has a name that nobody gave it
            where = file.name
        raise LackingError(f"{where} has no {name}")
    return getattr(owner, name)


def make_network(
    backend: Backend,
    network: Network = CHAPTER,
    num_classes: int = architecture.NUM_CLASSES,
    in_channels: int = architecture.IN_CHANNELS,
    dropout: float = architecture.DROPOUT,
    size: int = Settings.resize,
) -> Any:
    """The network of a description in a backend; see :meth:`common.contract.Variants.build`.

    Raises:
        LackingError: if it is not the chapter's and the backend has no other.
    """
    if network == CHAPTER:
        return backend.nin(num_classes, in_channels, dropout)
    return variants(backend).build(network, num_classes, in_channels, dropout, size)


def allocate(backend: Backend, net: Any, size: int) -> tuple[int, ...]:
    """Let a network make its weights from an image of a size; the shape of what it gives for it.

    Raises:
        NinError: as :meth:`common.contract.Backend.allocate` and :func:`explaining_size`.
    """
    with explaining_size(backend, net, size):
        shape: tuple[int, ...] = need(backend, "allocate")(net, architecture.random_image(size))
    return shape


@contextlib.contextmanager
def explaining_size(backend: Any, net: Any, size: int) -> Iterator[None]:
    """Say of images that are too small which are not, if the network is one that has a name."""
    try:
        yield
    except NinError:
        known = None
        with contextlib.suppress(Exception):  # without weights as yet
            classes = list(need(backend, "get_weights")(net).values())[-1].shape[0]
            dropout = need(backend, "dropout_rate")(net)
            known = recognise(
                backend, net, CHAPTER, classes, architecture.IN_CHANNELS, dropout, Settings.resize
            )
        if known is not None:
            architecture.check_input_size(size, known)
        raise


def recognise(
    backend: Backend,
    net: Any,
    expected: Network,
    num_classes: int,
    in_channels: int,
    dropout: float,
    size: int,
) -> Network | None:
    """The description of a network with weights, if it is the expected one or has a name.

    A backend that cannot describe its layers is believed. The numbers are :func:`make_network`'s.
    A dropout with a rate of 0 may be missing, as it does nothing.
    """
    if not hasattr(backend, "describe"):
        return expected
    found = backend.describe(net)
    shapes = {name: array.shape for name, array in need(backend, "get_weights")(net).items()}
    for network in dict.fromkeys((expected, *NETWORKS.values())):
        # on paper first: building takes longer
        if size < architecture.smallest_input(network):
            continue
        if shapes != architecture.parameter_shapes(num_classes, in_channels, network, size):
            continue
        made = make_network(backend, network, num_classes, in_channels, dropout, size)
        lines = backend.describe(made)
        idle = {line for line in lines if line.startswith("dropout") and dropout == 0}
        if [line for line in lines if line not in idle] == [x for x in found if x not in idle]:
            return network
    return None


def variants(backend: Any) -> Variants:
    """The part of a backend that builds other networks than the chapter's, or LackingError."""
    return cast(Variants, _module(backend, "variants", ("build",)))


def exporter(backend: Any) -> Exporter:
    """The part of a backend that reads and writes its framework's own files, or LackingError."""
    return cast(Exporter, _module(backend, "export", ("save_native", "load_native", "run_native")))


def benchmark(backend: Any) -> Benchmark:
    """The part of a backend that ``scripts/bench.py`` times, or LackingError."""
    return cast(Benchmark, _module(backend, "bench", ("bare_step", "matrix_product")))


def join_workers(backend: Any, device: Device) -> Workers:
    """Those that train together with this process; it alone, with a backend that cannot do that."""
    try:
        part = cast(Distribution, _module(backend, "workers", ("join_workers",)))
    except LackingError:
        return Workers()
    return part.join_workers(device)


def _module(backend: Any, name: str, needed: tuple[str, ...]) -> Any:
    """A backend's module, or the backend itself if it is one file."""
    found = backend
    if hasattr(backend, "__path__"):
        full_name = f"{backend.__name__}.{name}"
        try:
            found = importlib.import_module(full_name)
        except ModuleNotFoundError as error:
            if error.name != full_name:
                raise
            raise LackingError(f"{backend.__name__} has no module {name}") from error
    for each in needed:
        need(found, each)
    return found
