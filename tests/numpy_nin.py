"""The chapter's network and its variants in plain NumPy: a fourth backend, for the comparison.

It fulfils as much of :class:`common.contract.Backend` as the comparison asks for, in one file and
in the plainest arithmetic, so that it can be checked by eye: ``scripts/compare.py --backends
torch,tests/numpy_nin.py``. The mutation suite breaks it in one place at a time.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from common.contract import LayerOutput
from common.data.interpolation import resize_matrix
from common.network import architecture


class Convolution:
    """A convolution as one matrix product over all windows."""

    def __init__(self, in_channels, out_channels, kernel_size, stride, padding):
        self.stride, self.padding = stride, padding
        self.weight = np.zeros((out_channels, in_channels, kernel_size, kernel_size))
        self.bias = np.zeros(out_channels)

    def forward(self, X, training=False):
        X = np.pad(X, ((0, 0), (0, 0), *[(self.padding, self.padding)] * 2))
        self.input_shape = X.shape
        windows = sliding_window_view(X, self.weight.shape[2:], (2, 3))
        # (batch, height, width, channels, kernel, kernel)
        windows = windows[:, :, :: self.stride, :: self.stride].transpose(0, 2, 3, 1, 4, 5)
        self.windows_shape = windows.shape
        self.columns = windows.reshape(-1, self.weight[0].size)
        Y = self.columns @ self.weight.reshape(len(self.weight), -1).T + self.bias
        return Y.reshape(*self.windows_shape[:3], -1).transpose(0, 3, 1, 2)

    def backward(self, slope):
        rows = slope.transpose(0, 2, 3, 1).reshape(len(self.columns), -1)
        self.weight_slope = (rows.T @ self.columns).reshape(self.weight.shape)
        self.bias_slope = rows.sum(0)
        windows = (rows @ self.weight.reshape(len(self.weight), -1)).reshape(self.windows_shape)
        padded = add_windows(windows, self.input_shape, self.stride)
        return padded[:, :, self.padding : padded.shape[2] - self.padding or None,
                      self.padding : padded.shape[3] - self.padding or None]  # fmt: skip


class ReLU:
    def forward(self, X, training=False):
        self.positive = X > 0
        return X * self.positive

    def backward(self, slope):
        return slope * self.positive


class MaxPool:
    """Stride 2; a window that does not fit is dropped."""

    def __init__(self, kernel=3):
        self.kernel = kernel

    def forward(self, X, training=False):
        self.input_shape = X.shape
        windows = sliding_window_view(X, (self.kernel, self.kernel), (2, 3))[:, :, ::2, ::2]
        windows = windows.reshape(*windows.shape[:4], -1)
        self.largest = windows.argmax(-1)
        return windows.max(-1)

    def backward(self, slope):
        windows = slope[..., None] * (self.largest[..., None] == np.arange(self.kernel**2))
        windows = windows.transpose(0, 2, 3, 1, 4)
        windows = windows.reshape(*windows.shape[:4], self.kernel, self.kernel)
        return add_windows(windows, self.input_shape, 2)


class Dropout:
    def __init__(self, rate):
        self.rate = rate
        self.rng = np.random.default_rng(0)

    def forward(self, X, training=False):
        self.mask = np.ones_like(X)
        if training and self.rate:
            self.mask = (self.rng.random(X.shape) >= self.rate).astype(X.dtype) / (1 - self.rate)
        return X * self.mask

    def backward(self, slope):
        return slope * self.mask


class GlobalAveragePool:
    def forward(self, X, training=False):
        self.input_shape = X.shape
        return X.mean((2, 3), keepdims=True)

    def backward(self, slope):
        height, width = self.input_shape[2:]
        return np.broadcast_to(slope / (height * width), self.input_shape)


class Flatten:
    def forward(self, X, training=False):
        self.input_shape = X.shape
        return X.reshape(len(X), -1)

    def backward(self, slope):
        return slope.reshape(self.input_shape)


class Dense:
    """A fully connected layer, with the ReLU that may follow."""

    def __init__(self, in_channels, out_channels, relu):
        self.weight, self.bias = np.zeros((out_channels, in_channels)), np.zeros(out_channels)
        self.relu = relu

    def forward(self, X, training=False):
        self.X = X
        Y = X @ self.weight.T + self.bias
        self.passed = (Y > 0) | (not self.relu)
        return Y * self.passed

    def backward(self, slope):
        slope = slope * self.passed
        self.weight_slope, self.bias_slope = slope.T @ self.X, slope.sum(0)
        return slope @ self.weight


def add_windows(windows, shape, stride):
    """The reverse of cutting into windows: each goes back to its place, overlaps add up.

    Args:
        windows: (batch, height, width, channels, kernel, kernel).
        shape: of the result, (batch, channels, height, width).
        stride: from window to window, in pixels.
    """
    _, height, width, _, kernel, _ = windows.shape
    whole = np.zeros(shape, windows.dtype)
    windows = windows.transpose(0, 3, 1, 2, 4, 5)
    for i in range(kernel):
        for j in range(kernel):
            rows = slice(i, i + stride * (height - 1) + 1, stride)
            columns = slice(j, j + stride * (width - 1) + 1, stride)
            whole[:, :, rows, columns] += windows[..., i, j]
    return whole


def nin_block(in_channels, out_channels, kernel_size, stride, padding):
    """Canonical name within the block -> layer."""
    return {
        "conv1": Convolution(in_channels, out_channels, kernel_size, stride, padding),
        "relu1": ReLU(),
        "conv2": Convolution(out_channels, out_channels, 1, 1, 0),
        "relu2": ReLU(),
        "conv3": Convolution(out_channels, out_channels, 1, 1, 0),
        "relu3": ReLU(),
    }


def nin(num_classes=10, in_channels=1, dropout=0.5):
    """The chapter's network: canonical name -> layer, or for a block such names."""
    return {
        "block1": nin_block(in_channels, 96, 11, 4, 0),
        "pool1": MaxPool(),
        "block2": nin_block(96, 256, 5, 1, 2),
        "pool2": MaxPool(),
        "block3": nin_block(256, 384, 3, 1, 1),
        "pool3": MaxPool(),
        "dropout": Dropout(dropout),
        "block4": nin_block(384, num_classes, 3, 1, 1),
        "global_pool": GlobalAveragePool(),
        "flatten": Flatten(),
    }


def build(network, num_classes=10, in_channels=1, dropout=0.5, size=224):
    """The network of a description, as :func:`nin` gives the chapter's."""
    layers = architecture.layers(num_classes, in_channels, network)
    layers += architecture.dense_layers(size, num_classes, network)
    net = {}
    for name in architecture.layer_shapes(size, network):
        kind = name.rstrip("0123456789")
        inside = [layer for layer in layers if layer.name.partition(".")[0] == name]
        if kind == "block":
            net[name] = {}
            for layer in inside:
                conv = layer.name.partition(".")[2]
                net[name][conv] = Convolution(*layer[1:6])
                if layer.relu:
                    net[name][conv.replace("conv", "relu")] = ReLU()
        elif kind == "pool":
            net[name] = MaxPool(inside[0].kernel_size)
        elif kind == "dense":
            net[name] = Dense(inside[0].in_channels, inside[0].out_channels, inside[0].relu)
        elif kind == "dropout":
            net[name] = Dropout(dropout)
        else:
            net[name] = {"global_pool": GlobalAveragePool, "flatten": Flatten}[kind]()
    return net


def leaves(net):
    """All layers in order; those of a block as ``block1.conv1`` ..."""
    for name, layer in net.items():
        if isinstance(layer, dict):
            yield from ((f"{name}.{inner}", value) for inner, value in layer.items())
        else:
            yield name, layer


def convolutions(net):
    return [(name, layer) for name, layer in leaves(net) if isinstance(layer, Convolution | Dense)]


def get_weights(net):
    weights = {}
    for name, layer in convolutions(net):
        weights[f"{name}.weight"] = layer.weight.copy()
        weights[f"{name}.bias"] = layer.bias.copy()
    return weights


def set_weights(net, weights):
    for name, layer in convolutions(net):
        layer.weight = weights[f"{name}.weight"].copy()
        layer.bias = weights[f"{name}.bias"].copy()


def shape_walk(net, images):
    X = images
    for name, layer in net.items():
        for inner in layer.values() if isinstance(layer, dict) else [layer]:
            X = inner.forward(X)
        yield LayerOutput(name, str(X.shape), name, X)


def cross_entropy(logits, labels):
    """Mean cross-entropy in nats, and its slope in the logits."""
    shifted = logits - logits.max(1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    rows = np.arange(len(labels))
    slope = np.exp(log_softmax)
    slope[rows, labels] -= 1
    return -log_softmax[rows, labels].mean(), slope / len(labels)


class Predictor:
    needs_slopes = True

    def __init__(self, net, settings):
        self.net = net
        self.dtype = np.dtype(settings.precision)
        self.size = settings.resize

    def pixels(self, images):
        resize = resize_matrix(images.shape[1], self.size).astype(self.dtype)
        return (resize @ (images.astype(self.dtype) / 255) @ resize.T)[:, None]

    def forward(self, images, training=False):
        X, outputs = self.pixels(images), {}
        outputs["input"] = X
        for name, layer in leaves(self.net):
            X = layer.forward(X, training)
            # the ReLU that follows overwrites the entry of its convolution
            outputs[name.replace("relu", "conv")] = X
        return outputs

    def activations(self, images):
        return self.forward(images)

    def logits(self, images):
        return list(self.forward(images).values())[-1]

    def gradients(self, images, labels, training=False):
        loss, slope = cross_entropy(list(self.forward(images, training).values())[-1], labels)
        if not self.needs_slopes:
            return float(loss), dict.fromkeys(get_weights(self.net), 0.0)
        for _, layer in reversed(list(leaves(self.net))):
            slope = layer.backward(slope)
        slopes = {}
        for name, layer in convolutions(self.net):
            slopes[f"{name}.weight"] = layer.weight_slope
            slopes[f"{name}.bias"] = layer.bias_slope
        return float(loss), slopes


class Trainer(Predictor):
    def __init__(self, net, settings, images, labels):
        super().__init__(net, settings)
        self.images, self.labels = images, labels
        self.metrics = []

    def train_batch(self, indices, learning_rate, step):
        images, labels = self.images[indices], self.labels[indices]
        # at a rate of 0 what they are changes nothing: half of the time of the comparison's tests
        self.needs_slopes = learning_rate != 0
        loss, slopes = self.gradients(images, labels, training=True)
        self.needs_slopes = True
        self.metrics.append(loss)
        for name, layer in convolutions(self.net):
            layer.weight -= learning_rate * slopes[f"{name}.weight"]
            layer.bias -= learning_rate * slopes[f"{name}.bias"]

    def take_metrics(self):
        losses, self.metrics = np.array(self.metrics), []
        return losses, np.zeros(len(losses), np.int64)  # it does not count correct answers
