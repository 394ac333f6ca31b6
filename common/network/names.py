"""Names for the layers of any network that is a sequence of layers, the same in every framework."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

# of these a network mostly has one, which then needs no number
UNNUMBERED = ("dropout", "global_pool", "flatten")


class Named(NamedTuple):
    """A layer with its canonical name."""

    name: str | None
    """``block1``, ``block1.conv1``, ``pool1`` ...; None if only this framework has such a layer."""
    layer: Any
    """The framework's own."""
    inner: tuple["Named", ...] = ()
    """The layers inside, of a block."""


def name_layers(
    layers: Iterable[Any],
    inside: Callable[[Any], Iterable[Any] | None],
    kind: Callable[[Any], str | None],
    prefix: str = "",
) -> tuple[Named, ...]:
    """Name layers by kind and number, blocks and what is inside them too.

    An activation (kind ``relu``) has the name of the layer before it: what it gives is that layer's
    output, in frameworks in which it is a part of that layer as in those in which it is not.

    Args:
        layers: in order.
        inside: the layers of a block; None for a layer that is no block.
        kind: of a layer that is no block, such as ``conv``; None for one that gets no name.
        prefix: of all names.
    """
    counts: Counter[str] = Counter()
    named: list[Named] = []
    last = None
    for layer in layers:
        inner = inside(layer)
        what = kind(layer) if inner is None else "block"
        name = None
        if what == "relu" and last is not None:
            name = last
        elif what is not None:
            counts[what] += 1
            number = "" if what in UNNUMBERED and counts[what] == 1 else str(counts[what])
            name = last = f"{prefix}{what}{number}"
        within = () if inner is None else name_layers(inner, inside, kind, f"{name}.")
        named.append(Named(name, layer, within))
    return tuple(named)


def leaves(named: Iterable[Named]) -> list[Named]:
    """The layers that are no blocks, in order."""
    found: list[Named] = []
    for each in named:
        found += leaves(each.inner) if each.inner else [each]
    return found
