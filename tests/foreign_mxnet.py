"""Files as people save them with MXNet."""

import json

import nin_mxnet  # isort: skip  # before MXNet, which does not get along with NumPy by itself
import mxnet as mx
from mxnet import npx
from mxnet.gluon import nn

assert nin_mxnet

BLOCKS = ((96, 11, 4, 0), (256, 5, 1, 2), (384, 3, 1, 1), (10, 3, 1, 1))


def block(channels, kernel, strides, padding, **options):
    return [
        nn.Conv2D(channels, kernel, strides, padding, activation="relu", **options),
        nn.Conv2D(channels, 1, activation="relu", **options),
        nn.Conv2D(channels, 1, activation="relu", **options),
    ]


def sequence(layers, kind=nn.HybridSequential):
    net = kind()
    net.add(*layers)
    return net


def network(weights=None, nested=True, last=nn.GlobalAvgPool2D, extra=None, **options):
    made = []
    for each in BLOCKS:
        layers = block(*each, **options)
        made += [sequence(layers)] if nested else layers
        made += [nn.MaxPool2D(3, 2)] if each[0] != 10 else []
    made[-1:-1] = [nn.Dropout(0.25)]
    made[1:1] = [] if extra is None else [extra()]
    return filled(sequence([*made, last(), nn.Flatten()]), weights)


def filled(net, weights):
    net.initialize()
    array = mx.np if mx.util.is_np_array() else mx.nd
    net.hybridize()
    net(array.zeros((1, 1, 67, 67)))
    if weights is not None:
        for value, given in zip(net.collect_params().values(), weights.values(), strict=True):
            value.set_data(array.array(given))
    return net


def of_functions(weights, activation):
    """Activations and the mean at the end as functions, no layers."""

    def function(F, x):
        return getattr(F.npx, activation)(x)

    made = []
    for channels, *first in BLOCKS:
        for window in (first, (1,), (1,)):
            made += [nn.Conv2D(channels, *window), nn.HybridLambda(function)]
        made += [nn.MaxPool2D(3, 2)] if channels != 10 else []
    net = sequence([*made, nn.HybridLambda(lambda F, x: F.np.mean(x, axis=(2, 3)))])
    return filled(net, weights)


def exported(net, directory, epoch=10):
    net.export(str(directory / "book"), epoch)
    return directory / f"book-{epoch:04}.params"


def parameters(net, directory, name="n.params"):
    net.save_parameters(str(directory / name))
    return directory / name


def old(make):
    """Make a file without NumPy's semantics, as before they existed."""

    def made(weights, directory):
        npx.reset_np()
        try:
            return make(weights, directory)
        finally:
            npx.set_np()

    return made


def collected(weights, directory):
    network(weights).collect_params().save(str(directory / "c.params"))
    return directory / "c.params"


def module(weights, directory):
    """What ``mx.mod`` writes: a softmax at the end that wants the labels too."""
    exported(network(weights), directory, 3)
    symbol = mx.sym.load(str(directory / "book-symbol.json"))
    loss = mx.sym.SoftmaxOutput(symbol, mx.sym.var("softmax_label"), name="softmax")
    loss.save(str(directory / "book-symbol.json"))
    return directory / "book-0003.params"


def renamed(weights, directory):
    path = exported(network(weights, nested=False), directory, 0)
    (directory / "e-symbol.json").write_bytes((directory / "book-symbol.json").read_bytes())
    return path.rename(directory / "e.params")


def stale(weights, directory):
    """A file of layers beside it, of another day."""
    exported(network(), directory, 0).unlink()
    (directory / "book-symbol.json").rename(directory / "n-symbol.json")
    return parameters(network(weights), directory)


def half(weights, directory):
    net = network(weights)
    net.cast("float16")
    return parameters(net, directory)


READ = {
    "exported": lambda w, d: exported(network(w), d),
    "exported flat": lambda w, d: exported(network(w, nested=False), d, 0),
    "exported and renamed": renamed,
    "parameters": lambda w, d: parameters(network(w), d),
    "old parameters": old(lambda w, d: parameters(network(w), d)),
    "old export": old(lambda w, d: exported(network(w), d)),
    "old collection": old(collected),
}
HALF = {"half": half}
NOTED = {
    "stale layers": (stale, "is of other parameters than"),
    "module": (old(module), "ends in a softmax"),
}


def without_names(weights, directory):
    npx.save(str(directory / "n.params"), [mx.np.array(a) for a in weights.values()])
    return directory / "n.params"


def layers_alone(weights, directory):
    exported(network(weights), directory)
    return directory / "book-symbol.json"


def without_nodes(weights, directory):
    path = exported(network(weights), directory)
    (directory / "book-symbol.json").write_text("{}")
    return path


def with_operation(weights, directory, name):
    path = exported(network(weights), directory)
    layers = json.loads((directory / "book-symbol.json").read_text())
    layers["nodes"][-1]["op"] = name
    (directory / "book-symbol.json").write_text(json.dumps(layers))
    return path


REFUSED = {
    "batch normalization": (
        lambda w, d: exported(network(extra=nn.BatchNorm), d), "batch normalization",
    ),
    "batch normalization without layers": (
        lambda w, d: parameters(network(extra=nn.BatchNorm), d), "batch normalization",
    ),
    "maximum for the average": (
        lambda w, d: exported(network(w, last=nn.GlobalMaxPool2D), d),
        "of another network (for images of 128x128 its logits differ",
    ),
    "no biases": (
        lambda w, d: parameters(network(use_bias=False), d), "no biases of its layers are found",
    ),
    "no names": (without_names, "holds arrays without names"),
    "layers alone": (layers_alone, "MXNet's layers without weights"),
    "layers that are none": (without_nodes, "book-symbol.json: damaged, or not MXNet's layers"),
    "code": (
        lambda w, d: with_operation(w, d, "Custom"), "it has a layer that is code, which is not run"
    ),
    "normalization": (lambda w, d: with_operation(w, d, "LRN"), "it has normalization (LRN)"),
}  # fmt: skip
