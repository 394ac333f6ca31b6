"""Files that PyTorch's own users write and load: a state dict of the book's ``nn.Sequential``."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from nin_torch.model import nin
from nin_torch.weights import parameters, to_canonical


def save_native(net: nn.Sequential, path: Path) -> list[Path]:
    """Write a network; see :class:`common.contract.Backend`.

    ``nin().load_state_dict(torch.load(path, weights_only=True))`` reads it, with the book's
    ``nin`` as well as ours.
    """
    torch.save({name: value.contiguous() for name, value in net.state_dict().items()}, path)
    return [path]


def load_native(path: Path) -> dict[str, np.ndarray]:
    """The weights in a file by canonical name; see :class:`common.contract.Backend`."""
    state = _load(path)
    net = nin()
    canonical = {id(value): name for name, value in parameters(net).items()}
    names = {name: canonical[id(value)] for name, value in net.named_parameters()}
    # a name that the network lacks stays as it is, for the message that will refuse it
    return {names.get(name, name): to_canonical(value) for name, value in state.items()}


def run_native(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Logits of what the file holds; see :class:`common.contract.Backend`."""
    # differs: a state dict holds no layers, so the book's have to be there
    net = nin(len(load_native(path)["block4.conv3.bias"]), pixels.shape[1]).eval()
    net.load_state_dict(_load(path))
    with torch.inference_mode():
        return net(torch.from_numpy(pixels)).numpy()


def _load(path: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(path, map_location="cpu", weights_only=True))
