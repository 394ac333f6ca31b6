"""Files that are written whole or not at all."""

import contextlib
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes, keep: Path | None = None) -> None:
    """Write a file so that a reader, or a crash at any moment, sees the old or the new one.

    ``keep`` gets the old one, once the new one is whole; a crash just then leaves this one only.

    Raises:
        OSError: naming the file, if it cannot be written; an existing file is then unchanged.
    """
    try:
        if path.exists() and not path.is_file():  # a device or a pipe is not to be replaced
            path.write_bytes(content)
        else:
            _replace(path, content, keep)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _replace(path: Path, content: bytes, keep: Path | None) -> None:
    path = Path(os.path.realpath(path))  # a link goes on being one
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; give what an ordinary open() would
        umask = os.umask(0)
        os.umask(umask)
        with contextlib.suppress(OSError):  # a file system without permissions
            there = path.exists()
            os.chmod(temporary, stat.S_IMODE(path.stat().st_mode) if there else 0o666 & ~umask)
        if keep is not None and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: Path, content: str) -> None:
    """:func:`write_bytes` for UTF-8 text; bytes of file names that are not UTF-8 pass through."""
    write_bytes(path, content.encode("utf-8", "surrogateescape"))


def write_json(path: Path, content: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
