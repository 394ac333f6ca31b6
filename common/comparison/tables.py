"""The tables of a comparison: a row for each layer, parameter or step."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from common.comparison.measures import Difference


@dataclass
class Row:
    """One layer, parameter or step."""

    name: str
    cells: dict[str, str]
    """Column -> what to print."""
    deviating: list[str] = field(default_factory=list)
    """The columns in which this row deviates."""
    values: dict[str, Any] = field(default_factory=dict)
    """Column -> the same as numbers, for machines."""

    def add(self, column: str, text: str, value: Any, good: bool) -> None:
        """Fill a column that is judged."""
        self.cells[column] = text
        self.values[column] = value
        if not good:
            self.deviating.append(column)

    def compare(self, column: str, difference: Difference, limit: float) -> None:
        """Fill a column with how far two arrays are apart; ``limit`` stands in its values."""
        values = {**dataclasses.asdict(difference), "limit": limit}
        self.add(column, str(difference), values, difference.within(limit))


@dataclass
class Table:
    """Rows with the same columns."""

    title: str
    rows: list[Row]
    dtype: str = ""
    """The precision that it is about: ``float64``, ``float32``, or none."""

    @property
    def columns(self) -> list[str]:
        return list(self.rows[0].cells) if self.rows else []


def shape_text(shape: Sequence[int] | None, times: str = "x") -> str:
    """A shape in a table."""
    if shape is None:
        return "missing"
    return times.join(map(str, shape)) or "number"


def shape_rows(
    walks: Mapping[str, Sequence[Mapping[str, Any]]],
    paper: Mapping[str, tuple[int, ...]],
    key: str = "shape",
    times: str = "x",
) -> list[Row]:
    """A row for each layer on paper, and for each that only a backend has.

    ``walks`` are each backend's layers, as :func:`common.comparison.shapes.walk` gives them, with
    their shape under ``key``; ``times`` stands between its numbers.
    """
    # a layer without a canonical name is one that only this framework has
    found = (layer["name"] for layers in walks.values() for layer in layers if layer["name"])
    rows = []
    for name in dict.fromkeys([*paper, *found]):
        expected = paper.get(name)
        row = Row(name, {"on paper": shape_text(expected, times)})
        for backend, layers in walks.items():
            shapes = [list(layer.get(key) or ()) for layer in layers if layer["name"] == name]
            shape = shapes[0] if len(shapes) == 1 else None
            text = shape_text(shape, times) if shape else ("missing", "-", "twice")[len(shapes[:2])]
            good = shapes == ([list(expected)] if expected else [])
            row.add(backend, text, shape, good)
        rows.append(row)
    return rows


class Pair(NamedTuple):
    """Two sets of named arrays that should be the same, and the column that compares them."""

    column: str
    one: Mapping[str, np.ndarray]
    other: Mapping[str, np.ndarray]
    names: tuple[str, str]
    """Of the two backends; the same twice for a backend's float32 beside its own float64."""


def difference_rows(
    pairs: Sequence[Pair],
    names: Iterable[str],
    measure: Callable[[np.ndarray, np.ndarray], Difference],
    limit: Callable[[str, Pair], float],
    complete: bool = False,
) -> list[Row]:
    """A row for each name that both sides of some pair have, with the differences of all pairs.

    ``limit`` is the difference up to which it is agreement. If the pairs should be ``complete``,
    what only one side has gets a row too, and deviates.
    """
    rows = []
    for name in names:
        found = [side[name] for pair in pairs for side in (pair.one, pair.other) if name in side]
        if not found:
            continue
        largest = f"{np.abs(found[0]).max(initial=0):.2e}"
        row = Row(name, {"shape": shape_text(found[0].shape), "largest": largest})
        for pair in pairs:
            sides_of = zip(pair.names, (pair.one, pair.other), strict=True)
            lacking = [backend for backend, arrays in sides_of if name not in arrays]
            if not lacking:
                difference = measure(pair.one[name], pair.other[name])
            elif complete and len(lacking) == 1:
                difference = Difference(None, None, f"missing in {lacking[0]}")
            else:
                row.cells[pair.column] = "-"
                continue
            row.compare(pair.column, difference, limit(name, pair))
        if row.values:
            rows.append(row)
    return rows
