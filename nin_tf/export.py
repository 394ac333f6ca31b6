"""Files that TensorFlow's own users write and load: a ``.keras`` file of the whole network."""

import io
import json
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tensorflow as tf

from common.contract import Content
from common.conversion import kinds
from common.errors import NinError, printable

# In the archive, beside Keras's own files, which are all that Keras looks at.
METADATA = "nin.json"
_config, _weights = "config.json", "model.weights.h5"

# differs: a Keras file names the classes to build, and Keras would import whatever it names; only
# these are built, and none of them runs code from the file.
_built = {
    "Sequential", "Functional", "Model", "InputLayer", "Conv2D", "Dense", "MaxPooling2D",
    "AveragePooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D", "Dropout",
    "SpatialDropout2D", "GaussianDropout", "GaussianNoise", "RandomContrast", "RandomFlip",
    "RandomRotation", "RandomTranslation", "RandomZoom", "Activation", "ReLU", "LeakyReLU",
    "Softmax", "Flatten", "Reshape", "Permute", "Identity", "ZeroPadding2D",
    "Cropping2D", "Relu", "Mean", "Max", "Sum", "Squeeze",
    "__keras_tensor__", "__tuple__",
}  # fmt: skip
# What multiplies by weights; Keras 3.12 writes the last for a layer fully connected per pixel.
_products = ("Conv2D", "MatMul", "BatchMatMulV2")
# What a SavedModel may compute: neither files nor code of Python.
_operations = {
    "Add", "AddV2", "AssignVariableOp", "AvgPool", "BatchMatMulV2", "BiasAdd", "Cast", "ConcatV2",
    "Const", "Conv2D", "DisableCopyOnRead", "ExpandDims", "Fill", "GatherV2", "GreaterEqual",
    "Identity", "Log", "LogSoftmax", "LogicalAnd", "MatMul", "Max", "MaxPool", "Maximum", "Mean",
    "MergeV2Checkpoints", "Minimum", "Mul", "NoOp", "Pack", "Pad", "PadV2", "PartitionedCall",
    "Placeholder", "Prod", "RandomUniform", "Range", "ReadVariableOp", "RealDiv", "Relu", "Reshape",
    "RestoreV2", "SaveV2", "Select", "SelectV2", "Shape", "ShardedFilename", "Softmax", "Squeeze",
    "StatefulPartitionedCall", "StatelessRandomGetKeyCounter", "StatelessRandomUniformV2",
    "StaticRegexFullMatch", "StridedSlice", "StringJoin", "Sub", "Sum", "Transpose", "VarHandleOp",
    "VarIsInitializedOp", "ZerosLike",
}  # fmt: skip
_channels_first = "its layers are channels first, which TensorFlow does not compute on a CPU"
_half = {tf.float16.as_datatype_enum, tf.bfloat16.as_datatype_enum}


def save_native(net: tf.keras.Sequential, path: Path, metadata: Mapping[str, str]) -> list[Path]:
    """Write a network; see :class:`common.contract.Exporter`.

    ``keras.models.load_model(path)`` reads it, without this project.
    """
    net.save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA, json.dumps(dict(metadata)))
    return [path]


def load_native(path: Path) -> Content:
    """What a file holds; see :class:`common.contract.Exporter`."""
    kind = kinds.identify(path)
    if kind == "savedmodel":
        return _saved_content(path)
    if kind == "tfcheckpoint":
        return Content({"": _in_checkpoint(path)}, False, {})
    config, archived, metadata = _read(path)
    reason = None if config is None else _only_weights(config)
    if config is None or reason:
        groups, ordered = _stored(archived, path)
        notes = (f"{path}: {reason}; only its weights were read",) if reason else ()
        return Content(groups, ordered, metadata, notes=notes)
    net = _model(path)
    tensors: dict[str, np.ndarray] = {}
    rates = [0.0]
    for i, layer in enumerate(_leaves(net)):
        for kind, variable in zip(("weight", "bias"), layer.weights, strict=False):
            tensors[f"{i}.{layer.name}.{kind}"] = _to_canonical(np.asarray(variable.value))
        if "Dropout" in type(layer).__name__:
            rates.append(float(layer.rate))
    if not isinstance(net.input_shape, tuple) or len(net.input_shape) != 4:
        raise NinError(f"{path}: of another network: its input has shape {net.input_shape}")
    batch, height, width, channels = net.input_shape
    first = next(e for e in _leaves(net) if not isinstance(e, tf.keras.layers.InputLayer))
    if isinstance(first, tf.keras.layers.Permute) and first.dims[-1] == 1:
        raise NinError(
            f"{path}: of another network: it takes images of shape {net.input_shape}, channels "
            "first; save the layers behind its first, which puts the channels last"
        )
    shape = (batch, channels, height, width)
    return Content({"": tensors}, True, metadata, shape, rates[-1], net=net)


def run_native(path: Path, pixels: np.ndarray) -> list[np.ndarray]:
    """The outputs for pixels; see :class:`common.contract.Exporter`."""
    images = tf.constant(pixels.transpose(0, 2, 3, 1))
    if path.is_dir():
        _loaded, given = _saved(path)
        ((name, image),) = given.structured_input_signature[1].items()
        outputs = list(given(**{name: tf.cast(images, image.dtype)}).values())
    else:
        outputs = _model(path)(images, training=False)
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [output.numpy() for output in outputs]


def _read(path: Path) -> tuple[dict[str, Any] | None, bytes, dict[str, str]]:
    """The layers that a file describes, if any, its weights as an HDF5 file, and our metadata."""
    if not zipfile.is_zipfile(path):
        content = path.read_bytes()
        with h5py.File(io.BytesIO(content)) as file:
            text = file.attrs.get("model_config")
        return None if text is None else _plain(json.loads(text), path, True), content, {}
    with zipfile.ZipFile(path) as archive:
        ours = json.loads(archive.read(METADATA)) if METADATA in archive.namelist() else {}
        return _plain(json.loads(archive.read(_config)), path, True), archive.read(_weights), ours


def _plain(config: Any, path: Path, top: bool = False) -> Any:
    """A description of layers with all left out that does not matter for what they compute.

    In float32, whatever they were trained in, so that they can be judged beside ours.
    """
    if isinstance(config, list):
        return [_plain(each, path) for each in config]
    if not isinstance(config, dict):
        return config
    name = config.get("class_name")
    if name is not None and name not in _built:
        if top and not str(config.get("module")).startswith("keras"):
            return {"class_name": name}
        if _is_operation(str(name), config.get("module")):
            raise NinError(
                f"{path}: {printable(name)} in it is an operation (keras.ops), which is not read "
                "from a Keras file; export the network as a SavedModel or to ONNX, which are read"
            )
        _refuse(str(name), path)
    plain = {}
    for key, value in config.items():
        if key == "dtype":
            if re.search("Quantized|(?<!u)int[48]", json.dumps(value)):
                raise NinError(f"{path}: quantized; save the network before it is quantized")
            value = "float32"
        elif key.endswith("_initializer"):
            value = "zeros"
        elif key.endswith(("_regularizer", "_constraint")) or key == "compile_config":
            value = None
        plain[key] = _plain(value, path)
    return plain


def _is_operation(name: str, module: str | None) -> bool:
    """Whether a class of Keras is what ``keras.ops`` makes, and no layer."""
    if module:
        return module.startswith("keras") and ".ops." in module
    # HDF5 files say no more than the name
    function = re.sub("(?<!^)(?=[A-Z])", "_", name).lower()
    return hasattr(tf.keras.ops, function) and not hasattr(tf.keras.layers, name)


def _refuse(name: str, path: Path) -> None:
    words = {"BatchNormalization": "batch normalization"}.get(name, f"a {printable(name)} layer")
    help_ = "the chapter's network does not have it"
    if name in ("Rescaling", "Normalization"):
        help_ = (
            "but the network here takes pixels from 0 to 1 as they are; save the layers behind it "
            "as a network of their own"
        )
    raise NinError(f"{path}: of another network: it has {words}; {help_}")


def _only_weights(config: dict[str, Any]) -> str:
    """Why the layers of a file cannot be run here; empty if they can."""
    name = config["class_name"]
    if name not in _built:
        return f"its class {printable(name)} is code, which is not in the file"
    if '"channels_first"' in json.dumps(config):
        return _channels_first
    return ""


def _model(path: Path) -> Any:
    """The layers of a file, built by Keras in its safe mode."""
    config, archived, _ = _read(path)
    assert config is not None
    with tempfile.TemporaryDirectory() as directory:
        if zipfile.is_zipfile(path):
            copy = Path(directory) / "copy.keras"
            with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
                new.writestr("metadata.json", old.read("metadata.json"))
                new.writestr(_config, json.dumps(config))
                new.writestr(_weights, archived)
        else:
            copy = Path(directory) / "copy.h5"
            copy.write_bytes(archived)
            with h5py.File(copy, "r+") as file:
                file.attrs["model_config"] = json.dumps(config)
        net = tf.keras.models.load_model(copy, compile=False, safe_mode=True)
    if not net.built:  # it was never called; its first layer, a network, says for which images
        net.build(net.layers[0].input_shape)
    return net


def _leaves(net: Any) -> Iterator[Any]:
    for layer in net.layers:
        if hasattr(layer, "layers"):
            yield from _leaves(layer)
        else:
            yield layer


def _stored(content: bytes, path: Path) -> tuple[dict[str, dict[str, np.ndarray]], bool]:
    """The tensors of an HDF5 file of weights, and whether they are in the layers' order."""
    tensors: dict[str, np.ndarray] = {}
    with h5py.File(io.BytesIO(content)) as file:
        root = file.get("model_weights", file)
        if "layer_names" in root.attrs:  # Keras 2
            for layer in map(_text, root.attrs["layer_names"]):
                for name in map(_text, root[layer].attrs["weight_names"]):
                    tensors[name.partition(":")[0]] = _to_canonical(root[layer][name][()])
            return {"": tensors}, True

        def add(name: str, found: Any) -> None:
            if isinstance(found, h5py.Dataset) and not name.startswith("optimizer"):
                tensors[name] = _to_canonical(found[()])

        root.visititems(add)
    if not tensors:
        raise NinError(f"{path}: an HDF5 file without weights")
    return {"": tensors}, False


def _in_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """The tensors of TensorFlow's own checkpoint, which holds the optimizer's too."""
    prefix = tf.train.latest_checkpoint(path) if path.is_dir() else None
    reader = tf.train.load_checkpoint(prefix or kinds.index_of_checkpoint(path).with_suffix(""))
    end = "/.ATTRIBUTES/VARIABLE_VALUE"
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith(end)]
    # Keras lists what is trained in its optimizer, and then nowhere else
    trained = [name for name in names if "optimizer/_trainable_variables" in name]
    names = trained or [n for n in names if "optimizer" not in n and ".OPTIMIZER_SLOT" not in n]
    tensors = {n.removesuffix(end).replace("/_", "/"): reader.get_tensor(n) for n in names}
    return {n: _to_canonical(a) for n, a in tensors.items() if a.dtype.kind != "i"}


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _to_canonical(array: np.ndarray) -> np.ndarray:
    if array.dtype.itemsize == 2 and array.dtype.kind == "V":  # HDF5 knows no bfloat16
        array = array.view(tf.bfloat16.as_numpy_dtype).astype(np.float32)
    order = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim)
    return array if order is None else np.ascontiguousarray(array.transpose(order))


def _saved(path: Path) -> tuple[Any, Any]:
    """A SavedModel, whose operations are checked before it is loaded, and what it can be called by.

    The second lives no longer than the first.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel()
    proto.ParseFromString((path / "saved_model.pb").read_bytes())
    for graph in (each.graph_def for each in proto.meta_graphs):
        nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
        for node in nodes:
            if node.op.startswith("FusedBatchNorm"):
                _refuse("BatchNormalization", path)
            if node.op not in _operations:
                raise NinError(
                    f"{path}: of another network: it has {printable(node.op)}, which the chapter's "
                    "network does not have, and is not run"
                )
    loaded = tf.saved_model.load(str(path))
    signatures = loaded.signatures
    if not len(signatures):
        raise NinError(f"{path}: has no signature to call; save it with model.export('nin')")
    return loaded, signatures.get("serving_default") or next(iter(signatures.values()))


def _saved_content(path: Path) -> Content:
    """What a SavedModel holds: the convolutions of its graph, in order."""
    from tensorflow.python.framework import convert_to_constants

    _loaded, called = _saved(path)
    frozen = convert_to_constants.convert_variables_to_constants_v2(called)
    graph = frozen.graph.as_graph_def()
    nodes = {node.name: node for node in graph.node}

    def constant(name: str) -> np.ndarray | None:
        node = nodes[name.partition(":")[0]]
        while node.op in ("Identity", "Reshape", "Squeeze", "Cast", "ExpandDims"):
            node = nodes[node.input[0].partition(":")[0]]
        return tf.make_ndarray(node.attr["value"].tensor) if node.op == "Const" else None

    tensors: dict[str, np.ndarray] = {}
    for i, node in enumerate(n for n in graph.node if n.op in _products):
        kernel = constant(node.input[1])
        if kernel is None:
            raise NinError(f"{path}: of another network: it computes weights from the images")
        tensors[f"{i}.weight"] = _to_canonical(kernel)
        outputs = {node.name}
        for other in graph.node:
            if outputs.isdisjoint(other.input):
                continue
            # of a layer that is fully connected per pixel, or a bias added channels first
            if other.op in ("Reshape", "Transpose"):
                outputs.add(other.name)
            elif other.op in ("BiasAdd", "Add", "AddV2"):
                for bias in map(constant, other.input):  # on either side
                    if bias is not None:
                        tensors[f"{i}.bias"] = _to_canonical(bias).reshape(-1)
    (image,) = called.structured_input_signature[1].values()
    if image.shape.rank != 4 or image.dtype not in (tf.float32, tf.float64):
        raise NinError(f"{path}: of another network: it takes {image.shape} of {image.dtype.name}")
    batch, height, width, channels = image.shape.as_list()
    convolutions = [node.attr for node in graph.node if node.op == "Conv2D"]
    reason = ""
    if any(each["T"].type in _half for each in convolutions):
        reason = "computes in half precision, too coarse to check"
    if any(each["data_format"].s == b"NCHW" for each in convolutions):
        reason = _channels_first
    if reason:
        note = f"{path}: {reason}; only its weights were read"
        return Content({"": tensors}, True, {}, notes=(note,))
    return Content({"": tensors}, True, {}, (batch, channels, height, width))
