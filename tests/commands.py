"""Run the project's commands as a person does, each in a process of its own, or faster in this."""

import contextlib
import functools
import importlib.util
import io
import re
import subprocess
import sys
import time
from pathlib import Path

from common.terminal import command_line

ROOT = Path(__file__).parents[1]
# words that are in no Turkish text
ENGLISH = re.compile(
    r"(?<!')\b(the|of|is|are|and|with|images?|training|that|which|in|for|one|to|a|"
    r"train(?!\.py)|class|classes|threads|cores|device|rounds|out)\b"
)


def command(script, *arguments):
    return [sys.executable, str(ROOT / "scripts" / script), *map(str, arguments)]


def run(script, *arguments, **options):
    return subprocess.run(
        command(script, *arguments), capture_output=True, text=True, timeout=300, **options
    )


def run_here(script, *arguments):
    """The same without a process of its own, for what needs none; in the current directory."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        try:
            module = _script(script)
            status = command_line.execute(
                module.command, module.parser(), list(map(str, arguments))
            )
        except SystemExit as stop:  # what argparse itself refuses
            status = stop.code
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


@functools.cache
def _script(name):
    path = ROOT / "scripts" / name
    sys.path.insert(0, str(path.parent))  # for what it imports from beside it
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(path.parent))
    return module


def assert_one_clear_line(done, words, status=2):
    assert done.returncode == status, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert words in lines[0]


def is_gone_soon(pid):
    """Whether a process is gone, once the system has had the time to end one that was killed."""
    until = time.monotonic() + 10
    while not (gone := _is_gone(pid)) and time.monotonic() < until:
        time.sleep(0.05)
    return gone


def _is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def children(pid):
    """The process ids of its children."""
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
