"""What crosses between the comparison and each backend's process: a job, and a recording."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common import settings
from common.errors import NinError
from common.network import architecture, description
from common.network.description import Network

LEVELS = ("shapes", "parameters", "activations", "gradients", "training", "dropout")
# Recorded in one precision only: shapes, numbers that are kept as they are, and random masks.
OF_NO_PRECISION = ("shapes", "parameters", "dropout")
# The judge first: float64 shows whether it is one function, float32 whether it is that one rounded.
PRECISIONS = ("float64", "float32")
DTYPES = ("both", *PRECISIONS)
DEVICES = ("cpu", "gpu")

# Training goes over this many batches again and again: the last pass's loss can be set beside the
# first's.
PASS_STEPS = 4
# The book's SGD, at a rate at which the weights of material.py learn: the loss falls by 5 % in 50
# steps. At the book's 0.1 they would die, and all dead networks agree; at ten times this rate the
# branches that rounding decides already show in the third digit of the loss.
LEARNING_RATE = 3e-6
# A file's weights may be of any size; a step is to lower their loss by as large a part as it lowers
# that of material.py's (0.0006 to 0.001 of it).
STEP_FALL = 6e-4


@dataclass(frozen=True)
class Job:
    """What every backend of a comparison does."""

    levels: tuple[str, ...] = LEVELS
    resize: int = 224
    batch_size: int = 4
    seed: int = 0
    dtype: str = "both"
    steps: int = 16
    device: str = "cpu"
    threads: int = 0
    network: str = "chapter"
    lr: float = 0.0
    """Of the training; 0: one that suits the weights."""

    def check(self) -> None:
        """Raise :class:`NinError` for a value that makes no sense, naming its option."""
        for name in self.levels:
            if name not in LEVELS:
                raise NinError(f"`levels={name}`: unknown; choose from {','.join(LEVELS)}")
        if not self.levels:
            raise NinError(f"`levels`: choose from {','.join(LEVELS)}")
        fewest = 2 * PASS_STEPS
        for name, good, wanted in (
            ("dtype", self.dtype in DTYPES, ", ".join(DTYPES)),
            ("device", self.device in DEVICES, " or ".join(DEVICES)),
            ("batch_size", 1 <= self.batch_size <= 1024, "a whole number from 1 to 1024"),
            ("steps", fewest <= self.steps <= 10_000, f"a whole number from {fewest} to 10000"),
            ("lr", 0 <= self.lr <= 10, "a number from 0 (one that suits the weights) to 10"),
        ):
            if not good:
                raise NinError(f"`{name}={getattr(self, name)}`: must be {wanted}")
        # seed, threads and image size have the bounds of a training run
        settings.Settings(
            seed=self.seed, threads=self.threads, resize=self.resize, network=self.network
        ).check()

    @property
    def description(self) -> Network:
        """The network that is compared."""
        return description.parse(self.network)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The layers' shapes on paper for one image."""
        return architecture.layer_shapes(self.resize, network=self.description)

    @property
    def last_map(self) -> int:
        """Height of what the last pooling leaves, in pixels."""
        return [shape[2] for name, shape in self.shapes.items() if name.startswith("pool")][-1]

    @property
    def precisions(self) -> tuple[str, ...]:
        """What to compute in: float64, float32, or one after the other."""
        return PRECISIONS if self.dtype == "both" else (self.dtype,)

    @property
    def learning_rate(self) -> float:
        """Of the training; the more pixels the global pooling averages, the flatter the loss."""
        return self.lr or LEARNING_RATE * self.last_map / max(1, self.depth / DEPTH) ** 3

    @property
    def depth(self) -> int:
        """Number of convolutions."""
        return sum(not layer.is_pool for layer in architecture.layers(network=self.description))

    def in_order(self, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Weights by name in the order of the layers; a file keeps none."""
        names = architecture.parameter_shapes(network=self.description, size=self.resize)
        return {name: weights[name] for name in names if name in weights}

    @property
    def learning_rate_text(self) -> str:
        """The rate, and, if it was not given, why it is not the book's."""
        text = f"plain SGD at learning rate {self.learning_rate:.2g}"
        if self.lr:
            return text
        deep = f", over the cube of {self.depth}/{DEPTH} for the depth" * (self.depth > DEPTH)
        return (
            f"{text}, which is {LEARNING_RATE:g} times {self.last_map}, the height of the last "
            f"map{deep}; the book's 0.1 suits its small initial weights; these are larger, so "
            "that every layer counts, and would diverge at 0.1"
        )

    @property
    def oblong_width(self) -> int:
        """A width above :attr:`resize` at which each pooling layer leaves a column over.

        It shows a network that confuses height and width, or rounds up where it must round down.
        """
        width = self.resize + 1
        while fitting_pools(width, self.description):
            width += 1
        return width


# Gradients grow with the depth. At that rate a network of 30 convolutions jumps about, and rounding
# grows by an order of magnitude in each step, so beyond the chapter's depth the rate falls.
DEPTH = Job().depth


@dataclass
class Recording:
    """What one backend computed in one precision."""

    name: str
    dtype: str = "float64"
    about: dict[str, Any] = field(default_factory=dict)
    """Versions, device, seconds, interpreter."""
    seconds: float = 0.0
    """That the levels took which are recorded in each precision."""
    shapes: list[dict[str, Any]] | None = None
    """As :func:`common.comparison.shapes.walk`, and ``oblong``: the shape for an oblong image."""
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    """``level/what`` -> array."""
    absent: dict[str, str] = field(default_factory=dict)
    """Level -> what the backend lacks for it."""
    failed: dict[str, str] = field(default_factory=dict)
    """Level -> the error in it."""

    def group(self, level: str) -> dict[str, np.ndarray]:
        """The arrays of one level."""
        return below(level, self.arrays)

    def has(self, level: str) -> bool:
        """Whether there is anything of this level to compare."""
        if level == "training":
            return "training/losses" in self.arrays
        return bool(self.shapes) if level == "shapes" else bool(self.group(level))


def below(start: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays whose names begin with ``start/``, by the rest of their names."""
    return {
        name.removeprefix(f"{start}/"): array
        for name, array in arrays.items()
        if name.startswith(f"{start}/")
    }


def fitting_pools(width: int, network: Network) -> list[str]:
    """The pooling layers whose windows fit an image of this width exactly."""
    found = []
    for layer in architecture.layers(network=network):
        if layer.is_pool and (width - layer.kernel_size) % layer.stride == 0:
            found.append(layer.name)
        width = layer.output_size(width)
    return found
