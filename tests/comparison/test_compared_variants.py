"""The variants of the network are compared as the chapter's network is."""

from types import SimpleNamespace

import numpy_nin
import pytest

from common.comparison import levels, worker
from common.comparison.job import Job, below
from common.comparison.material import make_material
from common.network.description import CHAPTER, NETWORKS

COMPARED = ("shapes", "parameters", "activations", "gradients", "training")


def compare(network, size, sample, *backends):
    job = Job(resize=size, batch_size=2, steps=8, dtype="float64", network=network)
    job.check()
    material = make_material(job, sample)
    recordings = []
    for number, backend in enumerate(backends):
        recordings += worker.record(f"backend {number}", backend, job, material)
    return levels.compare(recordings, job, below("weights", material))


@pytest.mark.parametrize(
    ("network", "size"),
    [
        ("no-1x1", 67),
        ("gentle", 67),
        ("no-last-relu", 67),
        ("lin-cifar", 15),
        ("vgg-12-32", 28),
        ("vgg-12-32,head=dense", 28),
        ("channels=8-12,kernels=5-3-3,strides=2-1-1,head=alexnet,hidden=9/7", 28),
    ],
)
def test_two_of_the_same_agree_and_are_not_refused(network, size, sample):
    found = compare(network, size, sample, numpy_nin, numpy_nin)
    assert [level.name for level in found.levels if level.status == "agree"] == [*COMPARED]
    assert found.exit_status == 0


def another(network):
    """A backend that builds this network whatever it is asked for."""
    names = ("nin", "set_weights", "get_weights", "shape_walk", "Predictor", "Trainer")
    parts = {name: getattr(numpy_nin, name) for name in names}
    return SimpleNamespace(**parts, build=lambda _, *rest: numpy_nin.build(network, *rest))


def test_a_relu_too_many_deviates_where_it_is(sample):
    found = compare("no-last-relu", 67, sample, numpy_nin, another(CHAPTER))
    assert (found.deviation.name, found.deviation.first) == ("activations", "block4.conv3")


def test_a_1x1_convolution_too_many_deviates_in_the_parameters(sample):
    found = compare("one-1x1", 67, sample, numpy_nin, another(NETWORKS["chapter"]))
    assert (found.deviation.name, found.deviation.first) == ("parameters", "block1.conv3.weight")


def test_a_backend_without_variants_is_listed_as_that(sample):
    lacking = SimpleNamespace(__name__="mine", nin=numpy_nin.nin)
    found = compare("one-1x1", 67, sample, numpy_nin, lacking)
    assert any("mine has no build" in note for level in found.levels for note in level.notes)
