"""The tables of a comparison: a row for each layer, parameter or step."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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

    def compare(self, pair: Sequence[str], difference: Difference, tolerance: float) -> None:
        """Fill the column of two backends."""
        good = difference.within(tolerance)
        self.add(" - ".join(pair), str(difference), dataclasses.asdict(difference), good)


@dataclass
class Table:
    """Rows with the same columns."""

    title: str
    rows: list[Row]

    @property
    def columns(self) -> list[str]:
        """The columns' names."""
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

    Args:
        walks: backend -> its layers, as :func:`common.comparison.shapes.walk` gives them.
        paper: layer -> shape.
        key: under which a layer has its shape.
        times: between the numbers of a shape.
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


def difference_rows(
    arrays: Mapping[str, Mapping[str, np.ndarray]],
    names: Iterable[str],
    measure: Callable[[np.ndarray, np.ndarray], Difference],
    tolerance: float,
    complete: bool = False,
) -> list[Row]:
    """A row for each name that two backends have, with the differences of all pairs.

    Args:
        arrays: backend -> name -> array.
        names: of the rows.
        measure: of a difference.
        tolerance: up to which it is agreement.
        complete: what only one backend has deviates.
    """
    rows = []
    for name in names:
        given = {backend: found[name] for backend, found in arrays.items() if name in found}
        if len(given) < (1 if complete else 2):
            continue
        first = next(iter(given.values()))
        largest = f"{np.abs(first).max(initial=0):.2e}"
        row = Row(name, {"shape": shape_text(first.shape), "largest": largest})
        for pair in itertools.combinations(arrays, 2):
            lacking = [backend for backend in pair if backend not in given]
            if not lacking:
                row.compare(pair, measure(given[pair[0]], given[pair[1]]), tolerance)
            elif complete and len(lacking) == 1:
                row.compare(pair, Difference(None, None, f"missing in {lacking[0]}"), tolerance)
            else:
                row.cells[" - ".join(pair)] = "-"
        rows.append(row)
    return rows
