"""What kind of mistake turns the right numbers of a layer into the wrong ones.

Each mistake is an arithmetic that is tried on the right numbers, or on the layer's input. It is
named only if it gives the wrong numbers to rounding, and a hundred times better than no mistake
at all: a difference that merely looks like a factor is not called one.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from scipy.special import expit, log_softmax, softmax

from common.comparison.measures import largest_difference

# A layer that was computed twice from the same numbers differs by less, relative to its largest
# value: the longest sum has 3,456 products.
ROUNDING = {"float32": 1e-5, "float64": 1e-12}
# how many times closer the mistake has to be than the right numbers are
CLOSER = 100
AXES = ("image", "channel", "row", "column")
PARAMETER_AXES = ("output channel", "input channel", "row", "column")
# by which images are moved, in pixels, to see whether that is the mistake
MOST_SHIFT = 2
# names in a list that stand for more than so many are counted instead
LISTED = 4

Array = np.ndarray
Function = Callable[[Array], Array]
# what a mistake is called, and its arithmetic
Mistake = tuple[str, Function]


def explain(
    right: Array,
    wrong: Array,
    dtype: str,
    source: Array | None = None,
    mistakes: Iterable[Mistake] = (),
    fits: Iterable["Fit"] = (),
    factors: Mapping[str, float] = {},
    axes: Sequence[str] = AXES,
) -> str | None:
    """Name the mistake, or None if none of those that are known gives these numbers.

    Args:
        right: what the layer should give.
        wrong: what it gives, maybe of another shape.
        dtype: that both were computed in, ``float32`` or ``float64``.
        source: the layer's input, its first axis the images; what ``mistakes`` start from.
        mistakes: of this kind of layer.
        fits: those of this kind of layer with a number in them, such as a bias.
        factors: what constant factors mean here.
        axes: what the axes are called.
    """
    right, wrong = np.asarray(right, np.float64), np.asarray(wrong, np.float64)
    if not (wrong.size and np.isfinite(wrong).all() and np.isfinite(right).all()):
        return None
    judge = Judge(right, wrong, dtype)
    if judge.apart <= judge.rounding:
        return None

    def names() -> Iterator[str | None]:
        yield _zeros(right, wrong, judge, axes)
        for name, function in _functions(right, dtype, axes):
            if judge.accepts(function(right)):
                yield name
        if source is not None:
            first = Judge(right[:1], wrong[:1], dtype)
            for name, function in mistakes:
                # on one image first: most are refused there
                if first.may_accept(function(source[:1])) and judge.accepts(function(source)):
                    yield name
        for fit in fits:
            yield fit(wrong, judge)
        if right.shape == wrong.shape:
            yield from _fitted(right, wrong, judge, factors, axes)

    return next(filter(None, names()), None)


class Judge:
    """Decides whether a mistake gives the wrong numbers."""

    def __init__(self, right: Array, wrong: Array, dtype: str) -> None:
        self.wrong = wrong
        self.rounding = ROUNDING[dtype]
        relative = largest_difference(right, wrong).relative
        self.apart = np.inf if relative is None else relative
        # the largest relative difference that is called a fit
        self.limit = min(self.rounding, self.apart / CLOSER)

    def accepts(self, candidate: Array) -> bool:
        """Whether these are the wrong numbers, and the right ones are not."""
        return largest_difference(candidate, self.wrong).within(self.limit)

    def number(self, x: float) -> str:
        """A number with the digits that rounding leaves, to recognise a constant by."""
        if self.rounding < abs(x - 1) < 1e-6:
            return f"1 {x - 1:+.2e}"
        return f"{x:.{4 if self.rounding > 1e-6 else 7}g}"

    def span(self, numbers: Array) -> str:
        """The smallest of some numbers and the largest, or the one that all are."""
        low, high = self.number(float(numbers.min())), self.number(float(numbers.max()))
        return low if low == high else f"{low} to {high}"

    def may_accept(self, candidate: Array) -> bool:
        """The same for a part of the numbers, in which nothing may be wrong."""
        return largest_difference(candidate, self.wrong).within(self.rounding)


# looks for the number in a mistake; gets the wrong numbers, and gives the mistake's name or None
Fit = Callable[[Array, Judge], str | None]


def one_of(candidates: Iterable[tuple[str, Array]]) -> Fit:
    """Mistakes whose numbers are known beforehand."""
    return lambda _, judge: next((text for text, x in candidates if judge.accepts(x)), None)


# --------------------------------------------------- mistakes without a number in them


def _zeros(right: Array, wrong: Array, judge: Judge, axes: Sequence[str]) -> str | None:
    if not wrong.any():
        return "it is 0 everywhere"
    for axis in range(min(right.ndim, 2)) if right.shape == wrong.shape else ():
        rest = tuple(i for i in range(right.ndim) if i != axis)
        dead = ~wrong.any(rest) & right.any(rest)
        kept = np.where(np.expand_dims(dead, rest), 0, right)
        if dead.any() and judge.accepts(kept):
            numbers = np.flatnonzero(dead)
            return f"{listed(numbers, axes[axis])} {'is' if len(numbers) == 1 else 'are'} 0"
    return None


def _functions(right: Array, dtype: str, axes: Sequence[str]) -> Iterator[Mistake]:
    """What may be done to the numbers of any layer."""
    if dtype == "float64":
        yield "values are rounded to float32", lambda x: x.astype(np.float32).astype(np.float64)
    yield from OF_VALUES.items()
    if right.ndim >= 2:
        yield "softmax is applied", partial(softmax, axis=1)
        yield "log-softmax is applied", partial(log_softmax, axis=1)
    for axis in range(min(right.ndim, 2)):
        yield f"{axes[axis]}s are in reverse order", partial(np.flip, axis=axis)
    if right.ndim == 4 and axes is AXES:
        yield from OF_IMAGES.items()
        pixels = range(-MOST_SHIFT, MOST_SHIFT + 1)
        for down, across in itertools.product(pixels, repeat=2):
            if (down or across) and min(right.shape[2:]) > 2 * MOST_SHIFT:
                yield from _shifted(down, across)


def swapped(x: Array) -> Array:
    return x.transpose(0, 1, 3, 2)


def nhwc_as_nchw(x: Array) -> Array:
    return x.transpose(0, 2, 3, 1).reshape(x.shape)


def nchw_as_nhwc(x: Array) -> Array:
    count, channels, height, width = x.shape
    return x.reshape(count, height, width, channels).transpose(0, 3, 1, 2)


def round_to(x: Array, bits: int) -> Array:
    """Rounded to so many significant bits: bfloat16 has 8, TF32 and float16 have 11."""
    mantissa, exponent = np.frexp(x)
    return np.asarray(np.ldexp(np.round(mantissa * 2.0**bits), exponent - bits))


OF_VALUES: dict[str, Function] = {
    "values are rounded to float16": lambda x: x.astype(np.float16).astype(np.float64),
    "values are rounded to bfloat16": partial(round_to, bits=8),
    "values are rounded to whole 255ths (bytes)": lambda x: np.round(x * 255) / 255,
    "values are cut to whole 255ths (bytes)": lambda x: np.floor(x * 255) / 255,
    "negative values are cut off (a ReLU too many)": lambda x: np.maximum(x, 0),
    "values above 6 are cut off (ReLU6)": lambda x: np.minimum(x, 6),
    "values above 1 are cut off": lambda x: np.minimum(x, 1),
    "the sign is lost (absolute values)": np.abs,
    "a sigmoid is applied": expit,
    "a tanh is applied": np.tanh,
}
OF_IMAGES: dict[str, Function] = {
    "height and width are swapped": swapped,
    "upside down": lambda x: x[:, :, ::-1],
    "mirrored, left and right": lambda x: x[..., ::-1],
    "turned by 180 degrees": lambda x: x[:, :, ::-1, ::-1],
    "turned by 90 degrees, clockwise": lambda x: np.rot90(x, -1, (2, 3)),
    "turned by 90 degrees, anticlockwise": lambda x: np.rot90(x, 1, (2, 3)),
    "the numbers are in the order NHWC, and read as NCHW": nhwc_as_nchw,
    "the numbers are in the order NCHW, and read as NHWC": nchw_as_nhwc,
}


def _shifted(down: int, across: int) -> Iterator[Mistake]:
    ways = ((down, "down", "up"), (across, "to the right", "to the left"))
    places = [f"{abs(by)} {way if by > 0 else back}" for by, way, back in ways if by]
    text = f"shifted by pixels: {', '.join(places)}"
    yield f"{text}, and round the edge", partial(_moved, down, across, "wrap")
    yield f"{text}; zeros move in", partial(_moved, down, across, "constant")
    yield f"{text}; the edge is repeated", partial(_moved, down, across, "edge")


def _moved(down: int, across: int, mode: str, x: Array) -> Array:
    """Images that are moved by a few pixels; ``mode`` of :func:`numpy.pad` is what moves in."""
    rim = (MOST_SHIFT, MOST_SHIFT)
    padded = np.pad(x, [(0, 0), (0, 0), rim, rim], mode)  # type: ignore[call-overload]
    top, left = MOST_SHIFT - down, MOST_SHIFT - across
    return np.asarray(padded[:, :, top : top + x.shape[2], left : left + x.shape[3]])


# ------------------------------------------------------- mistakes with a number in them


def _fitted(
    right: Array, wrong: Array, judge: Judge, factors: Mapping[str, float], axes: Sequence[str]
) -> Iterator[str | None]:
    for ordered in range(min(right.ndim, 2)):
        yield _other_order(right, wrong, judge, ordered, axes[ordered])
    # all values; then each channel, and each image, by a number of its own
    for axis in (None, 1, 0) if right.ndim > 1 else (None,):
        yield _factor_and_offset(right, wrong, judge, axis, factors, axes)
    yield _dropped(right, wrong, judge)


def _other_order(right: Array, wrong: Array, judge: Judge, axis: int, what: str) -> str | None:
    """Slices along an axis in another order, or one in the place of another."""
    count = right.shape[axis]
    if count < 2:
        return None
    one, other = (np.moveaxis(x, axis, 0).reshape(count, -1) for x in (right, wrong))
    squares = (one**2).sum(1)
    nearest = (squares[None] - 2 * other @ one.T).argmin(1)
    # what is its own neighbour to rounding stays in its place: channels may be alike
    close = np.abs(other - one).max(1) <= judge.limit * np.abs(wrong).max()
    order = np.where(close, np.arange(count), nearest)
    moved = np.flatnonzero(order != np.arange(count))
    if not moved.size or not judge.accepts(np.take(right, order, axis)):
        return None
    places = listed(moved, what)
    if len(set(order)) < count:
        if one.shape[1] < 2:  # a single number always looks like some other
            return None
        sources = ", ".join(str(number) for number in order[moved][:LISTED])
        return f"{places} hold{'s' if len(moved) == 1 else ''} what belongs to {what} {sources}"
    if len(moved) == 2:
        return f"{places} are swapped"
    shifts = {int(shift) for shift in (np.arange(count) - order) % count}
    if len(shifts) == 1:
        shift = shifts.pop()
        return f"{what}s are shifted by {shift if shift <= count / 2 else shift - count}"
    first = ", ".join(map(str, order[:6]))
    return f"{what}s are in another order, {first}{', ...' if count > 6 else ''}"


def _factor_and_offset(
    right: Array,
    wrong: Array,
    judge: Judge,
    axis: int | None,
    factors: Mapping[str, float],
    axes: Sequence[str],
) -> str | None:
    """One of them, or both: of all values, or of each part along an axis its own."""
    rest = tuple(i for i in range(right.ndim) if i != axis)
    total = partial(np.sum, axis=rest, keepdims=True)
    count = math.prod(right.shape[i] for i in rest)
    if count <= 2:  # too few to prove it
        return None
    factor = quotient(total(right * wrong), total(right**2))
    if judge.accepts(factor * right):
        if axis is None:
            return f"every value is {_factor_text(factor.item(), judge, factors)}"
        return _each(factor.ravel(), 1.0, judge, axes[axis], "{} times what it should be")
    middle, offset = total(right) / count, total(wrong - right) / count
    if judge.accepts(right + offset):
        if axis is None:
            return f"every value is off by {judge.number(offset.item())}"
        return _each(offset.ravel(), 0.0, judge, axes[axis], "off by {}")
    products = total((right - middle) * (wrong - middle - offset))
    factor = quotient(products, total((right - middle) ** 2))
    offset += (1 - factor) * middle
    if count <= 4 or not judge.accepts(factor * right + offset):
        return None
    if axis is None:
        return line_text(factor.item(), offset.item(), judge)
    return f"each {axes[axis]} has a factor and an offset of its own, as a normalization has"


def line_text(a: float, b: float, judge: Judge) -> str:
    """What all values are if they are ``a`` times what they should be, plus ``b``."""
    if abs(a + 1) < 1e-6 and abs(b - 1) < 1e-6:
        return "inverted: 1 minus what it should be"
    times, more, mean, deviation = map(judge.number, (a, b, -b / a, 1 / a))
    least = max(1e-6, judge.rounding)
    if abs(b) < least:
        return f"every value is {times} times what it should be"
    if abs(a - 1) < least:
        return f"every value is off by {more}"
    return (
        f"every value is {times} times what it should be and {more} more, as if {mean} were "
        f"subtracted and the rest divided by {deviation}"
    )


def quotient(products: Array, squares: Array, otherwise: float = 1.0) -> Array:
    """The factor of the least squares; another number where nothing determines it."""
    return np.divide(products, squares, np.full_like(products, otherwise), where=squares > 0)


def _dropped(right: Array, wrong: Array, judge: Judge) -> str | None:
    """Dropout: some values are 0, all others have grown by the same factor."""
    alive = right != 0
    kept = alive & (wrong != 0)
    share = 1 - kept.sum() / max(1, alive.sum())
    if kept.sum() < 8 or not 0.02 < share < 0.98:
        return None
    factor = float((right[kept] * wrong[kept]).sum() / (right[kept] ** 2).sum())
    if not judge.accepts(np.where(kept, right * factor, 0)):
        return None
    if abs(factor - 1) < 1e-4:
        return f"{share:.0%} of the values are 0 instead of what they should be"
    times = judge.number(factor)
    return f"dropout is active: {share:.0%} of the values are 0, the others {times} times as large"


def _each(numbers: Array, neutral: float, judge: Judge, what: str, text: str) -> str:
    """Which channels have what number."""
    other = np.flatnonzero(np.abs(numbers - neutral) > max(judge.limit, judge.rounding))
    if not other.size:  # each of them by less than can be seen alone
        return f"{what}s differ by less than rounding"
    size = judge.span(numbers[other])
    return f"{listed(other, what)} {'is' if len(other) == 1 else 'are'} {text.format(size)}"


def _factor_text(factor: float, judge: Judge, factors: Mapping[str, float]) -> str:
    for meaning, known in factors.items():
        if abs(factor / known - 1) <= judge.limit:
            return f"{judge.number(factor)} times what it should be: {meaning}"
    if abs(factor - 1) <= 2.0**-24:
        return (
            f"1 {factor - 1:+.1e} times what it should be, as a constant rounded to float32 gives"
        )
    return f"{judge.number(factor)} times what it should be"


def listed(numbers: Sequence[int] | Array, what: str) -> str:
    """Numbered things: ``channel 5``, ``channels 3, 5``, ``96 channels (0, 1, 2, 3, ...)``.

    Steps count from 1, as in the table of losses.
    """
    numbers = np.asarray(numbers) + (what == "step")
    if len(numbers) == 1:
        return f"{what} {numbers[0]}"
    first = ", ".join(str(number) for number in numbers[:LISTED])
    if len(numbers) <= LISTED:
        return f"{what}s {first}"
    return f"{len(numbers)} {what}s ({first}, ...)"
