"""What crosses between the comparison and each backend's process: a job, and a recording.

A job is its options and three kinds of arrays (images, labels, weights); a recording is what one
backend made of it. Both are a JSON file and a safetensors file: nothing is ever unpickled.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common import settings
from common.comparison.material import draw_weights
from common.data.dataset import Dataset
from common.data.order import example_order
from common.errors import NinError
from common.files.arrays import load_arrays, save_arrays
from common.files.write import write_json
from common.network import architecture

LEVELS = ("shapes", "parameters", "activations", "gradients", "training")
DTYPES = ("float32", "float64")
DEVICES = ("cpu", "gpu")

# Training goes over this many batches again and again: the last pass's loss can be set beside the
# first's.
PASS_STEPS = 4
# The book's SGD, at a rate at which the weights of material.py learn: the loss falls by 5 % in 50
# steps. At the book's 0.1 they would die, and all dead networks agree; at ten times this rate the
# branches that rounding decides already show in the third digit of the loss.
LEARNING_RATE = 3e-6

JOB = "job"
RECORDING = "recording"


@dataclass(frozen=True)
class Job:
    """What every backend of a comparison does."""

    levels: tuple[str, ...] = LEVELS
    resize: int = 224
    batch_size: int = 8
    seed: int = 0
    dtype: str = "float32"
    steps: int = 50
    device: str = "cpu"
    threads: int = 0

    def check(self) -> None:
        """Raise :class:`NinError` for a value that makes no sense, naming its option."""
        for name in self.levels:
            if name not in LEVELS:
                raise NinError(f"`levels={name}`: unknown; choose from {','.join(LEVELS)}")
        if not self.levels:
            raise NinError(f"`levels`: choose from {','.join(LEVELS)}")
        fewest = 2 * PASS_STEPS
        rules: list[tuple[str, bool, str]] = [
            ("dtype", self.dtype in DTYPES, " or ".join(DTYPES)),
            ("device", self.device in DEVICES, " or ".join(DEVICES)),
            ("batch_size", 2 <= self.batch_size <= 1024, "a whole number from 2 to 1024"),
            ("steps", fewest <= self.steps <= 10_000, f"a whole number from {fewest} to 10000"),
        ]
        for name, good, wanted in rules:
            if not good:
                raise NinError(f"`{name}={getattr(self, name)}`: must be {wanted}")
        # seed, threads and image size have the bounds of a training run
        settings.Settings(seed=self.seed, threads=self.threads, resize=self.resize).check()

    @property
    def learning_rate(self) -> float:
        """Of the training; the more pixels the global pooling averages, the flatter the loss."""
        return LEARNING_RATE * architecture.layer_shapes(self.resize)["pool3"][2]

    @property
    def oblong_width(self) -> int:
        """A width above :attr:`resize` at which each pooling layer leaves a column over.

        So that height is told from width, and rounding down from rounding up.
        """
        width = self.resize + 1
        while not _leaves_over(width):
            width += 1
        return width


@dataclass
class Recording:
    """What one backend computed."""

    name: str
    about: dict[str, Any] = field(default_factory=dict)
    """Versions, device, type of the numbers, seconds, interpreter."""
    shapes: list[dict[str, Any]] | None = None
    """For each layer ``name``, ``book_name``, ``shape`` and ``oblong`` (for an oblong image)."""
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    """``level/what`` -> array."""
    absent: dict[str, str] = field(default_factory=dict)
    """Level -> what the backend lacks for it."""
    failed: dict[str, str] = field(default_factory=dict)
    """Level -> the error in it."""

    def group(self, level: str) -> dict[str, np.ndarray]:
        """The arrays of one level."""
        start = level + "/"
        return {
            name.removeprefix(start): array
            for name, array in self.arrays.items()
            if name.startswith(start)
        }

    def has(self, level: str) -> bool:
        """Whether there is anything of this level to compare."""
        if level == "training":
            return "training/losses" in self.arrays
        return bool(self.shapes) if level == "shapes" else bool(self.group(level))


def draw_material(job: Job, dataset: Dataset) -> dict[str, np.ndarray]:
    """What every backend gets: real images, and weights that suit them.

    Returns:
        ``images`` (uint8) and ``labels`` of the batches that training goes over, of which the
        first is the one that outputs and gradients are compared on; ``weights/`` and each
        canonical name.

    Raises:
        NinError: if there are not enough images.
    """
    count, available = PASS_STEPS * job.batch_size, len(dataset.train_images)
    if count > available:
        raise NinError(
            f"`batch_size={job.batch_size}`: {PASS_STEPS} batches are needed and there are only "
            f"{available} images"
        )
    order = example_order(job.seed, 0, available)[:count]
    images = dataset.train_images[order]
    weights = draw_weights(job.seed, images, job.resize, job.batch_size)
    return {
        "images": images,
        "labels": dataset.train_labels[order],
        **{f"weights/{name}": array for name, array in weights.items()},
    }


def weights_of(material: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights among the material, by canonical name."""
    start = "weights/"
    return {n.removeprefix(start): a for n, a in material.items() if n.startswith(start)}


def write_job(directory: Path, backend: str, job: Job, arrays: Mapping[str, np.ndarray]) -> None:
    """Put a job into a directory, for one backend."""
    save_arrays(directory / f"{JOB}.safetensors", arrays, {})
    write_json(directory / f"{JOB}.json", {"backend": backend, **dataclasses.asdict(job)})


def read_job(directory: Path) -> tuple[str, Job, dict[str, np.ndarray]]:
    """The reverse of :func:`write_job`: backend, job and arrays."""
    fields = json.loads((directory / f"{JOB}.json").read_text())
    backend = fields.pop("backend")
    arrays, _ = load_arrays(directory / f"{JOB}.safetensors")
    return backend, Job(**{**fields, "levels": tuple(fields["levels"])}), arrays


def write_recording(directory: Path, recording: Recording) -> None:
    """Put a recording into the directory of its job."""
    # a file without any array cannot be read back (safetensors 0.8.0)
    arrays = recording.arrays or {"nothing": np.zeros(1)}
    save_arrays(directory / f"{RECORDING}.safetensors", arrays, {})
    fields = {f.name: getattr(recording, f.name) for f in dataclasses.fields(recording)}
    write_json(
        directory / f"{RECORDING}.json",
        {name: value for name, value in fields.items() if name != "arrays"},
    )


def read_recording(directory: Path) -> Recording:
    """The reverse of :func:`write_recording`.

    Raises:
        NinError: if it is missing or damaged.
    """
    arrays, _ = load_arrays(directory / f"{RECORDING}.safetensors")
    try:
        fields = json.loads((directory / f"{RECORDING}.json").read_text())
        return Recording(**fields, arrays=arrays)
    except (OSError, ValueError, TypeError) as error:
        raise NinError(f"{directory}: its recording is damaged ({error})") from error


def _leaves_over(width: int) -> bool:
    """Whether no pooling layer's windows fit this width exactly."""
    for layer in architecture.spatial_layers():
        if isinstance(layer, architecture.Pool) and (width - layer.kernel_size) % layer.stride == 0:
            return False
        width = architecture.output_size(width, layer)
    return True
