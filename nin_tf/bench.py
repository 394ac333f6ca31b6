"""What ``scripts/bench.py`` times in TensorFlow: the step with nothing around it, and its parts."""

import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import tensorflow as tf

from common.architecture import Convolution
from common.backends import Device, Work
from nin_tf.train import Trainer


def bare_step(
    trainer: Trainer, images: np.ndarray, labels: np.ndarray, learning_rate: float
) -> Work:
    """The framework's own loop on one batch; see :class:`common.backends.Backend`."""
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
    """A product of two square matrices; see :class:`common.backends.Backend`."""
    with tf.device(device.native):
        A, B = tf.unstack(tf.random.normal((2, size, size)))

    def work(times: int) -> None:
        for _ in range(times):
            product = A @ B
        product[0, 0].numpy()

    return work


def convolution(device: Device, layer: Convolution, batch: int, backward: bool) -> Work:
    """One convolution alone; see :class:`common.backends.Backend`."""
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
    """Seconds of each kind of operation; see :class:`common.backends.Backend`."""
    # differs: the profiler leaves a file that is meant for TensorBoard, whose format is not public
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    gpu = trainer.device.kind == "gpu"
    seconds: dict[str, float] = defaultdict(float)
    with tempfile.TemporaryDirectory() as directory:
        with tf.profiler.experimental.Profile(directory):
            work(1)
        (file,) = Path(directory).rglob("*.xplane.pb")
        for plane in xplane_pb2.XSpace.FromString(file.read_bytes()).planes:
            for line in plane.lines:
                if line.name.startswith("TensorFlow Ops" if gpu else "tf_Compute"):
                    for event in line.events:
                        # "where/in/the/graph:Kind"
                        name = plane.event_metadata[event.metadata_id].name.split(":")
                        if len(name) == 2:
                            seconds[name[1]] += event.duration_ps / 1e12
    return dict(seconds)
