"""What a trained network predicts for images: of a data set, or photos of clothes."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from common.arguments import checked
from common.data import fashion_mnist, layouts, photos
from common.data.dataset import Dataset
from common.errors import NinError, in_python, plural, shortened
from common.model import Model
from common.prediction import dead_classes, pictures
from common.report import style
from common.settings import Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPLITS = ("test", "train")
UNNAMED = "The data set names no classes; the network's names are used."


@dataclass(frozen=True)
class Images:
    """What to predict."""

    pixels: np.ndarray
    """uint8, (count, height, width), 0 is black."""
    names: list[str]
    """What to call each: its number in the data set, or its file."""
    labels: np.ndarray | None
    """The true classes, if they are known."""
    notice: str = ""
    """One sentence for everything that is written, when it is not the whole real data set."""
    class_names: tuple[str, ...] = ()
    """Of the labels, if they have names."""
    made_of: tuple[photos.Photo, ...] = ()
    """The photos, if they were made of any."""
    refused: tuple[str, ...] = ()
    """A line for each photo that could not be read."""


def from_dataset(data: Dataset | str, split: str, indices: str | None, model: Model) -> Images:
    """Images of a data set, or of one by its name, whose classes must be the network's.

    ``indices`` is as :func:`select` takes it.
    """
    if split not in SPLITS:
        raise NinError(f"`split={split}`: must be {' or '.join(SPLITS)}")
    dataset = data if isinstance(data, Dataset) else fashion_mnist.load(data)
    name = data if isinstance(data, str) else dataset.kind
    if dataset.num_classes != model.num_classes:
        raise NinError(
            f"`data={name}`: has {dataset.num_classes} classes, the network {model.num_classes}"
        )
    known = dataset.class_names
    if known and model.class_names and known != model.class_names:
        raise NinError(
            f"`data={name}`: its classes are {', '.join(known[:3])} ..., the network's "
            f"{', '.join(model.class_names[:3])} ..."
        )
    pixels, labels = getattr(dataset, f"{split}_images"), getattr(dataset, f"{split}_labels")
    chosen = select(indices, len(pixels), split)
    names = [f"{split} {i}" for i in chosen]
    notice = dataset.notice
    if model.class_names and not known:
        notice = f"{notice} {UNNAMED}".strip()
    return Images(pixels[chosen], names, labels[chosen], notice, known)


def from_files(paths: Sequence[Path], model: Model) -> Images:
    """Photos, made like the images that the network was trained on.

    Fashion-MNIST's were made of photos as :mod:`common.data.photos` does it; images of other data
    were read whole, and so are these. A bad one is passed over; without any good one, NinError
    names the first.
    """
    if not paths:
        raise NinError("`photos`: at least one is needed")
    made: dict[Path, photos.Photo] = {}
    read: dict[Path, np.ndarray] = {}
    refused, side = [], model.side
    for path in photos.expand(paths):
        try:
            if model.on_own_data:
                read[path] = layouts.picture(path, side)
                side = len(read[path])
            else:
                made[path] = photos.to_keep(photos.load(path))
                read[path] = made[path].image
        except NinError as error:
            refused.append(error.marked)
    if not read:
        more = f" (and {len(refused) - 1} more)" if refused[1:] else ""
        raise NinError(refused[0] + more)
    pixels, names = np.stack([*layouts.in_bytes(read).values()]), [*map(str, read)]
    return Images(pixels, names, None, made_of=tuple(made.values()), refused=tuple(refused))


def select(text: str | None, count: int, what: str) -> np.ndarray:
    """Which of so many images: ``0:64`` (to 63), ``:64``, ``9000:``, ``7``, or several with commas.

    None stands for all; anything else, no image, or one that is not there is a NinError, in which
    they are called ``what``.
    """
    chosen: list[int] = []
    called = f"`indices={shortened(text or '', 100)}`"
    for part in (":" if text is None else text).split(","):
        # Python refuses to read numbers of some thousand digits
        match = re.fullmatch(r"\s*(\d{0,99})(:?)(\d{0,99})\s*", part, re.ASCII)
        if match is None or not (match[1] or match[2]):
            raise NinError(f"{called}: must be like 0:64 or 3,5,8")
        start = int(match[1] or 0)
        stop = int(match[3] or count) if match[2] else start + 1
        if stop > count:
            raise NinError(plural(f"{called}: only {count} {what} image(s), counted from 0"))
        if start >= stop:
            raise NinError(f"{called}: {part} holds no image")
        chosen += range(start, stop)
    return np.array(chosen, np.int64)


def class_names(model: Model, images: Images) -> tuple[str, ...]:
    """In words: those of the network, or those of the data if it has none."""
    numbers = map(model.class_name, range(model.num_classes))
    return model.class_names or images.class_names or tuple(numbers)


class File(NamedTuple):
    """What a network was read from."""

    path: Path | None
    notes: tuple[str, ...]
    """What there was to say of it, a sentence each, which its reader has been told."""


NO_FILE = File(None, ())


class Predictions:
    """What a network predicts for images; settings and device say how it was run.

    ``logits`` and ``probabilities`` are (count, classes), ``labels`` the likeliest classes,
    (count,), ``plot()`` a figure of the images with their classes.
    """

    def __init__(
        self,
        model: Model,
        settings: Settings,
        images: Images,
        device: str,
        logits: np.ndarray,
        file: File = NO_FILE,
    ) -> None:
        from scipy.special import softmax

        self.model = model
        self.settings = settings
        self.images = images
        self.class_names = class_names(model, images)
        """Of all classes, for predicted and true ones alike."""
        self.device = device
        self.file = file
        self.logits = logits
        self.probabilities = softmax(logits.astype(np.float64), axis=1)
        self.labels = logits.argmax(1)
        true = images.labels
        self.wrong = np.zeros(len(logits), bool) if true is None else self.labels != true
        self.notes = self._notes()
        """What a person should know of them, a sentence each."""

    def __repr__(self) -> str:
        return f"<Predictions: {self.summary()}>"

    def rows(self) -> Iterator[tuple[str, ...]]:
        """For each image its name, the likeliest class, the next, the true one, in words."""
        for i, name in enumerate(self.images.names):
            first, second = np.argsort(-self.logits[i], kind="stable")[:2]
            cells = [name, self.likely(i, first), self.likely(i, second)]
            if self.images.labels is not None:
                cells += [self.true_class(i), "wrong" if self.wrong[i] else ""]
            yield tuple(cells)

    @checked
    def summary(self, lang: str = "en") -> str:
        """How many are right, if that is known; ``lang`` is ``en`` or ``tr``."""
        words, count = style.words(pictures.WORDS, lang), len(self.logits)
        images = plural(words["images"].format(style.number(count, language=lang)))
        if self.images.labels is None:
            return images
        right = count - int(self.wrong.sum())
        accuracy = style.number(right / count, ".3f", lang)
        return words["right"].format(style.number(right, language=lang), images, accuracy)

    def _notes(self) -> list[str]:
        same = (self.images.pixels == self.images.pixels[:1]).all()
        problem = dead_classes.problem(self.logits[:1] if same else self.logits)
        notes = [] if problem is None else [problem]
        dead = dead_classes.find(self.logits, self.images.labels)
        if dead:
            names = [self.class_names[label] for label in dead]
            notes.append(dead_classes.explain(names, len(self.logits)))
        if notes:
            notes.append(
                "what helps is to train it anew: with another `seed` or a lower `lr`, or, if it "
                "had neither, with `init=data` and `last_block=identity`, as `preset=fast` has them"
            )
        if self.images.made_of and self.model.class_names == fashion_mnist.CLASS_NAMES:
            unlike = photos.is_unlike(self.images.pixels)
            names = [Path(self.images.names[i]).name for i in np.flatnonzero(unlike)]
            if names:
                few = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
                notes.append(
                    f"unlike everything that the network was trained on: {few}; do not rely on "
                    "that prediction (`picture` shows what the network saw)"
                )
        return notes

    def report(self) -> dict[str, Any]:
        """Everything, for a JSON file."""
        labels = self.images.labels
        named = self.class_names
        predictions = []
        for i, name in enumerate(self.images.names):
            entry: dict[str, Any] = {"image": name, "predicted": named[self.labels[i]]}
            if labels is not None:
                entry["true"] = self.true_class(i)
            entry["probabilities"] = self.probabilities[i].tolist()
            predictions.append(entry)
        return {
            "weights": self.file.path and str(self.file.path),
            "backend": self.settings.backend,
            "device": self.device,
            "resize": self.settings.resize,
            "notice": self.images.notice,
            "notes": [in_python(note) for note in (*self.file.notes, *self.notes)],
            "refused": [in_python(line) for line in self.images.refused],
            "accuracy": None if labels is None else float(1 - self.wrong.mean()),
            "classes": list(named),
            "predictions": predictions,
        }

    def true_class(self, image: int) -> str:
        """The true class of an image, if it is known."""
        assert self.images.labels is not None
        return self.class_names[self.images.labels[image]]

    def likely(self, image: int, label: int, lang: str = "en") -> str:
        """A class in words, with how likely it is for an image."""
        share = style.share(self.probabilities[image, label], lang, digits=1)
        return f"{style.told(self.class_names[label], lang)} {share}"

    @checked
    def plot(self, lang: str = "en") -> "Figure":
        """A figure of the images with their classes, the wrong ones red; in ``en`` or ``tr``."""
        return pictures.plot(self, lang)
