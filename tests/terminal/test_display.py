"""What a run shows: bars on a terminal, plain lines elsewhere; nobody watching stops nothing."""

import io
import os
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from common.errors import in_options
from common.network import architecture
from common.network.description import parse
from common.terminal import display
from common.terminal.display import Bars, Display, duration, seconds_left
from common.terminal.search import SearchDisplay
from common.training import tune
from common.training.run import Progress


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (7860, "2 h 11 min")],
)
def test_durations_are_written_for_people(seconds, words):
    assert duration(seconds) == words


def run_of(epochs=10, steps=469, train=60_000, test=10_000, history=(), network="chapter", **more):
    """As much of a run as a display looks at, in the middle of its first epoch."""
    return SimpleNamespace(
        settings=SimpleNamespace(
            **{"backend": "torch", "precision": "float32", "preset": "x", "resize": 224},
            **{"epochs": epochs, "description": parse(network)},
        ),
        ready=SimpleNamespace(device=SimpleNamespace(name="cpu"), prepared={"threads": 1}),
        steps_per_epoch=steps,
        epoch_steps=steps,
        steps_done=steps // 2,
        total_steps=steps * epochs,
        last_epoch=epochs,
        layers=(),
        train_count=train,
        dataset=SimpleNamespace(test_images=range(test), notice=""),
        history=list(history),
        progress=Progress(step=steps // 2),
        directory=None,
        **{"rate": 321.5, "timed_seconds": 1.0, "complete": False, **more},
    )


def test_the_estimate_counts_training_and_every_evaluation():
    run = run_of(steps=500, history=[{"evaluation_seconds": 20}])
    assert seconds_left(run, rate=1000, steps=5000, evaluations=10) == pytest.approx(10 * 80)
    assert seconds_left(run, rate=1000, steps=50, evaluations=1) == pytest.approx(6 + 20)


def test_before_an_evaluation_was_measured_it_counts_as_a_third_of_training():
    seconds = seconds_left(run_of(steps=500), rate=1000, steps=500, evaluations=1)
    assert seconds == pytest.approx(60 + 10_000 / 3000)


SMALL = {"epochs": 2, "steps": 10, "train": 1280, "test": 100}


def test_the_rate_is_printed_once_with_the_time_that_is_left(capsys):
    shown, run = Display(), run_of(**SMALL, timed_seconds=4.0)
    shown.step(run)
    shown.step(run)
    assert capsys.readouterr().out == "321.5 examples/s; about 6 s to go\n"


def test_the_line_to_go_on_with_can_be_typed_whatever_the_directory_is_called(capsys):
    shown = Display(lambda text: in_options(text, {"resume": "--resume"}))
    run = run_of(**SMALL)
    run.directory = Path("/tmp/my runs/it's")
    shown.end(run, failed=False)
    words = shlex.split(capsys.readouterr().out.partition("continue with ")[2])
    assert words == ["--resume", "/tmp/my runs/it's"]


@pytest.mark.parametrize(("network", "name"), [("nin", "NiN"), ("vgg-12-32", "NiN vgg-12-32")])
def test_the_first_line_names_the_network(capsys, network, name):
    Display().begin(run_of(network=network))
    assert capsys.readouterr().out.startswith(f"{name} with torch on cpu, 1 thread, ")


def test_of_many_runs_on_small_images_the_first_has_the_note(capsys):
    shown, run = Display(), run_of(**SMALL)
    run.settings.description = architecture.CHAPTER
    for run.settings.resize in (68, 68, 99, 84, 84):
        shown.begin(run)
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert [note.split()[2] for note in notes] == ["68x68", "84x84"]


def test_of_many_runs_on_a_subset_the_first_has_the_notice(capsys):
    shown, run = Display(), run_of(**SMALL)
    for run.dataset.notice in ("A subset.", "A subset.", "", "A subset."):
        shown.begin(run)
    assert capsys.readouterr().out.count("A subset.\n") == 2


def test_of_a_run_that_is_nearly_over_no_time_left_is_printed(capsys):
    run = run_of(**SMALL, timed_seconds=4.0, rate=1e6)
    Display().step(run)
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_bars_with_rate_and_time_left():
    screen = io.StringIO()
    bars = Bars(console=Console(file=screen, force_terminal=True, width=120))
    run = run_of(**SMALL)
    bars.begin(run)
    bars.step(run)
    bars._bars.refresh()
    bars.close()
    assert "epoch 1/2" in screen.getvalue()
    assert "321.5 examples/s" in screen.getvalue()
    assert "left" in screen.getvalue()


def test_elsewhere_a_plain_line_comes_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(display, "PLAIN_LINE_SECONDS", 0)
    Display().step(run_of(**SMALL))
    assert capsys.readouterr().err == "epoch 1/2: 50%, 321.5 examples/s, run 6 s left\n"


def test_a_search_counts_the_trials_that_have_ended(monkeypatch, capsys):
    monkeypatch.setattr(display, "PLAIN_LINE_SECONDS", 0)
    trials = [tune.Trial(n, "complete", {}, 0.5, {}, 1.0, "", False) for n in range(2)]
    SearchDisplay().searching(trials, 8)
    assert capsys.readouterr().err == "2 of 8 trials done, 25% of the search\n"


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"])
def test_no_variable_makes_a_terminal_of_a_file(monkeypatch, variable, capsys):
    monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("TERM", "xterm")
    assert type(display.choose()) is Display


def test_a_dumb_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("sys.stderr", SimpleNamespace(isatty=lambda: True))
    assert type(display.choose()) is Display


def test_a_terminal_that_is_closed_does_not_stop_the_run():
    master, slave = os.openpty()
    bars = Bars(console=Console(file=os.fdopen(slave, "w"), force_terminal=True))
    run = run_of(**SMALL)
    bars.begin(run)
    bars.step(run)
    os.close(master)
    for _ in range(10):
        bars.step(run)
        bars.evaluating(run, 50)
    bars.end(run, failed=True)
