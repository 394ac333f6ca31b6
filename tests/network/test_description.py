import dataclasses
import json
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from common.errors import NinError
from common.network import architecture, description
from common.network.description import CHAPTER, KEYS, NETWORKS, Network


@st.composite
def networks(draw):
    """Any description that makes sense."""
    inner, count = draw(st.integers(0, 3)), draw(st.integers(1, 3))
    few = st.integers(1, 300)

    def block():
        length = draw(st.sampled_from([1, inner + 1]))
        return tuple(draw(few) for _ in range(length))

    network = Network(
        channels=tuple(block() for _ in range(count)),
        kernels=tuple(draw(st.sampled_from([1, 3, 5, 11])) for _ in range(count + 1)),
        strides=tuple(draw(st.integers(1, 4)) for _ in range(count + 1)),
        repeat=draw(st.integers(1, 3)),
        inner=inner,
        inner_kernel=draw(st.sampled_from([1, 3])),
        last=tuple(draw(few) for _ in range(draw(st.sampled_from([0, inner])))),
        pool=draw(st.integers(2, 3)),
        head=(head := draw(st.sampled_from(description.HEADS))),
        hidden=(draw(few), draw(few)) if head == "alexnet" else CHAPTER.hidden,
        last_relu=draw(st.booleans()),
        dropout=draw(st.sampled_from(description.DROPOUTS)),
    )
    assume(network.head != "alexnet" or (network.last_relu and not network.last))
    return network


@pytest.mark.parametrize("name", NETWORKS)
def test_a_name_is_a_network_of_its_own(name):
    NETWORKS[name].check()
    assert str(description.parse(name)) == name


@given(networks())
def test_any_network_survives_its_words_and_json(network):
    network.check()
    assert description.parse(str(network)) == network
    written = json.loads(json.dumps(network.differences()))
    assert description.from_differences(written) == network
    words = ",".join(f"{key}={of.write(getattr(network, key))}" for key, of in KEYS.items())
    assert description.parse(words) == network


def test_a_named_network_with_something_changed():
    found = description.parse("vgg-12, inner=1")
    assert found == dataclasses.replace(NETWORKS["vgg-12"], inner=1)
    assert str(description.parse("inner=1")) == "one-1x1"
    assert str(CHAPTER) == "chapter"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no network of that name; choose from chapter"),
        ("nin2", "no network of that name"),
        ("chapter,", "an empty part is not one of channels"),
        ("inner", "no network of that name"),
        ("one1x1", "no network of that name (did you mean one-1x1?)"),
        ("gentle,no-1x1", "no-1x1 is another network"),
        ("size=3", "size=3 is not one of channels, kernels"),
        ("inner=2.5", "inner must be a whole number from 0 to 8"),
        ("inner=9", "inner=9: must be a whole number from 0 to 8"),
        ("inner=1,inner=2", "inner stands there twice"),
        ("head=max", "head=max: must be average, dense or alexnet"),
        ("last_relu=1", "last_relu must be yes or no"),
        ("kernels=4-3-3-3", "must be odd windows"),
        ("channels=96", "kernels=11-5-3-3: 2 numbers are needed"),
        ("channels=1/2-3-4", "with inner=2 a block takes 1 or 3 numbers"),
        ("channels=0-3-4", "channels=0-3-4: must be channels like"),
        ("gentle,inner=1", "last=112/32: with inner=1 it takes 1 numbers"),
        ("head=alexnet,last_relu=no", "has no last block"),
        ("hidden=9", "hidden=9: only with head=alexnet"),
        ("inner=٣", "inner must be a whole number"),
    ],
)
def test_what_is_no_network_is_refused_in_one_line(text, words):
    with pytest.raises(NinError) as refused:
        description.parse(text)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "damaged", [[], "chapter", {"size": 3}, {"inner": "2"}, {"channels": 3}, {"last": [[1]]}, 7]
)
def test_damaged_plain_data_is_refused(damaged):
    if damaged == []:  # an empty list of differences is the chapter's
        assert description.from_differences(damaged) == CHAPTER
        return
    with pytest.raises(NinError):
        description.from_differences(damaged)


@given(networks(), st.integers(0, 40))
def test_shapes_on_paper_fit_each_other(network, more):
    size = architecture.smallest_input(network) + more
    shapes = architecture.layer_shapes(size, network=network)
    assert all(min(shape) >= 1 for shape in shapes.values())
    assert list(shapes.values())[-1] == (1, 10)
    convolutions = architecture.layers(network=network)
    assert [a.out_channels for a in convolutions][:-1] == [b.in_channels for b in convolutions][1:]
    blocks = {name for name in shapes if name.startswith("block")}
    assert {e.name.partition(".")[0] for e in convolutions if not e.is_pool} == blocks
    parameters = architecture.parameter_shapes(network=network, size=size)
    named = {name.rpartition(".")[0] for name in parameters}
    assert named <= {*architecture.layer_names(network)}


@given(networks())
def test_one_pixel_less_than_the_smallest_is_refused(network):
    smallest = architecture.smallest_input(network)
    with pytest.raises(NinError, match=f"smallest that works is {smallest}"):
        architecture.layer_shapes(smallest - 1, network=network)


@pytest.mark.parametrize(
    ("name", "size", "parameters"),
    [
        ("chapter", 224, 1_992_166),
        ("no-1x1", 224, 1_992_166 - 2 * sum(c * (c + 1) for c in (96, 256, 384, 10))),
        ("three-1x1", 224, 1_992_166 + sum(c * (c + 1) for c in (96, 256, 384, 10))),
        ("3x3", 224, 1_992_166 + 2 * 8 * sum(c * c for c in (96, 256, 384, 10))),
        ("dense-head", 224, 1_992_166 + 10 * (10 * 5 * 5 + 1)),
        ("no-last-relu", 224, 1_992_166),
    ],
)
def test_parameters_of_the_named_networks(name, size, parameters):
    shapes = architecture.parameter_shapes(network=NETWORKS[name], size=size)
    assert sum(math.prod(shape) for shape in shapes.values()) == parameters


def test_parameters_of_the_papers_cifar_network():
    # by hand, from the sizes that Lin, Chen and Yan published, for colour images
    maps = [(3, 192, 5), (192, 160, 1), (160, 96, 1), (96, 192, 5), (192, 192, 1), (192, 192, 1),
            (192, 192, 3), (192, 192, 1), (192, 10, 1)]  # fmt: skip
    shapes = architecture.parameter_shapes(10, 3, NETWORKS["lin-cifar"])
    found = sum(math.prod(shape) for shape in shapes.values())
    assert found == sum(o * (i * k * k + 1) for i, o, k in maps) == 966_986


def test_the_family_doubles_channels_and_repeats_blocks():
    shapes = architecture.layer_shapes(28, network=NETWORKS["vgg-21"])
    blocks = {name: shape[1:] for name, shape in shapes.items() if name.startswith("block")}
    assert blocks == {
        "block1": (64, 28, 28),
        "block2": (64, 28, 28),
        "block3": (128, 14, 14),
        "block4": (128, 14, 14),
        "block5": (256, 7, 7),
        "block6": (256, 7, 7),
        "block7": (10, 3, 3),
    }
