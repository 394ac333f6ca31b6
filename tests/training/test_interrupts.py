"""A signal while train.py gets ready: it ends at once, with nothing left behind."""

import os
import signal
import socket
import subprocess
import sys

import pytest
from commands import ROOT

from common.backends import registry

TRAIN = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, "scripts")
import train
from common.data import fashion_mnist
from common.terminal import command_line, display
fashion_mnist.SYSTEM_DIRECTORY = Path("nowhere")
{changes}
command_line.run(train.command, train.parser())
"""

DURING_AN_IMPORT = """
import importlib.abc
class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
"""

BEFORE_THE_FIRST_STEP = """
begin = display.Display.begin
def interrupted(self, run):
    os.kill(os.getpid(), signal.SIGTERM)
    begin(self, run)
display.Display.begin = interrupted
"""

OPTIONS = (
    "--preset fast --data sample --limit 60 --batch-size 20 --resize 67 --threads 1 --device cpu"
)


def train(changes, *arguments, **environment):
    """A process that trains with some of its code changed."""
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN.format(changes=changes), *map(str, arguments)],
        cwd=ROOT, env={**os.environ, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def quick(backend_name):
    return ["--backend", backend_name, *OPTIONS.split()]


def assert_ended_at_once(process, status, tmp_path):
    out, errors = process.communicate(timeout=120)
    assert process.returncode == status, errors
    assert "checkpoint" not in out + errors
    assert "Traceback" not in errors
    assert not (tmp_path / "run").exists()


# something that each framework imports on its way
MODULES = {"torch": "torch.nn", "tf": "tensorflow.python", "mxnet": "mxnet.gluon"}


def test_an_interrupt_while_the_framework_is_imported(backend, backend_name, quick, tmp_path):
    changes = DURING_AN_IMPORT.format(module=MODULES[backend_name])
    process = train(changes, *quick, "--out", tmp_path / "run")
    assert_ended_at_once(process, 130, tmp_path)


@pytest.mark.shared
def test_a_signal_before_the_first_step(backend, quick, tmp_path):
    process = train(BEFORE_THE_FIRST_STEP, *quick, "--out", tmp_path / "run")
    assert_ended_at_once(process, 143, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_while_the_data_are_downloaded(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        process = train(
            "", "--backend", next(iter(registry.BACKENDS)), "--data", "full",
            "--out", tmp_path / "run", NIN_MIRRORS=f"http://{host}:{port}", NIN_DATA="",
            XDG_CACHE_HOME=str(tmp_path / "cache"), no_proxy="*",
        )  # fmt: skip
        # it has asked for a file, and gets none
        connection, _ = server.accept()
        with connection:
            process.send_signal(signal.SIGINT)
            assert_ended_at_once(process, 130, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
