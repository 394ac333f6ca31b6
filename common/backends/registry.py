"""The registry that finds backends.

A backend fulfils :class:`common.contract.Backend`: ``nin_torch``, ``nin_tf``, ``nin_mxnet``. A
fourth one is a new package and one line in :data:`BACKENDS`; or, from outside this project, a
package that registers itself under the entry point group ``nin.backends``, the name of a package,
a file (``./my_nin.py``) or a package's directory.
"""

import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from common.arguments import shown
from common.contract import Backend
from common.errors import OTHER_NAMES, NinError, closest, one_line

# backend -> (package, module of the framework)
BACKENDS: dict[str, tuple[str, str]] = {
    "torch": ("nin_torch", "torch"),
    "tf": ("nin_tf", "tensorflow"),
    "mxnet": ("nin_mxnet", "mxnet"),
}

ENTRY_POINTS = "nin.backends"

# without these there is nothing to load
REQUIRED = ("nin", "set_weights", "Predictor")

# some releases of these two crash when they are loaded into one process
APART = {"tensorflow": "mxnet", "mxnet": "tensorflow"}


def names() -> list[str]:
    """The backends with a name of their own: this project's and the registered ones."""
    return list(dict.fromkeys([*BACKENDS, *_entry_points()]))


def first_installed() -> str:
    """The first of :data:`BACKENDS` that is installed and can be loaded here; else the first."""
    there = (
        name for name, (_, framework) in BACKENDS.items()
        if importlib.util.find_spec(framework) and APART.get(framework) not in sys.modules
    )  # fmt: skip
    return next(there, next(iter(BACKENDS)))


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
    check_apart(framework or "")
    try:
        module = _import(spec) if framework is None else importlib.import_module(package)
    # a framework beside the wrong NumPy fails in any way it likes, and a file may be a script
    except (Exception, SystemExit) as error:
        missing = getattr(error, "name", None) or ""
        if isinstance(error, ModuleNotFoundError) and missing.split(".")[0] == framework:
            raise NinError(
                f"backend {spec}: {framework} is not installed; {_install_hint(spec)}"
            ) from error
        more = "; scripts/doctor.py shows more" if framework is not None else ""
        raise NinError(
            f"backend {spec}: {framework or 'it'} does not import "
            f"({_where(spec, error)}{one_line(error)}){more}"
        ) from error
    lacking = [name for name in REQUIRED if not hasattr(module, name)]
    if lacking:
        raise NinError(
            f"backend {spec}: not a backend, it has no {', '.join(lacking)}; "
            "docs/your-own-backend.md says what one needs"
        )
    return cast(Backend, module)


def check_name(name: str) -> None:
    """Raise :class:`NinError` unless this is the name of a backend."""
    if name not in names():
        like = closest(name, names())
        meant = f" (did you mean {like}?)" if like else ""
        raise NinError(f"`backend={name}`: unknown{meant}; choose one of {', '.join(names())}")


def check_spec(spec: str) -> None:
    """Raise :class:`NinError` unless :func:`load` would find something; imports no backend."""
    if not _is_path(spec):
        # the names of this project's first, for what others have registered is in many files
        known = spec in BACKENDS or spec in _entry_points()
        # a framework is a package too, but no backend
        if not known and (OTHER_NAMES.get(spec) in BACKENDS or not _is_package(spec)):
            check_name(spec)
    elif not Path(spec).exists():
        raise NinError(f"backend {spec}: no such file")
    elif Path(spec).is_dir() and not (Path(spec) / "__init__.py").is_file():
        raise NinError(f"backend {spec}: a directory without __init__.py is no package")
    elif Path(spec).is_file() and Path(spec).suffix != ".py":
        raise NinError(
            f"backend {spec}: the name of a Python file ends in .py, that of a weights file as "
            "its format's does, such as .pt or .onnx"
        )


def check_apart(framework: str) -> None:
    """Raise :class:`NinError` if this framework must not be imported into this process."""
    other = APART.get(framework)
    if other in sys.modules:
        raise NinError(
            f"{framework} and {other} crash in one process, and {other} is already loaded in this "
            f"one; use {framework} in another process (in a notebook: restart the kernel)"
        )


def label(spec: str) -> str:
    """A short name for reports: ``my_nin`` for ``./my_nin.py``."""
    return labels([spec])[0]


def labels(specs: Sequence[str]) -> list[str]:
    """A short name for each backend, distinct: ``a/nin`` and ``b/nin`` for files of one name."""
    found = []
    for spec in specs:
        others = (other for other in specs if absolute(other) != absolute(spec))
        taken = {tail for other in others for tail in _tails(other)}
        found.append(next((t for t in _tails(spec) if t not in taken), absolute(spec)))
    return found


def absolute(spec: str) -> str:
    """The same backend for a process in another directory."""
    return str(Path(spec).resolve()) if _is_path(spec) else spec


def backend_of(net: Any, argument: str = "net", advice: str = "") -> str:
    """The name of the backend whose framework a network, given as an argument, is made of.

    Raises:
        NinError: if it is made of none of them, with advice on what else can be done.
    """
    roots = {kind.__module__.partition(".")[0] for kind in type(net).__mro__}
    for name, (_, framework) in BACKENDS.items():
        # TensorFlow's layers are Keras's
        if framework in roots or (framework == "tensorflow" and "keras" in roots):
            return name
    if inspect.isfunction(net) or inspect.isclass(net):
        kind, name = "class" if inspect.isclass(net) else "function", net.__name__
        raise NinError(f"`{argument}`: {name} is a {kind}; call it: {name}()")
    raise NinError(
        f"`{argument}={shown(net)}`: no network of a framework known here "
        f"({', '.join(BACKENDS)}){advice}"
    )


def check_made_for(backend: str, net: Any) -> None:
    """Raise :class:`NinError` for a network of another framework than a backend's.

    What a backend from outside computes with is for itself to know.
    """
    if net is None or (backend in BACKENDS and backend_of(net) != backend):
        raise NinError(f"`net={shown(net)}`: no network of {BACKENDS.get(backend, [backend])[-1]}")


def _install_hint(name: str) -> str:
    if name == "mxnet" and sys.version_info >= (3, 13):
        return (
            "it needs NumPy 1, so Python 3.10 to 3.12: make train BACKEND=mxnet PYTHON=python3.12"
        )
    return f'install it with: pip install -e ".[{name}]" (or make train BACKEND={name})'


def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def _is_path(spec: str) -> bool:
    path = Path(spec)
    # a weights file, which is one side of a comparison, may be named without its folder
    return path.suffix == ".py" or "/" in spec or (path.suffix != "" and path.is_file())


def _is_package(spec: str) -> bool:
    try:
        return importlib.util.find_spec(spec) is not None
    except (ImportError, ValueError):
        return False


def _tails(spec: str) -> list[str]:
    """Ever longer ends of a path, its name without ``.py``; a name is left as it is."""
    if not _is_path(spec):
        return [spec]
    path = Path(spec).resolve()
    parts = [*path.parts[:-1], path.name.removesuffix(".py")]
    return ["/".join(parts[-length:]) for length in range(1, len(parts) + 1)]


def _import(spec: str) -> ModuleType:
    if _is_path(spec):
        return _import_file(Path(spec).resolve())
    if spec in _entry_points():
        return cast(ModuleType, _entry_points()[spec].load())
    return importlib.import_module(spec)


def _import_file(path: Path) -> ModuleType:
    """Import a file, or a package's directory, under a name that no other module has."""
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    name = f"{re.sub(r'[^0-9A-Za-z]', '_', path.stem)}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    # its loader makes a package of __init__.py
    file = path / "__init__.py" if path.is_dir() else path
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    sys.meta_path.insert(0, _Neighbours(path))
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _Neighbours(importlib.abc.MetaPathFinder):
    """Finds what a backend imports from the folder that it is in.

    It hides nothing of Python's own, which ``sys.path`` would let a file named ``random.py`` do,
    and a backend in a file ``torch.py`` gets PyTorch when it imports torch.
    """

    def __init__(self, backend: Path) -> None:
        self.folder = str(backend.parent)
        self.hidden = {*sys.stdlib_module_names, *([] if backend.is_dir() else [backend.stem])}

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The file of a module in the folder; for Python's import system."""
        if path is not None or name in self.hidden:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, [self.folder])
        # a mere folder of this name is no module
        return spec if spec is not None and spec.loader is not None else None


def _where(spec: str, error: BaseException) -> str:
    """In which of a backend's own files an error arose, if it is one outside of this project."""
    if not _is_path(spec) or isinstance(error, SyntaxError):  # which names its file itself
        return ""
    folder = Path(spec).resolve().parent
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
    if not own:
        return ""
    file = Path(own[-1].filename).relative_to(folder)
    return f"{file}, line {own[-1].lineno}: {type(error).__name__}: "
