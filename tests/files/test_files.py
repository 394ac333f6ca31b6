import dataclasses
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from common.errors import NinError
from common.files import paths, sealed, write
from common.files.arrays import load_arrays, save_arrays
from common.settings import Settings
from common.system import machine
from common.training import run_directory
from common.training.run_directory import Progress


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "result.json"
    write.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="nan"):
        write.write_json(path, {"a": float("nan")})
    with pytest.raises(TypeError):
        write.write_bytes(path, "text, not bytes")
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_a_written_file_has_the_permissions_of_an_ordinary_one(tmp_path):
    write.write_text(tmp_path / "ours", "x")
    (tmp_path / "ordinary").write_text("x")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_file_that_was_there_keeps_its_permissions_and_a_link_to_it_stays_one(tmp_path):
    path, link = tmp_path / "there", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o600)
    link.symlink_to(path)
    write.write_bytes(link, b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_system_without_permissions_takes_files_all_the_same(tmp_path, monkeypatch):
    def refused(*arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.chmod", refused)
    write.write_text(tmp_path / "a", "content")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["content"]


def test_arrays_of_any_layout_come_back_from_a_file(tmp_path, rng):
    arrays = {
        "scalar": np.array(7),
        "transposed": rng.random((3, 4, 5)).T,
        "strided": rng.random((6, 6))[::2, ::3],
        "empty": np.zeros((0, 3), np.float32),
    }
    save_arrays(tmp_path / "file", arrays, {"words": "with ünicode"})
    found, metadata = load_arrays(tmp_path / "file")
    assert metadata == {"words": "with ünicode"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].shape == array.shape


def test_a_checkpoint_gives_back_the_progress_exactly(tmp_path):
    progress = Progress(
        epoch=2, step=3, losses=[0.1, 1 / 3], correct=[5, 6], rows=[{"epoch": 1, "x": 2 / 3}]
    )
    run_directory.save_checkpoint(tmp_path, {"w": np.ones(3)}, progress)
    state, found, note = run_directory.load_checkpoint(tmp_path)
    assert not note
    assert found == progress
    assert state["w"].tolist() == [1, 1, 1]


def test_a_changed_bit_in_a_checkpoint_is_noticed(tmp_path):
    run_directory.save_checkpoint(tmp_path, {"w": np.ones(1000)}, Progress())
    path = tmp_path / run_directory.CHECKPOINT
    content = bytearray(path.read_bytes())
    content[-4] ^= 1
    path.write_bytes(content)
    with pytest.raises(NinError, match="damaged checkpoint"):
        run_directory.load_checkpoint(tmp_path)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"half")])
def test_a_damaged_checkpoint_falls_back_to_the_one_before_which_is_then_kept(tmp_path, damage):
    for step in (1, 2):
        run_directory.save_checkpoint(tmp_path, {"w": np.ones(3)}, Progress(step=step))
    damage(tmp_path / run_directory.CHECKPOINT)
    _, found, note = run_directory.load_checkpoint(tmp_path)
    assert found.step == 1
    assert run_directory.CHECKPOINT in note
    assert "going on from the one before, at epoch 1, step 1" in note
    run_directory.drop_newest_checkpoint(tmp_path)
    run_directory.save_checkpoint(tmp_path, {"w": np.ones(3)}, Progress(step=2))
    damage(tmp_path / run_directory.CHECKPOINT)
    assert run_directory.load_checkpoint(tmp_path)[1].step == 1


def test_a_digit_that_was_changed_in_a_record_is_noticed_and_older_ones_claim_nothing():
    text = json.dumps(sealed.seal({"accuracy": 0.625, "name": "müşteri"}))
    assert sealed.unseal(text) == {"accuracy": 0.625, "name": "müşteri"}
    with pytest.raises(ValueError, match="checksum"):
        sealed.unseal(text.replace("0.625", "0.925"))
    with pytest.raises(ValueError, match="checksum"):
        sealed.unseal(text.replace("checksum", "checksvm"))
    assert sealed.unseal('{"accuracy": 0.925}') == {"accuracy": 0.925}


def test_runs_started_in_the_same_second_get_directories_of_their_own(tmp_path):
    made = {run_directory.create(None, Settings(), tmp_path) for _ in range(5)}
    assert len(made) == 5


def test_a_config_that_is_damaged_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(NinError, match=r"config\.json is damaged"):
        run_directory.open_run(tmp_path)


def test_threads_follow_the_environment_unless_asked_for(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert machine.threads_for(0) == 3
    with machine.prepared(2) as threads, machine.prepared() as inner:
        assert threads == inner == 2
        assert os.environ["OMP_NUM_THREADS"] == "2"
    assert os.environ["OMP_NUM_THREADS"] == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "9" * 5000)  # Python reads no such number
    assert machine.threads_for(0) == machine.physical_cores()


def test_without_a_wish_there_is_a_thread_for_each_usable_core(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    cores = machine.physical_cores()
    assert 1 <= cores <= len(os.sched_getaffinity(0))
    assert machine.threads_for(0) == cores


def test_two_runs_cannot_write_to_one_directory(tmp_path):
    with (
        run_directory.lock(tmp_path),
        pytest.raises(NinError, match="another run is writing there"),
        run_directory.lock(tmp_path),
    ):
        pass


def test_a_directory_is_free_again_after_its_run(tmp_path):
    for _ in range(2):
        with run_directory.lock(tmp_path):
            assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    (tmp_path / ".checkpoint.safetensors.abc123").write_bytes(b"half")
    (tmp_path / "config.json").write_text("{}")
    with run_directory.lock(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_config_in_any_language_comes_back(tmp_path):
    config = {
        "settings": dataclasses.asdict(Settings()),
        "data": {"kind": "custom", "directory": "/data/müşteri\udcff", "sha256": {}},
    }
    write.write_json(tmp_path / "config.json", config)
    assert run_directory.open_run(tmp_path) == config


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"settings": {}}',
        '{"settings": {"lr": -1}}',
        '{"settings": {}, "data": []}',
        '{"settings": {}, "data": {"kind": "full", "directory": "/data", "sha256": []}}',
    ],
)
def test_a_config_that_lacks_something_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(NinError, match=r"config\.json is damaged"):
        run_directory.open_run(tmp_path)


def test_a_pipe_or_device_is_written_to_and_not_replaced(tmp_path):
    write.write_text(Path("/dev/null"), "x")
    assert not Path("/dev/null").is_file()


def test_a_target_in_a_directory_that_takes_no_files_is_refused_before_the_work():
    with pytest.raises(NinError, match=r"^json=/proc/a: its directory cannot be written to \("):
        paths.check_target(Path("/proc/a"), "json")


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OSError, match="nowhere/file"):
        write.write_text(tmp_path / "nowhere" / "file", "x")


def test_the_memory_of_a_process_and_its_children_counts_both():
    program = """
import subprocess, sys
from common.system import machine
hungry = "import sys; block = bytearray(200_000_000); print(flush=True); sys.stdin.read()"
command = [sys.executable, "-c", hungry]
with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
    with machine.family_memory() as memory:
        child.stdout.readline()
print(max(memory) - machine.peak_memory())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert 195_000_000 < int(done.stdout) < 300_000_000
