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


@pytest.mark.parametrize("file", FILES, ids=str)
def test_no_error_of_the_library_names_an_option_of_a_command(file):
    module = ast.parse((ROOT / file).read_text())
    # a message may end in a constant of its module
    constants = {
        target.id: node.value
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Raise) and node.exc is not None:
            for part in ast.walk(node.exc):
                part = constants.get(part.id, part) if isinstance(part, ast.Name) else part
                text = part.value if isinstance(part, ast.Constant) else None
                if isinstance(text, str):
                    assert not re.search(r"--([a-z]|$)", text), (
                        f"{file}, line {part.lineno}: {text}"
                    )
