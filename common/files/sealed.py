"""JSON that is read again by this program, with a checksum: a changed digit is noticed.

A file without one is of an older release, or written by hand, and is taken as it is.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.files.write import write_json

CHECKSUM = "checksum"


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """The same with a checksum, as the last entry."""
    return {**content, CHECKSUM: _of(content)}


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write what :func:`seal` gives as a file, whole or not at all."""
    write_json(path, seal(content))


def read(path: Path) -> dict[str, Any]:
    """What :func:`unseal` gives of a file; an ``OSError`` too, if it cannot be read."""
    return unseal(path.read_text(encoding="utf-8", errors="surrogateescape"))


def unseal(text: str) -> dict[str, Any]:
    """The object in a JSON text, without its checksum.

    Raises:
        ValueError: if it is damaged or no JSON.
        TypeError: if it is another value than an object.
    """
    content = dict(json.loads(text))
    # the checksum is the last entry, also when its own name is what is damaged
    name = CHECKSUM if CHECKSUM in content else next(reversed(content), None)
    rest = {key: value for key, value in content.items() if key != name}
    sealed = name is not None and content[name] == _of(rest)
    if sealed != (name == CHECKSUM):
        raise ValueError("its checksum does not match its content")
    return rest if sealed else content


def _of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
