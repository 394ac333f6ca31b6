"""Imported first by every script: one clear line when the project is not installed here."""

import importlib.util
import sys

if importlib.util.find_spec("common") is None or importlib.util.find_spec("numpy") is None:
    sys.exit(
        f"error: the project is not installed for {sys.executable}; make train builds .venv, "
        "then use .venv/bin/python"
    )
