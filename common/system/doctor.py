"""One look at a machine: which backends work, on what, and where data would come from."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.backends import registry
from common.data import fashion_mnist
from common.errors import NinError
from common.system import machine

PROBE_SECONDS = 180


def examine(names: Sequence[str]) -> dict[str, Any]:
    """Everything that the doctor reports, as plain data.

    Args:
        names: of the backends to look at.
    """
    # before machine.prepare, which sets a variable of its own
    environment = {
        name: os.environ[name]
        for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", fashion_mnist.DIRECTORY_VARIABLE)
        if name in os.environ
    }
    return {
        "machine": {**machine.describe(), "threads": machine.prepare(0)},
        "environment": environment,
        "packages": machine.versions(
            "safetensors", "matplotlib", "pooch", "rich", "tensorboardX", "setuptools"
        ),
        "git_commit": machine.git_commit(),
        "backends": {name: probe_apart(name) for name in names},
        "data": data_places(),
    }


def probe(name: str) -> dict[str, Any]:
    """Import a backend here and see what it finds.

    Returns:
        ``works``, and ``versions``, ``devices``, ``precisions``, ``import_seconds``; or
        ``reason``.
    """
    started = time.monotonic()
    try:
        backend = registry.load(name)
    except NinError as error:
        return {"works": False, "reason": str(error)}
    seconds = time.monotonic() - started
    devices = []
    for kind in ("cpu", "gpu"):
        try:
            devices.append(backend.find_device(kind).name)
        except NinError:
            continue
    return {
        "works": True,
        "versions": backend.versions(),
        "devices": devices,
        "precisions": list(backend.PRECISIONS),
        "import_seconds": round(seconds, 2),
    }


def probe_apart(name: str) -> dict[str, Any]:
    """:func:`probe` in a process of its own, which may crash or hang."""
    code = (
        "import json, sys; from common.system import doctor, machine; machine.prepare(0); "
        "print('\\n' + json.dumps(doctor.probe(sys.argv[1])))"
    )
    environment = {**os.environ, "PYTHONPATH": _python_path()}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, name],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_SECONDS,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return {"works": False, "reason": f"its import did not end in {PROBE_SECONDS} s"}
    if done.returncode < 0:
        return {"works": False, "reason": f"its import crashed with signal {-done.returncode}"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        return {"works": False, "reason": f"its import failed: {lines[-1]}"}
    try:
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))
    except (IndexError, ValueError):
        return {"works": False, "reason": "its import ended without an answer"}


def data_places() -> list[dict[str, str]]:
    """Where :func:`common.data.fashion_mnist.load` would look, in its order, and what is there now.

    Returns:
        for each place ``place``, ``directory`` and ``state``; nothing is downloaded.
    """
    places: list[tuple[str, Path]] = []
    explicit = os.environ.get(fashion_mnist.DIRECTORY_VARIABLE)
    if explicit:
        places.append((fashion_mnist.DIRECTORY_VARIABLE, Path(explicit)))
    places.append(("cache", fashion_mnist.cache_directory()))
    places.append(("system", fashion_mnist.SYSTEM_DIRECTORY))
    places.append(("embedded sample", fashion_mnist.SAMPLE_DIRECTORY))
    return [
        {"place": place, "directory": str(directory), "state": _state(place, directory)}
        for place, directory in places
    ]


def missing(report: dict[str, Any], wanted: Sequence[str]) -> list[str]:
    """Those of the wanted backends that do not work."""
    return [name for name in wanted if not report["backends"][name]["works"]]


def _state(place: str, directory: Path) -> str:
    if not directory.is_dir():
        return "not there"
    try:
        dataset = fashion_mnist.read_directory(directory)
    except NinError as error:
        return f"damaged: {error}"
    counts = f"{len(dataset.train_images)} training and {len(dataset.test_images)} test images"
    if dataset.kind == "custom" and place in ("cache", "system"):
        return "damaged: not the files of Fashion-MNIST (other checksums)"
    return f"intact, {counts}" + (", not Fashion-MNIST" if dataset.kind == "custom" else "")


def _python_path() -> str:
    given = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(machine.PROJECT_DIRECTORY), *([given] if given else [])])
