"""Weights leave for what each ecosystem loads on its own, and come back."""

import dataclasses
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import reference
from commands import assert_one_clear_line, run, run_here

from common.backends import parts, registry
from common.conversion import convert, onnx_format
from common.data.fashion_mnist import CLASS_NAMES
from common.data.interpolation import resize_matrix
from common.errors import NinError
from common.model import load_model, save_model
from common.prediction import classifier

FORMATS = {"torch": "torch", "tf": "keras", "mxnet": "mxnet"}
TARGETS = {"torch": "nin.pt", "keras": "nin.keras", "mxnet": "nin.params", "onnx": "nin.onnx"}
FILES = {"mxnet": {"nin.params", "nin-symbol.json"}}
SIZE = 67
# Of the largest logit: float32 against float64, sums of up to 6400 products
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def model():
    return reference.model(resize=SIZE, class_names=CLASS_NAMES, training={"seed": 3})


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_model(path, model)
    return path


def names_in(directory):
    return {path.name for path in directory.iterdir()}


def assert_same_weights(found, expected):
    assert list(found.weights) == list(expected.weights)
    for name, array in expected.weights.items():
        np.testing.assert_array_equal(found.weights[name], array, err_msg=name)


# ------------------------------------------------------------- without a framework


BAD_INPUT = {
    "unknown format": ("{weights} out.h5 --to h5", "--to h5: unknown; choose one of torch, keras"),
    "unknown origin": ("{weights} o.safetensors --from h5", "--from h5: unknown; choose one of"),
    "unknown name": ("{weights} nin.h5", "nin.h5: its name must end with one of .pt, .pth, .keras"),
    "name of another kind": ("{weights} nin.h5 --to keras", "its name must end with .keras"),
    "no place": ("{weights} a/nin.pt", "a/nin.pt: not a file in an existing directory"),
    "nothing to export": ("nowhere nin.pt", "nowhere: no such file"),
    "nothing to take": ("nowhere o.safetensors --from torch", "nowhere: no such file"),
    "another origin": (
        "{weights} nin.pt --from torch",
        "model.safetensors: a safetensors file, not a PyTorch state dict; leave out --from",
    ),
    "size that is known": (
        "{weights} nin.pt --resize 224",
        "--resize 224: {weights} says that it was trained on 67; leave it out",
    ),
    "another backend": ("{weights} nin.pt --backend tf", "torch is checked with torch"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_to_convert_gets_one_clear_line(weights, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    done = run_here("convert.py", *arguments.format(weights=weights).split())
    assert_one_clear_line(done, words.format(weights=weights))
    assert names_in(tmp_path) == set()


@pytest.mark.parametrize("others", [(), ("book-0010.params",), ("book-0010.params", "book.params")])
def test_layers_that_were_not_named_are_not_overwritten(weights, tmp_path, monkeypatch, others):
    monkeypatch.chdir(tmp_path)
    names = {"book-symbol.json", *others}
    for name in names:
        (tmp_path / name).write_text("mine")
    done = run_here("convert.py", weights, "book.params")
    assert_one_clear_line(done, "book-symbol.json: exists, and book.params would overwrite it")
    assert names_in(tmp_path) == names
    assert {(tmp_path / name).read_text() for name in names} == {"mine"}


def test_without_onnx_one_clear_line_says_how_to_install_it(weights, tmp_path, hide):
    done = run("convert.py", weights, tmp_path / "nin.onnx", "--to", "onnx", env=hide("onnx"))
    assert_one_clear_line(done, 'onnx is not installed; install it with: pip install -e ".[onnx]"')


@pytest.fixture
def hide(tmp_path_factory):
    """An environment in which a package cannot be imported."""

    def hide(package):
        directory = tmp_path_factory.mktemp("hide")
        (directory / f"{package}.py").write_text(f"raise ImportError('no {package}')\n")
        path = os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")])
        return {**os.environ, "PYTHONPATH": path}

    return hide


# ------------------------------------------------------------- each backend's own format


@pytest.fixture(scope="module")
def name(backend_name):
    return FORMATS[backend_name]


@pytest.fixture(scope="module")
def converted(backend, name, weights, tmp_path_factory):
    """The command's run, and the file that it made."""
    path = tmp_path_factory.mktemp("exported") / TARGETS[name]
    done = run_here("convert.py", weights, path)
    assert done.returncode == 0, done.stderr
    return done, path


@pytest.fixture(scope="module")
def exported(converted):
    return converted[1]


@pytest.mark.shared
def test_convert_says_what_it_wrote_and_how_well_it_agrees(converted, name):
    done, path = converted
    assert done.stderr == ""
    *paths, verdict = done.stdout.splitlines()
    expected = FILES.get(name, {TARGETS[name]})
    assert set(paths) == {str(path.parent / file) for file in expected}
    assert names_in(path.parent) == expected
    assert verdict.startswith(
        f"{path} verified on {convert.IMAGES} images of 67x67 and 128x128: the logits differ from "
    )


@pytest.mark.long
@pytest.mark.shared
def test_an_onnx_file_may_be_checked_by_another_framework_than_the_source_is_of(
    converted, name, backend_name, tmp_path
):
    other = next(each for each in registry.BACKENDS if each != backend_name)
    if name == "onnx" or importlib.util.find_spec(registry.BACKENDS[other][1]) is None:
        pytest.skip("of a framework's file, with two frameworks")
    done = run("convert.py", converted[1], tmp_path / "nin.onnx", "--backend", other)
    assert done.returncode == 0, done.stderr
    assert f"the logits differ from {other}'s by at most" in done.stdout


def test_what_a_file_computes_by_itself_is_what_plain_numpy_does(exported, model, sample, backend):
    images = sample.test_images[:3]
    matrix = resize_matrix(28, SIZE)
    pixels = (matrix @ (images / 255) @ matrix.T)[:, None].astype(np.float32)
    expected = reference.logits(model, images)
    run = onnx_format.run if exported.suffix == ".onnx" else parts.exporter(backend).run_native
    found = run(exported, pixels)[0].reshape(expected.shape)
    assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("missing", [True, False])
@pytest.mark.shared
def test_a_missing_relu_that_no_image_shows_is_noted(backend_name, model, tmp_path, missing):
    # a last ReLU that lets everything through, as training may leave it
    bias = model.weights["block4.conv3.bias"]
    weights = {**model.weights, "block4.conv3.bias": bias + 100 * np.abs(bias).max()}
    path = tmp_path / "nin.onnx"
    onnx_format.save(dataclasses.replace(model, weights=weights), path)
    if missing:
        onnx = pytest.importorskip("onnx")
        proto = onnx.load(path)
        relu = next(each for each in proto.graph.node if each.name == "block4.conv3")
        relu.op_type = "Identity"
        onnx.save(proto, path)
    notes = convert.read(path, backend=backend_name, beside=backend_name).notes
    assert len([note for note in notes if "a ReLU may be missing" in note]) == missing


# What a user of the framework writes who has never heard of this project.
LOADERS = {
    "torch": """\
import torch
from torch import nn

def nin_block(in_channels, out_channels, kernel_size, strides, padding):
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, strides, padding),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, kernel_size=1), nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, kernel_size=1), nn.ReLU())

net = nn.Sequential(
    nin_block(1, 96, kernel_size=11, strides=4, padding=0),
    nn.MaxPool2d(3, stride=2),
    nin_block(96, 256, kernel_size=5, strides=1, padding=2),
    nn.MaxPool2d(3, stride=2),
    nin_block(256, 384, kernel_size=3, strides=1, padding=1),
    nn.MaxPool2d(3, stride=2),
    nn.Dropout(0.5),
    nin_block(384, 10, kernel_size=3, strides=1, padding=1),
    nn.AdaptiveAvgPool2d((1, 1)),
    nn.Flatten())
net.load_state_dict(torch.load("nin.pt", weights_only=True))
net.eval()
logits = net(torch.from_numpy(pixels)).detach().numpy()
""",
    "tf": """\
import keras
net = keras.models.load_model("nin.keras")
logits = net.predict(pixels.transpose(0, 2, 3, 1), verbose=0)
""",
    "mxnet": """\
np.bool = np.bool_
from mxnet import gluon, np as mnp, npx
npx.set_np()
net = gluon.SymbolBlock.imports("nin-symbol.json", ["data"], "nin.params")
logits = net(mnp.array(pixels)).asnumpy()
""",
}


def test_the_framework_alone_loads_the_file_and_computes_what_numpy_does(
    backend_name, exported, model, sample, tmp_path
):
    images = sample.test_images[:8]
    matrix = resize_matrix(28, SIZE)
    pixels = (matrix @ (images / 255) @ matrix.T)[:, None].astype(np.float32)
    np.save(tmp_path / "pixels.npy", pixels)
    script = (
        f"import sys\nimport numpy as np\npixels = np.load({str(tmp_path / 'pixels.npy')!r})\n"
        f"{LOADERS[backend_name]}"
        f"np.save({str(tmp_path / 'logits.npy')!r}, logits)\n"
        "assert not {'common', 'nin_torch', 'nin_tf', 'nin_mxnet'} & sys.modules.keys()\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=exported.parent, env=environment,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = reference.logits(model, images)
    atol = TOLERANCE * np.abs(expected).max()
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, rtol=0, atol=atol)


def test_mxnet_loads_an_epoch_as_a_checkpoint(backend, backend_name, model, sample, tmp_path):
    if backend_name != "mxnet":
        pytest.skip("MXNet numbers its files")
    import mxnet as mx

    for _ in range(2):  # written again, its layers are its own
        paths, _ = convert.write(model, tmp_path / "nin-0010.params", "mxnet")
    assert [path.name for path in paths] == ["nin-symbol.json", "nin-0010.params"]
    assert names_in(tmp_path) == {path.name for path in paths}
    module = mx.mod.Module.load(str(tmp_path / "nin"), 10, label_names=None)
    images = sample.test_images[:8]
    matrix = resize_matrix(28, SIZE)
    pixels = (matrix @ (images / 255) @ matrix.T)[:, None].astype(np.float32)
    module.bind([("data", pixels.shape)], for_training=False)
    module.forward(mx.io.DataBatch([mx.nd.array(pixels)]))
    expected = reference.logits(model, images)
    atol = TOLERANCE * np.abs(expected).max()
    outputs = module.get_outputs()[0].asnumpy()
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=atol)


def test_weights_and_what_is_known_of_them_come_back(exported, model, tmp_path):
    target = tmp_path / "model.safetensors"
    done = convert.convert(str(exported), str(target))
    assert done.paths == [target]
    found = load_model(target)
    assert_same_weights(found, model)
    assert dataclasses.replace(found, weights={}) == dataclasses.replace(model, weights={})


@pytest.mark.shared
def test_the_class_count_travels(backend, name, tmp_path):
    three = reference.model(seed=5, num_classes=3)
    convert.write(three, tmp_path / TARGETS[name], name)
    assert_same_weights(convert.read(tmp_path / TARGETS[name]).model, three)


@pytest.mark.shared
def test_a_network_of_colour_images_is_checked_with_colours(backend, name, model, tmp_path):
    first = np.repeat(model.weights["block1.conv1.weight"], 3, 1) / 2
    weights = {**model.weights, "block1.conv1.weight": first}
    colour = dataclasses.replace(model, weights=weights, in_channels=3)
    _, check = convert.write(colour, tmp_path / TARGETS[name], name)
    assert check.difference < convert.TOLERANCE
    assert_same_weights(convert.read(tmp_path / TARGETS[name]).model, colour)


def test_predict_takes_the_file_itself(exported, backend_name, model, sample, tmp_path):
    images = sample.test_images[:4]
    found = classifier.load(exported, backend_name, device="cpu").predict(images)
    expected = reference.logits(model, images)
    atol = TOLERANCE * np.abs(expected).max()
    np.testing.assert_allclose(found.logits, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("factor", [1.001, np.nan])
@pytest.mark.shared
def test_a_file_that_gives_other_logits_is_not_written(
    backend, name, weights, tmp_path, monkeypatch, factor
):
    native = parts.exporter(backend)
    right = native.run_native
    monkeypatch.setattr(
        native, "run_native", lambda path, pixels: [factor * each for each in right(path, pixels)]
    )
    with pytest.raises(NinError, match=r"of another network .* its logits differ"):
        convert.convert(weights, tmp_path / TARGETS[name])
    assert names_in(tmp_path) == set()


def test_a_dead_network_is_not_called_verified(backend, name, model, tmp_path):
    dead = {**model.weights, "block4.conv3.bias": np.full(10, -100, np.float32)}
    save_model(tmp_path / "dead.safetensors", dataclasses.replace(model, weights=dead))
    with pytest.raises(
        NinError, match=r"dead\.safetensors: cannot be verified: the network's logits are all 0"
    ):
        convert.convert(tmp_path / "dead.safetensors", tmp_path / TARGETS[name])
    assert names_in(tmp_path) == {"dead.safetensors"}


@pytest.mark.parametrize("content", [b"", b"no such thing", "truncated"])
def test_a_damaged_file_is_refused(backend, name, exported, tmp_path, content):
    path = tmp_path / exported.name
    path.write_bytes(exported.read_bytes()[:100_000] if content == "truncated" else content)
    with pytest.raises(NinError, match=f"{path}: (damaged|an empty file)") as caught:
        convert.convert(path, tmp_path / "model.safetensors")
    assert "\n" not in str(caught.value)
    assert names_in(tmp_path) == {exported.name}


# ------------------------------------------------------------- ONNX, with each backend


@pytest.fixture(scope="module")
def onnx_file(backend, backend_name, weights, tmp_path_factory):
    for package in ("onnx", "onnxruntime"):
        if not os.environ.get("CI"):
            pytest.importorskip(package)
    path = tmp_path_factory.mktemp("onnx") / "nin.onnx"
    done = convert.convert(weights, path, backend=backend_name)
    assert done.written.backend == backend_name
    return path


def test_onnx_comes_back_with_the_weights_and_what_is_known_of_them(
    onnx_file, backend_name, model, tmp_path
):
    target = tmp_path / "model.safetensors"
    done = convert.convert(onnx_file, target, backend=backend_name)
    assert done.read.check.backend == backend_name
    found = load_model(target)
    assert_same_weights(found, model)
    assert dataclasses.replace(found, weights={}) == dataclasses.replace(model, weights={})


def test_an_onnx_file_is_checked_by_the_framework_that_writes_the_other(
    onnx_file, backend_name, name, tmp_path
):
    there = convert.convert(onnx_file, tmp_path / TARGETS[name])
    assert there.read.check.backend == there.written.backend == backend_name
    assert classifier.load(onnx_file, backend_name, device="cpu").model.resize == SIZE


@pytest.mark.parametrize("change", ["weights", "metadata"])
def test_a_changed_onnx_file_of_ours_is_noticed(onnx_file, backend_name, tmp_path, change):
    content = bytearray(onnx_file.read_bytes())
    if change == "weights":
        content[4_000_000] ^= 1
    else:
        content = content.replace(b"t-shirt", b"t-short")
    (tmp_path / "nin.onnx").write_bytes(content)
    with pytest.raises(NinError, match="damaged, or changed by other software"):
        convert.read(tmp_path / "nin.onnx", backend=backend_name)


def test_onnx_takes_batches_and_images_of_any_size(onnx_file, model):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(onnx_file), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 1, "height", "width"]
    assert session.get_outputs()[0].shape == ["batch", 10]
    for shape in ((1, 1, 67, 67), (3, 1, 80, 100)):
        (logits,) = session.run(["logits"], {"pixels": np.zeros(shape, np.float32)})
        assert logits.shape == (shape[0], 10)


def of_biases(path, onnx):
    """The network with logits that are nearly all bias, as those of PyTorch's before training."""
    proto = onnx.load(str(path))
    onnx.helper.set_model_props(proto, {})
    names = {each.input[1]: each.input[2] for each in proto.graph.node if each.op_type == "Conv"}
    weight = next(t for t in proto.graph.initializer if t.name == list(names)[-1])
    bias = next(t for t in proto.graph.initializer if t.name == names[weight.name])
    for tensor, change in ((weight, lambda a: a * 1e-5), (bias, lambda a: a * 0 + 1)):
        array = change(onnx.numpy_helper.to_array(tensor)).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return proto


@pytest.mark.shared
def test_where_images_change_the_logits_little_a_little_is_a_mistake(
    onnx_file, backend_name, tmp_path
):
    import onnx

    proto, path = of_biases(onnx_file, onnx), tmp_path / "nin.onnx"
    onnx.save(proto, str(path))
    found = convert.read(path, backend=backend_name, resize=SIZE)
    assert found.check.difference < 1e-6
    assert "of the logits, as before training" in " ".join(found.notes)
    second = [each for each in proto.graph.node if each.op_type == "Conv"][3]
    (pads,) = (each for each in second.attribute if each.name == "pads")
    pads.ints[:] = [1, 1, 1, 1]  # for 2
    onnx.save(proto, str(path))
    with pytest.raises(NinError, match=r"of another network .* its logits differ") as caught:
        convert.read(path, backend=backend_name, resize=SIZE)
    assert "first step" not in str(caught.value)


@pytest.mark.shared
def test_an_onnx_file_of_another_network_is_refused(onnx_file, backend_name, tmp_path):
    import onnx

    proto = onnx.load(str(onnx_file))
    for node in proto.graph.node:  # a classic: the average for the maximum
        if node.op_type == "MaxPool":
            node.op_type = "AveragePool"
    onnx.helper.set_model_props(proto, {})
    onnx.save(proto, str(tmp_path / "nin.onnx"))
    with pytest.raises(NinError, match=r"of another network .* its logits differ"):
        convert.convert(
            tmp_path / "nin.onnx", tmp_path / "m.safetensors", backend=backend_name, resize=SIZE
        )
    assert names_in(tmp_path) == {"nin.onnx"}
