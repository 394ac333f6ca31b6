"""Where a run writes is full or gone: what was trained is not lost, and one line says so."""

import os
import re
import resource
import subprocess
from pathlib import Path

import pytest
from commands import assert_one_clear_line
from injected import (
    SMALL,
    after_a_checkpoint,
    assert_same_weights,
    on_a_disk_of,
    process,
    train,
    without_privileges,
)

from common.training import run_directory

pytestmark = pytest.mark.long

NO_CHMOD_AND_NO_LOCKS = """
import fcntl
def refused(*arguments, **options):
    raise OSError(95, "Operation not supported")
os.chmod = os.fchmod = fcntl.flock = refused
"""


@pytest.fixture(scope="module")
def arguments(backend_name):
    return ["--backend", backend_name, *SMALL]


@pytest.fixture(scope="module")
def undisturbed(backend, arguments, tmp_path_factory):
    """A run that nothing disturbed."""
    directory = tmp_path_factory.mktemp("undisturbed") / "run"
    done = train(*arguments, "--out", directory)
    assert done.returncode == 0, done.stderr
    return directory


LOST = {
    "deleted": "shutil.rmtree(directory)",
    "renamed": "directory.rename(directory.with_name('other'))",
    "read-only": "directory.chmod(0o555)",
    "the checkpoint a directory": "[(directory / n).unlink() or (directory / n).mkdir() for n in "
    "(run_directory.CHECKPOINT,)]",
    "full": "",
}


@pytest.mark.parametrize("how", LOST)
def test_what_was_trained_is_put_elsewhere_and_goes_on_from_there(
    arguments, undisturbed, tmp_path, how
):
    place, elsewhere, left = (tmp_path / name for name in ("place", "elsewhere", "left"))
    for directory in (place, elsewhere):
        directory.mkdir()
    wrapper = without_privileges() if how == "read-only" else ()
    if how == "full":  # two checkpoints fit, and not a third beside them
        wrapper = on_a_disk_of("124k", place, f'cp -r "{place}/run" "{left}"')
    fault = after_a_checkpoint(LOST[how]) if LOST[how] else ""
    options = {"env": {**os.environ, "TMPDIR": str(elsewhere)}, "wrapper": wrapper}
    done = train(*arguments, "--out", place / "run", fault=fault, **options)
    assert_one_clear_line(done, ": cannot be written (")
    (rescued,) = re.findall(r"what was trained is in (.*); go on with --resume \1", done.stderr)
    assert Path(rescued).parent == (elsewhere if how == "full" else place)
    if how == "read-only":
        (place / "run").chmod(0o755)
    intact = {"full": left, "read-only": place / "run", "renamed": place / "other"}.get(how)
    if intact:
        assert not run_directory.load_checkpoint(intact)[2]
    resumed = train("--resume", rescued)
    assert resumed.returncode == 0, resumed.stderr
    assert_same_weights(rescued, undisturbed)


def test_a_run_that_can_be_written_nowhere_ends_in_one_line_and_leaves_what_was_there(
    arguments, tmp_path
):
    def limit():
        # the checkpoint is larger, what is beside it is smaller
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    fault = "records.Records.begin = lambda self, run: None"
    done = train(*arguments, "--out", tmp_path / "run", fault=fault, preexec_fn=limit)
    assert_one_clear_line(done, "checkpoint.safetensors: cannot be written (File too large); and ")
    assert "nowhere else either" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_file_system_without_permissions_and_locks_is_as_good(arguments, undisturbed, tmp_path):
    done = train(*arguments, "--out", tmp_path / "run", fault=NO_CHMOD_AND_NO_LOCKS)
    assert done.returncode == 0, done.stderr
    assert_same_weights(tmp_path / "run", undisturbed)


@pytest.mark.parametrize("how", ["a bit", "half", "gone"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(arguments, undisturbed, tmp_path, how):
    killed = after_a_checkpoint("os.kill(os.getpid(), signal.SIGKILL)")
    assert train(*arguments, "--out", tmp_path / "run", fault=killed).returncode == -9
    newest = tmp_path / "run" / run_directory.CHECKPOINT
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    {
        "a bit": lambda: newest.write_bytes(content),
        "half": lambda: newest.write_bytes(content[: len(content) // 2]),
        "gone": newest.unlink,
    }[how]()
    done = train("--resume", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "; going on from the one before, at epoch 1, step 2" in done.stdout
    assert newest.name in done.stdout
    assert_same_weights(tmp_path / "run", undisturbed)


def test_of_two_runs_that_are_started_at_once_in_one_place_one_runs(
    arguments, undisturbed, tmp_path
):
    place = ["--out", tmp_path / "run"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = [process(*arguments, *place, **pipes) for _ in range(2)]
    ended = []
    for each in running:
        with each:
            out, errors = each.communicate(timeout=300)
        ended.append(subprocess.CompletedProcess((), each.returncode, out, errors))
    won, lost = sorted(ended, key=lambda done: done.returncode)
    assert won.returncode == 0, won.stderr
    assert_one_clear_line(lost, str(tmp_path / "run"))
    assert_same_weights(tmp_path / "run", undisturbed)
