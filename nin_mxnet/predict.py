"""Prediction in MXNet: logits, the outputs of all layers, and gradients, with dropout off."""

import numpy as np
from mxnet import autograd, npx
from mxnet import np as mnp
from mxnet.gluon import Block, nn
from mxnet.gluon.loss import SoftmaxCrossEntropyLoss

from common.data.interpolation import resize_matrix
from common.settings import Settings, check_precision
from nin_mxnet import layers
from nin_mxnet._graph import as_graph
from nin_mxnet.device import PRECISIONS, find_device
from nin_mxnet.weights import parameters, to_canonical


class Predictor:
    """A network on a device, in a precision, for images of a size.

    Args:
        net: a network with weights; it moves to the device.
        settings: precision, device and resize are used.

    Raises:
        NinError: if there is no such device or precision, or for a layer that has no place here.
    """

    def __init__(self, net: Block, settings: Settings) -> None:
        check_precision(settings.precision, PRECISIONS)
        self.device = find_device(settings.device)
        self.dtype = np.float64 if settings.precision == "float64" else np.float32
        self.parameters = parameters(net)
        for value in self.parameters.values():
            # differs: MXNet would make new arrays and gradients of those that are right already,
            # and disturb a training that goes on
            if value.list_ctx() != [self.device.native]:
                value.reset_ctx(self.device.native)
            if value.dtype != self.dtype:
                value.cast(self.dtype)
        self.net = net
        self.graph = as_graph(net)
        self.cross_entropy = SoftmaxCrossEntropyLoss()
        self.cross_entropy.hybridize(static_alloc=True)
        self.size = settings.resize
        self.matrices: dict[int, mnp.ndarray] = {}

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Predict; see :class:`common.contract.Predictor`."""
        return self.graph(self.pixels(self.on_device(images))).asnumpy()

    def activations(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs of all layers; see :class:`common.contract.Predictor`."""
        return layers.activations(self.net, self.pixels(self.on_device(images)))

    def gradients(
        self, images: np.ndarray, labels: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Loss and its gradients; see :class:`common.contract.Predictor`."""
        pixels = self.pixels(self.on_device(images))
        target = self.on_device(labels.astype(np.int64))
        # differs: MXNet's dropout that is off lets values through but multiplies their gradients
        # by a mask it never drew (seen in 1.9.1), so here the layer itself is left out
        graph = as_graph(self.net, without=(nn.Dropout,))
        graph.hybridize(active=False)
        with autograd.record():
            loss = self.cross_entropy(graph(pixels), target).mean()
        loss.backward()
        named = self.parameters.items()
        return loss.item(), {name: to_canonical(value.grad()) for name, value in named}

    def pixels(self, images: mnp.ndarray) -> mnp.ndarray:
        """What the network sees: resized, scaled to 0...1.

        Args:
            images: uint8, (batch, height, width), on the device.

        Returns:
            (batch, 1, resize, resize).
        """
        scaled = mnp.expand_dims(images, 1).astype(self.dtype) / 255
        matrix = self.matrix(images.shape[1])
        # differs: MXNet's matmul copies the matrix for each image; fully_connected does not, but
        # multiplies from the right only: R @ image @ R.T = (image.T @ R.T).T @ R.T, so twice
        for _ in range(2):
            scaled = npx.fully_connected(
                scaled.transpose(0, 1, 3, 2), matrix, no_bias=True, flatten=False,
                num_hidden=self.size,
            )  # fmt: skip
        return scaled

    def matrix(self, size: int) -> mnp.ndarray:
        """The matrix that resizes images of a height and width, on the device."""
        if size not in self.matrices:
            matrix = resize_matrix(size, self.size)
            self.matrices[size] = mnp.array(matrix, dtype=self.dtype, ctx=self.device.native)
        return self.matrices[size]

    def on_device(self, array: np.ndarray) -> mnp.ndarray:
        """An array as one of MXNet's, on the device."""
        return mnp.array(array, dtype=array.dtype, ctx=self.device.native)
