"""Weights by canonical name: checks, and the one file format that all backends share."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common.arguments import fits
from common.errors import NinError
from common.files.arrays import load_arrays, save_arrays
from common.network import architecture, description
from common.network.description import CHAPTER, Network
from common.network.parameters import check_parameters

# names of networks in the metadata
NIN, VARIANT, BY_HAND = "nin", "nin variant", "built by hand"
CHECKSUM = "checksum"


@dataclass(frozen=True)
class Model:
    """A network's weights and what a stranger has to know about them: ``model.safetensors``."""

    weights: dict[str, np.ndarray]
    """Canonical name -> float32 array."""
    network: Network = CHAPTER
    num_classes: int = architecture.NUM_CLASSES
    in_channels: int = architecture.IN_CHANNELS
    dropout: float | None = architecture.DROPOUT
    """None if that is not known."""
    class_names: tuple[str, ...] = ()
    """One per class; none if they have no names."""
    resize: int | None = None
    """Side of the images that it was trained on, in pixels; None if that is not known."""
    side: int | None = None
    """Theirs before they were resized; None if that is not known."""
    training: dict[str, Any] = field(default_factory=dict)
    """The result of the run that it is from."""
    layers: tuple[str, ...] = ()
    """A line for each layer of a network that was built by hand and has no description."""

    @property
    def on_own_data(self) -> bool:
        """Whether it is known that it was trained on other images than Fashion-MNIST's."""
        return self.training.get("data") == "custom"

    @property
    def title(self) -> str:
        """What to call its network among others."""
        return title_of(self.network, self.layers)

    def notice(self, of_images: str) -> str:
        """A notice of images, and that of what it was trained on, as far as that is another."""
        own = str(self.training.get("notice") or "").removeprefix(of_images).strip()
        return f"{of_images} The network's training: {own}".strip() if own else of_images

    def class_name(self, label: int) -> str:
        """A class in words."""
        return self.class_names[label] if self.class_names else f"class {label}"


def title_of(network: Network, layers: Sequence[str]) -> str:
    """What to call a network; with layers, as in :class:`Model`, it has no description."""
    return f"Network {BY_HAND}" if layers else network.title


def save_model(path: Path, model: Model) -> None:
    """Write a model as one safetensors file, whole or not at all."""
    save_arrays(path, model.weights, to_metadata(model))


def load_model(path: Path) -> Model:
    """Read a model that any backend wrote.

    Raises:
        NinError: if the file is damaged or of another network, naming what was expected and found.
    """
    arrays, metadata = load_arrays(path)
    return from_metadata(arrays, metadata, str(path))


def check_chapter(model: Model, path: Path) -> None:
    """Raise :class:`NinError` unless a file holds a network that we can build."""
    if model.layers:
        raise NinError(
            f"{path}: of a network built by hand; from Python, build it again and give it: "
            "common.load(path, net)"
        )


def to_metadata(model: Model) -> dict[str, str]:
    """What a file holds of a model besides its weights, as text by name."""
    variant = model.network.differences()
    network = {
        "name": BY_HAND if model.layers else VARIANT if variant else NIN,
        "num_classes": model.num_classes,
        "in_channels": model.in_channels,
        "dropout": model.dropout,
    }
    if model.layers:
        network["layers"] = model.layers
    elif variant:
        network["variant"] = variant
    metadata = {
        "network": network,
        "classes": model.class_names,
        "pixels": {"resize": model.resize, "scale": "0 to 1", "side": model.side},
        "training": model.training,
    }
    texts = {name: json.dumps(value) for name, value in metadata.items()}
    return {**texts, CHECKSUM: _checksum(model.weights, texts)}


def network_of(metadata: Mapping[str, str], otherwise: Network = CHAPTER) -> Network:
    """The network that metadata describe, which :func:`from_metadata` will check."""
    try:
        network = dict(json.loads(metadata["network"]))
        return description.from_differences(network.get("variant", {}))
    except (KeyError, ValueError, TypeError, NinError):
        return otherwise


def size_of(metadata: Mapping[str, str]) -> int | None:
    """The size of images that metadata state, which :func:`from_metadata` will check."""
    try:
        return int(json.loads(metadata["pixels"])["resize"])
    except (KeyError, ValueError, TypeError):
        return None


def is_ours(metadata: Mapping[str, str]) -> bool:
    """Whether metadata are of this project, and not another's in a file of other software."""
    return {"network", "classes", "pixels", "training"} <= metadata.keys()


def _checksum(weights: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    """SHA-256 of weights and metadata, with the names of the metadata that it is of."""
    digest = hashlib.sha256()
    for name, array in sorted(weights.items()):
        digest.update(f"{name} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    names = [name for name in metadata if name != CHECKSUM]
    for name in names:
        digest.update(f"{name} {metadata[name]}\n".encode())
    return json.dumps({"sha256": digest.hexdigest(), "of": names})


def _check_checksum(
    weights: Mapping[str, np.ndarray], metadata: Mapping[str, str], where: str
) -> None:
    """Raise :class:`NinError` unless the content is what it was; older files claim nothing."""
    if CHECKSUM not in metadata:
        return
    try:
        names = json.loads(metadata[CHECKSUM])["of"]
        same = _checksum(weights, {name: metadata[name] for name in names}) == metadata[CHECKSUM]
    except (ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise NinError(
            f"{where}: damaged, or changed by other software since it was written (its weights or "
            "metadata do not have the checksum that the file states)"
        )


def from_metadata(
    weights: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    where: str,
    described: Network = CHAPTER,
    size: int | None = None,
) -> Model:
    """The reverse of :func:`to_metadata`; what is not stated, and no weight shows, is not known.

    Args:
        weights: canonical name -> array.
        metadata: text by name; entries that are not ours are passed over.
        where: what messages call the weights, such as a file's name.
        described: the network, if the metadata do not name it.
        size: of its images, if the metadata do not say it.

    Raises:
        NinError: if the weights are not those of the network that the metadata describe.
    """

    def entry(name: str, kind: type) -> Any:
        try:
            value = json.loads(metadata.get(name, "null"))
        except ValueError as error:
            raise NinError(f"{where}: its metadata are damaged ({name} is not JSON)") from error
        require(value is None or isinstance(value, kind), name, value)
        return kind() if value is None else value

    def require(good: bool, name: str, value: Any) -> None:
        if not good:
            raise NinError(f"{where}: its metadata are damaged ({name}: {json.dumps(value)})")

    def whole(value: Any, smallest: int) -> bool:
        return fits(value, int) and value >= smallest

    network, classes, pixels = entry("network", dict), entry("classes", list), entry("pixels", dict)
    layers = network.get("layers", [])
    variant = network.get("variant")
    expected_name = BY_HAND if layers else NIN if variant is None else VARIANT
    if network.get("name", expected_name) != expected_name:
        raise NinError(f"{where}: of another network ({network['name']}, expected {NIN})")
    require(fits(layers, Sequence[str]), "layers", layers)
    if variant is not None:
        try:
            described = description.from_differences(variant)
        except NinError:
            require(False, "variant", variant)
    elif "name" in network:
        described = CHAPTER
    found_classes, found_channels = _counts(weights, described)
    num_classes = network.get("num_classes", found_classes)
    if found_classes == 1 and "num_classes" not in network:
        raise NinError(
            f"{where}: of another network (it has one output; two classes are the least)"
        )
    require(whole(num_classes, 2), "num_classes", num_classes)
    in_channels = network.get("in_channels", found_channels)
    require(whole(in_channels, 1), "in_channels", in_channels)
    dropout = network.get("dropout")
    share = dropout is None or (fits(dropout, float) and 0 <= dropout < 1)
    require(share, "dropout", dropout)
    resize = pixels.get("resize", size)
    smallest = 1 if layers else architecture.smallest_input(described)
    require(resize is None or whole(resize, smallest), "resize", resize)
    side = pixels.get("side")
    require(side is None or whole(side, 1), "side", side)
    named = fits(classes, Sequence[str]) and len(classes) in (0, num_classes)
    require(named, "classes", classes)

    if described.head != "average" and resize is None and not layers:
        raise NinError(
            f"{where}: does not say for what size of images its fully connected layer is made; "
            "add `resize`"
        )
    expected = architecture.parameter_shapes(num_classes, in_channels, described, resize)
    if layers:
        expected = {name: array.shape for name, array in weights.items()}
    if not expected.keys() & weights.keys():
        raise NinError(
            f"{where}: of another network (it holds {_examples(weights)}; "
            f"expected {_examples(expected)})"
        )
    check_parameters(weights, expected, where)
    weights = {name: weights[name] for name in expected}
    for name, array in weights.items():
        if array.dtype != np.float32:
            raise NinError(f"{where}: {name} is of type {array.dtype}, expected float32")
        if not np.isfinite(array).all():
            bad = int((~np.isfinite(array)).sum())
            raise NinError(f"{where}: {name} has values that are not finite numbers: {bad}")
    _check_checksum(weights, metadata, where)
    return Model(
        weights=weights,
        network=described,
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        class_names=tuple(classes),
        resize=resize,
        side=side,
        training=entry("training", dict),
        layers=tuple(layers),
    )


def _counts(weights: Mapping[str, np.ndarray], network: Network) -> tuple[int, int]:
    """Classes and input channels as the weights themselves have them, else the chapter's."""
    names = list(architecture.parameter_shapes(network=network))
    first, last = weights.get(names[0]), weights.get(names[-1])
    return (
        architecture.NUM_CLASSES if last is None or last.ndim != 1 else last.shape[0],
        architecture.IN_CHANNELS if first is None or first.ndim != 4 else first.shape[1],
    )


def _examples(names: Mapping[str, Any]) -> str:
    few = ", ".join(list(names)[:2])
    return f"{len(names)} tensors: {few} ..." if few else "no tensors"
