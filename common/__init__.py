"""Network in Network in three frameworks: what a person writes, and what belongs to no framework.

The functions here are those of :mod:`common.api`; the same code runs in each framework. Nothing in
``common`` imports one.
"""

import sys

if sys.platform == "win32":
    raise ImportError("this project runs on Linux and macOS; on Windows, install and run it in WSL")

from common.api import (
    Classifier,
    Dataset,
    NinError,
    Run,
    ablate,
    build,
    compare,
    cost,
    fit,
    load,
    load_data,
    look,
    resume,
    shape_walk,
    tune,
)

__all__ = [
    "Classifier",
    "Dataset",
    "NinError",
    "Run",
    "ablate",
    "build",
    "compare",
    "cost",
    "fit",
    "load",
    "load_data",
    "look",
    "resume",
    "shape_walk",
    "tune",
]
