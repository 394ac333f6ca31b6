"""The exercises' variants are compared as the chapter's network is."""

import dataclasses
import types

import numpy as np
import numpy_nin
import pytest

from common.comparison import dropout, levels, worker
from common.comparison.job import LEVELS, Job, below
from common.comparison.layer import look
from common.comparison.material import make_material
from common.errors import NinError
from common.network.description import CHAPTER, NETWORKS, parse


def job_of(network, size=67, **options):
    return Job(LEVELS, size, batch_size=2, steps=8, dtype="float64", network=network, **options)


def compare(sample, job, backends, layer=None):
    job.check()
    material = make_material(job, sample)
    recordings = [each for n, b in backends.items() for each in worker.record(n, b, job, material)]
    found = levels.compare(recordings, job, below("weights", material))
    found.layer = look(found, recordings, job, material, layer)
    return found


@pytest.mark.long
@pytest.mark.parametrize(
    ("network", "size"),
    [
        pytest.param("no-1x1", 67, marks=pytest.mark.long),
        ("gentle", 67),
        pytest.param("no-last-relu", 67, marks=pytest.mark.long),
        ("lin-cifar", 15),
        pytest.param("vgg-12-32", 28, marks=pytest.mark.long),
        ("vgg-12-32,head=dense", 28),
        ("channels=8-12,kernels=5-3-3,strides=2-1-1,head=alexnet,hidden=90/70", 28),
        ("channels=8-12,kernels=5-3-3,strides=2-1-2,inner_kernel=3,last=9/7,dropout=every", 41),
        ("channels=8-12,kernels=5-3-3,strides=2-1-1,head=alexnet,hidden=,dropout=every", 28),
    ],
)
def test_two_of_the_same_agree_and_are_not_refused(network, size, sample):
    found = compare(sample, job_of(network, size), {"one": numpy_nin, "two": numpy_nin})
    assert {level.name: level.status for level in found.levels} == dict.fromkeys(LEVELS, "agree")
    assert found.exit_status == 0


@pytest.mark.parametrize(
    ("network", "size"),
    [
        ("one-1x1", 67),
        ("dense-head", 67),
        ("vgg-12-32", 28),
        ("lin-cifar", 15),
        ("no-last-relu,last=32/16", 67),
    ],
)
@pytest.mark.long
def test_a_variant_is_one_network_in_a_framework_and_in_numpy(sample, backend, network, size):
    last = levels.layer_names(parse(network))[-2]
    sides = {"numpy": numpy_nin, "framework": backend}
    found = compare(sample, job_of(network, size), sides, last)
    assert {level.name: level.status for level in found.levels} == dict.fromkeys(LEVELS, "agree")
    parts = {level.name: level.part for level in found.levels if level.part}
    assert parts == ({"dropout": "the last of 2 layers"} if network == "lin-cifar" else {})
    assert all(text.startswith("as on paper") for text in found.layer.findings.values())


def test_a_network_deeper_than_the_chapters_learns_at_a_lower_rate():
    rates = [job_of(network, 28).learning_rate for network in ("vgg-12", "vgg-21", "vgg-30")]
    np.testing.assert_allclose(rates, [9e-6, 9e-6 * (12 / 21) ** 3, 9e-6 * (12 / 30) ** 3])
    assert "3e-06 times 3, the height of the last map, over the cube of 30/12 for the depth" in (
        job_of("vgg-30", 28).learning_rate_text
    )


@pytest.mark.long
def test_weights_are_made_even_where_flat_parts_of_an_image_stay_nearly_equal(sample):
    # deep in this network, one of ten images has a window that no order of the weights decides
    make_material(Job(resize=54, batch_size=10, seed=671743002, network="vgg-30-32"), sample)


def test_more_images_than_there_is_memory_for_are_refused(sample, monkeypatch):
    monkeypatch.setattr("common.system.machine.memory_gib", lambda: 1.0)
    with pytest.raises(NinError, match=r"batch_size=67: .* about 32 GiB .* at resize=224"):
        make_material(Job(batch_size=67, network="vgg-12"), sample)


def changed(**names):
    """The NumPy backend with other names in it."""
    return types.SimpleNamespace(**{**vars(numpy_nin), **names})


MISTAKES = {
    "one-1x1": (
        "block2.conv1",
        lambda w: w | {"block2.conv1.weight": w["block2.conv1.weight"][:, :, ::-1, ::-1]},
        "the kernel is turned by 180 degrees",
    ),
    "dense-head": (
        "dense1",
        lambda w: w | {"dense1.bias": 0 * w["dense1.bias"]},
        "there is no bias",
    ),
    "no-last-relu,last=32/16": (
        "block4.conv3",
        lambda w: w | {"block4.conv3.bias": -w["block4.conv3.bias"]},
        "the bias is subtracted",
    ),
}


@pytest.mark.parametrize("network", MISTAKES)
def test_a_mistake_in_a_variant_is_found_and_named(sample, network):
    layer, change, words = MISTAKES[network]
    wrong = changed(set_weights=lambda net, weights: numpy_nin.set_weights(net, change(weights)))
    job = dataclasses.replace(job_of(network), levels=("activations",))
    found = compare(sample, job, {"right": numpy_nin, "wrong": wrong})
    assert found.deviation.first == layer
    assert words in found.layer.mistakes["wrong"]
    assert list(found.layer.mistakes) == ["wrong"]


@pytest.mark.parametrize(
    ("asked", "built", "level", "first"),
    [
        pytest.param(
            "no-last-relu", CHAPTER, "activations", "block4.conv3", marks=pytest.mark.long
        ),
        ("one-1x1", NETWORKS["chapter"], "parameters", "block1.conv3.weight"),
    ],
    ids=["a ReLU too many", "a 1x1 convolution too many"],
)
def test_another_network_than_was_asked_for_deviates_where_it_is_another(
    sample, asked, built, level, first
):
    another = changed(build=lambda _, *rest: numpy_nin.build(built, *rest))
    found = compare(sample, job_of(asked), {"right": numpy_nin, "another": another})
    assert (found.deviation.name, found.deviation.first) == (level, first)


def test_a_wrong_shape_is_explained_though_a_fully_connected_layer_takes_no_oblong_image(sample):
    def shape_walk(net, images):
        for layer in numpy_nin.shape_walk(net, images):
            rim = ((0, 0), (0, 0), (0, 1), (0, 1)) if layer.name == "pool1" else 0
            yield layer._replace(output=np.pad(layer.output, rim))

    job = dataclasses.replace(job_of("dense-head"), levels=("shapes",))
    found = compare(sample, job, {"right": numpy_nin, "wrong": changed(shape_walk=shape_walk)})
    assert found.layer.findings["right"] == "as on paper"
    assert "padding 1 instead of 0" in found.layer.mistakes["wrong"]


@pytest.mark.long
def test_a_backend_without_variants_is_listed_as_that(sample):
    lacking = types.SimpleNamespace(__name__="mine", nin=numpy_nin.nin)
    found = compare(sample, job_of("one-1x1"), {"whole": numpy_nin, "lacking": lacking})
    assert any("mine has no build" in note for level in found.levels for note in level.notes)


def test_a_variant_that_is_none_or_takes_larger_images_is_refused():
    with pytest.raises(NinError, match="network=two-2x2"):
        job_of("two-2x2").check()
    with pytest.raises(NinError, match="resize=40"):
        job_of("one-1x1", 40).check()


def test_the_same_seed_gives_other_weights_to_another_network(sample):
    one = make_material(job_of("one-1x1"), sample)
    dense = make_material(job_of("dense-head"), sample)
    assert dense["weights/dense1.weight"].ndim == 2
    assert not [name for name in one if ".conv3." in name]
    assert np.isfinite(dense["weights/dense1.weight"]).all()


@pytest.mark.long
@pytest.mark.parametrize(
    "network", ["gentle", "dense-head", "lin-cifar", "head=alexnet,hidden=90/70", "vgg-12-32"]
)
@pytest.mark.parametrize("wrong", [0.499, pytest.param(0.0, marks=pytest.mark.long)])
def test_another_dropout_in_a_variant_deviates(network, wrong, sample, monkeypatch):
    forward = numpy_nin.Dropout.forward

    def scaled(self, X, training=False):
        self.rate = min(self.rate, wrong)
        return forward(self, X, training)

    job = Job(("dropout",), 67, batch_size=1, dtype="float64", network=network)
    material = {"images": sample.train_images[:1], "labels": sample.train_labels[:1]}
    (right,) = worker.record("right", numpy_nin, job, material)
    monkeypatch.setattr(numpy_nin.Dropout, "forward", scaled)
    (other,) = worker.record("wrong", numpy_nin, job, material)
    (level,) = levels.compare([right, other], job, {}).levels
    where = "scale of a kept unit" if wrong else "units dropped"
    assert {row.name: row.deviating for row in level.tables[0].rows}[where] == ["wrong"]


def test_a_network_without_dropout_is_said_to_have_none(sample):
    network = "channels=8-12,kernels=5-3-3,strides=2-1-1,head=alexnet,hidden="
    assert dropout.site(Job(network=network).description) is None
    found = compare(sample, job_of(network, 28), {"one": numpy_nin, "two": numpy_nin})
    assert (found.levels[-1].status, found.levels[-1].notes) == (
        "not compared",
        ["this network has no dropout"],
    )
