import os
import signal

import pytest

from common.system.signals import (
    SIGNALS,
    StopRequest,
    deferred,
    end_command,
    handling,
    once,
    set_up_command,
)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted_and_gives_its_exit_status(number):
    with StopRequest() as stop:
        assert stop.signal is None
        os.kill(os.getpid(), number)
        assert stop.signal == number
        assert stop.exit_status == 128 + number


def test_the_first_signal_is_answered(capfd):
    with StopRequest():
        os.kill(os.getpid(), signal.SIGINT)
    assert "again to stop at once" in capfd.readouterr().err


def test_the_second_signal_stops_at_once():
    with StopRequest():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_that_was_ignored_stays_ignored():
    """As nohup does with the signal of a closed terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.signal is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_afterwards_the_signals_are_as_before():
    before = [signal.getsignal(number) for number in SIGNALS]
    with StopRequest():
        pass
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_deferred_interrupt_comes_after_the_lines_that_it_must_not_cut():
    done = []

    def interrupted():
        with deferred():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_a_signal_nothing_is_deferred():
    before = [signal.getsignal(number) for number in SIGNALS]
    with deferred():
        pass
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_burst_of_ctrl_c_is_one_and_a_later_one_is_another(monkeypatch):
    clock = iter([0, 0.1, 0.5, 0.9, 1.5])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    came = []
    with handling(once(lambda number, _: came.append(number))):
        for _ in range(5):
            os.kill(os.getpid(), signal.SIGINT)
    assert len(came) == 2


def test_no_other_signal_is_taken_for_a_burst():
    came = []
    with handling(once(lambda number, _: came.append(number))):
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
    assert len(came) == 3


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_interrupts_a_command_wherever_it_comes(number):
    with handling(signal.SIG_DFL):  # puts all back
        set_up_command()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        end_command()
        assert signal.getsignal(number) in (signal.SIG_IGN, signal.SIG_DFL)
