"""The book's shape walk: one random image through the layers, one line for each."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from common.backends import registry, session
from common.backends.parts import need
from common.contract import Backend
from common.errors import NinError, one_line
from common.network import architecture

# what stands between the layer's name and the tab
WORDS = {"tr": "cikti sekli", "en": "output shape"}
WORKER_SECONDS = 300


def walk(backend_name: str, size: int) -> list[dict[str, Any]]:
    """Feed one random image through a new network of a backend.

    Args:
        backend_name: which backend, imported into this process.
        size: height and width of the image, in pixels.

    Returns:
        for each layer ``book_name``, ``book_shape`` (as the book's loop prints them), ``name``
        (canonical, or None) and ``shape`` (channels first).

    Raises:
        NinError: unknown or missing backend, or an image too small.
    """
    architecture.check_input_size(size)
    backend = registry.load(backend_name)
    return walk_through(backend, backend.nin(), size)


def walk_through(backend: Backend, net: Any, size: int) -> list[dict[str, Any]]:
    """As :func:`walk`, of a network that is there already."""
    image = architecture.random_image(size)
    try:
        return [
            {
                "book_name": layer.book_name,
                "book_shape": layer.shape_text,
                "name": layer.name,
                "shape": list(layer.output.shape),
            }
            for layer in need(backend, "shape_walk")(net, image)
        ]
    except (ValueError, RuntimeError) as error:  # the frameworks' own
        raise NinError(f"`net` with `resize={size}`: {one_line(error)}") from error


def walk_apart(spec: str, size: int, interpreter: str = sys.executable) -> list[dict[str, Any]]:
    """:func:`walk` in a process of its own: TensorFlow and MXNet do not share one.

    Args:
        spec: of the backend, as :func:`common.backends.registry.load` takes it.
        size: height and width of the image, in pixels.
        interpreter: runs the process.

    Raises:
        NinError: as :func:`walk`, or if the process crashes or hangs.
    """
    function = "common.comparison.shapes:walk"
    absolute = registry.absolute(spec)
    try:
        found = session.call_apart(
            interpreter, function, WORKER_SECONDS, backend_name=absolute, size=size
        )
    except NinError as error:
        if registry.label(spec) in str(error):
            raise
        raise NinError(f"backend {spec}: {error}") from error
    return list(found)


def book_lines(layers: Sequence[Mapping[str, Any]], language: str) -> list[str]:
    """The lines that the book's loop prints.

    Args:
        layers: from :func:`walk`.
        language: ``tr`` or ``en``.
    """
    # the book prints with commas, which puts a blank behind the tab
    return [f"{layer['book_name']} {WORDS[language]}:\t {layer['book_shape']}" for layer in layers]


def side_by_side(
    walks: Mapping[str, Sequence[Mapping[str, Any]]], size: int
) -> tuple[list[list[str]], str | None]:
    """One table of several backends, channels first, beside the shapes on paper.

    Args:
        walks: backend -> its :func:`walk`.
        size: height and width of the image, in pixels.

    Returns:
        rows of the layer's name, its shape on paper and in each backend; and the name of the first
        layer in which a backend differs, or None.
    """
    rows, first_difference = [], None
    for name, expected in architecture.layer_shapes(size).items():
        cells = [name, _text(expected)]
        for layers in walks.values():
            found = [layer for layer in layers if layer["name"] == name]
            same = len(found) == 1 and tuple(found[0]["shape"]) == expected
            cells.append(
                _text(found[0]["shape"]) + ("" if same else "  differs") if found else "missing"
            )
            if not same:
                first_difference = first_difference or name
        rows.append(cells)
    for layers in walks.values():
        for layer in layers:
            if layer["name"] not in {None, *architecture.layer_shapes(size)}:
                first_difference = first_difference or layer["name"]
    return rows, first_difference


def _text(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
