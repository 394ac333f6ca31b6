"""Read other people's weights, and write ours for other software.

:func:`read` takes any file, :func:`write` makes one, :func:`convert` does both. Nothing in a file
that is read is run but layers of known kinds.

A file that holds layers is run by its own software on real images, at the size at which it will be
used and at one at which all that the layers do shows, and its logits are compared with those of our
network. Nothing is written before that is done.
"""

import contextlib
import dataclasses
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import softmax

from common.backends.parts import exporter
from common.backends.registry import APART, BACKENDS, first_installed
from common.backends.session import RefusedError, call_apart, start
from common.contract import Backend, Content, Exporter
from common.conversion import kinds, onnx_format
from common.conversion.kinds import FORMATS, TARGETS
from common.conversion.match import Matched, match
from common.data.fashion_mnist import load as load_data
from common.data.interpolation import resize_matrix
from common.errors import NinError, NinWarning, printable
from common.files.arrays import load_arrays
from common.files.paths import check_target, expand
from common.files.write import write_bytes
from common.model import (
    Model,
    check_chapter,
    from_metadata,
    is_ours,
    load_model,
    network_of,
    save_model,
    size_of,
    to_metadata,
)
from common.network import architecture
from common.network.description import CHAPTER, Network, parse
from common.prediction.classifier import build
from common.settings import Settings, check_resize
from common.system.processes import LostError
from common.system.quiet import quiet
from common.training import run_directory

# Real images for the check: some of each class.
IMAGES = 16
# Of the largest logit, or of what the images change in the logits where that is less. A layer that
# is converted wrongly shows in the first digits. Rounding comes to 5e-7 in a trained network and to
# 3e-5 where the last ReLUs are nearly all shut, so that the logits are small remainders of large
# sums.
TOLERANCE = 1e-4
# Of the largest logit: what rounding alone may come to where biases make up the logits. Before
# training, in PyTorch, images change 1e-5 of them, and rounding comes to 1.4e-7.
ROUNDING = 1e-6
# The smallest size at which each layer's rounding shows: no window of a convolution or a pooling
# layer ends at the edge of its map, and the last map, which is averaged, is larger than a pixel.
TELLING_SIZE = 128
# How images are scaled and shifted by what undoes it first: Rescaling(1 / 255), and the means and
# standard deviations in use, halves and those of Fashion-MNIST and MNIST.
PREPARED = ((255, 0), (0.5, 0.5), (0.353, 0.286), (0.3081, 0.1307))
# So many times as bright as images are: every ReLU cuts something off, every other bound too.
BRIGHT = 255
# Begins the note on a file of which nothing could be run.
UNVERIFIED = "not verified: it holds weights without layers"
TIMEOUT_SECONDS = 900


class Check(NamedTuple):
    """How closely what a file computes agrees with our network."""

    difference: float
    """The largest difference of a logit, as a fraction of the largest logit."""
    backend: str
    """Whose logits those are."""
    sizes: list[int]
    """Of the images, in pixels."""


class Read(NamedTuple):
    """What was read."""

    model: Model
    check: Check | None
    """None for weights without layers: there was nothing to run."""
    notes: list[str]
    """What the user should know, a sentence each."""


class Converted(NamedTuple):
    """What a conversion read and wrote."""

    paths: list[Path]
    read: Read
    written: Check | None
    """None for our own safetensors file, which is read back by nobody else."""


def convert(
    source: str | Path,
    target: str | Path,
    origin: str | None = None,
    to: str | None = None,
    resize: int | None = None,
    backend: str | None = None,
    network: Network = CHAPTER,
) -> Converted:
    """Read a file and write another.

    Args:
        source: a file, or the directory of a run or of a SavedModel.
        target: the file to write; MXNet's layers go into a second one beside it.
        origin: as for :func:`read`.
        to: a key of :data:`common.conversion.kinds.TARGETS`; None: by the target's name.
        resize: as for :func:`read`.
        backend: whose logits an ONNX file is compared with; None: the target's own, or the first
            that is installed.
        network: as for :func:`read`.

    Raises:
        NinError: unknown format, bad file, missing package, or a check failed; nothing is then
            written.
    """
    source, target = expand(source), expand(target)
    to = kinds.target_format(target) if to is None else to
    if to not in TARGETS:
        raise NinError(f"`to={to}`: unknown; choose one of {', '.join(TARGETS)}")
    if target.suffix not in TARGETS[to]:
        raise NinError(f"{target}: its name must end with {' or '.join(TARGETS[to])}")
    check_target(target)
    # a file of a framework is checked by that, whatever checks the one to be written
    of_onnx = kinds.identify(run_directory.weights_file(source)) == "onnx"
    checker = backend if of_onnx or to != "onnx" else None
    found = read(source, origin, resize, checker, FORMATS[to].backend, network=network)
    check_chapter(found.model, source)
    if resize is not None:
        check_resize(resize, found.model.network)
    model = _sized(found.model, resize)
    if resize not in (None, model.resize):
        raise NinError(
            f"`resize={resize}`: {source} says that it was trained on {model.resize}; leave it out"
        )
    paths, written = write(model, target, to, backend, source)
    return Converted(paths, found, written)


def read(
    path: Path,
    origin: str | None = None,
    resize: int | None = None,
    backend: str | None = None,
    beside: str | None = None,
    check: bool = True,
    network: Network = CHAPTER,
    threads: int = 0,
) -> Read:
    """The chapter's network, or a variant of it, out of any file, checked as far as that allows.

    Args:
        path: a file of ours or of any of :data:`common.conversion.kinds.FORMATS`, or the directory
            of a run.
        origin: which of these it is; None: by its content.
        resize: side of the images that it will be run on; None: what the file says, or the book's
            224. If the file does not say it, it is noted in the model.
        backend: whose logits a file is compared with that belongs to no framework.
        beside: the backend that this process is going to use, which may be one that the file's own
            software does not get along with: then a process of its own reads the file.
        check: False: take the weights, whatever the file's layers do with them.
        network: what the file holds, if it does not say so itself.
        threads: CPU threads for the file's own software in this process, 0 for its default. They
            must be as many as this process already computes with: MXNet crashes if they grow.

    Raises:
        NinError: if it cannot be read, or computes something else than our network.
    """
    if origin is not None and origin not in FORMATS:
        raise NinError(f"`origin={origin}`: unknown; choose one of {', '.join(FORMATS)}")
    path = run_directory.weights_file(path)
    kind = kinds.identify(path)
    if origin not in (None, kind):
        raise NinError(
            f"{path}: {FORMATS[kind].words}, not {FORMATS[str(origin)].words}; leave out `origin`"
        )
    if _must_be_apart(FORMATS[kind].backend, beside):
        return _read_apart(path, resize, check, network)
    if kind == "safetensors":
        arrays, metadata = load_arrays(path)
        if is_ours(metadata):
            return Read(from_metadata(arrays, metadata, str(path)), None, [])
        content = Content({"": arrays}, False, metadata)
    elif kind == "npz":
        with _readable(path, kind), np.load(path, allow_pickle=False) as archive:
            content = Content({"": dict(archive)}, True, {})
    else:
        if kind == "onnx" and backend is None and beside in BACKENDS:
            backend = beside  # one framework less, which might not get along with it
        software = _software(kind, backend, threads)
        with _readable(path, kind):
            content = software.load(path)
    model, matched = recognise(content, path, resize, network)
    notes = [*content.notes, *matched.notes]
    if content.input_shape is None and not is_ours(content.metadata):
        pair = " and ".join(map(printable, matched.by_order))
        of_order = f" ({pair} have one shape: that which stands first was taken to run first)"
        notes.append(
            f"{path}: {UNVERIFIED}, matched by name, order and shape{of_order if pair else ''}, "
            "so that a mismatch would show in wrong predictions only; an ONNX export of the "
            "network, made where it was trained, is verified when it is read: use that instead"
        )
    if content.input_shape is None or not check:
        return Read(_sized(model, resize), None, notes)
    batch, _, height, width = content.input_shape
    model = _sized(model, height if resize is None and height == width else resize)
    resize = resize or model.resize
    sizes = _sizes(resize, model.network)
    if height is not None and width is not None:
        notes.append(_what_fixed_hides(path, height, width, resize, model.network))
        sizes = [(height, width)]
    done, more = _check(software, model, path, path, path, sizes, batch)
    return Read(model, done, notes + more)


def recognise(
    content: Content, path: Path, resize: int | None = None, network: Network = CHAPTER
) -> tuple[Model, Matched]:
    """The network that a file holds, by its weights alone; the arguments are :func:`read`'s."""
    ours = content.metadata if is_ours(content.metadata) else {}
    network = network_of(ours, network)
    if resize is not None:
        check_resize(resize, network)
    size = size_of(ours) or resize or (content.input_shape or (None,) * 3)[2]
    if size is None and network.head != "average":
        raise NinError(
            f"{path}: does not say for what size of images its fully connected layer is made; "
            "add `resize`"
        )
    try:
        matched = match(content.groups, content.ordered, str(path), network, size)
    except NinError as error:
        if part := kinds.part_of_several(path):
            raise NinError(f"{path}: {part}") from error
        raise
    # for a fully connected layer, which is made for it
    stated = None if network.head == "average" else size
    model = from_metadata(matched.weights, ours, str(path), network, stated)
    return (model if ours else dataclasses.replace(model, dropout=content.dropout)), matched


def write(
    model: Model,
    target: Path,
    to: str,
    backend: str | None = None,
    source: str | Path = "the network",
) -> tuple[list[Path], Check | None]:
    """Write the chapter's network for other software, checked by it; what was written.

    ``target``, ``to`` and ``backend`` are as for :func:`convert`; ``source`` is what messages call
    the model.

    Raises:
        NinError: missing package, or the check failed; nothing is then written.
    """
    if to == "safetensors":
        save_model(target, model)
        return [target], None
    layers = kinds.layers_of_mxnet(target)
    # that of a target which is written again is its own, if it is no other's
    others = {p for p in target.parent.glob("*.params") if kinds.layers_of_mxnet(p) == layers}
    if to == "mxnet" and layers.exists() and others != {target}:
        raise NinError(
            f"{layers}: exists, and {target} would overwrite it; choose another name, or move it "
            "away"
        )
    software = _software(to, backend)
    with tempfile.TemporaryDirectory() as directory:
        drafts = software.save(model, Path(directory) / target.name)
        sizes = _sizes(model.resize, model.network)
        check, _ = _check(software, model, source, drafts[-1], target, sizes, None)
        paths = [target.parent / draft.name for draft in drafts]
        for draft, path in zip(drafts, paths, strict=True):
            write_bytes(path, draft.read_bytes())
    return paths, check


class _Software(NamedTuple):
    """How a format's own software writes, reads and runs a file, and the backend to check it."""

    kind: str
    backend_name: str
    backend: Backend
    save: Callable[[Model, Path], list[Path]]
    load: Callable[[Path], Content]
    run: Callable[[Path, np.ndarray], list[np.ndarray]]


def _software(kind: str, backend: str | None, threads: int = 0) -> _Software:
    own = FORMATS[kind].backend
    if kind == "onnx":
        onnx_format.require()
        name = backend or first_installed()
        started = start(Settings(backend=name, device="cpu", threads=threads)).backend
        functions = onnx_format.save, onnx_format.load, onnx_format.run
        return _Software(kind, name, started, *functions)
    if own is None:
        raise NinError(f"{FORMATS[kind].words} holds no layers")
    if backend not in (None, own):
        raise NinError(f"`backend={backend}`: {kind} is checked with {own}")
    try:
        started = start(Settings(backend=own, device="cpu", threads=threads)).backend
    except NinError as error:
        raise NinError(f"{FORMATS[kind].words} needs its framework: {error.marked}") from error
    native: Exporter = exporter(started)
    return _Software(
        kind,
        own,
        started,
        lambda model, path: native.save_native(build(started, model), path, to_metadata(model)),
        native.load_native,
        native.run_native,
    )


def _sized(model: Model, resize: int | None) -> Model:
    """A model with a size noted, if it does not have one."""
    return dataclasses.replace(model, resize=resize) if model.resize is None else model


def _sizes(resize: int | None, network: Network) -> list[tuple[int, int]]:
    """Where a network is checked: as it will be run, and where all that its layers do shows."""
    if network.head != "average" and resize is not None:
        return [(resize, resize)]
    return [(size, size) for size in dict.fromkeys((resize or Settings.resize, TELLING_SIZE))]


def _what_fixed_hides(
    path: Path, height: int, width: int, resize: int | None, network: Network
) -> str:
    """What cannot be checked of a file that takes images of one size only."""
    note = f"{path} takes images of {height}x{width} only, and was checked with these alone"
    size = min(height, width)
    if size < architecture.smallest_input(network):
        raise NinError(f"{path}: of another network (it takes images of {height}x{width})")
    if size < architecture.smallest_input(network, last_map=2):
        note += "; there the last map is one pixel, so that its averaging does not show"
    if resize not in (None, height):
        note += f"; what it computes for {resize}x{resize} is not known"
    return note


def _check(
    software: _Software,
    model: Model,
    source: str | Path,
    path: Path,
    called: Path,
    sizes: list[tuple[int, int]],
    batch: int | None,
) -> tuple[Check, list[str]]:
    """Compare a file's logits with our network's.

    Args:
        software: that runs the file.
        model: our network.
        source: what messages call that.
        path: the file.
        called: what messages call that.
        sizes: height and width of the images.
        batch: how many it takes at a time; None: any.

    Returns:
        The check, and notes: if the file goes on to probabilities, if little could be seen.

    Raises:
        NinError: if they differ by too much.
    """
    net = build(software.backend, model)
    worst, notes = 0.0, []

    def ours_of(pixels: np.ndarray) -> np.ndarray:
        with _readable(called, software.kind):
            *_, last = software.backend.shape_walk(net, pixels)
        return np.asarray(last.output.reshape(IMAGES, -1))

    def theirs(pixels: np.ndarray) -> list[np.ndarray]:
        with _readable(called, software.kind):
            return in_batches(partial(software.run, path), pixels, batch)

    # the largest first: for an empty map, as another network has of small ones, onnxruntime 1.20
    # ends the process
    for height, width in sorted(sizes, reverse=True):
        pixels = _pixels(height, width, model.in_channels)
        ours = ours_of(pixels)
        if np.ptp(ours) == 0:
            raise NinError(
                f"{source}: cannot be verified: the network's logits are all {ours.flat[0]:g}, "
                "whatever it sees (its ReLUs are dead)"
            )
        outputs = theirs(pixels)
        shaped = [o.reshape(IMAGES, -1) for o in outputs if o.size == ours.size]
        if not shaped:
            raise NinError(
                f"{called}: of another network (for images of {height}x{width} its output has "
                f"shape {outputs[0].shape}, expected {ours.shape})"
            )
        expected = softmax(ours.astype(np.float64), axis=1)
        mean = np.broadcast_to(ours.mean(axis=0), ours.shape)
        varying = min(1.0, _difference(mean, ours))  # 0: they change nothing
        allowed = max(TOLERANCE * varying, ROUNDING)
        differences = [_difference(output, ours) for output in shaped]
        ends = [end for output in shaped for end in (_logarithm(output), output)]
        probabilities = [_difference(end, _logarithm(expected)) for end in ends]
        if not min(differences) <= allowed and min(probabilities) <= allowed:
            notes = [
                f"{called} ends in a softmax; the network before it was taken, which gives logits"
            ]
            differences = probabilities
        difference = min(differences)
        if not difference <= allowed:
            step = _first_step(theirs, pixels, ours, difference)
            raise NinError(
                f"{called}: of another network (for images of {height}x{width} its logits differ "
                f"from {software.backend_name}'s by up to {difference:.1e} of the largest "
                f"one; allowed is {allowed:.0e}){step}"
            )
        worst = max(worst, difference)
        if varying < 100 * ROUNDING:
            faint = (
                f"{called}: images of {height}x{width} change only {varying:.0e} of the logits, as "
                "before training, so that a small mistake may not show; compare.py shows each layer"
            )
            notes = [*notes, faint]
    # trained ReLUs may let all of every real image through; glaring noise they do not
    pixels = BRIGHT * np.random.default_rng(0).uniform(size=pixels.shape).astype(np.float32)
    ours = ours_of(pixels)
    shaped = [o.reshape(IMAGES, -1) for o in theirs(pixels) if o.size == ours.size]
    bright = min(_difference(output, ours) for output in shaped) if ours.any() else 0.0
    if differences is not probabilities and not bright < 1e-3:
        notes = [*notes, (
            f"{called}: agrees on real images but not on noise {BRIGHT} times as bright: a ReLU "
            "may be missing that lets all of these images through, or values may be cut off"
        )]  # fmt: skip
    return Check(worst, software.backend_name, [height for height, _ in sizes]), notes


def _first_step(
    run: Callable[[np.ndarray], list[np.ndarray]],
    pixels: np.ndarray,
    ours: np.ndarray,
    without: float,
) -> str:
    """What a network does to its images first, if that explains most of the difference without."""
    near = min(0.01, without / 10)
    for scale, shift in PREPARED:
        outputs = run(np.float32(scale) * pixels + np.float32(shift))
        if any(o.size == ours.size and _difference(o.reshape(ours.shape), ours) < near
               for o in outputs):  # fmt: skip
            return (
                f"; but for a first step, (pixels - {shift}) / {scale}, it is the same: save the "
                "layers after that as a network of their own"
            )
    return ""


def _difference(theirs: np.ndarray, ours: np.ndarray) -> float:
    return float(np.abs(theirs - ours).max() / np.abs(ours).max())


def _logarithm(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities, 1e-30))


def _pixels(height: int, width: int, channels: int) -> np.ndarray:
    """Real images, float32 (images, channels, height, width); each channel has other ones."""
    images = load_data("sample").test_images[:IMAGES] / 255
    rows, columns = (resize_matrix(images.shape[1], size) for size in (height, width))
    grey = rows @ images @ columns.T
    return np.stack([np.roll(grey, i, 0) for i in range(channels)], 1).astype(np.float32)


def in_batches(
    run: Callable[[np.ndarray], list[np.ndarray]], pixels: np.ndarray, batch: int | None
) -> list[np.ndarray]:
    """The outputs of a network for images, of which it takes so many at a time; None: any."""
    count = len(pixels)
    step = batch or count
    # the last batch is filled up with the first images
    order = np.arange(-(-count // step) * step) % count
    parts = [run(pixels[chosen]) for chosen in order.reshape(-1, step)]
    return [np.concatenate(each)[:count] for each in zip(*parts, strict=True)]


@contextlib.contextmanager
def _readable(path: Path, kind: str) -> Iterator[None]:
    """Turn what another software raises into one line of our own, and drop what it prints.

    Its messages are written for who writes code with it: they advise to switch safety off.
    """
    caught: Exception | None = None
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except Exception as error:
            caught = error
    if isinstance(caught, NinError):
        raise caught
    if caught is not None:
        raise NinError(
            f"{path}: damaged, or not {FORMATS[kind].words} of this network (reading or running "
            f"it ends in {type(caught).__name__})"
        ) from caught


def _must_be_apart(own: str | None, beside: str | None) -> bool:
    """Whether the software of a file cannot be in this process."""
    other = APART.get(BACKENDS[own][1]) if own else None
    wanted = BACKENDS[beside][1] if beside in BACKENDS else None
    return other is not None and (other in sys.modules or other == wanted)


def _read_apart(path: Path, resize: int | None, check: bool, network: Network) -> Read:
    """:func:`read` in a process of its own."""
    absolute = str(path.absolute())
    with tempfile.TemporaryDirectory() as directory:
        draft = Path(directory) / "model.safetensors"
        try:
            found = call_apart(
                sys.executable,
                "common.conversion.convert:read_into",
                TIMEOUT_SECONDS,
                path=absolute,
                resize=resize,
                check=check,
                network=str(network),
                target=str(draft),
            )
        except RefusedError as error:
            raise NinError(error.marked.replace(absolute, str(path))) from error
        except LostError as error:
            raise NinError(f"{path}: damaged: reading it ends the process") from error
        done = None if found["check"] is None else Check(*found["check"])
        notes = [note.replace(absolute, str(path)) for note in found["notes"]]
        return Read(load_model(draft), done, notes)


def read_into(
    path: str, resize: int | None, check: bool, network: str, target: str
) -> dict[str, Any]:
    """:func:`read` for another process: the model goes into a file, the rest is returned."""
    found = read(Path(path), resize=resize, check=check, network=parse(network))
    save_model(Path(target), found.model)
    return {"check": found.check, "notes": found.notes}


def warn(notes: list[str]) -> None:
    """Pass notes on to the user, of :func:`common.prediction.classifier.load` for one."""
    for note in notes:
        warnings.warn(note, NinWarning, stacklevel=4)
