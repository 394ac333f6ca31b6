"""A weights file as one side of a comparison: its own weights, and its own layers if it has any.

An ONNX or Keras file holds layers, which its own software runs one by one, and so does an export of
MXNet, whose layers stand in a file beside. A PyTorch state dict, Gluon parameters alone and a
safetensors file hold weights only, which our network in the file's framework runs. All others in
the comparison are given the weights of the first file.
"""

import dataclasses
import importlib
import json
import math
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from common.backends import parts, registry, session
from common.backends.parts import LackingError
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

# kind of step -> how ONNX, Keras and MXNet call its operations; any other operation, such as those
# that a ReLU is written with, is a part of the layer before it
KINDS = {
    "conv": "[Cc]onv|MatMul|Gemm|FullyConnected|[Dd]ense",
    "end": "[Pp]ad|[Ss]oftmax",
    "pool": "[Pp]ool|[Mm]ean|Reduce|sum|^max",
    "dropout": "[Dd]ropout",
    "flatten": "[Ff]latten|[Rr]eshape|[Ss]queeze",
}


def is_file(spec: str) -> bool:
    """Whether a side of a comparison has the name of a weights file, and not of a backend."""
    if spec in registry.names():  # whatever else has that name here
        return False
    return Path(spec).suffix.lower() in SUFFIXES or of_several_files(Path(spec)) is not None


def in_run(spec: str) -> str:
    """The weights file of a side that is the directory of a run; any other side as it is."""
    if spec in registry.names() or not Path(spec).is_dir():
        return spec
    found = run_directory.weights_file(Path(spec))
    return spec if found == Path(spec) else str(found)  # ./tf is not tf


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
        name = FORMATS[form].backend or registry.first_installed()
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
        settings = dataclasses.replace(settings, backend=registry.first_installed())
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


def chapter_names(steps: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    """Canonical name -> what stands for the steps of a layer, up to the next layer.

    ``steps`` are the name of an operation, and what stands for it, in the order of computation.
    """
    layers = architecture.layers()
    convolutions = iter([layer.name for layer in layers if not layer.is_pool])
    pools = {one.name: other.name for one, other in pairwise(layers) if other.is_pool}
    pools[layers[-1].name] = "global_pool"
    named: dict[str, list[Any]] = {}
    convolution = last = None
    for operation, what in steps:
        kind = next((k for k, pattern in KINDS.items() if re.search(pattern, operation)), "")
        if kind == "conv":
            convolution = last = next(convolutions, None)
        elif kind == "pool":
            last = pools.get(convolution or "", last)
        elif kind == "dropout" or (kind == "flatten" and last == "global_pool"):
            last = kind
        elif kind == "end":  # the padding of the next layer, or what is made of logits
            last = None
        if last is not None:
            named.setdefault(last, []).append(what)
    return named


def layer_outputs(steps: Mapping[str, Sequence[np.ndarray]], count: int) -> dict[str, np.ndarray]:
    """Canonical name -> output for so many images, of the outputs of each layer's steps.

    It is what the next layer takes, whatever the last of the steps that is a map makes of it:
    their channels may be last, and their pixels on one axis, as of a layer that is fully connected
    per pixel.
    """
    layers = architecture.layers()
    channels = {layer.name: layer.out_channels for layer in layers}
    channels |= {"dropout": layers[-4].out_channels, "global_pool": layers[-1].out_channels}
    outputs: dict[str, np.ndarray] = {}
    size: tuple[int, ...] = ()
    for name, values in steps.items():
        outputs[name] = values[-1]
        width = channels.get(name)
        if width is None:
            continue
        maps = [value.shape for value in values if value.ndim == 4]
        if maps:
            size = maps[-1][2:] if maps[-1][1] == width else maps[-1][1:3]
        for value in reversed(values):
            if value.size == count * width:
                size = (1, 1)
            if value.size != count * width * math.prod(size):
                continue
            if value.shape[:2] == (count, width):
                outputs[name] = value.reshape(count, width, *size)
            elif value.shape[-1] == width:
                outputs[name] = value.reshape(count, *size, width).transpose(0, 3, 1, 2)
            break
    for one, pool in pairwise(layers):
        behind = pairwise(steps.get(pool.name, ()) if pool.is_pool else ())
        if one.name in outputs and any(a.shape == b.shape and (b >= 0).all() for a, b in behind):
            # its ReLU stands behind the pooling, which is the same
            outputs[one.name] = np.maximum(outputs[one.name], 0)
    pooled = outputs.get("global_pool")
    if pooled is not None and pooled.shape[2:] == (1, 1):  # no layer, if it is averaged to that
        outputs.setdefault("flatten", pooled[:, :, 0, 0])
    if "pool3" in outputs:  # a file for prediction leaves dropout out
        outputs.setdefault("dropout", outputs["pool3"])
    return outputs


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


def _check_size(file: Any, own: Sequence[int | None], given: Sequence[int]) -> None:
    """Refuse images of another height or width than a file takes; None: any."""
    if any(n not in (None, asked) for n, asked in zip(own, given, strict=True)):
        words = f"{file.__name__} takes images of {own[0]}x{own[1]} only"
        if given[0] != given[1]:  # as no other than square ones can be asked for
            raise LackingError(f"{words}, and this level needs oblong ones too")
        raise NinError(f"{words}; compare at that size (resize {own[0]})")


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
        content: Any = parts.exporter(self.backend).load_native(path)
        layers = list(_chain(content.net, path))
        size = content.input_shape[2:]
        self.size: tuple[int | None, ...] = (None, None)
        if not any(type(layer).__name__.startswith("Global") for layer in layers):
            self.size = size  # its windows, or what they are flattened to, are made for that
        elif None not in size:
            words = f"{path.name} is for images of {size[0]}x{size[1]}"
            self.notes = [f"{words}; its layers are run at any size"]
        self.net = keras.Sequential(_as_ours(layers, keras.layers))
        return self.get_weights(self.net)

    def nin(self, *options: Any) -> Any:
        return self.net

    def get_weights(self, net: Any) -> dict[str, np.ndarray]:
        return canonical(list(self.backend.get_weights(net).items()))

    def set_weights(self, net: Any, weights: Mapping[str, np.ndarray]) -> None:
        """It keeps its own."""

    def Predictor(self, net: Any, settings: Settings) -> Any:
        return KerasPredictor(self, self.backend.Predictor(net, settings))


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
    """The same as ``nin_tf`` has it, whose layers have names.

    What ends it comes behind a global pooling, and a ReLU behind a pooling before it, which is the
    same.
    """
    for at, (layer, after) in enumerate(pairwise(layers)):
        if isinstance(layer, kinds_of.MaxPooling2D) and isinstance(
            after, kinds_of.ReLU | kinds_of.Activation
        ):
            layers[at : at + 2] = after, layer
    for layer in layers:
        yield layer
        if type(layer).__name__.startswith("Global"):
            yield kinds_of.Reshape((1, 1, -1), name=f"{layer.name}_reshape")
            if not layer.keepdims:
                yield kinds_of.Flatten(name=f"{layer.name}_flatten")


class KerasPredictor:
    """A predictor of ``nin_tf`` with the chapter's names, whatever the file's layers are called."""

    def __init__(self, file: KerasFile, predictor: Any) -> None:
        self.file, self.predictor = file, predictor
        self.net, self.logits = predictor.net, predictor.logits

    def activations(self, images: np.ndarray) -> dict[str, np.ndarray]:
        _check_size(self.file, self.file.size, (self.predictor.size,) * 2)
        outputs = self.predictor.activations(images)
        steps = chapter_names((name.rpartition(".")[2], out) for name, out in outputs.items())
        return {"input": outputs["input"], **layer_outputs(steps, len(images))}

    def gradients(
        self, images: np.ndarray, labels: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray]]:
        _check_size(self.file, self.file.size, (self.predictor.size,) * 2)
        loss, slopes = self.predictor.gradients(images, labels)
        return loss, canonical(list(slopes.items()))


class LayersFile:
    """A file with layers, which its own software runs: weights, and the outputs of all layers."""

    PRECISIONS = ("float32",)
    weights: dict[str, np.ndarray]
    """By canonical name."""
    layers: Mapping[str, Sequence[Any]]
    """Canonical name -> the steps of a layer."""
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
            if last in outputs:
                word = self.words.get(last, "-")
                yield LayerOutput(word, str(outputs[last].shape), name, outputs[last])

    def Predictor(self, net: Any, settings: Settings) -> "FilePredictor":
        return FilePredictor(self, settings)

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Canonical name -> output for float32 pixels, channels first; and ``logits``."""
        logits, *outputs = self.run_steps(pixels)
        values = iter(outputs)
        steps = {name: [next(values) for _ in own] for name, own in self.layers.items()}
        if logits.shape[2:] == (1, 1):
            logits = logits[:, :, 0, 0]
        return {**layer_outputs(steps, len(pixels)), "logits": logits}

    def run_steps(self, pixels: np.ndarray) -> list[np.ndarray]:
        """The logits and the outputs of all steps of the layers."""
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
        self.layers = chapter_names((node.op_type, node) for node in nodes)
        self.words = {name: own[-1].op_type for name, own in self.layers.items()}
        known = {output.name for output in model.graph.output}
        chosen = f"{path.name}: of its {len(known)} outputs, {printable(self.result)} is compared"
        self.notes = [chosen] if len(known) > 1 else []
        steps = chain(*self.layers.values())
        self.outputs = [self.result, *(node.output[0] for node in steps)]
        for name in dict.fromkeys(self.outputs):
            if name not in known:
                model.graph.output.append(self.onnx.ValueInfoProto(name=name))
        self.session = onnx_format.start_session(model, threads)
        self.given = self.session.get_inputs()[0].name

    def versions(self) -> dict[str, str]:
        """Package name -> version of what runs it."""
        return {each.__name__: each.__version__ for each in (self.onnx, self.runtime)}

    def run_steps(self, pixels: np.ndarray) -> list[np.ndarray]:
        batch_size, _, *own = self.shape
        _check_size(self, own, pixels.shape[2:])
        X = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)) if self.channels_last else pixels

        def run(batch: np.ndarray) -> list[np.ndarray]:
            return list(self.session.run(self.outputs, {self.given: batch}))

        # some exporters fix the batch too
        return convert.in_batches(run, X, batch_size)


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
        steps = [(node["op"], i) for i, node in enumerate(nodes) if node["op"] != "null"]
        self.layers = chapter_names(steps)
        self.words = {name: nodes[own[-1]]["op"] for name, own in self.layers.items()}
        self.outputs = [*chain(*self.layers.values())]
        self.graph["heads"] += [[i, 0, 0] for i in self.outputs]

    def run_steps(self, pixels: np.ndarray) -> list[np.ndarray]:
        with tempfile.TemporaryDirectory() as directory:
            # the same file with more outputs
            file = Path(directory) / Path(self.__file__).name
            file.symlink_to(Path(self.__file__).absolute())
            kinds.layers_of_mxnet(file).write_text(json.dumps(self.graph))
            outputs = self.exporter.run_native(file, pixels)
        return [outputs[0], *outputs[-len(self.outputs) :]]


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
