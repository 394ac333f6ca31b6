"""Library code names arguments; only a command names its options."""

import ast
import re

import pytest
from commands import ROOT

from common.errors import plural

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


COUNTED = re.compile(
    r"\{\} (?:(?:training|test|validation) )?(?:seed|image|trial|example|layer|epoch|worker|core|"
    r"thread|channel|filter|label|parameter|gradient|step)s\b(?!/)"
)
# never one
MANY = (
    "all {} images have", "all {} images, so", "the last of {} layers", "its {} layers multiply",
    "takes images of {} channels", "of the {} trials that", "from {} trials on",
    "verified on {} images", "images are needed",
)  # fmt: skip


@pytest.mark.parametrize("folder", ["common", "scripts"])
def test_what_is_counted_is_written_for_one_too(folder):
    found = []
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            text = "".join(
                str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts
            )
            text = re.sub(r"\{\d?\}", "{}", text)
            if COUNTED.search(text) and not any(words in text for words in MANY):
                found.append(f"{path.relative_to(ROOT)}, line {node.lineno}: {text}")
    assert found == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 seed(s), 12,000 training example(s)", "1 seed, 12,000 training examples"),
        ("1 training and 2 test image(s)", "1 training and 2 test images"),
        ("11 image(s), 1.1 GiB, 1 dead class(es)", "11 images, 1.1 GiB, 1 dead class"),
        ("0 of 1 trial(s); shirt(s).png", "0 of 1 trial; shirt(s).png"),
    ],
)
def test_a_count_of_one_is_singular(text, expected):
    assert plural(text) == expected
