"""What ``scripts/bench.py`` times in TensorFlow: the step with nothing around it."""

import numpy as np
import tensorflow as tf

from common.contract import Device, Work
from nin_tf.train import Trainer


def bare_step(
    trainer: Trainer, images: np.ndarray, labels: np.ndarray, learning_rate: float
) -> Work:
    """The framework's own loop on one batch; see :class:`common.contract.Benchmark`."""
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
    """A product of two square matrices; see :class:`common.contract.Benchmark`."""
    with tf.device(device.native):
        A, B = tf.unstack(tf.random.normal((2, size, size)))

    def work(times: int) -> None:
        for _ in range(times):
            product = A @ B
        product[0, 0].numpy()

    return work
