"""The registry that finds backends.

A backend is a package that fulfils
:class:`common.contract.Backend`: ``nin_torch``, ``nin_tf``, ``nin_mxnet``.
A fourth one is a new package and one line in :data:`BACKENDS`, or, from outside of this project,
a package that registers itself under the entry point group ``nin.backends``, or just a file
(``./my_nin.py``) or a package's name. The comparison needs little of the contract: the names in
:data:`REQUIRED`, and of a :class:`Trainer` ``logits`` or ``activations``.
"""

import importlib
import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import cast

from common.contract import Backend
from common.errors import NinError, one_line

# backend -> (package, module of the framework)
BACKENDS: dict[str, tuple[str, str]] = {
    "torch": ("nin_torch", "torch"),
    "tf": ("nin_tf", "tensorflow"),
    "mxnet": ("nin_mxnet", "mxnet"),
}

ENTRY_POINTS = "nin.backends"

# without these there is nothing to load
REQUIRED = ("nin", "set_weights", "Trainer")


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
        raise NinError(f"`backend={name}`: unknown; choose one of {', '.join(names())}")


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


def install_hint(name: str) -> str:
    """What to do to get a backend, in a few words."""
    if name == "mxnet" and sys.version_info >= (3, 13):
        return (
            "it needs NumPy 1, so Python 3.10 to 3.12: make train BACKEND=mxnet PYTHON=python3.12"
        )
    return f'install it with: pip install -e ".[{name}]" (or make train BACKEND={name})'


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
