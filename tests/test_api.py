"""What a person writes in Python: the same code, and the same answers, in every framework."""

import json
import os
import re
import signal
import subprocess
import sys

import by_hand
import matplotlib
import numpy as np
import pytest
from commands import ROOT, assert_one_clear_line, run, run_here
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

import common
from common import NinError
from common.backends.parts import make_network, recognise
from common.files.arrays import load_arrays
from common.network.description import parse
from common.system.signals import SIGNALS
from common.training import fit as training
from common.training.run import Watcher

SMALL = {"limit": 60, "batch_size": 20, "resize": 67, "epochs": 2, "device": "cpu", "threads": 1}


@pytest.fixture(scope="module")
def data():
    return common.load_data("sample")


@pytest.fixture(scope="module")
def fit(backend, data):
    """Trains as :func:`common.fit` does, on a few images, and shows nothing."""

    def fit(net, preset="fast", watchers=(), out=None, **changes):
        chosen = {"precision": "float32", **SMALL, **changes}
        return common.fit(net, data, preset, out=out, watchers=watchers, **chosen)

    return fit


@pytest.fixture(scope="module")
def make(backend, backend_name):
    return by_hand.maker(backend_name)


@pytest.fixture(scope="module")
def images(data):
    return data.test_images[:12]


@pytest.fixture
def in_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def features(make):
    return [make.block(1, 8, 11, 4, 0), make.pool()]


def plain(make, *more, channels=10):
    """A small network; ``more`` takes and gives 8 channels of 7x7."""
    head = [make.dropout(0.2), make.block(8, channels, 3, 1, 1), make.average(), make.flatten()]
    return make.sequence(*features(make), *more, *head)


def arrays_of(net, backend):
    return backend.get_weights(net)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def without_times(history):
    return [{n: v for n, v in row.items() if not n.endswith("seconds")} for row in history]


def message(caught):
    text = str(caught.value)
    assert "\n" not in text
    assert "--" not in text
    return text


# ------------------------------------------------------------------- a run


@pytest.fixture(scope="module")
def chapter(backend, fit):
    """The chapter's network, trained; what it was before."""
    net = backend.nin()
    before = arrays_of(net, backend)
    return fit(net), net, before


def test_the_very_network_is_trained(chapter, backend):
    run, net, before = chapter
    assert run.net is net
    after = arrays_of(net, backend)
    assert all((after[name] != before[name]).any() for name in before)


def test_a_run_has_what_a_notebook_shows(chapter, images):
    run, _, _ = chapter
    assert [row["epoch"] for row in run.history] == [1, 2]
    assert run.history[-1]["test_accuracy"] == run.test_accuracy
    assert run.complete
    assert isinstance(run.plot(), Figure)
    found = run.predict(images)
    assert found.logits.shape == found.probabilities.shape == (12, 10)
    np.testing.assert_allclose(found.probabilities.sum(1), 1)
    assert (found.labels == found.logits.argmax(1)).all()
    assert isinstance(found.plot(), Figure)
    assert run.predict(images[0]).logits.shape == (1, 10)


def test_a_saved_network_predicts_as_the_run_does_to_the_bit(
    chapter, images, backend_name, tmp_path
):
    run, _, _ = chapter
    run.save(tmp_path / "nin.safetensors")
    loaded = common.load(tmp_path / "nin.safetensors", backend_name, device="cpu", threads=1)
    np.testing.assert_array_equal(loaded.predict(images).logits, run.predict(images).logits)
    loaded.save(tmp_path / "again.safetensors")
    again = load_arrays(tmp_path / "again.safetensors")
    assert_same(again[0], load_arrays(tmp_path / "nin.safetensors")[0])
    assert json.loads(again[1]["training"])["test_accuracy"] == run.test_accuracy


def test_the_name_of_a_backend_trains_the_chapters_network_to_the_same_numbers(
    chapter, fit, backend, backend_name
):
    """The order of train.py, and that of a notebook, which makes the network first."""
    run, net, _ = chapter
    # the preset has none, the network that was made by hand has the book's
    other = fit(backend_name, dropout=0.5)
    assert_same(arrays_of(other.net, backend), arrays_of(net, backend))
    assert without_times(other.history) == without_times(run.history)


@pytest.mark.shared
def test_every_precision_trains_the_network_itself(fit, make, backend):
    for precision in backend.PRECISIONS:
        net = plain(make)
        run = fit(net, precision=precision, epochs=1)
        assert run.net is net
        assert run.settings.precision == precision
        kept = arrays_of(net, backend)
        run.trainer.train_batch(np.arange(4), 0.1, 9)
        assert any((arrays_of(net, backend)[name] != kept[name]).any() for name in kept)


@pytest.mark.shared
def test_nothing_is_written_unless_a_directory_is_given(fit, make, in_empty_directory):
    fit(plain(make), epochs=1)
    assert list(in_empty_directory.iterdir()) == []
    out = in_empty_directory / "run"
    run = fit(plain(make), epochs=1, out=out)
    assert run.directory == out
    names = {path.name for path in out.iterdir()}
    assert names > {"config.json", "model.safetensors", "metrics.jsonl", "curves.png"}
    assert fit(plain(make), epochs=1, out=True).directory.parent.name == "runs"


def test_watchers_see_the_run(fit, make):
    seen = []

    class Seen(Watcher):
        def begin(self, run):
            seen.append("begin")

        def epoch(self, run, row):
            seen.append(row["epoch"])

        def end(self, run, failed):
            seen.append(("end", failed))

    fit(plain(make), watchers=[Seen()])
    assert seen == ["begin", 1, 2, ("end", False)]


def test_plain_lines_are_printed_where_no_watchers_are_given(data, make, capsys):
    common.fit(plain(make), data, "fast", **SMALL)
    out = capsys.readouterr().out
    assert "\nNetwork built by hand with " in out
    assert "test acc" in out.splitlines()[-3]


@pytest.mark.parametrize("known", [True, False])
def test_the_note_on_small_images_is_given_of_the_chapters_network(
    data, make, backend, capsys, known
):
    common.fit(backend.nin() if known else plain(make), data, "fast", **{**SMALL, "epochs": 1})
    assert ("the last map is one pixel" in capsys.readouterr().out) == known


# ------------------------------------------------- networks that are built by hand


def fewer(make):
    """Block 2 has one 1x1 convolution only."""
    block = make.sequence(make.conv(8, 10, 3), make.relu(), make.conv(10, 10, 1), make.relu())
    return make.sequence(*features(make), block, make.average(), make.flatten())


NETWORKS = {
    "one 1x1 convolution fewer": fewer,
    "a fully connected head": lambda make: make.sequence(
        *features(make), make.flatten(), make.dense(12), make.relu(), make.dense(10)
    ),
    "a convolution outside any block": lambda make: make.sequence(
        make.conv(1, 4, 3), make.relu(), make.block(4, 8, 11, 4, 0), make.pool(),
        make.block(8, 10, 3, 1, 1), make.average(), make.flatten(),
    ),
    "a convolution at its end": lambda make: make.sequence(
        *features(make), make.conv(8, 10, 3), make.average(), make.flatten()
    ),
    "layers that find their channels themselves": lambda make: make.sequence(
        make.lazy_conv(8, 5), make.relu(), make.pool(), make.lazy_conv(10, 1), make.average(),
        make.flatten(),
    ),
    "one fully connected layer": lambda make: make.sequence(make.flatten(), make.dense(10)),
    "three blocks": lambda make: make.sequence(
        *features(make), make.block(8, 8, 3, 1, 1), make.block(8, 10, 3, 1, 1), make.average(),
        make.flatten(),
    ),
    "five blocks": lambda make: make.sequence(
        *features(make), *(make.block(8, 8, 1, 1, 0) for _ in range(3)),
        make.block(8, 10, 3, 1, 1), make.average(), make.flatten(),
    ),
}  # fmt: skip
WITH_LAST_BLOCK = {"one 1x1 convolution fewer", "three blocks", "five blocks"} | {
    "a convolution outside any block"
}


def test_a_network_is_trained_in_float64_again_and_can_be_called(fit, make):
    net = fewer(make)
    first, again = (fit(net, precision="float64", epochs=1) for _ in range(2))
    assert without_times(first.history) == without_times(again.history)
    common.shape_walk(net, resize=67)


class Start(Watcher):
    """Keeps the weights from before the first step."""

    def begin(self, run):
        self.weights = run.ready.backend.get_weights(run.net)


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.long if name in ("three blocks", "five blocks") else [])
    for name in NETWORKS
])  # fmt: skip
def test_every_parameter_of_a_network_built_by_hand_is_trained_saved_and_loaded(
    name, fit, make, backend, images, tmp_path
):
    start, net = Start(), NETWORKS[name](make)
    run = fit(net, watchers=[start], lr=0.01)
    after, listed = arrays_of(net, backend), make.listed(net)
    assert sorted(a.size for a in after.values()) == sorted(a.size for a in listed.values())
    assert [n for n in after if (after[n] == start.weights[n]).all()] == []

    if run.settings.last_block == "identity":
        assert name in WITH_LAST_BLOCK
        last = [n for n in after if n.split(".")[0] == list(after)[-1].split(".")[0]]
        for weight in [n for n in last if n.endswith("weight")][1:]:
            np.testing.assert_array_equal(start.weights[weight][:, :, 0, 0], np.eye(10))
    else:
        assert name not in WITH_LAST_BLOCK
        assert "the last block starts at random" in " ".join(run.notes)

    path = tmp_path / "net.safetensors"
    run.save(path)
    assert_same(load_arrays(path)[0], after)
    other = NETWORKS[name](make)
    loaded = common.load(path, other, device="cpu", threads=1)
    assert loaded.net is other
    np.testing.assert_array_equal(loaded.predict(images).logits, run.predict(images).logits)


@pytest.mark.parametrize("name", ["a fully connected head", "one 1x1 convolution fewer"])
@pytest.mark.parametrize("last_block", ["identity", "random"])
@pytest.mark.shared
def test_a_run_of_a_network_built_by_hand_goes_on_from_its_directory(
    name, last_block, fit, make, backend, data, tmp_path
):
    whole = fit(NETWORKS[name](make), last_block=last_block)
    stopped = fit(
        NETWORKS[name](make), last_block=last_block, out=tmp_path / "run", watchers=[Interrupt(1)]
    )
    assert not stopped.complete
    net = NETWORKS[name](make)
    resumed = common.resume(tmp_path / "run", net, data, watchers=())
    assert resumed.net is net
    assert resumed.complete
    assert_same(arrays_of(net, backend), arrays_of(whole.net, backend))
    assert without_times(resumed.history) == without_times(whole.history)
    with pytest.raises(NinError, match="complete"):
        common.resume(tmp_path / "run", NETWORKS[name](make), data, watchers=())


def list_layers(net):
    return list(getattr(net, "layers", net))


@pytest.mark.long
def test_a_network_without_its_dropout_is_the_same_with_a_rate_of_0(
    fit, make, backend, backend_name, data, images, tmp_path
):
    def without():
        layers = list_layers(backend.nin())
        return make.sequence(*(layer for layer in layers if "Dropout" not in str(layer)))

    start, right = Start(), Start()
    run = fit(without(), watchers=[start], init="data")
    usual = fit(backend.nin(dropout=0.0), watchers=[right], init="data")
    assert (run.settings, run.notes) == (usual.settings, usual.notes)
    assert_same(start.weights, right.weights)
    assert_same(arrays_of(run.net, backend), arrays_of(usual.net, backend))
    run.save(tmp_path / "net.safetensors")
    for net in (backend_name, without()):
        loaded = common.load(tmp_path / "net.safetensors", net, device="cpu", threads=1)
        assert not loaded.file.notes
        np.testing.assert_array_equal(loaded.predict(images).logits, run.predict(images).logits)
    for name, net in (("given", without()), ("built", None)):
        fit(without(), init="data", out=tmp_path / name, watchers=[Interrupt(1)])
        resumed = common.resume(tmp_path / name, net, data, watchers=())
        assert_same(arrays_of(resumed.net, backend), arrays_of(run.net, backend))


def test_the_same_code_makes_networks_of_the_same_description(make, backend):
    one, other = (
        make.sequence(*make.leaky(), make.average(), make.flatten(), make.dense(10))
        for _ in range(2)
    )
    assert backend.describe(one) == backend.describe(other)


@pytest.mark.shared
def test_only_a_dropout_of_0_may_be_missing(make, backend):
    network = parse("channels=8-12,kernels=5-3-3,strides=2-1-1,dropout=every")

    def known(*rates):
        rates, layers = iter(rates), []
        for layer in list_layers(make_network(backend, network, size=28)):
            rate = next(rates) if "Dropout" in str(layer) else None
            layers += [layer] if rate is None else [make.dropout(rate)] if rate != "none" else []
        net = make.sequence(*layers)
        rate = backend.dropout_rate(net)
        return recognise(backend, net, network, 10, 1, rate, 28)

    for same in ((0.0, 0.0), ("none", "none"), (0.0, "none"), (0.5, 0.5)):
        assert known(*same) == network
    for other in ((0.0, 0.5), ("none", 0.5), (0.5, "none"), (0.5, 0.0)):
        assert known(*other) is None


@pytest.mark.shared
def test_layers_that_draw_draw_the_same_again_and_after_a_stop(fit, make, backend):
    def net():
        return make.sequence(make.sequence(*make.drawing()), fewer(make))

    whole, again, stopped = fit(net()), fit(net()), fit(net(), watchers=[Interrupt(1)])
    assert not stopped.complete
    stopped.watchers.clear()
    stopped.resume()
    for other in (again, stopped):
        assert_same(arrays_of(other.net, backend), arrays_of(whole.net, backend))


def test_a_network_of_half_precision_is_trained(fit, make, backend):
    if make.halved is None:
        pytest.skip("such a network is made of other layers here")
    net = make.halved(fewer(make))
    run = fit(net)
    assert run.complete
    assert {array.dtype for array in arrays_of(run.net, backend).values()} == {np.dtype("float32")}


@pytest.mark.parametrize("name", ["nin.pt", "nin.onnx", "nin"])
@pytest.mark.shared
def test_weights_are_saved_under_no_other_programs_name(fit, make, tmp_path, name):
    with pytest.raises(NinError, match=r"must end in .safetensors, which is what is written"):
        fit(fewer(make)).save(tmp_path / name)
    assert not [*tmp_path.iterdir()]


@pytest.mark.shared
def test_a_run_on_arrays_asks_for_them_where_it_goes_on(backend_name, data, tmp_path):
    arrays = common.Dataset(
        data.train_images[:40], data.train_labels[:40],
        data.test_images[:40], data.test_labels[:40],
    )  # fmt: skip
    options = {"out": tmp_path / "run", "epochs": 2, "batch_size": 20, "resize": 67}
    stopped = common.fit(backend_name, arrays, "fast", watchers=[Interrupt(1)], **options)
    with pytest.raises(NinError, match=r"run: trained on arrays, which are no files; give `?data"):
        common.resume(tmp_path / "run", watchers=())
    assert not stopped.complete
    assert common.resume(tmp_path / "run", data=arrays, watchers=()).complete


def test_a_run_of_a_network_built_by_hand_goes_on_with_that_network_only(fit, make, data, tmp_path):
    fit(fewer(make), out=tmp_path / "run", watchers=[Interrupt(1)])
    for net in (None, NETWORKS["a fully connected head"](make)):
        with pytest.raises(NinError) as caught:
            common.resume(tmp_path / "run", net, data, watchers=())
        assert "network" in message(caught)


@pytest.fixture(scope="module")
def file_by_hand(fit, make, tmp_path_factory):
    path = tmp_path_factory.mktemp("by_hand") / "net.safetensors"
    fit(NETWORKS["a fully connected head"](make), epochs=1).save(path)
    return path


@pytest.mark.shared
@pytest.mark.parametrize("epochs", [0.3, 1.3])
def test_a_part_of_an_epoch_ends_where_it_was_asked_to_in_numbers_and_curves(
    fit, backend_name, epochs
):
    run = fit(backend_name, epochs=epochs)
    assert run.steps_done / run.steps_per_epoch != epochs
    assert run.history[-1]["epoch"] == run.points()[-1][0] == epochs
    assert [line.get_xdata()[-1] for line in run.plot().axes[0].lines] == [epochs] * 3


@pytest.mark.shared
def test_pictures_of_a_network_built_by_hand_say_that_it_is_one(fit, make, images):
    run = fit(NETWORKS["a fully connected head"](make), epochs=1)
    for lang, words in (("en", "Network built by hand, "), ("tr", "Elle kurulmuş ağ, ")):
        assert run.plot(lang=lang).axes[0].get_title().startswith(words)
        assert run.predict(images).plot(lang)._suptitle.get_text().startswith(words)


def test_the_file_of_a_network_built_by_hand_is_refused_as_the_chapters(
    file_by_hand, make, backend_name
):
    with pytest.raises(NinError) as caught:
        common.load(file_by_hand, backend_name, device="cpu")
    assert "common.load(path, net)" in message(caught)
    with pytest.raises(NinError) as caught:
        common.load(file_by_hand, fewer(make), device="cpu")
    message(caught)


def test_commands_refuse_the_file_of_a_network_built_by_hand(file_by_hand, backend_name, tmp_path):
    done = run_here("predict.py", "--weights", file_by_hand, "--backend", backend_name)
    assert_one_clear_line(done, f"{file_by_hand}: of a network built by hand")
    to, ending = {"torch": ("torch", "pt"), "tf": ("keras", "keras"), "mxnet": ("mxnet", "params")}[
        backend_name
    ]
    done = run_here("convert.py", file_by_hand, "--to", to, tmp_path / f"net.{ending}")
    assert_one_clear_line(done, f"{file_by_hand}: of a network built by hand")
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------- what is refused before the first step


def assert_refused_and_left_alone(fit, make, net, words, **changes):
    before = make.listed(net)
    with pytest.raises(NinError) as caught:
        fit(net, **changes)
    assert words in message(caught)
    after = make.listed(net)
    assert_same({name: after[name] for name in before}, before)


def test_a_layer_that_would_not_be_trained_whole_is_refused_by_name(fit, make):
    for name, layer in make.refused.items():
        net = plain(make, layer())
        assert_refused_and_left_alone(fit, make, net, name)


def test_a_layer_that_is_used_twice_is_refused_by_name(fit, make):
    conv = make.conv(8, 8, 1)
    net = plain(make, make.sequence(conv, make.relu()), make.sequence(conv))
    assert_refused_and_left_alone(fit, make, net, "twice")


def test_a_network_that_is_no_sequence_of_layers_is_refused(fit, make):
    assert_refused_and_left_alone(fit, make, make.no_sequence(), "Sequential of layers")


def test_a_network_in_a_class_is_trained_if_the_class_only_passes_on(fit, make, backend):
    if make.wrapped is None:
        pytest.skip("such a network is no sequence of layers here")
    net, start = make.wrapped(fewer(make), 1), Start()
    assert fit(net, watchers=[start], epochs=1).net is net
    after = arrays_of(net, backend)
    assert all((after[name] != start.weights[name]).any() for name in after)
    assert_refused_and_left_alone(fit, make, make.wrapped(fewer(make), 2), "one after the other")


def test_a_network_that_is_frozen_as_a_whole_is_refused(fit, make):
    net = make.frozen(*features(make), make.block(8, 10, 3, 1, 1), make.average(), make.flatten())
    assert_refused_and_left_alone(fit, make, net, "layer block1.conv1 has")


def test_a_network_without_parameters_is_refused(data, make):
    # its 3 x 3 numbers are those of nine classes
    net, chosen = make.sequence(*(make.pool() for _ in range(4)), make.flatten()), {**SMALL}
    arrays = data.train_images[:60], data.train_labels[:60] % 9
    with pytest.raises(NinError) as caught:
        common.fit(net, common.Dataset(*arrays, *arrays), watchers=(), **chosen)
    assert "no parameters" in message(caught)


def test_a_network_of_other_outputs_than_classes_is_refused(fit, make):
    net = plain(make, channels=11)
    assert_refused_and_left_alone(fit, make, net, "11 numbers for an image")
    net = make.sequence(*features(make), make.block(8, 10, 3, 1, 1))
    assert_refused_and_left_alone(fit, make, net, "10 x 7 x 7 numbers for an image")


def test_a_network_that_does_not_take_the_image_is_refused(fit, make):
    net = make.sequence(*(make.pool() for _ in range(7)), make.conv(1, 10, 1), make.flatten())
    assert_refused_and_left_alone(fit, make, net, "layer pool6, ")
    with pytest.raises(NinError) as caught:
        fit(net)
    assert "Traceback" not in message(caught)


def test_what_is_no_network_is_refused(fit):
    with pytest.raises(NinError) as caught:
        fit(print)
    assert "net=builtin_function_or_method" in message(caught)


def test_a_network_of_its_own_size_takes_smaller_images_than_the_chapters(
    fit, make, images, tmp_path
):
    run = fit(NETWORKS["one fully connected layer"](make), resize=28, epochs=1)
    assert run.complete
    run.save(tmp_path / "net.safetensors")
    net = NETWORKS["one fully connected layer"](make)
    loaded = common.load(tmp_path / "net.safetensors", net, device="cpu", threads=1)
    np.testing.assert_array_equal(loaded.predict(images).logits, run.predict(images).logits)


@pytest.mark.shared
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(parts=st.lists(st.sampled_from(["conv", "lazy", "block", "relu", "dropout"]), max_size=3),
       head=st.sampled_from(["block", "dense", "conv"]))  # fmt: skip
def test_any_sequence_of_layers_is_trained_whole(parts, head, fit, make, backend):
    layers = {
        "conv": lambda: make.conv(8, 8, 3),
        "lazy": lambda: make.lazy_conv(8, 1),
        "block": lambda: make.block(8, 8, 3, 1, 1),
        "relu": make.relu,
        "dropout": lambda: make.dropout(0.1),
    }
    heads = {
        "block": lambda: [make.block(8, 10, 3, 1, 1), make.average(), make.flatten()],
        "conv": lambda: [make.conv(8, 10, 1), make.average(), make.flatten()],
        "dense": lambda: [make.flatten(), make.dense(10)],
    }
    net = make.sequence(*features(make), *(layers[part]() for part in parts), *heads[head]())
    start = Start()
    fit(net, watchers=[start], epochs=1, lr=0.01)
    after, listed = arrays_of(net, backend), make.listed(net)
    assert sorted(a.size for a in after.values()) == sorted(a.size for a in listed.values())
    # a block whose every output is 0 has no slope
    changed = [n for n in after if (after[n] != start.weights[n]).any()]
    assert changed == list(after)


# ------------------------------------------------------------------- the shape walk


@pytest.mark.parametrize("name", NETWORKS)
def test_the_shape_walk_takes_a_network_that_was_built_by_hand(name, make, capsys):
    common.shape_walk(NETWORKS[name](make), resize=67)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith(("(1, 10)", "[1, 10])"))


def test_the_shape_walk_takes_layers_that_cannot_be_trained(make, capsys):
    name = next(name for name in make.refused if name.startswith("BatchNorm"))
    common.shape_walk(plain(make, make.refused[name]()), resize=67)
    assert "10" in capsys.readouterr().out.splitlines()[-1]


def test_the_shape_walk_of_an_image_too_small_is_refused(backend, make):
    for net in (backend.nin(), make.sequence(*(make.pool() for _ in range(5)))):
        with pytest.raises(NinError) as caught:
            common.shape_walk(net, resize=20)
        assert "resize=20" in message(caught)


def test_images_too_small_are_said_to_be_so_in_the_same_words_everywhere(fit, make, backend):
    """Of a network that has a name the size is known that works; of another the layer."""
    walk, words = common.shape_walk, "too small for this network; the smallest that works is 67"
    for train in (walk, fit, common.cost):
        with pytest.raises(NinError, match=f"^resize=28: {words}$"):
            train(backend.nin(), resize=28)
    # a convolution in its place fails in other words of the framework's own
    for layer, name in ((make.pool(), "pool1"), (make.block(8, 8, 11, 4, 0), r"block2(\.conv1)?")):
        net = make.sequence(make.block(1, 8, 11, 4, 0), layer, make.average(), make.flatten())
        for train in (walk, fit):
            with pytest.raises(NinError) as caught:
                train(net, resize=16)
            words = f"resize=16: the images are too small for layer {name}, which gets 8 x 2 x 2"
            assert re.fullmatch(words, message(caught))


def test_a_file_of_another_network_is_said_to_be_so_whatever_size_its_images_had(
    fit, make, backend, tmp_path
):
    small = make.sequence(make.block(1, 10, 3, 1, 1), make.average(), make.flatten())
    fit(small, resize=14, epochs=1).save(tmp_path / "own.safetensors")
    lazy = make.sequence(*features(make), make.lazy_conv(8, 3), make.pool(), make.flatten())
    for net in (backend.nin(), plain(make), lazy):
        with pytest.raises(
            NinError, match=r"own\.safetensors: of another network than the one giv"
        ):
            common.load(tmp_path / "own.safetensors", net)


# ------------------------------------------------------------------- messages

BAD = {
    "too small an image": ({"resize": 20}, "resize=20: "),
    "no whole number": ({"batch_size": 2.5}, "batch_size=2.5: must be a whole number"),
    "a number in quotes": ({"epochs": "2"}, "epochs='2': must be a number"),
    "a misspelt setting": ({"batchsize": 2}, "batchsize: no such setting; did you mean batch_size"),
    "a misspelt preset": ({"preset": "fastest"}, "preset=fastest: "),
    "more than there is": ({"limit": 10**6}, "limit=1000000: only 10000"),
    "a batch too large": ({"batch_size": 61}, "batch_size=61: larger than the data"),
    "a new network kept as it is": ({"init": "keep"}, "init=keep: "),
    "a device that is none": ({"device": "tpu"}, "device=tpu: must be auto, cpu, gpu"),
    "two backends": ({"backend": "another"}, "backend=another: the network is "),
}


@pytest.mark.parametrize(("changes", "words"), BAD.values(), ids=BAD.keys())
def test_errors_name_the_argument(fit, backend_name, changes, words, in_empty_directory):
    with pytest.raises(NinError) as caught:
        fit(backend_name, **changes, out=in_empty_directory / "run")
    assert message(caught).startswith(words)
    assert list(in_empty_directory.iterdir()) == []


def test_a_dropout_beside_a_network_is_refused(fit, make):
    with pytest.raises(NinError) as caught:
        fit(plain(make), dropout=0.3)
    assert message(caught).startswith("dropout: ")


def test_a_softmax_at_the_end_is_refused(fit, make):
    with pytest.raises(NinError) as caught:
        fit(make.sequence(plain(make), make.softmax()))
    assert "logits: leave out the softmax" in message(caught)


@pytest.mark.shared
def test_a_networks_dropout_that_is_not_the_presets_is_noted(fit, backend):
    run = fit(backend.nin(), epochs=1, resize=67)
    assert "keeps its dropout of 0.5; the preset's is 0" in " ".join(run.notes)
    run = fit(backend.nin(dropout=0.0), epochs=1, resize=67)
    assert "dropout" not in " ".join(run.notes)


def test_weights_are_kept_if_that_is_asked_for(fit, make, backend):
    net = plain(make)
    fit(net, epochs=1)
    before, start = arrays_of(net, backend), Start()
    fit(net, epochs=1, init="keep", watchers=[start])
    assert_same(start.weights, before)


def test_a_directory_that_holds_something_is_refused(fit, make, tmp_path):
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(NinError) as caught:
        fit(plain(make), out=tmp_path)
    assert message(caught).startswith(f"out={tmp_path}: exists")


def test_a_resumed_run_names_what_is_not_its_own(fit, make, data, tmp_path):
    fit(fewer(make), out=tmp_path / "run", watchers=[Interrupt(1)])
    for given_now, words in (({"lr": 1.0}, "lr="), ({"learning_rat": 1}, "no such setting")):
        with pytest.raises(NinError) as caught:
            common.resume(tmp_path / "run", fewer(make), data, watchers=(), **given_now)
        assert words in message(caught)


# ------------------------------------------------------------------ interruption


class Interrupt(Watcher):
    """Ctrl-C at the n-th event of a run: 0 is before its first step, then each step or epoch."""

    def __init__(self, at):
        self.at = at
        self.events = 0

    def begin(self, run):
        self._happened()

    def step(self, run):
        self._happened()

    def epoch(self, run, row):
        self._happened()

    def _happened(self):
        if self.events == self.at:
            os.kill(os.getpid(), signal.SIGINT)
        self.events += 1


@pytest.fixture(autouse=True)
def a_look_at_each_step(monkeypatch):
    monkeypatch.setattr("common.training.run.METRICS_SECONDS", 0)


# 3 steps and an evaluation in each of 2 epochs
@pytest.mark.parametrize(("at", "steps"), [(0, 0), (1, 1), (3, 3), (4, 3), (7, 6)])
@pytest.mark.parametrize("out", [None, "run"])
@pytest.mark.shared
def test_an_interrupted_run_ends_as_an_undisturbed_one(
    at, steps, out, fit, make, backend, data, images, tmp_path
):
    whole = fit(plain(make))
    run = fit(plain(make), watchers=[Interrupt(at)], out=out and tmp_path / out)
    assert not run.complete
    assert run.progress.epoch * 3 + run.progress.step == steps
    if at:
        assert run.result()["examples_per_second"] > 0
        run.predict(images)
    run.watchers = [w for w in run.watchers if not isinstance(w, Interrupt)]
    if out and at:
        run = common.resume(tmp_path / out, plain(make), data, watchers=())
    else:
        assert list(tmp_path.iterdir()) == []
        assert run.resume() is run
    assert run.complete
    assert_same(arrays_of(run.net, backend), arrays_of(whole.net, backend))
    assert without_times(run.history) == without_times(whole.history)
    if out:
        assert_same(load_arrays(tmp_path / out / "model.safetensors")[0],
                    arrays_of(whole.net, backend))  # fmt: skip


def test_an_interrupt_while_the_network_is_made_leaves_nothing(fit, make, tmp_path, monkeypatch):
    made = training.make

    def interrupted(*arguments):
        made(*arguments)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(training, "make", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(plain(make), out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_in_its_first_step_leaves_no_directory(fit, make, tmp_path):
    class Fails(Watcher):
        def begin(self, run):
            raise MemoryError

    with pytest.raises(NinError, match="out of memory"):
        fit(plain(make), out=tmp_path / "run", watchers=[Fails()])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.shared
def test_the_rate_is_examples_by_the_time_that_all_steps_took(fit, make):
    class Times(Watcher):
        def step(self, run):
            if run.stop.signal is None:
                os.kill(os.getpid(), signal.SIGINT)

    run = fit(plain(make), epochs=1)
    result = run.result()
    assert result["examples_per_second"] == pytest.approx(60 / result["train_seconds"])
    run = fit(plain(make), epochs=1, watchers=[Times()])
    seconds = [run.progress.train_seconds]
    while not run.complete:
        run.resume()
        seconds.append(run.progress.train_seconds)
    # the last time, only the evaluation was left
    assert seconds[0] < seconds[1] < seconds[2] == seconds[3]
    result = run.result()
    assert result["examples_per_second"] == pytest.approx(60 / seconds[-1])


def test_an_empty_directory_stays_when_a_run_is_stopped_before_its_first_step(fit, make, tmp_path):
    fit(plain(make), watchers=[Interrupt(0)], out=tmp_path)
    assert tmp_path.is_dir()
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ the process


def state_of_the_process(make):
    return {
        # but for what tensorboardX sets when it is imported
        "environment": {n: v for n, v in os.environ.items() if n != "CRC32C_SW_MODE"},
        "matplotlib": dict(matplotlib.rcParams),
        "signals": [signal.getsignal(number) for number in SIGNALS],
        "numpy": (np.geterr(), np.get_printoptions(), np.random.get_state()[1].tolist()),
        "defaults": make.defaults(),
    }


@pytest.mark.shared
def test_a_run_leaves_the_process_as_it_was(fit, make, backend, monkeypatch, tmp_path):
    monkeypatch.delenv("OMP_NUM_THREADS")
    before = state_of_the_process(make)
    for precision in backend.PRECISIONS:
        fit(plain(make), precision=precision, out=tmp_path / precision, epochs=1).plot()
        assert state_of_the_process(make) == before


@pytest.mark.shared
def test_the_threads_of_one_run_are_not_those_of_the_next(fit, make, backend_name, monkeypatch):
    def threads(**given_now):
        return fit(plain(make), epochs=1, **given_now).ready.prepared["threads"]

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads(threads=1) == threads(threads=0) == 1
    if backend_name == "torch":
        assert [threads(threads=2), threads(threads=0)] == [2, 1]
    else:  # they have their threads from the start
        with pytest.raises(NinError) as caught:
            threads(threads=2)
        assert message(caught).startswith("threads=2: ")
        assert threads(threads=0) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    # what nobody asked for as an argument is not refused where it cannot change
    assert threads(threads=0) == (2 if backend_name == "torch" else 1)


def test_what_an_earlier_stop_left_is_gone_while_a_run_goes_on(fit, make, data, tmp_path):
    seen = []

    class Look(Watcher):
        def begin(self, run):
            seen.append((tmp_path / "result.json").exists())

    fit(plain(make), out=tmp_path, watchers=[Interrupt(1)])
    assert (tmp_path / "result.json").exists()
    common.resume(tmp_path, plain(make), data, watchers=[Look()])
    assert seen == [False]
    assert (tmp_path / "result.json").exists()


# what may share a process with each
OTHERS = {"torch": "tf", "tf": "torch", "mxnet": "torch"}


@pytest.mark.shared
def test_a_network_goes_to_another_framework_and_back(
    chapter, images, backend, backend_name, tmp_path
):
    run, _, _ = chapter
    run.save(tmp_path / "nin.safetensors")
    try:
        other = common.load(
            tmp_path / "nin.safetensors", OTHERS[backend_name], device="cpu", threads=1
        )
    except NinError as error:
        assert not os.environ.get("CI"), error
        pytest.skip(str(error))
    expected = run.predict(images).logits
    np.testing.assert_allclose(
        other.predict(images).logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max()
    )
    other.save(tmp_path / "back.safetensors")
    back = common.load(tmp_path / "back.safetensors", backend_name, device="cpu", threads=1)
    assert_same(arrays_of(back.net, backend), arrays_of(run.net, backend))


IN_A_NOTEBOOK = """
import sys
from nin_{name} import nin
net = nin(dropout=0.0)
import common
run = common.fit(net, "sample", "fast", limit=60, batch_size=20, resize=67, epochs=1, device="cpu",
                 precision="float32", watchers=())
run.save(sys.argv[1])
"""


@pytest.mark.long
def test_a_notebook_and_train_py_get_the_same_numbers(backend, backend_name, tmp_path):
    """Each in a process of its own: the notebook makes the network before it asks for a run."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    arguments = "--preset fast --data sample --limit 60 --batch-size 20 --resize 67 --epochs 1"
    done = run("train.py", "--backend", backend_name, *arguments.split(), "--device", "cpu",
               "--precision", "float32", "--out", tmp_path / "run", env=environment)  # fmt: skip
    assert done.returncode == 0, done.stderr
    code = IN_A_NOTEBOOK.format(name=backend_name)
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "notebook.safetensors")],
        env=environment, cwd=ROOT, check=True,
    )  # fmt: skip
    assert_same(load_arrays(tmp_path / "notebook.safetensors")[0],
                load_arrays(tmp_path / "run" / "model.safetensors")[0])  # fmt: skip


# ------------------------------------------------------------------ what predict() is given

MISFITS = {
    "images of another size": ({"images": np.zeros((2, 20, 28), np.uint8)}, "images: must be"),
    "a photo": ({"images": "nope.png"}, "images: an array is needed; those in files"),
    "photos": ({"images": ["a.png", "b.png"]}, "images: an array is needed; those in files"),
    "shares": ({"images": np.zeros((2, 28, 28))}, "images: must be uint8 (0 to 255, not divided)"),
    "one label": ({"labels": 3}, "labels: must be 2 whole numbers"),
    "a table of labels": ({"labels": [[1, 2], [1, 2]]}, "labels: must be 2 whole numbers"),
    "labels with fractions": ({"labels": [1.5, 2.0]}, "labels: must be 2 whole numbers"),
    "a label below 0": ({"labels": [-1, 2]}, "labels: must be from 0 to 9"),
    "a label of no class": ({"labels": [1, 10]}, "labels: must be from 0 to 9"),
    "too few names": ({"names": ["a"]}, "names: 1 for 2 images"),
}


@pytest.mark.parametrize(("changes", "words"), MISFITS.values(), ids=MISFITS.keys())
def test_what_does_not_fit_the_images_is_refused(chapter, images, changes, words):
    with pytest.raises(NinError) as caught:
        chapter[0].classifier().predict(**{"images": images[:2], **changes})
    assert message(caught).startswith(words)
