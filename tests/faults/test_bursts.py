"""Ctrl-C held down: one line and exit status 130, whatever the command is doing."""

import random
import signal
import subprocess

import pytest
from commands import ROOT, command
from injected import SMALL, process

PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


def hold_ctrl_c(running, times=30):
    """As a terminal repeats a key, though faster; what the process printed on standard error."""
    for _ in range(times):
        running.send_signal(signal.SIGINT)
        try:
            running.wait(0.005)
        except subprocess.TimeoutExpired:
            continue
        break
    return running.communicate(timeout=300)[1]


@pytest.mark.long
def test_a_training_run_stops_after_its_step_and_is_not_cut_short(backend, backend_name, tmp_path):
    arguments = ["--backend", backend_name, *SMALL, "--epochs", 1000, "--out", tmp_path / "run"]
    with process(*arguments, **PIPES) as running:
        for line in running.stdout:
            if line.startswith("epoch 1"):
                break
        errors = hold_ctrl_c(running)
    assert running.returncode == 130, errors
    # a slow machine may have shown the progress before
    assert errors.strip().splitlines()[-1] == "stopping after this step; again to stop at once"
    assert "Traceback" not in errors
    assert (tmp_path / "run" / "model.safetensors").is_file()


COMMANDS = (
    ["doctor.py", "--backend", "torch"],
    ["compare.py", "--backends", "torch,mxnet", "--resize", 67],
    ["shapes.py", "--backend", "all", "--resize", 67],
    ["cost.py"],
    ["predict.py", "--help"],
)


@pytest.mark.long
@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_at_any_moment_there_is_no_traceback(arguments, tmp_path):
    chance = random.Random(0)
    for _ in range(4):
        running = subprocess.Popen(command(*arguments), cwd=ROOT, text=True, **PIPES)
        with running:
            try:
                # before that, Python itself is on its way to the first line of the script
                running.communicate(timeout=chance.uniform(0.2, 3))
            except subprocess.TimeoutExpired:
                errors = hold_ctrl_c(running)
                assert running.returncode in (0, 130), errors
                assert errors in ("", "error: interrupted\n")
