"""Arrays with names as a safetensors file: a format that cannot run code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from common.errors import NinError, printable
from common.files.write import write_bytes

# safetensors' names for types -> NumPy's
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "?",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip


def save_arrays(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: dict[str, str], keep: Path | None = None
) -> None:
    """Write arrays and text, by name, as one safetensors file, whole or not at all.

    An old file is kept as :func:`common.files.write.write_bytes` does it.
    """
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    write_bytes(path, save(contiguous, metadata=metadata), keep)


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read a safetensors file.

    Returns:
        name -> array, bfloat16 widened to float32, and the metadata.

    Raises:
        NinError: if the file cannot be read, is truncated or is not safetensors.
    """
    try:
        content = path.read_bytes()
        entries = deserialize(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    except (OSError, SafetensorError, ValueError) as error:
        raise NinError(f"{path}: damaged, or not a safetensors file ({error})") from error
    # the library gives them in another order every time
    entries.sort(key=lambda each: each[0])
    return {name: _array(entry, name, path) for name, entry in entries}, metadata


def _array(entry: Mapping[str, Any], name: str, path: Path) -> np.ndarray:
    kind, data = entry["dtype"], entry["data"]
    if kind == "BF16":  # the upper half of a float32
        array = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    elif kind in DTYPES:
        array = np.frombuffer(data, DTYPES[kind])
    else:
        raise NinError(
            f"{path}: {printable(name)} is of type {printable(kind)}; weights of 16, 32 or 64 "
            "floating-point bits are needed: save the network before it is quantized"
        )
    return array.reshape(entry["shape"])
