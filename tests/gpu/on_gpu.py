"""A plugin of pytest (``-p on_gpu``): tests that set ``SETTINGS`` compute on the GPU."""

import dataclasses


def pytest_collection_modifyitems(items):
    for module in {item.module for item in items}:
        if hasattr(module, "SETTINGS"):
            module.SETTINGS = dataclasses.replace(module.SETTINGS, device="gpu")
