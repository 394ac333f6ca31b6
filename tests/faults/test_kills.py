"""kill -9 at any moment: --resume goes on, to the weights of an undisturbed run bit for bit."""

import datetime
import os
import random
import signal
import subprocess
import time

import pytest
from injected import SMALL, assert_same_weights, process, train

# NIN_KILLS=50 is what docs/faults.md reports
KILLS = int(os.environ.get("NIN_KILLS", "12"))

# Ends at one of the operations that write a file, in the middle of it where it has one.
AT_AN_OPERATION = """
import atexit, tempfile
left = {number}
atexit.register(lambda: print({number} - left))
def counted(function):
    def wrapped(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return wrapped
for module, names in ((os, ("fsync", "chmod", "replace")), (tempfile, ("mkstemp",))):
    for name in names:
        setattr(module, name, counted(getattr(module, name)))
class Halfway:
    def __init__(self, file):
        self.file = file
    def write(self, content):
        self.file.write(content[: len(content) // 2])
        self.file.flush()
        counted(self.file.write)(content[len(content) // 2 :])
    def __getattr__(self, name):
        return getattr(self.file, name)
    def __enter__(self):
        return self
    def __exit__(self, *_):
        self.file.close()
fdopen = os.fdopen
def halfway(descriptor, mode="r", *arguments, **options):
    file = fdopen(descriptor, mode, *arguments, **options)
    return Halfway(file) if mode == "wb" else file
os.fdopen = halfway
"""


def begun(*arguments, **options):
    """A run of ``--backend``, where it begins to train, or says that it is complete."""
    running = process(*arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options)
    for line in running.stdout:
        if f" with {arguments[1]} on " in line or "complete already" in line:
            return running
    raise AssertionError(f"did not say that it begins: {running.wait()}")


def undisturbed(*arguments):
    """A run to its end; how many operations it has, and how many seconds it takes from there."""
    with begun(*arguments, fault=AT_AN_OPERATION.format(number=0)) as running:
        start = time.monotonic()
        out, _ = running.communicate(timeout=300)
    assert running.returncode == 0
    return int(out.split()[-1]), time.monotonic() - start


def killed_after(seconds, *arguments):
    """Kill a run so long after it begins to train; the exit status."""
    with begun(*arguments) as running:
        try:
            running.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            running.kill()
    return running.returncode


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_however_often_a_run_is_killed_it_ends_with_the_same_weights(
    backend, backend_name, tmp_path
):
    chance = random.Random(datetime.date.today().toordinal())
    print("the moments of", datetime.date.today())
    arguments = ["--backend", backend_name, *SMALL, "--resume", "auto", "--out"]
    operations, seconds = undisturbed(*arguments, tmp_path / "undisturbed")
    kills = runs = 0
    directory = tmp_path / "0"
    while kills < KILLS or runs == 0:
        if kills == KILLS:
            status = train(*arguments, directory).returncode
        elif kills % 2:
            status = killed_after(chance.uniform(0, seconds), *arguments, directory)
        else:
            fault = AT_AN_OPERATION.format(number=chance.randint(1, operations))
            status = train(*arguments, directory, fault=fault).returncode
        if status == 0:
            assert_same_weights(directory, tmp_path / "undisturbed")
            runs += 1
            directory = tmp_path / str(runs)
        else:
            assert status == -signal.SIGKILL, status
            kills += 1
    print(f"{kills} kills, {runs} runs")
