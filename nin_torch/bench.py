"""What ``scripts/bench.py`` times in PyTorch: the step with nothing around it."""

import numpy as np
import torch
from torch.nn import functional as F

from common.contract import Device, Work
from nin_torch.train import Trainer


def bare_step(
    trainer: Trainer, images: np.ndarray, labels: np.ndarray, learning_rate: float
) -> Work:
    """The framework's own loop on one batch; see :class:`common.contract.Benchmark`."""
    device = trainer.device.native
    X = trainer.pixels(torch.from_numpy(images).to(device))
    y = torch.from_numpy(labels.astype(np.int64)).to(device)

    def work(times: int) -> None:
        for group in trainer.optimizer.param_groups:
            # no capture is under way, whatever the trainer's own step left there
            group["lr"], group["capturable"] = learning_rate, False
        trainer.net.train()
        for _ in range(times):
            loss = F.cross_entropy(trainer.net(X), y)
            trainer.optimizer.zero_grad()
            loss.backward()
            trainer.optimizer.step()
        loss.item()

    return work


def matrix_product(device: Device, size: int) -> Work:
    """A product of two square matrices; see :class:`common.contract.Benchmark`."""
    A, B = torch.randn(2, size, size, device=device.native)

    def work(times: int) -> None:
        for _ in range(times):
            product = A @ B
        product[0, 0].item()

    return work
