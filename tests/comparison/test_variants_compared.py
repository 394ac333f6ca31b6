"""The exercises' variants are compared as the chapter's network is."""

import dataclasses
import types

import numpy as np
import numpy_nin
import pytest

from common.comparison import levels, worker
from common.comparison.job import Job, below
from common.comparison.layer import look
from common.comparison.material import make_material
from common.errors import NinError
from common.network.description import parse

# all but dropout, which is counted in the chapter's network only
LEVELS = ("shapes", "parameters", "activations", "gradients", "training")
NETWORKS = {"one-1x1": 67, "dense-head": 67, "vgg-12-32": 28, "no-last-relu,last=32/16": 67}


def job_of(network):
    size = NETWORKS[network]
    return Job(LEVELS, size, batch_size=2, steps=8, dtype="float64", network=network)


def compare(sample, job, backends, layer=None):
    material = make_material(job, sample)
    recordings = [each for n, b in backends.items() for each in worker.record(n, b, job, material)]
    found = levels.compare(recordings, job, below("weights", material))
    found.layer = look(found, recordings, job, material, layer)
    return found


@pytest.mark.parametrize("network", NETWORKS)
def test_a_variant_is_one_network_in_a_framework_and_in_numpy(sample, backend, network):
    job = job_of(network)
    last = levels.layer_names(parse(network))[-2]
    found = compare(sample, job, {"numpy": numpy_nin, "framework": backend}, last)
    assert {level.name: level.status for level in found.levels} == dict.fromkeys(LEVELS, "agree")
    assert not [level.part for level in found.levels if level.part]
    assert all(text.startswith("as on paper") for text in found.layer.findings.values())


def setting(change):
    """The NumPy backend, its weights changed as they are set."""
    return types.SimpleNamespace(
        **{
            **vars(numpy_nin),
            "set_weights": lambda net, weights: numpy_nin.set_weights(net, change(dict(weights))),
        }
    )


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
    job = dataclasses.replace(job_of(network), levels=("activations",))
    found = compare(sample, job, {"right": numpy_nin, "wrong": setting(change)})
    assert found.deviation.first == layer
    assert words in found.layer.mistakes["wrong"]
    assert list(found.layer.mistakes) == ["wrong"]


def test_a_variant_that_is_none_or_takes_larger_images_is_refused():
    with pytest.raises(NinError, match="network=two-2x2"):
        Job(network="two-2x2").check()
    with pytest.raises(NinError, match="resize=40"):
        Job(network="one-1x1", resize=40).check()


def test_the_same_seed_gives_other_weights_to_another_network(sample):
    one = make_material(job_of("one-1x1"), sample)
    dense = make_material(job_of("dense-head"), sample)
    assert dense["weights/dense1.weight"].ndim == 2
    assert not [name for name in one if ".conv3." in name]
    assert np.isfinite(dense["weights/dense1.weight"]).all()
