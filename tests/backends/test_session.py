"""Functions are called in a process of their own, with the user's environment and no other."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import ROOT, children, command, is_gone_soon, run

from common.backends import registry
from common.backends.session import Apart, RefusedError, call_apart, interpreters
from common.errors import NinError
from common.system import machine
from common.system.processes import LostError

MODULE = """
import os
def echo(**given):
    print("no answer")
    os.system("cat")
    return given
def raising(kind):
    raise {"os": OSError("gone"), "key": KeyError("k")}[kind]
def number():
    return object()
def variable(name):
    return os.environ.get(name)
def where():
    import common
    return common.__file__
def die():
    os._exit(0)
"""


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A module that the process finds, as it finds the user's."""
    (tmp_path / "theirs.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "theirs"


def test_a_process_answers_call_after_call_whatever_is_printed_or_read_there(theirs):
    with Apart(sys.executable, 60) as apart:
        for value in (1, "two", [3.5, None], {"four": "\n\u00e7"}):
            assert apart.call("theirs:echo", value=value) == {"value": value}


def test_what_a_function_cannot_do_is_refused_in_one_line_and_the_process_lives_on(theirs):
    with Apart(sys.executable, 60) as apart:
        for function, arguments, words in (
            ("theirs:raising", {"kind": "os"}, "^gone$"),
            ("theirs:raising", {"kind": "key"}, "^KeyError: 'k'$"),
            ("theirs:number", {}, "TypeError"),
            ("theirs:missing", {}, "AttributeError"),
            ("nowhere:f", {}, "No module named 'nowhere'"),
            ("common.backends.registry:check_spec", {"spec": "cntk"}, "cntk: unknown"),
        ):
            with pytest.raises(RefusedError, match=words):
                apart.call(function, **arguments)
        assert apart.call("theirs:echo", a=1) == {"a": 1}


def test_a_process_that_ends_instead_of_answering_is_lost(theirs):
    with pytest.raises(LostError, match="ended without an answer"):
        call_apart(sys.executable, "theirs:die", 60)


def test_an_environment_that_lacks_this_project_is_one_clear_line(tmp_path, monkeypatch):
    """As a virtual environment does in which something else is installed."""
    monkeypatch.setattr(machine, "PROJECT_DIRECTORY", tmp_path)  # it has no pyproject.toml
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(ROOT))])
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(LostError, match=rf"^{bare} has no module common; install this project"):
        Apart(str(bare), 60)


def test_an_installed_package_is_called_without_scripts_and_without_a_checkout(
    tmp_path, monkeypatch, theirs
):
    """As from a wheel: nothing stands beside the packages."""
    for package in ("common", "nin_torch", "nin_tf", "nin_mxnet"):
        shutil.copytree(ROOT / package, tmp_path / package)
    monkeypatch.setattr(machine, "PROJECT_DIRECTORY", tmp_path)
    monkeypatch.chdir(tmp_path)
    where = call_apart(sys.executable, "theirs:where", 60)
    assert Path(where).parent == tmp_path / "common"


def test_the_interpreter_of_each_backend_is_the_options_or_the_environments(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NIN_PYTHON_MXNET", "old/bin/python")
    monkeypatch.setenv("NIN_PYTHON_MY_NIN", "/own/python")
    names = ["torch", "mxnet", "my-nin"]
    assert interpreters(names) == {
        "torch": sys.executable,
        "mxnet": str(tmp_path / "old/bin/python"),
        "my-nin": "/own/python",
    }
    assert interpreters(names, ["mxnet=python3.9"])["mxnet"] == "python3.9"
    for option in ("mxnet", "mxnet=", "tf=x"):
        with pytest.raises(NinError, match=f"python={option}: must be NAME=PATH"):
            interpreters(names, [option])


COMMANDS = {
    "compare.py": "--backends torch,tf --levels shapes",
    "shapes.py": "--backend torch",
    "doctor.py": "--backend torch",
    "bench.py": "--backends torch --parts step --data sample",
}


@pytest.mark.parametrize("how", ["option", "variable"])
@pytest.mark.parametrize("script", COMMANDS)
@pytest.mark.long
def test_every_command_takes_a_backends_interpreter(tmp_path, script, how):
    path = tmp_path / "python"
    path.write_text("#!/bin/sh\necho it is me >&2\nexit 1\n")
    path.chmod(0o755)
    options = ["--python", f"torch={path}", "--python", f"tf={path}"][: 4 if "tf" in
               COMMANDS[script] else 2] if how == "option" else []  # fmt: skip
    variables = {f"NIN_PYTHON_{name}": str(path) for name in ("TORCH", "TF")}
    environment = {**os.environ, **(variables if how == "variable" else {})}
    done = run(script, *COMMANDS[script].split(), *options, cwd=tmp_path, env=environment)
    assert done.returncode != 0
    assert "it is me" in done.stderr


# what one run sets does not decide later ones, nor children


@pytest.mark.parametrize("wish", [None, "", "3", "1"])
def test_the_threads_of_one_run_decide_neither_later_ones_nor_processes(theirs, monkeypatch, wish):
    if wish is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", wish)
    first = int(wish) if wish else machine.physical_cores()
    for threads in (7, 1, 0, 9):
        with machine.prepared(threads) as number:
            assert number == (threads or first)
    assert call_apart(sys.executable, "theirs:variable", 60, name="OMP_NUM_THREADS") == wish
    monkeypatch.setenv("OMP_NUM_THREADS", "5")  # a wish from now on
    with machine.prepared() as number:
        assert number == 5


def test_only_a_comparison_switches_tf32_off(theirs, monkeypatch):
    from common.bench.run import Bench, Plan
    from common.comparison.run import EXACT

    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    variable = {"function": "theirs:variable", "name": "NVIDIA_TF32_OVERRIDE"}
    assert call_apart(sys.executable, timeout=60, environment=EXACT, **variable) == "0"
    assert call_apart(sys.executable, timeout=60, **variable) is None
    with Bench(Plan(data="sample")).start("numpy") as worker:
        assert worker.call(**variable) is None


# an interrupt leaves nothing behind

STUCK = "import time\ntime.sleep(1000)\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("script", ["compare.py", "shapes.py"])
def test_an_interrupt_leaves_no_process_and_no_file_behind(tmp_path, script, number):
    (tmp_path / "one.py").write_text(STUCK)
    (tmp_path / "two.py").write_text(STUCK)
    arguments = {
        "compare.py": ["--backends", "./one.py,./two.py", "--resize", "67"],
        "shapes.py": ["--backend", "./one.py"],
    }[script]
    interrupted(tmp_path, number, script, *arguments)


def test_an_interrupted_bench_leaves_no_process_and_no_file_behind(backend, backend_name, tmp_path):
    if backend_name not in registry.BACKENDS:
        pytest.skip("the bench takes this project's own backends")
    arguments = "--sizes 68 --batch-size 2 --repeats 1000 --seconds 0.001 --data sample"
    options = ["--backends", backend_name, *arguments.split(), "--parts", "step"]
    interrupted(tmp_path, signal.SIGINT, "bench.py", *options)


def interrupted(directory, number, script, *arguments):
    """Send a signal to a command that has started a process, and look for what it leaves."""
    temporary = directory / "temporary"
    temporary.mkdir()
    running = subprocess.Popen(
        command(script, *arguments),
        stderr=subprocess.PIPE,
        text=True,
        cwd=directory,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    try:
        until = time.monotonic() + 60
        # not the lscpu that NumPy's tests, which SciPy imports, run before the command has begun
        while not (any(temporary.iterdir()) and (workers := children(running.pid))):
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        running.send_signal(number)
    errors = running.communicate(timeout=30)[1]
    assert running.returncode == 130, errors
    assert "Traceback" not in errors
    assert all(is_gone_soon(pid) for pid in workers)
    assert list(temporary.iterdir()) == []
