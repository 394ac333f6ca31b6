"""One matcher for all files: names say little, order and shape decide, and doubt is refused."""

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from common.conversion.match import match
from common.errors import NinError

CANONICAL = list(reference.model().weights)
LAYERS = [name.removesuffix(".weight") for name in CANONICAL if name.endswith(".weight")]


@pytest.fixture(scope="module")
def weights():
    return reference.model().weights


def renamed(weights, names, weight="weight", bias="bias", dot="."):
    """The weights with other names for the twelve layers, in their order."""
    return {
        f"{name}{dot}{kind}": weights[f"{layer}.{canonical}"]
        for name, layer in zip(names, LAYERS, strict=True)
        for kind, canonical in ((weight, "weight"), (bias, "bias"))
    }


def assert_found(weights, tensors, ordered=True):
    found = match(tensors if "" in tensors else {"": tensors}, ordered, "FILE")
    assert list(found.weights) == CANONICAL
    for name, array in weights.items():
        np.testing.assert_array_equal(found.weights[name], array, err_msg=name)
        assert found.weights[name].dtype == np.float32
    return found.notes


def refusal(tensors, ordered=True):
    with pytest.raises(NinError) as caught:
        match(tensors if "" in tensors else {"": tensors}, ordered, "FILE")
    assert str(caught.value).startswith("FILE: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


BOOK = [f"{block}.{layer}" for block in (0, 2, 4, 7) for layer in (0, 2, 4)]
FLAT = [str(i) for i in (0, 2, 4, 7, 9, 11, 14, 16, 18, 22, 24, 26)]
NAMES = {
    "the book's": BOOK,
    "edition 1.0's": [f"net.{name}" for name in BOOK],
    "of several wrappers": [f"module._orig_mod.model.net.{name}" for name in BOOK],
    "flat": FLAT,
    "flat, of more digits than Python reads": [f"{'9' * 5000}{name:0>2}" for name in FLAT],
    "features and classifier": [
        *(f"features.{n}" for n in FLAT[:9]), *(f"classifier.{n}" for n in (1, 3, 5)),
    ],
    "Lin's own": [
        "conv1", "cccp1", "cccp2", "conv2", "cccp3", "cccp4",
        "conv3", "cccp5", "cccp6", "conv4", "cccp7", "cccp8",
    ],
    "letters": [f"block_{b}.{c}" for b in "wxyz" for c in "abc"],
    "Keras's": ["conv2d", *(f"conv2d_{i}" for i in range(1, 12))],
    "ours": LAYERS,
}  # fmt: skip


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("ordered", [True, False])
def test_the_names_of_a_file_do_not_matter(weights, names, ordered):
    tensors = renamed(weights, names)
    if not ordered:  # as safetensors and HDF5 have it
        tensors = {name: tensors[name] for name in sorted(tensors)}
    assert assert_found(weights, tensors, ordered) == []


@pytest.mark.parametrize(
    ("weight", "bias", "dot"),
    [("weight", "bias", "_"), ("kernel", "bias", "/"), ("0", "1", "/vars/"), ("w", "b", ".")],
)
def test_the_words_for_weight_and_bias_do_not_matter(weights, weight, bias, dot):
    assert_found(weights, renamed(weights, NAMES["Keras's"], weight, bias, dot), False)


def kth(weights, part, names):
    """Arrays under names that do not pair a layer's weight with its bias."""
    return dict(zip(names, [a for n, a in weights.items() if n.endswith(part)], strict=True))


@pytest.mark.parametrize("ordered", [True, False])
def test_a_bias_is_that_of_the_kth_layer_where_no_name_pairs_them(weights, ordered):
    numbered = {**kth(weights, "weight", [f"W{i}" for i in range(1, 13)]),
                **kth(weights, "bias", [f"b{i}" for i in range(1, 13)])}  # fmt: skip
    assert_found(weights, numbered, ordered)
    assert_found(weights, {f"arr_{i}": a for i, a in enumerate(weights.values())}, ordered)
    swapped = {**numbered, "b1": numbered["b2"], "b2": numbered["b1"]}
    order = sorted(numbered, key=lambda name: {"b1": "b2", "b2": "b1"}.get(name, name))
    assert "in another order" in refusal({name: swapped[name] for name in order})


def test_height_and_width_may_come_first(weights):
    def last(array):
        return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array

    assert_found(weights, {name: last(array) for name, array in weights.items()}, False)
    dense = {n: a[0, 0] if a.shape[:2] == (1, 1) else a
             for n, a in ((name, last(array)) for name, array in weights.items())}  # fmt: skip
    assert_found(weights, dense)


def test_words_without_numbers_are_enough_where_the_file_keeps_an_order(weights):
    names = [f"{block}.{part}" for block in ("one", "two", "three", "four")
             for part in ("spatial", "mixing", "again")]  # fmt: skip
    assert_found(weights, renamed(weights, names))
    unsure = match({"": renamed(weights, names)}, True, "FILE").by_order
    assert unsure == ("one.mixing.weight", "one.again.weight")
    assert match({"": renamed(weights, BOOK)}, True, "FILE").by_order == ()
    assert "neither file nor names show which comes first" in refusal(
        renamed(weights, names), ordered=False
    )


GUESSES = ("kse", ("k", "fc1", "fc"), ("k", "mix", "1x1"), ("c_1", "x_1", "p_1"), "kba",
           ("dense", "conv", "conv_1"))  # fmt: skip


@pytest.mark.parametrize("parts", GUESSES, ids="-".join)
def test_names_that_only_seem_to_count_are_no_order(weights, parts):
    names = [f"b{block}.{part}" for block in range(4) for part in parts]
    assert_found(weights, renamed(weights, names))
    words = refusal(renamed(weights, names), ordered=False)
    assert "neither file nor names show which comes first" in words


def test_an_order_against_the_numbers_is_refused(weights):
    swapped = [*BOOK[:1], BOOK[2], BOOK[1], *BOOK[3:]]
    assert "in another order than that of their names" in refusal(renamed(weights, swapped))


@settings(max_examples=25, deadline=None)
@given(
    prefix=st.text("abcdefghij._", max_size=20),
    start=st.integers(0, 1000),
    step=st.integers(1, 7),
    shuffled=st.randoms(use_true_random=False),
)
def test_numbered_layers_are_found_in_any_order(weights, prefix, start, step, shuffled):
    numbers = range(start, start + 12 * step, step)
    tensors = list(renamed(weights, [f"{prefix}.layer{n}" for n in numbers]).items())
    shuffled.shuffle(tensors)
    assert_found(weights, dict(tensors), ordered=False)


def test_layers_that_are_fully_connected_per_pixel_are_convolutions(weights):
    tensors = {n: a[:, :, 0, 0] if a.shape[2:] == (1, 1) else a for n, a in weights.items()}
    assert_found(weights, tensors)


@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (96, 3), (384, 1), (1000, 4)])
def test_classes_and_channels_are_those_of_the_shapes(classes, channels):
    other = reference.model(num_classes=classes).weights
    first = np.repeat(other["block1.conv1.weight"], channels, 1)
    tensors = renamed({**other, "block1.conv1.weight": first}, FLAT)
    found = match({"": tensors}, True, "FILE").weights
    assert found["block1.conv1.weight"].shape == (96, channels, 11, 11)
    assert found["block4.conv3.weight"].shape == (classes, classes, 1, 1)


# ------------------------------------------------------------- checkpoints


def test_the_network_in_a_checkpoint_is_found(weights):
    state = renamed(weights, BOOK)
    moments = {f"optimizer.state.{i}": {"exp_avg": a, "step": np.ones(())}
               for i, a in enumerate(state.values())}  # fmt: skip
    counted = {"n_averaged": np.array(3), **state}
    assert_found(weights, {"": {"loss": np.zeros(())}, "model.state_dict": counted, **moments})


def test_tensors_around_the_dictionary_of_the_network_are_named(weights):
    around = {"temperature": np.ones(1, "f4"), "epoch": np.array(3), "rng": np.zeros(9, "u1")}
    model = {"mean": np.ones(1, "f4")}
    nested = {"": around, "model": model, "model.net": renamed(weights, BOOK),
              "optimizer.state.0": {"momentum_buffer": np.ones(96, "f4")}}  # fmt: skip
    (note,) = assert_found(weights, nested)
    assert "left out, as no part of the network: temperature (1,), mean (1,); if it" in note


def test_two_equal_networks_are_one_and_two_different_ones_are_refused(weights):
    one, two = renamed(weights, BOOK), renamed(reference.model(seed=5).weights, BOOK)
    assert_found(weights, {"": {}, "model": one, "best": dict(one)})
    words = refusal({"": {}, "model": one, "ema": two})
    assert words.endswith(
        "holds two networks with other weights, model and ema; save only the one that you mean, "
        "such as checkpoint['ema']"
    )


BESIDE = {
    "a metric": {"cm.confmat": np.zeros((10, 10), "i8"), "acc.tp": np.zeros(10, "i8")},
    "a metric in float": {"cm.confmat": np.zeros((10, 10), "f4")},
    "a loss": {"criterion.weight": np.ones(10, "f4")},
    "weights of classes": {"class_weights": np.ones(10, "f4")},
    "a counter in float": {"n_averaged": np.ones((), "f4")},
}


@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE)
@pytest.mark.parametrize("names", [BOOK, [f"module.net.{n}" for n in BOOK], NAMES["Lin's own"]])
@pytest.mark.parametrize("first", [True, False])
def test_what_can_be_no_layer_is_left_out_and_named(weights, beside, names, first):
    net = renamed(weights, names)
    (note,) = assert_found(weights, {**beside, **net} if first else {**net, **beside})
    for name in beside:
        assert name in note


@pytest.mark.parametrize("names", [BOOK, [f"net.{n}" for n in BOOK]])
def test_two_copies_in_one_dictionary_are_told_apart(weights, names):
    other = renamed(reference.model(seed=5).weights, [f"ema.module.{n}" for n in BOOK])
    tensors = {**renamed(weights, names), **other, "ema.decay": np.ones((), "f4")}
    first = names[0].removesuffix(BOOK[0]).strip(".") or "(the top)"
    words = refusal(tensors)
    assert f"holds two networks with other weights, {first} and ema.module; save only" in words
    assert words.endswith(
        "such as {n: t for n, t in checkpoint.items() if n.startswith('ema.module.')}"
    )
    # as the line says
    chosen = {n: t for n, t in tensors.items() if n.startswith("ema.module.")}
    assert_found(reference.model(seed=5).weights, chosen)
    # a module that is there under two names
    same = renamed(weights, [f"ema.module.{n}" for n in BOOK])
    assert_found(weights, {**renamed(weights, names), **same})


def test_of_copies_with_other_classes_none_is_mixed_with_the_other(weights):
    other = reference.model(num_classes=20).weights
    tensors = {**renamed(weights, [f"student.{n}" for n in BOOK]),
               **renamed(other, [f"teacher.{n}" for n in BOOK])}  # fmt: skip
    assert "student and teacher" in refusal(tensors)


# ------------------------------------------------------------- precisions


def test_half_is_widened_exactly_and_double_rounded_with_a_note(weights):
    half = {name: array.astype(np.float16) for name, array in weights.items()}
    assert assert_found(half, half) == []
    double = {name: array.astype(np.float64) for name, array in weights.items()}
    assert assert_found(weights, double) == []
    double["block1.conv1.bias"] = double["block1.conv1.bias"] + 1e-12
    found = match({"": double}, True, "FILE")
    assert found.notes == ["FILE: double precision, rounded to float32"]


# ------------------------------------------------------------- what is refused


def without(weights, end):
    return {name: array for name, array in weights.items() if not name.endswith(end)}


OTHERS = {
    "batch normalization": (
        lambda w: {**w, "block1.1.running_mean": np.zeros(96, np.float32)},
        "batch normalization (block1.1.running_mean)",
    ),
    "Keras's batch normalization": (
        lambda w: {**w, "batch_normalization/moving_variance": np.zeros(96, np.float32)},
        "batch normalization",
    ),
    "no biases": (lambda w: without(w, ".bias"), "no biases of its layers are found"),
    "one bias missing": (lambda w: without(w, "block2.conv2.bias"), "block2.conv2.weight"),
    "a layer missing": (
        lambda w: without(without(w, "block3.conv3.weight"), "block3.conv3.bias"),
        "no tensor of shape (384, 384, 1, 1) is left for block3.conv3.weight",
    ),
    "a layer more": (
        lambda w: {**w, "head.weight": np.zeros((10, 10), np.float32)},
        "head.weight of shape (10, 10) belongs to none of its layers (1 of 25 tensors do not); "
        "if it is one of the variants, convert it with its name as network (docs/variants.md)",
    ),
    "a layer of another shape": (
        lambda w: {**w, "block2.conv1.weight": np.zeros((256, 96, 3, 3), np.float32)},
        "left for block2.conv1.weight; without a place: block2.conv1.weight (256, 96, 3, 3));",
    ),
    "a layer with more than a bias": (
        lambda w: {**w, "block1.conv1.alpha": np.zeros(96, np.float32)},
        "of shape (96,) belongs to none of its layers (1 of 25",
    ),
    "PReLU": (
        lambda w: {**w, "block1.act1.weight": np.zeros(96, np.float32)},
        "block1.act1.weight of shape (96,) belongs to none of its layers",
    ),
    "PReLU at the top": (
        lambda w: {**w, "act.weight": np.zeros(10, np.float32)}, "act.weight of shape (10,)",
    ),
    "a layer in a row with its layers": (
        lambda w: {**renamed(w, FLAT), "1.slope": np.zeros(96, np.float32)}, "1.slope of shape",
    ),
    "normalization": (
        lambda w: {**w, "norm.gamma": np.ones(96, "f4"), "norm.beta": np.ones(96, "f4")},
        "norm.gamma of shape (96,) belongs to none of its layers (2 of 26",
    ),
    "integers": (
        lambda w: {**w, "block2.conv1.weight": w["block2.conv1.weight"].astype(np.int8)},
        "block2.conv1.weight is of type int8, as in a quantized network",
    ),
    "complex numbers": (
        lambda w: {**w, "block2.conv1.weight": w["block2.conv1.weight"].astype("c8")},
        "block2.conv1.weight is of type complex64, not of real numbers",
    ),
    "pruned": (
        lambda w: {**w, "block1.conv1.weight_mask": w["block1.conv1.weight"]},
        "block1.conv1.weight_mask is what weights are computed from",
    ),
    "another network": (
        lambda w: {"fc.weight": np.zeros((3, 4), np.float32), "fc.bias": np.zeros(3, np.float32)},
        "of another network (it holds 2 tensors: fc.weight (3, 4), fc.bias (3,), and none of its",
    ),
    "nothing": (lambda w: {}, "holds no"),
    "control characters": (
        lambda w: {**w, "\x1b[31mred\nline.weight": np.zeros(7, np.float32)},
        r"\x1b[31mred\nline.weight of shape (7,)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), OTHERS.values(), ids=OTHERS)
def test_another_network_is_refused_by_what_is_other(weights, change, words):
    assert words in refusal(change(weights))
