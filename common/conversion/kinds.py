"""What kind of file somebody has: by its content, and by its name where the content is silent."""

import re
import zipfile
from pathlib import Path
from typing import NamedTuple

from common.errors import NinError, printable


class Format(NamedTuple):
    """A file format that we convert to and from."""

    words: str
    backend: str | None
    """Whose file it is; None: no framework's own, and any of them can check it."""
    suffixes: tuple[str, ...]
    """How the name of such a file ends; Keras, for one, depends on it."""


FORMATS = {
    "torch": Format("a PyTorch state dict", "torch", (".pt", ".pth", ".ckpt", ".bin", ".tar")),
    "keras": Format("a Keras file", "tf", (".keras", ".h5", ".hdf5")),
    "savedmodel": Format("a TensorFlow SavedModel", "tf", ()),
    "tfcheckpoint": Format("a TensorFlow checkpoint", "tf", (".index",)),
    "mxnet": Format("MXNet parameters", "mxnet", (".params",)),
    "onnx": Format("an ONNX model", None, (".onnx",)),
    "safetensors": Format("a safetensors file", None, (".safetensors",)),
    "npz": Format("a NumPy archive", None, (".npz",)),
}
# What we write; a SavedModel is a directory, and Keras's older files it writes no more.
TARGETS = {
    "torch": (".pt", ".pth"),
    "keras": (".keras",),
    "mxnet": (".params",),
    "onnx": (".onnx",),
    "safetensors": (".safetensors",),
}

# Kinds that cannot be read: a pattern of the first bytes -> what that is, and what helps.
STRANGERS = {
    rb"\Z": "an empty file; copy or download it again",
    rb"version https://git-lfs": (
        "a pointer of git-lfs, which stands for the file; fetch the file itself with `git lfs pull`"
    ),
    rb"(?i)\s*<(!doctype|html|\?xml|head)": (
        "a web page, not a weights file; download the file that the page links to (the raw file)"
    ),
    rb"\x1f\x8b": "compressed with gzip; unpack it with gunzip",
    rb"\xfd7zXZ|BZh|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd": "a compressed archive; unpack it",
    rb".{257}ustar": "a tar archive; unpack it",
    rb".{4}TFL3": (
        "a TensorFlow Lite file, made for running only; take the Keras model that it was made from"
    ),
    rb".{4}ORTM": "a file of onnxruntime's own; take the ONNX model that it was made from",
    rb"GGUF": "a GGUF file; take the file that it was made from",
    rb"\x93NUMPY": "a single NumPy array; save all tensors by name: numpy.savez",
    rb"\x80[\x02-\x05]": (
        "a Python pickle, which can run any code when it is read; save the weights alone, as "
        "safetensors or numpy.savez"
    ),
    rb'\s*\{.*"weight_map"': (
        "the list of the parts of a model; join the parts and save them as one file"
    ),
    rb'\s*\{.*"nodes"': "MXNet's layers without weights; give the .params file beside it",
}
# The same by the file's name, where the content is silent.
STRANGE_NAMES = {
    "*.pb": (
        "a TensorFlow graph; give the directory of the SavedModel, or convert it to ONNX with "
        "tf2onnx"
    ),
    "*.data-0*": (
        "a part of a TensorFlow checkpoint; copy the .index and the .data files of that "
        "checkpoint beside it"
    ),
}
# torch.save before PyTorch 1.6: a pickled number
LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def identify(path: Path) -> str:
    """The key of :data:`FORMATS` of a file or directory.

    Raises:
        NinError: if it is not there or of a kind that cannot be read, naming the kind and what
            helps.
    """
    several = of_several_files(path)
    if several:
        return several
    if path.is_dir():
        what = (
            "a directory with neither the model.safetensors of a run nor a TensorFlow SavedModel "
            "or checkpoint; give a file"
        )
        if (path / ".metadata").is_file():
            what = (
                "a distributed checkpoint of PyTorch; make it one file: python -m "
                f"torch.distributed.checkpoint.format_utils dcp_to_torch {path} FILE"
            )
        raise NinError(f"{path}: {what}")
    if not path.exists():
        raise NinError(f"{path}: no such file")
    if not path.is_file():
        raise NinError(f"{path}: not a file")
    with path.open("rb") as file:
        head = file.read(4096)
    if head.startswith(b"PK"):
        return _archive(path)
    if head.startswith(b"\x89HDF\r\n"):
        return "keras"
    if head.startswith(b"\x12\x01" + bytes(6)):
        return "mxnet"
    if head.startswith(LEGACY_TORCH):
        return "torch"
    if path.suffix == ".index":
        return "tfcheckpoint"
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and length < path.stat().st_size:
        return "safetensors"
    strange = [what for begin, what in STRANGERS.items() if re.match(begin, head, re.DOTALL)]
    strange += [what for name, what in STRANGE_NAMES.items() if path.match(name)]
    if strange:
        raise NinError(f"{path}: {strange[0]}")
    suffix = path.suffix.lower()
    # it begins with no mark of its own
    if head[:1] == b"\x08" and (suffix == ".onnx" or b"\x12" in head[:4]):
        return "onnx"
    for name, form in FORMATS.items():
        if suffix in form.suffixes and name != "onnx":
            raise NinError(f"{path}: damaged, or not {form.words} (it does not begin like one)")
    known = ", ".join(form.words for form in FORMATS.values())
    raise NinError(f"{path}: not a weights file of a known kind ({known})")


def part_of_several(path: Path) -> str:
    """What a file is by a name such as ``model-00001-of-00002``; "" if it is no part of a model."""
    found = re.search(r"-(\d{5})-of-(\d{5})$", path.stem)
    part, count = (int(number) for number in found.groups()) if found else (1, 1)
    words = f"part {part} of {count} of a model; join the parts and save them as one file"
    return words if count > 1 else ""


def layers_of_mxnet(path: Path) -> Path:
    """Where the layers are, as MXNet's ``export`` names it: beside X.params and X-0010.params."""
    return path.with_name(f"{re.sub(r'-[0-9]{4}$', '', path.stem)}-symbol.json")


def index_of_checkpoint(path: Path) -> Path:
    """Where TensorFlow lists what is in a checkpoint, which has several files."""
    # "." and "/" have no name, which with_name() does not take
    return path.parent / (re.sub(r"\.(index|data-\d+-of-\d+)$", "", path.name) + ".index")


def target_format(path: Path) -> str:
    """The key of :data:`TARGETS` for the name of a file to write, or NinError."""
    for name, suffixes in TARGETS.items():
        if path.suffix in suffixes:
            return name
    known = ", ".join(suffix for suffixes in TARGETS.values() for suffix in suffixes)
    raise NinError(f"{path}: its name must end with one of {known}")


def of_several_files(path: Path) -> str | None:
    """The kind of a directory, or of files with a common name, if these are TensorFlow's."""
    if (path / "saved_model.pb").is_file():
        return "savedmodel"
    named = index_of_checkpoint(path).is_file() and (not path.exists() or ".data-" in path.name)
    return "tfcheckpoint" if named or (path / "checkpoint").is_file() else None


def _archive(path: Path) -> str:
    """What a zip archive is, by the names in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            # not every framework looks at the checksums that such an archive has
            damaged = archive.testzip()
    except Exception as error:
        raise NinError(
            f"{path}: damaged or truncated (a zip archive that does not open); copy it again"
        ) from error
    if damaged is not None:
        raise NinError(f"{path}: damaged ({printable(damaged)} in it has another checksum)")
    ends = {name.rsplit("/", 1)[-1] for name in names}
    if {"config.json", "model.weights.h5"} <= ends:
        return "keras"
    if "constants.pkl" in ends:
        raise NinError(
            f"{path}: a TorchScript program; load it with torch.jit.load, then "
            "torch.save(net.state_dict(), FILE)"
        )
    if "archive_format" in ends or "serialized_exported_program.json" in ends:
        raise NinError(
            f"{path}: a program of torch.export; load it with torch.export.load, then "
            "torch.save(program.state_dict, FILE)"
        )
    if "data.pkl" in ends:
        return "torch"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    few = ", ".join(printable(name) for name in names[:2])
    raise NinError(
        f"{path}: a zip archive, but of no known kind (it holds {few} ...); if one of these is "
        "the weights file, unpack it"
    )
