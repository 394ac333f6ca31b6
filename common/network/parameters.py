"""Checks of parameters by canonical name: all there, of the right shapes, and none left out."""

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np

from common.errors import NinError


def check_parameters(
    weights: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], where: str = "weights"
) -> None:
    """Raise :class:`NinError` unless names and shapes are the expected ones.

    The message calls the weights ``where``, such as a file's name.
    """
    missing = [name for name in shapes if name not in weights]
    if weights and len(missing) == len(shapes):
        raise NinError(
            f"{where}: no name is one of the network's: the first is {next(iter(weights))}, the "
            f"network's first {missing[0]}; each block has to be a sequence of its own"
        )
    if missing:
        raise NinError(f"{where}: {missing[0]} is missing ({len(missing)} of {len(shapes)} are)")
    extra = [name for name in weights if name not in shapes]
    if extra:
        raise NinError(f"{where}: {extra[0]} is no parameter of this network")
    for name, shape in shapes.items():
        if tuple(weights[name].shape) != shape:
            raise NinError(
                f"{where}: {name} has shape {tuple(weights[name].shape)}, expected {shape}"
            )


def check_is_sequence(whole: np.ndarray, one_by_one: np.ndarray) -> None:
    """Raise :class:`NinError` unless a network gives what its layers give one after the other."""
    # a network that is not trained yet may give very small numbers
    rounding = 1e-5 * np.abs(one_by_one[np.isfinite(one_by_one)]).max(initial=0)
    if whole.shape != one_by_one.shape or not np.allclose(whole, one_by_one, 1e-4, rounding, True):
        raise NinError(
            "`net`: does not give what its layers give one after the other; only a plain sequence "
            "of layers can be trained here"
        )


def contained(layer: Any) -> Iterator[Any]:
    """What the lists and dictionaries of an object hold, and those in them."""
    held = [value for value in vars(layer).values() if isinstance(value, list | tuple | Mapping)]
    while held:
        values = held.pop()
        for each in values.values() if isinstance(values, Mapping) else values:
            if isinstance(each, list | tuple | Mapping):
                held.append(each)
            else:
                yield each


def refuse_layer(name: str | None, kind: str) -> NoReturn:
    """Raise :class:`NinError` for a layer, of a class, whose parameters could not be trained."""
    raise NinError(
        f"`net`: layer {name} is a {kind}, whose parameters or running statistics would be neither "
        "trained nor saved; only convolutions and fully connected layers may have any, and only "
        "directly in the sequence"
    )


def refuse_setting(name: str, setting: str) -> NoReturn:
    """Raise :class:`NinError` for a layer with a setting that our training would not follow."""
    raise NinError(
        f"`net`: layer {name} has {setting}, which training here would ignore; build it without"
    )


def check_all_have_names(named: Mapping[str, int], listed: Mapping[int, str]) -> None:
    """Raise :class:`NinError` unless each parameter that a framework lists has one canonical name.

    Args:
        named: canonical name -> ``id`` of the parameter.
        listed: ``id`` of each parameter that the framework lists -> its name there.
    """
    names: dict[int, str] = {}
    for name, number in named.items():
        if number in names:
            raise NinError(
                f"`net`: {names[number]} and {name} are one parameter, of a layer that is used "
                "twice; build a layer of its own for each place"
            )
        names[number] = name
    for number, name in listed.items():
        if number not in names:
            raise NinError(
                f"`net`: its parameter {name} belongs to no convolution or fully connected layer, "
                "and would be neither trained nor saved"
            )
