"""scripts/train.py in a process of its own, small and with checkpoints often, and faults in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import ROOT

from common.files.arrays import load_arrays
from common.training.run_directory import MODEL

# A checkpoint is due after every step; then comes the fault.
TRAIN = """
import os, shutil, signal, sys
from pathlib import Path
sys.path.insert(0, "scripts")
import train
from common.data import fashion_mnist
from common.terminal import command_line
from common.training import records, run, run_directory
records.RECORD_SECONDS = run.METRICS_SECONDS = -1
{fault}
command_line.run(train.command, train.parser())
"""

# once, in the middle of the first epoch
AFTER_A_CHECKPOINT = """
save = run_directory.save_checkpoint
def save_and_fail(directory, state, progress):
    save(directory, state, progress)
    if progress.step == 3:
        run_directory.save_checkpoint = save
        {fault}
run_directory.save_checkpoint = save_and_fail
"""

# 38 steps of a network that has all of the chapter's layers and few weights
# fmt: off
SMALL = (
    "--preset", "fast", "--network", "channels=8-8-8", "--data", "sample", "--limit", "300",
    "--batch-size", "16", "--resize", "67", "--epochs", "2", "--threads", "1", "--device", "cpu",
    "--precision", "float32", "--dropout", "0.5", "--shift", "1", "--flip",
)
# fmt: on


def process(*arguments, fault="", wrapper=(), **options):
    """A process that trains with a fault, which is Python code.

    A wrapper is a command that runs another.
    """
    code = TRAIN.format(fault=fault)
    command = [*wrapper, sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, text=True, cwd=ROOT, **options)


def train(*arguments, **options):
    """The same, waited for."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with process(*arguments, **pipes, **options) as running:
        out, errors = running.communicate(timeout=300)
    return subprocess.CompletedProcess(arguments, running.returncode, out, errors)


def assert_same_weights(directory, other):
    """Bit for bit, of two runs."""
    found, expected = (load_arrays(Path(d) / MODEL)[0] for d in (directory, other))
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def after_a_checkpoint(fault):
    """A fault, one line of Python, that comes after the checkpoint in a ``directory``."""
    return AFTER_A_CHECKPOINT.format(fault=fault)


def without_privileges():
    """A wrapper in which the permissions of files hold for root too."""
    if os.geteuid():
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("permissions mean nothing to root, and setpriv is not here")
    return ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")


def on_a_disk_of(size, place, script):
    """A wrapper that runs a command on a file system of its own, and then a script of a shell.

    Args:
        size: of the file system, such as ``1m``.
        place: a directory, where it is.
        script: runs afterwards, as what is there is then gone.
    """
    inside = (
        f'mount -t tmpfs -o size={size} tmpfs "{place}" && "$@"; status=$?; {script}; exit $status'
    )
    wrapper = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside, "sh")
    if subprocess.run([*wrapper, "true"], capture_output=True).returncode:
        pytest.skip("no file system of one's own can be mounted here")
    return wrapper
