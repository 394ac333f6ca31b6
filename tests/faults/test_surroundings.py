"""Odd clocks, terminals, users and places: the run is the same, bit for bit."""

import fcntl
import os
import pty
import shutil
import struct
import subprocess
import termios

import pytest
from injected import SMALL, assert_same_weights, process, train

pytestmark = pytest.mark.long

# the clock goes back a day with every look at it
BACKWARDS = "import itertools, time\ntime.time = map(float, itertools.count(1e9, -86400)).__next__"


@pytest.fixture(scope="module")
def undisturbed(backend, backend_name, tmp_path_factory):
    directory = tmp_path_factory.mktemp("undisturbed") / "run"
    done = train("--backend", backend_name, *SMALL, "--out", directory)
    assert done.returncode == 0, done.stderr
    return directory


def a_stranger():
    """A wrapper for a user who is in no list and has no home, if this one is root."""
    if os.geteuid() or shutil.which("setpriv") is None:
        return ()
    # Python itself may be where only root can read
    capability = "+dac_read_search"
    return ("setpriv", "--reuid=54321", "--clear-groups", f"--inh-caps={capability}",
            f"--ambient-caps={capability}", "--")  # fmt: skip


def test_an_unknown_user_without_home_utf8_or_clock_in_a_place_with_odd_letters(
    backend_name, undisturbed, tmp_path
):
    place = tmp_path / "Çağrı'nın ödevi, şimdi"
    temporary = tmp_path / "temporary"
    for directory in (place, temporary):
        directory.mkdir()
        directory.chmod(0o777)
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    names = ("HOME", "LANG", "LANGUAGE", "XDG_CACHE_HOME", "USER", "LOGNAME", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {
        "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "FORCE_COLOR": "1",
        "TERM": "dumb", "TMPDIR": str(temporary), "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }  # fmt: skip
    arguments = ["--backend", backend_name, *SMALL, "--out", place / "run"]
    done = train(*arguments, fault=BACKWARDS, wrapper=a_stranger(), env=environment)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout
    assert "e-" not in done.stdout
    assert_same_weights(place / "run", undisturbed)


def set_size(terminal, rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def test_a_terminal_that_is_narrow_changes_its_size_and_is_closed(
    backend_name, undisturbed, tmp_path
):
    """The run is told by the system that its terminal is gone, and keeps what it has."""
    ours, theirs = pty.openpty()
    set_size(theirs, 4, 20)
    arguments = ["--backend", backend_name, *SMALL, "--out", tmp_path / "run"]

    def take_terminal():
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    environment = {**os.environ, "TERM": "xterm"}
    with process(*arguments, env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
                 preexec_fn=take_terminal) as running:  # fmt: skip
        os.close(theirs)
        seen = b""
        while b"epoch 1:" not in seen:
            seen += os.read(ours, 10_000)
            set_size(ours, 50 + len(seen) % 3, 20 + len(seen) % 200)
        os.close(ours)
        running.wait(timeout=300)
    assert b"Traceback" not in seen
    assert running.returncode in (0, 129)
    if running.returncode:
        assert train("--resume", tmp_path / "run").returncode == 0
    assert_same_weights(tmp_path / "run", undisturbed)


def test_a_reader_who_has_seen_enough_does_not_end_the_run(backend_name, undisturbed, tmp_path):
    arguments = ["--backend", backend_name, *SMALL, "--out", tmp_path / "run"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with process(*arguments, **pipes) as running:
        running.stdout.readline()
        running.stdout.close()
        errors = running.stderr.read()
    assert running.returncode == 0, errors
    assert "Traceback" not in errors
    assert_same_weights(tmp_path / "run", undisturbed)
