"""NiN in JAX: a fourth backend, complete, in one file, to be read beside the three ``model.py``.

What this framework makes different: its functions keep no state. So layers are plain data, the
parameters stand beside them and go into each call, an update gives new ones, and random numbers
come from keys. A function under ``jax.jit`` is compiled once for the same layers and arrays of the
same shapes and types, whichever network or trainer calls it. Channels first (NCHW) and weights
(out, in, height, width) are what ``lax.conv_general_dilated`` takes unless it is told otherwise.

What each function has to do, and the types, are in ``common/contract.py``. It lacks an
``Exporter``, as JAX has no file format of its own (``safetensors.flax.load_file`` reads our
``model.safetensors``), and ``Distribution``: it trains alone.
"""

import os
from collections import namedtuple
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from common.contract import Device, LayerOutput
from common.data import augmentation
from common.data.interpolation import resize_matrix
from common.errors import NinError, one_line
from common.network.architecture import dense_layers
from common.network.names import leaves, name_layers
from common.network.parameters import check_parameters
from common.settings import check_precision
from common.training import muon
from common.training.schedule import step_seed

# differs: without this, JAX computes in float32 what was asked for in float64; it holds for the
# whole process, so that each array below is made in the type that it is to have
jax.config.update("jax_enable_x64", True)

NAME = "jax"
# no bfloat16: on a CPU it takes twice as long as float32 (jaxlib 0.7.1)
PRECISIONS = ("float32", "float64")
KEEP_MEMORY = False


# ----------------------------------------------------------------- the network


def nin_block(in_channels, out_channels, kernel_size, strides, padding):
    """A convolution, then two 1x1 convolutions that act as fully connected layers on each pixel."""
    return [
        Conv(in_channels, out_channels, kernel_size, strides, padding),
        ReLU(),
        Conv(out_channels, out_channels, kernel_size=1),
        ReLU(),
        Conv(out_channels, out_channels, kernel_size=1),
        ReLU(),
    ]


def nin(num_classes=10, in_channels=1, dropout=0.5):
    """The chapter's network: (batch, in_channels, height, width) to (batch, num_classes)."""
    return Network(
        nin_block(in_channels, 96, kernel_size=11, strides=4, padding=0),
        MaxPool(kernel_size=3, strides=2),
        nin_block(96, 256, kernel_size=5, strides=1, padding=2),
        MaxPool(kernel_size=3, strides=2),
        nin_block(256, 384, kernel_size=3, strides=1, padding=1),
        MaxPool(kernel_size=3, strides=2),
        Dropout(dropout),
        # one channel per class
        nin_block(384, num_classes, kernel_size=3, strides=1, padding=1),
        # the mean of each class's channel over all pixels, whatever the size of the input
        GlobalAvgPool(),
        # (batch, num_classes, 1, 1) -> (batch, num_classes)
        Flatten(),
    )


def build(network, num_classes=10, in_channels=1, dropout=0.5, size=224):
    """Any network of the exercises."""
    layers = []
    for block in network.blocks(num_classes):
        layers.append([])
        for channels, kernel_size, strides, padding, relu in block.convolutions:
            layers[-1].append(Conv(in_channels, channels, kernel_size, strides, padding))
            layers[-1] += [ReLU()] * relu
            in_channels = channels
        layers += [MaxPool(block.pool, strides=2)] * (block.pool > 0)
        layers += [Dropout(dropout)] * block.dropout
    layers += [GlobalAvgPool()] * (network.head == "average") + [Flatten()]
    for dense in dense_layers(size, num_classes, network):
        layers.append(Dense(dense.in_channels, dense.out_channels))
        layers += [ReLU(), Dropout(dropout)] * dense.relu
    return Network(*layers)


# the kind, which no caller gives, names a layer and keeps it from being equal to one of another
Conv = namedtuple(
    "Conv", "in_channels out_channels kernel_size strides padding kind", defaults=(1, 0, "conv")
)
Dense = namedtuple("Dense", "in_channels out_channels kind", defaults=("dense",))
MaxPool = namedtuple("MaxPool", "kernel_size strides kind", defaults=("pool",))
Dropout = namedtuple("Dropout", "rate kind", defaults=("dropout",))
ReLU = namedtuple("ReLU", "kind", defaults=("relu",))
GlobalAvgPool = namedtuple("GlobalAvgPool", "kind", defaults=("global_pool",))
Flatten = namedtuple("Flatten", "kind", defaults=("flatten",))


class Network:
    """Layers, a block being a list of them, and beside them their parameters by canonical name."""

    def __init__(self, *layers):
        self.named = name_layers(
            layers,
            inside=lambda layer: layer if isinstance(layer, list) else None,
            kind=lambda layer: layer.kind,
        )
        # one after the other, without the blocks
        self.layers = tuple(leaves(self.named))
        self.parameters = {}
        for name, layer, _ in self.layers:
            if layer.kind in ("conv", "dense"):
                window = (layer.kernel_size,) * 2 if layer.kind == "conv" else ()
                shape = (layer.out_channels, layer.in_channels, *window)
                self.parameters[f"{name}.weight"] = jnp.zeros(shape, jnp.float32)
                self.parameters[f"{name}.bias"] = jnp.zeros(shape[:1], jnp.float32)


@partial(jax.jit, static_argnums=0)
def forward(layers, parameters, X, key=None):
    """The outputs of all layers; dropout is on where there is a key for its random numbers."""
    X = X.astype(next(iter(parameters.values()), X).dtype)
    outputs = []
    for place, (name, layer, _) in enumerate(layers):
        weight, bias = (parameters.get(f"{name}.{what}") for what in ("weight", "bias"))
        match layer:
            case Conv(_, _, _, stride, padding):
                X = convolve(X, weight, stride, padding) + bias[:, None, None]
            case Dense():
                X = X @ weight.T + bias
            case ReLU():
                X = jax.nn.relu(X)
            case MaxPool(size, stride):
                window, strides = (1, 1, size, size), (1, 1, stride, stride)
                X = lax.reduce_window(X, -jnp.inf, lax.max, window, strides, "VALID")
            case Dropout(rate) if key is not None:
                kept = jax.random.bernoulli(jax.random.fold_in(key, place), 1 - rate, X.shape)
                X = jnp.where(kept, X / (1 - rate), 0)
            case GlobalAvgPool():
                X = X.mean((2, 3), keepdims=True)
            case Flatten():
                X = X.reshape(len(X), -1)
        outputs.append(X)
    return outputs


@partial(jax.checkpoint, static_argnums=(2, 3))
def convolve(X, weight, stride, padding):
    if X.dtype == jnp.float32:
        return lax.conv_general_dilated(X, weight, (stride, stride), [(padding, padding)] * 2)
    # differs: on a CPU, XLA is ten times as fast with products in float64 as with convolutions; the
    # windows take memory, so checkpoint has the gradients make them again instead of keeping them
    X = jnp.pad(X, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    offsets = np.arange(weight.shape[-1])
    rows, columns = (np.arange(0, n - offsets[-1], stride)[:, None] + offsets for n in X.shape[2:])
    return jnp.einsum("nchiwj,ocij->nohw", X[:, :, rows][..., columns], weight)


@partial(jax.jit, static_argnums=0)
def predict(layers, parameters, X):
    """The logits; the compiled function keeps no other output."""
    return forward(layers, parameters, X)[-1]


def named_outputs(net, X):
    """By name; a ReLU overwrites the entry of the layer before it."""
    names = [each.name for each in net.layers]
    return dict(zip(names, forward(net.layers, net.parameters, X), strict=True))


def shape_walk(net, images):
    outputs = named_outputs(net, images)
    for name, layer, inner in net.named:
        kind = "Sequential" if inner else type(layer).__name__
        X = outputs[inner[-1].name if inner else name]
        yield LayerOutput(kind, str(X.shape), name, np.array(X))


def allocate(net, images):
    X = images
    for each in net.layers:
        try:
            (X,) = jax.eval_shape(partial(forward, (each,)), net.parameters, X)
        except (TypeError, ValueError) as error:
            raise NinError(f"`net`: layer {each.name}: {one_line(error)}") from error
    return X.shape


def describe(net):
    return [f"{each.name}: {each.layer}" for each in net.layers]


def dropout_rate(net):
    return next((each.layer.rate for each in net.layers if each.layer.kind == "dropout"), 0.0)


def initialize(net, scheme, seed):
    """The biases are 0 in both schemes."""
    if scheme not in ("xavier", "he"):
        raise ValueError(f"unknown initialization {scheme!r}")
    # differs: drawn by NumPy, as JAX would first compile a function for each shape
    rng = np.random.default_rng(seed)
    weights = {name: np.zeros(value.shape) for name, value in net.parameters.items()}
    for name, weight in weights.items():
        if name.endswith(".weight"):
            fan_in, fan_out = weight[0].size, weight[:, 0].size
            if scheme == "he":
                weights[name] = rng.normal(0, (2 / fan_in) ** 0.5, weight.shape)
            else:
                bound = (6 / (fan_in + fan_out)) ** 0.5
                weights[name] = rng.uniform(-bound, bound, weight.shape)
    set_weights(net, weights)


def get_weights(net):
    return copies(net.parameters)


def set_weights(net, weights):
    check_parameters(weights, {name: value.shape for name, value in net.parameters.items()})
    for name, value in net.parameters.items():
        # of the type and on the device that they were
        array = np.array(weights[name], value.dtype)
        net.parameters[name] = jax.device_put(array, value.sharding)


def copies(arrays):
    return {name: np.array(value) for name, value in arrays.items()}


# ------------------------------------------------------- prediction and training


@jax.jit
def resize(images, rows, columns):
    """uint8 (batch, height, width), scaled to 0...1 and resized, as (batch, 1, resize, resize)."""
    return (rows @ (images.astype(rows.dtype) / 255) @ columns.mT)[:, None]


@partial(jax.jit, static_argnums=0)
def differentiate(layers, parameters, X, y, smoothing, key):
    """The gradients of a batch's smoothed loss; its plain loss and number of correct answers."""

    def objective(parameters):
        logits = forward(layers, parameters, X, key)[-1]
        logarithms = jax.nn.log_softmax(logits)
        loss = -jnp.take_along_axis(logarithms, y[:, None], 1).mean()
        smoothed = (1 - smoothing) * loss - smoothing * logarithms.mean()
        return smoothed, (loss, (logits.argmax(1) == y).sum())

    return jax.grad(objective, has_aux=True)(parameters)


class Predictor:
    def __init__(self, net, settings):
        check_precision(settings.precision, PRECISIONS)
        self.net, self.settings = net, settings
        self.device = find_device(settings.device)
        self.dtype = np.dtype(settings.precision)
        for name, value in net.parameters.items():
            net.parameters[name] = self.on_device(value.astype(self.dtype))

    def logits(self, images):
        return np.array(predict(self.net.layers, self.net.parameters, self.pixels(images)))

    def activations(self, images):
        X = self.pixels(images)
        return copies({"input": X, **named_outputs(self.net, X)})

    def gradients(self, images, labels):
        X, y = self.pixels(images), self.on_device(labels.astype(np.int64))
        slopes, (loss, _) = differentiate(self.net.layers, self.net.parameters, X, y, 0.0, None)
        # differs: JAX sorts a dictionary that it gives back by name
        return float(loss), copies({name: slopes[name] for name in self.net.parameters})

    def pixels(self, images, rows=None, columns=None):
        """What the network sees of images, or of the views that these matrices make of them."""
        if rows is None:
            rows = columns = resize_matrix(images.shape[1], self.settings.resize)
        matrices = rows.astype(self.dtype), columns.astype(self.dtype)
        return resize(*self.on_device((images, *matrices)))

    def on_device(self, arrays):
        return jax.device_put(arrays, self.device.native)


class Trainer(Predictor):
    def __init__(self, net, settings, images, labels):
        super().__init__(net, settings)
        self.data = self.on_device((images, labels.astype(np.int64)))
        self.seed, self.views = settings.seed, augmentation.views(images.shape[1], settings)
        self.metrics = []
        self.update = partial(
            update, settings.optimizer, momentum=settings.momentum, decay=settings.weight_decay,
            scales=muon.weights(net.parameters) if settings.optimizer == "muon" else {},
        )  # fmt: skip
        # what an update remembers beside the parameters, 0 at first
        after = jax.eval_shape(self.update, net.parameters, net.parameters, 0.0)
        remembered = after.keys() - net.parameters.keys()
        zeros = {name: np.zeros(after[name].shape, after[name].dtype) for name in remembered}
        self.memory = self.on_device(zeros)

    def train_batch(self, indices, learning_rate, step):
        images, labels = (jnp.take(each, indices, 0) for each in self.data)
        matrices = ()
        if self.views is not None:
            drawn = augmentation.draw(self.views, self.seed, step, len(indices)).T
            matrices = [views[i] for views, i in zip(self.views, drawn, strict=True)]
        key = jax.random.key(np.uint32(step_seed(self.seed, step)))
        X = self.pixels(images, *matrices)
        self.metrics.append(self.step(X, labels, float(learning_rate), key))

    def step(self, X, y, rate, key):
        """One optimizer step; loss and number of correct answers before it."""
        net, smoothing = self.net, self.settings.label_smoothing
        key = key if dropout_rate(net) else None
        slopes, metrics = differentiate(net.layers, net.parameters, X, y, smoothing, key)
        new = self.update({**net.parameters, **self.memory}, slopes, rate)
        for arrays in (net.parameters, self.memory):
            arrays.update({name: new[name] for name in arrays})
        return metrics

    def take_metrics(self):
        losses, correct = np.array(self.metrics, np.float64).reshape(-1, 2).T
        self.metrics = []
        return losses, correct.astype(np.int64)

    def state(self):
        return copies({**self.net.parameters, **self.memory})

    def load_state(self, state):
        for arrays in (self.net.parameters, self.memory):
            # copies, as JAX may compute with the memory of the array that it is given
            arrays.update({name: self.on_device(np.array(state[name])) for name in arrays})


@partial(jax.jit, static_argnums=0)
def update(optimizer, state, slopes, rate, momentum, decay, scales):
    """The next parameters and what is remembered, by the rules of PyTorch and of Muon.

    Muon has scales, of the weights' learning rates.
    """
    steps = state.get("optimizer_steps", jnp.zeros(())) + 1
    new = {"optimizer_steps": steps}

    def mean(name, keep, add, value):
        """A running mean, or sum."""
        new[name] = keep * state.get(name, jnp.zeros_like(value)) + add * value
        return new[name]

    for name, g in slopes.items():
        w = state[name]
        if optimizer == "sgd":
            change = mean(f"momentum.{name}", momentum, 1, g + decay * w)
        elif name in scales:
            m = mean(f"momentum.{name}", muon.MOMENTUM, 1, g)
            change = scales[name] * orthogonal(g + muon.MOMENTUM * m) + decay * w
        else:
            # Adam, which Muon has the biases trained with; its means are scaled up from 0
            first, second = muon.BETAS if scales else (0.9, 0.999)
            m = mean(f"mean.{name}", first, 1 - first, g)
            v = mean(f"variance.{name}", second, 1 - second, g * g)
            m, v = m / (1 - first**steps).astype(m.dtype), v / (1 - second**steps).astype(v.dtype)
            change = m / (jnp.sqrt(v) + muon.EPSILON)
            change = muon.BIAS_RATE * change if scales else change + decay * w
        new[name] = w - rate * change
    return new


def orthogonal(change):
    """A weight's change with all singular values near 1; see :mod:`common.training.muon`."""
    X = change.reshape(len(change), -1)
    X = X / jnp.maximum(jnp.linalg.norm(X), muon.SMALLEST)
    tall = X.shape[0] > X.shape[1]
    X = X.T if tall else X
    a, b, c = muon.COEFFICIENTS
    for _ in range(muon.STEPS):
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return (X.T if tall else X).reshape(change.shape)


# ---------------------------------------------------------- the machine, and the bench


def find_device(kind):
    if kind != "cpu" and jax.default_backend() == "gpu":
        return Device("gpu", str(jax.devices()[0]), jax.devices()[0])
    if kind == "gpu":
        raise NinError("`device=gpu`: JAX sees no GPU here; use `device=cpu`")
    return Device("cpu", "cpu", jax.devices("cpu")[0])


def set_threads(count):
    os.environ["NPROC"] = str(count)  # JAX looks at it before it first computes


def versions():
    return {"jax": jax.__version__, "jaxlib": jax.lib.__version__}


def bare_step(trainer, images, labels, learning_rate):
    X, y = trainer.pixels(images), trainer.on_device(labels.astype(np.int64))
    key = jax.random.key(0)

    def work(times):
        for _ in range(times):
            trainer.step(X, y, learning_rate, key)
        jax.block_until_ready(trainer.net.parameters)

    return work


def matrix_product(device, size):
    A = jax.device_put(jnp.ones((size, size), jnp.float32), device.native)
    product = jax.jit(jnp.matmul)

    def work(times):
        jax.block_until_ready([product(A, A) for _ in range(times)][-1])

    return work
