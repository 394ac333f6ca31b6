import io
import os

import pytest
from rich.console import Console

from common.terminal import progress
from common.terminal.progress import RunProgress, duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (7860, "2 h 11 min")],
)
def test_durations_are_written_for_people(seconds, words):
    assert duration(seconds) == words


def test_the_estimate_counts_training_and_evaluation_of_every_epoch():
    run = RunProgress(10, 469, 60_000, 10_000)
    run.evaluation_seconds = 20
    assert run.run_seconds(rate=1000, epochs=10) == pytest.approx(10 * (60 + 20))


def test_the_estimate_of_an_epoch_that_has_begun_has_its_whole_evaluation():
    run = RunProgress(2, 469, 60_000, 10_000)
    run.evaluation_seconds = 20
    assert run.run_seconds(rate=1000, epochs=0.1) == pytest.approx(6 + 20)
    assert run.run_seconds(rate=1000, epochs=1.1) == pytest.approx(66 + 40)


def test_before_an_evaluation_was_measured_it_counts_as_a_third_of_training():
    run = RunProgress(1, 469, 60_000, 10_000)
    assert run.run_seconds(rate=1000, epochs=1) == pytest.approx(60 + 10_000 / 3000)


def show(monkeypatch, terminal):
    # a dumb terminal gets no bars, and the suite may have been started in one
    monkeypatch.setenv("TERM", "xterm")
    screen = io.StringIO()
    monkeypatch.setattr(
        progress, "Console", lambda stderr: Console(file=screen, force_terminal=terminal, width=120)
    )
    with RunProgress(2, 10, 1280, 100) as run:
        run.training(0, 5, 321.5)
        run._bars and run._bars.refresh()
    return screen.getvalue()


def test_a_terminal_gets_bars_with_rate_and_time_left(monkeypatch):
    shown = show(monkeypatch, terminal=True)
    assert "epoch 1/2" in shown
    assert "321.5 examples/s" in shown
    assert "left" in shown


def test_no_bars_are_drawn_where_there_is_no_terminal(monkeypatch):
    assert show(monkeypatch, terminal=False) == ""


def test_elsewhere_a_plain_line_comes_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(progress, "PLAIN_LINE_SECONDS", 0)
    show(monkeypatch, terminal=False)
    assert capsys.readouterr().err == "epoch 1/2: 50%, 321.5 examples/s, run 6 s left\n"


def test_a_terminal_that_is_closed_does_not_stop_the_run(monkeypatch):
    master, slave = os.openpty()
    terminal = os.fdopen(slave, "w")
    monkeypatch.setattr(
        progress, "Console", lambda stderr: Console(file=terminal, force_terminal=True)
    )
    with RunProgress(2, 10, 1280, 100) as run:
        run.training(0, 1, 100.0)
        os.close(master)
        for step in range(2, 11):
            run.training(0, step, 100.0)
            run.evaluating(0, 10 * step)
