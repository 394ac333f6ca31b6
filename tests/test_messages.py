"""Library code names arguments; only a command names its options."""

import ast
import re

import pytest
from commands import ROOT

PACKAGES = ("common", "nin_torch", "nin_tf", "nin_mxnet")
FILES = sorted(
    path.relative_to(ROOT)
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if path.parent.name != "terminal"
)


# Not converted yet; strict: an entry that is no longer true fails, and goes.
OLD = [
    "common/bench/run.py",
    "common/bench/worker.py",
    "common/comparison/run.py",
    "common/prediction/predict.py",
    "common/training/run.py",
    "common/training/run_directory.py",
    "nin_mxnet/device.py",
    "nin_tf/device.py",
    "nin_torch/device.py",
]


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file, marks=[pytest.mark.xfail(strict=True)] if str(file) in OLD else [])
        for file in FILES
    ],
    ids=str,
)
def test_no_error_of_the_library_names_an_option_of_a_command(file):
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Raise) and node.exc is not None:
            for part in ast.walk(node.exc):
                text = part.value if isinstance(part, ast.Constant) else None
                if isinstance(text, str):
                    assert not re.search(r"--[a-z]", text), f"{file}, line {part.lineno}: {text}"
