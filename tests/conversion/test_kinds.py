"""What a file is, whatever it is called; and for what cannot be read, what it is and what helps."""

import gzip
import io
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import reference
from commands import assert_one_clear_line, run, run_here

from common.conversion import convert, kinds, onnx_format
from common.errors import NinError
from common.files.arrays import save_arrays
from common.model import load_model, save_model


@pytest.fixture(scope="module")
def model():
    return reference.model(dropout=None)


def zipped(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights"), None)
    return buffer.getvalue()


def array():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


STRANGERS = {
    "empty": ("nin.pt", b"", "an empty file; copy or download it again"),
    "git-lfs": ("a.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs"),
    "web page": ("nin.pt", b"<!DOCTYPE html><html>", "a web page, not a weights file; download"),
    "other page": ("nin.h5", b"\n<html><body>404</body>", "a web page"),
    "gzip": ("nin.pt.gz", gzip.compress(b"x"), "compressed with gzip; unpack it"),
    "tar": ("nin.tar", tarred(), "a tar archive; unpack it"),
    "pickle": ("nin.pkl", pickle.dumps({"a": 1}), "a Python pickle, which can run any code"),
    "pickle called pt": ("nin.pt", pickle.dumps([1, 2], 4), "a Python pickle"),
    "TorchScript": ("j.pt", zipped(j__data_pkl=b"", j__constants_pkl=b""), "a TorchScript program"),
    "torch.export": ("e.pt2", zipped(e__archive_format=b"pt2"), "a program of torch.export"),
    "other zip": ("nin.keras", zipped(a_txt=b"1"), "a zip archive, but of no known kind"),
    "truncated zip": ("nin.pt", zipped(a__data_pkl=b"1" * 99)[:60], "damaged or truncated"),
    "TFLite": ("nin.tflite", b"\x1c\0\0\0TFL3" + bytes(99), "a TensorFlow Lite file"),
    "array": ("nin.npy", array(), "a single NumPy array; save all tensors by name"),
    "MXNet's layers": ("n-symbol.json", b'{"nodes": []}', "MXNet's layers without weights"),
    "list of parts": ("m.index.json", b'{"metadata": {}, "weight_map": {}}', "join the parts"),
    "graph": ("frozen.pb", b"\x0a\x10abc", "a TensorFlow graph; give the directory"),
    "checkpoint": ("nin.data-00000-of-00001", b"\0\x01abc", "a part of a TensorFlow checkpoint"),
    "ORT": ("nin.ort", b"\x1c\0\0\0ORTM" + bytes(99), "a file of onnxruntime's own; take the ONNX"),
    "noise called keras": ("nin.keras", b"no such thing", "damaged, or not a Keras file"),
    "noise called pt": ("nin.pth", b"no such thing", "damaged, or not a PyTorch state dict"),
    "noise called params": ("nin.params", b"no such thing", "damaged, or not MXNet parameters"),
    "noise": ("nin.weights", b"no such thing", "not a weights file of a known kind (a PyTorch"),
}  # fmt: skip
STRANGERS = {
    name: (file, content.replace(b"_pkl", b".pkl").replace(b"_txt", b".txt"), words)
    for name, (file, content, words) in STRANGERS.items()
}


@pytest.mark.parametrize(("name", "content", "words"), STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_is_named_with_what_helps(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(NinError) as caught:
        convert.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert words in message
    assert message.isprintable()
    assert "weights_only" not in message


@pytest.mark.parametrize(
    ("name", "part"),
    [("m-00002-of-00003", True), ("m-00001-of-00001", False), ("m-2-of-3", False)],
)  # fmt: skip
def test_a_part_of_a_model_is_called_so_and_a_whole_one_read_whatever_its_name(
    tmp_path, model, name, part
):
    path = tmp_path / f"{name}.safetensors"
    save_arrays(path, model.weights, {})
    np.testing.assert_equal(convert.read(path).model.weights, model.weights)
    save_arrays(path, {"layer.weight": np.zeros((3, 4), np.float32)}, {})
    with pytest.raises(NinError) as caught:
        convert.read(path)
    words = "part 2 of 3 of a model; join the parts and save them as one file"
    assert (words in str(caught.value)) == part


@pytest.mark.parametrize("name", ["nin.pt", "nin.bin", "nin.h5", "nin"])
def test_an_onnx_model_is_one_whatever_its_name(tmp_path, name):
    pytest.importorskip("onnx")
    onnx_format.save(reference.model(), tmp_path / "nin.onnx")
    path = (tmp_path / "nin.onnx").rename(tmp_path / name)
    assert kinds.identify(path) == "onnx"


def test_directories_and_missing_files_are_named(tmp_path):
    with pytest.raises(NinError, match="nowhere: no such file"):
        kinds.identify(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NinError, match="pipe: not a file"):
        kinds.identify(tmp_path / "pipe")
    with pytest.raises(NinError, match=r"neither the model\.safetensors of a run nor a TensorFlow"):
        kinds.identify(tmp_path)


@pytest.mark.parametrize("path", [".", "/", ""])
def test_a_directory_without_a_name_gets_one_clear_line(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    words = "a directory with neither the model.safetensors of a run"
    assert_one_clear_line(run_here("predict.py", "--weights", path), words)
    assert_one_clear_line(run_here("convert.py", path, "o.pt"), words)
    if path:
        done = run_here("compare.py", "--backends", f"torch,{path}")
        assert_one_clear_line(done, f"{path}: ")


def test_the_directory_of_a_run_stands_for_the_weights_in_it(tmp_path, model):
    save_model(tmp_path / "model.safetensors", model)
    assert convert.read(tmp_path).model.resize == model.resize
    convert.convert(tmp_path, tmp_path / "copy.safetensors")
    np.testing.assert_equal(load_model(tmp_path / "copy.safetensors").weights, model.weights)


def test_the_commands_give_one_clear_line_and_leave_everything_as_it_was(tmp_path):
    (tmp_path / "page\x1b[31m.pt").write_bytes(b"<html>")
    (tmp_path / "o.safetensors").write_bytes(b"old")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for script, *arguments in (
        ("convert.py", "page\x1b[31m.pt", "o.safetensors"),
        ("predict.py", "--weights", "page\x1b[31m.pt"),
    ):
        done = run(script, *arguments, cwd=tmp_path)
        assert_one_clear_line(done, "a web page, not a weights file")
        assert "\x1b" not in done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# ------------------------------------------------------------- safetensors and NumPy archives


def assert_read(path, model, foreign=True):
    found = convert.read(path)
    assert found.check is None
    unverified = f"{path}: not verified: it holds weights without layers, "
    assert len(found.notes) == foreign
    assert all(note.startswith(unverified) for note in found.notes)
    for name, expected in model.weights.items():
        np.testing.assert_array_equal(found.model.weights[name], expected, err_msg=name)
    return found.model


def test_nothing_is_known_of_a_file_that_states_nothing(tmp_path, model):
    tensors = {f"net.{name}": array for name, array in model.weights.items()}
    save_arrays(tmp_path / "a.safetensors", tensors, {"format": "pt", "classes": "['cat', 'dog']"})
    np.savez(tmp_path / "a.npz", **tensors)
    for name in ("a.safetensors", "a.npz"):
        found = assert_read(tmp_path / name, model)
        assert (found.class_names, found.dropout, found.resize) == ((), None, None)
        assert found.class_name(3) == "class 3"


@pytest.mark.parametrize("kind", ["F16", "BF16", "F64"])
def test_other_precisions_of_safetensors_are_read(tmp_path, model, kind):
    path = tmp_path / "a.safetensors"
    if kind == "BF16":
        halves = {n: (a.view("<u4") >> 16).astype("<u2") for n, a in model.weights.items()}
        save_arrays(path, halves, {})
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = content[8 : 8 + length].replace(b'"U16"', b'"BF16"')
        path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
        rounded = {n: (h.astype("<u4") << 16).view("<f4") for n, h in halves.items()}
    else:
        tensors = {n: a.astype({"F16": "f2", "F64": "f8"}[kind]) for n, a in model.weights.items()}
        save_arrays(path, tensors, {})
        rounded = {name: array.astype(np.float32) for name, array in tensors.items()}
    assert_read(path, reference.Model(rounded))


# ------------------------------------------------------------- checksums


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("ours") / "model.safetensors"
    save_model(path, model)
    return path.read_bytes()


@pytest.mark.parametrize("where", ["weights", "the last weight", "class names", "metadata"])
def test_a_flipped_bit_is_noticed(model, tmp_path, where):
    path = tmp_path / "model.safetensors"
    save_model(path, reference.model(class_names=tuple("abcdefghij"), training={"seed": 3}))
    content = bytearray(path.read_bytes())
    at = {
        "weights": 5_000_000, "the last weight": len(content) - 2,
        "class names": content.find(b'\\"f\\"') + 2, "metadata": content.find(b"seed") + 1,
    }[where]  # fmt: skip
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(NinError, match="damaged, or changed by other software"):
        load_model(path)


def test_a_file_of_before_the_checksum_is_read(model, tmp_path, written):
    from common.model import CHECKSUM, to_metadata

    older = to_metadata(model)
    del older[CHECKSUM]
    save_arrays(tmp_path / "model.safetensors", model.weights, older)
    assert_read(tmp_path / "model.safetensors", model, foreign=False)


def test_a_flipped_bit_in_an_archive_is_noticed(model, tmp_path):
    np.savez(tmp_path / "a.npz", **model.weights)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[4_000_000] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(NinError, match=r"a\.npz: damaged"):
        convert.read(tmp_path / "a.npz")


def test_no_array_of_objects_is_read(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{"code": 1}], object))
    with pytest.raises(NinError, match=r"a\.npz: damaged, or not a NumPy archive"):
        convert.read(tmp_path / "a.npz")
