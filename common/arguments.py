"""Check the arguments that users give to public functions against the annotations."""

import functools
import inspect
import reprlib
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, Union, get_args, get_origin

import numpy as np

from common.errors import NinError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

WORDS = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    Path: "a path",
    np.ndarray: "a NumPy array",
    type(None): "None",
}


def checked(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Refuse, in one line, an argument that is missing, unknown or not of the annotated type.

    NumPy's numbers become Python's, which JSON and the frameworks accept.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        positional = [plain(value) for value in args]
        named = {name: plain(value) for name, value in kwargs.items()}
        try:
            given = signature.bind(*positional, **named).arguments
        except TypeError as error:
            raise NinError(f"{function.__name__}: {error}") from error
        for name, value in given.items():
            parameter = signature.parameters[name]
            if parameter.kind is parameter.VAR_POSITIONAL:
                for each in value:
                    check(name, each, parameter.annotation)
            elif parameter.kind is not parameter.VAR_KEYWORD and name != "self":
                check(name, value, parameter.annotation)
        return function(*positional, **named)  # type: ignore[arg-type]

    return call


def check(name: str, value: Any, kind: Any) -> None:
    """Raise :class:`NinError` for an argument that does not have the annotated type."""
    if not fits(value, kind):
        raise NinError(f"`{name}={shown(value)}`: must be {_words(kind)}")


def fits(value: Any, kind: Any) -> bool:
    """Whether a value has a type; True and False are not numbers, a string is not a list."""
    value, origin, parts = plain(value), get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union):
        return any(fits(value, part) for part in parts)
    if origin in (Mapping, dict):
        pairs = value.items() if isinstance(value, Mapping) else [(None, None)]
        return all(fits(key, parts[0]) and fits(each, parts[1]) for key, each in pairs)
    if origin in (Sequence, tuple):
        value = value.tolist() if isinstance(value, np.ndarray) else value
        listed = isinstance(value, Sequence) and not isinstance(value, str | bytes)
        return listed and all(fits(each, parts[0]) for each in value)
    if kind is Any or isinstance(value, bool):  # an int to Python
        return kind in (Any, bool)
    return isinstance(value, int | float if kind is float else kind)


def plain(value: Any) -> Any:
    """A NumPy number as a Python one; anything else unchanged."""
    return value.item() if isinstance(value, np.generic) else value


def shown(value: Any) -> str:
    """A value for a message, in one short line: its repr, or else its type.

    Strings are quoted, so that '10' is not taken for 10.
    """
    text = reprlib.repr(value)
    return type(value).__name__ if text.startswith("<") or "\n" in text else text


def _words(kind: Any) -> str:
    parts = [_words(part) for part in get_args(kind) if part is not ...]
    origin = get_origin(kind)
    if origin in (types.UnionType, Union):
        return f"{', '.join(parts[:-1])} or {parts[-1]}"
    if origin in (Mapping, dict):
        return f"a dictionary (from {parts[0]} to {parts[1]})"
    if origin in (Sequence, tuple):
        return f"a list (each {parts[0]})"
    return WORDS.get(kind) or f"a {kind.__name__}"
