"""Variants side by side: the statistics, what is refused, and a small ablation of each backend."""

import itertools
import json

import numpy as np
import pytest
from commands import assert_one_clear_line, run_here
from hypothesis import given
from hypothesis import strategies as st

import common
from common.data.dataset import Dataset
from common.errors import NinError
from common.files import figures
from common.training import ablation
from common.training.run import Watcher

SMALL = "channels=8-12,kernels=5-3-3,strides=2-1-1"
NETWORKS = (f"{SMALL}@28", f"{SMALL},inner=0@24")
OPTIONS = {"limit": 120, "batch_size": 40, "epochs": 1, "threads": 1, "device": "cpu"}


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=10))
def test_the_paired_test_counts_all_patterns_of_signs(differences):
    patterns = itertools.product((1, -1), repeat=len(differences))
    sums = [abs(sum(s * d for s, d in zip(p, differences, strict=True))) for p in patterns]
    expected = sum(s >= abs(sum(differences)) for s in sums) / len(sums)
    assert ablation.sign_flip(differences) == pytest.approx(expected)


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=10))
def test_differences_of_one_sign_have_the_least_p_there_is(differences):
    assert ablation.sign_flip(differences) == pytest.approx(2 / 2 ** len(differences))
    assert ablation.sign_flip([-d for d in differences]) == ablation.sign_flip(differences)


def test_many_seeds_are_judged_by_a_sample_of_patterns():
    rng = np.random.default_rng(3)
    assert ablation.sign_flip(rng.normal(1, 0.5, 20)) < 1e-4
    assert ablation.sign_flip([1, -1] * 10) == 1


@pytest.mark.parametrize(
    ("exercise", "words"),
    [
        ("1", "--exercise 1: that one is tune.py's; here choose from 2, three, "),
        ("3", "--exercise 3: that one is cost.py's; here choose from 2, three, "),
        ("5", "--exercise 5: choose from 2, three, "),
    ],
)
def test_an_exercise_that_is_not_here_gets_the_others_or_the_script_that_does_it(
    tmp_path, exercise, words
):
    done = run_here("ablate.py", "--exercise", exercise, "--out", tmp_path / "out")
    assert_one_clear_line(done, words)


def test_heads_and_last_blocks_are_compared_where_there_is_something_to_see():
    ablated = ablation.make(["chapter", "dense-head"], "torch", "fast", [0])
    assert [variant.settings.resize for variant in ablated] == [99, 99]
    ablated = ablation.make(["chapter", "one-1x1", "vgg-12@28"], "torch", "fast", [0])
    assert [variant.settings.resize for variant in ablated] == [68, 68, 28]
    for network in ("gentle", "dense-head"):
        with pytest.raises(NinError, match=r"resize=98: chapter has one pixel left .* resize=99"):
            ablation.make(["chapter", network], "torch", "fast", [0], resize=98)


@pytest.mark.parametrize(
    ("networks", "seeds", "given", "words"),
    [
        ([], [0], {}, "at least one of each"),
        (["chapter"], [], {}, "at least one of each"),
        (["chapter", "chapter"], [0], {}, "networks: chapter, chapter: one stands there twice"),
        (["chapter", "inner=2"], [0], {}, "networks: chapter, inner=2: one stands there twice"),
        (["chapter"], [1, 1], {}, "seeds: 1, 1: one stands there twice"),
        (["nin2"], [0], {}, "network=nin2: there is no network of that name"),
        (["chapter@big"], [0], {}, "a size in pixels is to stand behind the @"),
        ([f"chapter@{'9' * 5000}"], [0], {}, "a size in pixels is to stand behind the @"),
        (["chapter@28"], [0], {}, "chapter@28: resize=28: too small"),
        (["chapter"], [0], {"seed": 1}, "seed: here it is seeds"),
        (["chapter"], [0], {"lr": -1}, "lr=-1: must be"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(networks, seeds, given, words):
    with pytest.raises(NinError) as refused:
        ablation.make(networks, "torch", "fast", seeds, **given)
    assert words in str(refused.value)


class Stop(Watcher):
    """Interrupts a run before its first step."""

    def begin(self, run):
        raise KeyboardInterrupt


@pytest.mark.shared
@pytest.mark.parametrize("existed", [False, True])
def test_a_start_that_failed_leaves_nothing_and_does_not_block_its_directory(
    backend_name, sample, tmp_path, existed
):
    out = tmp_path / "runs"
    if existed:
        out.mkdir()
    options = {"backend": backend_name, "data": sample, "seeds": 1, "out": out, **OPTIONS}
    with pytest.raises(NinError, match=r"batch_size=121: larger than the data \(120 .*more images"):
        common.ablate(*NETWORKS, **options | {"batch_size": 121})
    assert out.exists() == existed
    with pytest.raises(KeyboardInterrupt):
        common.ablate(*NETWORKS, watchers=(Stop(),), **options | {"limit": 100})
    assert [*tmp_path.rglob("*")] == [out] * existed


class StopSecond(Watcher):
    """Interrupts the second run."""

    runs = 0

    def begin(self, run):
        type(self).runs += 1

    def step(self, run):
        if self.runs == 2:
            run.stop.signal = 2


@pytest.mark.long
def test_an_interrupted_ablation_goes_on_and_takes_more_seeds(
    backend_name, sample, tmp_path, capsys
):
    def ablate(seeds, **options):
        options = {"backend": backend_name, "data": sample, "watchers": (), **OPTIONS, **options}
        return common.ablate(*NETWORKS, seeds=seeds, out=tmp_path / "runs", **options)

    first = ablate(1, watchers=(StopSecond(),))
    assert first.exit_status == 130
    assert [len(variant.outcomes) for variant in first.variants] == [1, 0]
    first_outcome = first.variants[0].outcomes[0]
    capsys.readouterr()
    found = ablate(2)
    said = capsys.readouterr().out
    assert [f"run {number} of 4" in said for number in (1, 2, 3, 4)] == [False, True, True, True]
    assert found.exit_status == 0
    assert found.variants[0].outcomes[0] == first_outcome
    written = json.loads((tmp_path / "runs" / "ablation.json").read_text())
    rows = found.report()["networks"]
    assert written["networks"] == json.loads(json.dumps(rows))
    for row in rows.values():
        assert [run["seed"] for run in row["runs"]] == [0, 1]
        assert all(run["complete"] and run["curve"] for run in row["runs"])
        assert all(0 <= run["training_accuracy"] <= 1 for run in row["runs"])
        assert all(0 <= run["dead_channels"] <= 1 for run in row["runs"])
    with pytest.raises(NinError, match="the runs there have epochs=1, not 2"):
        ablate(2, epochs=2)

    found.show()
    shown = capsys.readouterr().out
    assert "with 2 seeds at least 0.5" in shown
    assert "subset" in shown
    for language, subset in (("en", "subset"), ("tr", "alt küme")):
        picture = found.plot(language)
        assert any(subset in text.get_text() for text in picture.texts)
        assert figures.png(picture, 40)


class Spoil(Watcher):
    """Spoils the weights."""

    def step(self, run):
        backend, net = run.ready.backend, run.trainer.net
        weights = {name: array * np.inf for name, array in backend.get_weights(net).items()}
        backend.set_weights(net, weights)


@pytest.mark.shared
def test_a_run_that_diverged_is_named_and_not_trained_again(backend_name, sample, tmp_path, capsys):
    for again in (False, True):
        found = common.ablate(
            NETWORKS[0], backend=backend_name, data=sample, seeds=1, out=tmp_path / "runs",
            watchers=(Spoil(),), **OPTIONS,
        )  # fmt: skip
        assert ("run 1 of 1" in capsys.readouterr().out) != again
        assert [outcome.complete for outcome in found.variants[0].outcomes] == [False]
        found.show()
        assert "diverged with seed 0: not in the means" in capsys.readouterr().out


@pytest.mark.shared
def test_runs_of_another_size_or_of_other_images_are_not_taken_for_these(
    backend_name, sample, tmp_path
):
    def ablate(images, resize):
        common.ablate(
            SMALL, backend=backend_name, data=images, seeds=1, out=tmp_path / "runs",
            watchers=(Spoil(),), resize=resize, **OPTIONS,
        )  # fmt: skip

    arrays = [sample.train_images, sample.train_labels, sample.test_images, sample.test_labels]
    own = Dataset(*arrays)
    ablate(own, 28)
    with pytest.raises(NinError, match=r"was trained there with resize=28, not 32; choose another"):
        ablate(own, 32)
    with pytest.raises(NinError, match="the runs there are of other images"):
        ablate(Dataset(arrays[0][::-1], arrays[1][::-1], *arrays[2:]), 28)
