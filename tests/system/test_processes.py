"""A process is asked, waited for, and ended with all that it started."""

import os
import sys
import time
from pathlib import Path

import pytest
from commands import is_gone_soon

from common.system.processes import LostError, Process, why_it_ended


def process(code, timeout=60.0):
    return Process([sys.executable, "-c", code], dict(os.environ), timeout)


@pytest.mark.parametrize(
    ("code", "timeout", "words"),
    [
        ("import os; os.kill(os.getpid(), 9)", 60, r"^crashed \(SIGKILL\)$"),
        ("import time; time.sleep(60)", 0.1, r"^no answer in 0\.1 s$"),
        ("import sys; sys.exit('error: this is why')", 60, "^this is why$"),
        ("import sys; sys.exit(3)", 60, "^exit status 3$"),
    ],
)
def test_a_process_that_crashes_hangs_or_fails_is_reported_in_few_words(code, timeout, words):
    with pytest.raises(LostError, match=words), process(code, timeout) as lost:
        lost.line()


def test_an_end_is_explained_by_signal_or_by_the_last_line():
    assert why_it_ended(-11, []) == "crashed (SIGSEGV)"
    assert why_it_ended(-99, []) == "crashed (signal 99)"
    assert why_it_ended(1, ["Traceback", "  KeyError: 'a'"]) == "KeyError: 'a'"


@pytest.mark.long
def test_a_process_that_is_gone_is_not_waited_for_though_its_child_holds_its_output():
    code = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print('last', flush=True)\n"
    )
    started = time.monotonic()
    with process(code) as parent:
        assert parent.line() == "last"
        assert parent.line() is None
    assert time.monotonic() - started < 30


def test_nothing_that_a_process_started_or_wrote_is_left_behind():
    code = (
        "import subprocess, sys, tempfile, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "print(tempfile.mkdtemp(), flush=True)\n"
        "time.sleep(60)\n"
    )
    with process(code) as parent:
        child, directory = int(parent.line()), Path(parent.line())
        assert directory.is_dir()
        parent.kill()
    assert is_gone_soon(child)
    assert not directory.parent.exists()


def test_a_program_that_is_not_there_is_one_clear_line():
    with pytest.raises(LostError, match=r"^/nowhere/python does not start \(No such file"):
        Process(["/nowhere/python"], {}, 1)
