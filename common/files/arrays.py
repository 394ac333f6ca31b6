"""Arrays with names as a safetensors file: a format that cannot run code."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from common.errors import NinError
from common.files.write import write_bytes


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write arrays and text metadata as one safetensors file, whole or not at all."""
    # ascontiguousarray alone would turn a scalar into an array of one element
    contiguous = {
        name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()
    }
    write_bytes(path, save(contiguous, metadata=metadata))


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read a safetensors file.

    Returns:
        name -> array, and the metadata.

    Raises:
        NinError: if the file cannot be read, is truncated or is not safetensors.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return arrays, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise NinError(f"{path}: damaged, or not a safetensors file ({error})") from error
    except (TypeError, AttributeError) as error:  # bfloat16 and the like
        raise NinError(f"{path}: holds numbers that NumPy does not know ({error})") from error
