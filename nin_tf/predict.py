"""Prediction in TensorFlow: logits, the outputs of all layers, and gradients, with dropout off."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from common.data.interpolation import resize_matrix
from common.network.names import leaves
from common.settings import Settings, check_precision
from nin_tf import layers
from nin_tf.device import PRECISIONS, find_device
from nin_tf.weights import convolutions, parameters, to_canonical


class Predictor:
    """A network on a device, in a precision, for images of a size.

    Args:
        net: a network with weights; it moves to the device.
        settings: precision, device and resize are used.

    Raises:
        NinError: if there is no such device or precision, or for a layer that has no place here.
    """

    def __init__(self, net: tf.keras.Sequential, settings: Settings) -> None:
        check_precision(settings.precision, PRECISIONS)
        self.device = find_device(settings.device)
        self.dtype = tf.float64 if settings.precision == "float64" else tf.float32
        policy = {"bfloat16": "mixed_bfloat16"}.get(settings.precision, settings.precision)
        self.policy = tf.keras.mixed_precision.Policy(policy)
        if self.device.kind == "gpu":
            # the same numbers in every run, also on a GPU
            tf.config.experimental.enable_op_determinism()
        self.net = net
        self.layers = [each.layer for each in leaves(layers.named_layers(net))]
        _move(net, self.device.native, self.dtype)
        self.parameters = parameters(net)
        self.size = settings.resize
        self.matrices: dict[int, tf.Tensor] = {}
        self._predict: Callable[..., tf.Tensor] | None = None

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Predict; see :class:`common.contract.Predictor`."""
        if self._predict is None:
            # differs: what runs is a graph, traced once, for batches of any length
            pixels = tf.TensorSpec([None] * 3, tf.uint8)
            matrix = tf.TensorSpec([None] * 2, self.dtype)
            self._predict = self._graph(self._predict_images, pixels, matrix)
        return self._predict(self.on_device(images), self.matrix(images.shape[1])).numpy()

    def activations(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs of all layers; see :class:`common.contract.Predictor`."""
        with self._computing():
            return layers.activations(self.net, self.pixels(self.on_device(images)))

    def gradients(
        self, images: np.ndarray, labels: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Loss and its gradients; see :class:`common.contract.Predictor`."""
        with self._computing():
            pixels = self.pixels(self.on_device(images))
            target = self.on_device(labels.astype(np.int64))
            with tf.GradientTape() as tape:
                logits = self._forward(pixels, training=False)
                loss = tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(target, logits)
                )
            slopes = tape.gradient(loss, list(self.parameters.values()))
        named = zip(self.parameters, slopes, strict=True)
        return float(loss.numpy()), {name: to_canonical(slope) for name, slope in named}

    def pixels(self, images: tf.Tensor, matrix: tf.Tensor | None = None) -> tf.Tensor:
        """What the network sees: resized, scaled to 0...1.

        Args:
            images: 0...255, (batch, height, width), on the device.
            matrix: that resizes them; None for :meth:`matrix`.

        Returns:
            (batch, resize, resize, 1).
        """
        matrix = self.matrix(images.shape[1]) if matrix is None else matrix
        scaled = tf.cast(images, self.dtype) / 255
        return (matrix @ scaled @ tf.linalg.matrix_transpose(matrix))[..., tf.newaxis]

    def matrix(self, size: int) -> tf.Tensor:
        """The matrix that resizes images of a height and width, on the device."""
        if size not in self.matrices:
            # not a part of a graph that is being traced
            with tf.init_scope(), tf.device(self.device.native):
                self.matrices[size] = tf.constant(resize_matrix(size, self.size), self.dtype)
        return self.matrices[size]

    def on_device(self, array: np.ndarray) -> tf.Tensor:
        """An array as a tensor; it gets to the device when it is computed with."""
        return tf.constant(array)

    def _forward(self, X: tf.Tensor, training: bool) -> tf.Tensor:
        """Logits of pixels, the layers one after the other.

        differs: a Keras network casts its pixels to the type that it was built for.
        """
        for layer in self.layers:
            X = layer(X, training=training)
        return tf.cast(X, self.dtype)

    @contextlib.contextmanager
    def _computing(self) -> Iterator[None]:
        """On the device and in the precision; the layers are left as they were found.

        differs: PyTorch has autocast for this; a Keras layer has a policy.
        """
        before = [layer.dtype_policy for layer in self.layers]
        for layer in self.layers:
            layer.dtype_policy = self.policy
        try:
            with tf.device(self.device.native):
                yield
        finally:
            for layer, policy in zip(self.layers, before, strict=True):
                layer.dtype_policy = policy

    def _graph(self, function: Callable[..., Any], *signature: tf.TensorSpec) -> Callable[..., Any]:
        """A function of tensors as a graph, traced now and in the precision."""
        with self._computing():
            return tf.function(function, signature, autograph=False).get_concrete_function()

    def _predict_images(self, images: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
        """Traced for :meth:`logits`."""
        with tf.device(self.device.native):
            return self._forward(self.pixels(images, matrix), training=False)


def _move(net: tf.keras.Sequential, device: str, dtype: tf.DType) -> None:
    """Put a network's weights on a device, in a type.

    differs: PyTorch and MXNet move a network; a Keras variable keeps the type and the device that
    it was made with, so that the variable of TensorFlow inside it is replaced. Its layers get the
    policy that goes with the type, so that the network can still be called.
    """
    for _, layer, _ in leaves(layers.named_layers(net)):
        if layer.dtype_policy.variable_dtype != dtype.name:
            layer.dtype_policy = dtype.name
    for _, layer in convolutions(net):
        for variable in layer.trainable_variables:
            there = device.endswith("CPU:0") == ("CPU" in variable.value.device)
            if variable.value.dtype != dtype or not there:
                with tf.device(device):
                    value = tf.Variable(tf.cast(variable.value, dtype), trainable=True)
                variable._dtype, variable._value = dtype.name, value
