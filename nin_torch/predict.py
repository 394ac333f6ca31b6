"""Prediction in PyTorch: logits, the outputs of all layers, and gradients, with dropout off."""

from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from common.data.interpolation import resize_matrix
from common.settings import Settings, check_precision
from nin_torch import layers
from nin_torch.device import PRECISIONS, find_device
from nin_torch.weights import parameters, to_canonical


class Predictor:
    """A network on a device, in a precision, for images of a size.

    Args:
        net: a network with weights; it moves to the device.
        settings: precision, device and resize are used.

    Raises:
        NinError: if there is no such device or precision, or for a layer that has no place here.
    """

    def __init__(self, net: nn.Module, settings: Settings) -> None:
        check_precision(settings.precision, PRECISIONS)
        self.device = find_device(settings.device)
        device = self.device.native
        self.dtype = torch.float64 if settings.precision == "float64" else torch.float32
        bfloat16 = settings.precision == "bfloat16"
        self.autocast = partial(torch.autocast, device.type, torch.bfloat16, enabled=bfloat16)
        # of the GPU library's convolutions, take those that give the same numbers in every run
        torch.backends.cudnn.deterministic = True
        # channels last is what the CPU's and the GPU's convolutions are fastest with
        self.net = net.to(device, self.dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.parameters = parameters(self.net)
        self.size = settings.resize
        self.matrices: dict[int, torch.Tensor] = {}

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Predict; see :class:`common.contract.Predictor`."""
        self.net.eval()
        with torch.inference_mode(), self.autocast():
            logits = self.net(self.pixels(self.on_device(images)))
        return logits.to(self.dtype).cpu().numpy()

    def activations(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs of all layers; see :class:`common.contract.Predictor`."""
        with self.autocast():
            return layers.activations(self.net, self.pixels(self.on_device(images)))

    def gradients(
        self, images: np.ndarray, labels: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Loss and its gradients; see :class:`common.contract.Predictor`."""
        target = self.on_device(labels.astype(np.int64))
        self.net.eval()
        with self.autocast():
            logits = self.net(self.pixels(self.on_device(images)))
        loss = F.cross_entropy(logits.to(self.dtype), target)
        slopes = torch.autograd.grad(loss, list(self.parameters.values()))
        named = zip(self.parameters, slopes, strict=True)
        return loss.item(), {name: to_canonical(slope) for name, slope in named}

    def pixels(self, images: torch.Tensor) -> torch.Tensor:
        """What the network sees: resized, scaled to 0...1.

        Args:
            images: uint8, (batch, height, width), on the device.

        Returns:
            (batch, 1, resize, resize).
        """
        matrix = self.matrix(images.shape[1])
        return (matrix @ (images.to(self.dtype) / 255) @ matrix.mT).unsqueeze(1)

    def matrix(self, size: int) -> torch.Tensor:
        """The matrix that resizes images of a height and width, on the device."""
        if size not in self.matrices:
            matrix = torch.from_numpy(resize_matrix(size, self.size))
            self.matrices[size] = matrix.to(self.device.native, self.dtype)
        return self.matrices[size]

    def on_device(self, array: np.ndarray) -> torch.Tensor:
        """An array as a tensor; a GPU copies it when it gets there, and nobody waits for it."""
        return torch.from_numpy(array).to(self.device.native, non_blocking=True)
