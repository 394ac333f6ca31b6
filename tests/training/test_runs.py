"""Whole runs of each backend: files, records, interruption, resumption, trouble."""

import contextlib
import dataclasses
import json
import math
import shutil

import numpy as np
import pytest

import common
from common.backends.session import Started
from common.errors import NinError, in_python
from common.files.arrays import load_arrays
from common.network import architecture
from common.prediction import dead_classes
from common.settings import OPTIMIZERS, from_preset
from common.system.signals import StopRequest
from common.training import fit, memory, plateau, records, run_directory
from common.training.run import DivergedError, Watcher, summary
from common.training.workers import Workers

EXAMPLES = 150
BATCH = 32  # 5 steps an epoch, the last one smaller


class StopAfter(StopRequest):
    """A stop that is asked for once this many looks have been taken."""

    def __init__(self, looks):
        self.looks = looks
        super().__init__()

    @property
    def signal(self):
        self.looks -= 1
        return 15 if self.looks < 0 else None

    @signal.setter
    def signal(self, value):
        pass


NEVER = 10**9


class Lines(Watcher):
    """Keeps what a run has to say; may do something when an epoch is done."""

    def __init__(self, at_epoch=lambda run: None):
        self.notes = []
        self.at_epoch = at_epoch

    def note(self, run, text):
        self.notes.append(text)

    def epoch(self, run, row):
        self.at_epoch(run)


@pytest.fixture(scope="module")
def start(backend, backend_name, sample, tmp_path_factory):
    """Makes a run in a new directory, or one that goes on in its directory."""
    parent = tmp_path_factory.mktemp("runs")

    def start(directory=None, looks=NEVER, watcher=None, **changes):
        settings = from_preset("fast", backend=backend_name, device="cpu", resize=67)
        settings = dataclasses.replace(
            settings,
            **{
                # the second is of 3 steps
                "epochs": 1.6,
                "batch_size": BATCH,
                "limit": EXAMPLES,
                "precision": "float32",
                # all that draws random numbers
                "dropout": 0.5,
                "shift": 1,
                "flip": True,
                **changes,
            },
        )
        dataset = sample.hold_out(settings.validation).limit(settings.limit)
        ready = Started(backend, backend.find_device("cpu"), {"threads": 1}, "float32")
        watchers = [records.Records(), *([watcher] if watcher else [])]
        run = fit.make(ready, settings, dataset, watchers=watchers)
        run.stop = StopAfter(looks)
        if directory is not None:
            run.restore(*run_directory.load_checkpoint(directory)[:2])
        run.directory = directory or run_directory.create(None, settings, parent)
        return run

    return start


@pytest.fixture(scope="module")
def finished(start):
    run = start()
    assert run.train()
    return run, json.loads((run.directory / "result.json").read_text())


def rows_of(run):
    lines = (run.directory / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def without_times(row):
    return {n: v for n, v in row.items() if not n.endswith("seconds") and n != "checksum"}


@pytest.mark.shared
def test_a_finished_run_leaves_every_file(finished):
    run, _ = finished
    names = {path.name for path in run.directory.iterdir()}
    assert names == {
        "metrics.jsonl",
        "curves.svg",
        "curves.png",
        "model.safetensors",
        "checkpoint.safetensors",
        "checkpoint.previous.safetensors",
        "result.json",
        "tensorboard",
    }


@pytest.mark.shared
def test_the_result_has_the_promised_fields_and_is_complete(finished, backend_name):
    _, result = finished
    promised = (
        "backend preset data train_examples epochs train_loss train_accuracy test_accuracy "
        "examples_per_second train_seconds total_seconds device precision seed complete"
    )
    assert set(promised.split()) <= set(result)
    assert result["complete"] is True
    assert result["backend"] == backend_name
    assert result["train_examples"] == EXAMPLES
    assert result["epochs"] == 1.6


def test_the_result_is_the_last_line_of_the_metrics(finished):
    run, result = finished
    last = rows_of(run)[-1]
    for name in ("train_loss", "train_accuracy", "test_accuracy"):
        assert result[name] == last[name]


def test_the_metrics_have_a_line_per_epoch(finished):
    run, _ = finished
    assert [row["epoch"] for row in rows_of(run)] == [1, 1.6]


def test_the_speed_is_examples_over_training_time(finished):
    _, result = finished
    expected = (EXAMPLES + 3 * BATCH) / result["train_seconds"]
    assert result["examples_per_second"] == pytest.approx(expected)
    assert 0 < result["train_seconds"] < result["total_seconds"]


def test_everything_written_on_a_subset_of_the_sample_says_so(finished):
    run, result = finished
    words = "embedded sample"
    assert words in result["notice"]
    assert "subset" in result["notice"]
    assert all(words in row["notice"] for row in rows_of(run))
    assert words in load_arrays(run.directory / "model.safetensors")[1]["training"]
    # text in the SVG is drawn as shapes; the comment before each shape holds the words
    assert "embedded" in (run.directory / "curves.svg").read_text()


def test_the_weights_file_is_canonical_float32(finished, backend):
    run, _ = finished
    arrays, metadata = load_arrays(run.directory / "model.safetensors")
    assert {n: a.shape for n, a in arrays.items()} == architecture.parameter_shapes()
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    assert json.loads(metadata["network"])["num_classes"] == 10
    assert len(json.loads(metadata["classes"])) == 10
    trained = backend.get_weights(run.trainer.net)
    assert all((arrays[name] == trained[name]).all() for name in arrays)


def test_the_reported_accuracy_is_that_of_the_saved_weights(finished, backend):
    run, result = finished
    net = backend.nin()
    backend.initialize(net, "he", 99)
    predictor = backend.Predictor(net, run.settings)
    weights, _ = load_arrays(run.directory / "model.safetensors")
    backend.set_weights(net, weights)
    correct = predictor.logits(run.dataset.test_images).argmax(1) == run.dataset.test_labels
    assert correct.mean() == result["test_accuracy"]


@pytest.mark.shared
def test_the_same_seed_gives_the_same_numbers(finished, start):
    first, _ = finished
    second = start()
    second.train()
    assert list(map(without_times, rows_of(first))) == list(map(without_times, rows_of(second)))


@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 1), (1, 3)])
@pytest.mark.shared
def test_another_number_of_workers_is_noted_and_recorded(start, before, after):
    def described(run, workers):
        return records.describe(run) | ({"workers": workers} if workers > 1 else {})

    run = start()
    records.add_resumption(run, described(run, before), described(run, after))
    words = f"resumed with workers {after} instead of {before}: not bit for bit"
    assert [words in note for note in run.notes] == ([True] if before != after else [])
    config = json.loads((run.directory / "config.json").read_text())
    assert config["resumed"][0]["workers"] == after


def test_event_files_of_one_second_do_not_overwrite_each_other(tmp_path):
    from common.training.tensorboard import Events

    for epoch in range(3):
        events = Events(tmp_path, epoch, "")
        events.add(epoch, {"train_loss": 1.0})
        events.close()
    # TensorBoard reads them in the order of their names
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    assert files == sorted(files, key=lambda file: file.stat().st_mtime_ns)


def test_the_line_on_want_of_memory_names_a_run_that_is_there_and_no_size_of_nothing(tmp_path):
    settings = from_preset("fast", resize=67, batch_size=2)
    (tmp_path / "config.json").touch()
    for directory, words in (
        (tmp_path, f"out of memory in {tmp_path}; take"),
        (tmp_path / "gone", "out of memory; take"),
    ):
        with pytest.raises(NinError) as caught, memory.explained(settings, directory):
            raise MemoryError
        assert str(caught.value).startswith(words)
        assert "MiB" in str(caught.value)
        assert " 0.0 " not in str(caught.value)


@pytest.mark.parametrize(("epochs", "is_taken"), [(0.2, False), (0.8, False), (1, True), (3, True)])
def test_the_last_batch_is_to_do_for_all_workers_if_the_run_takes_it(sample, epochs, is_taken):
    settings = from_preset("fast", batch_size=32, epochs=epochs)
    workers = Workers()
    workers.count = 3
    refused = pytest.raises(NinError, match="has 1 example, too few for 3 workers")
    with refused if is_taken else contextlib.nullcontext():
        fit._check_shares(settings, sample.limit(129), workers)


LEFT_OVER = ("metrics.jsonl", ".config.json.ab_3xyz9", ".metrics.jsonl.ab_3xyz9")


def test_what_a_run_leaves_that_was_killed_at_its_start_is_in_nobodys_way(tmp_path):
    for count in range(len(LEFT_OVER) + 1):
        for name in LEFT_OVER[:count]:
            (tmp_path / name).touch()
        assert not run_directory.is_begun(tmp_path)
        run_directory.check_free(tmp_path)
    assert not run_directory.is_begun(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metrics.jsonl", '{"epoch": 1}'),
        ("notes.txt", ""),
        (".config.json.swp", ""),
        ("config.json", "{}"),
    ],
)
def test_nothing_is_removed_beside_what_a_run_does_not_leave_at_its_start(tmp_path, name, text):
    for left in LEFT_OVER:
        (tmp_path / left).touch()
    (tmp_path / name).write_text(text)
    before = set(tmp_path.iterdir())
    assert not run_directory.is_begun(tmp_path)
    assert set(tmp_path.iterdir()) == before


def test_nothing_is_removed_of_a_run_that_is_just_beginning(tmp_path):
    (tmp_path / "metrics.jsonl").touch()
    with run_directory.lock(tmp_path):
        assert not run_directory.is_begun(tmp_path)
    assert (tmp_path / "metrics.jsonl").exists()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_that_auto_gave_its_precision_goes_on_with_auto(precision):
    kept = from_preset("fast", precision=precision)
    fit.given_settings(kept, {"precision": "auto"}, "here")
    with pytest.raises(NinError, match=f"precision={precision}, not float64"):
        fit.given_settings(kept, {"precision": "float64"}, "here")


def test_a_run_in_float64_does_not_go_on_with_auto():
    with pytest.raises(NinError, match="precision=float64, not auto"):
        fit.given_settings(from_preset("fast", precision="float64"), {"precision": "auto"}, "here")


@pytest.mark.long
def test_another_seed_gives_other_numbers(finished, start):
    first, _ = finished
    second = start(seed=1)
    second.train()
    assert rows_of(first)[-1]["train_loss"] != rows_of(second)[-1]["train_loss"]


# looks at the stop: one before each of 5 steps, one after them, one before the only test batch
@pytest.mark.parametrize(
    "looks", [pytest.param(0, marks=pytest.mark.long), 6, pytest.param(10, marks=pytest.mark.long)]
)
def test_a_run_stopped_anywhere_and_resumed_ends_with_the_same_weights(
    finished, start, backend, looks
):
    whole, expected = finished
    stopped = start(looks=looks)
    assert not stopped.train()
    assert stopped.result()["complete"] is False

    resumed = start(directory=stopped.directory)
    assert resumed.train()
    result = resumed.result()
    assert result["complete"] is True
    for name in ("train_loss", "train_accuracy", "test_accuracy"):
        assert result[name] == expected[name]
    weights = backend.get_weights(whole.trainer.net)
    for name, array in backend.get_weights(resumed.trainer.net).items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)
    assert list(map(without_times, rows_of(resumed))) == list(map(without_times, rows_of(whole)))


@pytest.mark.shared
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(start, backend):
    def poison(run):
        weights = backend.get_weights(run.net)
        weights["block2.conv1.weight"][0] = np.nan
        backend.set_weights(run.net, weights)

    run = start(watcher=Lines(poison))
    with pytest.raises(
        DivergedError, match=r"at epoch 2, step [1-5]: .* not finite.*; try a lower lr"
    ):
        run.train()
    state, progress, _ = run_directory.load_checkpoint(run.directory)
    assert all(np.isfinite(array).all() for array in state.values())
    assert all(map(math.isfinite, progress.losses))
    assert json.loads((run.directory / "result.json").read_text())["complete"] is False


@pytest.mark.shared
def test_a_weight_that_is_not_finite_never_reaches_a_checkpoint(start, backend):
    def poison(run):
        weights = backend.get_weights(run.net)
        weights["block3.conv2.bias"][0] = np.inf
        backend.set_weights(run.net, weights)

    run = start(epochs=1, watcher=Lines(poison))
    # the records come after the watcher that spoils the weights of the last epoch
    run.watchers.reverse()
    with pytest.raises(
        DivergedError, match=r"^training diverged at .*: block3\.conv2\.bias is not f"
    ):
        run.train()
    assert not (run.directory / "model.safetensors").exists()
    state, *_ = run_directory.load_checkpoint(run.directory)
    assert all(np.isfinite(array).all() for array in state.values())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_optimizers_own_names_are_not_told(start, optimizer):
    run = start(epochs=1, optimizer=optimizer, momentum=0.5 * (optimizer == "sgd"))
    run.trainer.train_batch(np.arange(BATCH), 0.01, 0)
    state = run.trainer.state()
    name = next(name for name in state if name.endswith(".block1.conv1.bias"))
    run.trainer.load_state({**state, name: np.full_like(state[name], np.inf)})
    with pytest.raises(
        DivergedError, match=r"^training diverged at .*: the optimizer's state is n"
    ):
        run.finite_state()


@pytest.mark.long
def test_a_run_killed_while_it_wrote_its_results_can_be_finished(finished, start):
    run = start()
    assert run.train()
    (run.directory / "result.json").unlink()
    resumed = start(directory=run.directory)
    assert resumed.train()
    assert resumed.test_accuracy == finished[1]["test_accuracy"]
    assert run_directory.is_complete(run.directory)


@pytest.mark.long
def test_curves_that_could_not_be_drawn_cost_nothing_and_are_drawn_on_resume(
    backend_name, monkeypatch, tmp_path
):
    def broken(*arguments):
        raise RuntimeError("no fonts")

    options = {"epochs": 1, "limit": EXAMPLES, "batch_size": BATCH, "device": "cpu", "watchers": ()}
    with monkeypatch.context() as patch:
        patch.setattr("common.training.curves.plot", broken)
        out = tmp_path / "run"
        run = common.fit(backend_name, "sample", "fast", out=out, lang="tr", **options)
    assert run.complete
    assert "could not be drawn (RuntimeError: no fonts)" in run.notes[-1]
    assert run_directory.is_complete(tmp_path / "run")
    assert not run_directory.has_curves(tmp_path / "run")
    assert common.resume(tmp_path / "run", watchers=()).test_accuracy == run.test_accuracy
    assert run_directory.has_curves(tmp_path / "run")
    # and in the language that was asked for
    assert "eğitim kaybı" in (tmp_path / "run" / "curves.svg").read_text(encoding="utf-8")
    with pytest.raises(NinError, match="nothing is left to do"):
        common.resume(tmp_path / "run")
    # which says how to train on
    with pytest.raises(NinError, match=r"epochs=1, not 2; leave it out, or train its network on "):
        common.resume(tmp_path / "run", epochs=2)
    net = common.load(tmp_path / "run", backend_name).net
    options = {**options, "init": "keep", "resize": 67}
    assert common.fit(net, "sample", "fast", **options).complete


@pytest.mark.long
def test_what_was_trained_is_not_lost_with_the_directory(finished, start, tmp_path, monkeypatch):
    whole, _ = finished
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run = start(watcher=Lines(lambda run: shutil.rmtree(run.directory, ignore_errors=True)))
    # the records come after the watcher that takes the directory away
    run.watchers.reverse()
    with pytest.raises(NinError, match=r"what was trained is in .*; go on with resume="):
        run.train()
    resumed = start(directory=run.directory)
    assert resumed.train()
    assert list(map(without_times, rows_of(resumed))) == list(map(without_times, rows_of(whole)))


def kill_the_last_block(run, backend):
    weights = backend.get_weights(run.trainer.net)
    weights["block4.conv2.bias"] -= 1000
    weights["block4.conv3.bias"] -= 1000
    backend.set_weights(run.trainer.net, weights)


@pytest.mark.shared
def test_a_dead_network_is_recognised_and_explained_without_stopping(start, backend, monkeypatch):
    monkeypatch.setattr(plateau, "WINDOW_STEPS", 10)
    lines = Lines()
    run = start(watcher=lines, batch_size=4, limit=80, epochs=1)
    kill_the_last_block(run, backend)
    assert run.train()
    notes = lines.notes
    assert len(notes) == 1
    assert "ln(10) = 2.303" in notes[0]
    assert "100 % of the logits are exactly 0" in notes[0]
    assert "block4.conv2" in notes[0]
    assert run.notes == [in_python(notes[0])]


@pytest.mark.shared
def test_a_dead_class_is_named_with_what_helps(start, backend, monkeypatch):
    monkeypatch.setattr(dead_classes, "ENOUGH", 1)
    run = start(epochs=1)
    weights = backend.get_weights(run.trainer.net)
    weights["block4.conv3.bias"][[2, 6]] -= 1000
    backend.set_weights(run.trainer.net, weights)
    assert run.train()
    assert {2, 6} <= {*run.result()["dead_classes"]}
    (note,) = run.notes
    assert "pullover, " in note
    assert "shirt" in note
    assert "another seed" in note


@pytest.mark.shared
def test_a_dead_class_is_looked_for_in_the_images_of_all_workers(start, backend, monkeypatch):
    class OneOfTwo(Workers):
        count = 2

        def sum(self, values):
            """The other's loss is ours, and its images are ours from the last to the first."""
            return 2 * values if values.ndim == 1 else values + values[::-1]

    monkeypatch.setattr(dead_classes, "ENOUGH", 1)
    run = start(epochs=1)
    run.workers = OneOfTwo()
    weights = backend.get_weights(run.trainer.net)
    weights["block4.conv3.bias"][2] -= 1000
    backend.set_weights(run.trainer.net, weights)
    assert run.train()
    assert f"0 for all {len(run.dataset.test_images)} images" in run.notes[0]
    seen = run.predict(run.dataset.test_images, run.dataset.test_labels)
    assert "pullover" in seen.notes[0]
    assert "train it anew" in seen.notes[1]


@pytest.mark.long
def test_a_plateau_longer_than_an_epoch_is_reported_once(start, backend, monkeypatch):
    monkeypatch.setattr(plateau, "WINDOW_STEPS", 7)  # of 5 steps an epoch
    run = start(epochs=3)
    kill_the_last_block(run, backend)
    assert run.train()
    assert len(run.notes) == 1


@pytest.mark.shared
def test_a_validation_split_is_named_and_the_test_set_is_not_touched(start):
    run = start(validation=300, epochs=1)
    run.train()
    result = run.result()
    assert run.test_accuracy is None
    assert run.validation_accuracy == result["validation_accuracy"]
    assert 0 <= result["validation_accuracy"] <= 1
    assert "validation acc" in summary(result)[0]


def test_the_last_lines_are_the_books(finished, backend_name):
    _, result = finished
    names = {"torch": "cpu", "tf": "/CPU:0", "mxnet": "cpu(0)"}
    figures = {**result, "train_loss": 0.3641, "train_accuracy": 0.8639, "test_accuracy": 0.845}
    lines = summary({**figures, "examples_per_second": 3180.28})
    assert lines[0] == "loss 0.364, train acc 0.864, test acc 0.845"
    assert lines[1] == f"3180.3 examples/sec on {names[backend_name]}"


def test_an_asked_for_gpu_that_is_not_there_is_refused(backend):
    try:
        device = backend.find_device("gpu")
    except NinError as error:
        assert "device=gpu" in str(error)
    else:
        assert device.kind == "gpu"
        assert backend.find_device("auto").kind == "gpu"


@pytest.mark.shared
def test_a_checkpoint_of_another_network_is_refused(start, backend):
    run = start()
    state = run.trainer.state()
    name = "block1.conv1.weight"
    run_directory.save_checkpoint(
        run.directory, {**state, name: np.zeros((2, 1, 3, 3), np.float32)}, run.progress
    )
    with pytest.raises(NinError, match="not of this network"):
        start(directory=run.directory)


@pytest.mark.shared
def test_a_device_too_full_for_a_checkpoint_is_not_reported_as_another_network(start, monkeypatch):
    def load_state(state):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 MiB")

    run = start()
    monkeypatch.setattr(run.trainer, "load_state", load_state)
    with pytest.raises(RuntimeError, match="CUDA out of memory"):
        run.restore({}, run.progress)
