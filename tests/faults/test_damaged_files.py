"""Every file that is read, cut off anywhere or with one bit changed: refused, or harmless."""

import dataclasses
import functools
import gzip
import io
import json
import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from commands import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from idx_files import idx
from PIL import Image

from common.bench import results
from common.conversion import convert
from common.data import fashion_mnist, photos
from common.errors import NinError
from common.files import sealed
from common.model import Model, load_model, save_model
from common.network import architecture, description
from common.settings import from_preset
from common.training import run_directory
from common.training.run import Progress

SMALL = description.parse("channels=8-8-8")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 8, 8), dtype=np.uint8)
LABELS = (np.arange(12) % 3).astype(np.uint8)


def small_model():
    shapes = architecture.parameter_shapes(network=SMALL)
    weights = {name: RNG.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return Model(weights, SMALL, resize=67, class_names=tuple("abcdefghij"), training={"seed": 1})


MODEL = small_model()


def same(found, expected):
    """Whether two values are equal, arrays in them too."""
    if dataclasses.is_dataclass(found) and not isinstance(found, type):
        return same(vars(found), vars(expected))
    if isinstance(found, np.ndarray):
        return found.dtype == expected.dtype and np.array_equal(found, expected)
    if isinstance(found, dict):
        return found.keys() == expected.keys() and all(same(found[n], expected[n]) for n in found)
    if isinstance(found, list | tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    return bool(found == expected)


# ------------------------------------------------- what is written, and how it is read
# Each writes into a directory, and gives the files to spoil and what reads them.


def a_run(directory):
    rows = [
        {"epoch": i, "train_loss": 1 / i, "train_accuracy": 0.5, "evaluated_on": "test",
         "test_accuracy": 0.625, "within_epoch": [[i, 1 / i, 0.5]]} for i in (1, 2)
    ]  # fmt: skip
    chosen = dataclasses.asdict(from_preset("fast", precision="float32"))
    data = {"kind": "full", "directory": "/data/müşteri", "sha256": {}}
    config = {"settings": chosen, "data": data, "versions": {}, "machine": {}}
    sealed.write(directory / run_directory.CONFIG, config)
    run_directory.write_metrics(directory, Progress(rows=rows))
    result = {"epochs": 2, "examples_per_second": 9.5, "total_seconds": 3.0}
    result |= {"complete": True, "notes": []}
    sealed.write(directory / run_directory.RESULT, result)
    names = (run_directory.CONFIG, run_directory.METRICS, run_directory.RESULT)
    return [directory / name for name in names], lambda: run_directory.read(directory)


def a_checkpoint(directory):
    state = {"w": RNG.normal(size=50), "step": np.array(7)}
    run_directory.save_checkpoint(directory, state, Progress(epoch=1, losses=[0.5]))
    return [directory / run_directory.CHECKPOINT], lambda: run_directory.load_checkpoint(directory)


def a_model(directory):
    save_model(directory / "model.safetensors", MODEL)
    path = directory / "model.safetensors"
    return [path], lambda: load_model(path)


def a_bench(directory):
    record = json.loads((ROOT / "docs" / "bench.json").read_text())
    path = directory / "bench.json"
    results.save({n: v for n, v in record.items() if n not in ("figures", "whole_runs")}, path)
    return [path], lambda: results.load(path).record


def an_archive_of_weights(directory):
    path = directory / "weights.npz"
    np.savez(path, **MODEL.weights)
    return [path], lambda: convert.read(path, network=SMALL).model


def data(directory):
    found = fashion_mnist.load(str(directory))
    return {n: v for n, v in vars(found).items() if isinstance(v, np.ndarray)}


def zipped_idx_files(directory):
    for name, array in zip(fashion_mnist.CHECKSUMS, (IMAGES, LABELS) * 2, strict=True):
        (directory / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
    return list(directory.iterdir()), lambda: data(directory)


def an_archive_of_data(directory):
    path = directory / "data.npz"
    parts = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS}
    np.savez_compressed(path, **parts)
    return [path], lambda: data(directory)


def pictures(directory):
    for part in ("train", "test"):
        for label in (0, 1):
            (directory / part / f"class {label}").mkdir(parents=True)
            for i in range(2):
                path = directory / part / f"class {label}" / f"{i}.png"
                Image.fromarray(IMAGES[4 * label + i]).save(path)
    return list(directory.rglob("*.png")), lambda: data(directory)


# of these nothing says what was in them: any values are read, or the file is refused
def idx_files(directory):
    for name, array in zip(fashion_mnist.CHECKSUMS, (IMAGES, LABELS) * 2, strict=True):
        (directory / name).write_bytes(idx(array))
    return list(directory.iterdir()), lambda: data(directory)


def tables(directory):
    for part in ("train", "test"):
        rows = np.column_stack([LABELS, IMAGES.reshape(12, -1)])
        header = ",".join(["label", *(f"pixel{i}" for i in range(64))])
        np.savetxt(directory / f"a_{part}.csv", rows, "%d", ",", header=header, comments="")
    return list(directory.iterdir()), lambda: data(directory)


def a_photo(directory):
    path = directory / "photo.jpg"
    picture = np.full((40, 40, 3), 250, np.uint8)
    picture[10:30, 12:28] = (30, 60, 90)
    Image.fromarray(picture).save(path)
    return [path], lambda: photos.load(path)


CHECKED = (
    a_run, a_checkpoint, a_model, a_bench, an_archive_of_weights, zipped_idx_files,
    an_archive_of_data, pictures,
)  # fmt: skip
UNCHECKED = (idx_files, tables, a_photo)

# what numpy and Pillow warn of while they read what is damaged
pytestmark = pytest.mark.filterwarnings("ignore")
# docs/faults.md says how to have more
EXAMPLES = int(os.environ.get("NIN_EXAMPLES", "60"))


def damaged(content, draw):
    """A file's content cut off, or with one bit changed."""
    place = draw(st.integers(0, len(content) - 1))
    if draw(st.booleans()):
        return content[:place]
    changed = bytearray(content)
    changed[place] ^= 1 << draw(st.integers(0, 7))
    return bytes(changed)


def hold_against_damage(write, directory, checked, examples):
    """Damage one of the files at a time, and read."""
    files, read = write(directory)
    expected = read()
    whole = {path: path.read_bytes() for path in files}

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def refused_or_harmless(data):
        path = data.draw(st.sampled_from(files))
        path.write_bytes(damaged(whole[path], data.draw))
        try:
            found = read()
        except NinError as error:
            # MXNet's layers and weights are two files of one network
            assert any(file.name in str(error) for file in (path, files[-1])), error
            assert "\n" not in str(error)
        else:
            assert not checked or same(found, expected), path
        finally:
            path.write_bytes(whole[path])

    refused_or_harmless()


@pytest.mark.parametrize("write", [*CHECKED, *UNCHECKED], ids=lambda write: write.__name__)
def test_a_damaged_file_is_refused_by_name_or_the_same_values_are_read(write, tmp_path):
    hold_against_damage(write, tmp_path, write in CHECKED, EXAMPLES)


# ------------------------------------------------- files of the frameworks


@pytest.fixture(params=["native", "onnx"])
def exported(request, backend_name):
    """Writes our network as the framework's own users have it, or as ONNX; what reads it."""
    kind, name = {"torch": ("torch", "n.pt"), "tf": ("keras", "n.keras")}.get(
        backend_name, ("mxnet", "n.params")
    )
    if request.param == "onnx":
        kind, name = "onnx", "n.onnx"

    def write(directory):
        paths, _ = convert.write(MODEL, directory / name, kind, backend_name)
        read = functools.partial(convert.read, paths[-1], backend=backend_name, check=False)
        return paths, lambda: read().model

    return write


def test_a_damaged_export_is_refused_by_name_or_the_same_values_are_read(
    backend, exported, tmp_path
):
    hold_against_damage(exported, tmp_path, True, EXAMPLES // 2)


# ------------------------------------------------- nothing that is read runs code


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("write", [*CHECKED, *UNCHECKED], ids=lambda write: write.__name__)
def test_a_pickle_in_place_of_any_file_is_not_run(write, tmp_path):
    mark = tmp_path / "mark"
    files, read = write(tmp_path)
    archive = io.BytesIO()
    np.savez(archive, x_train=np.array([Bomb(mark)]), y_train=LABELS, x_test=IMAGES, y_test=LABELS)
    for path in files:
        content = path.read_bytes()
        for bomb in (pickle.dumps(Bomb(mark)), archive.getvalue()):
            path.write_bytes(bomb)
            with pytest.raises(NinError, match=re.escape(path.name)):
                read()
        path.write_bytes(content)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists()


def test_a_pickle_in_place_of_an_export_or_in_it_is_not_run(backend, exported, tmp_path):
    mark = tmp_path / "mark"
    files, read = exported(tmp_path)
    content = files[-1].read_bytes()
    bombs = [pickle.dumps(Bomb(mark))]
    if content.startswith(b"PK"):
        for member in ("data.pkl", "config.json", "model.weights.h5"):
            bombs.append(with_member(content, member, bombs[0]))
    for bomb in bombs:
        files[-1].write_bytes(bomb)
        with pytest.raises(NinError, match=re.escape(files[-1].name)):
            read()
    assert not mark.exists()


def with_member(content, name, replacement):
    """A zip archive with what is in one of its files, if it has that, replaced."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w") as new:
        members = old.namelist()
        for member in members:
            is_it = member.rsplit("/", 1)[-1] == name
            new.writestr(member, replacement if is_it else old.read(member))
        if not any(member.rsplit("/", 1)[-1] == name for member in members):
            return replacement
    return changed.getvalue()
