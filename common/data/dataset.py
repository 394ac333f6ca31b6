"""A data set: training images, and the images that accuracy is measured on."""

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.arguments import check
from common.errors import NinError, one_line, plural
from common.settings import check_value

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class Dataset:
    """Training images, and the images that accuracy is measured on.

    Four arrays are enough: ``Dataset(train_images, train_labels, test_images, test_labels)``.
    Images are uint8 of shape ``(count, height, width)``, height equal to width, 0 is black.
    Labels are whole numbers of shape ``(count,)``, kept as uint8, from 0 to below ``num_classes``.

    Raises:
        NinError: for arrays of another kind, naming the argument.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    num_classes: int = 0
    """0: as many as the training labels have; labels that skip numbers are then counted anew."""
    class_names: tuple[str, ...] = ()
    """One per class; none if they have no names but their numbers."""
    kind: str = "custom"
    """``full`` or ``sample`` (of Fashion-MNIST), or ``custom``."""
    directory: str = ""
    """Where it was read from; empty: from no directory."""
    checksums: dict[str, str] = field(default_factory=dict)
    """File name -> SHA-256 of the uncompressed file."""
    evaluated_on: str = "test"
    """``test``, or ``validation`` if the test images here were held out of the training set."""
    notice: str = ""
    """One sentence for everything that is written, when this is not the whole real data set."""

    def __post_init__(self) -> None:
        """Check the arrays, and what is said of them."""
        for each in dataclasses.fields(self):
            if each.name not in ARRAYS:
                check(each.name, getattr(self, each.name), each.type)
        if not 0 <= self.num_classes <= 256:
            raise NinError(f"`num_classes={self.num_classes}`: must be from 0 to 256")
        own = vars(self)  # it is frozen to others
        own["class_names"] = tuple(self.class_names)
        for images, labels in (ARRAYS[:2], ARRAYS[2:]):
            own[images], own[labels] = _images(images, own[images]), _labels(labels, own[labels])
            if len(own[labels]) != len(own[images]):
                raise NinError(
                    plural(f"`{labels}`: {len(own[labels])} label(s) for the ")
                    + plural(f"{len(own[images])} image(s) of `{images}`")
                )
        self._check_together()
        if not self.num_classes:
            self._count_classes()
        if len(self.class_names) not in (0, self.num_classes):
            count = f"{len(self.class_names)} for {self.num_classes} classes"
            raise NinError(f"`class_names`: {count}; one for each is needed, or none")

    def __repr__(self) -> str:
        """Without the arrays."""
        side = self.train_images.shape[1]
        return f"<Dataset: {self.counts} of {side}x{side}, {self.num_classes} classes>"

    @property
    def counts(self) -> str:
        """How many images there are, in words."""
        return plural(
            f"{len(self.train_images)} training and {len(self.test_images)} test image(s)"
        )

    def _check_together(self) -> None:
        size, other = self.train_images.shape[1], self.test_images.shape[1]
        if other != size:
            raise NinError(
                f"`test_images`: images are {other}x{other}, expected {size}x{size} as in "
                "`train_images`"
            )
        classes = np.arange(self.num_classes) if self.num_classes else np.unique(self.train_labels)
        if len(classes) < 2:
            raise NinError("`train_labels`: one class only; at least two are needed")
        for name in ("train_labels", "test_labels"):
            others = np.setdiff1d(getattr(self, name), classes)
            if len(others):
                known = "the classes" if self.num_classes else "those of `train_labels`,"
                raise NinError(
                    f"`{name}`: label {others[-1]} is not among {known} {_span(classes)}"
                )

    def _count_classes(self) -> None:
        known, own = np.unique(self.train_labels), vars(self)
        own["num_classes"] = len(known)
        if known[-1] != len(known) - 1:
            for name in ("train_labels", "test_labels"):
                own[name] = np.searchsorted(known, own[name]).astype(np.uint8)
            own["class_names"] = self.class_names or tuple(map(str, known))
            note = f"The {len(known)} classes are those that its labels name, {_span(known)}."
            own["notice"] = f"{self.notice} {note}".strip()

    def limit(self, count: int | None) -> "Dataset":
        """So many training images, and a sixth as many test images (at least one).

        Which ones, a fixed shuffle decides, of each class as large a share as of the others.

        Raises:
            NinError: if there are fewer than ``count``.
        """
        check_value("limit", count)
        if count is None:
            return self
        available = len(self.train_images)
        if count > available:
            raise NinError(plural(f"`limit={count}`: only {available} training example(s)"))
        tests = min(max(1, count // 6), len(self.test_images))
        chosen, measured = _choose(self.train_labels, count), _choose(self.test_labels, tests)
        note = (
            f"A subset: {count} of {available} training and "
            f"{tests} of {len(self.test_images)} {self.evaluated_on} image(s)."
        )
        return dataclasses.replace(
            self.take(chosen, measured),
            checksums=self._with_choice("limit", chosen),
            notice=f"{self.notice} {plural(note)}".strip(),
        )

    def take(self, train: Any, test: Any) -> "Dataset":
        """These training and test examples alone, as NumPy selects them; no notice says so."""
        return dataclasses.replace(
            self,
            train_images=self.train_images[train],
            train_labels=self.train_labels[train],
            test_images=self.test_images[test],
            test_labels=self.test_labels[test],
        )

    def hold_out(self, count: int) -> "Dataset":
        """Take ``count`` training images out of training and measure accuracy on them.

        Which ones, a fixed shuffle decides, of each class as large a share as of the others.
        Choices (hyperparameters, exercise 1) are made on such a validation split, so that the
        test set is left for the final result.

        Raises:
            NinError: if no training image would be left.
        """
        check_value("validation", count)
        if not count:
            return self
        available = len(self.train_images)
        if count >= available:
            raise NinError(f"`validation={count}`: leaves nothing of {available} to train on")
        note = (
            f"Trained without {count} of {available} training image(s), on which accuracy is "
            "measured."
        )
        out = np.zeros(available, bool)
        out[_choose(self.train_labels, count)] = True
        return dataclasses.replace(
            self,
            train_images=self.train_images[~out],
            train_labels=self.train_labels[~out],
            test_images=self.train_images[out],
            test_labels=self.train_labels[out],
            checksums=self._with_choice("validation", np.flatnonzero(out)),
            evaluated_on="validation",
            notice=f"{self.notice} {plural(note)}".strip(),
        )

    def _with_choice(self, name: str, chosen: np.ndarray) -> dict[str, str]:
        """The checksums, and one of the choice if they are of files, which hold all images."""
        if not self.checksums:
            return {}
        return {**self.checksums, name: hashlib.sha256(chosen.tobytes()).hexdigest()}


def _choose(labels: np.ndarray, count: int) -> np.ndarray:
    """The numbers of so many examples, in order: the same share of each class, by a fixed shuffle.

    Where the shares are no whole numbers, the classes that come next are a matter of the shuffle.
    """
    shuffled = np.random.default_rng(0).permutation(len(labels))
    # how far each example is through its class: the first so many of all
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    order = shuffled[np.argsort(place[shuffled], kind="stable")]
    return np.sort(order[:count])


def first_examples(labels: np.ndarray, count: int) -> np.ndarray:
    """The numbers of the first so many examples; of some in the order of classes, of all classes.

    These are then chosen as :meth:`Dataset.limit` does.
    """
    count = min(count, len(labels))
    in_order = (labels[1:] >= labels[:-1]).all()
    return _choose(labels, count) if in_order else np.arange(count)


def _span(labels: np.ndarray) -> str:
    """Labels in words: ``0 to 9``, or ``0, 5, 255``."""
    if labels[-1] - labels[0] == len(labels) - 1 and len(labels) > 1:
        return f"{labels[0]} to {labels[-1]}"
    few = ", ".join(map(str, labels[:6]))
    return f"{few} ... {labels[-1]}" if len(labels) > 6 else few


def _images(name: str, value: Any) -> np.ndarray:
    array = _array(name, value, np.uint8, "uint8 from 0, black, to 255", "(count, height, width)")
    height, width = array.shape[1:]
    if height != width or not height:
        raise NinError(
            f"`{name}`: images are {width} pixels wide and {height} high, expected square ones"
        )
    if not len(array):
        raise NinError(f"`{name}`: holds no images")
    return array


def _labels(name: str, value: Any) -> np.ndarray:
    array = _array(name, value, np.integer, "whole numbers", "(count,)")
    if array.size and not 0 <= array.min() <= array.max() <= 255:
        raise NinError(f"`{name}`: from {array.min()} to {array.max()}, expected 0 to 255 at most")
    return array.astype(np.uint8, copy=False)


def to_array(name: str, value: Any) -> np.ndarray:
    """What NumPy makes of an argument; :class:`NinError` if it makes nothing."""
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise NinError(f"`{name}`: not an array ({one_line(error)})") from error


def _array(name: str, value: Any, kind: type, type_words: str, shape_words: str) -> np.ndarray:
    array = to_array(name, value)
    if not np.issubdtype(array.dtype, kind):
        raise NinError(f"`{name}`: of type {array.dtype}, expected {type_words}")
    if array.ndim != len(shape_words.rstrip(",)").split(",")):
        raise NinError(f"`{name}`: of shape {array.shape}, expected {shape_words}")
    return array
