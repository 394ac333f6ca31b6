"""The commands as a person uses them: each in a process of its own."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import ROOT, assert_one_clear_line, command, run, run_here

from common.backends import registry
from common.errors import NinError
from common.files import sealed
from common.files.arrays import load_arrays
from common.network import architecture
from common.system import machine
from common.training import run_directory

SCRIPTS = sorted(path.name for path in (ROOT / "scripts").glob("[a-z]*.py"))


BAD_INPUT = {
    "unknown backend": (
        "--backend cntk",
        "--backend cntk: unknown; choose one of torch, tf, mxnet",
    ),
    "unknown preset": ("--preset slow", "--preset slow: unknown; choose one of book, fast"),
    "an option that is nearly one": (
        "--epoch 3",
        "unrecognized arguments: --epoch 3; did you mean --epochs?; --help",
    ),
    "another program's option": (
        "--learning-rate=0.1",
        "unrecognized arguments: --learning-rate=0.1; did you mean --lr?; --help",
    ),
    "unknown option": ("--cats 3 --epochs 1", "unrecognized arguments: --cats 3; --help"),
    "not a number": ("--epochs three", "invalid float value: 'three'"),
    "no epochs": ("--epochs 0", "--epochs 0.0: must be a number above 0"),
    "negative learning rate": ("--lr -0.1", "--lr -0.1: must be a number above 0"),
    "learning rate not a number": ("--lr nan", "--lr nan: must be"),
    "infinite learning rate": ("--lr inf", "--lr inf: must be"),
    "no batch": ("--batch-size 0", "--batch-size 0: must be"),
    "negative seed": ("--seed -1", "--seed -1: must be"),
    "absurd threads": ("--threads 100000", "--threads 100000: must be"),
    "resize too small": ("--resize 66", "the smallest that works is 67"),
    "absurd resize": ("--resize 100000", "--resize 100000: must be"),
    "dropout of everything": ("--dropout 1", "--dropout 1.0: must be"),
    "unknown optimizer": ("--optimizer adam", "--optimizer adam: must be sgd, adamw, muon"),
    "unknown schedule": (
        "--schedule cosine",
        "--schedule cosine: must be constant, one-cycle, linear",
    ),
    "unknown init": ("--init zeros", "--init zeros: must be xavier, he or data"),
    "unknown device": ("--device tpu", "--device tpu: must be auto, cpu, gpu"),
    "unknown precision": ("--precision half", "--precision half: must be"),
    "a target spread over all classes alone": (
        "--label-smoothing 1",
        "--label-smoothing 1.0: must be",
    ),
    "images moved out of sight": ("--shift 15", "--shift 15: must be"),
    "momentum of adamw": ("--optimizer adamw --momentum 0.9", "only the sgd optimizer has it"),
    "batch larger than the data": (
        "--data sample --limit 100 --batch-size 101",
        "--batch-size 101: larger than the data (100 training examples)",
    ),
    "limit beyond the data": ("--data sample --limit 20000", "only 10000 training examples"),
    "limit of nothing": ("--limit 0", "--limit 0: must be"),
    "validation of everything": ("--data sample --validation 10000", "leaves nothing of 10000"),
    "data of no name": ("--data= --epochs 1", "--data : must be auto, full, sample or a directory"),
    "no such data": ("--data nowhere", "data nowhere: no such directory"),
    "not a run": ("--resume .", "not a run directory (it has no config.json)"),
    "no such run": ("--resume nowhere", "not a run directory"),
    "out beside resume": ("--resume . --out new", "--out: a resumed run stays"),
}


@pytest.mark.parametrize(("arguments", "words"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_to_train_gets_one_clear_line(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    done = run_here("train.py", *arguments.split())
    assert_one_clear_line(done, words)
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(tmp_path):
    done = run("train.py", "--resize", "5", "--debug", cwd=tmp_path)
    assert done.returncode != 0
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_teaches_with_examples(script):
    done = run_here(script, "--help")
    assert done.returncode == 0
    assert "examples:" in done.stdout


def test_make_help_names_every_target_and_every_command():
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    done = subprocess.run(["make", "help"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert {f"make {target}" for target in targets.split()} - {"make help"} == set(
        re.findall(r"^make [\w-]+", done.stdout, re.MULTILINE)
    )
    assert sorted(re.findall(r"\w+\.py", done.stdout)) == sorted(["NAME.py", *SCRIPTS])


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("file", ["common/__init__.py", "common.py"])
def test_somebody_elses_package_of_the_same_name_is_named(tmp_path, script, file):
    theirs = tmp_path / "theirs" / file
    theirs.parent.mkdir(parents=True)
    theirs.write_text("")
    path = os.pathsep.join([str(tmp_path / "theirs"), str(ROOT)])
    done = run(script, "--help", env={**os.environ, "PYTHONPATH": path})
    place = theirs.parent if theirs.name == "__init__.py" else theirs
    assert_one_clear_line(done, f"{place} is a package of the same name as this project's common")
    assert done.stdout == ""


@pytest.mark.long
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_mere_directory_of_the_same_name_is_named_if_it_is_in_the_way(tmp_path, script):
    (tmp_path / "common").mkdir()
    # -S: without the packages that are installed, but for those that are named
    bare = [sys.executable, "-S", str(ROOT / "scripts" / script), "--help"]
    numpy = str(Path(np.__file__).parents[1])
    for path, status in (([tmp_path, numpy], 2), ([tmp_path, numpy, ROOT], 0)):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
        done = subprocess.run(bare, capture_output=True, text=True, env=environment)
        assert done.returncode == status, done.stderr
        if status:
            assert_one_clear_line(done, f"{tmp_path / 'common'} is a package of the same name")


@pytest.mark.parametrize("script", SCRIPTS)
def test_without_an_installation_one_line_says_what_to_do(script):
    # -S: without the packages that are installed
    done = subprocess.run(
        [sys.executable, "-S", str(ROOT / "scripts" / script)],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert_one_clear_line(done, "the project is not installed for")


def test_a_directory_that_holds_something_is_never_written_to(tmp_path):
    (tmp_path / "precious").write_text("mine")
    done = run_here("train.py", "--data", "sample", "--out", tmp_path)
    assert_one_clear_line(done, "exists and is not an empty directory")
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_an_out_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    done = run_here("train.py", "--data", "sample", "--out", tmp_path / "file")
    assert_one_clear_line(done, "exists and is not an empty directory")


def test_shapes_of_an_image_too_small_name_the_smallest_that_works():
    assert_one_clear_line(run_here("shapes.py", "--resize", "10"), "the smallest that works is 67")


def test_shapes_of_an_unknown_backend_are_refused():
    assert_one_clear_line(
        run_here("shapes.py", "--backend", "cntk"), "choose one of torch, tf, mxnet"
    )


def test_the_doctor_refuses_an_unknown_backend():
    assert_one_clear_line(
        run_here("doctor.py", "--backend", "cntk"), "choose one of torch, tf, mxnet"
    )


@pytest.mark.parametrize("name", list(registry.BACKENDS))
def test_a_backend_that_is_not_installed_is_named_with_what_to_install(tmp_path, name):
    """As on a machine without it: the framework is hidden from a fresh interpreter."""
    _, framework = registry.BACKENDS[name]
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.abc, sys\n"
        "class Hide(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] == {framework!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hide())\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = run("train.py", "--data", "sample", "--backend", name, env=environment, cwd=tmp_path)
    assert_one_clear_line(done, f"backend {name}: {framework} is not installed; ")
    assert f"make train BACKEND={name}" in done.stderr


def framework_is_missing(name):
    return importlib.util.find_spec(registry.BACKENDS[name][1]) is None


@pytest.mark.long
def test_shapes_of_all_backends_stand_side_by_side_and_agree(tmp_path):
    missing = list(filter(framework_is_missing, registry.BACKENDS))
    if missing and os.environ.get("CI"):
        pytest.fail(f"not installed: {missing}")
    if missing:
        pytest.skip(f"not installed: {missing}")
    done = run("shapes.py", "--backend", "all", "--json", tmp_path / "all.json")
    assert done.returncode == 0, done.stderr
    assert "the backends agree" in done.stdout
    assert list(json.loads((tmp_path / "all.json").read_text())["backends"]) == [
        "torch", "tf", "mxnet",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def doctor():
    """The doctor of all backends."""
    return run("doctor.py", env={**os.environ, "COLUMNS": "200"})


@pytest.mark.long
def test_the_doctor_prints_what_to_install_unabridged(doctor):
    """Square brackets are markup to the library that draws the table."""
    done = doctor
    assert done.returncode == 0, done.stderr
    assert "embedded sample" in done.stdout
    for name in filter(framework_is_missing, registry.BACKENDS):
        assert f".[{name}]" in done.stdout or "Python 3.10 to 3.12" in done.stdout


@pytest.mark.long
def test_the_doctor_lists_nothing_twice(doctor):
    table = doctor.stdout.split("backends")[0]
    names = re.findall(r"│ (\w[\w ]*?) +│", table)
    assert "python" in names
    assert len(names) == len(set(names))


@pytest.mark.long
def test_the_doctor_reports_the_environment_as_it_found_it():
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    for given in ({}, {"OMP_NUM_THREADS": "1"}):
        done = run("doctor.py", "--backend", "mxnet", "--json", env={**environment, **given})
        report = json.loads(done.stdout)
        assert report["environment"].get("OMP_NUM_THREADS") == given.get("OMP_NUM_THREADS")
        threads = int(given.get("OMP_NUM_THREADS", machine.physical_cores()))
        assert report["machine"]["threads"] == threads


@pytest.mark.long
def test_an_out_that_cannot_be_written_is_refused():
    done = run("train.py", "--data", "sample", "--out", "/dev/null/run", "--backend", "torch")
    if framework_is_missing("torch"):
        assert_one_clear_line(done, "not installed")
    else:
        assert_one_clear_line(done, "--out /dev/null/run: cannot be written")


# ------------------------------------------------------- with a backend


@pytest.fixture(scope="module")
def quick(backend_name):
    """Arguments of a run of some seconds."""
    data = "--data sample --limit 128 --batch-size 32 --resize 67"
    return ["--backend", backend_name, "--preset", "fast", *data.split(), "--device", "cpu",
            "--threads", "1"]  # fmt: skip


# tests/test_signals.py has the others too
STOPS = (signal.SIGINT, signal.SIGTERM)
# in the first a run is killed, in the next ones it is stopped, and one is for the end
EPOCHS = 2 + len(STOPS)


@pytest.fixture(scope="module")
def whole(backend, quick, tmp_path_factory):
    """A complete run that nothing disturbed: what it printed, and its directory."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    done = run("train.py", *quick, "--epochs", EPOCHS, "--seed", 7, "--out", directory)
    assert done.returncode == 0, done.stderr
    return done, directory


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of that run, to be spoilt."""
    return Path(shutil.copytree(whole[1], tmp_path / "copy"))


def test_train_prints_the_books_two_lines_and_where_the_run_is(whole):
    done, directory = whole
    where, book, speed, notice = done.stdout.splitlines()[-4:]
    result = json.loads((directory / "result.json").read_text())
    assert book == (
        f"loss {result['train_loss']:.3f}, train acc {result['train_accuracy']:.3f}, "
        f"test acc {result['test_accuracy']:.3f}"
    )
    assert speed == f"{result['examples_per_second']:.1f} examples/sec on {result['device']}"
    assert "embedded sample" in notice
    assert where.endswith(str(directory))
    assert "Traceback" not in done.stderr


def test_the_configuration_records_settings_versions_data_and_machine(backend, whole):
    config = json.loads((whole[1] / "config.json").read_text())
    assert config["settings"]["seed"] == 7
    assert config["settings"]["preset"] == "fast"
    assert set(config["versions"]) >= {"python", "numpy", *backend.versions()}
    assert len(config["data"]["sha256"]) >= 4
    assert config["threads"] >= 1
    assert "git_commit" in config


# A checkpoint is due after every step here; kill -9 comes in the middle of the first epoch.
KILLED = """
import os, signal, sys
sys.path.insert(0, "scripts")
import train
from common.terminal import command_line
from common.training import records, run, run_directory
records.RECORD_SECONDS = run.METRICS_SECONDS = 0
save = run_directory.save_checkpoint
def save_and_die(directory, state, progress):
    save(directory, state, progress)
    if progress.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
run_directory.save_checkpoint = save_and_die
command_line.run(train.command, train.parser())
"""


@pytest.mark.long
def test_a_run_that_is_killed_and_stopped_goes_on_exactly_from_its_checkpoints(
    whole, quick, tmp_path
):
    """Killed outright in one epoch and stopped in the next ones, it ends as the undisturbed one."""
    directory = tmp_path / "run"
    arguments = [*quick, "--epochs", EPOCHS, "--seed", 7, "--out", directory]
    killed = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL

    for number in STOPS:
        process = subprocess.Popen(
            command("train.py", "--resume", directory),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        for line in process.stdout:
            if line.startswith("epoch "):
                process.send_signal(number)
                break
        rest, errors = process.communicate()
        assert process.returncode == 128 + number, errors
        assert f"continue with --resume {directory}" in rest
        assert json.loads((directory / "result.json").read_text())["complete"] is False

    done = run("train.py", "--resume", directory)
    assert done.returncode == 0, done.stderr
    expected, _ = load_arrays(whole[1] / "model.safetensors")
    found, _ = load_arrays(directory / "model.safetensors")
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


# Says whether the run is locked when its checkpoint is read.
WHEN_IT_IS_READ = """
import sys
sys.path.insert(0, "scripts")
import train
from common.errors import NinError
from common.terminal import command_line
from common.training import run_directory
load = run_directory.load_checkpoint
def load_checkpoint(directory):
    try:
        with run_directory.lock(directory):
            print("unlocked")
    except NinError:
        print("locked")
    return load(directory)
run_directory.load_checkpoint = load_checkpoint
command_line.run(train.command, train.parser())
"""


def test_a_checkpoint_is_read_once_and_when_nobody_else_can_write_it(copy):
    before = (copy / "checkpoint.safetensors").read_bytes()
    script = [sys.executable, "-c", WHEN_IT_IS_READ, "--resume", str(copy)]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True)
    assert_one_clear_line(done, "that run is complete")
    assert done.stdout.splitlines()[-1] == "locked"
    assert done.stdout.count("locked") == 1
    assert (copy / "checkpoint.safetensors").read_bytes() == before


FULL_FROM_THE_START = """
import sys
sys.path.insert(0, "scripts")
import train
from common.terminal import command_line
from common.training import fit
def run(*arguments, **options):
    raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 MiB")
fit.Run = run
command_line.run(train.command, train.parser())
"""


@pytest.mark.shared
def test_a_device_too_full_for_the_network_is_one_clear_line(backend, quick, tmp_path):
    arguments = [*map(str, quick), "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-c", FULL_FROM_THE_START, *arguments],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert_one_clear_line(done, "out of memory; take a smaller --batch-size")
    assert not (tmp_path / "run").exists()


def also(redirection):
    """One that make test leaves to make test-long."""
    return pytest.param(redirection, marks=pytest.mark.long)


@pytest.mark.parametrize("closed", [also(">&-"), also("2>&-"), also(">&- 2>&-"), "<&- >&- 2>&-"])
@pytest.mark.shared
def test_nobody_needs_to_listen_to_a_run(backend, quick, tmp_path, closed):
    train = command("train.py", *quick, "--epochs", "0.2", "--out", tmp_path / "run")
    done = subprocess.run(f"{shlex.join(train)} {closed}", shell=True, capture_output=True)
    assert (done.returncode, done.stderr if "2>" not in closed else b"") == (0, b"")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["settings"]["epochs"] == 0.2
    load_arrays(tmp_path / "run" / "model.safetensors")


@pytest.mark.parametrize("closed", [also(">&-"), "2>&-"])
@pytest.mark.shared
def test_nobody_needs_to_listen_to_shapes(backend, backend_name, tmp_path, closed):
    file = tmp_path / "shapes.json"
    shapes = command("shapes.py", "--backend", backend_name, "--resize", 67, "--json", file)
    done = subprocess.run(f"{shlex.join(shapes)} {closed}", shell=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert backend_name in json.loads(file.read_text())["backends"]


def test_a_complete_run_is_not_trained_further(copy):
    before = (copy / "model.safetensors").read_bytes()
    done = run("train.py", "--resume", copy)
    assert_one_clear_line(done, "is complete")
    assert (copy / "model.safetensors").read_bytes() == before


@pytest.mark.shared
def test_a_complete_run_that_is_to_go_on_by_itself_keeps_its_settings_and_data(quick, copy):
    again = [*quick, "--epochs", EPOCHS, "--seed", 7, "--out", copy, "--resume", "auto"]
    done = run_here("train.py", *again)
    assert (done.returncode, done.stderr) == (0, "")
    assert "complete already" in done.stdout
    done = run_here("train.py", *again, "--lr", "0.5")
    assert_one_clear_line(done, "that run has --lr 0.03, not 0.5; leave it out")
    config = run_directory.open_run(copy)
    config["data"]["sha256"] = dict.fromkeys(config["data"]["sha256"], "of another file")
    sealed.write(copy / run_directory.CONFIG, config)
    done = run_here("train.py", *again)
    assert_one_clear_line(done, "the run was trained on another ")


@pytest.mark.shared
def test_a_resumed_run_keeps_its_settings_and_its_checkpoint_must_be_whole(backend_name, copy):
    other = "torch" if backend_name != "torch" else "tf"
    for arguments, words in (
        (["--backend", other], f"that run has --backend {backend_name}, not {other}"),
        (["--preset", "book"], "that run has --preset fast, not book"),
        (["--lr", "0.5"], "that run has --lr 0.03, not 0.5"),
    ):
        assert_one_clear_line(run("train.py", "--resume", copy, *arguments), words)

    (copy / "checkpoint.previous.safetensors").unlink()
    checkpoint = copy / "checkpoint.safetensors"
    content = bytearray(checkpoint.read_bytes())
    content[-1000] ^= 1
    for damaged in (bytes(content), content[:5000], b"", b"no safetensors file"):
        checkpoint.write_bytes(damaged)
        assert_one_clear_line(run("train.py", "--resume", copy), "checkpoint.safetensors")
    checkpoint.unlink()
    assert_one_clear_line(run("train.py", "--resume", copy), "has no checkpoint.safetensors")


@pytest.mark.shared
def test_a_missing_gpu_is_one_clear_line(backend, quick, tmp_path):
    if has_gpu(backend):
        pytest.skip("this machine has a GPU")
    done = run_here("train.py", *quick, "--device", "gpu", "--out", tmp_path / "run")
    assert_one_clear_line(done, "--device gpu: ")
    assert not (tmp_path / "run").exists()


def has_gpu(backend):
    try:
        return backend.find_device("gpu").kind == "gpu"
    except NinError:
        return False


def test_a_precision_that_the_backend_lacks_is_one_clear_line(backend, quick):
    lacking = {"float32", "bfloat16", "float64"} - set(backend.PRECISIONS)
    if not lacking:
        pytest.skip("this backend has every precision")
    done = run_here("train.py", *quick, "--precision", lacking.pop())
    assert_one_clear_line(done, "--precision ")


@pytest.mark.shared
def test_shapes_of_a_backend_print_one_line_per_layer_and_write_json(
    backend, backend_name, tmp_path
):
    file = tmp_path / "shapes.json"
    done = run_here("shapes.py", "--backend", backend_name, "--resize", 67, "--json", file)
    assert done.returncode == 0, done.stderr
    layers = json.loads(file.read_text())["backends"][backend_name]
    assert len(done.stdout.splitlines()) == len(layers)
    named = {layer["name"]: tuple(layer["shape"]) for layer in layers if layer["name"]}
    assert named == architecture.layer_shapes(67)


@pytest.mark.shared
def test_the_doctor_finds_the_backend(backend, backend_name):
    done = run("doctor.py", "--backend", backend_name, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["backends"][backend_name]["works"] is True
    assert report["backends"][backend_name]["devices"][0] == backend.find_device("cpu").name
    assert any(place["state"].startswith("intact") for place in report["data"])
