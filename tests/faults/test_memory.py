"""A long run does not grow, and a batch that is too large is answered with one that fits."""

import os
import signal
import subprocess
import sys

import pytest
from commands import ROOT, assert_one_clear_line, command, run

from common.network import cost
from common.system import machine

# docs/faults.md says how to repeat it at length
STEPS = int(os.environ.get("NIN_STEPS", "20000"))

# As few weights as there can be, one image a step; prints the memory after each epoch.
LONG = """
import sys
from pathlib import Path
from common import fit
from common.training import records
from common.training.run import Watcher

records.RECORD_SECONDS = 3

class Memory(Watcher):
    def epoch(self, run, row):
        lines = Path("/proc/self/status").read_text().splitlines()
        print([int(line.split()[1]) for line in lines if line.startswith("VmRSS")][0], flush=True)

backend, steps, out = sys.argv[1:]
epochs = max(10, int(steps) // 10_000)
fit(backend, "sample", "fast", out=out, watchers=[Memory()], epochs=epochs,
    limit=int(steps) // epochs, batch_size=1, resize=4,
    network="channels=1,inner=0,kernels=1-1,strides=1-1,pool=2", device="cpu",
    precision="float32", threads=1, init="he", last_block="random")
"""


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_long_run_does_not_grow(backend, backend_name, tmp_path):
    command = [sys.executable, "-c", LONG, backend_name, str(STEPS), str(tmp_path / "run")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    resident = [int(line) / 1024 for line in done.stdout.split()]
    print(f"{backend_name}, {STEPS} steps, MiB after each epoch: {resident}")
    # in the first half there is loaded what draws the curves; a leak of 1 KiB a step is 10 MiB
    assert resident[-1] - resident[len(resident) // 2] < STEPS / 2000


@pytest.mark.shared
def test_a_batch_that_no_memory_holds_is_answered_with_one_that_fits(backend, backend_name):
    options = "--data sample --batch-size 10000 --resize 4096 --device cpu --backend"
    done = run("train.py", *options.split(), backend_name)
    assert_one_clear_line(done, "(a step of 10000 takes about ")
    size = int(done.stderr.split("of --batch-size ")[1].split()[0])
    assert cost.of("nin", 4096, batch_size=size).training.total < machine.memory_gib() * 2**30


LIMIT = 1200 * 2**20


@pytest.fixture
def group():
    """A control group whose processes have :data:`LIMIT` bytes together."""
    directory = next(machine._control_groups("memory"), None)
    if directory is None:
        pytest.skip("this system has no control groups")
    directory /= f"nin-{os.getpid()}"
    try:
        directory.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        limits = [directory / name for name in ("memory.limit_in_bytes", "memory.max")]
        limits = [path for path in limits if path.exists()]
        if not limits:
            pytest.skip("this system's control groups do not limit memory")
        limits[0].write_text(str(LIMIT))
        yield directory
    finally:
        directory.rmdir()


@pytest.mark.long
def test_a_control_groups_limit_is_foreseen_and_what_it_kills_goes_on(
    backend, backend_name, group, tmp_path
):
    def within(*arguments):
        enter = ["sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', group]
        return subprocess.run(
            [*enter, *command("train.py", "--backend", backend_name, *arguments)],
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    options = ["--preset", "fast", "--data", "sample", "--device", "cpu", "--precision", "float32"]
    options += ["--out", tmp_path / "run"]
    assert_one_clear_line(within(*options, "--batch-size", 8000), "1.20 GiB of memory; take a")
    assert not (tmp_path / "run").exists()
    # the program itself takes more than what is left
    size = 8000
    while cost.of("nin", 68, batch_size=size, optimizer="muon").training.total > 0.9 * LIMIT:
        size -= 100
    killed = within(*options, "--batch-size", size)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert f"memory may not suffice (a step of {size} takes about " in killed.stdout
    done = run("train.py", "--resume", tmp_path / "run")
    assert done.returncode == 0, done.stderr
