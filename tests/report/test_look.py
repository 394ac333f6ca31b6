"""What is seen in a trained network: the same in every framework, and true by other means."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import reference
from commands import assert_one_clear_line, run_here
from PIL import Image

from common import NinError, api
from common.data.fashion_mnist import CLASS_NAMES
from common.model import save_model
from common.network import architecture
from common.prediction import classifier
from common.prediction.predict import Images
from common.report import look_pictures as pictures
from common.report.look import VIEWS, Look
from common.settings import Settings

SIZE, COUNT = 99, 24


@pytest.fixture(scope="module")
def model():
    found = reference.model(resize=SIZE, class_names=CLASS_NAMES)
    # channel 7 of a layer and the class of sandals are dead
    for name, channel in (("block2.conv2", 7), ("block4.conv3", 5)):
        found.weights[f"{name}.weight"][channel] = 0
        found.weights[f"{name}.bias"][channel] = -1
    return found


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    save_model(directory / "model.safetensors", model)
    return directory


@pytest.fixture(scope="module")
def look(backend, backend_name, weights):
    options = {"data": "sample", "indices": f"0:{COUNT}", "device": "cpu"}
    return api.look(weights, backend=backend_name, **options)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--weights nowhere", "nowhere: no such file"),
        ("--weights W --view all", "invalid choice"),
        ("--weights W --images a.png --split test", "--split: of a data set"),
        ("--weights W --json nowhere/a.json", "--json nowhere/a.json: not a file in an"),
        ("--weights W --out W/model.safetensors", "not a directory"),
        ("--weights W --backend nowhere", "choose one of torch, tf, mxnet"),
    ],
)
def test_bad_input_to_look_gets_one_clear_line(weights, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    arguments = arguments.replace("W", str(weights), 1) if "W" in arguments else arguments
    arguments = arguments.replace("W/", f"{weights}/")
    assert_one_clear_line(run_here("look.py", *arguments.split()), words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [99, 150, 224])
def test_maps_lie_where_the_windows_of_their_pixels_are_centred(model, size):
    settings = Settings(resize=size)
    looking = Look(classifier.Classifier(None, None, settings, model), Images(None, [], None))
    centres = []
    for pixel in (0, 1):
        first = last = pixel
        for layer in reversed(architecture.layers()):
            first = first * layer.stride - layer.padding
            last = last * layer.stride - layer.padding + layer.kernel_size - 1
        centres.append((first + last + 1) / 2)  # the edges of an image are 0 and its size
    step = centres[1] - centres[0]
    edges = centres[0] - step / 2, centres[0] + step * 2.5
    np.testing.assert_allclose(looking._place(3), np.array(edges) / size)


def test_no_cell_of_the_confusion_reads_0_and_halves_are_rounded_up():
    matrix = np.array([[165, 1, 34], [1, 199, 0], [0, 0, 0]])
    found = pictures.confusion(matrix, ["coat", "bag", "shirt"], "en").axes[0].texts
    assert [each.get_text() for each in found] == ["83", "1", "17", "1", "100"]


def names(count, long):
    """Of classes; long ones begin alike."""
    return [f"Herbaceous perennial species {'abcdefghijk'[i % 11]} {i}" if long else f"class {i}"
            for i in range(count)]  # fmt: skip


def boxes(texts):
    """Where words are drawn; none lies on another."""
    found = [text.get_window_extent() for text in texts if text.get_text()]
    for one, other in itertools.combinations(found, 2):
        assert not one.overlaps(other), [text.get_text() for text in texts]
    return found


@pytest.mark.parametrize(("count", "long"), [(2, True), (10, False), (25, True), (30, True),
                                             (100, True), (150, False)])  # fmt: skip
def test_words_and_numbers_of_a_confusion_do_not_run_into_each_other(count, long):
    matrix = np.full((count, count), 100)
    drawn = pictures.confusion(matrix, names(count, long), "en")
    drawn.draw_without_rendering()
    axes, whole = drawn.axes[0], drawn.bbox
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        if labels[0].get_rotation() != 35:  # slanted words share their rectangles' corners
            assert all(whole.fully_contains(*corner) for box in boxes(labels)
                       for corner in (box.p0, box.p1))  # fmt: skip
    matrix = np.diag([100] * count)
    drawn = pictures.confusion(matrix, names(count, long), "en")
    drawn.draw_without_rendering()
    axes = drawn.axes[0]
    assert bool(axes.texts) == (count <= 40) == (len(drawn.axes) == 1)
    assert all(text.get_window_extent().width < axes.bbox.width / count for text in axes.texts)
    assert f"{100 * count:,} images" in drawn._suptitle.get_text()


@pytest.mark.parametrize(("count", "long"), [(2, True), (6, True), (10, False), (25, True)])
def test_words_above_and_below_maps_do_not_run_into_each_other(count, long):
    rng = np.random.default_rng(0)
    images, maps = np.zeros((4, 28, 28), np.uint8), rng.random((4, count, 2, 2))
    photos = [f"photos/{'pantolon.webp.' if i % 2 else 'DSC_000'}{i}.jpg" for i in range(9)]
    drawn = pictures.maps(images, maps, photos, names(count, long), (0, 1), "en")
    drawn.draw_without_rendering()
    columns = len(drawn.axes) // len(images)
    assert columns == min(count, 11) + 1
    for part in ([each.title for each in drawn.axes[:columns]],
                 [each.xaxis.label for each in drawn.axes[:columns]],
                 [each.xaxis.label for each in drawn.axes[::columns]]):  # fmt: skip
        assert all(box.x0 >= 0 and box.x1 <= drawn.bbox.x1 for box in boxes(part))
    assert "the first 4 of 9 images" in drawn._suptitle.get_text()
    assert ("11 of 25 classes" in drawn._suptitle.get_text()) == (count == 25)
    likeliest = str(maps[0].mean((1, 2)).argmax())
    (best,) = [each.title for each in drawn.axes[1:columns]
               if each.xaxis.label.get_fontweight() == "bold"]  # fmt: skip
    assert likeliest in best.get_text().split()


def test_wrong_answers_that_are_shown_are_so_many_of_all_and_none_is_no_error():
    entry = {"predicted": "class 1", "true": "class 2", "probability": 0.75}
    pixels = np.zeros((10, 28, 28), np.uint8)
    some = pictures.wrong(pixels, [entry] * 10, 31, 300, "en")._suptitle.get_text()
    assert some == "The most confident of 31 wrong answers on 300 images"
    none = pictures.wrong(pixels[:0], [], 0, 300, "en")._suptitle.get_text()
    assert none == "No wrong answer on 300 images"


@pytest.mark.parametrize("language", ["en", "tr"])
def test_long_names_of_classes_are_whole_below_a_wrong_answer_and_inside(language):
    predicted, true = "children's waterproof hiking boots size 42", "children's winter coat"
    entry = {"predicted": predicted, "true": true, "probability": 0.75}
    drawn = pictures.wrong(np.zeros((10, 28, 28), np.uint8), [entry] * 10, 31, 300, language)
    drawn.draw_without_rendering()
    captions = [each.xaxis.label for each in drawn.axes]
    for each in captions:
        text = each.get_text().replace("\n", " ")
        assert predicted in text
        assert text.endswith(true)
    images = [each.get_window_extent() for each in drawn.axes]
    for box in boxes(captions):
        assert drawn.bbox.x0 <= box.x0
        assert box.x1 <= drawn.bbox.x1
        assert box.y0 >= drawn.bbox.y0
        assert not any(box.overlaps(image) for image in images)


# ------------------------------------------------------------- with a backend


def test_a_1x1_convolution_is_a_fully_connected_layer_on_each_pixel(look):
    blocks = look.view("mlp").report["blocks"]
    assert [block["widths"] for block in blocks] == [[n] * 3 for n in (96, 256, 384, 10)]
    assert [block["pixels"] for block in blocks] == [23**2, 11**2, 5**2, 2**2]
    for block in blocks:
        assert block["largest_difference"] < 1e-5 * block["largest_output"]
        assert block["largest_output"] > 0


def test_maps_are_those_whose_means_are_the_logits(look, model):
    images = look.view("maps").report["images"]
    assert np.shape(images[0]["maps"]) == (10, 2, 2)
    found = np.array([image["logits"] for image in images])
    np.testing.assert_allclose(found, np.mean([image["maps"] for image in images], (2, 3)))
    expected = reference.logits(model, look.images.pixels[: len(found)])
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())


def test_confusion_and_wrong_answers_are_those_of_the_predictions(look):
    report, found = look.view("confusion").report, look.predictions
    matrix = np.array(report["matrix"])
    assert matrix.sum() == COUNT
    assert report["accuracy"] == np.trace(matrix) / COUNT == 1 - found.wrong.mean()
    for true, row in enumerate(matrix):
        assert row.sum() == (look.images.labels == true).sum()
    wrong = look.view("wrong").report
    assert wrong["wrong"] == found.wrong.sum()
    sure = [entry["probability"] for entry in wrong["images"]]
    assert sure == sorted(sure, reverse=True)
    assert sure[0] == found.probabilities.max(1)[found.wrong].max()


def test_dead_channels_and_classes_are_found(look):
    view = look.view("dead")
    dead = {layer["layer"]: layer["dead"] for layer in view.report["layers"]}
    assert 7 in dead["block2.conv2"]
    assert 5 in dead["block4.conv3"]
    assert "sandal" in view.summary


def test_a_view_that_is_not_there_or_in_the_wrong_place_is_told_which_there_are(look, weights):
    words = ", ".join(VIEWS)
    with pytest.raises(NinError, match=f"^view=map: must be one of {words}$"):
        look.view("map")
    for trained in (weights, look.classifier):
        with pytest.raises(
            NinError,
            match=rf"^view: not for look; look\(\.\.\.\)\.view\(name\) shows one view: {words}$",
        ):
            api.look(trained, view="map")


def test_the_filters_are_the_first_weights(look, model):
    found = look.view("filters").report["filters"]
    np.testing.assert_array_equal(found, model.weights["block1.conv1.weight"][:, 0])


def test_maps_of_one_pixel_cannot_be_seen(backend, backend_name, weights):
    options = {"data": "sample", "indices": "0:2", "device": "cpu", "resize": 98}
    small = api.look(weights, backend=backend_name, **options)
    with pytest.raises(NinError, match=r"of one pixel, .* from 99 pixels on"):
        small.view("maps")


def test_a_view_that_cannot_be_shown_leaves_the_others_their_pictures(
    backend, backend_name, weights, tmp_path
):
    options = ["--backend", backend_name, "--data", "sample", "--indices", "0:2", "--resize", "98"]
    look = ["look.py", "--weights", weights, "--device", "cpu", *options, "--out", tmp_path / "out"]
    done = run_here(*look, "--view", "maps", "filters")
    assert_one_clear_line(done, "--view maps: at 98x98 ", status=1)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"filters.svg", "filters.png"}
    assert_one_clear_line(run_here(*look, "--view", "maps"), "--view maps: at 98x98 ", status=2)


def test_networks_without_what_a_view_shows_are_refused(look):
    variant = dataclasses.replace(look.model, weights={})
    without = Look(look.classifier, look.images)
    without.model = variant
    with pytest.raises(NinError, match="no 1x1 convolutions"):
        without.view("mlp")


@pytest.mark.long
def test_look_shows_every_view_of_the_data_and_of_a_photo(
    backend, backend_name, weights, sample, tmp_path
):
    photo = tmp_path / "shirt [1].png"
    Image.fromarray(255 - sample.test_images[3]).save(photo)
    common = ["--weights", weights, "--backend", backend_name, "--device", "cpu"]
    out, file = tmp_path / "out", tmp_path / "look.json"
    done = run_here(
        "look.py", *common, "--data", "sample", "--indices", "0:8", "--out", out, "--json", file
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {
        f"{view}.{kind}" for view in VIEWS for kind in ("svg", "png")
    }
    report = json.loads(file.read_text())
    assert list(report["views"]) == list(VIEWS)
    assert all("On the embedded sample" in (out / f"{view}.svg").read_text() for view in VIEWS)
    assert report["resize"] == SIZE
    assert report["weights"] == str(weights / "model.safetensors")

    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    views = ("--view", "filters", "--json", file)
    done = run_here("look.py", *common, "--images", photo, bad, *views)
    assert_one_clear_line(done, "bad.png: ", status=1)
    assert "bad.png: " in json.loads(file.read_text())["refused"][0]

    done = run_here("look.py", *common, "--images", photo, "--lang", "tr", "--out", tmp_path / "tr")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("note: --view") == 3
    assert "shirt [1].png" in done.stdout
    assert (tmp_path / "tr" / "maps.svg").exists()
    assert_one_clear_line(
        run_here("look.py", *common, "--images", photo, "--view", "wrong"), "--view wrong: "
    )
