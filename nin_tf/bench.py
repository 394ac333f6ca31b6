"""What ``scripts/bench.py`` times in TensorFlow: the step with nothing around it, and its parts."""

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
            trainer.optimizer.update(tape.gradient(loss, values), rate)
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
