"""The settings of a training run, and the presets: plain data."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from common.arguments import fits, plain, shown
from common.errors import NinError, closest, printable
from common.network import architecture, description
from common.network.description import Network

OPTIMIZERS = ("sgd", "adamw", "muon")
SCHEDULES = ("constant", "one-cycle", "linear")
INITIALIZATIONS = ("xavier", "he", "data")
KEEP = "keep"
PRECISIONS = ("float32", "bfloat16", "float64", "auto")
DEVICES = ("auto", "cpu", "gpu")


class Rule(NamedTuple):
    """What a setting may be."""

    allows: Callable[[Any], bool]
    """Asked about values of the right type only."""
    words: str


def _one_of(*names: str) -> Rule:
    return Rule(names.__contains__, (", " if len(names) > 2 else " or ").join(names))


_name = Rule(bool, "a name")
_share = Rule(lambda value: 0 <= value < 1, "a number from 0 to below 1")

RULES = {
    "backend": _name,
    "preset": _name,
    "epochs": Rule(lambda value: 0 < value <= 100_000, "a number above 0 and at most 100000"),
    "lr": Rule(lambda value: 0 < value <= 1000, "a number above 0 and at most 1000"),
    "batch_size": Rule(lambda value: 1 <= value <= 1_000_000, "a whole number from 1 to 1000000"),
    # and not too small for the network: see check_resize
    "resize": Rule(lambda value: 1 <= value <= 4096, "a whole number of pixels up to 4096"),
    "optimizer": _one_of(*OPTIMIZERS),
    "momentum": _share,
    "weight_decay": _share,
    "schedule": _one_of(*SCHEDULES),
    "init": Rule(
        (*INITIALIZATIONS, KEEP).__contains__,
        "xavier, he or data, or keep with a network of your own",
    ),
    "last_block": _one_of("random", "identity"),
    # and of a network: see Settings.check
    "network": Rule(lambda value: True, "a name or key=value,..."),
    "dropout": _share,
    "label_smoothing": _share,
    "shift": Rule(lambda value: 0 <= value <= 14, "a whole number of pixels from 0 to 14"),
    "flip": Rule(lambda value: True, "True or False"),
    "seed": Rule(lambda value: 0 <= value < 2**31, "a whole number from 0 to 2147483647"),
    "limit": Rule(lambda value: value is None or value >= 1, "a whole number of at least 1"),
    "validation": Rule(lambda value: value >= 0, "a whole number of at least 0"),
    "device": _one_of(*DEVICES),
    "precision": _one_of(*PRECISIONS),
    "threads": Rule(lambda value: 0 <= value <= 1024, "a whole number from 0 (all cores) to 1024"),
}


@dataclass(frozen=True)
class Settings:
    """Everything that decides the numbers of a run.

    The defaults are the chapter's (preset ``book``): d2l, "Network in Network", *Training*.
    """

    backend: str = "torch"
    preset: str = "book"
    epochs: float = 10
    lr: float = 0.1
    batch_size: int = 128
    resize: int = 224
    optimizer: str = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: str = "constant"
    init: str = "xavier"
    last_block: str = "random"
    network: str = "chapter"
    dropout: float = architecture.DROPOUT
    label_smoothing: float = 0.0
    shift: int = 0
    flip: bool = False
    seed: int = 0
    limit: int | None = None
    validation: int = 0
    device: str = "auto"
    precision: str = "float32"  # in a run's records never auto: see common.backends.session
    threads: int = 0  # 0: OMP_NUM_THREADS, or one for each physical core that it may use

    def __post_init__(self) -> None:
        """Turn NumPy's numbers into Python's, which JSON and the frameworks take."""
        for name, value in vars(self).items():
            object.__setattr__(self, name, plain(value))
        # one network, one name; what is none is refused by check()
        if isinstance(self.network, str):
            with contextlib.suppress(NinError):
                object.__setattr__(self, "network", str(self.description))

    @property
    def description(self) -> Network:
        """The network that is built; ignored with one that was built by hand."""
        return description.parse(self.network)

    def check(self, by_hand: bool = False) -> None:
        """Raise :class:`NinError` for a value that makes no sense, naming its setting.

        Args:
            by_hand: for a network built by hand, which may take smaller images than the chapter's.
        """
        for name, value in vars(self).items():
            check_value(name, value)
        if self.momentum and self.optimizer != "sgd":
            raise NinError("`momentum`: only the sgd optimizer has it; leave it out")
        network = self.description
        if not by_hand:
            architecture.check_input_size(self.resize, network)


def check_resize(size: int, network: Network = description.CHAPTER) -> None:
    """Raise :class:`NinError` for a size of images, in pixels, that a network cannot take."""
    check_value("resize", size)
    architecture.check_input_size(size, network)


def check_value(name: str, value: Any, argument: str = "") -> None:
    """Raise :class:`NinError` for a value, of any type, that a setting cannot have.

    ``argument`` is what messages call it, if not by its name.
    """
    rule = RULES[name]
    if not fits(value, Settings.__annotations__[name]):
        value = shown(value)
    elif rule.allows(value):
        return
    raise NinError(f"`{argument or name}={printable(str(value))}`: must be {rule.words}")


# What a preset changes from the defaults above.
PRESETS: dict[str, dict[str, Any]] = {
    "book": {},
    "fast": {
        "epochs": 0.5,
        "lr": 0.03,
        "resize": 68,
        "optimizer": "muon",
        "schedule": "linear",
        "init": "data",
        "last_block": "identity",
        "dropout": 0.0,
        "label_smoothing": 0.1,
        "precision": "auto",
    },
}
# at the smallest size at which the last map has more pixels than one
PRESETS["chapter"] = {**PRESETS["fast"], "epochs": 2, "resize": 99}
PRESETS["best"] = {
    **PRESETS["fast"],
    "epochs": 25,
    "lr": 2e-3,
    "resize": 84,
    "optimizer": "adamw",
    "weight_decay": 0.05,
    "schedule": "one-cycle",
    "init": "he",
    "dropout": architecture.DROPOUT,
    "shift": 1,
    "flip": True,
}


def from_preset(preset: str, by_hand: bool = False, /, **overrides: Any) -> Settings:
    """The settings of a preset, with overrides.

    Args:
        preset: a name in :data:`PRESETS`.
        by_hand: as :meth:`Settings.check`.
        overrides: values for fields of :class:`Settings`; ``None`` leaves the preset's value.

    Raises:
        NinError: for an unknown preset or setting, or a value that makes no sense.
    """
    if preset not in list(PRESETS):
        raise NinError(
            f"`preset={printable(str(preset))}`: unknown; choose one of {', '.join(PRESETS)}"
        )
    given = check_given(overrides)
    settings = dataclasses.replace(Settings(preset=preset), **{**PRESETS[preset], **given})
    settings.check(by_hand)
    return settings


def check_given(given: Mapping[str, Any], names: Iterable[str] = tuple(RULES)) -> dict[str, Any]:
    """The settings that are given, without those that are ``None``.

    Raises:
        NinError: for another name than these, or a value that it cannot have.
    """
    check_names(given, names)
    found = {name: value for name, value in given.items() if value is not None}
    for name, value in found.items():
        check_value(name, value)
    return found


def check_names(given: Iterable[str], names: Iterable[str]) -> None:
    """Raise :class:`NinError` for another name than these."""
    for name in given:
        if name not in names:
            like = closest(name, names)
            hint = f"did you mean `{like}`?" if like else f"there are {', '.join(names)}"
            raise NinError(f"`{name}`: no such setting; {hint}")


def check_precision(precision: str, known: Sequence[str]) -> None:
    """Raise :class:`NinError` for a precision that a backend does not compute in.

    ``auto`` must have been resolved: :func:`common.backends.session.start` does that.
    """
    if precision not in known:
        raise NinError(f"`precision={precision}`: must be one of {', '.join(known)}")
