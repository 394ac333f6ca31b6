"""ONNX files of other exporters: another graph of the same network is the same network."""

import importlib
import os

import numpy as np
import pytest
import reference

from common.conversion import onnx_format
from common.conversion.match import match
from common.data.interpolation import resize_matrix
from common.errors import NinError

SIZE = 67
# Of the largest logit: float32 against float64.
TOLERANCE = 1e-5

# their absence fails in CI and skips elsewhere
need = importlib.import_module if os.environ.get("CI") else pytest.importorskip
onnx = need("onnx")
need("onnxruntime")


@pytest.fixture(scope="module")
def model():
    return reference.model(class_names=tuple("abcdefghij"))


@pytest.fixture(scope="module")
def expected(model, sample):
    images = sample.test_images[:3]
    matrix = resize_matrix(28, SIZE)
    pixels = (matrix @ (images / 255) @ matrix.T)[:, None].astype(np.float32)
    return pixels, reference.logits(model, images)


@pytest.fixture
def proto(model, tmp_path):
    (path,) = onnx_format.save(model, tmp_path / "ours.onnx")
    return onnx.load(str(path))


def put(proto, nodes):
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)


def node(*arguments, **attributes):
    return onnx.helper.make_node(*arguments, **attributes)


def array_of(tensor):
    return onnx.numpy_helper.to_array(tensor)


def replace(tensor, array, name=None):
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, name or tensor.name))


def constants(proto):
    graph = proto.graph
    made = [node("Constant", [], [t.name], value=t) for t in graph.initializer]
    put(proto, [*made, *graph.node])
    del graph.initializer[:]


def identities(proto):
    graph = proto.graph
    names = [tensor.name for tensor in graph.initializer]
    for tensor in graph.initializer:
        tensor.name += "_"
    put(proto, [*(node("Identity", [f"{name}_"], [name]) for name in names), *graph.node])


def transposes(proto):
    """Weights as Keras has them, as its exporters leave them."""
    made = []
    for tensor in proto.graph.initializer:
        if len(tensor.dims) == 4:
            name = tensor.name
            replace(tensor, array_of(tensor).transpose(2, 3, 1, 0).copy(), f"{name}_")
            made.append(node("Transpose", [f"{name}_"], [name], perm=[3, 2, 0, 1]))
    put(proto, [*made, *proto.graph.node])


def additions(proto):
    made = []
    for each in list(proto.graph.node):
        made.append(each)
        if each.op_type == "Conv":
            bias = each.input.pop(2)
            (tensor,) = (t for t in proto.graph.initializer if t.name == bias)
            replace(tensor, array_of(tensor).reshape(1, -1, 1, 1))
            out = each.output[0]
            each.output[0] = f"{out}_"
            made.append(node("Add", [bias, f"{out}_"], [out]))
    put(proto, made)


def additions_channels_last(proto):
    made = []
    for each in list(proto.graph.node):
        made.append(each)
        if each.op_type == "Conv":
            bias, out = each.input.pop(2), each.output[0]
            each.output[0] = f"{out}1"
            made += [
                node("Transpose", [f"{out}1"], [f"{out}2"], perm=[0, 2, 3, 1]),
                node("Add", [f"{out}2", bias], [f"{out}3"]),
                node("Transpose", [f"{out}3"], [out], perm=[0, 3, 1, 2]),
            ]
    put(proto, made)


def instead_of_1x1(proto, steps):
    """Other operations in place of 1x1 convolutions."""
    made = []
    for each in list(proto.graph.node):
        tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
        kernel = tensors.get(each.input[1]) if each.op_type == "Conv" else None
        if kernel is None or kernel.dims[2] != 1:
            made.append(each)
        else:
            made += steps(kernel, tensors[each.input[2]], *each.input, *each.output)
    put(proto, made)


def fully_connected(proto):
    """1x1 convolutions as PyTorch's Linear on channels that are last."""

    def steps(kernel, _, x, weight, bias, out):
        replace(kernel, array_of(kernel)[:, :, 0, 0].T.copy())
        return [
            node("Transpose", [x], [f"{out}1"], perm=[0, 2, 3, 1]),
            node("MatMul", [f"{out}1", weight], [f"{out}2"]),
            node("Add", [bias, f"{out}2"], [f"{out}3"]),
            node("Transpose", [f"{out}3"], [out], perm=[0, 3, 1, 2]),
        ]

    instead_of_1x1(proto, steps)


def weights_first(proto):
    """1x1 convolutions as products ``weight @ pixels``."""
    for name, values in {"row": [0, 0, -1], "first": [0, 0], "sides": [2, 3]}.items():
        array = np.array(values, np.int64)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))

    def steps(kernel, offset, x, weight, bias, out):
        replace(kernel, array_of(kernel)[:, :, 0, 0].copy())
        replace(offset, array_of(offset)[:, None].copy())
        return [
            node("Shape", [x], [f"{out}1"]),
            node("Reshape", [x, "row"], [f"{out}2"]),
            node("MatMul", [weight, f"{out}2"], [f"{out}3"]),
            node("Add", [f"{out}3", bias], [f"{out}4"]),
            node("Gather", [f"{out}1", "sides"], [f"{out}5"]),
            node("Concat", ["first", f"{out}5"], [f"{out}6"], axis=0),
            node("Reshape", [f"{out}4", f"{out}6"], [out]),
        ]

    instead_of_1x1(proto, steps)


def channels_last(proto):
    del proto.graph.input[:]
    shape = ("n", "h", "w", 1)
    proto.graph.input.append(onnx.helper.make_tensor_value_info("hwc", 1, shape))
    first = node("Transpose", ["hwc"], ["pixels"], perm=[0, 3, 1, 2])
    put(proto, [first, *proto.graph.node])


def channels_last_by_reshape(proto):
    """What tf2onnx makes of it for one channel."""
    channels_last(proto)
    (replaced,) = (each for each in proto.graph.node if each.op_type == "Transpose")
    replaced.CopyFrom(node("Unsqueeze", ["hwc", "axes"], ["nchw1"]))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "axes"))
    reshape = node("Reshape", ["nchw1", "shape"], ["pixels"])
    shape = onnx.numpy_helper.from_array(np.array([0, 1, SIZE, SIZE]), "shape")
    proto.graph.initializer.append(shape)
    put(proto, [proto.graph.node[0], reshape, *list(proto.graph.node)[1:]])


def weights_as_inputs(proto):
    """As the first versions of ONNX have it."""
    for tensor in proto.graph.initializer:
        info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        proto.graph.input.insert(0, info)


def fixed_batch(proto):
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 2


def two_outputs(proto):
    name = proto.graph.node[-3].output[0]
    proto.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))


def shared_biases(proto):
    """What exporters make of equal ones."""
    graph = proto.graph
    for each in graph.node:
        if each.op_type == "Conv" and ".conv3" in each.name:
            each.input[2] = each.input[2].replace("conv3", "conv2")
    used = {name for each in graph.node for name in each.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def mixed_precision(proto):
    """Half inside, float32 outside."""
    for tensor in proto.graph.initializer:
        replace(tensor, array_of(tensor).astype(np.float16))
    nodes = list(proto.graph.node)
    nodes[0].input[0] = "half"
    nodes[-1].output[0] = "half_logits"
    first = node("Cast", ["pixels"], ["half"], to=10)
    put(proto, [first, *nodes, node("Cast", ["half_logits"], ["logits"], to=1)])


def half(proto):
    for tensor in proto.graph.initializer:
        replace(tensor, array_of(tensor).astype(np.float16))
    for each in (proto.graph.input[0], proto.graph.output[0]):
        each.type.tensor_type.elem_type = 10


def metadata_of_others(proto):
    onnx.helper.set_model_props(proto, {"classes": "['cat', 'dog']", "network": "resnet"})


GRAPHS = (
    constants, identities, transposes, additions, additions_channels_last, fully_connected,
    weights_first, channels_last, channels_last_by_reshape, weights_as_inputs, fixed_batch,
    two_outputs, metadata_of_others, mixed_precision, half,
)  # fmt: skip
ROUNDED = (mixed_precision, half)


@pytest.mark.parametrize("change", GRAPHS, ids=lambda change: change.__name__)
def test_another_graph_of_the_network_is_read_and_run(proto, model, expected, tmp_path, change):
    change(proto)
    path = tmp_path / "n.onnx"
    onnx.save(proto, str(path))
    content = onnx_format.load(path)
    assert content.input_shape[2:] == (None, None)
    assert content.input_shape[0] == (2 if change is fixed_batch else None)
    found = match(content.groups, content.ordered, "FILE").weights
    for name, array in model.weights.items():
        wanted = array.astype(np.float16).astype(np.float32) if change in ROUNDED else array
        np.testing.assert_array_equal(found[name], wanted, err_msg=name)
    pixels, logits = expected
    if change is fixed_batch:
        pixels, logits = pixels[:2], logits[:2]
    output = onnx_format.run(path, pixels)[0]
    # half precision moves the weights themselves
    atol = (1e-2 if change in ROUNDED else TOLERANCE) * np.abs(logits).max()
    np.testing.assert_allclose(output, logits, rtol=0, atol=atol)


@pytest.mark.parametrize("training", [True, False])
def test_a_file_whose_dropout_is_active_says_so_as_onnxruntime_leaves_it_out(
    proto, tmp_path, training
):
    first = proto.graph.node[0]
    for name, value in (("rate", np.float32(0.5)), ("training", np.bool_(training))):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    dropout = node("Dropout", [first.input[0], "rate", "training"], ["dropped"])
    first.input[0] = "dropped"
    put(proto, [dropout, *proto.graph.node])
    onnx.save(proto, str(tmp_path / "n.onnx"))
    notes = " ".join(onnx_format.load(tmp_path / "n.onnx").notes)
    assert ("exported for training: its dropout is active" in notes) == training


def test_one_bias_may_be_that_of_two_layers(proto, model, tmp_path):
    shared_biases(proto)
    onnx.save(proto, str(tmp_path / "n.onnx"))
    found = match(onnx_format.load(tmp_path / "n.onnx").groups, True, "FILE").weights
    np.testing.assert_array_equal(found["block2.conv3.bias"], model.weights["block2.conv2.bias"])


def test_weights_in_another_file_are_found_beside_it(proto, model, tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    path = tmp_path / "there" / "n.onnx"
    onnx.save(proto, str(path), save_as_external_data=True, location="n.onnx.data")
    monkeypatch.chdir(tmp_path)
    found = match(onnx_format.load(path).groups, True, "FILE").weights
    np.testing.assert_array_equal(
        found["block3.conv1.weight"], model.weights["block3.conv1.weight"]
    )
    (tmp_path / "there" / "n.onnx.data").unlink()
    with pytest.raises(NinError, match=r"its weights are in another file, n\.onnx\.data, which"):
        onnx_format.load(path)


@pytest.mark.parametrize("links", [["n.onnx"], ["n.data"], ["n.onnx", "n.data"]], ids="+".join)
def test_weights_in_another_file_are_found_through_links(proto, model, tmp_path, links):
    blobs, here = tmp_path / "blobs", tmp_path / "here"
    blobs.mkdir()
    here.mkdir()
    onnx.save(proto, str(blobs / "n.onnx"), save_as_external_data=True, location="n.data")
    if "n.data" in links:  # as a cache of downloads names them
        (blobs / "n.data").rename(blobs / "0af3")
        (here / "n.data").symlink_to(blobs / "0af3")
    (blobs / "n.onnx").rename((blobs if "n.onnx" in links else here) / "model.onnx")
    if "n.onnx" in links:
        (here / "model.onnx").symlink_to(blobs / "model.onnx")
    found = match(onnx_format.load(here / "model.onnx").groups, True, "FILE").weights
    for name, array in model.weights.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def outside(proto):
    """Weights in a file that is none of the model's."""
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../../etc/passwd"


def quantized(proto):
    put(proto, [node("QuantizeLinear", ["pixels", "s"], ["q"]), *proto.graph.node])


def optimized(proto):
    proto.graph.node[0].domain = "com.microsoft.nchwc"


def normalized(proto):
    put(proto, [*proto.graph.node, node("BatchNormalization", ["a"] * 5, ["b"])])


def normalized_a_little(proto):
    put(proto, [*proto.graph.node, node("LRN", ["a"], ["b"], size=5)])


def bytes_in(proto):
    proto.graph.input[0].type.tensor_type.elem_type = 2


def without_biases(proto):
    for each in proto.graph.node:
        if each.op_type == "Conv":
            each.input.pop(2)


def without_weights(proto):
    weights_as_inputs(proto)
    del proto.graph.initializer[:]


def no_layers(proto):
    del proto.graph.node[:]


REFUSED = {
    outside: "its weights are in another file, ../../../../etc/passwd, which is not beside it",
    quantized: "it has quantized layers (QuantizeLinear)",
    optimized: "it has layers of an optimizer's own (Conv)",
    normalized: "it has normalization (BatchNormalization)",
    normalized_a_little: "it has normalization (LRN)",
    bytes_in: "it takes pixels of type UINT8, expected float32 from 0 to 1",
    without_biases: "no biases of its layers are found",
    without_weights: "is an input or computed from the images, and no weight in the file",
    no_layers: "damaged, or not an ONNX model",
}


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_another_network_is_refused_by_what_is_other(proto, tmp_path, change):
    change(proto)
    path = tmp_path / "n.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(NinError) as caught:
        match(onnx_format.load(path).groups, True, str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert REFUSED[change] in str(caught.value)
