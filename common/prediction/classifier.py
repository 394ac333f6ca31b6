"""A network with what is known of it: it predicts, and it is saved."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.arguments import checked
from common.backends import registry, session
from common.backends.parts import allocate, make_network, need, recognise
from common.backends.session import Started
from common.contract import Backend, Predictor
from common.data.dataset import to_array
from common.errors import NinError, is_out_of_memory, plural
from common.files.paths import check_target, expand
from common.model import Model, check_chapter, save_model
from common.network import architecture
from common.network.description import parse
from common.prediction.predict import NO_FILE, File, Images, Predictions
from common.settings import Settings, check_given, from_preset
from common.terminal import display

if TYPE_CHECKING:
    from common.training.run import Run

# Images at a time at 224x224; larger images in smaller batches, for the same memory.
BATCH_SIZE = 128


# what a network that is loaded can be given
OPTIONS = ("resize", "network", "device", "precision", "threads")


class Classifier:
    """A network and its backend.

    Args:
        net: a network with weights.
        ready: the backend and the device that compute.
        settings: resize, precision and device are used.
        model: what is known of the network; its weights are read from the network when needed.
        file: that it was read from, if it was; and what there was to say of it.
    """

    def __init__(
        self, net: Any, ready: Started, settings: Settings, model: Model, file: File = NO_FILE
    ) -> None:
        self.net = net
        self.ready = ready
        self.settings = settings
        self.model = model
        self.file = file

    def __repr__(self) -> str:
        size = self.settings.resize
        return f"<Classifier: {self.settings.backend}, images of {size}x{size}>"

    @functools.cached_property
    def predictor(self) -> Predictor:
        """What computes, made when it is first needed."""
        return self.ready.backend.Predictor(self.net, self.settings)

    @classmethod
    def of(cls, run: "Run") -> "Classifier":
        """That of a run, with the weights that its network has now."""
        net, ready, settings = run.net, run.ready, run.settings
        model = Model(
            weights=_weights(ready.backend, net),
            network=settings.description,
            layers=run.layers,
            num_classes=run.dataset.num_classes,
            dropout=settings.dropout,
            class_names=tuple(run.dataset.class_names),
            resize=settings.resize,
            side=run.dataset.train_images.shape[1],
            training=run.result(),
        )
        return cls(net, ready, settings, model)

    @checked
    def predict(
        self,
        images: Any,
        labels: Any = None,
        names: Sequence[str] | None = None,
        notice: str = "",
    ) -> Predictions:
        """Predict the classes of images.

        Args:
            images: uint8, (count, size, size) or (size, size), 0 is black; or images of
                :mod:`common.prediction.predict`, which have labels and names.
            labels: the true classes, if they are known.
            names: what to call each image; numbers if they have no names.
            notice: one sentence for everything that is written.

        Raises:
            NinError: for images of another kind, or a network whose logits are not finite.
        """
        several = images if isinstance(images, list | tuple) else [images]
        if any(isinstance(each, str | Path) for each in several):
            raise NinError(
                "`images`: an array is needed; those in files are predicted by "
                "common.look(run, photos=[...]).predictions"
            )
        if not isinstance(images, Images):
            pixels = to_array("images", images)
            pixels = pixels[np.newaxis] if pixels.ndim == 2 else pixels
            square = pixels.ndim == 3 and pixels.shape[1] == pixels.shape[2]
            if pixels.dtype != np.uint8 or not square or not pixels.size:
                raise NinError(
                    "`images`: must be uint8 (0 to 255, not divided) of shape (count, size, size), "
                    f"without channels; found {pixels.dtype} of shape {pixels.shape}"
                )
            if labels is not None:
                labels = _checked(to_array("labels", labels), len(pixels), self.model.num_classes)
            names = list(map(str, range(len(pixels))) if names is None else names)
            if len(names) != len(pixels):
                raise NinError(plural(f"`names`: {len(names)} for {len(pixels)} image(s)"))
            images = Images(pixels, names, labels, self.model.notice(notice))
        logits, device = self._logits(images.pixels), self.ready.device.name
        return Predictions(self.model, self.settings, images, device, logits, self.file)

    def _logits(self, images: np.ndarray) -> np.ndarray:
        """Of uint8 images, (count, height, width), at least one: float, (count, classes)."""
        if self.model.in_channels != architecture.IN_CHANNELS:
            raise NinError(
                f"the network takes images of {self.model.in_channels} channels, these have "
                f"{architecture.IN_CHANNELS}"
            )
        predictor = self.predictor
        size = max(1, min(BATCH_SIZE, BATCH_SIZE * 224**2 // self.settings.resize**2))
        batches = [images[start : start + size] for start in range(0, len(images), size)]
        try:
            found = [predictor.logits(batch) for batch in display.track(batches, "predicting")]
            logits = np.concatenate(found)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise NinError("out of memory; take a smaller `resize`") from error
        if not np.isfinite(logits).all():
            raise NinError(
                "the logits are not finite numbers: these weights are too large for float32"
            )
        return logits

    @checked
    def save(self, path: str | Path) -> None:
        """Write the weights and what is known of them as one safetensors file.

        Any backend that can build the network reads it (:func:`common.load`); one that was built by
        hand needs ``load(path, net)``.

        Raises:
            NinError: for a name that does not end in ``.safetensors``.
        """
        path = expand(path)
        if path.suffix != ".safetensors":
            raise NinError(
                f"`path={path}`: must end in .safetensors, which is what is written; other "
                "programs' files are written by scripts/convert.py"
            )
        check_target(path, "path")
        weights = _weights(self.ready.backend, self.net)
        save_model(path, dataclasses.replace(self.model, weights=weights))


@checked
def load(path: str | Path, backend: Any = "torch", **settings: Any) -> Classifier:
    """Read a network.

    Args:
        path: the directory of a run or ``model.safetensors`` in it, what :meth:`Classifier.save`
            wrote, or the chapter's network in a file of other software
            (:mod:`common.conversion.convert`).
        backend: the name of a backend, in which the chapter's network is built; or a network that
            was built by hand as the one that was saved, which gets the weights.
        settings: device, precision, threads, resize and network; the last two are what the file
            says, or the chapter's, if not given.

    Raises:
        NinError: if the file is damaged or of another network, or the backend is missing.

    >>> from common import fit, load, load_data
    >>> data = load_data("sample")
    >>> run = fit("torch", data, "fast", epochs=1, limit=40, batch_size=20)
    On the embedded sample ...
    >>> run.save("nin.safetensors")
    >>> load("nin.safetensors", "torch").predict(data.test_images[:2]).probabilities.shape
    (2, 10)
    """
    # which builds networks with what is here
    from common.conversion import convert
    from common.training.run_directory import weights_file

    settings = check_given(settings, OPTIONS)
    path = expand(path)
    net = None if isinstance(backend, str) else backend
    name = backend if isinstance(backend, str) else registry.backend_of(net, "backend")
    resize = settings.pop("resize", None)
    given = settings.pop("network", None)
    network = parse("chapter" if given is None else given)
    threads = settings.get("threads", 0)
    found = convert.read(path, resize=resize, beside=name, network=network, threads=threads)
    convert.warn(found.notes)
    notes = list(found.notes)
    model = found.model
    if given is not None and model.network != network:
        raise NinError(f"`network={given}`: {path} holds {model.network}; leave it out")
    if net is None:
        check_chapter(model, path)
    resize = model.resize if resize is None else resize
    if resize is None:
        resize = Settings.resize
        note = "does not say what size of images it was trained on; taking the book's"
        notes.append(f"{path} {note} {resize}, or what `resize` says")
        convert.warn(notes[-1:])
    chosen = from_preset(
        "book", True, backend=name, resize=resize, network=str(model.network), **settings
    )
    if net is None:
        _check_size(model, chosen.resize)
    ready = session.start(chosen)
    chosen = dataclasses.replace(chosen, precision=ready.precision)
    if net is None:
        net = build(ready.backend, model)
    else:
        _give(ready.backend, net, model, chosen.resize, path)
        rate = architecture.DROPOUT if model.dropout is None else model.dropout
        rate = getattr(ready.backend, "dropout_rate", lambda net: rate)(net)
        counts = model.num_classes, model.in_channels
        known = recognise(ready.backend, net, model.network, *counts, rate, chosen.resize)
        same = known == model.network
        if model.layers:
            same = tuple(ready.backend.describe(net)) == model.layers
        if not same and hasattr(ready.backend, "describe"):
            note = "its weights fit, but it was saved from other layers than those of this network"
            notes.append(f"{path}: {note} (or by another release of the framework)")
            convert.warn(notes[-1:])
    return Classifier(net, ready, chosen, model, File(weights_file(path), tuple(notes)))


def _give(backend: Backend, net: Any, model: Model, size: int, path: Path) -> None:
    """Give a network that was built by hand the weights of a file, and try it on an image."""
    try:
        try:
            need(backend, "get_weights")(net)
        except NinError:
            raise
        except Exception:  # the framework's: some weights are made for the first image
            allocate(backend, net, size)
        # before an image, as another network may be too deep for one of this size
        backend.set_weights(net, model.weights)
    except NinError as error:
        raise NinError(f"{path}: of another network than the one given ({error.marked})") from error
    allocate(backend, net, size)


def build(backend: Backend, model: Model) -> Any:
    """The network of a model in a backend, with its weights."""
    # a rate that nobody knows makes no difference to what is predicted
    dropout = architecture.DROPOUT if model.dropout is None else model.dropout
    counts, size = (model.num_classes, model.in_channels), model.resize or Settings.resize
    net = make_network(backend, model.network, *counts, dropout, size)
    backend.set_weights(net, model.weights)
    return net


def _checked(labels: np.ndarray, count: int, classes: int) -> np.ndarray:
    """The labels of so many images, or NinError."""
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        found = f"found {labels.dtype} of shape {labels.shape}"
        raise NinError(f"`labels`: must be {count} whole numbers, one for each image, {found}")
    if labels.min() < 0 or labels.max() >= classes:
        raise NinError(f"`labels`: must be from 0 to {classes - 1}")
    return labels


def _weights(backend: Backend, net: Any) -> dict[str, np.ndarray]:
    """Those of a network by canonical name, in float32 as files have them."""
    weights = need(backend, "get_weights")(net)
    return {name: array.astype(np.float32) for name, array in weights.items()}


def _check_size(model: Model, resize: int) -> None:
    """Refuse a size of images that the network is not made for."""
    architecture.check_input_size(resize, model.network)
    first = architecture.dense_layers(resize, model.num_classes, model.network)[:1]
    if first and model.weights["dense1.weight"].shape[1] != first[0].in_channels:
        raise NinError(
            f"`resize={resize}`: the fully connected layer of this network is made for images of "
            f"{model.resize}x{model.resize}"
        )
