"""The comparison itself: what it calls agreement, on arrays, on NumPy networks, and in processes.

``tests/numpy_nin.py`` plays the backends here, so that none of this needs a framework, but for the
last section, which compares the real ones. Broken networks are in ``test_mutations.py``.
"""

import dataclasses
import json
import math
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import numpy_nin
import pytest
from commands import ROOT, assert_one_clear_line, run_here
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from common.backends import registry
from common.comparison import branches, dropout, tolerances
from common.comparison import job as comparison_job
from common.comparison import levels as comparison
from common.comparison import worker as comparison_worker
from common.comparison.job import Job, below
from common.comparison.layer import look
from common.comparison.material import make_material
from common.comparison.measures import Difference, largest_difference, norm_difference
from common.comparison.run import processes_and_threads
from common.network import architecture
from common.system import machine

NUMPY = str(ROOT / "tests" / "numpy_nin.py")
# one precision is enough for most of what there is to see
JOB = Job(resize=67, batch_size=4, steps=8, dtype="float64")
BOTH = dataclasses.replace(JOB, dtype="both")

# ------------------------------------------------------------------ measures

MEASURES = [largest_difference, norm_difference]
finite = st.floats(allow_nan=False, allow_infinity=False)
array = arrays(np.float64, array_shapes(max_dims=4, max_side=4), elements=finite)


@given(array)
@pytest.mark.parametrize("measure", MEASURES)
def test_an_array_does_not_differ_from_itself(measure, a):
    difference = measure(a, a.copy())
    assert difference.absolute == difference.relative == 0
    assert difference.within(0)


@given(st.data(), array, st.sampled_from([1e-5, 1e-10]))
@pytest.mark.parametrize("measure", MEASURES)
def test_arrays_that_differ_by_more_than_the_tolerance_never_agree(measure, data, a, tolerance):
    """By more than the tolerance times the largest number in them, anywhere."""
    b = a.copy()
    place = tuple(data.draw(st.integers(0, side - 1)) for side in a.shape)
    b[place] = data.draw(finite)
    with np.errstate(over="ignore"):
        apart = abs(b[place] - a[place])
    largest = max(np.abs(a).max(), np.abs(b).max())
    # of n numbers of size up to 1 the norm is sqrt(n) at most
    size = math.sqrt(a.size) if measure is norm_difference else 1
    if apart / size > 1.001 * tolerance * largest and largest > 1e-300:
        assert not measure(a, b).within(tolerance)


@given(array, array)
@example(np.array([1e308]), np.array([-1e308]))
@example(np.array([2e305]), np.array([-1.797e308]))
@example(np.array([5e-324]), np.array([0.0]))
@pytest.mark.parametrize("measure", MEASURES)
def test_a_difference_is_the_same_both_ways_and_in_any_unit(measure, a, b):
    one, other = measure(a, b), measure(b, a)
    assert dataclasses.replace(one, problem="") == dataclasses.replace(other, problem="")
    if one.relative is not None and 1e-200 < max(np.abs(a).max(), np.abs(b).max()) < 1e200:
        scaled = measure(a * 2.0**20, b * 2.0**20)
        assert scaled.relative == pytest.approx(one.relative, rel=1e-9, abs=1e-300)


@given(array, st.sampled_from([math.nan, math.inf, -math.inf]), st.booleans(), st.data())
@pytest.mark.parametrize("measure", MEASURES)
def test_a_number_that_is_not_finite_is_never_agreement(measure, a, bad, both, data):
    b = a.copy()
    place = tuple(data.draw(st.integers(0, side - 1)) for side in a.shape)
    b[place] = bad
    for one, other in ((a, b), (b, a), (b, b.copy())) if both else ((a, b), (b, a)):
        difference = measure(one, other)
        assert not difference.within(math.inf)
        assert "not finite" in difference.problem


@given(array, array)
@pytest.mark.parametrize("measure", MEASURES)
def test_arrays_of_other_shapes_never_agree_even_if_numpy_would_broadcast_them(measure, a, b):
    if a.shape != b.shape:
        assert not measure(a, b).within(math.inf)
    assert not measure(a, a[None]).within(math.inf)


@pytest.mark.parametrize("measure", MEASURES)
def test_nothing_does_not_agree_with_nothing(measure):
    assert not measure(np.zeros((0, 3)), np.zeros((0, 3))).within(math.inf)


def test_the_measures_are_what_they_say():
    a, b = np.array([3.0, 4.0, 0.0]), np.array([3.0, 4.0, 0.5])
    assert largest_difference(a, b) == Difference(0.5, 0.125)
    assert norm_difference(a, b).relative == pytest.approx(0.5 / math.sqrt(25.25))


# ------------------------------------------------------------------ weights


@pytest.fixture(scope="module")
def material(sample):
    return make_material(JOB, sample)


def record(material, name="one", backend=numpy_nin, job=JOB):
    """The recording of a job in one precision."""
    (recording,) = comparison_worker.record(name, backend, job, material)
    return recording


def compare(recordings, material, job=JOB, lost=None):
    return comparison.compare(recordings, job, below("weights", material), lost)


@pytest.fixture(scope="module")
def recording(material):
    return record(material)


def test_the_same_seed_gives_the_same_material_and_another_seed_another(sample, material):
    again = make_material(JOB, sample)
    assert all(np.array_equal(again[name], material[name]) for name in material)
    other = make_material(dataclasses.replace(JOB, seed=1), sample)
    assert all((other[name] != material[name]).any() for name in material)


def test_the_weights_are_those_of_the_network_and_exact_in_float32(material):
    weights = below("weights", material)
    assert {name: w.shape for name, w in weights.items()} == architecture.parameter_shapes()
    assert all(w.dtype == np.float32 and np.isfinite(w).all() for w in weights.values())


def test_under_the_weights_every_relu_cuts_something_off_and_every_logit_lives(recording):
    for name, output in recording.group("activations").items():
        if ".conv" in name:
            assert 0.02 < (output == 0).mean() < 0.98, name
    logits = recording.group("activations")["logits"]
    assert (logits > 0).any(axis=0).all()


def test_no_relu_is_within_rounding_of_its_kink(material):
    """Pre-activations of the whole batch, in float64, stay clear of 0 by ten times rounding."""
    net, job = numpy_nin.nin(), JOB
    numpy_nin.set_weights(net, below("weights", material))
    predictor = numpy_nin.Predictor(net, settings_of(job))
    X = predictor.pixels(material["images"])
    for name, layer in numpy_nin.leaves(net):
        X = layer.forward(X)
        if isinstance(layer, numpy_nin.Convolution):
            assert np.abs(X).min() > 1e-5 * np.abs(X).max(), name


# ----------------------------------------------------- comparisons in this process


def test_a_network_agrees_with_itself_in_every_level(material, recording):
    report = compare([recording, dataclasses.replace(recording, name="two")], material)
    assert {level.name: level.status for level in report.levels} == dict.fromkeys(
        comparison_job.LEVELS, "agree"
    )
    assert report.exit_status == 0


def test_every_layer_every_parameter_and_every_step_is_compared(material, recording):
    report = compare([recording, dataclasses.replace(recording, name="two")], material)
    rows = {level.name: [[r.name for r in t.rows] for t in level.tables] for level in report.levels}
    layers, parameters = list(architecture.layer_shapes(67)), list(architecture.parameter_shapes())
    assert rows["shapes"] == [layers, layers]
    assert rows["parameters"] == [[*parameters, "total"]]
    assert rows["activations"] == [comparison.layer_names()]
    assert rows["gradients"] == [["loss", *reversed(parameters)]]
    assert rows["dropout"] == [list(dropout.EXPECTED)]
    assert rows["training"] == [[f"step {i}" for i in range(1, 9)], parameters]


@pytest.mark.parametrize(("highest", "said"), [(5.97, True), (6.1, False)])
def test_outputs_too_small_to_show_a_bound_on_a_relu_are_said_to_be(
    material, recording, highest, said
):
    arrays = dict(recording.arrays)
    outputs = [name for name in arrays if name.startswith("activations/block")]
    largest = max(arrays[name].max() for name in outputs)
    arrays |= {name: arrays[name] * (highest / largest) for name in outputs}
    one = dataclasses.replace(recording, arrays=arrays)
    report = compare([one, dataclasses.replace(one, name="two")], material)
    notes = [note for level in report.levels for note in level.notes]
    assert any("as in ReLU6, would not show" in note for note in notes) == said


@pytest.mark.parametrize(("factor", "status"), [(1.01, 0), (0, 1)])
def test_without_layers_a_step_that_a_branch_may_explain_raises_no_alarm_and_a_lost_one_does(
    material, both, factor, status
):
    (odd,) = named(both[1:], "two")
    odd.arrays = {n: a for n, a in odd.arrays.items() if not n.startswith("activations/")}
    before = material["weights/block1.conv1.weight"]
    after = odd.arrays["training/block1.conv1.weight"]
    odd.arrays["training/block1.conv1.weight"] = before + (after - before) * np.float32(factor)
    report = compare([*both, odd], material, BOTH)
    assert report.exit_status == status, report.verdict
    (level,) = (level for level in report.levels if level.name == "training")
    assert any("not all layers' outputs are known" in note for note in level.notes)


def test_three_networks_are_compared_in_all_pairs_and_the_odd_one_is_named(material, recording):
    odd = dataclasses.replace(recording, name="three", arrays=dict(recording.arrays))
    odd.arrays["activations/pool1"] = odd.arrays["activations/pool1"] * 1.001
    report = compare([recording, dataclasses.replace(recording, name="two"), odd], material)
    assert report.exit_status == 1
    assert report.deviation.first == "pool1"
    assert [text.split(":")[0] for text in report.deviation.between] == [
        "one - three", "two - three",
    ]  # fmt: skip


# ---------------------------------------------------------------- two precisions


@pytest.fixture(scope="module")
def both(material):
    """Recordings of the intact network in float64 and float32."""
    return comparison_worker.record("one", numpy_nin, BOTH, material)


def named(recordings, name):
    return [dataclasses.replace(each, name=name, arrays=dict(each.arrays)) for each in recordings]


def test_float64_is_compared_between_backends_and_float32_with_the_same_backends_float64(
    material, both
):
    report = compare([*both, *named(both, "two")], material, BOTH)
    assert report.exit_status == 0
    assert report.without_float64 == {}
    for level in report.levels:
        if level.name in comparison_job.OF_NO_PRECISION:
            assert level.by_dtype == {}
            continue
        assert level.by_dtype == {"float64": "agree", "float32": "agree"}
        columns = {table.dtype: list(table.rows[0].values) for table in level.tables}
        assert columns["float64"] == ["one - two"]
        assert [name.removesuffix(" off by") for name in columns["float32"]] == ["one", "two"]


class Narrow:
    """Float32 convolutions whose factors are rounded to 11 bits, as TF32 does."""

    def __init__(self):
        self.module = type(numpy_nin)("narrow_nin")
        exec(Path(NUMPY).read_text(), vars(self.module))
        forward = self.module.Convolution.forward

        def narrow(layer, X, training=False):
            if X.dtype == np.float64:
                return forward(layer, X)
            weight = layer.weight
            layer.weight = self.rounded(weight)
            Y = forward(layer, self.rounded(X))
            layer.weight = weight
            return Y

        self.module.Convolution.forward = narrow

    @staticmethod
    def rounded(array):
        mantissa, exponent = np.frexp(array)
        return np.ldexp(np.round(mantissa * 2**11) / 2**11, exponent).astype(np.float32)


@pytest.fixture(scope="module")
def narrow(material):
    return comparison_worker.record("narrow", Narrow().module, BOTH, material)


def test_arithmetic_of_fewer_bits_is_found_at_its_first_layer_in_float32_alone(
    material, both, narrow
):
    report = compare([*both, *narrow], material, BOTH)
    found = report.deviation
    assert (found.name, found.first, found.dtype) == ("activations", "block1.conv1", "float32")
    assert found.by_dtype == {"float64": "agree", "float32": "deviate"}
    assert [text.split(":")[0] for text in found.between] == ["narrow"]


def test_a_backend_without_float64_is_measured_beside_anothers_and_the_verdict_limits_itself(
    material, both, narrow
):
    report = compare([*both, *named(both[1:], "two")], material, BOTH)
    assert report.exit_status == 0
    assert list(report.without_float64) == ["two"]
    assert "two in float32 only: a mistake below 1e-04 of a layer would not show" in report.verdict
    report = compare([*both, *named(narrow[1:], "two")], material, BOTH)
    assert report.deviation.between[0].startswith("two - one: ")
    # and if nobody has it, they are compared with each other
    report = compare([*both[1:], *named(narrow[1:], "two")], material, BOTH)
    assert report.deviation.first == "block1.conv1"
    assert report.deviation.between[0].startswith("one - two: ")
    report = compare([*both[1:], *named(both[1:], "two")], material, BOTH)
    assert report.exit_status == 0


def test_a_backend_that_takes_no_notice_of_the_precision_counts_as_one_without_float64(material):
    deaf = Part([], ["logits"])
    predictor = deaf.Predictor

    def in_float32(net, settings):
        return predictor(net, dataclasses.replace(settings, precision="float32"))

    deaf.Predictor = in_float32
    take = deaf.set_weights
    deaf.set_weights = lambda net, weights: take(
        net, {name: array.astype(np.float32) for name, array in weights.items()}
    )
    assert [r.dtype for r in comparison_worker.record("deaf", deaf, BOTH, material)] == ["float32"]
    deaf.PRECISIONS = ("float64", "float32")  # but not if it claims to have it
    dtypes = [r.dtype for r in comparison_worker.record("deaf", deaf, BOTH, material)]
    assert dtypes == ["float64", "float32"]


def test_float32s_gradients_behind_a_branch_that_rounding_may_decide_are_not_judged(material, both):
    exact, rounded = named(both, "two")
    for layer in ("block1.conv1", "block2.conv3", "block3.conv1"):
        name = f"gradients/{layer}.bias"
        rounded.arrays[name] = rounded.arrays[name] * np.float32(1.5)
    report = compare([*both, exact, rounded], material, BOTH)
    assert (report.deviation.first, report.deviation.dtype) == ("block3.conv1.bias", "float32")
    # a ReLU that is on in float64 and off in float32
    outputs = rounded.arrays["activations/block2.conv3"].copy()
    outputs[outputs > 0] *= np.arange((outputs > 0).sum()) > 0
    rounded.arrays["activations/block2.conv3"] = outputs
    gradients = compare([*both, exact, rounded], material, BOTH).levels[3]
    assert gradients.first == "block3.conv1.bias"
    rounded.arrays["gradients/block3.conv1.bias"] = both[1].arrays["gradients/block3.conv1.bias"]
    gradients = compare([*both, exact, rounded], material, BOTH).levels[3]
    assert gradients.status == "agree"
    assert any("may decide a branch in block2.conv3" in note for note in gradients.notes)


@pytest.mark.long
def test_the_order_in_which_a_file_has_its_weights_changes_nothing(material, both):
    exact, rounded = named(both, "two")
    # the gradient of a weight, behind a branch in the same layer: a file's names are often sorted,
    # so that a layer's bias comes before its weight
    name = "gradients/block2.conv3.weight"
    rounded.arrays[name] = rounded.arrays[name] * np.float32(1.5)
    outputs = rounded.arrays["activations/block2.conv3"].copy()
    outputs[outputs > 0] *= np.arange((outputs > 0).sum()) > 0
    rounded.arrays["activations/block2.conv3"] = outputs
    recordings, weights = [*both, exact, rounded], below("weights", material)
    reports = [
        comparison.compare(recordings, BOTH, {name: weights[name] for name in order})
        for order in (list(weights), sorted(weights), sorted(weights, reverse=True))
    ]
    assert reports[0].levels[3].status == "agree"
    assert reports[0] == reports[1] == reports[2]


def test_what_rounding_may_undo_is_a_branch_but_not_a_choice_among_equal_pixels():
    exact = {"block1.conv3": np.zeros((1, 1, 3, 3)), "pool1": np.ones((1, 1, 1, 1))}
    exact["block1.conv3"][..., 0, 0] = 1
    exact["block1.conv3"][..., 2, 2] = 1 - 1e-5
    rounded = {name: array.astype(np.float32) for name, array in exact.items()}
    assert branches.last_branch(rounded, exact) is None
    rounded["block1.conv3"][..., 0, 0] -= 4e-6  # the window's margin is less than four times that
    assert branches.last_branch(rounded, exact) == "block1.conv3"
    exact["block1.conv3"][..., 2, 2] = 1
    assert branches.last_branch(rounded, exact) is None
    exact["block1.conv3"][..., 1, 1] = 1e-5  # a ReLU that is on by less
    assert branches.last_branch(rounded, exact) == "block1.conv3"
    assert branches.last_branch({}, exact) is None


@given(st.integers(67, 400), st.integers(1, 64))
def test_the_limits_lie_between_rounding_and_arithmetic_of_fewer_bits(size, batch):
    weights = {name: np.empty(shape) for name, shape in architecture.parameter_shapes().items()}
    job = Job(resize=size, batch_size=batch)
    limits = tolerances.output_limits("float32", weights, job)
    in_order = [limits[name] for name in comparison.layer_names()]
    assert in_order == sorted(limits.values())
    # one rounding of each factor of a product, to float32 and to TF32's 11 bits
    assert all(2**-24 * 10 < limit < 2**-11 / 4 for limit in limits.values())
    assert limits["block1.conv1"] < 2**-11 / 30
    assert 1e-5 < tolerances.gradient_limit("float32", weights, job) < 2**-8
    exact = tolerances.output_limits("float64", weights, job)
    assert all(100 * limits[name] * 2**-29 < limit < 2**-25 / 100 for name, limit in exact.items())


@pytest.mark.long
def test_the_comparison_works_with_one_image(sample):
    job = dataclasses.replace(BOTH, batch_size=1)
    material = make_material(job, sample)
    recordings = comparison_worker.record("one", numpy_nin, job, material)
    assert compare([*recordings, *named(recordings, "two")], material, job).exit_status == 0


# ------------------------------------------------------------------ side by side


@pytest.mark.parametrize(
    ("cores", "count", "options", "expected"),
    [
        (2, 3, {}, (2, 1)),
        (16, 3, {}, (3, 5)),
        (1, 3, {}, (1, 1)),
        (2, 3, {"threads": 2}, (1, 2)),
        (2, 3, {"threads": 1}, (2, 1)),
        (2, 2, {"threads": 8}, (1, 8)),
        (16, 3, {"device": "gpu"}, (1, 16)),
    ],
)
def test_backends_share_the_cores_and_a_gpu_is_for_one(
    monkeypatch, cores, count, options, expected
):
    monkeypatch.setattr(machine, "physical_cores", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert processes_and_threads(Job(**options), count) == expected


# ---------------------------------------------------------------------- dropout


def losses_with(masks, scale):
    """What the counting network's losses are for masks (steps, channels, places)."""
    logits = masks.sum(1).mean(1) * scale * dropout.site().share
    return np.log1p((architecture.NUM_CLASSES - 1) * np.exp(-logits))


@given(st.integers(0, 2**31), st.sampled_from([0, 1e-7]))
@pytest.mark.long
def test_the_chapters_dropout_is_recognised_whatever_its_masks_are(seed, rounding):
    rng = np.random.default_rng(seed)
    masks = rng.random((dropout.STEPS, 384, 4)) < 0.5
    losses = losses_with(masks, 2) * (1 + rounding * rng.normal(size=dropout.STEPS))
    found = dropout.judge(losses, dropout.site())
    assert all(good for _, good in found.values()), found
    assert {name: text for name, (text, _) in found.items()}.keys() == dropout.EXPECTED.keys()


@given(st.integers(0, 2**31), st.sampled_from([1, 1.5, 1.99, 1.996, 2.004, 4]))
@pytest.mark.long
def test_another_scale_of_dropout_is_not_the_chapters(seed, scale):
    masks = np.random.default_rng(seed).random((dropout.STEPS, 384, 4)) < 0.5
    found = dropout.judge(losses_with(masks, scale), dropout.site())
    assert not found["scale of a kept unit"][1]


def test_dropout_that_is_never_on_is_called_so():
    found = dropout.judge(losses_with(np.ones((dropout.STEPS, 384, 4)), 1), dropout.site())
    assert found == {"units dropped": ("none", False)}


@given(
    st.integers(0, 2**31),
    st.sampled_from(
        [
            (0.5, 1, "kept units are not scaled by 1 / (1 - 0.5)"),
            (0.5, 1 / 0.501, "scaled as for a rate of 0.499, not 0.5"),
            (0.7, 1 / 0.7, "units are dropped at a rate of 0.3, not 0.5"),
            (0.25, 4, "rate of 0.75, not 0.5, or dropout is applied 2 times there"),
            (0.5, 4, "kept units are scaled 2 times"),
            (0.25, 16, "kept units are scaled 4 times"),
            (0.5, 1.5, None),
        ]
    ),
)
@pytest.mark.long
def test_what_scale_and_share_of_kept_units_show_is_named_and_nothing_else(seed, wrong):
    share, scale, words = wrong
    masks = np.random.default_rng(seed).random((dropout.STEPS, 384, 4)) < share
    found = dropout.judge(losses_with(masks, scale), dropout.site())
    assert float(found["scale of a kept unit"][0]) == pytest.approx(scale, rel=1e-5)
    name = dropout.explain({what: text for what, (text, _) in found.items()}, dropout.site())
    assert name is words is None or words in name


def test_noise_in_the_place_of_dropout_has_no_scale():
    noise = np.random.default_rng(0).normal(1, 1, (dropout.STEPS, 384, 4))
    found = dropout.judge(losses_with(noise, 1), dropout.site())
    assert found == {"scale of a kept unit": ("not the same for all", False)}
    assert dropout.explain({"scale of a kept unit": "not the same for all"}, dropout.site()) is None


@pytest.mark.parametrize("losses", [[], [math.nan] * 16, [0.0] * 16, [math.inf] * 16, [1.0] * 3])
def test_losses_that_show_no_dropout_are_not_the_chapters(losses):
    assert not all(good for _, good in dropout.judge(np.array(losses), dropout.site()).values())


# ------------------------------------------------------- what is never agreement


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_same_number_that_is_not_finite_in_both_is_a_deviation(material, recording, bad):
    broken = dataclasses.replace(recording, arrays=dict(recording.arrays))
    broken.arrays["gradients/block2.conv1.bias"] = np.full(256, bad)
    report = compare([broken, dataclasses.replace(broken, name="two")], material)
    assert (report.deviation.name, report.deviation.first) == ("gradients", "block2.conv1.bias")
    json.dumps(report.as_json(), allow_nan=False)


def test_a_gradient_that_only_one_backend_has_is_a_deviation(material, recording):
    short = dataclasses.replace(recording, name="two", arrays=dict(recording.arrays))
    del short.arrays["gradients/block3.conv2.bias"]
    report = compare([recording, short], material)
    assert (report.deviation.name, report.deviation.first) == ("gradients", "block3.conv2.bias")


def test_a_parameter_beyond_the_networks_deviates_in_the_backend_that_has_it(material, recording):
    more = dataclasses.replace(recording, name="two", arrays=dict(recording.arrays))
    more.arrays["parameters/block5.conv1.bias"] = np.zeros(3)
    report = compare([recording, more], material)
    assert (report.deviation.name, report.deviation.first) == ("parameters", "block5.conv1.bias")
    assert report.deviation.between == ["two: 3"]


def dead(material):
    """The material with a last bias under which every logit is 0."""
    bias = material["weights/block4.conv3.bias"]
    return {**material, "weights/block4.conv3.bias": bias - 1000}


@pytest.mark.long
def test_dead_networks_are_refused_as_agreement(material):
    recordings = [record(dead(material), name) for name in ("one", "two")]
    report = compare(recordings, dead(material))
    status = {level.name: level.status for level in report.levels}
    assert status["activations"] == status["gradients"] == status["training"] == "refused"
    assert report.exit_status == 2
    assert "refused" in report.verdict


def test_a_network_that_is_dead_in_the_middle_is_refused_though_its_logits_are_not(material):
    bias = material["weights/block2.conv3.bias"]
    deaf = {**material, "weights/block2.conv3.bias": bias - 1000}
    deaf["weights/block4.conv3.bias"] = np.arange(1, 11, dtype=np.float32)
    job = dataclasses.replace(JOB, levels=("activations",))
    report = compare([record(deaf, name, job=job) for name in ("one", "two")], deaf, job)
    assert report.levels[0].status == "refused"
    assert any("block2.conv3 is 0 everywhere" in note for note in report.levels[0].notes)


def test_a_training_that_does_not_learn_is_refused_as_agreement(material, recording):
    flat = dataclasses.replace(recording, arrays=dict(recording.arrays))
    flat.arrays["training/losses"] = np.full(8, 2.5)
    report = compare([flat, dataclasses.replace(flat, name="two")], material)
    training = report.levels[comparison_job.LEVELS.index("training")]
    assert training.status == "refused"
    assert any("one did not learn" in note for note in training.notes)


def test_one_recording_alone_is_compared_with_nothing_and_is_no_agreement(material, recording):
    report = compare([recording], material, lost={"two": "crashed (SIGSEGV)"})
    assert {level.status for level in report.levels} == {"not compared"}
    assert report.exit_status == 2


def test_a_third_side_of_which_nothing_was_compared_is_no_part_of_the_agreement(
    material, recording
):
    job = dataclasses.replace(JOB, levels=("gradients",))
    two = dataclasses.replace(recording, name="two")
    part = record(material, "part", Part([], ["logits"]), job)
    report = compare([recording, two, part], material, job)
    assert report.verdict == "one, two agree in gradients"
    assert report.lost == {"part": "nothing of it could be compared"}
    assert report.exit_status == 2


def test_a_side_that_lacks_a_level_or_layers_is_not_said_to_agree_in_them(material, recording):
    two = dataclasses.replace(recording, name="two")
    job = dataclasses.replace(JOB, levels=("shapes", "activations"))
    part = record(material, "part", Part([], ["logits"]), job)
    report = compare([recording, two, part], material, job)
    every = len(comparison.layer_names())
    assert report.verdict == (
        f"one, two, part agree in shapes (without part), activations ({every} of {every} layers; "
        "1 layer of part)"
    )


def test_two_that_agree_with_themselves_in_float32_alone_were_not_compared(material, both):
    one, two = named(both, "one"), named(both, "two")
    for recording in two:  # no layer that the other has not, and no logits
        recording.arrays = {"activations/pool1": recording.arrays["activations/pool1"]}
    job = dataclasses.replace(JOB, dtype="both", levels=("activations",))
    report = compare([*one, *two], material, job)
    assert report.levels[0].status == "not compared"
    assert report.exit_status == 2


# ----------------------------------------------------------- as far as it goes


class Part:
    """A backend with some of the functions of the whole one."""

    def __init__(self, names, methods):
        for name in ("nin", "set_weights", *names):
            setattr(self, name, getattr(numpy_nin, name))
        self.methods = methods

    def Predictor(self, net, settings):
        return self._part(numpy_nin.Predictor(net, settings))

    def Trainer(self, net, settings, images, labels):
        return self._part(numpy_nin.Trainer(net, settings, images, labels))

    def _part(self, whole):
        part = type("Part", (), {})()
        for method in self.methods:
            if hasattr(whole, method):
                setattr(part, method, getattr(whole, method))
        return part


@pytest.mark.parametrize(
    ("names", "methods", "compared"),
    [
        ([], ["logits"], ["activations"]),
        ([], ["activations"], ["activations"]),
        (["get_weights"], ["logits", "gradients"], ["parameters", "activations", "gradients"]),
        (["shape_walk"], ["logits"], ["shapes", "activations"]),
        ([], ["logits", "train_batch", "take_metrics"], ["activations", "training", "dropout"]),
    ],
)
def test_a_backend_that_lacks_functions_is_compared_as_far_as_it_goes(
    material, recording, names, methods, compared
):
    report = compare([recording, record(material, "part", Part(names, methods))], material)
    assert [level.name for level in report.levels if level.status == "agree"] == compared
    assert report.exit_status == 0
    for level in report.levels:
        if level.name not in compared:
            assert level.status == "not compared"
            assert any(note.startswith("part not compared: it") for note in level.notes)
            assert f"{level.name}: not compared" in report.verdict


def test_a_backend_that_gives_some_layers_only_is_said_to(material, recording):
    part = record(material, "part", Part([], ["logits"]))
    part.arrays["activations/pool2"] = recording.arrays["activations/pool2"]
    level = compare([recording, part], material).levels[2]
    assert [row.name for row in level.tables[0].rows] == ["pool2", "logits"]
    assert any("part does not give input, block1.conv1" in note for note in level.notes)


def test_a_level_that_raises_is_reported_and_leaves_the_others(material, recording):
    part = Part(["shape_walk"], ["logits"])
    part.methods = ["logits", "gradients"]
    broken = record(material, "broken", part)
    broken.failed["gradients"] = "ValueError: no"
    del broken.arrays["gradients/loss"]
    broken.arrays = {n: a for n, a in broken.arrays.items() if not n.startswith("gradients/")}
    report = compare([recording, broken], material)
    status = {level.name: level.status for level in report.levels}
    assert (status["activations"], status["gradients"]) == ("agree", "failed")
    assert report.exit_status == 2


@pytest.mark.parametrize("words", ["Output size is too small", "not enough memory"])
def test_a_level_that_images_are_too_small_for_says_at_which_size_to_look(material, words):
    part = Part([], [])
    part.Predictor = lambda net, settings: types.SimpleNamespace(logits=fail_with(words))
    job = dataclasses.replace(JOB, levels=("activations",))
    text = record(material, "part", part, job).failed["activations"]
    assert text.endswith("compare at 128, which shows which layer shrinks too much") == (
        words == "Output size is too small"
    )


def fail_with(words):
    def logits(images):
        raise RuntimeError(words)

    return logits


def test_logits_alone_are_not_said_to_be_of_no_known_mistake(material, recording):
    wrong = dataclasses.replace(
        recording,
        name="port",
        arrays={"activations/logits": recording.arrays["activations/logits"][:, ::-1] ** 2},
    )
    job = dataclasses.replace(JOB, levels=("activations",))
    view = look(compare([recording, wrong], material, job), [recording, wrong], job, material)
    assert view.findings["port"].startswith("not as one (")
    assert view.findings["port"].endswith(
        "not computed on paper: block4.conv3 before it is not given"
    )


# ------------------------------------------------------ the command, in processes

SMALL = ["--resize", "67", "--batch-size", "4", "--steps", "8", "--threads", "1"]


def run(*arguments, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "compare.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env={**os.environ, **environment},
    )


@pytest.fixture
def candidate(tmp_path):
    """Write a candidate: the NumPy network with lines added at its end."""

    def write(name, lines=""):
        (tmp_path / "numpy_nin.py").write_text(Path(NUMPY).read_text())
        (tmp_path / f"{name}.py").write_text(f"from numpy_nin import *\n{lines}\n")
        return f"./{name}.py"

    return write


def test_the_command_agrees_and_writes_json_and_a_page(candidate, tmp_path):
    pair = f"{candidate('one')},{candidate('two')}"
    files = ["--json", "report.json", "--html", "report.html"]
    done = run("--backends", pair, *SMALL, *files, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    everything = ", ".join(comparison_job.LEVELS)
    assert f"one, two agree in {everything}" in done.stdout.replace("\n", " ")
    assert max(map(len, done.stdout.splitlines())) <= 120
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["exit_status"] == 0
    assert report["first_deviation"] is None
    assert len(report["losses"]["one"]) == 8
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.long
def test_files_of_one_name_and_of_a_name_of_pythons_are_compared(candidate, tmp_path):
    candidate("platform")
    for folder in "ab":
        (tmp_path / folder).mkdir()
        for file in ("numpy_nin.py", "platform.py"):
            (tmp_path / folder / file).write_text((tmp_path / file).read_text())
    specs = "./a/platform.py,./platform.py,./b/platform.py"
    done = run("--backends", specs, "--levels", "activations", *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    here = tmp_path.name
    assert f"a/platform, {here}/platform, b/platform agree" in done.stdout.replace("\n", " ")


@pytest.mark.long
def test_the_examples_backend_of_one_file_is_compared_as_far_as_it_goes(candidate, tmp_path):
    example = ROOT / "examples" / "nin_numpy.py"
    done = run("--backends", f"{candidate('whole')},{example}", *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "whole, nin_numpy agree in activations (logits only); shapes:" in done.stdout
    assert "nin_numpy gives no layer before logits: with them in its Predictor's" in done.stdout
    assert "nin_numpy not compared: its Predictor has no gradients" in done.stdout


@pytest.mark.long
def test_a_backend_that_fails_the_same_way_in_both_precisions_fails_once_and_briefly(
    candidate, tmp_path
):
    long = "def set_weights(net, weights):\n    raise ValueError('wrong ' * 1000)"
    pair = f"{candidate('right')},{candidate('wrong', long)}"
    done = run("--backends", pair, "--levels", "activations", *SMALL, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout.count("wrong failed: ValueError: wrong wrong") == 1
    assert len(done.stdout) < 3000


def test_the_command_names_the_first_layer_that_deviates(candidate, tmp_path):
    wrong = "class MaxPool(MaxPool):\n    def forward(self, X, training=False):\n"
    wrong += "        return super().forward(X) * 1.0001\n"
    # functions look names up in their own module
    wrong += "import numpy_nin\nnumpy_nin.MaxPool = MaxPool"
    pair = f"{candidate('right')},{candidate('wrong', wrong)}"
    done = run("--backends", pair, "--levels", "activations", *SMALL, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "first deviation: activations, pool1 (float64; right - wrong" in done.stdout


BROKEN = {
    "crashes": ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "crashed (SIGSEGV)"),
    "hangs": ("import time\ntime.sleep(1000)", "no answer in 6 s"),
    "missing": ("import framework_that_nobody_has", "No module named 'framework_that_nobody_has'"),
    "leaves": ("import os\nos._exit(0)", "ended without an answer"),
}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        pytest.param(*given, id=name, marks=[pytest.mark.long] if name != "crashes" else [])
        for name, given in BROKEN.items()
    ],
)
def test_a_backend_that_breaks_is_named_and_the_others_are_compared(
    candidate, tmp_path, lines, words
):
    specs = ",".join([candidate("one"), candidate("broken", lines), candidate("two")])
    options = ["--levels", "activations", "--timeout", 6]
    done = run("--backends", specs, *options, *SMALL, cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert "one, two agree in activations" in done.stdout
    assert "broken is not in it:" in done.stdout
    assert words in done.stdout.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_one_backend_that_is_left_is_compared_with_nobody(candidate, tmp_path):
    specs = f"{candidate('one')},{candidate('broken', BROKEN['crashes'][0])}"
    done = run("--backends", specs, "--levels", "activations", *SMALL, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: broken: ")
    assert done.stderr.endswith("; that leaves fewer than two backends to compare\n")


@pytest.mark.long
def test_a_backend_may_have_an_interpreter_of_its_own(candidate, tmp_path):
    interpreter = tmp_path / "own-python"
    interpreter.write_text(f'#!/bin/sh\necho ran >> "{tmp_path}/ran"\nexec {sys.executable} "$@"\n')
    interpreter.chmod(0o755)
    pair = f"{candidate('one')},{candidate('two')}"
    options = ["--backends", pair, "--levels", "shapes", *SMALL]
    assert run(*options, "--python", f"two={interpreter}", cwd=tmp_path).returncode == 0
    assert run(*options, cwd=tmp_path, NIN_PYTHON_ONE=str(interpreter)).returncode == 0
    assert (tmp_path / "ran").read_text() == "ran\nran\n"
    done = run(*options, "--python", "two=/nowhere/python", cwd=tmp_path)
    assert done.returncode == 2
    assert "/nowhere/python does not start (No such file or directory)" in done.stderr


BAD_INPUT = {
    "one backend": ("--backends torch", "--backends: name at least two"),
    "unknown backend": ("--backends torch,jaxx", "--backends jaxx: unknown; choose one of torch"),
    "no such file": ("--backends torch,./none.py", "backend ./none.py: no such file"),
    "named twice": ("--backends torch,torch", "--backends: torch is named twice"),
    "named twice, with a space": ("--backends torch torch", "--backends: torch is named twice"),
    "unknown level": ("--levels shape", "--levels shape: unknown; choose from shapes,"),
    "unknown second level": ("--levels shapes rows", "--levels rows: unknown; choose from shapes,"),
    "no level": ("--levels ,", "--levels: choose from"),
    "unknown type": ("--dtype float16", "--dtype float16: must be both, float64, float32"),
    "unknown device": ("--device tpu", "--device tpu: must be cpu or gpu"),
    "image too small": ("--resize 66", "the smallest that works is 67"),
    "no image": ("--batch-size 0", "--batch-size 0: must be"),
    "too many images": ("--batch-size 1025", "--batch-size 1025: must be"),
    "few steps": ("--steps 3", "--steps 3: must be a whole number from 8"),
    "negative seed": ("--seed -1", "--seed -1: must be"),
    "no interpreter": ("--python mxnet", "--python mxnet: must be NAME=PATH"),
    "interpreter of nobody": ("--python jax=/bin/python", "must be NAME=PATH, the name one of"),
    "no time": ("--timeout 0", "--timeout 0.0: must be a number above 0"),
    "nowhere to write": ("--html none/x.html", "none/x.html: not a file in an existing directory"),
}


@pytest.mark.parametrize(("arguments", "words"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_to_compare_gets_one_clear_line(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert_one_clear_line(run_here("compare.py", *arguments.split()), words)


# ------------------------------------------------------------- the real backends


@pytest.fixture(scope="module")
def frameworks():
    """The installed backends' names; one that is missing fails in CI."""
    have = []
    for name, (_, framework) in registry.BACKENDS.items():
        code = f"import importlib.util as u, sys; sys.exit(u.find_spec({framework!r}) is None)"
        if not subprocess.run([sys.executable, "-c", code]).returncode:
            have.append(name)
    if os.environ.get("CI") and len(have) < len(registry.BACKENDS):
        pytest.fail(f"only {', '.join(have) or 'no framework'} installed")
    if len(have) < 2:
        pytest.skip("needs two frameworks; make test installs all")
    return have


def test_the_backends_are_one_network(frameworks, tmp_path):
    file = tmp_path / "report.json"
    small = ["--resize", 99, "--batch-size", 2, "--steps", 8, "--json", file]
    done = run("--backends", ",".join(frameworks), *small)
    assert done.returncode == 0, done.stdout + done.stderr
    levels = json.loads(file.read_text())["levels"]
    assert {x["name"]: x["status"] for x in levels} == dict.fromkeys(comparison_job.LEVELS, "agree")
    for level in levels:
        if level["name"] not in comparison_job.OF_NO_PRECISION:
            assert level["by_dtype"] == {"float64": "agree", "float32": "agree"}


def settings_of(job):
    from common.settings import Settings

    return Settings(resize=job.resize, batch_size=job.batch_size, precision=job.dtype)


def test_a_training_that_becomes_infinite_is_refused_and_its_report_is_json(material, recording):
    broken = {**recording.arrays, "training/losses": np.full(JOB.steps, np.inf)}
    both = [dataclasses.replace(recording, name=name, arrays=broken) for name in ("one", "two")]
    report = compare(both, material, dataclasses.replace(JOB, levels=("training",), lr=10.0))
    assert (report.levels[0].status, report.exit_status) == ("refused", 2)
    assert "no training stays finite at learning rate 10" in report.verdict
    json.dumps(report.as_json(), allow_nan=False)


def test_an_infinite_loss_of_one_side_alone_deviates_and_its_report_is_json(material, recording):
    broken = {**recording.arrays, "training/losses": np.full(JOB.steps, np.inf)}
    other = dataclasses.replace(recording, name="two", arrays=broken)
    report = compare([recording, other], material)
    assert report.deviation.name == "training"
    json.dumps(report.as_json(), allow_nan=False)


@pytest.mark.parametrize("size", [1e-38, 1e39])
def test_numbers_outside_of_float32_are_refused_there_and_compared_in_float64(material, size):
    job = dataclasses.replace(JOB, levels=("activations",))
    exact = record(material, "one", job=job)
    exact.arrays = {name: array * size for name, array in exact.arrays.items()}
    with np.errstate(over="ignore"):
        arrays = {name: array.astype(np.float32) for name, array in exact.arrays.items()}
    both = [exact, dataclasses.replace(exact, dtype="float32", arrays=arrays)]
    job = dataclasses.replace(job, dtype="both")
    report = compare([*both, *named(both, "two")], material, job)
    assert (report.levels[0].status, report.deviation) == ("refused", None)
    assert report.levels[0].by_dtype == {"float64": "agree"}
    assert "which float32 cannot hold" in report.verdict


@pytest.mark.long
def test_metrics_that_are_no_list_of_losses_fail_the_training_level_alone(material):
    class Trainer(numpy_nin.Trainer):
        def take_metrics(self):
            return super().take_metrics()[0]

    odd = types.SimpleNamespace(**{**vars(numpy_nin), "Trainer": Trainer})
    found = record(material, "odd", odd)
    assert "take_metrics: the losses have shape ()" in found.failed["training"]
    assert found.group("gradients")


@pytest.mark.long
def test_of_two_that_differ_it_is_not_the_projects_own_that_is_called_wrong(material, recording):
    job = dataclasses.replace(JOB, levels=("gradients",))
    doubled = {n: a * 2 if n.startswith("gradients/") else a for n, a in recording.arrays.items()}
    wrong = dataclasses.replace(recording, name="port", arrays=doubled)
    own = dataclasses.replace(recording, name="torch")
    for sides in ([own, wrong], [wrong, own]):
        view = look(compare(sides, material, job), sides, job, material, "block2.conv1.weight")
        assert list(view.mistakes) == ["port"], view.findings


def test_no_image_reaches_the_brightest_pixel_and_no_two_batches_the_same(material):
    brightest = material["images"].reshape(len(material["images"]), -1).max(1)
    assert brightest.max() < 255
    assert len({*brightest.reshape(-1, JOB.batch_size).max(1)}) > 1
