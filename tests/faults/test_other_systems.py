"""Without what only Linux has: it works all the same, or one line says what does."""

import subprocess
import sys

import pytest
from commands import ROOT, assert_one_clear_line
from injected import SMALL, train

# As on macOS: no affinity, no /proc and /sys, no glibc.
MACOS = """
del os.sched_getaffinity
import ctypes, platform, pathlib
from common.system import machine
def missing(*arguments, **options):
    raise FileNotFoundError(2, "No such file or directory")
read_text = pathlib.Path.read_text
pathlib.Path.read_text = lambda path, *rest, **more: (
    missing() if str(path).startswith(("/proc", "/sys")) else read_text(path, *rest, **more)
)
machine.PROCESS = machine.CONTROL_GROUPS = Path("/nowhere")
platform.libc_ver = lambda *arguments, **options: ("", "")
ctypes.CDLL = missing
"""

WINDOWS = "import sys; sys.platform = 'win32'; sys.path.insert(0, 'scripts'); import {module}"


@pytest.mark.long
def test_a_run_needs_nothing_that_only_linux_has(backend, backend_name, tmp_path):
    # what the framework itself loads comes first
    fault = f"from common.backends import registry; registry.load({backend_name!r})\n{MACOS}"
    done = train("--backend", backend_name, *SMALL, "--out", tmp_path / "run", fault=fault)
    assert done.returncode == 0, done.stderr
    assert "default" in (tmp_path / "run" / "config.json").read_text()


@pytest.mark.parametrize("module", ["train", "doctor", "common"])
def test_on_windows_one_line_says_what_does_work(module):
    program = [sys.executable, "-c", WINDOWS.format(module=module)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    if module == "common":
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("ImportError: this project runs on Linux; on Windows")
    else:
        assert_one_clear_line(done, "on Windows, install and run it in WSL")
