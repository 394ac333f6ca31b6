"""What a search chooses from: lines such as ``lr=0.01:0.5`` and ``batch_size=64,128,256``."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.errors import NinError, closest
from common.settings import INITIALIZATIONS, OPTIMIZERS, SCHEDULES, Settings, check_value

if TYPE_CHECKING:
    from optuna.trial import Trial

# What a name stands for when nothing is said of its values; those in DEFAULT are searched when
# nothing is said at all. One range of learning rates is wide enough for all three optimizers.
VALUES = {
    "lr": "0.001:0.3",
    "batch_size": "32,64,128,256",
    "optimizer": ",".join(OPTIMIZERS),
    "init": ",".join(INITIALIZATIONS),
    "resize": "68,84,99",
    "schedule": ",".join(SCHEDULES),
    "last_block": "random,identity",
    "momentum": "0:0.95",
    "weight_decay": "0.0001:0.1",
    "dropout": "0:0.6",
    "label_smoothing": "0:0.2",
    "shift": "0:3",
    "flip": "no,yes",
    "network": "chapter,one-1x1,three-1x1",
}
DEFAULT = ("lr", "batch_size", "optimizer", "init", "resize", "schedule")
# Twice as much means the same everywhere in their ranges.
LOGARITHMIC = ("lr", "batch_size", "weight_decay")
BOOLEANS = {"no": False, "yes": True}


@dataclass(frozen=True)
class Choices:
    """One of a few values, in no order."""

    values: tuple[Any, ...]
    """If a run can have these, it can have all that a trial may have."""

    def __str__(self) -> str:
        """As it is given: ``64,128,256``."""
        words = {value: word for word, value in BOOLEANS.items()}
        return ",".join(
            words[value] if isinstance(value, bool) else str(value) for value in self.values
        )

    def __contains__(self, value: Any) -> bool:
        """Whether a trial may have this value."""
        return value in self.values

    def suggest(self, trial: "Trial", name: str) -> Any:
        """The value that a trial is to have."""
        return trial.suggest_categorical(name, self.values)


@dataclass(frozen=True)
class Range(Choices):
    """A number between two values, these included; whole if they are."""

    logarithmic: bool

    def __str__(self) -> str:
        return ":".join(f"{value:g}" for value in self.values)

    def __contains__(self, value: Any) -> bool:
        low, high = self.values
        return bool(low <= value <= high)

    def suggest(self, trial: "Trial", name: str) -> Any:
        low, high = self.values
        if isinstance(low, int):
            return trial.suggest_int(name, low, high, log=self.logarithmic)
        drawn = trial.suggest_float(name, low, high, log=self.logarithmic)
        # more digits decide nothing, and nobody wants to type them
        return min(max(float(f"{drawn:.3g}"), low), high)


Space = dict[str, Choices]


def parse(lines: Sequence[str], base: Settings) -> tuple[Space, Settings]:
    """The space of a search, each of its values checked, and the settings that are not searched.

    A line is a setting's name with ``=LOW:HIGH`` or ``=VALUE,VALUE`` or, for what stands in
    :data:`VALUES`, alone; no lines are :data:`DEFAULT`. One value alone replaces that of the base.
    """
    space: Space = {}
    for line in lines or DEFAULT:
        name, equals, text = line.partition("=")
        name = name.strip().replace("-", "_")
        if name not in VALUES:
            like = closest(name, VALUES)
            meant = f"did you mean {like}? " if like else ""
            raise NinError(f"`search={line}`: {meant}can be searched: {', '.join(VALUES)}")
        if name in space:
            raise NinError(f"`search={line}`: {name} stands there twice")
        try:
            space[name] = _values(name, text if equals else VALUES[name])
        except ValueError as error:
            example = f"{name}={VALUES[name]}"
            raise NinError(f"`search={line}`: {error}; such as {example}") from error
    for name in [name for name, values in space.items() if len(values.values) == 1]:
        base = dataclasses.replace(base, **{name: space.pop(name).values[0]})
    base.check()
    if not space:
        raise NinError("`search`: every setting has one value, so that there is nothing to search")
    if "momentum" in space and "sgd" not in _possible(space, base, "optimizer"):
        raise NinError("`search=momentum`: only the sgd optimizer has it; search the optimizer too")
    for name, choices in space.items():
        for value in choices.values:
            check_value(name, value)
    # not every network takes images of every size
    pairs = (_possible(space, base, name) for name in ("resize", "network"))
    for resize, network in itertools.product(*pairs):
        dataclasses.replace(base, resize=resize, network=network).check()
    return space, base


def suggest(space: Space, base: Settings, trial: "Trial") -> dict[str, Any]:
    """The values of a trial."""
    chosen: dict[str, Any] = {}
    # the optimizer decides whether there is a momentum
    for name in sorted(space, key="momentum".__eq__):
        if name != "momentum" or chosen.get("optimizer", base.optimizer) == "sgd":
            chosen[name] = space[name].suggest(trial, name)
    return chosen


def settings_of(base: Settings, chosen: Mapping[str, Any]) -> Settings:
    """The base with a trial's values."""
    settings = dataclasses.replace(base, **chosen)
    return settings if settings.optimizer == "sgd" else dataclasses.replace(settings, momentum=0.0)


def _possible(space: Space, base: Settings, name: str) -> tuple[Any, ...]:
    return space[name].values if name in space else (getattr(base, name),)


def _values(name: str, text: str) -> Choices:
    """The values that a text stands for; ``ValueError`` with the reason for any other."""
    low, colon, high = text.partition(":")
    if not colon:
        values = tuple(_value(name, part.strip()) for part in text.split(","))
        if len({*values}) < len(values):
            raise ValueError("a value stands there twice")
        return Choices(values)
    ends = _value(name, low.strip()), _value(name, high.strip())
    if isinstance(ends[0], bool | str):
        raise ValueError("has no ranges")
    if not ends[0] < ends[1]:
        raise ValueError("the lower end comes first")
    logarithmic = name in LOGARITHMIC
    if logarithmic and ends[0] <= 0:
        raise ValueError("its range is logarithmic and begins above 0")
    return Range(ends, logarithmic)


def _value(name: str, text: str) -> Any:
    kind = Settings.__annotations__[name]
    if kind is bool:
        if text not in BOOLEANS:
            raise ValueError(f"'{text}' is neither yes nor no")
        return BOOLEANS[text]
    if kind is str:
        if not text:
            raise ValueError("a value is missing")
        return text
    try:
        value = int(text) if kind is int else float(text)
    except ValueError as error:
        what = "whole number" if kind is int else "number"
        raise ValueError(f"'{text}' is no {what}") from error
    if not math.isfinite(value):
        raise ValueError(f"'{text}' is no number")
    return value
