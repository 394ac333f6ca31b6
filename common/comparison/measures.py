"""How far two arrays are apart."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Difference:
    """How far two arrays are apart."""

    absolute: float | None
    """The largest difference of two values; None if it is no finite number."""
    relative: float | None
    """In a norm, as a fraction of the larger array's; None if they cannot be compared."""
    problem: str = ""
    """Why they cannot be compared."""

    def within(self, tolerance: float) -> bool:
        """Whether this counts as agreement; what cannot be compared never does."""
        return self.relative is not None and self.relative <= tolerance

    def __str__(self) -> str:
        """For a table: absolute and relative."""
        if self.relative is None:
            return self.problem
        absolute = "overflow" if self.absolute is None else f"{self.absolute:.1e}"
        return f"{absolute} / {self.relative:.1e}"


def largest_difference(a: np.ndarray, b: np.ndarray) -> Difference:
    """Relative to the largest value in both arrays."""
    return _difference(a, b, np.inf)


def norm_difference(a: np.ndarray, b: np.ndarray) -> Difference:
    """``norm(a - b)``, L2, relative to the larger norm."""
    return _difference(a, b, 2)


def _difference(a: np.ndarray, b: np.ndarray, order: float) -> Difference:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        return Difference(None, None, f"shapes {a.shape} and {b.shape}")
    if not a.size:
        return Difference(None, None, "empty")
    lost = max(int((~np.isfinite(x)).sum()) for x in (a, b))
    if lost:
        return Difference(None, None, f"{lost} of {a.size} not finite")
    # brought to size 1 first: no square overflows or vanishes
    largest = max(np.abs(a).max(), np.abs(b).max())
    if largest == 0:
        return Difference(0.0, 0.0)
    with np.errstate(over="ignore"):
        apart = a - b
    finite = np.isfinite(apart).all()
    a, b = a / largest, b / largest
    relative = apart / largest if finite else a - b
    one, other, difference = (np.linalg.norm(x.ravel(), order) for x in (a, b, relative))
    absolute = float(np.abs(apart).max()) if finite else None
    return Difference(absolute, float(difference / max(one, other)))
