"""Whatever stands in an option, a file's name or a file: one short line, and nothing but text."""

import argparse

import pytest
import reference
from commands import ROOT, assert_one_clear_line, run_here
from commands import _script as script_module
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import make_run
from PIL import Image

from common.model import save_model
from common.terminal import output

SCRIPTS = sorted(path.name for path in (ROOT / "scripts").glob("[a-z]*.py"))
# with these each command finds a fault before it begins to work
FAULTY = {
    "ablate.py": "--networks none --out x",
    "bench.py": "--parts none",
    "compare.py": "--resize 5",
    "convert.py": "none out.pt",
    "cost.py": "--networks none",
    "figure.py": "--networks none --picture a.svg",
    "launch.py": "--workers 0",
    "look.py": "--weights none",
    "predict.py": "--weights none",
    "report.py": "none",
    "shapes.py": "--resize 5",
    "train.py": "--resize 5",
}
# colours, the bell, a title for the window, C1's control sequence, right to left, no UTF-8
CONTROL = ["\x1b[31m", "\x07", "\x1b]0;x\x07", "\r", "\x9b2J", "\u202e", "\n", "\t", "\udcff"]
hostile = st.lists(st.sampled_from([*CONTROL, *"ab-=~/[]{}%'`:,"]), min_size=1).map("".join)
long = st.sampled_from(["a", "/a", "a,", "é", "a ", "9", "\x1b"]).map(lambda part: part * 5000)


def options_of(script):
    """The options of a command that take a value, and its arguments that are no options."""
    module = script_module(script)
    return [
        action.option_strings[-1] if action.option_strings else ""
        for action in module.parser()._actions
        if action.nargs != 0 and not isinstance(action, argparse.BooleanOptionalAction)
    ]


def assert_harmless(*texts):
    for text in texts:
        assert [c for c in text if not c.isprintable() and c not in "\n\t"] == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_bad_value_of_any_option_gets_one_short_line_without_control_characters(
    script, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    faulty = FAULTY.get(script, "--backend none").split()
    options = options_of(script)

    @given(st.sampled_from(options), hostile | long)
    @settings(max_examples=30)
    def check(option, value):
        # an option's value that looks like an option has to be joined with it
        done = run_here(script, *faulty, f"{option}={value}" if option else value)
        assert_one_clear_line(done, "")
        assert len(done.stderr) < 1100
        assert_harmless(done.stdout, done.stderr)

    check()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_two_dashes_are_no_value_of_an_option(script):
    for option in filter(None, options_of(script)):
        done = run_here(script, *FAULTY.get(script, "").split(), f"{option}=--")
        assert_one_clear_line(done, f"{option}=--: ")


NAME = "sh[i]rt\x1b[31m\x07\n\x9b\u202e"


def test_names_in_files_and_of_files_are_spelt_out(tmp_path, sample):
    photos, weights = tmp_path / f"photos{NAME}", tmp_path / f"weights{NAME}.safetensors"
    photos.mkdir()
    Image.fromarray(255 - sample.test_images[3]).save(photos / f"{NAME}.png")
    (photos / f"bad{NAME}.png").write_bytes(b"no image")
    classes = tuple(f"{NAME}{i}" for i in range(10))
    save_model(weights, reference.model(resize=99, class_names=classes))
    backend = ["--backend", ROOT / "tests" / "numpy_nin.py"]
    first, second = (make_run(tmp_path / f"{NAME}{i}") for i in range(2))
    (second / "result.json").write_text("")
    for status, *arguments in (
        (1, "predict.py", "--weights", weights, "--images", photos, *backend),
        (1, "look.py", "--weights", weights, "--images", photos, *backend, "--view", "maps"),
        (0, "figure.py", "--picture", photos / f"{NAME}.svg"),
        (1, "report.py", first, second, "--out", photos / f"{NAME}.html"),
    ):
        done = run_here(*arguments)
        assert done.returncode == status, done.stderr
        assert "sh[i]rt\\x1b[31m" in done.stdout
        assert_harmless(done.stdout, done.stderr)


class Terminal:
    """Keeps what is written to it."""

    encoding = "utf-8"

    def __init__(self):
        self.written = ""

    def isatty(self):
        return True

    def write(self, text):
        self.written += text

    def flush(self):
        pass


def test_on_a_terminal_colours_are_ours_alone(monkeypatch):
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("sys.stdout", terminal)
    with output.guarded():
        print("\x1b[31mone")
        output.console(highlight=False).print(f"[green]two[/green] {chr(27)}[31m", style="bold")
    plain, drawn = terminal.written.splitlines()[:2]
    assert plain == "\\x1b[31mone"
    assert drawn.count("\x1b[") >= 2
    assert "two" in drawn
    assert "\\x1b[31m" in drawn
    assert "\x1b[31m" not in drawn
