"""Any command line runs, or ends with one line and an exit status that is not 0."""

import argparse
import itertools
import os

import pytest
from commands import ROOT, _script, run_here
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.backends import session
from common.data import fashion_mnist
from common.errors import NinError

SCRIPTS = sorted(path.name for path in (ROOT / "scripts").glob("[a-z]*.py"))
EXAMPLES = int(os.environ.get("NIN_EXAMPLES", "15"))

VALUES = st.one_of(
    st.sampled_from([
        "", " ", "0", "1", "-1", "67", "1e400", "nan", "inf", "1_0", "٣", "9" * 30, "auto", "all",
        "sample", "torch", "torch,mxnet", "torch,torch", ",", "=", "x=y", "chapter", "inner=1",
        "inner=-1", "channels=8-8-8", "vgg-12", "fast", "book", "sgd", "float64", "cpu", "0:2",
        ":", "5,", ".", "..", "nowhere", "empty", "ş ğ.json", "new.svg", "new.json", "/",
        "/dev/null", "/dev/full", "~", "~nobody-here/x", "http://127.0.0.1:9/", "a" * 300, "[", "*",
        "--", "-", "--help",
    ]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
    st.integers().map(str),
    st.floats().map(str),
)  # fmt: skip


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """No framework is started, and no data are found but the sample."""

    def none(*arguments, **options):
        raise NinError("no backend here")

    monkeypatch.setattr(session, "start", none)
    monkeypatch.setattr(session.Apart, "__init__", none)
    monkeypatch.setattr("common.conversion.convert.start", none)
    monkeypatch.setattr("common.training.launch.launch", none)
    monkeypatch.setattr(fashion_mnist, "SYSTEM_DIRECTORY", tmp_path / "nowhere")
    monkeypatch.setenv(fashion_mnist.MIRRORS_VARIABLE, "http://127.0.0.1:9/")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("script", SCRIPTS)
def test_any_command_line_runs_or_ends_in_one_line(script, bare):
    actions = [a for a in _script(script).parser()._actions if a.option_strings]
    names = [name for action in actions for name in action.option_strings]
    takes = {n: not isinstance(a, argparse._StoreTrueAction) and a.nargs != 0
             for a in actions for n in a.option_strings}  # fmt: skip

    def option(name):
        if not takes[name]:
            return st.just([name])
        joined = VALUES.map(lambda value: [f"{name}={value}"] * name.startswith("--"))
        return VALUES.map(lambda value: [name, value]) | joined

    # a debugging person wants the traceback
    usable = [name for name in names if name != "--debug"]
    words = st.one_of(st.sampled_from(usable).flatmap(option), VALUES.map(lambda v: [v]))

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(st.lists(words, max_size=5).map(lambda each: [*itertools.chain(*each)]))
    def runs_or_ends_in_one_line(arguments):
        done = run_here(script, *arguments)
        lines = done.stderr.splitlines()
        assert done.returncode in (0, 1, 2)
        errors = [line for line in lines if line.startswith("error: ")]
        # before it, what was noticed on the way
        assert errors == (lines[-1:] if done.returncode else [])
        assert not any("Traceback" in line for line in lines)

    runs_or_ends_in_one_line()
