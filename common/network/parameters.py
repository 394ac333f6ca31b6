"""Checks of parameters by canonical name: all there, of the right shapes, and none left out."""

from collections.abc import Iterable, Mapping
from typing import NoReturn

import numpy as np

from common.errors import NinError


def check_parameters(
    weights: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], where: str = "weights"
) -> None:
    """Raise :class:`NinError` unless names and shapes are the expected ones.

    The message calls the weights ``where``, such as a file's name.
    """
    missing = [name for name in shapes if name not in weights]
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


def refuse_layer(name: str | None, kind: str) -> NoReturn:
    """Raise :class:`NinError` for a layer, of a class, whose parameters could not be trained."""
    raise NinError(
        f"`net`: layer {name} is a {kind}, whose parameters would be neither trained nor saved; "
        "only convolutions and fully connected layers may have any"
    )


def check_all_have_names(found: Iterable[int], listed: Mapping[int, str]) -> None:
    """Raise :class:`NinError` unless every parameter that a framework lists has a canonical name.

    Args:
        found: ``id`` of each parameter with a canonical name.
        listed: ``id`` of each parameter that the framework lists -> its name there.
    """
    found = set(found)
    for number, name in listed.items():
        if number not in found:
            raise NinError(
                f"`net`: its parameter {name} belongs to no convolution or fully connected layer, "
                "and would be neither trained nor saved"
            )
