"""Predictions: the same from the same weights file whoever reads it, and what is made of them."""

import dataclasses
import itertools
import json
import os
import pty
import re
import subprocess

import numpy as np
import pytest
import reference
from commands import ROOT, assert_one_clear_line, command, run, run_here
from PIL import Image

import common
from common import api
from common.data import fashion_mnist
from common.data.dataset import Dataset
from common.data.fashion_mnist import CLASS_NAMES
from common.errors import NinError, NinWarning
from common.files import figures
from common.files.arrays import save_arrays
from common.model import Model, load_model, save_model
from common.network.description import parse
from common.prediction import classifier, predict
from common.prediction.predict import Images
from common.report import style
from common.settings import Settings

SIZE = 67
COUNT = 16
# Of the largest logit: float32 against float64, sums of up to 6400 products
TOLERANCE = 1e-5


@pytest.fixture(scope="session")
def model():
    return reference.model(resize=SIZE, class_names=CLASS_NAMES)


@pytest.fixture(scope="session")
def weights(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_model(path, model)
    return path


@pytest.fixture(scope="session")
def images(sample):
    return sample.test_images[:COUNT]


@pytest.fixture(scope="session")
def expected(model, images):
    return reference.logits(model, images)


@pytest.fixture
def settings(backend_name):
    return Settings(backend=backend_name, resize=SIZE, device="cpu")


def assert_same_logits(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


# ------------------------------------------------------------- without a framework


def test_the_reference_tells_the_images_apart(expected):
    assert np.ptp(expected, axis=0).max() > 0.1 * np.abs(expected).max()


SELECTIONS = {
    None: range(10),
    ":": range(10),
    "2:5": [2, 3, 4],
    ":3": [0, 1, 2],
    "8:": [8, 9],
    "7": [7],
    "5, 1,2:4": [5, 1, 2, 3],
    "9:10": [9],
}


@pytest.mark.parametrize(("text", "expected"), SELECTIONS.items())
def test_indices_say_which_images(text, expected):
    assert predict.select(text, 10, "test").tolist() == list(expected)


@pytest.mark.parametrize("text", ["", "x", "1:2:3", "-3", "3:3", "5:2", "10", "0:11", "1,", "³"])
def test_indices_that_name_no_image_are_refused(text):
    with pytest.raises(NinError, match=f"indices={text}: "):
        predict.select(text, 10, "test")


def test_an_index_of_very_many_digits_is_refused():
    with pytest.raises(NinError, match="must be like 0:64"):
        predict.select("9" * 5000, 10, "test")


BAD_INPUT = {
    "no such file": ("--weights nowhere", "nowhere: no such file"),
    "no such data": ("--data nowhere", "data nowhere: no such directory"),
    "unknown split": ("--split validation", "--split validation: must be test or train"),
    "index beyond the data": ("--data sample --indices 2000", "only 2000 test images"),
    "unknown backend": ("--data sample --backend cntk", "choose one of torch, tf, mxnet"),
    "size too small": ("--resize 10", "the smallest that works is 67"),
    "no size": ("--resize 0", "--resize 0: must be"),
    "images beside a split": ("--images a.png --split test", "--split: of a data set"),
    "no such photo": ("--images a.png", "a.png: no such file"),
    "no place for the file": ("--json nowhere/a.json", "--json nowhere/a.json: not a file in an"),
    "a directory for a file": ("--logits .", "--logits .: not a file in an"),
    "no kind of picture": ("--picture a.txt", "--picture a.txt: its name must end with .png"),
}


@pytest.mark.parametrize(("arguments", "words"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_to_predict_gets_one_clear_line(weights, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    arguments = arguments.split()
    if "--weights" not in arguments:
        arguments += ["--weights", weights]
    assert_one_clear_line(run_here("predict.py", *arguments), words)
    assert list(tmp_path.iterdir()) == []


IN_NUMPY = ("--backend", ROOT / "tests" / "numpy_nin.py")


def test_weights_that_do_not_say_their_size_are_run_at_the_books_with_a_note(model, tmp_path):
    save_arrays(tmp_path / "w", model.weights, {})
    unverified, note, error = run(
        "predict.py", "--weights", "w", "--images", "a.png", *IN_NUMPY, cwd=tmp_path
    ).stderr.splitlines()
    assert unverified.startswith("note: w: not verified: it holds weights without layers")
    assert note == (
        "note: w does not say what size of images it was trained on; taking the book's 224, "
        "or what --resize says"
    )
    assert error == "error: a.png: no such file"


def test_weights_of_other_classes_than_the_data_are_refused(tmp_path):
    save_model(tmp_path / "three", reference.model(num_classes=3))
    done = run("predict.py", "--weights", tmp_path / "three", "--data", "sample", *IN_NUMPY)
    assert_one_clear_line(done, "has 10 classes, the network 3")


# ------------------------------------------------------------- photos


def photo(path, height=300, width=200, background=235, clothes=40, **options):
    """A dark rectangle of 200x50 pixels, off the centre of something light."""
    pixels = np.full((height, width, 3), background, np.uint8)
    pixels[60:260, 110:160] = clothes
    Image.fromarray(pixels).save(path, **options)
    return path


# ------------------------------------------------------------- with a backend


@pytest.fixture
def load(backend, backend_name):
    def load(path):
        return classifier.load(path, backend_name, resize=SIZE, device="cpu")

    return load


def test_a_backend_reads_weights_and_predicts_what_numpy_does(load, weights, images, expected):
    assert_same_logits(load(weights).predict(images).logits, expected)


def test_what_has_no_part_in_a_prediction_is_refused_and_not_overlooked(
    load, weights, backend_name
):
    for options, words in (
        ({"lr": 5}, "lr: no such setting; there are resize, "),
        ({"network": "one-1x1"}, "network=one-1x1: "),
    ):
        with pytest.raises(NinError) as caught:
            classifier.load(weights, backend_name, **options)
        assert str(caught.value).startswith(words)
    with pytest.raises(NinError, match="resize: of a run or classifier it is fixed"):
        api.look(load(weights), resize=99)


def test_what_a_backend_writes_is_bit_for_bit_what_it_computes_with(
    backend, load, images, tmp_path
):
    net = backend.nin()
    backend.initialize(net, "he", 5)
    path = tmp_path / "model.safetensors"
    save_arrays(path, backend.get_weights(net), {})
    read = load_model(path)
    for name, array in backend.get_weights(net).items():
        np.testing.assert_array_equal(read.weights[name], array, err_msg=name)
    found = load(path).predict(images[:4]).logits
    assert_same_logits(found, reference.logits(dataclasses.replace(read, resize=SIZE), images[:4]))


def test_notes_on_a_file_are_of_the_line_that_reads_it(backend, backend_name, model, tmp_path):
    save_arrays(tmp_path / "w.safetensors", model.weights, {})
    with pytest.warns(NinWarning) as notes:
        common.load(tmp_path / "w.safetensors", backend_name)
    assert len(notes) == 2
    assert {note.filename for note in notes} == {__file__}


def test_predictions_do_not_depend_on_the_batch(load, weights, images, monkeypatch, expected):
    monkeypatch.setattr(classifier, "BATCH_SIZE", 1)
    found = load(weights).predict(images[:3]).logits
    assert_same_logits(found, expected[:3])


def test_weights_for_colour_images_are_refused(load, images, model, tmp_path):
    weights = {**model.weights, "block1.conv1.weight": np.zeros((96, 3, 11, 11), np.float32)}
    save_model(tmp_path / "rgb.safetensors", Model(weights, in_channels=3, resize=SIZE))
    found = load(tmp_path / "rgb.safetensors")
    with pytest.raises(NinError, match="takes images of 3 channels, these have 1"):
        found.predict(images)


@pytest.mark.shared
def test_predict_writes_logits_picture_and_json_and_prints_words(
    backend, backend_name, weights, sample, expected, tmp_path
):
    out = {name: tmp_path / f"out.{name}" for name in ("npy", "png", "json")}
    files = ["--logits", out["npy"], "--picture", out["png"], "--json", out["json"]]
    arguments = ["--backend", backend_name, "--data", "sample", "--indices", f"0:{COUNT}"]
    done = run_here("predict.py", "--weights", weights, *arguments, *files)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""

    logits = np.load(out["npy"])
    assert_same_logits(logits, expected)
    report = json.loads(out["json"].read_text())
    labels = sample.test_labels[:COUNT]
    assert report["accuracy"] == np.mean(logits.argmax(1) == labels)
    assert report["resize"] == SIZE
    assert "embedded sample" in report["notice"]
    for i, entry in enumerate(report["predictions"]):
        assert entry["true"] == CLASS_NAMES[labels[i]]
        assert entry["predicted"] == CLASS_NAMES[logits[i].argmax()]
        np.testing.assert_allclose(sum(entry["probabilities"]), 1, rtol=1e-9)
    with Image.open(out["png"]) as picture:
        assert picture.width > 900

    notice, *lines, summary = done.stdout.splitlines()
    assert "embedded sample" in notice
    right = round(report["accuracy"] * COUNT)
    assert summary == f"{right} of {COUNT} images right: accuracy {right / COUNT:.3f}"
    assert len(lines) == COUNT
    for line, entry in zip(lines, report["predictions"], strict=True):
        name, predicted, _, true, *wrong = line.split("\t")
        assert name == entry["image"]
        assert predicted == f"{entry['predicted']} {max(entry['probabilities']):.1%}"
        assert true == entry["true"]
        assert wrong == ([] if entry["predicted"] == entry["true"] else ["wrong"])


def test_pictures_are_predicted_and_drawn_under_their_names(load, weights, tmp_path):
    paths = [photo(tmp_path / "trouser.png"), photo(tmp_path / "dress.jpg", clothes=90)]
    trained = load(weights)
    pictures = predict.from_files(paths, trained.model)
    found = trained.predict(pictures.pixels, names=pictures.names)
    assert found.summary() == "2 images"
    assert [row[0] for row in found.rows()] == list(map(str, paths))
    assert all(any(name in row[1] for name in CLASS_NAMES) for row in found.rows())
    assert found.report()["accuracy"] is None
    figures.save(found.plot(), tmp_path / "out.svg")
    assert "dress.jpg" in (tmp_path / "out.svg").read_text()


@pytest.mark.parametrize("lang", style.LANGUAGES)
@pytest.mark.parametrize("labels", [None, np.arange(17) % 10])
@pytest.mark.parametrize("count", [1, 17])
def test_a_picture_keeps_long_names_in_their_columns_and_above_the_notice(count, labels, lang):
    names = tuple(f"herbaceous perennial {i}, bell_pepper-{'x' * 30}" for i in range(10))
    model = Model({}, parse("vgg-12,channels=48-96-192,head=dense"), class_names=names)
    labels = None if labels is None else labels[:count]
    images = Images(np.zeros((count, 9, 9), np.uint8), list(names * 2)[:count], labels, "A. " * 99)
    found = predict.Predictions(model, Settings(), images, "cpu", np.eye(17, 10)[:count])
    drawn = found.plot(lang)
    figures.png(drawn, drawn.dpi)  # lays it out
    title, notice = (text.get_window_extent() for text in drawn.texts)
    captions = [axes.xaxis.label.get_window_extent() for axes in drawn.axes]
    for box in (title, notice, *captions):
        assert box.x0 >= 0
        assert box.x1 <= drawn.bbox.x1
    for box, axes in zip(captions, drawn.axes, strict=True):
        assert title.y0 > axes.get_window_extent().y1 > box.y0 > notice.y1
        assert not any(box.overlaps(each.get_window_extent()) for each in drawn.axes)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(captions, 2))


@pytest.mark.parametrize("lang", style.LANGUAGES)
def test_a_picture_says_which_network_it_is_and_on_what_that_was_trained(lang):
    for of_images, expected in (("", "# S. M."), ("S.", "S. # M."), ("S. M.", "S. M.")):
        model = Model({}, parse("inner=3"), training={"notice": "S. M."})
        pixels = np.zeros((3, 9, 9), np.uint8)
        images = Images(pixels, ["a"] * 3, None, model.notice(of_images))
        drawn = predict.Predictions(model, Settings(), images, "cpu", np.eye(3, 10)).plot(lang)
        title, shown = (text.get_text() for text in drawn.texts)
        assert title.startswith("NiN three-1x1, torch, 224x224; ")
        assert shown == expected.replace("# ", style.told("The network's training: ", lang))
    assert Model({}).notice("") == ""


@pytest.mark.shared
def test_the_json_has_the_file_its_notes_and_one_vocabulary(
    backend, backend_name, model, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    # which states neither a size nor names
    save_arrays(tmp_path / "w", model.weights, {})
    arguments = ["--backend", backend_name, "--data", "sample", "--indices", "0:8"]
    done = run_here("predict.py", "--weights", "w", *arguments, "--json", "a.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "a.json").read_text())
    assert report["weights"] == "w"
    assert [f"note: {note}" for note in report["notes"]] == [
        line.replace("--resize", "resize") for line in done.stderr.splitlines()
    ]
    assert len(report["notes"]) >= 2
    assert report["classes"] == list(CLASS_NAMES)
    right = [entry["predicted"] == entry["true"] for entry in report["predictions"]]
    assert np.mean(right) == report["accuracy"]
    # names that the weights have are given to data that have none
    images = sample_without_names(8)
    named = predict.from_dataset(images, "test", None, model)
    assert named.notice == predict.UNNAMED
    found = predict.Predictions(model, Settings(), named, "cpu", np.eye(8, 10))
    assert {entry["true"] for entry in found.report()["predictions"]} <= set(CLASS_NAMES)


def sample_without_names(count):
    images, labels = np.zeros((count, 28, 28), np.uint8), np.arange(count) % 10
    return Dataset(images, labels, images, labels, num_classes=10)


@pytest.mark.long
def test_a_photo_keeps_its_name_on_a_terminal_and_in_a_pipe(
    backend, backend_name, weights, tmp_path
):
    # square brackets are markup to the library that draws the table; the other is not UTF-8
    names = ["shirt [front].png", "dress[/red].png", "coat\udcff.png"]
    (tmp_path / "dress[").mkdir()
    paths = [photo(tmp_path / "photo.png").rename(tmp_path / name) for name in names]
    arguments = ["--backend", backend_name, "--weights", weights, "--images", *paths]

    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = run("predict.py", *arguments, env=environment)
    assert done.returncode == 0, done.stderr
    shown = [line.split("\t")[0].removeprefix(f"{tmp_path}/") for line in done.stdout.splitlines()]
    assert shown[:-1] == ["shirt [front].png", "dress[/red].png", "coat\\udcff.png"]

    reader, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": "300", "TERM": "xterm"}
    done = subprocess.run(
        command("predict.py", *arguments), stdout=terminal, stderr=subprocess.PIPE, env=environment
    )
    os.close(terminal)
    assert done.returncode == 0, done.stderr
    with os.fdopen(reader, "rb") as stream:
        table = stream.read1(100_000).decode()
    assert all(name in table for name in ("shirt [front].png", "dress[/red].png"))


@pytest.mark.shared
def test_a_run_on_data_of_ones_own_predicts_for_them_if_none_are_named(
    backend_name, sample, tmp_path, monkeypatch
):
    def look(path, **chosen):
        return api.look(path, backend=backend_name, device="cpu", **chosen)

    def train(data, name):
        options = {"epochs": 1, "limit": 40, "batch_size": 20, "watchers": (), "device": "cpu"}
        common.fit(backend_name, data, "fast", out=tmp_path / name, **options)
        return tmp_path / name

    few = {"train": np.flatnonzero(sample.train_labels < 3)[:60]}
    few["test"] = np.flatnonzero(sample.test_labels < 3)[:12]
    arrays = {
        f"{part}_{kind}": getattr(sample, f"{part}_{kind}")[few[part]]
        for part in few
        for kind in ("images", "labels")
    }
    file = tmp_path / "own.npz"
    np.savez(file, **arrays)
    own = train(file, "own")
    for path in (own, own / "model.safetensors"):
        assert look(path).images.notice.startswith(f"On {file}, ")
    with pytest.raises(NinError, match="data=sample: has 10 classes, the network 3"):
        look(own, data="sample")
    # of the chapter's data it is still those that are found first
    monkeypatch.setenv(fashion_mnist.DIRECTORY_VARIABLE, str(fashion_mnist.SAMPLE_DIRECTORY))
    assert look(train("sample", "sample"), indices="1999").images.names == ["test 1999"]
    with pytest.raises(NinError, match="arrays: trained on arrays, which are no files; give data"):
        look(train(common.Dataset(**arrays), "arrays"))
    file.rename(tmp_path / "own.npz.old")
    words = f"{own}: the data of that run cannot be read (data {file}: no such directory); name"
    with pytest.raises(NinError, match=re.escape(words)):
        look(own)
    assert len(look(own, data=common.Dataset(**arrays)).predictions.labels) == 12
