"""NiN in JAX: a fourth backend, complete, in one file, to be read beside the three ``model.py``.

What this framework makes different: its functions keep no state, so layers are plain data, and the
parameters stand beside them and go into each call; gradients and compiled code are made of
functions; random numbers come from keys. Channels first (NCHW) and weights (out, in, height, width)
are what ``lax.conv_general_dilated`` takes unless it is told otherwise.

What each function has to do is written in ``common/contract.py``. It lacks an ``Exporter``, as JAX
has no file format of its own (``safetensors.flax.load_file`` reads our ``model.safetensors``), and
``Distribution``: it trains alone.
"""

import os
from collections import namedtuple
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from common.contract import Device, LayerOutput, Work
from common.data import augmentation
from common.data.interpolation import resize_matrix
from common.errors import NinError, one_line
from common.network import architecture, description
from common.network.names import leaves, name_layers
from common.network.parameters import check_parameters
from common.settings import Settings, check_precision
from common.training import muon
from common.training.schedule import step_seed

# differs: without this, JAX computes in float32 what was asked for in float64
jax.config.update("jax_enable_x64", True)

NAME = "jax"
# no bfloat16: on a CPU it takes twice as long as float32 (jaxlib 0.7.1)
PRECISIONS: tuple[str, ...] = ("float32", "float64")
KEEP_MEMORY = False

Arrays = dict[str, jax.Array]


def nin_block(
    in_channels: int, out_channels: int, kernel_size: int, strides: int, padding: int
) -> list[Any]:
    """A convolution, then two 1x1 convolutions that act as fully connected layers on each pixel."""
    return [
        Conv(in_channels, out_channels, kernel_size, strides, padding),
        ReLU(),
        Conv(out_channels, out_channels, kernel_size=1),
        ReLU(),
        Conv(out_channels, out_channels, kernel_size=1),
        ReLU(),
    ]


def nin(num_classes: int = 10, in_channels: int = 1, dropout: float = 0.5) -> "Network":
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


def build(
    network: description.Network, num_classes: int = 10, in_channels: int = 1,
    dropout: float = 0.5, size: int = 224,
) -> "Network":  # fmt: skip
    """Any network of the exercises."""
    layers: list[Any] = []
    for block in network.blocks(num_classes):
        layers.append([])
        for channels, kernel_size, strides, padding, relu in block.convolutions:
            layers[-1].append(Conv(in_channels, channels, kernel_size, strides, padding))
            layers[-1] += [ReLU()] * relu
            in_channels = channels
        layers += [MaxPool(block.pool, strides=2)] * (block.pool > 0)
        layers += [Dropout(dropout)] * block.dropout
    layers += [GlobalAvgPool()] * (network.head == "average") + [Flatten()]
    for dense in architecture.dense_layers(size, num_classes, network):
        layers.append(Dense(dense.in_channels, dense.out_channels))
        layers += [ReLU(), Dropout(dropout)] * dense.relu
    return Network(*layers)


# ------------------------------------------------------------------ the layers

Conv = namedtuple("Conv", "in_channels out_channels kernel_size strides padding", defaults=(1, 0))
Dense = namedtuple("Dense", "in_channels out_channels")
MaxPool = namedtuple("MaxPool", "kernel_size strides")
Dropout = namedtuple("Dropout", "rate")
ReLU, GlobalAvgPool, Flatten = (
    namedtuple(name, "") for name in ("ReLU", "GlobalAvgPool", "Flatten")
)

KINDS = {
    Conv: "conv", Dense: "dense", ReLU: "relu", MaxPool: "pool", Dropout: "dropout",
    GlobalAvgPool: "global_pool", Flatten: "flatten",
}  # fmt: skip


class Network:
    """Layers, a block being a list of them, and beside them their parameters by canonical name."""

    def __init__(self, *layers: Any) -> None:
        def inside(layer: Any) -> list[Any] | None:
            return layer if isinstance(layer, list) else None

        self.named = name_layers(layers, inside, lambda layer: KINDS[type(layer)])
        self.parameters: Arrays = {}
        for name, layer, _ in leaves(self.named):
            if isinstance(layer, Conv | Dense):
                window = (layer.kernel_size,) * 2 if isinstance(layer, Conv) else ()
                shape = (layer.out_channels, layer.in_channels, *window)
                self.parameters[f"{name}.weight"] = jnp.zeros(shape, jnp.float32)
                self.parameters[f"{name}.bias"] = jnp.zeros(shape[:1], jnp.float32)


def apply(
    layer: Any, X: jax.Array, weight: Any = None, bias: Any = None, key: jax.Array | None = None
) -> jax.Array:
    """The output of a layer; dropout is on where there is a key for its random numbers."""
    match layer:
        case Conv(_, _, _, stride, padding):
            X = lax.conv_general_dilated(X, weight, (stride, stride), [(padding, padding)] * 2)
            return X + bias[:, None, None]
        case Dense():
            return X @ weight.T + bias
        case MaxPool(size, stride):
            window, strides = (1, 1, size, size), (1, 1, stride, stride)
            return lax.reduce_window(X, -jnp.inf, lax.max, window, strides, "VALID")
        case Dropout(rate) if key is not None:
            return jnp.where(jax.random.bernoulli(key, 1 - rate, X.shape), X / (1 - rate), 0)
        case ReLU():
            return jax.nn.relu(X)
        case GlobalAvgPool():
            return X.mean((2, 3), keepdims=True)
        case Flatten():
            return X.reshape(len(X), -1)
    return X


def forward(net: Network, parameters: Arrays, X: Any, key: Any = None) -> list[jax.Array]:
    """Outputs of all layers; what is not used of them is not computed once this is compiled."""
    outputs = []
    for place, (name, layer, _) in enumerate(leaves(net.named)):
        weight, bias = (parameters.get(f"{name}.{what}") for what in ("weight", "bias"))
        own_key = None if key is None else jax.random.fold_in(key, place)
        try:
            X = apply(layer, X, weight, bias, own_key)
        except (TypeError, ValueError) as error:
            raise NinError(f"`net`: layer {name}: {one_line(error)}") from error
        outputs.append(X)
    return outputs


def shape_walk(net: Network, images: np.ndarray) -> Iterator[LayerOutput]:
    outputs = iter(forward(net, net.parameters, jnp.asarray(images)))
    for name, layer, inner in net.named:
        # of a block, what its last layer gives
        X = [next(outputs) for _ in inner or [layer]][-1]
        kind = "Sequential" if inner else type(layer).__name__
        yield LayerOutput(kind, str(X.shape), name, np.asarray(X))


def describe(net: Network) -> list[str]:
    return [f"{each.name}: {each.layer}" for each in leaves(net.named)]


def dropout_rate(net: Network) -> float:
    return next((e.layer.rate for e in leaves(net.named) if isinstance(e.layer, Dropout)), 0.0)


def allocate(net: Network, images: np.ndarray) -> tuple[int, ...]:
    return tuple(jax.eval_shape(lambda X: forward(net, net.parameters, X), images)[-1].shape)


def initialize(net: Network, scheme: str, seed: int) -> None:
    """The biases are 0 in both schemes."""
    schemes = {"xavier": (1.0, "fan_avg", "uniform"), "he": (2.0, "fan_in", "normal")}
    if scheme not in schemes:
        raise ValueError(f"unknown initialization {scheme!r}")
    draw = jax.nn.initializers.variance_scaling(*schemes[scheme], in_axis=1, out_axis=0)
    keys = jax.random.split(jax.random.key(seed), len(net.parameters))
    weights = {name: np.zeros(value.shape) for name, value in net.parameters.items()}
    for key, (name, value) in zip(keys, weights.items(), strict=True):
        if value.ndim > 1:
            weights[name] = np.asarray(draw(key, value.shape, jnp.float32))
    set_weights(net, weights)


def get_weights(net: Network) -> dict[str, np.ndarray]:
    return copies(net.parameters)


def set_weights(net: Network, weights: Mapping[str, np.ndarray]) -> None:
    check_parameters(weights, {name: value.shape for name, value in net.parameters.items()})
    for name, value in net.parameters.items():
        # of the type and on the device that they were
        array = np.array(weights[name], value.dtype)
        net.parameters[name] = jax.device_put(array, value.sharding)


def copies(arrays: Mapping[str, jax.Array]) -> dict[str, np.ndarray]:
    return {name: np.array(value) for name, value in arrays.items()}


# ------------------------------------------------------- prediction and training


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float = 0.0) -> jax.Array:
    logarithms = jax.nn.log_softmax(logits)
    right = jnp.take_along_axis(logarithms, labels[:, None], 1)
    return -(1 - smoothing) * right.mean() - smoothing * logarithms.mean()


class Predictor:
    def __init__(self, net: Network, settings: Settings) -> None:
        check_precision(settings.precision, PRECISIONS)
        self.net, self.settings = net, settings
        self.device = find_device(settings.device)
        self.dtype = jnp.dtype(settings.precision)
        # differs: JAX sorts a dictionary that it is given by name, so one value at a time
        for name, value in net.parameters.items():
            net.parameters[name] = self.on_device(value.astype(self.dtype))
        self._logits = jax.jit(lambda *given: self._forward(*given)[-1])
        self._activations = jax.jit(self._forward)
        self._gradients = jax.jit(jax.value_and_grad(
            lambda parameters, images, labels:
            cross_entropy(self._forward(parameters, images)[-1], labels)
        ))  # fmt: skip

    def logits(self, images: np.ndarray) -> np.ndarray:
        return np.array(self._logits(self.net.parameters, self.on_device(images)))

    def activations(self, images: np.ndarray) -> dict[str, np.ndarray]:
        outputs = self._activations(self.net.parameters, self.on_device(images))
        names = ["input", *(str(each.name) for each in leaves(self.net.named))]
        # a ReLU overwrites the entry of its convolution
        return copies(dict(zip(names, outputs, strict=True)))

    def gradients(
        self, images: np.ndarray, labels: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray]]:
        given = self.on_device((images, labels.astype(np.int64)))
        loss, slopes = self._gradients(self.net.parameters, *given)
        return float(loss), copies({name: slopes[name] for name in self.net.parameters})

    def pixels(self, images: jax.Array, rows: Any = None, columns: Any = None) -> jax.Array:
        """What the network sees, (batch, 1, resize, resize), of uint8 images and their views."""
        matrix = jnp.asarray(resize_matrix(images.shape[1], self.settings.resize), self.dtype)
        rows, columns = (matrix if each is None else each for each in (rows, columns))
        return (rows @ (images.astype(self.dtype) / 255) @ columns.mT)[:, None]

    def on_device(self, arrays: Any) -> Any:
        return jax.device_put(arrays, self.device.native)

    def _forward(self, parameters: Arrays, images: jax.Array) -> list[jax.Array]:
        X = self.pixels(images)
        return [X, *forward(self.net, parameters, X)]


class Trainer(Predictor):
    def __init__(
        self, net: Network, settings: Settings, images: np.ndarray, labels: np.ndarray
    ) -> None:
        super().__init__(net, settings)
        self.seed = settings.seed
        self.data = self.on_device((images, labels.astype(np.int64)))
        self.views = augmentation.views(images.shape[1], settings)
        self.metrics: list[Any] = []
        # what an update remembers beside the parameters, 0 at first
        after = jax.eval_shape(self.update, net.parameters, net.parameters, 0.0)
        self.memory = self.on_device({
            name: jnp.zeros_like(value) for name, value in after.items()
            if name not in net.parameters
        })  # fmt: skip
        # compiled once for each length of a batch
        self._train = jax.jit(
            lambda state, images, labels, indices, views, *rest:
            self.step(state, self.pixels(images[indices], *views), labels[indices], *rest)
        )  # fmt: skip

    def train_batch(self, indices: np.ndarray, learning_rate: float, step: int) -> None:
        views: list[np.ndarray] = []
        if self.views is not None:
            drawn = augmentation.draw(self.views, self.seed, step, len(indices)).T
            views = [np.asarray(m, self.dtype)[i] for m, i in zip(self.views, drawn, strict=True)]
        key = jax.random.key(np.uint32(step_seed(self.seed, step)))
        state = {**self.net.parameters, **self.memory}
        state, metrics = self._train(state, *self.data, indices, views, learning_rate, key)
        self.net.parameters = {name: state.pop(name) for name in self.net.parameters}
        self.memory = state
        self.metrics.append(metrics)

    def take_metrics(self) -> tuple[np.ndarray, np.ndarray]:
        losses, correct = np.array(self.metrics, np.float64).reshape(-1, 2).T
        self.metrics = []
        return losses, correct.astype(np.int64)

    def state(self) -> dict[str, np.ndarray]:
        return copies({**self.net.parameters, **self.memory})

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.net.parameters = {name: self.on_device(state[name]) for name in self.net.parameters}
        self.memory = self.on_device({name: state[name] for name in self.memory})

    def step(self, state: Arrays, X: Any, y: Any, rate: Any, key: Any) -> tuple[Arrays, Any]:
        """The next state, and the loss and the number of correct answers before it."""

        def objective(parameters: Arrays) -> tuple[jax.Array, Any]:
            logits = forward(self.net, parameters, X, key if dropout_rate(self.net) else None)[-1]
            metrics = cross_entropy(logits, y), (logits.argmax(1) == y).sum()
            return cross_entropy(logits, y, self.settings.label_smoothing), metrics

        parameters = {name: state[name] for name in self.net.parameters}
        slopes, metrics = jax.grad(objective, has_aux=True)(parameters)
        return self.update(state, slopes, rate), metrics

    def update(self, state: Arrays, slopes: Arrays, rate: Any) -> Arrays:
        """The next parameters and memory, by the rules of PyTorch's optimizers and of Muon."""
        optimizer, decay = self.settings.optimizer, self.settings.weight_decay
        if optimizer not in ("sgd", "adamw", "muon"):
            raise ValueError(f"unknown optimizer {optimizer!r}")
        new = {"optimizer_steps": state.get("optimizer_steps", jnp.zeros(())) + 1}

        def mean(kind: str, name: str, keep: float, add: float, value: jax.Array) -> jax.Array:
            kind = f"{kind}.{name}"
            new[kind] = keep * state.get(kind, jnp.zeros_like(value)) + add * value
            return new[kind]

        # not of the slopes, which are sorted by name: whose block is the last
        scales = muon.weights(self.net.parameters) if optimizer == "muon" else {}
        for name, g in slopes.items():
            w = state[name]
            if optimizer == "sgd":
                new[name] = w - rate * mean(
                    "momentum", name, self.settings.momentum, 1, g + decay * w
                )
            elif name in scales:
                m = mean("momentum", name, muon.MOMENTUM, 1, g)
                change = scales[name] * orthogonal(g + muon.MOMENTUM * m)
                new[name] = w - rate * (change + decay * w)
            else:
                betas = muon.BETAS if scales else (0.9, 0.999)
                own_rate, own_decay = (muon.BIAS_RATE * rate, 0) if scales else (rate, decay)
                # mean and variance, each scaled up as both began at 0
                corrections = [1 - beta ** new["optimizer_steps"] for beta in betas]
                m = mean("mean", name, betas[0], 1 - betas[0], g) / corrections[0].astype(w.dtype)
                v = mean("variance", name, betas[1], 1 - betas[1], g * g)
                v = v / corrections[1].astype(w.dtype)
                new[name] = w - own_rate * (m / (jnp.sqrt(v) + muon.EPSILON) + own_decay * w)
        return new


def orthogonal(change: jax.Array) -> jax.Array:
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


def find_device(kind: str) -> Device:
    if kind != "cpu" and jax.default_backend() == "gpu":
        return Device("gpu", str(jax.devices()[0]), jax.devices()[0])
    if kind == "gpu":
        raise NinError("`device=gpu`: JAX sees no GPU here; use `device=cpu`")
    return Device("cpu", "cpu", jax.devices("cpu")[0])


def set_threads(count: int) -> None:
    os.environ["NPROC"] = str(count)  # JAX looks at it before it first computes


def versions() -> dict[str, str]:
    return {"jax": jax.__version__, "jaxlib": jax.lib.__version__}


def bare_step(
    trainer: Trainer, images: np.ndarray, labels: np.ndarray, learning_rate: float
) -> Work:
    X, y = trainer.pixels(trainer.on_device(images)), trainer.on_device(labels.astype(np.int64))
    step, key = jax.jit(trainer.step), jax.random.key(0)

    def work(times: int) -> None:
        state = {**trainer.net.parameters, **trainer.memory}
        for _ in range(times):
            state, _ = step(state, X, y, learning_rate, key)
        trainer.load_state(jax.block_until_ready(state))

    return work


def matrix_product(device: Device, size: int) -> Work:
    A = jax.device_put(jnp.ones((size, size), jnp.float32), device.native)
    product = jax.jit(jnp.matmul)

    def work(times: int) -> None:
        jax.block_until_ready([product(A, A) for _ in range(times)][-1])

    return work


if TYPE_CHECKING:
    import nin_jax

    from common import contract

    _backend: contract.Backend = nin_jax
    _variants: contract.Variants = nin_jax
    _benchmark: contract.Benchmark = nin_jax
