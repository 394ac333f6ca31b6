"""A weights file as one side of a comparison: its own weights, and its own layers if it has any.

An ONNX or Keras file holds layers, which its own software runs one by one, and so does an export of
MXNet, whose layers stand in a file beside. A PyTorch state dict, Gluon parameters alone and a
safetensors file hold weights only, which our network in the file's framework runs. All others in
the comparison are given the weights of the first file.
"""

import dataclasses
import importlib
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.backends import parts, session
from common.backends.parts import LackingError
from common.backends.registry import first_installed
from common.comparison.job import STEP_FALL, Job
from common.contract import Device, LayerOutput
from common.conversion import convert, kinds, onnx_format
from common.conversion.kinds import FORMATS, of_several_files
from common.data.interpolation import resize_matrix
from common.errors import NinError, one_line, plural, printable
from common.files.arrays import load_arrays, save_arrays
from common.model import Model
from common.network import architecture
from common.network.description import CHAPTER
from common.network.parameters import check_parameters
from common.settings import Settings, from_preset
from common.system import machine
from common.training import run_directory

# how the name of a file ends, which tells it from a backend's
SUFFIXES = {suffix for form in FORMATS.values() for suffix in form.suffixes}
# files in the comparison's directory: what all compute with, and where extract() leaves the weights
MATERIAL, WEIGHTS = "material.safetensors", "weights.safetensors"

# operations of ONNX and MXNet -> kind of layer; one that is not here acts on each number, as a ReLU
# does, which is written in many ways
OPERATIONS = {
    **dict.fromkeys(("conv", "convolution", "matmul", "gemm", "fullyconnected"), "conv"),
    **dict.fromkeys(("maxpool", "averagepool", "pooling"), "pool"),
    **dict.fromkeys(("globalaveragepool", "globalmaxpool"), "global_pool"),
    **dict.fromkeys(("reducemean", "reducesum", "mean", "sum"), "global_pool"),
    **dict.fromkeys(("flatten", "reshape", "squeeze"), "flatten"),
    **dict.fromkeys(("add", "elemwise_add", "broadcast_add"), "bias"),
    "dropout": "dropout",
    # of a parameter, of the order of numbers, or behind the logits
    **dict.fromkeys(("null", "cast", "identity", "transpose", "unsqueeze", "pad", "slice"), ""),
    **dict.fromkeys(("concat", "softmax", "logsoftmax", "log_softmax", "softmaxoutput"), ""),
}  # fmt: skip


EARLY = " before its ReLU"  # ends the name of what a layer gives there


def is_file(spec: str) -> bool:
    """Whether a side of a comparison has the name of a weights file."""
    return Path(spec).suffix.lower() in SUFFIXES or of_several_files(Path(spec)) is not None


def in_run(spec: str) -> str:
    """The weights file of a side that is the directory of a run; any other side as it is."""
    return str(run_directory.weights_file(Path(spec))) if Path(spec).is_dir() else spec


def check(spec: str) -> None:
    """Raise :class:`NinError` if there is no such file."""
    if not Path(spec).is_file() and of_several_files(Path(spec)) is None:
        raise NinError(f"{spec}: no such file")


def start(path: str, settings: Settings) -> session.Started:
    """A file as a backend in this process; it has as much of the contract as it can.

    The settings are as for :func:`common.backends.session.start`, whatever their backend.

    Raises:
        NinError: if the file cannot be read, or what runs it is not installed.
    """
    file = Path(path)
    form = kinds.identify(file)
    backend: Any
    try:
        if form == "onnx":
            with machine.prepared(settings.threads) as threads:
                backend = OnnxFile(file, threads)
            about: dict[str, str | int] = {"threads": threads, "allocator": "system"}
            return session.Started(backend, Device("cpu", "cpu", None), about, "float32")
        name = FORMATS[form].backend or first_installed()
        started = session.start(dataclasses.replace(settings, backend=name))
        kind = {"keras": KerasFile, "mxnet": GluonFile}.get(form, WeightsFile)
        if kind != WeightsFile:
            content = parts.exporter(started.backend).load_native(file)
            kind = WeightsFile if content.input_shape is None else kind
        backend = kind(file, started.backend, int(started.prepared["threads"]))
    except NinError:
        raise
    except Exception as error:  # the frameworks' readers raise what they like
        raise NinError(f"{path}: cannot be read or run ({one_line(error)})") from error
    return started._replace(backend=backend)


def extract(path: str, directory: str, job: dict[str, Any]) -> float:
    """Leave the weights of a file, by canonical name, in the directory of the material.

    ``job`` has the fields of :class:`common.comparison.job.Job`. Returns a learning rate at which
    the weights learn, 0 if no framework here gives their gradients.
    """
    todo = Job(**job)
    settings = Settings(device="cpu", precision="float64", threads=todo.threads)
    file: Any = start(path, settings).backend
    weights = file.get_weights(file.nin())
    save_arrays(Path(directory) / WEIGHTS, weights, {})
    if "training" not in todo.levels:
        return 0.0
    backend = getattr(file, "backend", None)
    if backend is None:  # an ONNX file comes without a framework
        settings = dataclasses.replace(settings, backend=first_installed())
        try:
            backend = session.start(settings).backend
        except NinError:
            return 0.0
    material, _ = load_arrays(Path(directory) / MATERIAL)
    return learning_rate(backend, weights, material, todo)


def learning_rate(
    backend: Any, weights: Mapping[str, np.ndarray], material: Mapping[str, np.ndarray], job: Job
) -> float:
    """A learning rate at which a step lowers the loss by :data:`STEP_FALL` of itself, about.

    By the first term of its series it falls by the rate times the squared norm of the gradient.
    The rate has two digits, which is what the report prints, and is the book's at most.
    """
    settings = Settings(
        device="cpu", precision="float64", threads=job.threads,
        resize=job.resize, batch_size=job.batch_size, network=job.network,
    )  # fmt: skip
    net = parts.make_network(backend, job.description, size=job.resize)
    predictor = backend.Predictor(net, settings)
    backend.set_weights(predictor.net, {name: w.astype("float64") for name, w in weights.items()})
    batch = slice(job.batch_size)
    loss, slopes = predictor.gradients(material["images"][batch], material["labels"][batch])
    square = sum(float(np.vdot(slope, slope)) for slope in slopes.values())
    highest = from_preset("book").lr
    return float(f"{min(STEP_FALL * loss / square, highest) if square else highest:.2g}")


def chapter_names(steps: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Canonical name -> what stands for a layer, by the order of the layers alone.

    ``steps`` are the kind of layer, and what stands for it, in the order of computation. A kind
    that the chapter does not have gets no name.
    """
    layers = architecture.layers()
    convolutions = iter([layer.name for layer in layers if not layer.is_pool])
    pools = {layer.name for layer in layers if layer.is_pool}
    named: dict[str, Any] = {}
    last = linear = None  # a convolution that has had no ReLU yet
    block = ""
    for kind, what in steps:
        if kind in ("conv", "global_pool"):
            named.pop("flatten", None)  # that was none: it is behind them
        if kind == "conv":
            last = linear = next(convolutions, None)
            block = (last or "").partition(".")[0]
        elif kind == "pool":
            last = block.replace("block", "pool")
            last = last if last in pools - named.keys() else None
        elif kind in ("dropout", "global_pool", "flatten"):
            last = linear = kind
        elif kind not in ("relu", "bias"):
            continue
        elif kind == "relu" and last != linear and linear is not None:
            # its ReLU comes behind the pooling, which is the same
            named[linear + EARLY] = named.pop(linear)
        if kind == "relu":
            linear = None
        # a ReLU overwrites the entry of its convolution
        if last is not None:
            named[last] = what
    return named


def canonical(arrays: Sequence[tuple[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Parameters by canonical name if there are as many; they are in the order of computation."""
    shapes = architecture.parameter_shapes()
    if len(shapes) != len(arrays):
        return dict(arrays)
    return {  # a layer that is fully connected per pixel is a 1x1 convolution
        name: array.reshape(shape) if (*array.shape, 1, 1) == shape else array
        for (name, shape), (_, array) in zip(shapes.items(), arrays, strict=True)
    }


def _read(path: Path, backend: Any, threads: int, check: bool = True) -> convert.Read:
    """A file of the chapter's network."""
    found = convert.read(path, beside=backend.NAME, check=check, threads=threads)
    _check_chapter(found.model, path)
    return found


def _check_chapter(model: Model, path: Path) -> None:
    """Refuse weights of another network, or of other images or classes."""
    what = "" if model.network == CHAPTER else f"the network {model.network}"
    counts = model.num_classes, model.in_channels
    if counts != (architecture.NUM_CLASSES, architecture.IN_CHANNELS):
        what = plural(f"a network of {counts[0]} classes and {counts[1]} channel(s)")
    if what:
        raise NinError(f"{path}: holds {what}; a weights file is compared as the chapter's only")


class WeightsFile:
    """A backend whose networks have the weights of a file, whatever they are given."""

    # of the backend's contract, what the file does not have
    lacking: tuple[str, ...] = ()

    def __init__(self, path: Path, backend: Any, threads: int) -> None:
        self.__name__, self.__file__ = path.name, str(path)
        self.backend = backend
        self.weights = self.read(path, threads)
        check_parameters(self.weights, architecture.parameter_shapes(), str(path))

    def __getattr__(self, name: str) -> Any:
        """What the file does not change is the backend's."""
        if name in self.lacking:
            raise AttributeError(name)
        return getattr(self.backend, name)

    def read(self, path: Path, threads: int) -> dict[str, np.ndarray]:
        """The file's weights by canonical name."""
        found = _read(path, self.backend, threads)
        # what it verifies is what the comparison is for
        self.notes = [note for note in found.notes if convert.UNVERIFIED not in note]
        theirs = self.backend.NAME
        self.run_as = (
            f"holds weights and no layers: they were run with those of {theirs}, and a mistake in "
            "the program that the file is from cannot show"
        )
        if found.check is not None:
            self.run_as = (
                f"is not compared layer by layer: its logits are those that {theirs} computes with "
                f"its weights, and the layers here are {theirs}'s"
            )
        return found.model.weights

    def nin(self, *options: Any) -> Any:
        net = self.backend.nin(*options)
        self.backend.set_weights(net, self.weights)
        return net

    def set_weights(self, net: Any, weights: Mapping[str, np.ndarray]) -> None:
        """The file's own weights again, and not those that are given."""
        self.backend.set_weights(net, self.weights)


class KerasFile(WeightsFile):
    """A Keras model, run by Keras; ``nin_tf`` goes through its layers."""

    lacking = ("Trainer", "shape_walk")

    def read(self, path: Path, threads: int) -> dict[str, np.ndarray]:
        keras = importlib.import_module("tensorflow").keras
        content = parts.exporter(self.backend).load_native(path)
        layers = list(_chain(content.net, path))
        size = "x".join(map(str, (content.input_shape or ())[2:]))
        if "None" not in size:
            self.notes = [f"{path.name} is for images of {size}; its layers are run at any size"]
        self.net = keras.Sequential(_as_ours(layers, keras.layers))
        return self.get_weights(self.net)

    def nin(self, *options: Any) -> Any:
        return self.net

    def get_weights(self, net: Any) -> dict[str, np.ndarray]:
        return canonical(list(self.backend.get_weights(net).items()))

    def set_weights(self, net: Any, weights: Mapping[str, np.ndarray]) -> None:
        """It keeps its own."""

    def Predictor(self, net: Any, settings: Settings) -> Any:
        return KerasPredictor(self.backend.Predictor(net, settings))


def _chain(net: Any, path: Path) -> Iterator[Any]:
    """The layers of a Keras model in order, those of models within it among them."""
    layers = {layer.name: layer for layer in net.layers}
    if type(net).__name__ == "Functional":
        config = net.get_config()
        before: list[str] = []
        for each in config["layers"]:
            found = re.findall(r'"keras_history": \["([^"]*)"', json.dumps(each["inbound_nodes"]))
            if found != before or each["name"] not in layers:
                raise NinError(
                    f"{path}: its layers are no chain (it branches at {printable(each['name'])}, "
                    "or that is no layer); export it to ONNX and compare that"
                )
            before = [each["name"]]
        if len(net.outputs) != 1:
            raise NinError(
                f"{path}: it has {len(net.outputs)} outputs; save it with the logits alone"
            )
    for layer in layers.values():
        if type(layer).__name__ in ("Functional", "Sequential"):
            yield from _chain(layer, path)
        elif type(layer).__name__ != "InputLayer":
            yield layer


def _as_ours(layers: list[Any], kinds_of: Any) -> Iterator[Any]:
    """The same with what ends ``nin_tf`` behind a global pooling, whose output has a name there."""
    for layer, after in zip(layers, [*layers[1:], None], strict=True):
        yield layer
        again = tuple(getattr(after, "target_shape", ()))[:2] == (1, 1)
        if type(layer).__name__.startswith("Global") and not again:
            yield kinds_of.Reshape((1, 1, -1))
            if not layer.keepdims:
                yield kinds_of.Flatten()


class KerasPredictor:
    """A predictor of ``nin_tf`` with the chapter's names, whatever the file's layers are called."""

    def __init__(self, predictor: Any) -> None:
        self.predictor = predictor
        self.net, self.logits = predictor.net, predictor.logits

    def activations(self, images: np.ndarray) -> dict[str, np.ndarray]:
        outputs = self.predictor.activations(images)

        def kind(name: str, output: np.ndarray) -> str:
            found = name.rpartition(".")[2].rstrip("0123456789")
            if output.ndim == 2 and found == "global_pool":  # nin_tf's name of any Reshape
                return "flatten"
            return "conv" if found == "dense" else found

        named = chapter_names((kind(name, output), output) for name, output in outputs.items())
        return {"input": outputs["input"], **named}

    def gradients(
        self, images: np.ndarray, labels: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray]]:
        loss, slopes = self.predictor.gradients(images, labels)
        return loss, canonical(list(slopes.items()))


class LayersFile:
    """A file with layers, which its own software runs: weights, and the outputs of all layers."""

    PRECISIONS = ("float32",)
    weights: dict[str, np.ndarray]
    """By canonical name."""
    words: dict[str, str]
    """Canonical name -> what the file calls the kind of the layer."""

    def __init__(self, path: Path) -> None:
        self.__name__, self.__file__ = path.name, str(path)

    def nin(self, *options: Any) -> "LayersFile":
        return self

    def get_weights(self, net: Any) -> dict[str, np.ndarray]:
        return dict(self.weights)

    def set_weights(self, net: Any, weights: Mapping[str, np.ndarray]) -> None:
        """It keeps its own."""

    def shape_walk(self, net: Any, images: np.ndarray) -> Iterator[LayerOutput]:
        """The chapter's layers."""
        outputs = self.run(images)
        for name in architecture.layer_shapes(architecture.smallest_input()):
            last = f"{name}.conv3" if name.startswith("block") else name
            for given in (each for each in (last, last + EARLY) if each in outputs):
                word = self.words.get(given, "-")
                yield LayerOutput(word, str(outputs[given].shape), name, outputs[given])

    def Predictor(self, net: Any, settings: Settings) -> "FilePredictor":
        return FilePredictor(self, settings)

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Canonical name -> output for float32 pixels, channels first; and ``logits``."""
        outputs = self._run(pixels)
        for layer in architecture.layers():  # fully connected per pixel, whose channels come last
            found = outputs.get(layer.name)
            if found is not None and found.ndim != 4:  # a row of pixels
                del outputs[layer.name]
            elif found is not None and found.shape[1] != layer.out_channels == found.shape[-1]:
                outputs[layer.name] = found.transpose(0, 3, 1, 2)
        if "global_pool" in outputs:  # with or without its height and width of 1
            pooled = outputs["global_pool"]
            outputs["global_pool"] = pooled[..., None, None] if pooled.ndim == 2 else pooled
            outputs.setdefault("flatten", pooled.reshape(len(pooled), -1))
        if "pool3" in outputs:  # a file for prediction leaves dropout out
            outputs.setdefault("dropout", outputs["pool3"])
        return {**outputs, "logits": outputs["logits"].reshape(len(pixels), -1)}

    def _run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """The same as the file gives it."""
        raise NotImplementedError


class OnnxFile(LayersFile):
    """An ONNX model, run by onnxruntime, the outputs of its operations as further outputs."""

    def __init__(self, path: Path, threads: int) -> None:
        super().__init__(path)
        onnx_format.require()
        self.onnx, self.runtime = (importlib.import_module(n) for n in ("onnx", "onnxruntime"))
        content = onnx_format.load(path)
        found, _ = convert.recognise(content, path)
        _check_chapter(found, path)
        self.weights = found.weights
        model = content.net
        self.shape, self.channels_last = onnx_format.input_layout(model.graph, path, 1)
        nodes, self.result = onnx_format.logits_of(model.graph, architecture.NUM_CLASSES)
        self.layers = chapter_names((_kind(node.op_type), node) for node in nodes)
        self.words = {name: node.op_type for name, node in self.layers.items()}
        known = {output.name for output in model.graph.output}
        chosen = f"{path.name}: of its {len(known)} outputs, {printable(self.result)} is compared"
        self.notes = [chosen] if len(known) > 1 else []
        for node in self.layers.values():
            if node.output[0] not in known:
                known.add(node.output[0])
                model.graph.output.append(self.onnx.ValueInfoProto(name=node.output[0]))
        self.session = onnx_format.start_session(model, threads)
        self.given = self.session.get_inputs()[0].name

    def versions(self) -> dict[str, str]:
        """Package name -> version of what runs it."""
        return {each.__name__: each.__version__ for each in (self.onnx, self.runtime)}

    def _run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        batch_size, *own = self.shape
        if any(given not in (None, n) for given, n in zip(own, pixels.shape[1:], strict=True)):
            words = f"{self.__name__} takes images of {own[1]}x{own[2]} only"
            if pixels.shape[2] != pixels.shape[3]:  # as no other than square ones can be asked for
                raise LackingError(f"{words}, and this level needs oblong ones too")
            raise NinError(f"{words}; compare at that size (resize {own[1]})")
        X = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)) if self.channels_last else pixels
        names = {name: node.output[0] for name, node in self.layers.items()}
        names["logits"] = self.result

        def run(batch: np.ndarray) -> list[np.ndarray]:
            return list(self.session.run(list(names.values()), {self.given: batch}))

        # some exporters fix the batch too
        return dict(zip(names, convert.in_batches(run, X, batch_size), strict=True))


class GluonFile(LayersFile):
    """MXNet's layers (``X-symbol.json``) with their parameters, each layer as a further output."""

    def __init__(self, path: Path, backend: Any, threads: int) -> None:
        super().__init__(path)
        self.weights = _read(path, backend, threads, check=False).model.weights
        check_parameters(self.weights, architecture.parameter_shapes(), str(path))
        self.backend, self.versions = backend, backend.versions
        self.exporter = parts.exporter(backend)
        self.graph = json.loads(kinds.layers_of_mxnet(path).read_text())
        nodes = self.graph["nodes"]
        self.layers = chapter_names((_gluon_kind(node), i) for i, node in enumerate(nodes))
        self.words = {name: nodes[i]["op"] for name, i in self.layers.items()}
        self.graph["heads"] += [[i, 0, 0] for i in self.layers.values()]

    def _run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        with tempfile.TemporaryDirectory() as directory:
            # the same file with more outputs
            file = Path(directory) / Path(self.__file__).name
            file.symlink_to(Path(self.__file__).absolute())
            kinds.layers_of_mxnet(file).write_text(json.dumps(self.graph))
            outputs = self.exporter.run_native(file, pixels)
        first = len(outputs) - len(self.layers)
        return {**dict(zip(self.layers, outputs[first:], strict=True)), "logits": outputs[0]}


def _gluon_kind(node: Mapping[str, Any]) -> str:
    whole = node.get("attrs", {}).get("global_pool") in ("True", "1")
    return "global_pool" if whole else _kind(node["op"])


def _kind(operation: str) -> str:
    return OPERATIONS.get(re.sub("^_np[ix]?_", "", operation).lower(), "relu")


class FilePredictor:
    """See :class:`common.contract.Predictor`."""

    def __init__(self, file: LayersFile, settings: Settings) -> None:
        self.net, self.size = file, settings.resize

    def pixels(self, images: np.ndarray) -> np.ndarray:
        matrix = resize_matrix(images.shape[1], self.size)
        return (matrix @ (images / 255) @ matrix.T).astype(np.float32)[:, np.newaxis]

    def activations(self, images: np.ndarray) -> dict[str, np.ndarray]:
        pixels = self.pixels(images)
        return {"input": pixels, **self.net.run(pixels)}

    def logits(self, images: np.ndarray) -> np.ndarray:
        return self.net.run(self.pixels(images))["logits"]
