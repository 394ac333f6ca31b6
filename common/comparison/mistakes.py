"""The chapter's layers on paper, in NumPy: what each should give, and the mistakes made in it."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import erf, expit

from common.comparison.diagnosis import (
    Array,
    Fit,
    Function,
    Judge,
    Mistake,
    line_text,
    listed,
    nchw_as_nhwc,
    nhwc_as_nchw,
    quotient,
    round_to,
    swapped,
)
from common.data.interpolation import resize_matrix
from common.errors import plural
from common.network.architecture import DROPOUT, Layer

Weights = Mapping[str, Array]

# as orders of numbers are called
WEIGHT_AXES = ("output", "input", "height", "width")
# significant bits -> what has so many
COARSE = {8: "bfloat16", 11: "TF32 or float16", 24: "float32"}


@dataclass(frozen=True)
class OnPaper:
    """One layer."""

    compute: Function
    """Its output for its input, dropout off."""
    mistakes: Iterable[Mistake] = ()
    """In the order in which they are tried."""
    fits: Iterable[Fit] = ()
    """Those with a number in them that has to be found."""
    factors: Mapping[str, float] = field(default_factory=dict)
    """What it means if the output is so many times too large."""
    input_fits: Iterable[Fit] = ()
    """Those of an input that is not known: a factor and an offset of it."""


def layer_on_paper(
    name: str,
    layers: Mapping[str, Layer],
    weights: Weights,
    resize: int,
    source: Array,
    wanted: tuple[int, ...],
) -> OnPaper:
    """A layer on paper, of ``input``, ``block1.conv1`` ... ``flatten``, ``logits``.

    ``source`` is its input, of ``input`` the images; ``wanted`` is the shape of what a backend
    gives, which a mistake must give too.
    """
    if name == "input":
        return _resizing(source.shape[1], resize)
    if name in layers and layers[name].is_pool:
        return _pooling(layers[name], source, wanted)
    if name in layers:
        return _convolution(layers[name], weights, source, wanted)
    if name == "global_pool":
        return _global_pooling(source, wanted)
    if name == "flatten":
        return OnPaper(lambda x: x.reshape(len(x), -1))
    scale = 1 - DROPOUT
    factors = {
        "dropout's scale is applied in evaluation": scale,
        "dropout's scale is applied in evaluation as in training": 1 / scale,
    }
    return OnPaper(lambda x: x, factors=factors if name == "dropout" else {})


# --------------------------------------------------------------------- the input


def _resizing(old: int, new: int) -> OnPaper:
    right = resize_matrix(old, new)

    def resized(matrix: Array, x: Array) -> Array:
        return np.asarray((matrix @ (x / 255) @ matrix.T)[:, None])

    def rounded_twice(x: Array) -> Array:
        across = np.round(x @ right.T)
        return np.asarray(np.round(right @ across)[:, None] / 255)

    places = np.arange(new)
    others = {
        "the nearest pixel is taken, not a mixture (nearest neighbour)": _one_hot(
            (places + 0.5) * old / new, old
        ),
        "the nearest pixel is taken, counted from the corner": _one_hot(places * old / new, old),
        "the corners' centres are aligned (align_corners=True)": _bilinear(
            places * (old - 1) / (new - 1), old
        ),
        "pixel centres are not at halves (align_corners=False of TensorFlow 1)": _bilinear(
            places * old / new, old
        ),
        "the resizing matrix is rounded to float16": round_to(right, 11),
        "the resizing matrix is rounded to bfloat16": round_to(right, 8),
        "the resizing matrix is rounded to float32": round_to(right, 24),
        "cubic, not linear, interpolation (a = -0.75, as OpenCV and PyTorch)": _cubic(
            old, new, -0.75
        ),
        "cubic, not linear, interpolation (a = -0.5, as Pillow and TensorFlow)": _cubic(
            old, new, -0.5
        ),
    }
    mistakes: list[Mistake] = [(name, partial(resized, matrix)) for name, matrix in others.items()]
    mistakes.append(("pixels are rounded to bytes after each direction, as Pillow", rounded_twice))
    factors = {
        "pixels from 0 to 255 instead of 0 to 1": 255.0,
        "pixels divided by 255 twice": 1 / 255,
        "pixels divided by 256 instead of 255": 255 / 256,
    }
    return OnPaper(partial(resized, right), mistakes, (), factors)


def _one_hot(places: Array, count: int) -> Array:
    return np.asarray(np.eye(count)[np.clip(places, 0, count - 1).astype(int)])


def _bilinear(places: Array, count: int) -> Array:
    """Rows with the weights of two pixels, for places between them."""
    distance = np.abs(np.clip(places, 0, count - 1)[:, None] - np.arange(count))
    return np.asarray(np.maximum(1 - distance, 0))


def _cubic(old: int, new: int, a: float) -> Array:
    places = (np.arange(new) + 0.5) * old / new - 0.5
    matrix = np.zeros((new, old))
    for pixel in range(-2, old + 2):
        x = np.abs(places - pixel)
        near = (a + 2) * x**3 - (a + 3) * x**2 + 1
        far = a * (x**3 - 5 * x**2 + 8 * x - 4)
        weight = np.where(x <= 1, near, np.where(x < 2, far, 0))
        matrix[:, min(max(pixel, 0), old - 1)] += weight
    return matrix


# ----------------------------------------------------------------------- pooling


def _pooling(layer: Layer, source: Array, wanted: tuple[int, ...]) -> OnPaper:
    reductions: dict[str, tuple[Callable[..., Array], float]] = {
        "maximum": (np.max, -np.inf), "average": (np.nanmean, np.nan), "minimum": (np.min, np.inf)
    }  # fmt: skip
    found: list[tuple[list[str], Function]] = []
    ways = _other_windows(layer, source.shape[2:], wanted, range(1, 6), range(1, 5))
    for changes, k, s, before, after in ways:
        for what, (reduce, outside) in reductions.items():
            words = [*changes]
            if what != "maximum":
                words.insert(0, f"the {what} of each window, not the maximum")
            if words:
                found.append((words, partial(_pool, k, s, before, after, reduce, outside)))
    found.sort(key=lambda entry: len(entry[0]))
    mistakes = [*_left_out(source, wanted), *((", ".join(words), f) for words, f in found)]
    maximum = partial(_pool, layer.kernel_size, layer.stride, 0, 0, *reductions["maximum"])
    return OnPaper(maximum, mistakes)


def _left_out(source: Array, wanted: tuple[int, ...]) -> list[Mistake]:
    return [("the layer is left out", lambda x: x)] if source.shape == wanted else []


def _pool(
    k: int, s: int, before: int, after: int, reduce: Callable[..., Array], outside: float, x: Array
) -> Array:
    padded = _padded(x, before, after, constant_values=outside)
    return np.asarray(reduce(windows(padded, k, s), axis=(4, 5)))


def _global_pooling(source: Array, wanted: tuple[int, ...]) -> OnPaper:
    def average(x: Array) -> Array:
        return np.asarray(x.mean((2, 3), keepdims=True))

    mistakes: list[Mistake] = [
        *_left_out(source, wanted),
        ("the maximum, not the average", lambda x: x.max((2, 3), keepdims=True)),
        (
            "the numbers are in the order NHWC, and pooled as if they were NCHW",
            lambda x: average(nhwc_as_nchw(x)),
        ),
        (
            "the numbers are in the order NCHW, and pooled as if they were NHWC",
            lambda x: average(nchw_as_nhwc(x)),
        ),
    ]
    pixels = source[0, 0].size
    factors = {"the sum, not the average": float(pixels)} if pixels > 1 else {}
    return OnPaper(average, mistakes, (), factors)


# ------------------------------------------------------------------- convolutions


def _convolution(layer: Layer, weights: Weights, source: Array, wanted: tuple[int, ...]) -> OnPaper:
    def parameter(of: str, kind: str) -> Array:
        array = np.asarray(weights[f"{of}.{kind}"], np.float64)
        return array[..., None, None] if array.ndim == 2 else array

    name, padding = layer.name, layer.padding
    weight, bias = parameter(name, "weight"), parameter(name, "bias")

    def output(
        x: Array,
        change: Function = _nothing,
        weight: Array = weight,
        bias: Array = bias,
        stride: int = layer.stride,
        before: int = padding,
        after: int = padding,
        mode: str = "constant",
        activation: Function = relu if layer.relu else _nothing,
    ) -> Array:
        product = convolve(change(x), weight, stride, before, after, mode)
        return activation(product + bias[:, None, None])

    def early_relu(x: Array) -> Array:
        return output(x, bias=0 * bias) + bias[:, None, None]

    def mistakes() -> Iterator[Mistake]:
        yield from _left_out(source, wanted)
        if output(np.zeros_like(source[:1])).shape[1:] == wanted[1:]:
            for text, changes in _changes():
                yield text, partial(output, **changes)
            if layer.relu:
                yield "the ReLU comes before the bias", early_relu
                yield "a ReLU before the bias, and another behind it", lambda x: relu(early_relu(x))
        kernel = layer.kernel_size
        ways = _other_windows(layer, source.shape[2:], wanted, [kernel], range(1, kernel + 1))
        for words, _, s, before, after in ways:
            if words:
                yield ", ".join(words), partial(output, stride=s, before=before, after=after)

    def _changes() -> Iterator[tuple[str, dict[str, Any]]]:
        """What a mistake changes among the arguments of ``output``."""
        too_many = {"there is a ReLU too many": relu}
        for text, activation in (ACTIVATIONS if layer.relu else too_many).items():
            yield text, {"activation": activation}
        yield "there is no bias", {"bias": 0 * bias}
        yield "the bias is added twice", {"bias": 2 * bias}
        yield "the bias is subtracted", {"bias": -bias}
        for of in (other.removesuffix(".weight") for other in weights if other.endswith(".weight")):
            if of != name and weights[f"{of}.weight"].shape == weight.shape:
                theirs = {"weight": parameter(of, "weight")}
                yield f"the weights are those of {of}", theirs
                both = {**theirs, "bias": parameter(of, "bias")}
                yield f"weights and bias are those of {of}", both
        for text, array in rearranged(weight):
            yield f"of the weights, {text}", {"weight": array}
        for bits, called in COARSE.items():
            coarse = {"weight": round_to(weight, bits)}
            yield f"the weights are rounded to {called}", coarse
            change = partial(round_to, bits=bits)
            yield f"weights and inputs are rounded to {called}", {**coarse, "change": change}
        for text, other_input in INPUTS.items():
            yield text, {"change": other_input}
        for mode in ("edge", "reflect", "symmetric", "wrap") if padding else ():
            yield f"the padding is not zeros but pixels (mode '{mode}')", {"mode": mode}

    def fits() -> Iterator[Fit]:
        plain = output(source, activation=_nothing)
        if plain.shape == wanted and layer.relu:
            yield partial(_bias_off, plain, bias)
            yield partial(_weights_times, plain, bias)
            yield partial(_leaky, plain)
            yield partial(_one_weight_off, plain, source, layer)

    def input_fits() -> Iterator[Fit]:
        plain, other = (output(x, activation=_nothing) for x in (source, source + 1))
        if plain.shape == wanted:
            yield partial(_input_off, plain, other - plain, bias, layer.relu)

    return OnPaper(output, mistakes(), fits(), input_fits=input_fits())


def explain_shape(
    layer: Layer, sizes: Sequence[tuple[int, ...]], given: Sequence[tuple[int, ...]]
) -> str | None:
    """The wrong number in a convolution or pooling layer that gives these heights and widths.

    ``sizes`` are those of some inputs, ``given`` those of their outputs; empty of what is no map.
    """

    def fits(sizes: Sequence[tuple[int, ...]] = sizes, room: int = 0, **changes: Any) -> bool:
        changed = layer._replace(**changes)
        return list(given) == [tuple(changed.output_size(n + room) for n in pair) for pair in sizes]

    kernel, stride, padding = layer.kernel_size, layer.stride, layer.padding
    if fits():
        return None
    if fits(room=stride - 1):
        return "a window that does not fit is kept (rounding up, ceil_mode)"
    if list(sizes) == list(given) and stride > 1:
        return "the layer is left out"
    window = f"instead of {kernel} x {kernel}"
    found = [f"padding {p} instead of {padding}" for p in range(kernel) if fits(padding=p)]
    found += [f"stride {s} instead of {stride}" for s in range(1, 9) if fits(stride=s)]
    found += [f"a window of {k} x {k} {window}" for k in range(1, 12) if fits(kernel_size=k)]
    if fits([pair[::-1] for pair in sizes]):
        return "height and width are swapped"
    return f"as with {' or '.join(found[:3])}" if found else None


def relu(x: Array) -> Array:
    return np.asarray(np.maximum(x, 0))


def _nothing(x: Array) -> Array:
    return x


INPUTS: dict[str, Function] = {
    "its input's channels are in reverse order": lambda x: x[:, ::-1],
    "height and width of its input are swapped": swapped,
    "its input is in the order NHWC, and read as NCHW": nhwc_as_nchw,
}
NO_RELU = "the ReLU is missing"
# in the place of a ReLU
ACTIVATIONS: dict[str, Function] = {
    NO_RELU: _nothing,
    "the ReLU stops at 6 (ReLU6)": lambda x: np.clip(x, 0, 6),
    "absolute values instead of a ReLU": np.abs,
    "a sigmoid instead of a ReLU": expit,
    "a tanh instead of a ReLU": np.tanh,
    "ELU instead of ReLU": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "SiLU (swish) instead of ReLU": lambda x: x * expit(x),
    "GELU instead of ReLU": lambda x: x / 2 * (1 + erf(x / math.sqrt(2))),
    "GELU, by its tanh formula, instead of ReLU": (
        lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    "softplus instead of ReLU": lambda x: np.logaddexp(x, 0),
}


def convolve(
    x: Array, weight: Array, stride: int, before: int, after: int, mode: str = "constant"
) -> Array:
    """A cross-correlation, without bias, of (batch, in, height, width) and (out, in, ...).

    ``before`` is the padding at the top and the left, ``after`` at the bottom and the right, in
    pixels; below 0 so many are cut off. ``mode`` is that of :func:`numpy.pad`.
    """
    cut = windows(_padded(x, before, after, mode), weight.shape[2], stride)
    product = np.tensordot(cut, weight, ((1, 4, 5), (1, 2, 3)))
    return np.asarray(product.transpose(0, 3, 1, 2))


def _padded(x: Array, before: int, after: int, mode: str = "constant", **options: float) -> Array:
    x = x[:, :, max(-before, 0) :, max(-before, 0) :]
    x = x[:, :, : x.shape[2] - max(-after, 0), : x.shape[3] - max(-after, 0)]
    pads = [(0, 0), (0, 0), *[(max(before, 0), max(after, 0))] * 2]
    return np.asarray(np.pad(x, pads, mode, **options))  # type: ignore[call-overload]


def windows(x: Array, kernel: int, stride: int) -> Array:
    """(batch, channels, height, width, kernel, kernel)."""
    every = sliding_window_view(x, (kernel, kernel), (2, 3))  # type: ignore[call-overload]
    return np.asarray(every[:, :, ::stride, ::stride])


def leads(x: Array, kernel: int, stride: int) -> Array:
    """By how much the largest value of each window exceeds the next, the windows' axes gone."""
    cut = windows(x, kernel, stride)
    two = np.partition(cut.reshape(*cut.shape[:4], -1), -2)[..., -2:]
    return np.asarray(two[..., 1] - two[..., 0])


def rearranged(weight: Array) -> Iterator[tuple[str, Array]]:
    """A convolution's weights in wrong orders, each once."""
    seen = {weight.tobytes()}
    for text, array in _orders(weight):
        if array.shape == weight.shape and array.tobytes() not in seen:
            seen.add(array.tobytes())
            yield text, array


def _orders(weight: Array) -> Iterator[tuple[str, Array]]:
    turned = weight[:, :, ::-1, ::-1]
    yield "the kernel is turned by 180 degrees (a convolution, not a cross-correlation)", turned
    yield "the kernel is upside down", weight[:, :, ::-1]
    yield "the kernel is mirrored, left and right", weight[..., ::-1]
    yield "height and width of the kernel are swapped", swapped(weight)
    yield "output and input channels are swapped", weight.transpose(1, 0, 2, 3)
    yield "input channels are in reverse order", weight[:, ::-1]
    yield "output channels are in reverse order (the bias's are not)", weight[::-1]
    ours = ", ".join(WEIGHT_AXES)
    for order in itertools.permutations(range(4)):
        theirs = ", ".join(WEIGHT_AXES[axis] for axis in order)
        array = weight.transpose(order).reshape(weight.shape)
        yield f"the numbers are in the order ({theirs}), read as ({ours})", array
        array = weight.reshape([weight.shape[axis] for axis in order]).transpose(np.argsort(order))
        yield f"the numbers are in the order ({ours}), read as ({theirs})", array


def _padding_after(
    size: tuple[int, ...], kernel: int, stride: int, before: int, wanted: tuple[int, ...]
) -> int | None:
    """The least padding at the end that gives the wanted height and width; None if none does.

    Below 0 so many pixels at the end are in no window.
    """
    needed = []
    if len(wanted) != 4 or -before >= min(size) or before >= kernel:
        return None
    for old, new in zip(size, wanted[2:], strict=True):
        after = (new - 1) * stride + kernel - old - before
        # windows beyond the wanted ones would fit too
        if after <= -stride or after >= kernel:
            return None
        needed.append(after)
    return needed[0] if len(set(needed)) == 1 else None


def _other_windows(
    layer: Layer,
    size: tuple[int, ...],
    wanted: tuple[int, ...],
    kernels: Iterable[int],
    strides: Iterable[int],
) -> list[tuple[list[str], int, int, int, int]]:
    """Kernel, stride, padding before and after that give the wanted shape, the likeliest first.

    Before them stands what is another number in them, in words.
    """
    found = []
    for k, s in itertools.product(kernels, strides):
        for before in range(1 - max(s, layer.stride), k):
            after = _padding_after(size, k, s, before, wanted)
            if after is None:
                continue
            changes = []
            if k != layer.kernel_size:
                kernel = layer.kernel_size
                changes.append(f"windows of {k} x {k} instead of {kernel} x {kernel}")
            if s != layer.stride:
                changes.append(f"stride {s} instead of {layer.stride}")
            if before != layer.padding:
                # what the last window does not reach is padding too
                end = before if after <= before < after + s else max(after, 0)
                changes.append(_place_text(before, end, layer.padding))
            elif layer.is_pool and after > 0:
                changes.append("a window that does not fit is kept (rounding up, ceil_mode)")
            found.append((changes, k, s, before, after))
    return sorted(found, key=lambda entry: (len(entry[0]), abs(entry[3] - layer.padding)))


def _place_text(before: int, after: int, padding: int) -> str:
    if before < 0:
        return plural(f"windows begin {-before} pixel(s) into the image")
    if before == after:
        return f"padding {before} instead of {padding}"
    return (
        f"padding {before} at the top and left, and {after} at the bottom and right, instead of "
        f"{padding} all round"
    )


# ------------------------------------------- numbers in a convolution that must be found


def _bias_off(plain: Array, bias: Array, wrong: Array, judge: Judge) -> str | None:
    """The bias of some channels is another one."""
    both = (wrong > 0) & (plain > 0)
    count = both.sum((0, 2, 3))
    change = np.where(both, wrong - plain, 0).sum((0, 2, 3)) / np.maximum(count, 1)
    # of a channel that is cut off everywhere only a bound is known
    cut_off = (count == 0) & ((plain > 0).any((0, 2, 3)) | (wrong > 0).any((0, 2, 3)))
    for channel in np.flatnonzero(cut_off):
        highest = plain[:, channel].max()
        change[channel] = wrong[:, channel].max() - highest if wrong[:, channel].any() else -highest
    if not judge.accepts(relu(plain + change[:, None, None])):
        return None
    # a channel's largest difference is its own evidence, whatever rounding is in the others
    size = np.abs(wrong).max()
    channels = np.flatnonzero(np.abs(change) > max(judge.limit, judge.rounding) * size)
    if not channels.size:
        return None
    where = f"in {listed(channels, 'channel')}"
    same = partial(np.allclose, rtol=judge.rounding, atol=10 * judge.rounding * size)
    other = bias + change
    given = other[channels]
    if same(given, 0):
        return f"there is no bias {where}"
    if same(given, given[0]) and given.size > 1:
        return f"the bias is {judge.number(given[0])} {where}"
    if same(other, bias[::-1]):
        return "the bias's channels are in reverse order"
    for shift in (1, -1):
        if same(other, np.roll(bias, shift)):
            return f"the bias's channels are shifted by {shift}"
    return f"the bias is off by {judge.span(change[channels])} {where}"


def _weights_times(plain: Array, bias: Array, wrong: Array, judge: Judge) -> str | None:
    """The weights are so many times too large, in all channels or some."""
    products, positive = plain - bias[:, None, None], wrong > 0
    numbers = np.where(positive, (wrong - bias[:, None, None]) * products, 0)
    squares = np.where(positive, products**2, 0)
    for axes in ((0, 1, 2, 3), (0, 2, 3)):
        factor = quotient(numbers.sum(axes, keepdims=True), squares.sum(axes, keepdims=True))
        if judge.accepts(relu(factor * products + bias[:, None, None])):
            factors = factor.ravel()
            if factors.size == 1:
                return f"the weights are {judge.number(factors[0])} times what was given"
            other = np.flatnonzero(np.abs(factors - 1) > judge.rounding)
            times = judge.span(factors[other])
            return f"the weights are {times} times what was given in {listed(other, 'channel')}"
    return None


def _input_off(
    plain: Array, slope: Array, bias: Array, has_relu: bool, wrong: Array, judge: Judge
) -> str | None:
    """All of the input has another factor, and is off; ``slope``: what 1 more of it gives."""
    activation: Function = relu if has_relu else _nothing
    products, there = plain - bias[:, None, None], (wrong > 0) | (not has_relu)
    columns = np.stack([products[there], slope[there]], axis=1)
    wanted = (wrong - bias[:, None, None])[there]
    (a, b), *_ = np.linalg.lstsq(columns, wanted, rcond=1e-9)
    if not a or not judge.accepts(activation(a * products + b * slope + bias[:, None, None])):
        return None
    return line_text(float(a), float(b), judge)


def _leaky(plain: Array, wrong: Array, judge: Judge) -> str | None:
    """A leaky ReLU of some slope."""
    below = plain < 0
    if below.sum() < 8:
        return None
    slope = float((wrong[below] * plain[below]).sum() / (plain[below] ** 2).sum())
    if slope == 0 or not judge.accepts(np.where(below, slope * plain, plain)):
        return None
    return f"a leaky ReLU of slope {judge.number(slope)} instead of a ReLU"


def _one_weight_off(
    plain: Array, source: Array, layer: Layer, wrong: Array, judge: Judge
) -> str | None:
    """A single weight is another one."""
    apart = np.abs(relu(plain) - wrong).max((0, 2, 3))
    channel = int(apart.argmax())
    if (np.delete(apart, channel) > judge.limit * np.abs(wrong).max()).any():
        return None
    padded = _padded(np.asarray(source, np.float64), layer.padding, layer.padding)
    cut = windows(padded, layer.kernel_size, layer.stride)
    both = (plain[:, channel] > 0) & (wrong[:, channel] > 0)
    rows = cut.transpose(0, 2, 3, 1, 4, 5)[both].reshape(int(both.sum()), -1)
    if len(rows) < 8:
        return None
    change = (wrong - plain)[:, channel][both]
    squares = (rows**2).sum(0)
    sizes = quotient(change @ rows, squares, 0.0)
    best = int((sizes**2 * squares).argmax())
    place = tuple(map(int, np.unravel_index(best, cut.shape[1:2] + cut.shape[4:])))
    candidate = relu(plain)
    at = cut[:, place[0], :, :, place[1], place[2]]
    candidate[:, channel] = relu(plain[:, channel] + sizes[best] * at)
    if not judge.accepts(candidate):
        return None
    where = ", ".join(map(str, (channel, *place)))
    return f"one weight, [{where}], is off by {sizes[best]:.3g}"
