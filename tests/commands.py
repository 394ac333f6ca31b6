"""Run the project's commands as a person does, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def command(script, *arguments):
    return [sys.executable, str(ROOT / "scripts" / script), *map(str, arguments)]


def run(script, *arguments, **options):
    return subprocess.run(
        command(script, *arguments), capture_output=True, text=True, timeout=300, **options
    )


def assert_one_clear_line(done, words, status=2):
    assert done.returncode == status, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert words in lines[0]
