"""Several workers, each a real process, train as one does, and end together."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import ROOT, assert_one_clear_line, children, command, is_gone_soon, run, run_here
from hypothesis import given
from hypothesis import strategies as st

from common.files.arrays import load_arrays
from common.training import launch
from common.training.workers import Workers, expected

STEPS = 30
# the last batch of an epoch is smaller, and odd
EXAMPLES, BATCH = 190, 32


@given(st.integers(1, 500), st.integers(1, 9))
def test_the_shares_of_a_batch_are_the_batch_and_differ_by_one_example_at_most(size, count):
    batch, shares = np.arange(size), []
    for rank in range(count):
        worker = Workers()
        worker.rank, worker.count = rank, count
        shares.append(worker.share(batch))
    np.testing.assert_array_equal(np.concatenate(shares), batch)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("backend", ["torch", "tf", "mxnet"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_launcher_announces_its_workers_as_each_framework_reads_it(backend, count):
    for member in launch.members(backend, count):
        assert expected(backend, member.environment) == count


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, ["0", "1", "2"]), ("3,5,7", ["3", "5", "7"]), ("4,2", ["4", "2", ""]), ("", [""] * 3)],
)
def test_each_worker_on_a_machine_sees_one_gpu_of_those_that_the_user_gives(
    given, expected, monkeypatch
):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    for backend in ("tf", "mxnet"):
        workers = [each for each in launch.members(backend, 3) if each.works]
        assert [each.environment["CUDA_VISIBLE_DEVICES"] for each in workers] == expected


@pytest.mark.parametrize("value", ["", "none", "{}", "[]", '{"cluster": 3}', "-1"])
def test_variables_that_announce_nothing_mean_one_worker(value):
    for backend, name in (
        ("torch", "WORLD_SIZE"),
        ("tf", "TF_CONFIG"),
        ("mxnet", "DMLC_NUM_WORKER"),
    ):
        assert expected(backend, {name: value}) == 1
        assert expected(backend, {}) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    {
        "no workers": (["--workers", "0"], "--workers 0: must be a whole number"),
        "its backend too late": (["--", "--backend", "tf"], "--backend: name it before --"),
        "another backend": (["--backend", "examples/nin_numpy.py"], "unknown; choose one of"),
    }.values(),
)
def test_bad_input_to_the_launcher_gets_one_clear_line(arguments, words):
    assert_one_clear_line(run_here("launch.py", *arguments), words)


def test_a_resumption_that_finds_its_place_itself_needs_to_know_the_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_here("train.py", "--resume", "auto")
    assert_one_clear_line(done, "--resume auto: name the directory of the run with --out")


# ------------------------------------------------------- with a backend


def options(out, epochs=STEPS / 6):
    words = f"--preset fast --data sample --limit {EXAMPLES} --batch-size {BATCH} --resize 67"
    words += f" --precision float64 --dropout 0 --device cpu --threads 1 --epochs {epochs}"
    return [*words.split(), "--out", str(out)]


def launcher(backend_name, count, *train):
    return ["--backend", backend_name, "--workers", count, "--", *train]


@pytest.fixture(scope="module")
def alone(backend_name, tmp_path_factory):
    """The directory of a run of one worker."""
    out = tmp_path_factory.mktemp("alone") / "run"
    done = run("train.py", "--backend", backend_name, *options(out))
    assert done.returncode == 0, done.stderr
    return out


def assert_alike(one, other):
    """Losses, accuracies and weights differ by rounding only."""
    rows = [
        [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        for out in (one, other)
    ]
    assert len(rows[0]) == len(rows[1]) == STEPS / 6
    for a, b in zip(*rows, strict=True):
        np.testing.assert_allclose(a["within_epoch"], b["within_epoch"], rtol=1e-9)
        for name in ("train_loss", "train_accuracy", "test_accuracy"):
            np.testing.assert_allclose(a[name], b[name], rtol=1e-9)
    expected, _ = load_arrays(one / "checkpoint.safetensors")
    found, _ = load_arrays(other / "checkpoint.safetensors")
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-6, atol=1e-9 * np.abs(array).max())


@pytest.mark.long
@pytest.mark.parametrize("count", [2, 3])
def test_workers_together_take_the_steps_of_one(backend, backend_name, alone, count, tmp_path):
    done = run("launch.py", *launcher(backend_name, count, *options(tmp_path / "run")))
    assert done.returncode == 0, done.stderr
    assert_alike(alone, tmp_path / "run")
    # one shows it and writes
    assert done.stdout.count("run directory:") == 1
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["workers"] == count


@pytest.mark.long
def test_a_killed_worker_ends_the_training_which_goes_on_to_the_same_weights(
    backend, backend_name, alone, tmp_path
):
    arguments = launcher(backend_name, 2, *options(tmp_path / "run"), "--resume", "auto")
    process = subprocess.Popen(
        command("launch.py", *arguments),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    workers = []
    for line in process.stdout:
        if line.startswith("epoch 2"):
            workers = [pid for pid in children(process.pid) if is_worker(pid)]
            os.kill(int(workers[-1]), signal.SIGKILL)
            break
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    assert "worker 1 of 2 ended, and with it all: crashed (SIGKILL)" in errors
    assert len(workers) == 2
    assert all(is_gone_soon(pid) for pid in workers)
    done = run("launch.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert_alike(alone, tmp_path / "run")
    # a requeued job starts it again
    again = run("launch.py", *arguments)
    assert again.returncode == 0
    assert f"{tmp_path / 'run'}: complete already" in again.stdout


def is_worker(pid):
    variables = Path(f"/proc/{pid}/environ").read_bytes()
    return re.search(rb"\bRANK=|TF_CONFIG=|DMLC_ROLE=worker", variables)


@pytest.mark.long
def test_ctrl_c_stops_all_workers_after_the_same_step(backend, backend_name, alone, tmp_path):
    arguments = launcher(backend_name, 2, *options(tmp_path / "run"))
    process = subprocess.Popen(
        command("launch.py", *arguments),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("epoch 1:"):
            process.send_signal(signal.SIGINT)
            break
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT, errors
    done = run("train.py", "--resume", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert_alike(alone, tmp_path / "run")


@pytest.mark.long
@pytest.mark.parametrize("nodes", [1, 2])
def test_torchruns_own_restart_goes_on_from_the_checkpoint(
    backend, backend_name, alone, tmp_path, nodes
):
    if backend_name != "torch":
        pytest.skip("torchrun is PyTorch's")
    # dies once, in the middle of the second epoch
    script = tmp_path / "dies_once.py"
    script.write_text(
        "import os, pathlib, sys\n"
        f"sys.path.insert(0, {str(ROOT / 'scripts')!r})\n"
        "import train\n"
        "from common.terminal import command_line\n"
        "from common.training.run import Run\n"
        "look = Run._take_metrics\n"
        f"once = pathlib.Path({str(tmp_path / 'once')!r})\n"
        "def die(run, since):\n"
        "    if run.history and run.workers.rank == 1 and not once.exists():\n"
        "        once.touch()\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return look(run, since)\n"
        "Run._take_metrics = die\n"
        "command_line.run(train.command, train.parser())\n"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--max-restarts", "3"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if nodes == 1:
        torchrun += ["--standalone", "--nproc-per-node", "2"]
    else:
        # as docs/several-workers.md says
        environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        torchrun += ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d"]
        torchrun += ["--rdzv-endpoint", f"localhost:{launch._free_ports(1)[0]}"]
        torchrun += ["--local-addr", "127.0.0.1"]
    torchrun += [str(script), *options(tmp_path / "run"), "--resume", "auto"]
    agents = [
        subprocess.Popen(torchrun, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(nodes)
    ]
    for agent in agents:
        _, errors = agent.communicate(timeout=300)
        assert agent.returncode == 0, errors
    assert (tmp_path / "once").exists()
    assert_alike(alone, tmp_path / "run")


@pytest.mark.long
def test_a_batch_that_leaves_a_worker_without_examples_is_refused(backend_name, tmp_path):
    if backend_name == "none":
        pytest.skip("needs a backend")
    few = options(tmp_path / "run")
    few[few.index("--limit") + 1] = "65"
    done = run("launch.py", *launcher(backend_name, 2, *few))
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2, done.stderr
    assert len(errors) == 1, done.stderr
    assert "the last batch of an epoch has 1 example, too few for 2 workers" in errors[0]
    assert not (tmp_path / "run").exists()
