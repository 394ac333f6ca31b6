"""Paths as users write them."""

import os
from pathlib import Path


def expand(path: str | Path) -> Path:
    """A path with its ``~`` replaced, if there is a home directory to replace it by."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (pathlib raises without a home)
