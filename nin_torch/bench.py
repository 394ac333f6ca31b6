"""What ``scripts/bench.py`` times in PyTorch: the step with nothing around it, and its parts."""

from typing import Any

import numpy as np
import torch
from torch import nn, profiler
from torch.autograd import DeviceType
from torch.nn import functional as F

from common.architecture import Convolution
from common.backends import Device, Work
from nin_torch.train import Trainer


def bare_step(
    trainer: Trainer, images: np.ndarray, labels: np.ndarray, learning_rate: float
) -> Work:
    """The framework's own loop on one batch; see :class:`common.backends.Backend`."""
    device = trainer.device.native
    X = trainer.pixels(torch.from_numpy(images).to(device))
    y = torch.from_numpy(labels.astype(np.int64)).to(device)

    def work(times: int) -> None:
        for group in trainer.optimizer.param_groups:
            group["lr"] = learning_rate
        trainer.net.train()
        for _ in range(times):
            loss = F.cross_entropy(trainer.net(X), y)
            trainer.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            trainer.optimizer.step()
        loss.item()

    return work


def matrix_product(device: Device, size: int) -> Work:
    """A product of two square matrices; see :class:`common.backends.Backend`."""
    A, B = torch.randn(2, size, size, device=device.native)

    def work(times: int) -> None:
        for _ in range(times):
            product = A @ B
        product[0, 0].item()

    return work


def convolution(device: Device, layer: Convolution, batch: int, backward: bool) -> Work:
    """One convolution alone; see :class:`common.backends.Backend`."""
    window = (layer.kernel_size, layer.stride, layer.padding)
    net = nn.Conv2d(layer.in_channels, layer.out_channels, *window)
    net = net.to(device.native, memory_format=torch.channels_last)  # type: ignore[call-overload]
    shape = (batch, layer.in_channels, layer.input_size, layer.input_size)
    X = torch.randn(shape, device=device.native).to(memory_format=torch.channels_last)
    X.requires_grad_(backward and not layer.is_first)
    wanted = [*net.parameters(), *([X] if X.requires_grad else [])]
    slope = torch.ones_like(net(X))

    def work(times: int) -> None:
        with torch.set_grad_enabled(backward):
            for _ in range(times):
                last = net(X)
                if backward:
                    last = torch.autograd.grad(last, wanted, slope)[0]
        last.flatten()[0].item()

    return work


def profile(trainer: Trainer, work: Work) -> dict[str, float]:
    """Seconds of each kind of operation; see :class:`common.backends.Backend`."""
    gpu = trainer.device.kind == "gpu"
    activities = [profiler.ProfilerActivity.CPU]
    activities += [profiler.ProfilerActivity.CUDA] if gpu else []
    with profiler.profile(activities=activities) as found:
        work(1)
    return _seconds(found.key_averages(), trainer.device.kind)


def _seconds(averages: Any, kind: str) -> dict[str, float]:
    # an operation's own time, without that of others which it calls
    name = "self_device_time_total" if kind == "gpu" else "self_cpu_time_total"
    return {
        event.key: getattr(event, name) / 1e6
        for event in averages
        # a kernel counts with the operation that starts it, not again by itself or in an annotation
        # (PyTorch below 2.5 does not say what is one; those of its own have a # in the name)
        if event.device_type == DeviceType.CPU
        and not getattr(event, "is_user_annotation", "#" in event.key)
    }
