"""One look at a machine: which backends work, on what, and where data would come from."""

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.backends import registry, session
from common.data import fashion_mnist
from common.errors import NinError
from common.files.paths import expand
from common.system import machine

PROBE_SECONDS = 180


def examine(names: Sequence[str], python: Sequence[str]) -> dict[str, Any]:
    """All that the doctor reports, of backends by name; ``python`` has their ``NAME=PATH``."""
    interpreters = session.interpreters(names, python)
    variables = (
        machine.THREADS_VARIABLE,
        "CUDA_VISIBLE_DEVICES",
        fashion_mnist.DIRECTORY_VARIABLE,
        *(name for name in os.environ if name.startswith(session.INTERPRETER_VARIABLE)),
    )
    environment = {name: os.environ[name] for name in variables if name in os.environ}
    return {
        "machine": {**machine.describe(), "threads": machine.threads_for(0)},
        "environment": environment,
        "packages": machine.versions(
            "safetensors", "matplotlib", "pooch", "rich", "tensorboardX", "setuptools"
        ),
        "git_commit": machine.git_commit(),
        "backends": {name: probe_apart(name, path) for name, path in interpreters.items()},
        "data": data_places(),
    }


def probe(name: str) -> dict[str, Any]:
    """Import a backend here and see what it finds, or the ``reason`` why it does not work."""
    started = time.monotonic()
    try:
        backend = registry.load(name)
    except NinError as error:
        return {"works": False, "reason": str(error)}
    seconds = time.monotonic() - started
    # a small backend need not have what is not needed for numbers
    devices = [] if hasattr(backend, "find_device") else ["cpu"]
    for kind in ("cpu", "gpu") if not devices else ():
        with contextlib.suppress(NinError):
            devices.append(backend.find_device(kind).name)
    return {
        "works": True,
        "versions": getattr(backend, "versions", dict)(),
        "devices": devices,
        "precisions": list(getattr(backend, "PRECISIONS", ())),
        "import_seconds": round(seconds, 2),
    }


def probe_apart(name: str, interpreter: str) -> dict[str, Any]:
    """:func:`probe` in a process of its own, which may crash or hang."""
    function = "common.system.doctor:probe"
    try:
        return dict(session.call_apart(interpreter, function, PROBE_SECONDS, name=name))
    except NinError as error:
        return {"works": False, "reason": f"backend {name}: {error}"}


def data_places() -> list[dict[str, str]]:
    """Where :func:`common.data.fashion_mnist.load` would look, in order, and what is there now."""
    variable = fashion_mnist.DIRECTORY_VARIABLE
    explicit = os.environ.get(variable)
    places = {
        **({variable: expand(explicit)} if explicit else {}),
        **fashion_mnist.places(),
        "embedded sample": fashion_mnist.SAMPLE_DIRECTORY,
    }
    return [
        {"place": place, "directory": str(directory), "state": _state(place, directory)}
        for place, directory in places.items()
    ]


def _state(place: str, directory: Path) -> str:
    if not directory.is_dir():
        return "not there"
    try:
        dataset = fashion_mnist.read_directory(directory)
    except NinError as error:
        return f"damaged: {error}"
    if dataset.kind == "custom" and place in ("cache", "second cache", "system"):
        return "damaged: not the files of Fashion-MNIST (other checksums)"
    other = ", not Fashion-MNIST" if dataset.kind == "custom" else ""
    return f"intact, {dataset.counts}{other}"
