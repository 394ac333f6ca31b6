"""A data set: training images, and the images that accuracy is measured on."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.errors import NinError, one_line

# What the messages of Dataset call the arrays: its arguments.
ARGUMENTS = {
    name: f"`{name}`" for name in ("train_images", "train_labels", "test_images", "test_labels")
}


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
    """0: one more than the largest training label."""
    kind: str = "custom"
    """``full`` or ``sample`` (of Fashion-MNIST), or ``custom``."""
    directory: str = ""
    """Where it was read from; empty: from no directory."""
    checksums: dict[str, str] = field(default_factory=dict)
    """File name -> SHA-256 of the uncompressed file."""
    evaluated_on: str = "test"
    """``test``, or ``validation`` if the test images here were held out of the training set."""
    refused: tuple[str, ...] = ()
    """Copies that were found but are damaged, one line each."""
    notice: str = ""
    """One sentence for everything that is written, when this is not the whole real data set."""

    def __post_init__(self) -> None:
        """Check the arrays."""
        arrays = {name: getattr(self, name) for name in ARGUMENTS}
        for name, value in check_arrays(arrays, self.num_classes, ARGUMENTS).items():
            object.__setattr__(self, name, value)
        if not self.num_classes:
            object.__setattr__(self, "num_classes", int(self.train_labels.max()) + 1)

    @property
    def counts(self) -> str:
        """How many images there are, in words."""
        return f"{len(self.train_images)} training and {len(self.test_images)} test images"

    def limit(self, count: int | None) -> "Dataset":
        """The first ``count`` training images, and a sixth as many test images (at least one).

        Raises:
            NinError: if there are fewer than ``count``.
        """
        if count is None:
            return self
        available = len(self.train_images)
        if count > available:
            raise NinError(f"`limit={count}`: there are only {available} training examples")
        tests = min(max(1, count // 6), len(self.test_images))
        note = (
            f"A subset: {count} of {available} training and "
            f"{tests} of {len(self.test_images)} {self.evaluated_on} images."
        )
        return dataclasses.replace(
            self,
            train_images=self.train_images[:count],
            train_labels=self.train_labels[:count],
            test_images=self.test_images[:tests],
            test_labels=self.test_labels[:tests],
            notice=f"{self.notice} {note}".strip(),
        )

    def hold_out(self, count: int) -> "Dataset":
        """Take the last ``count`` training images out of training and measure accuracy on them.

        Choices (hyperparameters, exercise 1) are made on such a validation split, so that the
        test set is left for the final result.

        Raises:
            NinError: if no training image would be left.
        """
        if not count:
            return self
        available = len(self.train_images)
        if count >= available:
            raise NinError(f"`validation={count}`: leaves none of {available} training examples")
        note = (
            f"Trained without the last {count} of {available} training images, on which accuracy "
            "is measured."
        )
        return dataclasses.replace(
            self,
            train_images=self.train_images[:-count],
            train_labels=self.train_labels[:-count],
            test_images=self.train_images[-count:],
            test_labels=self.train_labels[-count:],
            evaluated_on="validation",
            notice=f"{self.notice} {note}".strip(),
        )


def check_arrays(
    arrays: Mapping[str, Any], num_classes: int, called: Mapping[str, str]
) -> dict[str, Any]:
    """Check what a data set is made of.

    Args:
        arrays: ``train_images``, ``train_labels``, ``test_images``, ``test_labels``, or what NumPy
            makes arrays of.
        num_classes: 0: as many as the training labels say.
        called: what messages call each of them.

    Returns:
        the arrays, labels as uint8.

    Raises:
        NinError: naming the array, what was expected and what was found.
    """
    checked: dict[str, Any] = {}
    for part in ("train", "test"):
        images, labels = f"{part}_images", f"{part}_labels"
        checked[images] = _images(arrays[images], called[images])
        checked[labels] = _labels(arrays[labels], called[labels])
        if len(checked[labels]) != len(checked[images]):
            raise NinError(
                f"{called[labels]}: {len(checked[labels])} labels for the {len(checked[images])} "
                f"images of {called[images]}"
            )
    size, other = (checked[f"{part}_images"].shape[1] for part in ("train", "test"))
    if other != size:
        raise NinError(
            f"{called['test_images']}: images are {other}x{other}, expected {size}x{size} as in "
            f"{called['train_images']}"
        )
    classes = num_classes or int(checked["train_labels"].max()) + 1
    if classes < 2:
        raise NinError(f"{called['train_labels']}: one class only; at least two are needed")
    for name in ("train_labels", "test_labels"):
        largest = int(checked[name].max())
        if largest >= classes:
            known = "classes" if num_classes else "training labels"
            raise NinError(
                f"{called[name]}: label {largest} is not among the {known} 0 to {classes - 1}"
            )
    return checked


def _images(value: Any, called: str) -> np.ndarray:
    words = "uint8 from 0, black, to 255", "(count, height, width)"
    array = _array(value, called, np.uint8, *words)
    height, width = array.shape[1:]
    if height != width or not height:
        raise NinError(f"{called}: images are {height}x{width}, expected square ones")
    if not len(array):
        raise NinError(f"{called}: holds no images")
    return array


def _labels(value: Any, called: str) -> np.ndarray:
    array = _array(value, called, np.integer, "whole numbers", "(count,)")
    if array.size and not 0 <= array.min() <= array.max() <= 255:
        raise NinError(f"{called}: from {array.min()} to {array.max()}, expected 0 to 255 at most")
    return array.astype(np.uint8, copy=False)


def _array(value: Any, called: str, kind: type, type_words: str, shape_words: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise NinError(f"{called}: not an array ({one_line(error)})") from error
    if not np.issubdtype(array.dtype, kind):
        raise NinError(f"{called}: of type {array.dtype}, expected {type_words}")
    if array.ndim != len(shape_words.rstrip(",)").split(",")):
        raise NinError(f"{called}: of shape {array.shape}, expected {shape_words}")
    return array
