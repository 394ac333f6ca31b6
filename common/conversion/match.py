"""Which tensor of a file is which parameter of the chapter's network.

Names differ with the way a network was written and wrapped; what all files of it have in common is
the order of their layers and the shapes. So names only say which weight and bias belong together
and, where a file does not keep an order, which layer comes first.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import combinations, takewhile
from string import ascii_lowercase, ascii_uppercase
from typing import NamedTuple

import numpy as np

from common.errors import NinError, plural, printable
from common.network import architecture
from common.network.description import CHAPTER, Network

BATCH_NORM = re.compile(r"(running|moving)_(mean|var)|num_batches_tracked")
# Names of the tensors from which PyTorch computes weights.
COMPUTED = re.compile(r"parametrizations|weight_(orig|mask|g|v)$")
# Parameters of layers besides weight and bias: of normalization, PReLU and the like.
OTHER_PARAMETERS = {"gamma", "beta", "scale", "alpha"}

# what helps if a file holds one of our variants
VARIANT = "; if it is one of the variants, convert it with its name as `network` (docs/variants.md)"
# in a file with layers, one may be added elsewhere
NO_BIAS = "; the chapter's network adds one directly behind each convolution"


class Matched(NamedTuple):
    """The parameters of the network, and what was done to get them."""

    weights: dict[str, np.ndarray]
    """Canonical name -> float32 array."""
    notes: list[str]
    """What the user should know, a sentence each."""
    by_order: tuple[str, ...] = ()
    """Two layers of the same shape, if only their order in the file says which comes first."""


def match(
    groups: Mapping[str, Mapping[str, np.ndarray]],
    ordered: bool,
    where: str,
    network: Network = CHAPTER,
    size: int | None = None,
) -> Matched:
    """Find the chapter's network, or another, in a file.

    Args:
        groups: the dictionaries of tensors in the file by name, such as ``state_dict`` and
            ``optimizer.state.0`` of a checkpoint, ``""`` if the whole file is one. Convolutions
            are (out, in, height, width), or (out, in) where a layer works on each pixel by itself.
        ordered: whether the tensors are in the order of the layers.
        where: what messages call the file.
        network: the one to look for.
        size: of its images, in pixels; a fully connected layer depends on it.

    Raises:
        NinError: if no group is the network, naming the reason, or if two are.
    """
    # with the words by which a Python user takes it alone
    found: dict[str, tuple[Matched, str]] = {}
    reasons: dict[str, NinError] = {}
    for group, tensors in groups.items():
        try:
            copies = _networks(tensors, ordered, where, network, size)
        except NinError as error:
            reasons[group] = error
            continue
        for start, matched in copies.items():
            alone = "checkpoint" + "".join(f"['{each}']" for each in group.split(".") if each)
            if len(copies) > 1:
                alone = f"{{n: t for n, t in {alone}.items() if n.startswith('{start}')}}"
            found[f"{group}.{start}".strip("./:|")] = matched, alone
    if not found:
        if not reasons:
            raise NinError(f"{where}: holds no tensors")
        # the largest group was meant to be the network
        raise reasons[max(reasons, key=lambda group: len(groups[group]))]
    first, *others = found
    matched, _ = found[first]
    for other in others:
        weights = found[other][0].weights
        if not all(np.array_equal(weights[name], a) for name, a in matched.weights.items()):
            names = " and ".join(printable(name or "(the top)") for name in (first, other))
            raise NinError(
                f"{where}: holds two networks with other weights, {names}; save only the one that "
                f"you mean, such as {printable(found[other or first][1])}"
            )
    around = [group for group in reasons if not group or first.startswith(f"{group}.")]
    # whole numbers there are counters and the states of random generators
    tensors = {n: a for g in around for n, a in groups[g].items() if a.dtype.kind == "f"}
    return matched._replace(notes=matched.notes + _left_out(tensors, where))


def _networks(
    tensors: Mapping[str, np.ndarray], ordered: bool, where: str, network: Network, size: int | None
) -> dict[str, Matched]:
    """All copies of the network in a dictionary, by the prefix of their names; "" if only one."""
    beside = _beside(tensors)
    for name, array in tensors.items():
        if BATCH_NORM.search(name):
            raise NinError(
                f"{where}: of another network: it has batch normalization ({printable(name)}), "
                "which the chapter's network does not have"
            )
        if COMPUTED.search(name):
            raise NinError(
                f"{where}: {printable(name)} is what weights are computed from; remove the "
                "parametrization, weight normalization or pruning (torch.nn.utils has a function "
                "for each) and save again"
            )
        if array.dtype.kind != "f" and array.ndim > 1 and name not in beside:
            words = "not of real numbers"
            if array.dtype.kind in "iu":
                words = "as in a quantized network; save the network before it is quantized"
            raise NinError(f"{where}: {printable(name)} is of type {array.dtype}, {words}")
    # single whole numbers are counters, such as the n_averaged of an averaged model
    left = {n: a for n, a in tensors.items() if a.dtype.kind != "f" or n in beside}
    named = {n: a for n, a in left.items() if a.dtype.kind == "f" or a.ndim}
    rest = {n: a for n, a in tensors.items() if n not in left}
    found: dict[str, Matched] = {}
    while rest or not found:
        try:
            matched, used = _match(rest, ordered, where, network, size)
        except NinError as error:
            if not found:
                raise
            name = next(iter(rest))
            raise NinError(
                f"{where}: of another network: {printable(name)} of shape {rest[name].shape} "
                f"belongs to none of its layers ({len(rest)} of {len(tensors)} tensors do not)"
                f"{VARIANT}"
            ) from error
        found[used[0]] = matched
        rest = {n: a for n, a in rest.items() if n not in used}
    next(iter(found.values())).notes.extend(_left_out(named, where))
    split = [_parts(name) for name in found]
    same = _common(parts[::-1] for parts in split)
    return {
        "".join(parts[: len(parts) - same]): matched
        for parts, matched in zip(split, found.values(), strict=True)
    }


def _left_out(tensors: Mapping[str, np.ndarray], where: str) -> list[str]:
    """A note on tensors beside the network, if there are any."""
    if not tensors:
        return []
    return [
        f"{where}: left out, as no part of the network: {_listed(tensors, 9)}; if it computes with "
        "that, it is another network"
    ]


def _beside(tensors: Mapping[str, np.ndarray]) -> set[str]:
    """What cannot be a layer of the network: a metric's matrix, a loss's weights, a single number.

    It is in no module of the layers, is not numbered among them, and has no name that layers give
    to their parameters.
    """
    singles = {_stem(name) for name, array in tensors.items() if array.ndim == 1}
    kernels = [
        name for name, array in tensors.items()
        if array.ndim == 4 or (array.ndim == 2 and _stem(name) in singles)
    ]  # fmt: skip
    stems = {_stem(name) for name in kernels}
    if len(stems) < len(kernels) or not stems:  # names do not say what belongs together
        return set()
    layers = [_parts(name) for name in tensors if _stem(name) in stems]
    top = layers[0][: _common(layers)]
    parameters = OTHER_PARAMETERS | {parts[-1] for parts in layers}

    def is_beside(name: str) -> bool:
        parts = _parts(name)
        inner = _common([top, parts]) + 1
        module = parts[:inner][-1]
        return (
            not module.rstrip("./:|").isdecimal()
            and all(each[:inner] != parts[:inner] for each in layers)
            and (parts[-1] not in parameters or re.search("loss|criterion", module) is not None)
        )

    return {name for name, array in tensors.items() if not array.ndim or is_beside(name)}


def _match(
    tensors: Mapping[str, np.ndarray], ordered: bool, where: str, network: Network, size: int | None
) -> tuple[Matched, list[str]]:
    """One network, and which of the tensors were used for it."""
    names = list(tensors) if ordered else sorted(tensors, key=_key)
    # with no classes: the first layer that gives nothing is the first that depends on their number
    wanted = architecture.parameter_shapes(0, 1, network, size)
    layers = [(*shape, 1, 1)[:4] for name, shape in wanted.items() if name.endswith(".weight")]
    opening, closing = layers[0], next(shape for shape in layers if not shape[0])
    if any(a.ndim == 4 and (a.shape[3], *a.shape[:2]) == (opening[0], *opening[2:])
           for a in tensors.values()):  # fmt: skip
        # height and width first, as in Keras and JAX
        tensors = {n: a.transpose((3, 2, 0, 1) if a.ndim == 4 else None)
                   for n, a in tensors.items()}  # fmt: skip
    kernels = [name for name in names if tensors[name].ndim in (2, 4)]
    singles = [name for name in names if tensors[name].ndim == 1]
    shapes = {name: (*tensors[name].shape, 1, 1)[:4] for name in kernels}
    stems = {_stem(name): name for name in singles}
    biases = {name: stems.get(_stem(name), "") for name in kernels}
    # W1, b1, W2, b2, or numbers alone
    by_order = len({_stem(name) for name in kernels}) < len(kernels) == len(singles)
    if by_order:
        biases = dict(zip(kernels, singles, strict=True))
    if kernels and not singles:
        raise NinError(f"{where}: of another network: no biases of its layers are found{NO_BIAS}")
    first = [e for e in shapes.values() if (e[0], *e[2:]) == (opening[0], *opening[2:])]
    last = [shape for shape in shapes.values() if shape[1:] == closing[1:]]
    if not first or not last:
        raise NinError(
            f"{where}: of another network (it holds {_examples(tensors)}, and none of its first "
            f"convolutions is {opening[0]} x {opening[2]}x{opening[3]}, or none of its last takes "
            + plural(f"{closing[1]} channel(s))")
        )
    expected = architecture.parameter_shapes(last[-1][0], first[0][1], network, size)
    weights: dict[str, np.ndarray] = {}
    used: list[str] = []
    lacking = ""
    for name, shape in expected.items():
        if name.endswith(".bias"):
            continue
        padded = (*shape, 1, 1)[:4]
        native = next((n for n in kernels if n not in used and shapes[n] == padded), None)
        if native is None:
            lacking = lacking or f"no tensor of shape {shape} is left for {name}"
            continue
        bias = biases[native]
        if bias not in tensors:
            raise NinError(f"{where}: no bias of {printable(native)} ({name}) is found{NO_BIAS}")
        weights[name] = tensors[native].reshape(shape)
        weights[name.replace(".weight", ".bias")] = tensors[bias]
        used += [native, bias]
    if lacking:
        left = {name: tensors[name] for name in kernels if name not in used}
        held = f"without a place: {_listed(left, 3)}" if left else f"it holds {_examples(tensors)}"
        raise NinError(f"{where}: of another network ({lacking}; {held}){VARIANT}")
    unsure = _check_order({n: shapes[n] for n in used if n in shapes}, ordered, where)
    if by_order:
        _check_order({n: tensors[n].shape for n in used if n not in shapes}, ordered, where)
    return _float32(weights, where)._replace(by_order=unsure), used


def _float32(weights: Mapping[str, np.ndarray], where: str) -> Matched:
    """Half precision is widened exactly; double is rounded, which is noted where it matters."""
    with np.errstate(over="ignore"):
        found = {name: array.astype(np.float32) for name, array in weights.items()}
    rounded = any((found[name] != array).any() for name, array in weights.items())
    notes = [f"{where}: double precision, rounded to float32"] if rounded else []
    return Matched(found, notes)


def _check_order(
    shapes: Mapping[str, tuple[int, ...]], ordered: bool, where: str
) -> tuple[str, ...]:
    """Two of the same shape, if only their order in the file says which comes first.

    Raises:
        NinError: if nothing says it, or the names say another order.
    """
    unsure: tuple[str, ...] = ()
    for one, two in combinations(shapes, 2):
        if shapes[one] != shapes[two]:
            continue
        if not _numbered(one, two, shapes):
            if not ordered:
                raise NinError(
                    f"{where}: {printable(one)} and {printable(two)} have one shape, and neither "
                    "file nor names show which comes first; number the layers, or save the whole "
                    "network"
                )
            unsure = unsure or (one, two)
        elif _key(one) > _key(two):
            raise NinError(
                f"{where}: {printable(two)} and {printable(one)} have one shape, and stand in the "
                "file in another order than that of their names; name them in the order in which "
                "the network uses them"
            )
    return unsure


def _key(name: str) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    """Sorts conv10 after conv9, and conv before conv_1."""
    return tuple(
        tuple(
            # Python reads no numbers of some thousand digits
            (0, len(token.lstrip("0")), token.lstrip("0")) if token.isdecimal() else (1, 0, token)
            for token in re.findall(r"[0-9]+|[^0-9_\-]+", part)
        )
        for part in re.split(r"[./:|]+", name)
    )


def _numbered(one: str, two: str, names: Iterable[str]) -> bool:
    """Whether two names first differ in a number, or in letters that enumerate all such names.

    Anything else is a guess: a network may use fc after fc1, and s (squeeze) before e (expand).
    """
    mine, other = (sum(_key(name), ()) for name in (one, two))
    at = next((i for i, (a, b) in enumerate(zip(mine, other, strict=False)) if a != b), None)
    if at is None:
        return False
    if mine[at][0] == other[at][0] == 0:
        return True
    keys = [sum(_key(name), ()) for name in names]
    words = {key[at][2] for key in keys if key[:at] == mine[:at] and len(key) > at}
    return words in (set(ascii_lowercase[: len(words)]), set(ascii_uppercase[: len(words)]))


def _parts(name: str) -> list[str]:
    """A name split into its modules, each with the separator after it."""
    return re.findall(r"[^./:|]*[./:|]|[^./:|]+", name)


def _common(names: Iterable[list[str]]) -> int:
    """How many leading parts these names share."""
    return sum(1 for _ in takewhile(lambda at: len({*at}) == 1, zip(*names, strict=False)))


def _stem(name: str) -> str:
    """What the names of a layer's weight and bias have in common."""
    return name[: max(map(name.rfind, "./_:|")) + 1]


def _examples(tensors: Mapping[str, np.ndarray]) -> str:
    return f"{len(tensors)} tensors: {_listed(tensors, 2)}" if tensors else "no tensors"


def _listed(tensors: Mapping[str, np.ndarray], most: int) -> str:
    more = f" and {len(tensors) - most} more" if len(tensors) > most else ""
    return ", ".join(f"{printable(n)} {a.shape}" for n, a in [*tensors.items()][:most]) + more
