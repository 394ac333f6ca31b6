"""The settings of a training run, and the presets: plain data."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import NinError
from common.network import architecture

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("constant", "one-cycle")
INITIALIZATIONS = ("xavier", "he")
LAST_BLOCKS = ("random", "identity")
PRECISIONS = ("float32", "bfloat16", "float64", "auto")
DEVICES = ("auto", "cpu", "gpu")


@dataclass(frozen=True)
class Settings:
    """Everything that decides the numbers of a run.

    The defaults are the chapter's (preset ``book``): d2l, "Network in Network", *Training*.
    """

    backend: str = "torch"
    preset: str = "book"
    epochs: int = 10
    lr: float = 0.1
    batch_size: int = 128
    resize: int = 224
    optimizer: str = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: str = "constant"
    init: str = "xavier"
    last_block: str = "random"
    dropout: float = architecture.DROPOUT
    label_smoothing: float = 0.0
    shift: int = 0
    flip: bool = False
    seed: int = 0
    limit: int | None = None
    validation: int = 0
    device: str = "auto"
    precision: str = "float32"  # a run's own is never auto: see common.backends.session.start
    threads: int = 0  # 0: OMP_NUM_THREADS, or one for each physical core that it may use

    def check(self) -> None:
        """Raise :class:`NinError` for a value that makes no sense, naming its option."""
        rules: list[tuple[str, bool, str]] = [
            ("epochs", 1 <= self.epochs <= 100_000, "a whole number from 1 to 100000"),
            ("lr", 0 < self.lr <= 1000, "a number above 0 and at most 1000"),
            ("batch_size", 1 <= self.batch_size <= 1_000_000, "a whole number from 1 to 1000000"),
            ("resize", 1 <= self.resize <= 4096, "a whole number of pixels up to 4096"),
            ("optimizer", self.optimizer in OPTIMIZERS, " or ".join(OPTIMIZERS)),
            ("momentum", 0 <= self.momentum < 1, "a number from 0 to below 1"),
            ("weight_decay", 0 <= self.weight_decay < 1, "a number from 0 to below 1"),
            ("schedule", self.schedule in SCHEDULES, " or ".join(SCHEDULES)),
            ("init", self.init in INITIALIZATIONS, " or ".join(INITIALIZATIONS)),
            ("last_block", self.last_block in LAST_BLOCKS, " or ".join(LAST_BLOCKS)),
            ("dropout", 0 <= self.dropout < 1, "a number from 0 to below 1"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "a number from 0 to below 1"),
            ("shift", 0 <= self.shift <= 14, "a whole number of pixels from 0 to 14"),
            ("seed", 0 <= self.seed < 2**31, "a whole number from 0 to 2147483647"),
            ("limit", self.limit is None or self.limit >= 1, "a whole number of at least 1"),
            ("validation", self.validation >= 0, "a whole number of at least 0"),
            ("threads", 0 <= self.threads <= 1024, "a whole number from 0 (all cores) to 1024"),
            ("device", self.device in DEVICES, ", ".join(DEVICES)),
            ("precision", self.precision in PRECISIONS, ", ".join(PRECISIONS)),
        ]
        for name, good, wanted in rules:
            if not good:
                option = "--" + name.replace("_", "-")
                raise NinError(f"{option} {getattr(self, name)}: must be {wanted}")
        if self.momentum and self.optimizer != "sgd":
            raise NinError("--momentum: only the sgd optimizer has it; leave it out")
        architecture.check_input_size(self.resize)


# What a preset changes from the defaults above.
PRESETS: dict[str, dict[str, Any]] = {
    "book": {},
    "fast": {
        "epochs": 4,
        "lr": 1.5e-3,
        "resize": 68,
        "optimizer": "adamw",
        "weight_decay": 5e-4,
        "schedule": "one-cycle",
        "init": "he",
        "last_block": "identity",
        "label_smoothing": 0.1,
        "precision": "auto",
    },
}
PRESETS["best"] = {
    **PRESETS["fast"],
    "epochs": 25,
    "lr": 2e-3,
    "resize": 84,
    "weight_decay": 0.05,
    "shift": 1,
    "flip": True,
}


def from_preset(preset: str, **overrides: Any) -> Settings:
    """The settings of a preset, with overrides.

    Args:
        preset: a name in :data:`PRESETS`.
        overrides: values for fields of :class:`Settings`; ``None`` leaves the preset's value.

    Raises:
        NinError: for an unknown preset or a value out of range.
    """
    if preset not in PRESETS:
        raise NinError(f"--preset {preset}: unknown; choose one of {', '.join(PRESETS)}")
    given = {name: value for name, value in overrides.items() if value is not None}
    settings = dataclasses.replace(Settings(preset=preset), **{**PRESETS[preset], **given})
    settings.check()
    return settings


def check_precision(precision: str, known: Sequence[str]) -> None:
    """Raise :class:`NinError` for a precision that a backend does not compute in.

    ``auto`` is none: :func:`common.backends.session.start` says what it comes to on a device.
    """
    if precision not in known:
        raise NinError(f"`precision={precision}`: must be one of {', '.join(known)}")
