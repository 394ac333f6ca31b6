"""What other people's CI gets of a comparison: assert_same, JUnit's XML, JSON with a schema."""

import copy
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib import resources

import jsonschema
import pytest
import reference
from commands import ROOT, run

from common.comparison import assert_same
from common.comparison.junit import junit
from common.comparison.levels import Comparison, Level
from common.conversion import onnx_format

OPTIONS = "--levels parameters,activations,gradients --resize 67 --batch-size 2 --threads 1"
PAGE = (ROOT / "docs" / "comparing-in-ci.md").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Backends: two that are the network, one with another stride, one that crashes."""
    folder = tmp_path_factory.mktemp("ci")
    shutil.copy(ROOT / "tests" / "numpy_nin.py", folder / "whole.py")
    small = (ROOT / "examples" / "nin_numpy.py").read_text()
    (folder / "small.py").write_text(small)
    (folder / "wrong.py").write_text(small.replace(".mean((2, 3))", ".max((2, 3)) + 1"))
    (folder / "crash.py").write_text("raise ValueError('\\x00 <&> \\x1b[31mred')\n")
    return folder


@pytest.fixture(scope="module")
def deviating(folder):
    """What the command writes of a comparison with a side that deviates and one that crashes."""
    sides = "--backends whole.py,small.py,wrong.py,crash.py --json out.json --junit out.xml"
    done = run("compare.py", *sides.split(), *OPTIONS.split(), cwd=folder)
    assert done.returncode == 2, done.stderr
    return json.loads((folder / "out.json").read_text()), (folder / "out.xml").read_text()


def schema():
    file = resources.files("common.comparison").joinpath("report.schema.json")
    return json.loads(file.read_text())


def validate(report):
    jsonschema.validate(report, schema(), jsonschema.Draft202012Validator)


def test_the_schema_is_one_and_a_real_report_keeps_to_it(deviating):
    jsonschema.Draft202012Validator.check_schema(schema())
    report, _ = deviating
    validate(report)
    assert report["first_deviation"]["level"] == "activations"


@pytest.mark.parametrize("change", ["schema", "exit_status", "levels", "lost"])
def test_the_schema_refuses_a_report_of_another_version_or_without_a_field(deviating, change):
    report = copy.deepcopy(deviating[0])
    if change == "schema":
        report["schema"] = 2
    else:
        del report[change]
    with pytest.raises(jsonschema.ValidationError, match=change):
        validate(report)


def outcomes(text):
    """``suite/case`` -> outcome, after the checks that every reader of JUnit's XML relies on."""
    root = ET.fromstring(text)
    assert root.tag == "testsuites"
    found = {}
    for suite in root:
        cases = suite.findall("testcase")
        assert [child.tag for child in suite if child.tag != "testcase"] in ([], ["properties"])
        assert int(suite.get("tests")) == len(cases) > 0
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped",) * 2):
            assert int(suite.get(attribute)) == len(suite.findall(f"testcase/{tag}"))
        for case in cases:
            name = f"{suite.get('name')}/{case.get('name')}"
            assert name not in found
            assert case.get("classname")
            assert float(case.get("time")) >= 0
            assert len(case) <= 1
            assert all(inner.get("message") for inner in case)
            found[name] = case[0].tag if len(case) else "passed"
    for attribute in ("tests", "failures", "errors"):
        assert int(root.get(attribute)) == sum(int(suite.get(attribute)) for suite in root)
    return found


def test_junit_has_a_case_for_each_layer_and_says_which_deviate(deviating):
    found = outcomes(deviating[1])
    assert found["backends/whole"] == "passed"
    assert found["backends/crash"] == "error"
    assert found["parameters/level"] == "skipped"
    assert found["gradients/level"] == "skipped"
    assert found["activations/logits"] == "failure"


def test_junit_tells_failed_and_refused_levels_from_deviations_and_joins_the_steps():
    levels = [
        Level(name, name, "", notes=[f"{name}: why"]) for name in ("failed", "refused", "agree")
    ]
    report = Comparison({}, {"a": {}, "b": {}}, levels, {}, {})
    found = outcomes(junit(report))
    expected = {"failed": "error", "refused": "error", "agree": "passed"}
    assert {f"{name}/level": outcome for name, outcome in expected.items()}.items() <= found.items()


def test_assert_same_passes_or_names_the_layer(folder, monkeypatch):
    monkeypatch.chdir(folder)
    options = {"levels": ["activations"], "resize": 67, "batch_size": 2}
    assert_same("./whole.py", "./small.py", **options)
    with pytest.raises(AssertionError) as caught:
        assert_same("./whole.py", "./wrong.py", **options)
    assert re.match("first deviation: activations, logits .*whole", str(caught.value))


@pytest.mark.long
def test_the_pages_lines_for_pytest_do_what_they_say(backend, backend_name, tmp_path):
    if backend_name != "torch":
        pytest.skip("the page compares with torch")
    (snippet,) = re.findall(r"```python\n(# test_my_nin.py\n.*?)```", PAGE, re.DOTALL)
    (tmp_path / "test_my_nin.py").write_text(snippet)
    shutil.copy(ROOT / "examples" / "nin_numpy.py", tmp_path / "my_nin.py")
    onnx_format.save(reference.model(), tmp_path / "nin.onnx")
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(pytest_command, cwd=tmp_path, capture_output=True, text=True)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
