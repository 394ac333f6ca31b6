"""Files that PyTorch's own users write and load: a state dict of the book's ``nn.Sequential``."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from common.contract import Content
from common.errors import NinError
from common.model import network_of
from nin_torch.variants import build

# Where PyTorch keeps the versions of a state dict's modules, and passes over names it does not know
METADATA = "nin"


def save_native(net: nn.Sequential, path: Path, metadata: Mapping[str, str]) -> list[Path]:
    """Write a network; see :class:`common.contract.Exporter`.

    ``nin().load_state_dict(torch.load(path, weights_only=True))`` reads it, with the book's
    ``nin`` as well as ours.
    """
    state: Any = net.state_dict()
    for name, value in state.items():
        state[name] = value.contiguous()
    state._metadata[METADATA] = dict(metadata)
    torch.save(state, path)
    return [path]


def load_native(path: Path) -> Content:
    """What a file holds; see :class:`common.contract.Exporter`."""
    content = _load(path)
    groups = dict(_groups(content, ""))
    if not groups:
        raise NinError(
            f"{path}: holds no state dict but {_words(content)}; load it where it was written and "
            "save its weights alone: torch.save(net.state_dict(), FILE)"
        )
    metadata = getattr(content, "_metadata", {}).get(METADATA, {})
    return Content(groups, True, metadata)


def run_native(path: Path, pixels: np.ndarray) -> list[np.ndarray]:
    """The outputs for pixels; see :class:`common.contract.Exporter`."""
    state = _load(path)
    # differs: a state dict holds no layers, so the book's have to be there, or those that we wrote
    network = network_of(getattr(state, "_metadata", {}).get(METADATA, {}))
    classes, channels = len(list(state.values())[-1]), pixels.shape[1]
    net = build(network, classes, channels, size=pixels.shape[-1]).eval()
    net.load_state_dict(state)
    with torch.inference_mode():
        return [net(torch.from_numpy(pixels)).numpy()]


# PyTorch fills these only as what they are made of
_collections: dict[str, Callable[..., Any]] = {
    "collections.defaultdict": lambda *_: {},
    "collections.deque": lambda *_: [],
}


class _Inert:
    """Stands for an object of any other class in a checkpoint, so that none of its code runs."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Drop the arguments."""

    def __setstate__(self, state: Any) -> None:
        """Drop the state."""


def _load(path: Path) -> Any:
    """What ``torch.load`` makes of a file without running what is in it."""
    serialization: Any = torch.serialization
    try:
        others = serialization.get_unsafe_globals_in_checkpoint(path)
    except (AttributeError, ValueError):  # an older PyTorch, or a file of one
        others = []
    stand_ins = [(_collections.get(name) or type("_Inert", (_Inert,), {}), name) for name in others]
    try:
        with serialization.safe_globals(stand_ins) if stand_ins else contextlib.nullcontext():
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if "Unsupported" in str(error) or "weights_only" in str(error):
            # its advice is to let the file run code
            raise NinError(
                f"{path}: holds objects besides tensors, such as a whole pickled network, which "
                "cannot be read without running code from the file; load it where it was written "
                "and save its weights alone: torch.save(net.state_dict(), FILE)"
            ) from None
        raise


def _groups(content: Any, name: str) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """The dictionaries in a checkpoint that hold tensors."""
    if isinstance(content, list | tuple):
        content = {i: each for i, each in enumerate(content) if not torch.is_tensor(each)}
    if not isinstance(content, Mapping):
        return
    tensors = {str(key): value for key, value in content.items() if torch.is_tensor(value)}
    if tensors:
        yield name, {key: _to_numpy(value) for key, value in tensors.items()}
    for key, value in content.items():
        yield from _groups(value, f"{name}.{key}".lstrip("."))


def _to_numpy(value: torch.Tensor) -> np.ndarray:
    value = value.detach()
    if value.is_quantized:
        value = value.int_repr()
    if value.layout != torch.strided:
        value = value.to_dense()
    # NumPy has no half precision but its own; wider is the same number
    if value.is_floating_point() and value.dtype not in (torch.float32, torch.float64):
        value = value.float()
    return value.contiguous().numpy()


def _words(content: Any) -> str:
    if isinstance(content, _Inert):
        return "a whole pickled network"
    if isinstance(content, list | tuple):
        return f"a list of {len(content)}"
    if isinstance(content, dict):
        return "a dictionary without tensors"
    return "a single tensor" if torch.is_tensor(content) else f"a {type(content).__name__}"
