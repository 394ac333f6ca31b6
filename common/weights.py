"""Weights by canonical name: checks, and the one file format that all backends share."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from common.errors import NinError
from common.files import write_bytes


def check_parameters(
    weights: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], where: str = "weights"
) -> None:
    """Raise :class:`NinError` unless names and shapes are the expected ones.

    Args:
        weights: canonical name -> array.
        shapes: canonical name -> expected shape.
        where: what the message calls the weights, such as a file's name.
    """
    missing = [name for name in shapes if name not in weights]
    if missing:
        raise NinError(f"{where}: {missing[0]} is missing ({len(missing)} of {len(shapes)} are)")
    extra = [name for name in weights if name not in shapes]
    if extra:
        raise NinError(f"{where}: {extra[0]} is no parameter of this network")
    for name, shape in shapes.items():
        if tuple(weights[name].shape) != shape:
            raise NinError(
                f"{where}: {name} has shape {tuple(weights[name].shape)}, expected {shape}"
            )


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
