"""A weights file is a side of the comparison, and is caught where it is not the network."""

import itertools
import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import numpy_nin
import pytest
import reference
from commands import ROOT, assert_one_clear_line, run_here

import common
from common.backends import parts, registry
from common.comparison import files, levels, worker
from common.comparison.job import Job, below
from common.comparison.layer import look
from common.comparison.material import make_material
from common.conversion import onnx_format
from common.conversion.kinds import FORMATS
from common.errors import NinError
from common.files.arrays import save_arrays
from common.model import Model, save_model
from common.network import architecture, description
from common.settings import Settings

NUMPY = str(ROOT / "tests" / "numpy_nin.py")
LEVELS = ["shapes", "parameters", "activations", "dropout"]
CHANGED = "block2.conv1.weight"


def changed_weights():
    """Those of the reference but for one number, which moves by 1e-6 of itself or so."""
    model = reference.model()
    weight = model.weights[CHANGED]
    weight[3, 5, 2, 2] = np.nextafter(weight[3, 5, 2, 2], np.float32(9))
    return model


def where(report, name):
    """Level and row in which a side first deviates, by itself or beside the first side."""
    for level in report.levels:
        for table in level.tables:
            for row in table.rows:
                if any(set(column.split(" - ")) <= {name, "numpy_nin"} and name in column
                       for column in row.deviating):  # fmt: skip
                    return level.name, row.name
    return None


# ------------------------------------------------------------------ ONNX needs no framework

onnx = pytest.importorskip("onnx")


def node(graph, name):
    return next(each for each in graph.node if each.name == name)


def set_attribute(graph, layer, **attributes):
    for name, value in attributes.items():
        old = [each for each in node(graph, layer).attribute if each.name == name]
        for each in old:
            node(graph, layer).attribute.remove(each)
        node(graph, layer).attribute.append(onnx.helper.make_attribute(name, value))


def without_relu(name, graph):
    gone = node(graph, name)
    for each in graph.node:
        each.input[:] = [gone.input[0] if i == gone.output[0] else i for i in each.input]
    graph.node.remove(gone)


def softmax(graph):
    graph.node.append(onnx.helper.make_node("Softmax", ["logits"], ["shares"], axis=1))
    graph.output[0].name = "shares"


def average_pool(graph):
    node(graph, "pool1").op_type = "AveragePool"


def fixed_batch(graph):
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    graph.output[0].type.tensor_type.shape.dim[0].dim_value = 3


def flat_mean(graph):
    """The end of a port that writes ``x.mean(dim=(2, 3))``, and no flattening."""
    pooling, flatten = node(graph, "global_pool"), node(graph, "logits")
    mean = onnx.helper.make_node(
        "ReduceMean", pooling.input[:1], flatten.output[:1], axes=[2, 3], keepdims=0
    )
    for each in (pooling, flatten):
        graph.node.remove(each)
    graph.node.append(mean)


def passed_on(graph):
    """As exporters write tensors that are equal: one is stored, and passed on to the others."""
    tensor = next(each for each in graph.initializer if each.name == "block2.conv1.bias")
    tensor.name = "stored"
    graph.node.insert(0, onnx.helper.make_node("Identity", ["stored"], ["block2.conv1.bias"]))


def transposed(graph):
    """As exporters of Keras's networks begin, which say nothing of the images' size."""
    first = node(graph, "block1.conv1.sum")
    graph.node.insert(0, onnx.helper.make_node(
        "Transpose", [graph.input[0].name], ["first"], perm=[0, 3, 1, 2]
    ))  # fmt: skip
    first.input[0] = "first"
    for dim in graph.input[0].type.tensor_type.shape.dim:
        dim.ClearField("dim_value")
        dim.dim_param = "any"


def biases_apart(graph):
    """Each bias in an operation of its own."""
    for each in [each for each in graph.node if each.op_type == "Conv"]:
        bias, output = each.input.pop(), each.output[0]
        tensor = next(t for t in graph.initializer if t.name == bias)
        tensor.dims[:] = [1, *tensor.dims, 1, 1]
        each.output[0] = f"{output}.product"
        add = onnx.helper.make_node("Add", [each.output[0], bias], [output], f"{output}.add")
        graph.node.insert([*graph.node].index(each) + 1, add)


def normalized(graph):
    """A first step that a file for raw pixels may have."""
    for name, value in (("mean", 0.286), ("deviation", 0.353)):
        graph.initializer.append(onnx.numpy_helper.from_array(np.float32(value), name))
    first = node(graph, "block1.conv1.sum")
    made = onnx.helper.make_node
    graph.node.insert(0, made("Div", ["less", "deviation"], ["prepared"]))
    graph.node.insert(0, made("Sub", [first.input[0], "mean"], ["less"]))
    first.input[0] = "prepared"


def fixed_size(size, graph):
    for dim in graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = size


def first_output(name, sizes, operator, source, graph):
    """Another output, of these sizes, before the logits: what an operator makes of a layer."""
    logits = graph.output.pop()
    graph.node.append(onnx.helper.make_node(operator, [source], [name]))
    kind = onnx.TensorProto.FLOAT
    graph.output.append(onnx.helper.make_tensor_value_info(name, kind, ["batch", *sizes]))
    graph.output.append(logits)


def other_relus(graph):
    """ReLUs as other programs write them, and one behind the pooling instead of before."""
    zero = onnx.numpy_helper.from_array(np.zeros((), np.float32), "zero")
    graph.initializer.append(zero)
    relus = [each for each in graph.node if each.op_type == "Relu"]
    for each, (operator, inputs) in zip(relus, itertools.cycle(
        [("Clip", ["zero"]), ("Max", ["zero"]), ("PRelu", ["zero"]), ("LeakyRelu", [])]
    )):  # fmt: skip
        each.op_type = operator
        each.input.extend(inputs)
        if operator == "LeakyRelu":
            each.attribute.append(onnx.helper.make_attribute("alpha", 0.0))
    relu, pool = node(graph, "block3.conv3"), node(graph, "pool3")
    relu.input[0], pool.input[0] = "pooled", relu.input[0]
    relu.output[0], pool.output[0] = "pool3", "pooled"
    graph.node.remove(pool)
    graph.node.insert([*graph.node].index(relu), pool)


def connected_per_pixel(graph):
    """1x1 convolutions as fully connected layers, for which the channels are the last axis."""
    for each in [each for each in graph.node if each.op_type == "Conv"]:
        tensor = next(t for t in graph.initializer if t.name == each.input[1])
        weight = onnx.numpy_helper.to_array(tensor)
        if weight.shape[2:] != (1, 1):
            continue
        tensor.CopyFrom(onnx.numpy_helper.from_array(weight[:, :, 0, 0].T.copy(), tensor.name))
        name, made = each.output[0], onnx.helper.make_node
        steps = [
            made("Transpose", [each.input[0]], [f"{name}.last"], f"{name}.last", perm=[0, 2, 3, 1]),
            made("MatMul", [f"{name}.last", tensor.name], [f"{name}.product"], f"{name}.product"),
            made("Add", [f"{name}.product", each.input[2]], [f"{name}.added"], f"{name}.added"),
            made("Transpose", [f"{name}.added"], [name], f"{name}.first", perm=[0, 3, 1, 2]),
        ]
        at = [*graph.node].index(each)
        graph.node.remove(each)
        for step in reversed(steps):
            graph.node.insert(at, step)


def insert(graph, operator, source, output, before, *more, **attributes):
    """An operation before another."""
    made = onnx.helper.make_node(operator, [source, *more], [output], output, **attributes)
    graph.node.insert([*graph.node].index(before), made)


def masked(graph):
    """ReLUs as products of a number and whether it is positive."""
    graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((), np.float32), "zero"))
    for each in [each for each in graph.node if each.op_type == "Relu"]:
        source = each.input[0]
        insert(graph, "Greater", source, f"{each.name}.mask", each, "zero")
        insert(graph, "Cast", f"{each.name}.mask", f"{each.name}.number", each, to=1)
        each.op_type = "Mul"
        each.input.append(f"{each.name}.number")


def padded_apart(graph):
    """A padding of its own before a convolution, as wide as another operation computes."""
    first = node(graph, "block3.conv1.sum")
    for name, value in (("sides", [0, 0, 1, 1, 0, 0, 1, 1]), ("rank", [8])):
        array = np.array(value, np.int64)
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    insert(graph, "Reshape", "sides", "widths", first, "rank")
    insert(graph, "Pad", first.input[0], "padded", first, "widths")
    first.input[0] = "padded"
    set_attribute(graph, first.name, pads=[0] * 4)


def sum_over_count(graph):
    """The mean as a sum, divided by a number that is computed from the size of the maps."""
    pooling = node(graph, "global_pool")
    source = pooling.input[0]
    for name, value in (("ends", [2, 3]), ("start", [2])):
        array = np.array(value, np.int64)
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    insert(graph, "Shape", source, "sizes", pooling)
    insert(graph, "Gather", "sizes", "sides", pooling, "ends")
    insert(graph, "ReduceProd", "sides", "count", pooling, keepdims=0)
    insert(graph, "Cast", "count", "divisor", pooling, to=1)
    insert(graph, "ReduceSum", source, "total", pooling, "ends", keepdims=1)
    pooling.op_type = "Div"
    pooling.input[:] = ["total", "divisor"]


def pixels_in_a_row(graph):
    """The mean over the pixels in a row, which are no flattening at the end."""
    array = np.array([0, 10, -1], np.int64)
    graph.initializer.append(onnx.numpy_helper.from_array(array, "rows"))
    pooling = node(graph, "global_pool")
    insert(graph, "Reshape", pooling.input[0], "row", pooling, "rows")
    mean = onnx.helper.make_node("ReduceMean", ["row"], ["logits"], axes=[2], keepdims=0)
    for name in ("global_pool", "logits"):
        graph.node.remove(node(graph, name))
    graph.node.append(mean)


def without_flattening(graph):
    graph.node.remove(node(graph, "logits"))
    node(graph, "global_pool").output[0] = "logits"
    sizes = graph.output[0].type.tensor_type.shape.dim
    for _ in range(2):
        sizes.add().dim_value = 1


def pool_in_two_steps(graph):
    """The maximum of each column, then of each row of those."""
    pool = node(graph, "pool1")
    window = {"kernel_shape": [3, 1], "strides": [2, 1]}
    insert(graph, "MaxPool", pool.input[0], "columns", pool, **window)
    pool.input[0] = "columns"
    set_attribute(graph, "pool1", kernel_shape=[1, 3], strides=[1, 2])


def without_pool2(graph):
    pool = node(graph, "pool2")
    node(graph, "block3.conv1.sum").input[0] = pool.input[0]
    graph.node.remove(pool)


# name of the file -> what is done to the graph, and where that must show
MISTAKES = {
    "right": (lambda graph: None, None),
    "three-at-a-time": (fixed_batch, None),
    "flat-mean": (flat_mean, None),
    "passed-on": (passed_on, None),
    "transposed": (transposed, None),
    "biases-apart": (biases_apart, None),
    "right-size": (partial(fixed_size, 67), None),
    "other-relus": (other_relus, None),
    "features-first": (partial(first_output, "a", [384, 1, 1], "Relu", "pool3"), None),
    "means-first": (partial(first_output, "a", [384, 1, 1], "GlobalAveragePool", "pool3"), None),
    "map-first": (partial(first_output, "a", [10, 1, 1], "Relu", "block4.conv3"), None),
    "probabilities-first": (partial(first_output, "a", [10], "Softmax", "logits"), None),
    "negative-first": (partial(first_output, "a", [10], "Neg", "logits"), None),
    "connected-per-pixel": (connected_per_pixel, None),
    "masked": (masked, None),
    "padded-apart": (padded_apart, None),
    "sum-over-count": (sum_over_count, None),
    "pixels-in-a-row": (pixels_in_a_row, None),
    "without-flattening": (without_flattening, None),
    "pool-in-two-steps": (pool_in_two_steps, None),
    "without-pool2": (without_pool2, ("shapes", "pool2")),
    "padding": (
        lambda graph: set_attribute(graph, "block2.conv1.sum", pads=[1, 1, 3, 3]),
        ("activations", "block2.conv1"),
    ),
    "stride": (
        lambda graph: set_attribute(graph, "pool2", strides=[1, 1]),
        ("shapes", "pool2"),
    ),
    "rounds-up": (lambda graph: set_attribute(graph, "pool3", ceil_mode=1), ("shapes", "pool3")),
    "no-relu": (partial(without_relu, "block3.conv2"), ("activations", "block3.conv2")),
    "no-relu-before-pool": (partial(without_relu, "block3.conv3"), ("activations", "block3.conv3")),
    "average-pool": (average_pool, ("activations", "pool1")),
    "softmax": (softmax, ("activations", "logits")),
    "normalized": (normalized, ("activations", "block1.conv1")),
}


@pytest.fixture(scope="module")
def beside_numpy(tmp_path_factory, sample):
    """One comparison of the NumPy network with the right file and all wrong ones, in here."""
    folder = tmp_path_factory.mktemp("onnx")
    right = folder / "right.onnx"
    onnx_format.save(reference.model(), right)
    for name, (change, _) in MISTAKES.items():
        model = onnx.load(right)
        change(model.graph)
        onnx.save(model, folder / f"{name}.onnx")
    onnx_format.save(changed_weights(), folder / "weight.onnx")
    (folder / "right.onnx").rename(folder / "right.ONNX")  # as some systems write it
    return compare_here(sample, folder.iterdir(), reference.model(), LEVELS)


def compare_here(sample, paths, model, names):
    """The NumPy network with a model's weights beside files, in this process."""
    job = Job(resize=67, batch_size=4, levels=tuple(names))
    material = make_material(job, sample)
    material.update({f"weights/{name}": array for name, array in model.weights.items()})
    sides = {path.name: files.start(str(path), Settings()).backend for path in paths}
    recordings = [
        recording
        for name, backend in {"numpy_nin": numpy_nin, **sides}.items()
        for recording in worker.record(name, backend, job, material)
    ]
    found = levels.compare(recordings, job, below("weights", material))
    found.layer = look(found, recordings, job, material)
    return found


@pytest.mark.parametrize("name", MISTAKES)
def test_a_wrong_file_is_caught_at_its_layer_and_a_right_one_agrees(beside_numpy, name):
    suffix = "ONNX" if name == "right" else "onnx"
    assert where(beside_numpy, f"{name}.{suffix}") == MISTAKES[name][1]
    assert not beside_numpy.lost


def test_one_changed_weight_is_caught_beside_the_file_that_has_the_right_one(beside_numpy):
    assert where(beside_numpy, "weight.onnx") == ("parameters", CHANGED)


def test_every_layer_of_a_file_is_compared(beside_numpy):
    rows = {row.name for level in beside_numpy.levels for t in level.tables for row in t.rows}
    assert {layer.name for layer in architecture.layers()} | {"flatten", "dropout"} <= rows


def test_what_a_file_does_to_its_images_first_is_named(sample, tmp_path):
    path, model = tmp_path / "nin.onnx", reference.model()
    onnx_format.save(model, path)
    proto = onnx.load(path)
    normalized(proto.graph)
    onnx.save(proto, path)
    report = compare_here(sample, [path], model, ["activations"])
    words = "as if 0.286 were subtracted and the rest divided by 0.353"
    assert report.layer.mistakes["nin.onnx"].startswith("in its input: every value is 2.833 times")
    assert words in report.layer.mistakes["nin.onnx"]


def test_a_file_of_images_of_another_size_agrees_in_nothing_and_says_which(sample, tmp_path):
    path, model = tmp_path / "nin.onnx", reference.model()
    onnx_format.save(model, path)
    proto = onnx.load(path)
    fixed_size(80, proto.graph)
    onnx.save(proto, path)
    report = compare_here(sample, [path], model, LEVELS)
    assert report.exit_status == 2
    failed = {level.name: level for level in report.levels if level.status == "failed"}
    assert [*failed] == ["shapes", "activations"]
    assert "takes images of 80x80 only; compare at that size" in failed["activations"].notes[-1]


def test_a_file_that_cannot_be_read_leaves_reports_that_say_so(tmp_path):
    (tmp_path / "nin.onnx").write_bytes(b"nonsense")
    reports = ("--json", tmp_path / "r.json", "--junit", tmp_path / "r.xml")
    backends = ("--resize", 67, "--backends", f"{NUMPY},{tmp_path / 'nin.onnx'}")
    done = run_here("compare.py", *backends, *reports)
    assert_one_clear_line(done, f"error: {tmp_path / 'nin.onnx'}: not a weights file")
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["exit_status"] == 2
    assert "not a weights file of a known kind" in report["lost"]["nin.onnx"]
    assert "nin.onnx" in (tmp_path / "r.xml").read_text()


@pytest.mark.parametrize(
    ("counts", "words"),
    [((5, 1), "of 5 classes and 1 channel;"), ((10, 3), "of 10 classes and 3 channels;")],
)  # fmt: skip
def test_a_file_of_other_images_or_classes_is_refused_by_name(tmp_path, counts, words):
    shapes = architecture.parameter_shapes(*counts)
    weights = {name: np.full(shape, 0.1, np.float32) for name, shape in shapes.items()}
    classes, channels = counts
    model = Model(weights, num_classes=classes, in_channels=channels)
    onnx_format.save(model, tmp_path / "nin.onnx")
    with pytest.raises(NinError, match=re.escape(words)):
        files.start(str(tmp_path / "nin.onnx"), Settings())


def test_relus_that_let_everything_through_are_said_to_hide_a_missing_one(sample, tmp_path):
    path, model = tmp_path / "nin.onnx", reference.model()
    model.weights["block4.conv3.bias"][:] = 1000
    onnx_format.save(model, path)
    report = compare_here(sample, [path], model, ["activations"])
    (activations,) = report.levels
    assert [note for note in activations.notes if "the ReLU of block4.conv3 lets every" in note]


BAD = {
    "not there": (None, "no such file"),
    "no graph": (b"\x08nonsense", "damaged, or not an ONNX model"),
    "no archive": (b"PK\x03\x04 nonsense", "a zip archive that does not open"),
    "empty": (b"", "an empty file"),
}


@pytest.mark.parametrize(("content", "words"), BAD.values(), ids=BAD.keys())
def test_a_file_that_cannot_be_read_is_refused_in_one_line(tmp_path, content, words):
    path = tmp_path / "nin.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NinError, match=words) as caught:
        files.start(str(path), Settings())
    assert "\n" not in str(caught.value)
    assert "nin.onnx" in str(caught.value)


# ------------------------------------------------------------------ each framework's own files


@pytest.mark.long
def test_a_frameworks_file_is_run_on_its_own_weights(backend, backend_name, tmp_path, monkeypatch):
    # the weights are read on one thread, as is the rest of that process
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    if backend_name not in registry.BACKENDS:
        pytest.skip("a backend from outside has no file of its own here")
    suffix = next(f.suffixes[0] for f in FORMATS.values() if f.backend == backend_name)
    exporter = parts.exporter(backend)
    for name, model in (("right", reference.model()), ("weight", changed_weights())):
        net = backend.nin()
        backend.set_weights(net, model.weights)
        if name == "weight" and backend_name == "tf":
            from keras import activations

            net.layers[4].layers[1].activation = activations.linear  # block3.conv2
        written = exporter.save_native(net, tmp_path / f"{name}{suffix}", {})
        if name == "weight" and backend_name == "mxnet":
            layer = '"name": "conv7_relu_fwd"'  # block3.conv2
            before, after = written[0].read_text().split(layer)
            written[0].write_text(before + layer + after.replace('"relu"', '"softrelu"', 1))
    sides = [str(tmp_path / f"{name}{suffix}") for name in ("right", "weight")]
    report = common.compare(NUMPY, *sides, levels=LEVELS, resize=67, batch_size=4)
    assert not report.lost
    assert where(report, f"right{suffix}") is None
    assert where(report, f"weight{suffix}") == ("parameters", CHANGED)
    if backend_name != "torch":  # the file has layers, of which one lacks its ReLU
        activations = next(level for level in report.levels if level.name == "activations")
        assert activations.first == "block3.conv2"
        rows = {row.name for table in activations.tables for row in table.rows}
        assert {*architecture.layer_names()} <= rows


def test_what_only_keras_training_needs_stops_no_comparison_of_a_file(
    backend, backend_name, tmp_path
):
    if backend_name != "tf":
        pytest.skip("Keras's own")
    import foreign_tf

    @foreign_tf.keras.saving.register_keras_serializable("elsewhere")
    class Start(foreign_tf.keras.initializers.HeNormal):
        pass

    weights = reference.model().weights
    net = foreign_tf.network(weights, foreign_tf.parts(kernel_initializer=Start()))
    path = foreign_tf.saved(net, tmp_path)
    foreign_tf.keras.saving.get_custom_objects().pop("elsewhere>Start")  # another process has none
    kept = files.KerasFile(path, backend, 1).weights
    np.testing.assert_array_equal(kept["block2.conv1.weight"], weights["block2.conv1.weight"])


def test_keras_layers_of_one_chain_are_all_compared_and_branching_ones_refused(
    backend, backend_name, tmp_path
):
    if backend_name != "tf":
        pytest.skip("Keras's own")
    import foreign_tf

    weights = reference.model().weights
    images = np.zeros((2, 28, 28), np.uint8)
    named = foreign_tf.functional(weights, end=foreign_tf.layers.Reshape((10,)))
    swapped = [foreign_tf.layers.Permute((2, 1, 3)), *foreign_tf.parts()]
    made = (foreign_tf.functional, foreign_tf.nested, foreign_tf.network, foreign_tf.dense)
    for net in (*(make(weights) for make in made), named, foreign_tf.network(weights, swapped)):
        path = foreign_tf.saved(net, tmp_path)
        file = files.KerasFile(path, backend, 1)
        found = file.Predictor(file.nin(), Settings(resize=67)).activations(images)
        assert {layer.name for layer in architecture.layers()} <= set(found)
        assert found["global_pool"].shape == (2, 10, 1, 1)
        assert found["flatten"].shape == (2, 10)
        assert "notes" not in vars(file)
    sized = foreign_tf.saved(foreign_tf.network(weights, shape=(None, 67, 67, 1)), tmp_path)
    (note,) = files.KerasFile(sized, backend, 1).notes
    assert "is for images of 67x67; its layers are run at any size" in note
    one = foreign_tf.functional(weights)
    aside = foreign_tf.layers.Flatten(name="aside")(one.layers[3].output)
    two = foreign_tf.keras.Model(one.input, [one.output, aside])
    with pytest.raises(NinError, match=r"n\.keras: its layers are no chain \(it branches at aside"):
        files.KerasFile(foreign_tf.saved(two, tmp_path), backend, 1)


def test_a_keras_file_whose_last_window_is_made_for_one_size_is_run_at_that_alone(
    backend, backend_name, tmp_path
):
    if backend_name != "tf":
        pytest.skip("Keras's own")
    import foreign_tf

    windows = foreign_tf.parts(last=lambda: foreign_tf.layers.AveragePooling2D(2))
    made = [*windows, foreign_tf.layers.Flatten()]
    net = foreign_tf.network(reference.model().weights, made, (None, 128, 128, 1))
    file = files.KerasFile(foreign_tf.saved(net, tmp_path), backend, 1)
    images = np.zeros((2, 28, 28), np.uint8)
    right, wrong = (file.Predictor(file.nin(), Settings(resize=size)) for size in (128, 96))
    assert right.activations(images)["flatten"].shape == (2, 10)
    right.gradients(images, np.zeros(2, np.int64))
    words = r"n\.keras takes images of 128x128 only; compare at that size"
    for ask in (wrong.activations, partial(wrong.gradients, labels=np.zeros(2, np.int64))):
        with pytest.raises(NinError, match=words):
            ask(images)


def test_a_pooling_behind_the_last_convolution_is_the_global_one():
    steps = [*[("Convolution", None)] * 12, ("Pooling", 1), ("relu", 2), ("Flatten", 3)]
    named = files.chapter_names(steps)
    assert (named["global_pool"], named["flatten"]) == ([1, 2], [3])
    assert "pool1" not in named


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.transpose(0, 2, 3, 1),
        lambda x: x.reshape(2, 96, -1),
        lambda x: x.reshape(2, 96, -1).transpose(0, 2, 1),
        lambda x: x.transpose(0, 2, 3, 1).reshape(-1, 96),
    ],
)
def test_what_ends_a_layer_is_its_output_however_the_next_one_takes_its_map(rng, write):
    before = rng.normal(size=(2, 96, 5, 6))
    after = np.maximum(before, 0)
    found = files.layer_outputs({"block1.conv1": [before, write(after)]}, 2)
    np.testing.assert_array_equal(found["block1.conv1"], after)


def test_a_relu_behind_the_pooling_of_a_keras_file_is_as_one_before_it(
    backend, backend_name, tmp_path
):
    if backend_name != "tf":
        pytest.skip("Keras's own")
    import foreign_tf

    made = []
    for layer in foreign_tf.parts(list):
        made.append(layer)
        if isinstance(layer, foreign_tf.layers.MaxPooling2D):
            made[-2].activation = foreign_tf.keras.activations.linear
            made.append(foreign_tf.layers.ReLU())
    weights = reference.model().weights
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 28), np.uint8)
    right, found = (
        (file := files.KerasFile(foreign_tf.saved(net, tmp_path), backend, 1))
        .Predictor(file.nin(), Settings(resize=67))
        .activations(images)
        for net in (foreign_tf.network(weights), foreign_tf.network(weights, made))
    )
    assert {*right} == {*found}
    for name, array in right.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("relu", ["relu", "sigmoid"])
def test_an_activation_and_a_mean_that_are_functions_are_layers_of_an_mxnet_file(
    backend, backend_name, tmp_path, relu
):
    if backend_name != "mxnet":
        pytest.skip("MXNet's own")
    import foreign_mxnet

    model = reference.model()
    path = foreign_mxnet.exported(foreign_mxnet.of_functions(model.weights, relu), tmp_path)
    pixels = np.random.default_rng(0).random((2, 1, 67, 67), np.float32)
    found = files.GluonFile(path, backend, 1).run(pixels)
    net = backend.nin()
    backend.set_weights(net, model.weights)
    outputs = {each.name: each.output for each in backend.shape_walk(net, pixels)}
    names = {"block1.conv3": "block1", "pool3": "pool3", "flatten": "flatten"}
    for name, ours in names.items():
        same = np.allclose(found[name], outputs[ours], rtol=1e-4, atol=1e-6)
        assert same == (relu == "relu"), name
    assert set(architecture.output_shapes(67)) <= {"input", *found}


def test_the_directory_of_a_run_stands_for_its_weights(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.safetensors").touch()
    given = ["torch", "./my.py", str(tmp_path / "package"), str(tmp_path / "run")]
    file = str(tmp_path / "run" / "model.safetensors")
    assert [files.in_run(spec) for spec in given] == [*given[:3], file]


def test_a_backends_name_is_the_backend_whatever_else_has_that_name_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, inside in (("torch", "model.safetensors"), ("tf", "saved_model.pb")):
        Path(name).mkdir()
        (Path(name) / inside).touch()
        assert (files.in_run(name), files.is_file(name)) == (name, False)
        assert files.is_file(files.in_run(f"./{name}"))


@pytest.mark.shared
def test_a_file_of_a_variant_is_named_as_one_and_not_taken_for_damaged(
    backend, backend_name, tmp_path
):
    network = description.parse("channels=8-12,kernels=5-3-3,strides=2-1-1,inner=1")
    shapes = architecture.parameter_shapes(network=network)
    weights = {name: np.full(shape, 0.1, np.float32) for name, shape in shapes.items()}
    path = tmp_path / "nin.safetensors"
    save_model(path, Model(weights, resize=28, network=network))
    with pytest.raises(NinError, match="a weights file is compared as the chapter's only"):
        common.compare(NUMPY, str(path), levels=LEVELS, resize=67)


@pytest.mark.long
def test_a_safetensors_file_of_any_name_is_run_by_a_framework_that_is_here(
    backend, backend_name, tmp_path
):
    if backend_name != "torch":
        pytest.skip("the first that is installed runs it")
    tensors = {**reference.model().weights, "cm.confmat": np.zeros((10, 10), np.float32)}
    save_arrays(tmp_path / "model.pt", tensors, {})
    started = files.start(str(tmp_path / "model.pt"), Settings(device="cpu", threads=1))
    net = started.backend.nin()
    started.backend.set_weights(net, changed_weights().weights)
    weights = started.backend.get_weights(net)
    np.testing.assert_array_equal(weights[CHANGED], reference.model().weights[CHANGED])
    report = common.compare(
        "torch",
        str(tmp_path / "model.pt"),
        resize=67,
        batch_size=4,
        dtype="float32",
        levels=["parameters", "activations", "dropout"],
    )
    assert report.exit_status == 0
    activations = next(level for level in report.levels if level.name == "activations")
    notes = " ".join(activations.notes)
    assert "holds weights and no layers: they were run with those of torch" in notes
    assert "left out, as no part of the network: cm.confmat (10, 10)" in notes
    dropout = next(level for level in report.levels if level.name == "dropout")
    assert "keeps the weights of the file" in " ".join(dropout.notes)


@pytest.mark.long
@pytest.mark.parametrize(
    ("wrong", "first"),
    [("", None), ("ceil_mode=True", "block2.conv1")],
    ids=["right", "pooling that rounds up"],
)
def test_a_module_from_elsewhere_is_compared_by_its_own_convolutions(
    backend, backend_name, tmp_path, wrong, first
):
    if backend_name != "torch":
        pytest.skip("the example is a module of PyTorch")
    example = (ROOT / "examples" / "nin_module.py").read_text()
    assert "F.max_pool2d(x, 3, 2)" in example
    changed = example.replace("F.max_pool2d(x, 3, 2)", f"F.max_pool2d(x, 3, 2, {wrong})")
    (tmp_path / "port.py").write_text(changed)
    report = common.compare(NUMPY, str(tmp_path / "port.py"), resize=71, batch_size=2, threads=1)
    level = next(level for level in report.levels if level.name == "activations")
    assert (level.first, report.exit_status) == (first, int(first is not None))
    assert {row.name for table in level.tables for row in table.rows} >= {"block1.conv1", "flatten"}
    # arrays of two shapes have no place where they differ most
    assert report.layer is None or not report.layer.worst
    if not wrong:
        compared = [level.name for level in report.levels if level.status == "agree"]
        assert compared == ["parameters", "activations", "training", "dropout"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("wrong", "level", "words"),
    [
        ("nn.Dropout(0.5)", "training", "units are dropped though nin(dropout=0)"),
        ("nn.Dropout(dropout * 0.8)", "dropout", "units are dropped at a rate of 0.4"),
    ],
)
def test_a_mistake_in_the_dropout_of_a_module_from_elsewhere_is_named(
    backend, backend_name, tmp_path, wrong, level, words
):
    if backend_name != "torch":
        pytest.skip("the example is a module of PyTorch")
    example = (ROOT / "examples" / "nin_module.py").read_text()
    assert "nn.Dropout(dropout)" in example
    (tmp_path / "port.py").write_text(example.replace("nn.Dropout(dropout)", wrong))
    report = common.compare(NUMPY, str(tmp_path / "port.py"), resize=67, batch_size=2, threads=1)
    assert report.deviation.name == level
    assert words in report.layer.mistakes["port"]


@pytest.mark.long
@pytest.mark.parametrize("save", [save_model, onnx_format.save])
def test_small_weights_learn_too_and_are_compared_in_training(
    backend, backend_name, tmp_path, save
):
    weights = {name: w * np.float32(0.5) for name, w in reference.model().weights.items()}
    (tmp_path / "twin.py").write_text(f"from nin_{backend_name} import *\n")
    file, model = tmp_path / "nin.onnx", Model(weights, resize=67)
    if save is save_model:
        file = file.with_suffix(".safetensors")
    save(*((file, model) if save is save_model else (model, file)))
    sides = backend_name, str(tmp_path / "twin.py"), str(file)
    report = common.compare(
        *sides, levels=["training"], resize=67, batch_size=2, steps=8, threads=1
    )
    assert report.verdict.startswith(f"{backend_name}, twin")
    assert "agree in training" in report.verdict
    assert report.exit_status == 0
    losses = np.reshape(report.losses[backend_name], (2, 4)).mean(axis=1)
    assert 0.99 < losses[1] / losses[0] < 0.9999
