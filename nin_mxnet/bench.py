"""What ``scripts/bench.py`` times in MXNet: the step with nothing around it."""

import numpy as np
from mxnet import autograd, npx
from mxnet import np as mnp

from common.contract import Device, Work
from nin_mxnet.train import Trainer


def bare_step(
    trainer: Trainer, images: np.ndarray, labels: np.ndarray, learning_rate: float
) -> Work:
    """The framework's own loop on one batch; see :class:`common.contract.Benchmark`."""
    device = trainer.device.native
    X = trainer.pixels(mnp.array(images, dtype=np.uint8, ctx=device))
    y = mnp.array(labels, dtype=np.int64, ctx=device)

    def work(times: int) -> None:
        for _ in range(times):
            with autograd.record():
                loss = trainer.cross_entropy(trainer.graph(X), y).mean()
            loss.backward()
            trainer.optimizer.step(learning_rate)
        npx.waitall()

    return work


def matrix_product(device: Device, size: int) -> Work:
    """A product of two square matrices; see :class:`common.contract.Benchmark`."""
    A, B = mnp.random.normal(size=(2, size, size), ctx=device.native)

    def work(times: int) -> None:
        for _ in range(times):
            mnp.dot(A, B)
        npx.waitall()

    return work
