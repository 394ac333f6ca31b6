"""A network of NiN blocks on paper: the chapter's, and those of its exercises.

A description is plain data, written as a name (``one-1x1``), as what differs from the chapter
(``inner=1,head=dense``), or as both (``vgg-12,inner=1``). Its sizes and shapes are in
:mod:`common.network.architecture`, ``variants.py`` of each backend builds it, and docs/variants.md
says which exercise each name answers.
"""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from common.errors import NinError, closest

HEADS = ("average", "dense", "alexnet")
DROPOUTS = ("last", "every")


class Convolution(NamedTuple):
    """A convolution in a block; sizes are in pixels."""

    channels: int
    """Of its output."""
    kernel_size: int
    strides: int
    padding: int
    relu: bool
    """Whether a ReLU follows."""


class Block(NamedTuple):
    """A block with the numbers of all its convolutions, and what follows it."""

    channels: tuple[int, ...]
    """Output channels of each convolution."""
    kernel_size: int
    """Height and width of the first convolution's window, in pixels."""
    strides: int
    padding: int
    """Of the first convolution; where its stride is 1, the output keeps its size."""
    inner_kernel: int
    """Window of the other convolutions, which keep the size."""
    relu: bool
    """Whether there is a ReLU after the last convolution, as there is after all others."""
    pool: int
    """Window of the max pooling after the block, its stride 2; 0: none."""
    dropout: bool
    """Whether dropout follows."""

    @property
    def is_the_books(self) -> bool:
        """Whether ``nin_block`` builds it."""
        alike = len(self.channels) == 3 and len({*self.channels}) == 1
        return alike and self.inner_kernel == 1 and self.relu

    @property
    def convolutions(self) -> list[Convolution]:
        """In order, the first with the block's window."""
        first = (self.kernel_size, self.strides, self.padding)
        others = (self.inner_kernel, 1, self.inner_kernel // 2)
        ends = len(self.channels) - 1
        return [
            Convolution(channels, *(others if i else first), relu=self.relu or i < ends)
            for i, channels in enumerate(self.channels)
        ]


@dataclass(frozen=True)
class Network:
    """What a network is made of; the defaults are the chapter's.

    Images, classes and the dropout rate are no part of it.
    """

    channels: tuple[tuple[int, ...], ...] = ((96,), (256,), (384,))
    """Of each block but the last: one number for all its convolutions, or one for each."""
    kernels: tuple[int, ...] = (11, 5, 3, 3)
    """Window of each block's first convolution, in pixels."""
    strides: tuple[int, ...] = (4, 1, 1, 1)
    """Of the same; above 1 there is no padding, else so much that the output keeps its size."""
    repeat: int = 1
    """How many times each block but the last stands before its pooling, as in VGG."""
    inner: int = 2
    """Convolutions in a block after its first."""
    inner_kernel: int = 1
    """Their window, in pixels."""
    last: tuple[int, ...] = ()
    """Channels of the last block's convolutions but the very last, which has one for each class;
    none: all have one for each class."""
    pool: int = 3
    """Window of the max pooling, in pixels; its stride is 2."""
    head: str = "average"
    """What makes logits of the last maps: ``average``, the global average pooling; ``dense``, a
    fully connected layer in its place; ``alexnet``, three fully connected layers in place of
    the last block too."""
    hidden: tuple[int, ...] = (4096, 4096)
    """Widths of AlexNet's and VGG's fully connected layers but the last; with that head only."""
    last_relu: bool = True
    """Whether the last block ends in a ReLU."""
    dropout: str = "last"
    """Where dropout stands: after the ``last`` pooling, or after ``every`` one."""

    def check(self) -> None:
        """Raise :class:`NinError` for values that make no sense, naming the key."""
        inner, blocks = self.inner, len(self.channels) + 1
        for name, key in KEYS.items():
            if not key.allows(getattr(self, name)):
                self._refuse(name, f"must be {key.words}")
        for name in ("kernels", "strides"):
            if len(getattr(self, name)) != blocks:
                self._refuse(name, f"{blocks} numbers are needed, one for each block")
        if any(len(group) not in (1, inner + 1) for group in self.channels):
            self._refuse("channels", f"with inner={inner} a block takes 1 or {inner + 1} numbers")
        if len(self.last) not in (0, inner):
            self._refuse("last", f"with inner={inner} it takes {inner} numbers, or none at all")
        if self.head == "alexnet" and (self.last or not self.last_relu):
            self._refuse("head", "that network has no last block; leave last and last_relu out")
        if self.head != "alexnet" and self.hidden != CHAPTER.hidden:
            self._refuse("hidden", "only with head=alexnet")

    def _refuse(self, name: str, why: str) -> NoReturn:
        value = getattr(self, name)
        try:
            value = KEYS[name].write(value)
        except TypeError:  # of another type altogether
            value = repr(value)
        raise NinError(f"`network` with {name}={value}: {why}")

    def __str__(self) -> str:
        """The shortest words that :func:`parse` makes this of: a name, or what differs."""
        names = [name for name, network in NETWORKS.items() if network == self]
        if names:
            return names[0]
        return ",".join(f"{k}={KEYS[k].write(value)}" for k, value in self.differences().items())

    @property
    def title(self) -> str:
        """What to call it among other networks."""
        return "NiN" if self == CHAPTER else f"NiN {self}"

    def differences(self) -> dict[str, Any]:
        """What differs from the chapter, as plain data."""
        return {name: value for name, value in vars(self).items() if value != vars(CHAPTER)[name]}

    def blocks(self, num_classes: int) -> list[Block]:
        """All blocks in order, the last with its channel for each class."""
        found = []
        for i, channels in enumerate(self.channels):
            widths = channels if len(channels) > 1 else channels * (self.inner + 1)
            # what the dropout is in front of
            last = i + 1 == len(self.channels) and self.head != "alexnet"
            for j in range(self.repeat):
                stride, ends = 1 if j else self.strides[i], j + 1 == self.repeat
                pool = self.pool if ends else 0
                drops = ends and (last or self.dropout == "every")
                found.append(self._block(widths, self.kernels[i], stride, True, pool, drops))
        if self.head != "alexnet":
            widths = (*(self.last or (num_classes,) * self.inner), num_classes)
            kernel, stride = self.kernels[-1], self.strides[-1]
            found.append(self._block(widths, kernel, stride, self.last_relu, 0, False))
        return found

    def dense(self, num_classes: int) -> tuple[int, ...]:
        """Widths of the fully connected layers; between them are ReLU and dropout."""
        before = self.hidden if self.head == "alexnet" else ()
        return () if self.head == "average" else (*before, num_classes)

    def _block(self, channels: tuple[int, ...], kernel: int, stride: int, *rest: Any) -> Block:
        padding = 0 if stride > 1 else kernel // 2
        return Block(channels, kernel, stride, padding, self.inner_kernel, *rest)


CHAPTER = Network()


def vgg(depth: int, width: int) -> Network:
    """One of a family of NiN networks that is made as VGG is.

    As in VGG: 3x3 windows at stride 1, three stages, the channels doubled from each to the next,
    2x2 pooling between them, and depth by repetition. As in NiN: every convolution is a block of
    it, and the last block with global average pooling is in place of fully connected layers.

    ``depth``, 12, 21 or 30, is the number of convolutions: each stage has one, two or three blocks;
    ``width`` is that of the first stage, in channels.
    """
    channels = ((width,), (2 * width,), (4 * width,))
    return Network(channels, (3,) * 4, (1,) * 4, repeat=(depth - 3) // 9, pool=2)


# The first name of a description is the one that is shown.
NETWORKS: dict[str, Network] = {
    "chapter": CHAPTER,
    "no-1x1": Network(inner=0),
    "one-1x1": Network(inner=1),
    "three-1x1": Network(inner=3),
    "3x3": Network(inner_kernel=3),
    "dense-head": Network(head="dense"),
    "alexnet-head": Network(head="alexnet"),
    # 384 -> 112 -> 32 -> 10: each step by about 3.4, the third root of 384/10
    "gentle": Network(last=(112, 32)),
    "no-last-relu": Network(last_relu=False),
    # Lin, Chen and Yan 2013, section 4.2, by the sizes that its authors published
    "lin-cifar": Network(
        channels=((192, 160, 96), (192,)),
        kernels=(5, 5, 3),
        strides=(1, 1, 1),
        last=(192, 192),
        dropout="every",
    ),
    **{
        f"vgg-{depth}" + ("" if width == 64 else f"-{width}"): vgg(depth, width)
        for depth in (12, 21, 30)
        for width in (32, 64)
    },
}


def parse(text: str, others: Iterable[str] = ()) -> Network:
    """A network by its name, or by what differs from the chapter or from a named one.

    Args:
        text: ``one-1x1``, ``inner=1,last=112``, ``vgg-12,inner=1``.
        others: further names, which the caller knows, for the message on an unknown one.

    Raises:
        NinError: for an unknown name or key, or a value that makes no sense.

    >>> parse("inner=1") == parse("one-1x1"), parse("vgg-12,inner=1").inner
    (True, 1)
    """
    first, *rest = parts = [part.strip() for part in text.split(",")]
    known = [*others, *NETWORKS]
    named = {**NETWORKS, "nin": CHAPTER}  # that is its name, too
    network = CHAPTER
    if "=" not in first:
        if first not in named:
            like = closest(first, known)
            meant = f" (did you mean {like}?)" if like else ""
            raise NinError(
                f"`network={text}`: there is no network of that name{meant}; choose from "
                f"{', '.join(known)}, or write key=value,... with {', '.join(KEYS)}"
            )
        network, parts = named[first], rest
    changes: dict[str, Any] = {}
    for part in parts:
        key, equals, value = (each.strip() for each in part.partition("="))
        if part in known:
            raise NinError(
                f"`network={text}`: {part} is another network; name one, or several with a space "
                "between them where several are taken"
            )
        if not equals or key not in KEYS:
            raise NinError(
                f"`network={text}`: {part or 'an empty part'} is not one of {', '.join(KEYS)} "
                "with = and a value"
            )
        if key in changes:
            raise NinError(f"`network={text}`: {key} stands there twice")
        try:
            changes[key] = KEYS[key].read(value)
        except ValueError as error:
            raise NinError(f"`network={text}`: {key} must be {KEYS[key].words}") from error
    network = dataclasses.replace(network, **changes)
    network.check()
    return network


def from_differences(differences: Any) -> Network:
    """The reverse of :meth:`Network.differences`, also after a way through JSON.

    Raises:
        NinError: if they describe no network.
    """
    try:
        found = Network(**{key: _tuples(value) for key, value in dict(differences).items()})
        found.check()
    except (TypeError, ValueError, AttributeError) as error:
        raise NinError(f"`network`: no description of a network ({error})") from error
    return found


# ------------------------------------------------------------------ the keys


class _Key(NamedTuple):
    """How a value is read and written, and what it may be."""

    read: Callable[[str], Any]
    """Raises ValueError for text of another form."""
    write: Callable[[Any], str]
    allows: Callable[[Any], bool]
    words: str


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(text)
    return int(text)


def _number(least: int, most: int) -> _Key:
    words = f"a whole number from {least} to {most}"
    return _Key(_whole, str, lambda value: type(value) is int and least <= value <= most, words)


def _list(separator: str, most: int, words: str, good: Callable[[Any], bool] = bool) -> _Key:
    each = _number(1, most)
    return _Key(
        lambda text: tuple(map(_whole, text.split(separator))) if text else (),
        lambda value: separator.join(map(str, value)),
        lambda value: isinstance(value, tuple) and all(map(each.allows, value)) and good(value),
        words,
    )


def _choice(*names: str) -> _Key:
    return _Key(str, str, names.__contains__, " or ".join([", ".join(names[:-1]), names[-1]]))


_most = 8192
_in_block = _list("/", _most, f"channels like 112/32, up to {_most}", lambda value: True)
_odd = _list("-", 63, "odd windows like 11-5-3-3", lambda value: all(v % 2 for v in value))

KEYS: dict[str, _Key] = {
    "channels": _Key(
        lambda text: tuple(_in_block.read(part) for part in text.split("-")),
        lambda value: "-".join(map(_in_block.write, value)),
        lambda value: (
            isinstance(value, tuple) and 1 <= len(value) <= 32 and all(map(_in_block.allows, value))
        ),
        f"channels like 96-256-384 or 192/160/96-192, up to {_most}",
    ),
    "kernels": _odd,
    "strides": _list("-", 16, "strides like 4-1-1-1, up to 16"),
    "repeat": _number(1, 16),
    "inner": _number(0, 8),
    "inner_kernel": _Key(
        _whole, str, lambda value: type(value) is int and value in range(1, 64, 2), "an odd window"
    ),
    "last": _in_block,
    "pool": _number(2, 8),
    "head": _choice(*HEADS),
    "hidden": _in_block,
    "last_relu": _Key(
        lambda text: bool(("no", "yes").index(text)),
        lambda value: "yes" if value else "no",
        lambda value: isinstance(value, bool),
        "yes or no",
    ),
    "dropout": _choice(*DROPOUTS),
}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
