"""Export our weights file to the formats of other software, and import from them.

Nothing is written before it is verified: the other software alone runs its file on real images,
and its logits are compared with those of our network.
"""

import contextlib
import dataclasses
import importlib.util
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.backends.parts import exporter
from common.backends.registry import BACKENDS
from common.backends.session import start
from common.contract import Backend
from common.conversion import onnx_format
from common.data.fashion_mnist import load as load_data
from common.data.resize import resize_matrix
from common.errors import NinError, one_line
from common.files.write import write_bytes
from common.model import Model, check_chapter, from_metadata, load_model, save_model
from common.network import architecture
from common.prediction.classifier import build
from common.prediction.predict import compute_logits
from common.settings import Settings, check_resize


class Format(NamedTuple):
    """A file format that we convert to and from."""

    words: str
    backend: str | None
    """Whose file it is; None: no framework's own, and any of them can check it."""
    suffixes: tuple[str, ...]
    """How the name of such a file ends; Keras, for one, depends on it."""


FORMATS = {
    "torch": Format("a PyTorch state dict", "torch", (".pt", ".pth")),
    "keras": Format("a Keras model", "tf", (".keras",)),
    "mxnet": Format("Gluon parameters", "mxnet", (".params",)),
    "onnx": Format("an ONNX model", None, (".onnx",)),
}
OURS = ".safetensors"
# Real images for the check: some of each class.
IMAGES = 16
# Of the largest logit. A layer that is converted wrongly shows in the first digits. Rounding comes
# to 5e-7 in a trained network and to 3e-5 where the last ReLUs are nearly all shut, so that the
# logits are small remainders of large sums.
TOLERANCE = 1e-4


class Converted(NamedTuple):
    """What a conversion wrote, and how closely the result agrees with its source."""

    paths: list[Path]
    difference: float
    """The largest difference of a logit, as a fraction of the largest logit."""
    backend: str
    """Whose logits those are."""


class _Software(NamedTuple):
    """How a format's own software writes, reads and runs a file, and the backend to check it."""

    words: str
    settings: Settings
    backend: Backend
    save: Callable[[Model, Path], list[Path]]
    load: Callable[[Path], tuple[dict[str, np.ndarray], dict[str, str]]]
    run: Callable[[Path, np.ndarray], np.ndarray]


def export(source: Path, to: str, target: Path, backend: str | None = None) -> Converted:
    """Write a file that other software loads.

    Args:
        source: our safetensors file.
        to: a key of :data:`FORMATS`.
        target: the file to write; MXNet's layers go into a second one beside it.
        backend: whose logits an ONNX file is checked against; None: the first that is installed.

    Raises:
        NinError: unknown format, bad file, missing package, or the check failed; nothing is
            then written.
    """
    form = _find("to", to)
    _check_target(target, form.suffixes)
    model = load_model(source)
    check_chapter(model, source)
    software = _start(form, to, backend)
    with tempfile.TemporaryDirectory() as directory:
        drafts = software.save(model, Path(directory) / target.name)
        difference = _verify(software, model, drafts[-1], target)
        paths = [target.parent / draft.name for draft in drafts]
        for draft, path in zip(drafts, paths, strict=True):
            write_bytes(path, draft.read_bytes())
    return Converted(paths, difference, software.settings.backend)


def take(
    source: Path, origin: str, target: Path, resize: int | None = None, backend: str | None = None
) -> Converted:
    """Write our safetensors file from other software's: the reverse of :func:`export`.

    Args:
        source: the file to read.
        origin: a key of :data:`FORMATS`.
        target: the file to write.
        resize: side of the images that the network was trained on, to be noted in the file.
        backend: as for :func:`export`.

    Raises:
        NinError: as :func:`export`.
    """
    form = _find("origin", origin)
    _check_target(target, (OURS,))
    if not source.is_file():
        raise NinError(f"{source}: no such file")
    if resize is not None:
        check_resize(resize)
    software = _start(form, origin, backend)
    with _readable(source, software.words):
        weights, metadata = software.load(source)
    model = from_metadata(weights, metadata, str(source))
    if resize is not None:
        model = dataclasses.replace(model, resize=resize)
    difference = _verify(software, model, source, source)
    save_model(target, model)
    return Converted([target], difference, software.settings.backend)


def _find(argument: str, name: str) -> Format:
    if name not in FORMATS:
        raise NinError(f"`{argument}={name}`: unknown; choose one of {', '.join(FORMATS)}")
    return FORMATS[name]


def _check_target(target: Path, suffixes: tuple[str, ...]) -> None:
    if target.suffix not in suffixes:
        raise NinError(f"{target}: its name must end with {' or '.join(suffixes)}")
    if target.is_dir() or not target.parent.is_dir():
        raise NinError(f"{target}: not a file in an existing directory")


def _start(form: Format, name: str, backend: str | None) -> _Software:
    if form.backend is None:
        onnx_format.require()
        # the first that is installed
        packages = {candidate: framework for candidate, (_, framework) in BACKENDS.items()}
        installed = [c for c in packages if importlib.util.find_spec(packages[c]) is not None]
        settings = Settings(backend=backend or [*installed, *packages][0], device="cpu")
        started = start(settings).backend
        functions = onnx_format.save, onnx_format.load, onnx_format.run
        return _Software(form.words, settings, started, *functions)
    if backend not in (None, form.backend):
        raise NinError(f"`backend={backend}`: {name} is checked with {form.backend}")
    settings = Settings(backend=form.backend, device="cpu")
    started = start(settings).backend
    native = exporter(started)
    return _Software(
        form.words,
        settings,
        started,
        lambda model, path: native.save_native(build(started, model), path),
        lambda path: (native.load_native(path), {}),
        native.run_native,
    )


def _verify(software: _Software, model: Model, path: Path, called: Path) -> float:
    """The largest difference between a file's logits and our network's, relative to the largest.

    Raises:
        NinError: if it is too large; ``called`` is what messages call the file.
    """
    images = load_data("sample").test_images[:IMAGES]
    resize = model.resize or architecture.smallest_input()
    settings = dataclasses.replace(software.settings, resize=resize)
    predictor = software.backend.Predictor(build(software.backend, model), settings)
    ours = compute_logits(predictor, model, settings, images)
    if np.ptp(ours) == 0:
        raise NinError(
            f"{called}: cannot be verified: the network's logits are all {ours.flat[0]:g}, "
            "whatever it sees (its ReLUs are dead)"
        )
    matrix = resize_matrix(images.shape[1], resize)
    pixels = (matrix @ (images / 255) @ matrix.T).astype(np.float32)[:, np.newaxis]
    with _readable(called, software.words):
        theirs = software.run(path, pixels)
    if theirs.shape != ours.shape:
        raise NinError(
            f"{called}: of another network (its output has shape {theirs.shape}, "
            f"expected {ours.shape})"
        )
    difference = float(np.abs(theirs - ours).max() / np.abs(ours).max())
    if not difference <= TOLERANCE:
        raise NinError(
            f"{called}: of another network (its logits differ from {settings.backend}'s by up to "
            f"{difference:.1e} of the largest one; allowed is {TOLERANCE:.0e})"
        )
    return difference


@contextlib.contextmanager
def _readable(path: Path, words: str) -> Iterator[None]:
    """Turn what the other software's reader raises into one clear line."""
    try:
        yield
    except NinError:
        raise
    except Exception as error:
        # MXNet's messages begin with a traceback of its C++ code
        lines = re.sub(r"Traceback .*?line \d+", "", one_line(error)).strip()
        why = lines if len(lines) < 200 else f"{lines[:200]} ..."
        raise NinError(f"{path}: damaged, or not {words} of this network ({why})") from error
