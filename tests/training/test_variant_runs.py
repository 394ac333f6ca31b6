"""A variant of the network is trained, written, read back and resumed as the chapter's is."""

import json

import numpy as np
import pytest

import common
from common.backends import parts
from common.errors import NinError
from common.files.arrays import load_arrays
from common.model import load_model
from common.network import architecture, description
from common.training.run import Watcher

NETWORK = "channels=8-12,kernels=5-3-3,strides=2-1-1,inner=1,head=dense"
OPTIONS = {"limit": 120, "batch_size": 40, "resize": 28, "threads": 1, "device": "cpu"}


class StopSoon(Watcher):
    """Asks for a stop after the first step."""

    def step(self, run):
        run.stop.signal = 15


@pytest.fixture(scope="module")
def finished(backend, backend_name, sample, tmp_path_factory):
    out = tmp_path_factory.mktemp("variant") / "run"
    return common.fit(
        backend_name, sample, "fast", network=NETWORK, epochs=2, out=out, watchers=(), **OPTIONS
    )


@pytest.mark.shared
def test_the_description_travels_in_every_file(finished):
    config = json.loads((finished.directory / "config.json").read_text())
    assert config["settings"]["network"] == NETWORK
    assert description.from_differences(config["network"]) == description.parse(NETWORK)
    assert json.loads((finished.directory / "result.json").read_text())["network"] == NETWORK
    model = load_model(finished.directory / "model.safetensors")
    assert model.network == description.parse(NETWORK)
    shapes = {name: array.shape for name, array in model.weights.items()}
    assert shapes == architecture.parameter_shapes(network=model.network, size=28)
    assert NETWORK in finished.title


def test_it_is_read_back_and_predicts_the_same(finished, backend_name, sample):
    path = finished.directory / "model.safetensors"
    images = sample.test_images[:8]
    found = common.load(path, backend_name, device="cpu", threads=1).predict(images)
    expected = finished.predict(images)
    np.testing.assert_allclose(found.logits, expected.logits, 0, 0.05)  # that may be bfloat16
    with pytest.raises(NinError, match=r"resize=40: the fully connected .* images of 28x28"):
        common.load(path, backend_name, resize=40)


@pytest.mark.shared
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    finished, backend_name, sample, tmp_path
):
    common.fit(
        backend_name,
        sample,
        "fast",
        network=NETWORK,
        epochs=2,
        out=tmp_path / "run",
        watchers=(StopSoon(),),
        **OPTIONS,
    )
    resumed = common.resume(tmp_path / "run", data=sample, watchers=(), network=NETWORK)
    assert resumed.complete
    one, other = (load_arrays(r.directory / "model.safetensors")[0] for r in (finished, resumed))
    assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.shared
def test_a_variant_that_was_built_by_hand_is_known_by_its_name(backend, backend_name, sample):
    net = parts.make_network(backend, description.NETWORKS["vgg-12-32"], dropout=0.25)
    run = common.fit(net, sample, "fast", epochs=1, watchers=(), **OPTIONS)
    assert run.settings.network == "vgg-12-32"
    assert run.classifier().model.layers == ()
    assert run.classifier().model.dropout == 0.25
    with pytest.raises(NinError, match="network: that is a network of your own"):
        common.fit(net, sample, "fast", network="gentle")


@pytest.mark.shared
def test_another_network_of_the_same_parameters_is_told_from_it(backend, backend_name, sample):
    """The variant without the last ReLU has the chapter's parameters."""
    net = common.build(backend_name, "no-last-relu", resize=67)
    options = {**OPTIONS, "resize": 67, "init": "he", "last_block": "random"}
    run = common.fit(net, sample, "fast", epochs=1, watchers=(), **options)
    assert run.settings.network == "no-last-relu"
    assert (run.predict(sample.test_images[:50]).logits < 0).any()
