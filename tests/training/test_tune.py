"""The search for hyperparameters: what it draws, how it goes on, what it never looks at."""

import dataclasses
import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from commands import ROOT, assert_one_clear_line, command, run, run_here
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.legend import Legend

import common
from common.errors import NinError
from common.files import figures
from common.report import style
from common.report import tune as report
from common.settings import Settings, from_preset
from common.training import space, tune
from common.training.run import DivergedError

LINEAR = ROOT / "tests" / "linear_nin.py"
# of the linear backend: no pass over images to start from, which takes NumPy seconds
QUICK = {
    "backend": str(LINEAR), "preset": "fast", "limit": 200, "validation": 600, "epochs": 2,
    "precision": "float32",
}  # fmt: skip
LINES = ("lr=0.001:0.3", "batch_size=10,20,50", "schedule", "init=xavier", "last_block=random")
BEST = "abcd"


@st.composite
def lines(draw):
    """A line for a few settings, and whether it is a range."""
    found = {}
    for name in draw(st.lists(st.sampled_from(sorted(space.VALUES)), unique=True, min_size=1)):
        values = space.VALUES[name]
        if ":" in values and draw(st.booleans()):
            low, high = map(float, values.split(":"))
            kind = int if name == "shift" else float
            ends = sorted(draw(st.lists(st.floats(low, high), min_size=2, max_size=2)))
            ends = [kind(f"{end:.0f}" if kind is int else f"{end:.3g}") for end in ends]
            if ends[0] < ends[1] and (ends[0] > 0 or name not in space.LOGARITHMIC):
                values = f"{ends[0]}:{ends[1]}"
        found[name] = values
    if "momentum" in found:
        found["optimizer"] = "sgd,muon"
    return [f"{name}={values}" for name, values in found.items()]


@given(lines(), st.integers(0, 2**31 - 1))
def test_what_is_drawn_is_in_the_space_and_can_be_trained(chosen, seed):
    optuna = pytest.importorskip("optuna")
    base = from_preset("fast")
    choices, base = space.parse(chosen, base)
    again, _ = space.parse([f"{name}={values}" for name, values in choices.items()], base)
    assert again == choices
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    values = space.suggest(choices, base, study.ask())
    assert all(value in choices[name] for name, value in values.items())
    assert set(choices) - set(values) <= {"momentum"}
    space.settings_of(base, values).check()


def test_without_lines_the_exercise_is_searched():
    choices, _ = space.parse([], from_preset("fast"))
    assert list(choices) == ["lr", "batch_size", "optimizer", "init", "resize", "schedule"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("learning=0.1", "did you mean lr? can be searched: lr, batch_size, optimizer"),
        ("learning_rate=0.1:0.5", "did you mean lr? can be searched: lr, batch_size, optimizer"),
        ("lr=0.5:0.1", "the lower end comes first"),
        ("lr=x", "'x' is no number; such as lr=0.001:0.3"),
        ("lr=nan:1", "'nan' is no number"),
        ("lr=0:1", "its range is logarithmic and begins above 0"),
        ("lr=0.1:5000", "lr=5000.0: must be a number above 0"),
        ("batch_size=1.5", "'1.5' is no whole number"),
        ("batch_size=64,64", "a value stands there twice"),
        ("batch_size=64,100000", "batch_size=100000: larger than the data (8334 training"),
        ("optimizer=sgd,adam", "optimizer=adam: must be sgd, adamw, muon"),
        ("optimizer=sgd:adamw", "has no ranges"),
        ("momentum", "only the sgd optimizer has it; search the optimizer too"),
        ("resize=20:80", "resize=20: too small for this network"),
        ("flip=maybe", "'maybe' is neither yes nor no"),
        ("lr=0.1", "there is nothing to search"),
        ("network=chapter,nin2", "there is no network of that name"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(tmp_path, line, words):
    done = run_here("tune.py", "--data", "sample", "--out", tmp_path / "new", "--search", line)
    assert_one_clear_line(done, words)
    assert not (tmp_path / "new").exists()


def test_without_optuna_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = run_here("tune.py", "--data", "sample", "--out", tmp_path / "new")
    assert_one_clear_line(done, 'install it with: pip install -e ".[tune]"')
    assert not (tmp_path / "new").exists()


# ------------------------------------------------------------------ with a made-up accuracy


def made_up(settings, interim):
    """The best learning rate is 0.03, and linear the best schedule."""
    accuracy = (
        0.9 - 0.1 * abs(np.log10(settings.lr / 0.03)) - 0.05 * (settings.schedule != "linear")
    )
    for percent in tune.MARKS:
        interim(percent, accuracy * percent / 100)
    return float(accuracy)


def search(tuning, wanted, objective):
    """Search, the accuracies made up by a function of a trial's settings."""

    def fit(settings, dataset, watchers):
        accuracy = objective(settings, watchers[1].report)
        stop = SimpleNamespace(signal=signal.SIGINT)
        complete = accuracy is not None
        return SimpleNamespace(complete=complete, validation_accuracy=accuracy, stop=stop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune.fit, "fit", fit)
        tune.search(tuning, wanted, tune.Observer())


def begin(sample, out, **given):
    return tune.begin(LINES, sample, out, **{**QUICK, **given})


def drawn(tuning):
    return [
        (trial.values, trial.outcome, trial.accuracy) for trial in tuning.trials if trial.counts
    ]


@pytest.fixture(scope="module")
def whole(sample, tmp_path_factory):
    """A search that nothing interrupted."""
    tuning = begin(sample, tmp_path_factory.mktemp("whole") / "new")
    search(tuning, 16, made_up)
    return tuning


def test_a_search_finds_what_is_good_and_stops_what_is_not(whole):
    assert [trial.counts for trial in whole.trials] == [True] * 16
    assert {trial.outcome for trial in whole.trials} == {"complete", "pruned"}
    first = whole.trials[0]
    assert first.values["schedule"] == "linear"
    assert not first.preset, "the preset's batch size is not searched"
    assert whole.best.accuracy == max(t.accuracy for t in whole.trials if t.accuracy)
    assert whole.best.values["schedule"] == "linear"
    assert 0.01 < whole.best.values["lr"] < 0.1
    worst = max(t.reached / max(t.curve) * 100 for t in whole.trials if t.outcome == "pruned")
    assert worst < whole.best.accuracy


@pytest.mark.parametrize("lang", style.LANGUAGES)
@pytest.mark.parametrize("name", report.PICTURES)
def test_each_picture_of_a_search_says_below_its_legend_that_it_was_on_the_sample(
    whole, name, lang
):
    drawn = whole.plot(name, lang)
    figures.png(drawn, drawn.dpi)  # lays it out
    *_, notice = drawn.texts
    assert notice.get_text().split() == style.told(whole.dataset.notice, lang).split()
    assert "Fashion-MNIST" in notice.get_text()
    (legend,) = drawn.findobj(Legend)
    assert notice.get_window_extent().y1 < legend.get_window_extent().y0
    assert legend.get_window_extent().y1 < drawn.axes[-1].get_window_extent().y0


def test_the_command_for_the_best_settings_names_the_data_of_the_search(whole, sample, tmp_path):
    words = shlex.split(report.command(whole, whole.best))
    assert words[words.index("--data") + 1] == "sample"
    assert words[words.index("--epochs") + 1] == "2"
    own = dataclasses.replace(sample, kind="custom", directory="my plants")
    other = begin(own, tmp_path / "new")
    assert "--data 'my plants'" in report.command(other, whole.best)


def test_an_accuracy_of_1_is_not_known_without_an_error(whole, sample, tmp_path):
    tuning = begin(sample, tmp_path / "new")
    search(tuning, 1, lambda *_: 1.0)
    count = len(tuning.dataset.test_images)
    assert 0.5 / count < tuning.noise < 1.5 / count
    share = whole.best.accuracy
    assert whole.noise == pytest.approx(np.sqrt(share * (1 - share) / count), rel=0.1)


def trial(number, values, accuracy):
    outcome = "complete" if number % 3 else "pruned"
    curve = {25: accuracy} if outcome == "pruned" else {}
    ended = accuracy if outcome == "complete" else None
    return tune.Trial(number, outcome, values, ended, curve, 1.0, "", False)


@pytest.mark.parametrize(
    "accuracies", [(0.612, 0.76), (0.83, 0.84), (0.1, 0.95), (0.3, 1.0), (1.0, 1.0)]
)
@pytest.mark.parametrize("search", ["lr=0.01:0.1", "lr=0.02:0.09", "lr=0.001:0.1", "lr=0.001:0.3"])
@pytest.mark.parametrize("others", [[], ["init", "shift=0:3", "flip"]])
def test_the_axes_of_the_picture_of_values_can_be_read(search, accuracies, others):
    choices, _ = space.parse([search, *others], from_preset("fast"))
    low, high = map(float, search[3:].split(":"))
    same = {"init": "he", "shift": 1, "flip": True}
    trials = [
        trial(i, same | {"lr": lr}, accuracy)
        for i, lr, accuracy in zip((1, 2), (low, high), accuracies, strict=True)
    ]
    drawn = report.values(SimpleNamespace(space=choices, ended=trials))
    figures.png(drawn, drawn.dpi)  # lays it out
    axes = drawn.axes[0]
    for i, axis in enumerate((axes.xaxis, axes.yaxis)):
        least, most = axis.get_view_interval()
        shown = [label for tick, label in zip(axis.get_ticklocs(), axis.get_ticklabels(),
                 strict=True) if least <= tick <= most]  # fmt: skip
        assert len({label.get_text() for label in shown}) == len(shown) >= 2
        extents = [label.get_window_extent().get_points()[:, i] for label in shown]
        assert all(
            one[1] < other[0] for one, other in itertools.pairwise(sorted(extents, key=list))
        )
    for line in axes.lines:
        marks = axes.transData.transform(line.get_xydata())[:, 1]
        assert (marks + line.get_markersize() < axes.bbox.y1).all(), "cut off at the top"


@given(st.integers(0, 2**32 - 1), st.sampled_from([np.exp, np.cbrt, lambda x: 3 * x - 1]))
def test_importance_is_that_of_what_matters_on_any_scale(seed, monotone):
    choices, _ = space.parse(["lr", "optimizer", "shift", "flip"], from_preset("fast"))
    rng = np.random.default_rng(seed)
    drawn = [
        {"lr": 10 ** rng.uniform(-3, -1), "optimizer": ["sgd", "adamw", "muon"][i % 3],
         "shift": int(rng.integers(4)), "flip": bool(rng.integers(2))} for i in range(24)
    ]  # fmt: skip

    def found(accuracy):
        trials = [trial(i, values, accuracy(values)) for i, values in enumerate(drawn)]
        return tune.importance(trials, choices)

    by_optimizer = found(
        lambda values: {"sgd": 0.3, "adamw": 0.9, "muon": 0.5}[values["optimizer"]]
    )
    assert by_optimizer["optimizer"].share == pytest.approx(1)
    assert by_optimizer["optimizer"].by_chance < 0.5

    def distance(values):
        return -((np.log10(values["lr"]) + 2) ** 2)

    by_rate = found(lambda values: np.exp(distance(values)))
    assert next(iter(by_rate)) == "lr"
    assert 1 >= by_rate["lr"].share > by_rate["lr"].by_chance
    again = found(lambda values: float(monotone(np.exp(distance(values)))) + 2)
    assert again == by_rate
    assert found(lambda values: 0.5)["lr"].share == 0
    assert tune.importance([trial(0, drawn[0], 0.5)] * 7, choices) == {}


def test_an_interrupted_search_goes_on_as_it_would_have(whole, sample, tmp_path):
    begun = []

    def stopped(settings, interim):
        begun.append(settings)
        if len(begun) == 4:
            raise KeyboardInterrupt
        if len(begun) == 9:
            os.kill(os.getpid(), signal.SIGINT)
            return None
        return made_up(settings, interim)

    with pytest.raises(KeyboardInterrupt):
        search(begin(sample, tmp_path / "new"), 16, stopped)
    tuning = begin(sample, tmp_path / "new")
    assert [trial.outcome for trial in tuning.trials][3] == "interrupted"
    search(tuning, 16, stopped)
    assert tuning.exit_status == 130
    tuning = begin(sample, tmp_path / "new")
    search(tuning, 16, stopped)
    assert tuning.exit_status == 0
    assert [trial.outcome for trial in tuning.trials].count("interrupted") == 2
    assert drawn(tuning) == drawn(whole)


def test_what_diverges_or_fails_is_recorded_and_the_search_goes_on(sample, tmp_path):
    def objective(settings, interim):
        begun = len(tuning._study.trials())
        if begun == 2:
            raise DivergedError("the loss is not finite: try a lower `lr`")
        if begun == 3:
            raise NinError("out of memory; take a smaller `batch_size`")
        return made_up(settings, interim)

    tuning = begin(sample, tmp_path / "new")
    search(tuning, 4, objective)
    assert [trial.outcome for trial in tuning.trials] == [
        "complete", "diverged", "failed", "complete",
    ]  # fmt: skip
    assert tuning.trials[2].reason == "out of memory; take a smaller `batch_size`"
    for name, plot in report.PICTURES.items():
        assert figures.png(plot(tuning), 40), name


def test_a_search_whose_first_trial_fails_says_why(sample, tmp_path):
    def objective(settings, interim):
        raise NinError("`device=gpu`: there is none")

    with pytest.raises(NinError, match="trial 0: device=gpu: there is none"):
        search(begin(sample, tmp_path / "new"), 4, objective)


def test_the_bar_is_taken_away_when_a_process_of_the_search_fails(sample, tmp_path, monkeypatch):
    class Failing:
        def __init__(self, *_):
            self.kill = lambda: None

        def call(self, function, **arguments):
            raise NinError("it is no more")

    closed = []
    observer = tune.Observer()
    observer.closing = lambda: closed.append(True)
    monkeypatch.setattr(tune, "Apart", Failing)
    with pytest.raises(NinError, match="it is no more"):
        tune.search_apart(begin(sample, tmp_path / "new"), 2, 2, observer)
    assert closed == [True]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_processes_of_a_search(sample, tmp_path, monkeypatch, number):
    class Waiting:
        def __init__(self, *_):
            self.killed = threading.Event()
            self.kill = self.killed.set

        def call(self, function, **arguments):
            os.kill(os.getpid(), number)
            assert self.killed.wait(60)

    monkeypatch.setattr(tune, "Apart", Waiting)
    tuning = begin(sample, tmp_path / "new")
    tune.search_apart(tuning, 2, 1, tune.Observer())
    assert tuning.exit_status == 128 + number


KILLED = """
import os, signal, sys
from pathlib import Path
from common.data import fashion_mnist
import test_tune

def killed(settings, interim):
    os.kill(os.getpid(), signal.SIGKILL)

tuning = test_tune.begin(fashion_mnist.load("sample"), Path(sys.argv[1]))
test_tune.search(tuning, 3, killed)
"""


@pytest.mark.long
def test_a_trial_whose_process_was_killed_is_tried_again_but_not_for_ever(sample, tmp_path):
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests" / "training")))
    for outcomes in (["interrupted"], ["interrupted", "failed"]):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path / "new")],
            env={**os.environ, "PYTHONPATH": path}, capture_output=True,
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL, done.stderr
        tuning = begin(sample, tmp_path / "new")
        assert [trial.outcome for trial in tuning.trials] == outcomes
    assert tuning.trials[0].values == tuning.trials[1].values
    search(tuning, 3, made_up)
    assert len(tuning.ended) == 3
    assert tuning.best is not None


def test_a_search_of_something_else_is_not_gone_on_with(whole, sample):
    out = whole.out
    with pytest.raises(NinError, match="the runs there have epochs=2, not 3"):
        begin(sample, out, epochs=3)
    with pytest.raises(NinError, match=r"the runs there have search=lr=.*, not lr=0.01:0.3 "):
        tune.begin(("lr=0.01:0.3", *LINES[1:]), sample, out, **QUICK)
    changed = common.Dataset(
        255 - sample.train_images, sample.train_labels, sample.test_images, sample.test_labels
    )
    with pytest.raises(NinError, match="the runs there are of other images"):
        begin(changed, out)
    with pytest.raises(NinError, match="other processes cannot read these images"):
        tune.search_apart(begin(changed, out.parent / "arrays"), 2, 2, tune.Observer())


def test_a_search_that_another_process_is_about_to_make_is_joined(sample, tmp_path):
    (tmp_path / tune.LOCK).touch()
    assert begin(sample, tmp_path).trials == []
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    with pytest.raises(NinError, match="not an empty directory"):
        begin(sample, tmp_path / "other")


def test_a_database_that_is_none_is_named(sample, tmp_path):
    (tmp_path / tune.STUDY).write_text("this is no database, whatever its name says")
    with pytest.raises(NinError, match=r"study.db: damaged \(.*not a database"):
        begin(sample, tmp_path)


# ------------------------------------------------------------------ with a backend that trains


def test_the_test_set_is_looked_at_once_and_that_ends_the_search(sample, tmp_path):
    # every test image gets a label that no training image of its kind has
    wrong = ((sample.test_labels + 1) % 10).astype(np.uint8)
    arrays = sample.train_images, sample.train_labels, sample.test_images
    datasets = {name: common.Dataset(*arrays, labels) for name, labels in
                {"right": sample.test_labels, "wrong": wrong}.items()}  # fmt: skip
    found = {}
    for name, dataset in datasets.items():
        found[name] = begin(dataset, tmp_path / name)
        tune.search(found[name], 5, tune.Observer())
    assert drawn(found["right"]) == drawn(found["wrong"])
    assert found["right"].tested is None
    tested = {name: each.test() for name, each in found.items()}
    assert tested["right"]["accuracy"] > 0.5 > tested["wrong"]["accuracy"] + 0.2
    assert tested["right"]["examples"] == len(sample.test_images)

    tuning = begin(datasets["right"], tmp_path / "right")
    tuning.write("tr")
    written = json.loads((tuning.out / tune.REPORT).read_text())
    assert written["seed"] == written["settings"]["seed"] == 0
    assert {"python", "numpy", "optuna"} <= written["made_with"][0]["versions"].keys()
    assert written["test"] == tested["right"]
    for name in report.PICTURES:
        for kind in ("svg", "png"):
            assert (tuning.out / f"{name}.{kind}").stat().st_size > 1000
    model = common.load(tuning.out / "model.safetensors", str(LINEAR), precision="float32")
    predictions = model.predict(sample.test_images, sample.test_labels)
    assert 1 - predictions.wrong.mean() == tested["right"]["accuracy"]
    assert tuning.test() == tested["right"]
    tune.search(tuning, 5, tune.Observer())  # asks for nothing new
    with pytest.raises(NinError, match="that search is over"):
        tune.search(tuning, 6, tune.Observer())


@pytest.mark.long
def test_processes_share_a_search(tmp_path):
    out, trials = tmp_path / "a {brace}", 10
    options = [
        "--backend", "./linear_nin.py", "--data", "sample", "--limit", "200", "--validation", "600",
        "--epochs", "2", "--precision", "float32", "--seed", "3", "--lang", "tr",
        "--search", *LINES, "--trials", trials, "--out", out,
    ]  # fmt: skip
    tests = ROOT / "tests"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, tests)))}
    # the same command twice, one of them with two processes of its own
    other = subprocess.Popen(
        command("tune.py", *options), cwd=tests, env=environment, stdout=subprocess.DEVNULL
    )
    done = run("tune.py", *options, "--jobs", 2, cwd=tests, env=environment)
    assert other.wait(120) == 0
    assert done.returncode == 0, done.stderr
    again = run("tune.py", *options, "--test", cwd=tests, env=environment)
    assert again.returncode == 0, again.stderr
    assert "trial 0" not in again.stdout.split("validation")[0], "nothing was trained anew"
    assert "measured once; the search is over" in again.stdout
    written = json.loads((out / tune.REPORT).read_text())
    assert sum(trial["outcome"] != "interrupted" for trial in written["trials"]) == trials
    assert all(trial["outcome"] in ("complete", "pruned") for trial in written["trials"])
    assert written["test"]["trial"] == written["best"]
    assert "--seed 3" in again.stdout


@pytest.mark.shared
def test_a_trial_is_what_fit_trains(backend_name, sample, tmp_path, capsys):
    """And looking at it on the way changes nothing."""
    network = "channels=8-12,kernels=5-3-3,strides=2-1-1"
    options = {"limit": 150, "validation": 300, "epochs": 2, "threads": 1, "device": "cpu"}
    lines = ("lr=0.02:0.04", "batch_size=30,50", "resize=28", "optimizer=muon,sgd")
    options |= {"precision": "float32", "network": network}
    found = common.tune(
        *lines, trials=2, backend=backend_name, data=sample, out=tmp_path / "new",
        **options,
    )  # fmt: skip
    assert found.exit_status == 0
    assert [sorted(trial.curve) for trial in found.trials] == [list(tune.MARKS)] * 2
    settings = found.settings_of(found.best)
    names = ("lr", "batch_size", "resize", "optimizer")
    values = {name: getattr(settings, name) for name in names}
    run = common.fit(backend_name, sample, "fast", watchers=(), **options, **values)
    assert run.validation_accuracy == found.best.accuracy
    found.show()
    shown = capsys.readouterr().out
    assert "the test set has not been looked at" in shown
    assert "importance: from 8 trials on" in shown
    assert f"train.py --backend {backend_name} --preset fast" in shown
    assert Settings().resize != settings.resize == 28
