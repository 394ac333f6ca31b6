"""What ``scripts/bench.py`` times in TensorFlow: the step with nothing around it, and its parts."""

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from common.contract import Device, Work
from common.network.architecture import Convolution
from nin_tf.train import Trainer


def bare_step(
    trainer: Trainer, images: np.ndarray, labels: np.ndarray, learning_rate: float
) -> Work:
    """The framework's own loop on one batch; see :class:`common.contract.Backend`."""
    with tf.device(trainer.device.native):
        X = trainer.pixels(tf.constant(images))
        y = tf.constant(labels.astype(np.int64))
    rate = tf.constant(learning_rate, tf.float64)
    values = list(trainer.parameters.values())

    @tf.function(autograph=False)
    def step(X: tf.Tensor, y: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        with tf.device(trainer.device.native):
            with tf.GradientTape() as tape:
                logits = trainer.net(X, training=True)
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
            trainer.optimizer.step(tape.gradient(loss, values), rate)
            return loss

    def work(times: int) -> None:
        for _ in range(times):
            loss = step(X, y, rate)
        loss.numpy()

    return work


def matrix_product(device: Device, size: int) -> Work:
    """A product of two square matrices; see :class:`common.contract.Backend`."""
    with tf.device(device.native):
        A, B = tf.unstack(tf.random.normal((2, size, size)))

    def work(times: int) -> None:
        for _ in range(times):
            product = A @ B
        product[0, 0].numpy()

    return work


def convolution(device: Device, layer: Convolution, batch: int, backward: bool) -> Work:
    """One convolution alone; see :class:`common.contract.Backend`."""
    padding = "same" if layer.padding else "valid"
    window = (layer.kernel_size, layer.stride, padding)
    with tf.device(device.native):
        net = tf.keras.layers.Conv2D(layer.out_channels, *window)
        X = tf.random.normal((batch, layer.input_size, layer.input_size, layer.in_channels))
        slope = tf.ones_like(net(X))

    @tf.function(autograph=False)
    def once(X: tf.Tensor, slope: tf.Tensor) -> list[tf.Tensor]:
        with tf.device(device.native):
            if not backward:
                return [net(X)]
            inputs = [*net.trainable_variables, *([] if layer.is_first else [X])]
            with tf.GradientTape() as tape:
                tape.watch(X)
                output = net(X)
            # the gradients do not need the output, and what nobody asks for is not computed
            return [output, *tape.gradient(output, inputs, slope)]

    def work(times: int) -> None:
        for _ in range(times):
            last = once(X, slope)[0]
        tf.reshape(last, -1)[0].numpy()

    return work


def profile(trainer: Trainer, work: Work) -> dict[str, float]:
    """Seconds of each kind of operation; see :class:`common.contract.Backend`."""
    # differs: the profiler leaves a file that is meant for TensorBoard, whose format is not public
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as directory:
        with tf.profiler.experimental.Profile(directory):
            work(1)
        (file,) = Path(directory).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
    return _seconds(space, trainer.device.kind)


def _seconds(space: Any, kind: str) -> dict[str, float]:
    seconds: dict[str, float] = defaultdict(float)
    for full_name, duration_ps in _on_gpu(space) if kind == "gpu" else _on_cpu(space):
        # "where/in/the/graph:Kind"
        name = full_name.split(":")
        if len(name) == 2:
            seconds[name[1]] += duration_ps / 1e12
    return dict(seconds)


def _on_cpu(space: Any) -> Iterator[tuple[str, int]]:
    for plane in space.planes:
        for line in plane.lines:
            if line.name.startswith("tf_Compute"):
                for event in line.events:
                    yield plane.event_metadata[event.metadata_id].name, event.duration_ps


def _on_gpu(space: Any) -> Iterator[tuple[str, int]]:
    # a line of operations is only made by TensorBoard: the file has the streams, whose kernels tell
    # their operations; as there, what is copied or allocated does not count
    for plane in space.planes:
        names = {number: each.name for number, each in plane.stat_metadata.items()}
        for line in plane.lines if plane.name.startswith("/device:GPU") else ():
            for event in line.events:
                stats = {names[stat.metadata_id]: stat for stat in event.stats}
                if {"kernel_details", "tf_op"} <= stats.keys():
                    yield names[stats["tf_op"].ref_value], event.duration_ps
