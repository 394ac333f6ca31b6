"""What a person reads of a comparison: the terminal, one layer alone, and the page."""

import dataclasses
import html.parser
import itertools
import json
import re
import shlex
import types

import numpy as np
import numpy_nin
import pytest
from commands import ROOT, assert_one_clear_line, run, run_here
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import softmax

from common.comparison import levels, report, worker
from common.comparison.job import Job, below
from common.comparison.layer import levels_for, look
from common.comparison.material import make_material
from common.network import architecture

JOB = Job(resize=67, batch_size=2, steps=8)


@pytest.fixture(scope="module")
def material(sample):
    return make_material(JOB, sample)


def changed(**names):
    """The NumPy backend with other names in it."""
    return types.SimpleNamespace(**{**vars(numpy_nin), **names})


class Logits:
    """Gives these alone."""

    def __init__(self, net, settings):
        self.logits = numpy_nin.Predictor(net, settings).logits


INTACT = []  # what the NumPy backend records, once for all comparisons with it


def record(name, backend, job, material):
    if backend is not numpy_nin:
        return worker.record(name, backend, job, material)
    if not INTACT:
        INTACT.extend(worker.record("intact", numpy_nin, JOB, material))
    return [dataclasses.replace(r, name=name) for r in INTACT if r.dtype in job.precisions]


def compare(material, backends, job=JOB, lost=None, layer=None):
    recordings = [
        each for name, backend in backends.items() for each in record(name, backend, job, material)
    ]
    found = levels.compare(recordings, job, below("weights", material), lost)
    found.backends = {
        name: {"versions": {"numpy": "1"}, "device": "cpu", "python": "3", "seconds": 1}
        for name in found.backends
    }
    found.asked = {"backends": [f"./{name}.py" for name in backends], "python": []}
    found.layer = look(found, recordings, job, material, layer)
    return found


@pytest.fixture(scope="module")
def agreement(material):
    return compare(material, {"one": numpy_nin, "two": numpy_nin}, lost={"<three>": "crashed"})


def upside_down(name):
    """A ``set_weights`` that turns a convolution's kernel."""

    def set_weights(net, weights):
        turned = dict(weights)
        turned[f"{name}.weight"] = weights[f"{name}.weight"][:, :, ::-1, ::-1]
        numpy_nin.set_weights(net, turned)

    return set_weights


@pytest.fixture(scope="module")
def deviation(material):
    wrong = changed(set_weights=upside_down("block2.conv1"))
    del wrong.get_weights
    return compare(material, {"one": numpy_nin, "<two>": wrong})


def printed(capsys, function, *arguments):
    function(*arguments)
    return capsys.readouterr().out


# ------------------------------------------------------------------- the terminal


def test_an_agreement_is_the_first_line_and_a_screenful(agreement, capsys):
    lines = printed(capsys, report.show, agreement).splitlines()
    assert lines[0].startswith("one, two agree in shapes, parameters, activations, gradients")
    assert lines[1] == "<three> is not in it: crashed"
    assert len(lines) <= 32
    assert max(map(len, lines)) <= 120


def test_shapes_that_were_compared_are_no_gap_in_either_precision(agreement):
    assert not [gap for gap in report.gaps(agreement) if "every window of" in gap]


def test_a_deviation_is_named_first_then_its_mistake_and_only_the_rows_around_it(deviation, capsys):
    text = printed(capsys, report.show, deviation)
    lines = text.splitlines()
    assert lines[0].startswith("first deviation: activations, block2.conv1 (float64; one - <two>:")
    assert lines[1].startswith("  one: as on paper")
    assert lines[2].startswith("  <two>: not as on paper")
    assert "the kernel is turned by 180 degrees" in " ".join(lines[2:4])
    assert "pool1" in text
    # which parameter float32 rounds most, in the table above, depends on the processor
    assert "block1.conv1 " not in text
    assert len(lines) <= 65
    assert len(printed(capsys, report.show, deviation, True).splitlines()) > 150


def test_what_was_not_compared_stands_next_to_the_verdict(deviation, capsys):
    lines = printed(capsys, report.show, deviation).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("not covered: parameters:"))
    assert at < 10
    assert "<two> not compared" in lines[at]


def test_a_backend_that_gives_logits_only_agrees_in_logits_only(material):
    part = changed(Predictor=Logits)
    job = dataclasses.replace(JOB, levels=("activations",))
    found = compare(material, {"one": numpy_nin, "part": part}, job)
    assert found.verdict == "one, part agree in activations (logits only)"
    assert any(
        "part gives no layer before logits: with them in its Predictor's activations()" in gap
        for gap in report.gaps(found)
    )


def test_the_learning_rate_and_the_size_of_the_last_map_are_in_plain_sight(
    agreement, pages, capsys
):
    text = " ".join(printed(capsys, report.show, agreement).split())
    assert "last map 1 x 1" in text
    assert "the last map is 1 x 1, so that global pooling" in text
    assert "plain SGD at learning rate 3e-06, which is 3e-06 times 1" in text
    page = " ".join(pages["agreement"].split())
    assert "plain SGD at learning rate 3e-06, which is 3e-06 times 1" in page


# --------------------------------------------------------------- one layer alone


@pytest.mark.long
def test_the_command_in_the_report_shows_the_layer_that_deviates(tmp_path):
    (tmp_path / "numpy_nin.py").write_text((ROOT / "tests" / "numpy_nin.py").read_text())
    (tmp_path / "right.py").write_text("from numpy_nin import *\n")
    (tmp_path / "wrong.py").write_text(
        "import numpy_nin\nfrom numpy_nin import *\n"
        "class MaxPool(MaxPool):\n    def forward(self, X, training=False):\n"
        "        return super().forward(X) * 1.5\n"
        "numpy_nin.MaxPool = MaxPool\n"
    )
    small = ["--resize", 67, "--batch-size", 2, "--threads", 1, "--dtype", "float64"]
    pair = ["--backends", "./right.py,./wrong.py", "--levels", "activations"]
    done = run("compare.py", *pair, *small, "--json", "found.json", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    mistake = (
        "wrong: not as on paper (3.3e-01 of the largest value apart): every value is 1.5 times"
    )
    assert mistake in " ".join(done.stdout.split())
    given = re.search(r"That layer alone: scripts/compare.py (.*)", done.stdout)[1]
    alone = run("compare.py", *shlex.split(given), cwd=tmp_path)
    assert alone.returncode == 1, alone.stderr
    assert alone.stdout.startswith("activations: pool1, float64\n")
    assert mistake in " ".join(alone.stdout.split())
    found = json.loads((tmp_path / "found.json").read_text())["layer"]
    place = found["worst"][0]
    assert place["values"]["wrong"] == 1.5 * place["values"]["on paper"]
    assert place["where"] in alone.stdout


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("block2.conv1", "activations"),
        ("block2.conv1.weight", "gradients"),
        ("parameters/block2.conv1.weight", "parameters"),
        ("loss", "gradients"),
        ("training/losses", "training"),
        ("training/block1.conv1.bias", "training"),
    ],
)
def test_any_layer_parameter_or_loss_can_be_looked_at(material, name, level):
    job = dataclasses.replace(JOB, dtype="float64", levels=levels_for(name))
    found = compare(material, {"one": numpy_nin, "two": numpy_nin}, job, layer=name)
    assert (found.layer.level, found.layer.name) == (level, name.rpartition("/")[2])
    assert not found.layer.mistakes
    assert not found.layer.worst
    assert found.layer.differences["one - two"].endswith("rounding")


class Convolutions(numpy_nin.Predictor):
    """Gives these alone, as many networks of one's own do."""

    def activations(self, images):
        outputs = super().activations(images)
        return {name: output for name, output in outputs.items() if ".conv" in name}


class Dimmed(Convolutions):
    def pixels(self, images):
        return super().pixels(images) * (255 / 256)


class Normalized(Convolutions):
    def pixels(self, images):
        return super().pixels(images) * 2 - 1


class Mirrored(Convolutions):
    def pixels(self, images):
        return super().pixels(images)[..., ::-1]


def with_layer(name, forward):
    def nin(*arguments, **named):
        layer = types.SimpleNamespace(forward=lambda X, training=False: forward(X))
        return numpy_nin.nin(*arguments, **named) | {name: layer}

    return {"nin": nin}


def windows(X):
    return sliding_window_view(X, (3, 3), (2, 3))[:, :, ::2, ::2]


def rounded_up(X):
    return windows(np.pad(X, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=-np.inf)).max((4, 5))


def padded_and_pooled(X):
    return windows(np.pad(X, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)).max((4, 5))


NOT_GIVEN = {
    "pixels": ({"Predictor": Dimmed}, "block1.conv1", "in input, not given: pixels div"),
    "rounding up": (with_layer("pool1", rounded_up), "block2.conv1",
                    "in pool1, not given: a window that does not fit is kept"),
    "dropout": (with_layer("dropout", lambda X: 2 * X), "block4.conv1",
                "in dropout, not given: dropout's scale is applied in evaluation"),
    "one padding": (with_layer("pool1", padded_and_pooled), "block2.conv1",
                    "in pool1, not given: padding 1 instead of 0"),
    "all pixels": ({"Predictor": Normalized}, "block1.conv1",
                   "in input, not given: every value is 2 times what it should be and -1 more"),
    "mirrored": ({"Predictor": Mirrored}, "block1.conv1", "in input, not given: mirrored, left"),
    "a factor": (with_layer("pool3", lambda X: 0.7 * windows(X).max((4, 5))), "block4.conv1",
                 "in pool3 or dropout, not given: every value is 0.7 times what it should be"),
    "global maximum": (with_layer("global_pool", lambda X: X.max((2, 3), keepdims=True)), "logits",
                       "in global_pool, not given: the maximum, not the average"),
    "its own": ({"set_weights": upside_down("block2.conv1")}, "block2.conv1",
                "the kernel is turned by 180 degrees"),
}  # fmt: skip


@pytest.mark.parametrize(("names", "layer", "words"), NOT_GIVEN.values(), ids=NOT_GIVEN)
def test_a_mistake_is_named_in_or_behind_layers_that_are_not_given(sample, names, layer, words):
    # the first pooling leaves a column over
    job = dataclasses.replace(JOB, resize=103, dtype="float64", levels=("activations",))
    right, wrong = changed(Predictor=Convolutions), changed(**{"Predictor": Convolutions, **names})
    found = compare(make_material(job, sample), {"right": right, "wrong": wrong}, job)
    assert found.deviation.first == layer
    assert found.layer.findings["right"].startswith("as on paper")
    assert words in found.layer.mistakes["wrong"]


def test_a_backend_of_few_layers_is_told_which_one_is_missing_and_what_cannot_show(material):
    class Few(numpy_nin.Predictor):
        def activations(self, images):
            outputs = super().activations(images)
            return {name: outputs[name] for name in ("block2.conv3", "flatten")}

    names = {"Predictor": Few, "shape_walk": None}
    wrong = changed(**names, set_weights=upside_down("block2.conv1"))
    job = dataclasses.replace(JOB, dtype="float64", levels=("shapes", "activations"))
    found = compare(material, {"right": numpy_nin, "wrong": wrong}, job)
    view = found.layer
    assert view.findings["right"].startswith("as on paper")
    assert view.findings["wrong"].startswith("not as right (")
    assert view.findings["wrong"].endswith("on paper: block2.conv2 before it is not given")
    assert "on paper" not in view.worst[0].values
    (gap,) = (gap for gap in report.gaps(found) if "every window of" in gap)
    assert "pool1, pool2, pool3 fits, so pooling that rounds up (ceil_mode)" in gap
    assert "would not show in wrong, whose shapes are not compared; at 224 x 224 it would" in gap


class Softmax(Logits):
    def __init__(self, net, settings):
        super().__init__(net, settings)
        logits, self.logits = self.logits, lambda images: softmax(logits(images), axis=1)


def test_a_mistake_in_logits_alone_is_named_beside_those_that_are_as_on_paper(material):
    job = dataclasses.replace(JOB, dtype="float64", levels=("activations",))
    wrong = changed(Predictor=Softmax)
    view = compare(material, {"right": numpy_nin, "wrong": wrong}, job).layer
    assert view.findings["right"].startswith("as on paper")
    assert view.mistakes == {"wrong": "softmax is applied"}
    assert "on paper" not in view.worst[0].values


class BeforeTheReLU(numpy_nin.Predictor):
    """A right network, whose convolutions give what they give and not what becomes of it."""

    def activations(self, images):
        X, outputs = self.pixels(images), {}
        for name, layer in numpy_nin.leaves(self.net):
            X = layer.forward(X)
            outputs.setdefault(name.replace("relu", "conv"), X)
        return outputs


class ConvolutionsBeforeTheReLU(BeforeTheReLU, Convolutions):
    pass


@pytest.mark.parametrize("Predictor", [BeforeTheReLU, ConvolutionsBeforeTheReLU])
def test_a_right_network_that_gives_its_layers_before_the_relu_is_not_called_wrong(
    material, Predictor
):
    job = dataclasses.replace(JOB, dtype="float64", levels=("activations",))
    sides = {"right": numpy_nin, "early": changed(Predictor=Predictor)}
    found = compare(material, sides, job)
    assert found.deviation.first == "block1.conv1"
    assert found.layer.mistakes["early"].startswith("given before its ReLU, which the next layer's")


# behind the second come the pooling, which is the same before a ReLU, and the mean, which is not
@pytest.mark.parametrize("place", [("block1", "relu1"), ("block1", "relu3"), ("block4", "relu3")])
def test_a_relu_that_is_missing_is_not_taken_for_one_that_is_not_shown(material, place):
    block, relu = place

    def nin(*arguments, **named):
        net = numpy_nin.nin(*arguments, **named)
        del net[block][relu]
        return net

    job = dataclasses.replace(JOB, dtype="float64", levels=("activations",))
    without = compare(material, {"right": numpy_nin, "wrong": changed(nin=nin)}, job)
    assert without.layer.mistakes["wrong"] == "the ReLU is missing"


class Brighter(Convolutions):
    def pixels(self, images):
        return super().pixels(images) + np.float32(0.1)


def test_an_offset_of_all_pixels_shows_in_float32_alone(material):
    job = dataclasses.replace(JOB, dtype="float32", levels=("activations",))
    wrong = changed(Predictor=Brighter)
    found = compare(material, {"right": numpy_nin, "wrong": wrong}, job)
    assert found.deviation.first == "block1.conv1"
    assert "in input, not given: every value is off by 0.1" in found.layer.mistakes["wrong"]


@pytest.mark.parametrize("name", ["block9.conv1", "training/block2.conv1", "block2.conv1.scale"])
def test_an_unknown_layer_is_refused_before_anything_runs(name):
    done = run_here("compare.py", "--layer", name)
    assert_one_clear_line(done, f"--layer {name}: unknown; take one of input, block1.conv1,")


def test_a_layer_that_no_backend_gives_is_refused(material):
    part = changed(Predictor=Logits)
    job = dataclasses.replace(JOB, dtype="float64", levels=("activations",))
    with pytest.raises(levels.NinError, match=r"layer=pool1: no backend gives it"):
        compare(material, {"one": part, "two": part}, job, layer="pool1")


def test_a_layer_that_only_one_backend_gives_is_refused(material):
    job = dataclasses.replace(JOB, dtype="float64", levels=("activations",))
    sides = {"whole": numpy_nin, "part": changed(Predictor=Logits)}
    with pytest.raises(levels.NinError, match=r"layer=dropout: only one backend gives it"):
        compare(material, sides, job, layer="dropout")


def test_a_layer_alone_says_what_else_was_not_compared(material, capsys):
    job = dataclasses.replace(JOB, dtype="float64", levels=("activations",))
    sides = {"one": numpy_nin, "two": numpy_nin, "part": changed(Predictor=Logits)}
    text = printed(capsys, report.show_layer, compare(material, sides, job, layer="pool1"))
    assert "part gives no layer before logits" in text


def wrong_loss(change):
    """A backend whose loss is changed, which gets the right one, logits and labels."""

    class Predictor(numpy_nin.Predictor):
        def gradients(self, images, labels, training=False):
            loss, slopes = super().gradients(images, labels, training)
            return change(loss, self.logits(images), labels), slopes

    return changed(Predictor=Predictor)


def wrong_slopes(change):
    class Predictor(numpy_nin.Predictor):
        def gradients(self, images, labels, training=False):
            loss, slopes = super().gradients(images, labels, training)
            return loss, {name: change(name, slope) for name, slope in slopes.items()}

    return changed(Predictor=Predictor)


def wrong_parameters(change):
    return changed(
        get_weights=lambda net: {n: change(n, w) for n, w in numpy_nin.get_weights(net).items()}
    )


def twice(loss, logits, labels):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return numpy_nin.cross_entropy(powers / powers.sum(1, keepdims=True), labels)[0]


def of_each(loss, logits, labels):
    pairs = zip(logits[:, None], labels[:, None], strict=True)
    return np.array([numpy_nin.cross_entropy(*pair)[0] for pair in pairs])


class Lazy(numpy_nin.Trainer):
    def train_batch(self, indices, learning_rate, step):
        super().train_batch(indices, 0.0, step)


KERNEL = "block2.conv1.weight"
ELSEWHERE = {
    "a sum for a loss": (wrong_loss(lambda loss, x, y: 2 * loss), "the sum over the batch"),
    "a loss of each image": (wrong_loss(of_each), "one for each image, not their mean"),
    "bits": (wrong_loss(lambda loss, x, y: loss / np.log(2)), "in bits"),
    "softmax twice": (wrong_loss(twice), "softmax is applied before it"),
    "labels": (
        wrong_loss(lambda loss, x, y: numpy_nin.cross_entropy(x, (y + 1) % 10)[0]),
        "the labels are one too large",
    ),
    "a summed gradient": (wrong_slopes(lambda name, slope: 2 * slope), "the sum over the batch"),
    "a sign": (wrong_slopes(lambda name, slope: -slope), "the sign is wrong"),
    "a transposed parameter": (
        wrong_parameters(lambda n, w: w.transpose(2, 3, 1, 0) if n == KERNEL else w),
        "the axes are in the order (height, width, input, output)",
    ),
    "a turned parameter": (
        wrong_parameters(lambda n, w: w[:, :, ::-1, ::-1] if n == KERNEL else w),
        "the kernel is turned by 180 degrees",
    ),
    "no training": (changed(Trainer=Lazy), "nothing is learned"),
}


@pytest.mark.parametrize(("backend", "words"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_mistake_in_a_loss_a_gradient_or_a_parameter_is_named(material, backend, words):
    job = dataclasses.replace(JOB, dtype="float64")
    if words != "nothing is learned":
        job = dataclasses.replace(job, levels=("parameters", "activations", "gradients"))
    found = compare(material, {"right": numpy_nin, "wrong": backend}, job)
    assert found.exit_status == 1
    assert words in found.layer.mistakes["wrong"]
    assert list(found.layer.mistakes) == ["wrong"]


def with_dropout(rate, where="dropout"):
    """A backend with dropout of this rate, whatever was asked for, or behind a pooling layer."""

    class Pooling(numpy_nin.MaxPool):
        def forward(self, X, training=False):
            return layer.forward(super().forward(X, training), training)

        def backward(self, slope):
            return super().backward(layer.backward(slope))

    layer = numpy_nin.Dropout(rate)
    other = {"dropout": layer} if where == "dropout" else {where: Pooling()}

    def nin(num_classes=10, in_channels=1, dropout=0.5):
        layer.rate = rate(dropout) if callable(rate) else rate
        return numpy_nin.nin(num_classes, in_channels, dropout) | other

    return changed(nin=nin)


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        (with_dropout(lambda rate: 0.8 * rate), "units are dropped at a rate of 0.4, not 0.5"),
        pytest.param(
            with_dropout(lambda rate: rate, "pool1"), "in front of a pooling layer too",
            marks=pytest.mark.long,
        ),
        pytest.param(
            with_dropout(lambda rate: 0), "no unit is dropped", marks=pytest.mark.long
        ),
    ],
    ids=["another rate", "a second layer", "off"],
)  # fmt: skip
def test_a_mistake_in_dropout_is_named_and_its_level_is_the_next_step(
    material, capsys, backend, words
):
    job = dataclasses.replace(JOB, dtype="float64", levels=("training", "dropout"))
    found = compare(material, {"right": numpy_nin, "wrong": backend}, job)
    assert found.deviation.name == "dropout"
    assert list(found.layer.mistakes) == ["wrong"]
    assert words in found.layer.mistakes["wrong"]
    text = printed(capsys, report.show, found)
    assert words in " ".join(text.split())
    assert re.search(r"That level alone: .* --levels dropout\n", text)


def test_dropout_in_front_of_a_pooling_layer_is_named(material):
    class Pooling(numpy_nin.MaxPool):
        def forward(self, X, training=False):
            return super().forward(self.dropout.forward(X, training), training)

    def nin(num_classes=10, in_channels=1, dropout=0.5):
        pooling = Pooling()
        pooling.dropout = numpy_nin.Dropout(dropout)
        return numpy_nin.nin(num_classes, in_channels, 0) | {"pool3": pooling}

    job = dataclasses.replace(JOB, dtype="float64", levels=("dropout",))
    found = compare(material, {"right": numpy_nin, "wrong": changed(nin=nin)}, job)
    assert found.layer.mistakes["wrong"].startswith("units are dropped in front of a pooling layer")


@pytest.mark.long
def test_a_network_that_drops_units_at_rate_0_is_told_so_where_its_training_deviates(material):
    job = dataclasses.replace(JOB, dtype="float64", levels=("training", "dropout"))
    found = compare(material, {"right": numpy_nin, "wrong": with_dropout(0.5)}, job)
    assert found.deviation.first == "step 1"
    assert list(found.layer.mistakes) == ["wrong"]
    assert "units are dropped though nin(dropout=0)" in found.layer.mistakes["wrong"]


def compare_training(material, Trainer):
    job = dataclasses.replace(JOB, dtype="float64", levels=("training",))
    return compare(material, {"right": numpy_nin, "wrong": changed(Trainer=Trainer)}, job)


@pytest.mark.long
def test_a_trainer_whose_loss_is_a_running_mean_is_not_said_to_work_by_chance(material):
    class Trainer(numpy_nin.Trainer):
        mean = 0.0

        def take_metrics(self):
            losses, right = super().take_metrics()
            for i, loss in enumerate(losses):
                losses[i] = self.mean = 0.9 * self.mean + 0.1 * loss
            return losses, right

    found = compare_training(material, Trainer)
    assert found.deviation.first == "step 1"
    assert found.layer.findings["wrong"].endswith("the same: it is the loss alone")


@pytest.mark.long
def test_a_mistake_in_a_later_batch_is_not_said_to_be_one_of_the_loss(material):
    class Trainer(numpy_nin.Trainer):
        def train_batch(self, indices, *given):
            super().train_batch(indices[::-1] // 2 if 0 not in indices else indices, *given)

    found = compare_training(material, Trainer)
    assert found.deviation.first == "step 2"
    assert found.layer.findings["wrong"].endswith("the same: look at the other batches")


@pytest.mark.long
def test_a_parameter_that_training_leaves_as_it_is_is_named(material):
    class Trainer(numpy_nin.Trainer):
        def train_batch(self, *given):
            kept = numpy_nin.get_weights(self.net)["block3.conv2.bias"].copy()
            super().train_batch(*given)
            weights = numpy_nin.get_weights(self.net)
            numpy_nin.set_weights(self.net, {**weights, "block3.conv2.bias": kept})

    found = compare_training(material, Trainer)
    assert found.layer.findings["wrong"].endswith("a step does not change block3.conv2.bias")


@pytest.mark.long
def test_a_rate_of_dropout_that_is_written_down_is_named_where_the_training_deviates(
    material, capsys
):
    job = dataclasses.replace(JOB, dtype="float64", levels=("training", "dropout"))
    found = compare(material, {"right": numpy_nin, "wrong": with_dropout(0.3)}, job)
    assert found.deviation.first == "step 1"
    assert "units are dropped though nin(dropout=0)" in found.layer.findings["wrong"]
    text = printed(capsys, report.show, found)
    assert "units are dropped at a rate of 0.3, not 0.5" in " ".join(text.split())
    # steps are numbered as in the table of losses
    deviating = {place.where for place in found.layer.worst}
    assert deviating
    assert deviating <= {f"step {number}" for number in range(1, job.steps + 1)}
    assert "step 0" not in text


# ----------------------------------------------------------------------- the page


class Page(html.parser.HTMLParser):
    """The elements of a page, and what is wrong with their nesting."""

    VOID = ("meta", "br", "link", "img")

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def pages(agreement, deviation):
    return {"agreement": report.html(agreement), "deviation": report.html(deviation)}


@pytest.fixture(params=["agreement", "deviation"])
def page(pages, request):
    return pages[request.param]


def test_the_page_is_whole_in_itself_and_shows_everything(page):
    # the names of SVG's vocabularies are no addresses that a browser opens
    rest = page.replace("http://www.w3.org/", "")
    assert not [word for word in ("//www", "http", "<script", " src=", "@import") if word in rest]
    used = re.findall(r"(?:href=\"|url\()#([^\")]+)", page)
    assert used
    assert all(page.count(f'id="{name}"') == 1 for name in used)
    assert "<two>" not in page
    assert "<three>" not in page
    known = [*levels.layer_names(), *architecture.parameter_shapes()]
    assert all(name in page for name in (*JOB.levels, *known))


def test_a_backend_that_is_lost_stands_in_the_pages_verdict(pages):
    assert "&lt;three&gt; is not in it: crashed" in pages["agreement"].partition("<table>")[0]


def test_the_page_can_be_read_aloud_and_walked_through_by_keyboard(page):
    found = Page(page)
    assert found.all("html")[0]["lang"] == "en"
    headings = [int(tag[1]) for tag, _ in found.elements if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(headings))
    assert len(found.all("caption")) == len(found.all("table")) > 5
    assert all(cell.get("scope") in ("row", "col") for cell in found.all("th"))
    # what scrolls can be reached, and a picture has words
    scrolling = [a for a in found.all("div") if a.get("class") == "wide"]
    assert all(
        a["tabindex"] == "0" and a["role"] == "region" and a["aria-label"] for a in scrolling
    )
    pictures = [a for a in found.all("div") if a.get("role") == "img"]
    assert len(pictures) == len(found.all("figcaption")) == len(found.all("svg")) == 5
    assert all(a["aria-label"] for a in pictures)


def test_a_colour_is_never_all_that_shows_a_deviation(pages):
    cells = re.findall(r'<td class="bad">([^<]*)</td>', pages["deviation"])
    assert cells
    assert all("&larr;" in cell for cell in cells)


def luminance(colour):
    """Of WCAG 2.2, of a colour such as #1a1a1a or #fff."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_word_of_the_page_has_the_contrast_that_wcag_asks_for(page, scheme):
    schemes = re.findall(r":root \{(.*?)\}", page, re.DOTALL)
    assert len(schemes) == 2
    colours = dict(re.findall(r"--(\w+): (#\w+);", schemes[0]))
    colours |= dict(re.findall(r"--(\w+): (#\w+);", schemes[scheme]))
    for ink in ("ink", "good", "bad", "unsettled", "link"):
        for paper in ("paper", "box"):
            low, high = sorted(luminance(colours[name]) for name in (ink, paper))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, paper)


def test_pictures_are_drawn_in_the_colour_that_the_page_writes_in(page):
    svgs = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(svgs) == 5
    for svg in svgs:
        assert "#000000" not in svg
        assert "currentColor" in svg
        assert "#ffffff" not in svg
