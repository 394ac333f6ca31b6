"""Imported first by every script: one clear line when Python cannot find this project."""

import importlib.util
import os
import signal
import sys
from pathlib import Path


def _interrupted(*_: object) -> None:
    os.write(2, b"error: interrupted\n")
    os._exit(130)


# until the command starts, which handles it itself
_main = getattr(sys.modules["__main__"], "__file__", None)
if (
    _main is not None
    and Path(_main).parent.resolve() == Path(__file__).parent.resolve()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, _interrupted)


def _problem() -> str | None:
    """What keeps the scripts from running, and what to do."""
    if sys.platform == "win32":
        return "this project runs on Linux; on Windows, install and run it in WSL (wsl --install)"
    common = importlib.util.find_spec("common")
    if common is None or importlib.util.find_spec("numpy") is None:
        return (
            f"the project is not installed for {sys.executable}; make train builds .venv, "
            "then use .venv/bin/python"
        )
    # a directory of that name without __init__.py has several locations and no origin
    places = list(common.submodule_search_locations or [str(common.origin)])
    if any((Path(place) / "terminal" / "command_line.py").is_file() for place in places):
        return None
    return (
        f"{places[0]} is a package of the same name as this project's common, and Python finds it "
        "first; take its directory out of PYTHONPATH, uninstall it, or use an environment of this "
        "project's own (make train builds .venv)"
    )


if problem := _problem():
    print(f"error: {problem}", file=sys.stderr)
    sys.exit(2)
