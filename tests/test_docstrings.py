"""The examples in the docstrings of the interface for Python do what they show."""

import doctest
import inspect
import shutil

import pytest
from commands import ROOT

from common import api

FUNCTIONS = [name for name in api.__all__ if inspect.isfunction(getattr(api, name))]


def test_every_public_function_has_an_example():
    missing = [name for name in FUNCTIONS if ">>>" not in getattr(api, name).__doc__]
    assert not missing


@pytest.mark.long
def test_the_examples_do_what_they_show(backend, backend_name, tmp_path, monkeypatch):
    if backend_name != "torch":
        pytest.skip("the examples are PyTorch's")
    shutil.copy(ROOT / "tests" / "numpy_nin.py", tmp_path / "my_nin.py")
    monkeypatch.chdir(tmp_path)
    found = [api, *(getattr(api, name) for name in FUNCTIONS)]
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    output = []
    for each in found:
        for test in doctest.DocTestFinder(recurse=False).find(each, each.__name__, globs={}):
            # names stand in the module: the examples of a function use those beside it
            test.globs = vars(api).copy()
            runner.run(test, out=output.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(output)
    assert runner.tries > len(FUNCTIONS)
