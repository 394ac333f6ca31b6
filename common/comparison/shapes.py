"""The book's shape walk: one random image through the layers, one line for each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from common.backends import registry, session
from common.backends.parts import explaining_size, make_network, need
from common.comparison.tables import shape_rows
from common.contract import Backend
from common.errors import NinError, one_line
from common.network import architecture, description
from common.network.description import CHAPTER, Network
from common.report import style

# what stands between the layer's name and the tab
WORDS = {"tr": "cikti sekli", "en": "output shape"}
WORKER_SECONDS = 300


def walk(backend_name: str, size: int, network: str = "chapter") -> list[dict[str, Any]]:
    """Feed one random image of a size through a new network of a backend, in this process.

    Returns:
        for each layer ``book_name``, ``book_shape`` (as the book's loop prints them), ``name``
        (canonical, or None) and ``shape`` (channels first).
    """
    described = description.parse(network)
    architecture.check_input_size(size, described)
    backend = registry.load(backend_name)
    return list(walk_through(backend, make_network(backend, described, size=size), size))


def walk_through(
    backend: Backend, net: Any, size: int, width: int | None = None
) -> Iterator[dict[str, Any]]:
    """As :func:`walk`, of a network that is there already, for an image that may be oblong."""
    image, before = architecture.random_image(size, width), None
    try:
        with explaining_size(backend, net, size):
            for layer in need(backend, "shape_walk")(net, image):
                yield {
                    "book_name": layer.book_name,
                    "book_shape": layer.shape_text,
                    # the ReLU behind a fully connected layer, which may be part of that layer
                    "name": None if layer.name == before else layer.name,
                    "shape": list(layer.output.shape),
                }
                before = layer.name
    except (ValueError, RuntimeError) as error:  # of a backend that does not say where
        raise NinError(f"`net` with `resize={size}`: {one_line(error)}") from error


def walk_apart(spec: str, size: int, interpreter: str, network: str) -> list[dict[str, Any]]:
    """:func:`walk` in a process of its own: TensorFlow and MXNet do not share one."""
    function, where = "common.comparison.shapes:walk", registry.absolute(spec)
    options: dict[str, Any] = {"backend_name": where, "size": size, "network": network}
    try:
        return list(session.call_apart(interpreter, function, WORKER_SECONDS, **options))
    except NinError as error:
        if registry.label(spec) in str(error):
            raise
        raise NinError(f"backend {spec}: {error}") from error


def book_lines(layers: Iterable[Mapping[str, Any]], language: str) -> list[str]:
    """The lines that the book's loop prints, for :func:`walk`'s layers; ``tr`` or ``en``."""
    style.check(language)
    # the book prints with commas, which puts a blank behind the tab
    return [f"{layer['book_name']} {WORDS[language]}:\t {layer['book_shape']}" for layer in layers]


def side_by_side(
    walks: Mapping[str, Sequence[Mapping[str, Any]]], size: int, network: Network = CHAPTER
) -> tuple[list[list[str]], str | None]:
    """Several backends' walks (backend -> its :func:`walk`) beside the shapes on paper.

    Returns:
        rows of the layer's name, its shape on paper and in each backend, channels first; and the
        name of the first layer in which a backend differs, or None.
    """
    rows = shape_rows(walks, architecture.layer_shapes(size, network=network), times=" x ")
    for row in rows:
        for backend in row.deviating:
            row.cells[backend] += "  differs" if row.values[backend] else ""
    first_difference = next((row.name for row in rows if row.deviating), None)
    return [[row.name, *row.cells.values()] for row in rows], first_difference
