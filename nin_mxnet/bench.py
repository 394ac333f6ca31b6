"""What ``scripts/bench.py`` times in MXNet: the step with nothing around it, and its parts."""

import json
import tempfile
from pathlib import Path

import numpy as np
from mxnet import autograd, npx, profiler
from mxnet import np as mnp
from mxnet.gluon import nn

from common.contract import Device, Work
from common.network.architecture import Convolution
from nin_mxnet.train import Trainer


def bare_step(
    trainer: Trainer, images: np.ndarray, labels: np.ndarray, learning_rate: float
) -> Work:
    """The framework's own loop on one batch; see :class:`common.contract.Backend`."""
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
    """A product of two square matrices; see :class:`common.contract.Backend`."""
    A, B = mnp.random.normal(size=(2, size, size), ctx=device.native)

    def work(times: int) -> None:
        for _ in range(times):
            mnp.dot(A, B)
        npx.waitall()

    return work


def convolution(device: Device, layer: Convolution, batch: int, backward: bool) -> Work:
    """One convolution alone; see :class:`common.contract.Backend`."""
    window = (layer.kernel_size, layer.stride, layer.padding)
    net = nn.Conv2D(layer.out_channels, *window, in_channels=layer.in_channels)
    net.initialize(ctx=device.native)
    net.hybridize(static_alloc=True)
    shape = (batch, layer.in_channels, layer.input_size, layer.input_size)
    X = mnp.random.normal(size=shape, ctx=device.native)
    if not layer.is_first:
        X.attach_grad()

    def work(times: int) -> None:
        for _ in range(times):
            if backward:
                with autograd.record():
                    output = net(X)
                output.backward()
            else:
                net(X)
        npx.waitall()

    return work


def profile(trainer: Trainer, work: Work) -> dict[str, float]:
    """Seconds of each kind of operation; see :class:`common.contract.Backend`."""
    # differs: of a graph the profiler knows long parts only, so layer by layer, once warmed up
    trainer.graph.hybridize(False)
    work(3)
    with tempfile.TemporaryDirectory() as directory:
        # differs: it replaces a file of this name, profile.json in the working directory if none
        # is given, now and at the end of the process
        file = str(Path(directory, "profile.json"))
        profiler.set_config(profile_imperative=True, aggregate_stats=True, filename=file)
        profiler.set_state("run")
        work(1)
        profiler.set_state("stop")
        found = json.loads(profiler.dumps(reset=True, format="json"))["Time"]["operator"]
    return {name: each["Total"] / 1e3 for name, each in found.items()}
