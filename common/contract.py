"""The contract that a backend fulfils, in parts: protocols, and nothing else.

A backend is a package or a file with the names of :class:`Backend`. What needs a name that it
lacks is refused in one line (:func:`common.backends.parts.need`); the comparison makes do with
``nin``, ``set_weights`` and a ``Predictor`` with ``logits`` or ``activations``.
:class:`Variants`, :class:`Distribution`, :class:`Exporter` and :class:`Benchmark` are the backend's
modules ``variants``, ``workers``, ``export`` and ``bench`` (or stand in its one file), imported
when they are asked for.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from common.network.description import Network
from common.settings import Settings
from common.training.workers import Workers

# What scripts/bench.py times: does something so many times, then waits for the device.
Work = Callable[[int], None]


class LayerOutput(NamedTuple):
    """One layer of the book's shape walk, and what came out of it."""

    book_name: str
    """The name that the book's loop prints: class name, or MXNet's ``layer.name``."""
    shape_text: str
    """The shape as the book's loop prints it, in the framework's own layout."""
    name: str | None
    """Canonical name (``block1`` ... ``flatten``), ``None`` if only this framework has it."""
    output: np.ndarray
    """The output itself, channels first."""


class Device(NamedTuple):
    """Where a backend computes."""

    kind: str
    """``cpu`` or ``gpu``."""
    name: str
    """As the book prints it: ``cuda:0`` or ``cpu``, ``gpu(0)``, ``/GPU:0`` ..."""
    native: Any
    """The framework's own device object."""


class Predictor(Protocol):
    """A network on a device, for images of one size. Needs no training data and no optimizer."""

    net: Any
    device: Device

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Predict, with dropout off.

        Args:
            images: uint8, shape ``(batch, height, width)``, before resizing.

        Returns:
            float array of shape ``(batch, classes)``.
        """
        ...

    def activations(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs of all layers and convolutions for uint8 images, dropout off.

        Returns:
            ``input``, ``block1.conv1`` (after its ReLU) ... ``flatten`` -> array, channels
            first, in the order of computation.
        """
        ...

    def gradients(
        self, images: np.ndarray, labels: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Loss of a batch and its slope in every parameter, dropout off; changes nothing.

        Args:
            images: uint8, shape ``(batch, height, width)``, before resizing.
            labels: whole numbers, shape ``(batch,)``.

        Returns:
            mean cross-entropy in nats, and canonical name -> gradient, shaped as
            :meth:`Backend.get_weights` shapes the parameter.
        """
        ...


class Trainer(Predictor, Protocol):
    """A network, its optimizer and the training data, together on one device."""

    def train_batch(self, indices: np.ndarray, learning_rate: float, step: int) -> None:
        """One optimizer step on the cross-entropy of a batch. Does not wait for the device.

        Args:
            indices: int64, shape ``(batch,)``: which training examples; of several workers each
                takes its share of them, and all take the same step.
            learning_rate: for this step.
            step: number of the step in the run, from 0. With the seed it decides the dropout
                mask and how images are moved and mirrored (:mod:`common.data.augmentation`), so
                that a resumed run drops the same units and sees the same images.
        """
        ...

    def take_metrics(self) -> tuple[np.ndarray, np.ndarray]:
        """Wait for the device; what each step since the last call measured.

        Returns:
            mean cross-entropy of each batch in nats, float64 of shape ``(steps,)``, and
            correctly classified examples of each batch, int64 of shape ``(steps,)``; both
            measured on the batch before its update, with dropout on, as in the book; of several
            workers, each on its share.
        """
        ...

    def state(self) -> dict[str, np.ndarray]:
        """All that the next steps depend on: weights and the optimizer's state, copied."""
        ...

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore a state that :meth:`state` gave, bit for bit."""
        ...


class Backend(Protocol):
    """What every command uses of a backend. Each name is a module-level function or class."""

    NAME: str
    PRECISIONS: tuple[str, ...]
    KEEP_MEMORY: bool
    """Whether its steps are faster if the process keeps the memory that they free."""

    # nin_block(...) has the book's signature, which differs between the frameworks.
    nin_block: Any

    def nin(self, num_classes: int = 10, in_channels: int = 1, dropout: float = 0.5) -> Any:
        """The chapter's network, a sequence of layers, its weights allocated."""
        ...

    def allocate(self, net: Any, images: np.ndarray) -> tuple[int, ...]:
        """Make the weights of layers that find their input channels from the first images.

        Args:
            net: a network of the reader's own; weights that are there already stay.
            images: float32, shape ``(batch, channels, height, width)``.

        Returns:
            the shape of its outputs, channels first.

        Raises:
            NinError: naming a layer that cannot be trained or does not take what it gets.
        """
        ...

    def initialize(self, net: Any, scheme: str, seed: int) -> None:
        """Draw all weights anew: ``xavier`` as the book does, or ``he``."""
        ...

    def describe(self, net: Any) -> list[str]:
        """A line for each layer, the same for the same layers whatever their weights are."""
        ...

    def dropout_rate(self, net: Any) -> float:
        """Of the network's first dropout layer; 0 if it has none."""
        ...

    def get_weights(self, net: Any) -> dict[str, np.ndarray]:
        """Copies of all parameters by canonical name, convolutions (out, in, height, width).

        Raises:
            NinError: naming a layer whose parameters have no canonical name.
        """
        ...

    def set_weights(self, net: Any, weights: Mapping[str, np.ndarray]) -> None:
        """The reverse of :meth:`get_weights`; raises ``NinError`` for a wrong name or shape.

        Args:
            net: of :meth:`nin`.
            weights: canonical name -> array, in the order of the layers.
        """
        ...

    def shape_walk(self, net: Any, images: np.ndarray) -> Iterator[LayerOutput]:
        """The book's loop over the layers, for float32 images (batch, channels, height, width)."""
        ...

    def find_device(self, kind: str) -> Device:
        """The device for ``auto``, ``cpu`` or ``gpu``; ``NinError`` if there is none."""
        ...

    def set_threads(self, count: int) -> None:
        """Compute on this many CPU threads; to be called before anything is computed."""
        ...

    def versions(self) -> dict[str, str]:
        """Package name -> version of what computes."""
        ...

    def Predictor(self, net: Any, settings: Settings) -> Predictor:
        """Put a network on the device of the settings, in their precision and for their size."""
        ...

    def Trainer(
        self, net: Any, settings: Settings, images: np.ndarray, labels: np.ndarray
    ) -> Trainer:
        """Put a network and the training data on the device; it is trained in place.

        Args:
            net: a network with weights.
            settings: of the run; the precision is not ``auto``.
            images: uint8, shape ``(count, height, width)``.
            labels: whole numbers, shape ``(count,)``.
        """
        ...


class Content(NamedTuple):
    """What a file of other software holds."""

    groups: dict[str, dict[str, np.ndarray]]
    """Its dictionaries of tensors, by its own names; ``""`` if there is but one. Convolutions are
    (out, in, height, width), fully connected layers (out, in)."""
    ordered: bool
    """Whether the tensors stand in the order of the layers."""
    metadata: dict[str, str]
    """Text by name: ours if it is an export of ours."""
    input_shape: tuple[int | None, ...] | None = None
    """What its layers take: (batch, channels, height, width), None where it is open. Without it the
    file holds weights only, and no layers that could be run."""
    dropout: float | None = None
    """The rate of its dropout layer, if it says."""
    notes: tuple[str, ...] = ()
    """What the user should know of how it was read, a sentence each."""
    net: Any = None
    """The file's own layers, as Keras built them or ONNX reads them."""


class Variants(Protocol):
    """Networks other than the chapter's: those of its exercises."""

    def build(
        self,
        network: Network,
        num_classes: int = 10,
        in_channels: int = 1,
        dropout: float = 0.5,
        size: int = 224,
    ) -> Any:
        """The network of a description, a sequence of layers, its weights allocated.

        Layers are named as in :func:`common.network.architecture.layer_shapes`.

        Args:
            network: what it is made of; for the chapter's it is :meth:`Backend.nin`.
            num_classes: channels of the last block.
            in_channels: channels of the images.
            dropout: rate of every dropout layer.
            size: height and width of the images, in pixels, which a fully connected layer goes by.
        """
        ...


class Distribution(Protocol):
    """Several processes that train one network together."""

    def join_workers(self, device: Device) -> Workers:
        """This process among those that train together, as its environment says, or alone.

        It is called before anything is computed; the same workers are given again.
        """
        ...


class Exporter(Protocol):
    """A file as the framework's users write and load it, without this project."""

    def save_native(self, net: Any, path: Path, metadata: Mapping[str, str]) -> list[Path]:
        """Write the network; all files that were written, ``path`` being the last of them.

        The metadata go where the framework's own readers pass over them.
        """
        ...

    def load_native(self, path: Path) -> Content:
        """What such a file holds; nothing in it is run.

        Raises:
            NinError: for a file that is not for this reader, in our own words.
        """
        ...

    def run_native(self, path: Path, pixels: np.ndarray) -> list[np.ndarray]:
        """What the file makes of float32 pixels (batch, channels, height, width): its outputs.

        Layers in half or double precision are run in float32. Weights without layers are put into
        the book's own network, by the names that they have there.
        """
        ...


class Benchmark(Protocol):
    """What ``scripts/bench.py`` times. The arrays are on the device before it begins."""

    def bare_step(
        self, trainer: Any, images: np.ndarray, labels: np.ndarray, learning_rate: float
    ) -> Work:
        """A trainer's network and optimizer on one batch: what the framework itself costs.

        Forward, loss, backward and update; the pixels are resized beforehand, nothing is gathered
        and nothing is measured but the last loss.
        """
        ...

    def matrix_product(self, device: Device, size: int) -> Work:
        """The product of two float32 matrices of this height and width."""
        ...
