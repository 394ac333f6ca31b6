"""Paths as users write them."""

import errno
import os
import tempfile
from pathlib import Path

from common.arguments import shown
from common.errors import NinError


def expand(path: str | Path, argument: str = "path") -> Path:
    """A path with its ``~`` replaced, if there is a home directory to replace it by.

    Raises:
        NinError: naming the argument, for what can be no path.
    """
    if str(path) == "" or "\0" in str(path):
        raise NinError(f"`{argument}={shown(path)}`: names no file and no directory")
    found = Path(os.path.expanduser(path))  # noqa: PTH111 (pathlib raises without a home)
    try:
        found.lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise NinError(f"`{argument}={shown(str(path))}`: too long for a path") from error
    return found


def check_target(path: Path | None, argument: str = "") -> None:
    """Raise :class:`NinError` for a file that has no place, before its content is computed.

    None stands for one that is not wanted.
    """
    if path is None:
        return
    where = f"`{argument}={path}`" if argument else str(path)
    parent = path.absolute().parent
    if path.is_dir() or not parent.is_dir():
        raise NinError(f"{where}: not a file in an existing directory")
    if path.exists():
        return
    try:  # permissions alone do not tell
        tempfile.TemporaryFile(dir=parent).close()
    except OSError as error:
        raise NinError(f"{where}: its directory cannot be written to ({error.strerror})") from error
