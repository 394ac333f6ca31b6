"""Network in Network in three frameworks: what a person writes, and what belongs to no framework.

The functions here are those of :mod:`common.api`; the same code runs in each framework. Nothing in
``common`` imports one.
"""

import sys

if sys.platform == "win32":
    raise ImportError("this project runs on Linux; on Windows, install and run it in WSL")

from common.api import *  # noqa: F403 (PEP 8's one use of it: what is public there is public here)
from common.api import __all__  # noqa: F401
