"""NiN in JAX: a fourth backend, complete, in one file, to be read beside the three ``model.py``.

What this framework makes different: its functions keep no state, so layers are plain data, and the
parameters stand beside them and go into each call; gradients and compiled code are made of
functions; random numbers come from keys. Channels first (NCHW) and weights (out, in, height, width)
are what ``lax.conv_general_dilated`` takes unless it is told otherwise.

``scripts/compare.py`` takes it as ``--backends torch,examples/nin_jax.py``, ``train.py``,
``predict.py`` and ``shapes.py`` as ``--backend examples/nin_jax.py``. What each function has to do
is written in ``common/contract.py``.
"""

import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from common.contract import Device, LayerOutput, Work
from common.data import augmentation
from common.data.resize import resize_matrix
from common.errors import NinError, one_line
from common.network.names import Named, leaves, name_layers
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
    """A convolution, then two 1x1 convolutions that are a fully connected layer per pixel."""
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


class Conv(NamedTuple):
    in_channels: int
    out_channels: int
    kernel_size: int
    strides: int = 1
    padding: int = 0


class MaxPool(NamedTuple):
    kernel_size: int
    strides: int


class Dropout(NamedTuple):
    rate: float


class ReLU(NamedTuple): ...


class GlobalAvgPool(NamedTuple): ...


class Flatten(NamedTuple): ...


KINDS = {
    Conv: "conv", ReLU: "relu", MaxPool: "pool", Dropout: "dropout",
    GlobalAvgPool: "global_pool", Flatten: "flatten",
}  # fmt: skip


class Network:
    """Layers, a block being a list of them, and beside them their parameters by canonical name."""

    def __init__(self, *layers: Any) -> None:
        blocks = lambda layer: layer if isinstance(layer, list) else None  # noqa: E731
        self.layers = name_layers(layers, blocks, lambda layer: KINDS[type(layer)])
        self.parameters: Arrays = {}
        for name, layer, _ in leaves(self.layers):
            if isinstance(layer, Conv):
                shape = layer.out_channels, layer.in_channels, *[layer.kernel_size] * 2
                self.parameters[f"{name}.weight"] = jnp.zeros(shape, jnp.float32)
                self.parameters[f"{name}.bias"] = jnp.zeros(shape[0], jnp.float32)


def apply(each: Named, parameters: Arrays, X: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """The output of a layer; dropout is on where there is a key for its random numbers."""
    match each.layer:
        case Conv(_, _, _, stride, padding):
            weight, bias = (parameters[f"{each.name}.{what}"] for what in ("weight", "bias"))
            X = lax.conv_general_dilated(X, weight, (stride, stride), [(padding, padding)] * 2)
            return X + bias[:, None, None]
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


def forward(
    net: Network, parameters: Arrays, X: jax.Array, key: jax.Array | None = None
) -> list[jax.Array]:
    """Outputs of all layers; what is not used of them is not computed once this is compiled."""
    outputs = [X]
    for place, each in enumerate(leaves(net.layers)):
        own = None if key is None else jax.random.fold_in(key, place)
        outputs.append(apply(each, parameters, outputs[-1], own))
    return outputs


def shape_walk(net: Network, images: np.ndarray) -> Iterator[LayerOutput]:
    X = jnp.asarray(images)
    for each in net.layers:
        for layer in leaves([each]):
            X = apply(layer, net.parameters, X)
        kind = "Sequential" if each.inner else type(each.layer).__name__
        yield LayerOutput(kind, str(X.shape), each.name, np.asarray(X))


def describe(net: Network) -> list[str]:
    return [f"{each.name}: {each.layer}" for each in leaves(net.layers)]


def dropout_rate(net: Network) -> float:
    return next((e.layer.rate for e in leaves(net.layers) if isinstance(e.layer, Dropout)), 0.0)


def initialize(net: Network, scheme: str, seed: int) -> None:
    """The biases are 0 in both schemes."""
    schemes = {"xavier": (1.0, "fan_avg", "uniform"), "he": (2.0, "fan_in", "normal")}
    if scheme not in schemes:
        raise ValueError(f"unknown initialization {scheme!r}")
    draw = jax.nn.initializers.variance_scaling(*schemes[scheme], in_axis=1, out_axis=0)
    weights = {name: np.zeros(value.shape) for name, value in net.parameters.items()}
    for place, (name, array) in enumerate(weights.items()):
        if array.ndim > 1:
            key = jax.random.fold_in(jax.random.key(seed), place)
            weights[name] = np.asarray(draw(key, array.shape, jnp.float32))
    set_weights(net, weights)


def allocate(net: Network, images: np.ndarray) -> tuple[int, ...]:
    X: Any = jax.ShapeDtypeStruct(images.shape, jnp.float32)
    for each in leaves(net.layers):
        try:
            X = jax.eval_shape(partial(apply, each), net.parameters, X)
        except (TypeError, ValueError) as error:
            raise NinError(f"`net`: layer {each.name}: {one_line(error)}") from error
    return tuple(X.shape)


def get_weights(net: Network) -> dict[str, np.ndarray]:
    return {name: np.array(value) for name, value in net.parameters.items()}


def set_weights(net: Network, weights: Mapping[str, np.ndarray]) -> None:
    check_parameters(weights, {name: value.shape for name, value in net.parameters.items()})
    for name, value in net.parameters.items():
        # of the type and on the device that they were
        array = np.array(weights[name], value.dtype)
        net.parameters[name] = jax.device_put(array, value.sharding)


class Predictor:
    def __init__(self, net: Network, settings: Settings) -> None:
        check_precision(settings.precision, PRECISIONS)
        self.device = find_device(settings.device)
        self.net, self.size = net, settings.resize
        self.dtype = jnp.dtype(settings.precision)
        moved = {name: value.astype(self.dtype) for name, value in net.parameters.items()}
        net.parameters = self.on_device(moved)
        self._outputs = jax.jit(self._forward)
        self._logits = jax.jit(lambda *given: self._forward(*given)[-1])
        self._gradients = jax.jit(jax.value_and_grad(self._loss))

    def logits(self, images: np.ndarray) -> np.ndarray:
        return np.array(self._logits(self.net.parameters, self.on_device(images)))

    def activations(self, images: np.ndarray) -> dict[str, np.ndarray]:
        outputs = self._outputs(self.net.parameters, self.on_device(images))
        names = ["input", *(str(each.name) for each in leaves(self.net.layers))]
        # a ReLU overwrites the entry of its convolution
        return {name: np.array(X) for name, X in zip(names, outputs, strict=True)}

    def gradients(
        self, images: np.ndarray, labels: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray]]:
        given = self.on_device((images, labels.astype(np.int64)))
        loss, slopes = self._gradients(self.net.parameters, *given)
        return float(loss), {name: np.array(slopes[name]) for name in self.net.parameters}

    def pixels(self, images: jax.Array) -> jax.Array:
        """What the network sees, (batch, 1, resize, resize), of uint8 images."""
        matrix = jnp.asarray(resize_matrix(images.shape[1], self.size), self.dtype)
        return (matrix @ (images.astype(self.dtype) / 255) @ matrix.mT)[:, None]

    def on_device(self, arrays: Any) -> Any:
        return jax.device_put(arrays, self.device.native)

    def _forward(self, parameters: Arrays, images: jax.Array) -> list[jax.Array]:
        return forward(self.net, parameters, self.pixels(images))

    def _loss(self, parameters: Arrays, images: jax.Array, labels: jax.Array) -> jax.Array:
        return cross_entropy(self._forward(parameters, images)[-1], labels)


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float = 0.0) -> jax.Array:
    logarithms = jax.nn.log_softmax(logits)
    right = jnp.take_along_axis(logarithms, labels[:, None], 1)
    return -(1 - smoothing) * right.mean() - smoothing * logarithms.mean()


class Trainer(Predictor):
    def __init__(
        self, net: Network, settings: Settings, images: np.ndarray, labels: np.ndarray
    ) -> None:
        super().__init__(net, settings)
        self.settings = settings
        self.data = self.on_device((images, labels.astype(np.int64)))
        self.views = augmentation.views(images.shape[1], settings)
        if self.views is not None:
            self.matrices = self.on_device([each.astype(self.dtype) for each in self.views])
        self.memory = self.on_device(make_memory(net.parameters, settings))
        self.metrics: list[tuple[jax.Array, jax.Array]] = []
        self._train = jax.jit(self._step)

    def train_batch(self, indices: np.ndarray, learning_rate: float, step: int) -> None:
        views = None
        if self.views is not None:
            drawn = augmentation.draw(self.views, self.settings.seed, step, len(indices))
            views = *self.matrices, drawn
        seed = np.uint32(step_seed(self.settings.seed, step))
        state = {**self.net.parameters, **self.memory}
        state, metrics = self._train(state, *self.data, indices, views, learning_rate, seed)
        self.net.parameters = {name: state.pop(name) for name in self.net.parameters}
        self.memory = state
        self.metrics.append(metrics)

    def take_metrics(self) -> tuple[np.ndarray, np.ndarray]:
        losses, correct = np.array(self.metrics, np.float64).reshape(-1, 2).T
        self.metrics = []
        return losses, correct.astype(np.int64)

    def state(self) -> dict[str, np.ndarray]:
        state = {**self.net.parameters, **self.memory}
        return {name: np.array(value) for name, value in state.items()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.net.parameters = self.on_device({name: state[name] for name in self.net.parameters})
        self.memory = self.on_device({name: state[name] for name in self.memory})

    def _step(
        self, state: Arrays, images: jax.Array, labels: jax.Array, indices: jax.Array,
        views: tuple[jax.Array, jax.Array, jax.Array] | None, rate: jax.Array, seed: jax.Array,
    ) -> tuple[Arrays, tuple[jax.Array, jax.Array]]:  # fmt: skip
        """What :meth:`train_batch` computes; compiled once for each length of a batch."""
        images, labels = images[indices], labels[indices]
        if views is None:
            X = self.pixels(images)
        else:
            rows, columns, choice = views
            scaled = images.astype(self.dtype) / 255
            X = (rows[choice[:, 0]] @ scaled @ columns[choice[:, 1]].mT)[:, None]
        key = jax.random.key(seed) if dropout_rate(self.net) else None

        def objective(parameters: Arrays) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            logits = forward(self.net, parameters, X, key)[-1]
            metrics = cross_entropy(logits, labels), (logits.argmax(1) == labels).sum()
            return cross_entropy(logits, labels, self.settings.label_smoothing), metrics

        parameters = {name: state[name] for name in self.net.parameters}
        slopes, metrics = jax.grad(objective, has_aux=True)(parameters)
        # differs: what comes back is sorted by name, and not in the order of the layers
        slopes = {name: slopes[name] for name in parameters}
        return update(self.settings, state, slopes, rate), metrics


def make_memory(parameters: Arrays, settings: Settings) -> Arrays:
    """What the optimizer remembers, by the name of what it is and of the parameter."""
    kinds = {
        "sgd": ["momentum"] if settings.momentum else [],
        "adamw": ["mean", "variance"],
        # for the weights; the biases have Adam
        "muon": ["momentum"],
    }
    if settings.optimizer not in kinds:
        raise ValueError(f"unknown optimizer {settings.optimizer!r}")
    memory = {"optimizer_steps": jnp.zeros((), jnp.float64)}
    for name, value in parameters.items():
        is_bias = settings.optimizer == "muon" and value.ndim == 1
        for kind in kinds["adamw" if is_bias else settings.optimizer]:
            memory[f"{kind}.{name}"] = jnp.zeros_like(value)
    return memory


def update(settings: Settings, state: Arrays, slopes: Arrays, rate: Any) -> Arrays:
    """The next parameters and memory, by the rules of PyTorch's optimizers and of Muon."""
    steps = state["optimizer_steps"] + 1
    new = {"optimizer_steps": steps}
    is_muon, decay = settings.optimizer == "muon", settings.weight_decay
    scales = muon.weights(slopes) if is_muon else {}
    beta1, beta2 = muon.BETAS if is_muon else (0.9, 0.999)
    for name, g in slopes.items():
        w, momentum, mean, variance = (
            state[name],
            *(f"{kind}.{name}" for kind in ("momentum", "mean", "variance")),
        )
        if settings.optimizer == "sgd":
            g = g + decay * w
            if settings.momentum:
                g = new[momentum] = settings.momentum * state[momentum] + g
            new[name] = w - rate * g
        elif name in scales:
            new[momentum] = muon.MOMENTUM * state[momentum] + g
            change = orthogonal(g + muon.MOMENTUM * new[momentum])
            new[name] = w * (1 - rate * decay) - rate * scales[name] * change
        else:
            new[mean] = beta1 * state[mean] + (1 - beta1) * g
            new[variance] = beta2 * state[variance] + (1 - beta2) * g * g
            m, v = (
                new[moment] / (1 - beta**steps).astype(w.dtype)
                for moment, beta in ((mean, beta1), (variance, beta2))
            )
            own_rate, own_decay = (muon.BIAS_RATE * rate, 0.0) if is_muon else (rate, decay)
            new[name] = w * (1 - own_rate * own_decay) - own_rate * m / (jnp.sqrt(v) + 1e-8)
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
    X = trainer.on_device(trainer.pixels(jnp.asarray(images)))
    y = trainer.on_device(labels.astype(np.int64))
    net, key = trainer.net, jax.random.key(0)

    def loss(parameters: Arrays, X: jax.Array, y: jax.Array) -> jax.Array:
        return cross_entropy(forward(net, parameters, X, key)[-1], y)

    @jax.jit
    def step(state: Arrays, X: jax.Array, y: jax.Array) -> Arrays:
        slopes = jax.grad(loss)({name: state[name] for name in net.parameters}, X, y)
        return update(trainer.settings, state, slopes, learning_rate)

    def work(times: int) -> None:
        state = {**net.parameters, **trainer.memory}
        for _ in range(times):
            state = step(state, X, y)
        trainer.load_state(jax.block_until_ready(state))

    return work


def matrix_product(device: Device, size: int) -> Work:
    key, product = jax.random.key(0), jax.jit(jnp.matmul)
    A = jax.device_put(jax.random.normal(key, (size, size), jnp.float32), device.native)

    def work(times: int) -> None:
        jax.block_until_ready([product(A, A) for _ in range(times)][-1])

    return work


if TYPE_CHECKING:
    import nin_jax

    from common import contract

    _backend: contract.Backend = nin_jax
    _benchmark: contract.Benchmark = nin_jax
