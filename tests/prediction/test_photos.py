"""Own photos: the garment is found in them, and they become what the data set holds."""

import contextlib
import json
import random
import shutil
import warnings
import zlib
from collections import Counter

import made_photos
import numpy as np
import pytest
import reference
from commands import assert_one_clear_line, run, run_here
from PIL import Image, ImageDraw

import common
from common import load_data
from common.data import photos
from common.data.fashion_mnist import CLASS_NAMES
from common.errors import NinError
from common.model import Model, save_model
from common.prediction import predict
from common.settings import Settings


def photo(path, height=300, width=200, background=235, clothes=40, **options):
    """A dark rectangle of 200x50 pixels, off the centre of something light."""
    pixels = np.full((height, width, 3), background, np.uint8)
    pixels[60:260, 110:160] = clothes
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("count", [20, pytest.param(240, marks=pytest.mark.long)])
def test_the_garment_is_found_in_19_of_20_made_photos_of_any_kind(tmp_path, count):
    good, path = Counter(), tmp_path / "photo"
    for number in range(count):
        made = made_photos.make(number)
        path.write_bytes(made.content)
        with contextlib.suppress(NinError):
            good[made.kind] += made_photos.overlap(photos.load(path).box, made.box) >= 0.9
    print(
        f"crops with an overlap of 0.9 or more: {good.total() / count:.1%} of {count};", dict(good)
    )
    assert good.total() >= 0.95 * count
    assert min(good[kind] for kind in made_photos.KINDS) >= 0.8 * count / len(made_photos.KINDS)


@pytest.mark.parametrize(("name", "options"), [("a.png", {}), ("a.jpg", {"quality": 95})])
def test_a_photo_becomes_white_on_black_centred_and_keeps_its_proportions(tmp_path, name, options):
    image = photos.load(photo(tmp_path / name, **options)).image
    assert image.shape == (28, 28)
    assert image.dtype == np.uint8
    clothes = image > 128
    rows, columns = np.flatnonzero(clothes.any(1)), np.flatnonzero(clothes.any(0))
    assert (rows[0], rows[-1]) == (0, 27)
    assert columns.tolist() == [11, 12, 13, 14, 15, 16] or columns.tolist() == list(range(10, 17))
    assert (image[:, :9] == 0).all()
    assert (image[:, 19:] == 0).all()


def test_light_clothes_on_black_stay_light(tmp_path):
    image = photos.load(photo(tmp_path / "a.png", background=0, clothes=200)).image
    assert image.max() == pytest.approx(200, abs=2)
    assert image[0, 0] == 0


PAIRS = {
    "white on light grey": ((225,) * 3, (252,) * 3),
    "black on wood": ((120, 80, 40), (20, 20, 20)),
    "red on a green as light": ((0, 130, 0), (255, 0, 0)),
    "pale yellow on white": ((255, 255, 255), (255, 255, 190)),
    "grey on darker grey": ((60, 60, 60), (95, 95, 95)),
}


@pytest.mark.parametrize(("background", "clothes"), PAIRS.values(), ids=PAIRS.keys())
def test_clothes_are_light_on_black_whichever_side_is_lighter(tmp_path, background, clothes):
    found = photos.load(photo(tmp_path / "a.png", background=background, clothes=clothes))
    assert found.box == (110, 60, 160, 260)
    assert np.percentile(found.image[found.image > 0], 90) >= photos.BRIGHT - 1
    assert (found.image == 0).mean() > 0.5


def test_an_image_of_the_data_set_stays_as_it_is(tmp_path, sample):
    Image.fromarray(sample.test_images[3]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(photos.load(tmp_path / "a.png").image, sample.test_images[3])


@pytest.mark.parametrize(("clothes", "light"), [(30, 225), (255, 255), (200, 200)])
def test_transparent_pixels_are_background(tmp_path, clothes, light):
    pixels = np.zeros((60, 60, 4), np.uint8)
    pixels[10:50, 10:50] = (clothes, clothes, clothes, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = photos.load(tmp_path / "a.png")
    assert (np.abs(found.image.astype(int) - light) <= 1).all()
    assert found.box == (10, 10, 50, 50)


def framed(outline):
    """A photo of 400x400 pixels, 50 from the left and top of one of 500x500, cut to an outline."""
    pixels = np.full((500, 500, 3), 235, np.uint8)
    pixels[150:330, 190:290] = 70
    alpha = Image.new("L", (500, 500))
    getattr(ImageDraw.Draw(alpha), outline[0])((50, 50, 449, 449), *outline[1:], fill=255)
    return Image.fromarray(np.dstack([pixels, alpha]))


FRAMES = {
    "margin": ("rectangle",),
    "circle": ("ellipse",),
    "round corners": ("rounded_rectangle", 100),
}


@pytest.mark.parametrize("outline", FRAMES.values(), ids=FRAMES.keys())
@pytest.mark.parametrize("cut", [(0, 0, 500, 500), (50, 50, 450, 450)], ids=["wide", "close"])
def test_in_a_photo_that_is_cut_to_a_frame_the_garment_is_found(tmp_path, outline, cut):
    framed(outline).crop(cut).save(tmp_path / "a.png")
    found = photos.load(tmp_path / "a.png").box
    right = (190 - cut[0], 150 - cut[1], 290 - cut[0], 330 - cut[1])
    assert made_photos.overlap(found, right) > 0.95


def test_a_rectangle_that_was_cut_out_is_the_garment_with_its_print(tmp_path):
    pixels = np.zeros((300, 300, 4), np.uint8)
    pixels[50:250, 80:220] = (40, 60, 90, 255)
    pixels[130:150, 140:170, :3] = 250
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert photos.load(tmp_path / "a.png").box == (80, 50, 220, 250)


def test_specks_do_not_stretch_what_was_cut_out(tmp_path):
    pixels = np.zeros((300, 300, 4), np.uint8)
    pixels[100:250, 100:200] = (40, 60, 90, 255)
    pixels[4:7, 4:7] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert photos.load(tmp_path / "a.png").box == (100, 100, 200, 250)


def test_sixteen_bits_are_scaled_not_cut(tmp_path, sample):
    wide = sample.test_images[3].astype(np.uint16) * 257
    Image.fromarray(wide).save(tmp_path / "a.png")
    np.testing.assert_array_equal(photos.load(tmp_path / "a.png").image, sample.test_images[3])


FORMATS = {
    "10 bits": ("a.tiff", np.uint16, 1023, {}),
    "12 bits": ("a.png", np.uint16, 4095, {}),
    "16 bits": ("a.tiff", np.uint16, 65535, {}),
    "32 bits": ("a.tiff", np.int32, 2**31 - 1, {}),
    "shares": ("a.tiff", np.float32, 1.0, {}),
    "a bitmap": ("a.bmp", np.uint8, 255, {}),
    "a GIF": ("a.gif", np.uint8, 255, {}),
    "WebP": ("a.webp", np.uint8, 255, {"lossless": True}),
    "WebP by the name of a JPEG": ("a.jpg", np.uint8, 255, {"format": "WEBP"}),
    "no suffix": ("photo", np.uint8, 255, {"format": "PPM"}),
}


@pytest.mark.parametrize(("name", "kind", "most", "options"), FORMATS.values(), ids=FORMATS.keys())
def test_formats_and_depths_give_the_same_image(tmp_path, name, kind, most, options):
    shares = np.full((300, 200), 0.9)
    shares[60:260, 110:160] = 0.2
    shares[0, 0] = 1  # makes use of the whole depth
    pixels = (shares * most).astype(kind)
    Image.fromarray(pixels).save(tmp_path / name, **options)
    found = photos.load(tmp_path / name)
    assert found.box == (110, 60, 160, 260)
    inside = found.image[4:24, 12:16].astype(int)
    assert np.abs(inside - round(255 * 0.7 / 0.9)).max() <= 3


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_a_photo_that_lies_on_its_side_is_turned_as_it_says(tmp_path, kind):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees
    upright = photos.load(photo(tmp_path / "a", format=kind)).image
    turned = photos.load(photo(tmp_path / "b", format=kind, exif=exif)).image
    assert (upright > 128).sum(0).max() == 28
    assert (turned > 128).sum(1).max() == 28


def test_a_photo_of_nothing_is_refused(tmp_path):
    path = photo(tmp_path / "a.png", clothes=235)
    with pytest.raises(NinError, match=r"a\.png: nothing stands out"):
        photos.load(path)


@pytest.mark.parametrize("content", [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"truncated"])
def test_a_file_that_is_no_image_is_refused(tmp_path, content):
    path = tmp_path / "a.png"
    whole = photo(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content == b"truncated" else content)
    with pytest.raises(NinError, match=r"a\.png: not an intact image"):
        photos.load(path)


def test_any_damage_to_a_photo_gives_a_photo_or_one_clear_line(tmp_path):
    chance, path = random.Random(0), tmp_path / "a"
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"):
        whole = photo(path, format=kind).read_bytes()
        for _ in range(15):
            damaged = bytearray(whole)
            for _ in range(chance.choice([1, 5, 50])):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            path.write_bytes(damaged)
            try:
                photos.load(path)
            except NinError as error:
                assert "\n" not in str(error)


def test_a_heic_photo_gets_a_hint(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50))
    with pytest.raises(NinError, match=r"a\.jpg: a HEIC photo; install the package pillow-heif"):
        photos.load(tmp_path / "a.jpg")


def test_a_bomb_is_refused_in_our_words_only(tmp_path):
    def chunk(name, content):
        whole = name + content
        return len(content).to_bytes(4, "big") + whole + zlib.crc32(whole).to_bytes(4, "big")

    side = (40_000).to_bytes(4, "big")
    header = chunk(b"IHDR", side + side + b"\x08\0\0\0\0")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") * 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(NinError, match="more than 178 million pixels"):
            photos.load(tmp_path / "a.png")


def test_a_folder_and_a_pattern_stand_for_their_photos(tmp_path):
    (tmp_path / "in").mkdir()
    good = [photo(tmp_path / "a.png"), photo(tmp_path / "b[1].jpg"),
            photo(tmp_path / "in" / "c", format="PNG")]  # fmt: skip
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / ".hidden.png").write_bytes(b"no photo")
    assert photos.expand([tmp_path]) == good
    assert photos.expand([tmp_path / "*.png"]) == good[:1]
    assert photos.expand([tmp_path / "**" / "[bc]*"]) == good[1:]
    # a name is a name first
    assert photos.expand([tmp_path / "b[1].jpg"]) == good[1:2]


def test_a_folder_and_a_pattern_without_photos_are_named(tmp_path):
    for path, words in ((tmp_path, "a folder without photos"), (tmp_path / "*.x", "no such files")):
        with pytest.raises(NinError, match=words):
            photos.expand([path])


def test_outlines_that_no_clothes_have_are_unlike_the_data_set(sample):
    y, x = np.mgrid[-14:14, -14:14]
    ring = ((x * x + y * y < 150) & (x * x + y * y > 60)) * np.uint8(200)
    diagonal = (abs(x - y) < 4) * np.uint8(200)
    assert photos.is_unlike(np.stack([ring, diagonal])).all()
    assert photos.is_unlike(sample.test_images).mean() < 0.03


def test_a_picture_of_photos_shows_each_beside_what_the_network_was_given(tmp_path):
    model, paths = Model({}), [photo(tmp_path / "a.png"), photo(tmp_path / "b.png", 200, 400)]
    images = predict.from_files(paths, model)
    found = predict.Predictions(model, Settings(), images, "cpu", np.eye(2, 10))
    figure = found.plot()
    for axes, made in zip(figure.axes, images.made_of, strict=True):
        shown = axes.images[0].get_array()
        assert shown.shape == (224, 448, 3)
        np.testing.assert_array_equal(shown[4::8, 228::8, 0], made.image)
        (frame,) = axes.patches
        assert frame.get_width() / frame.get_height() == pytest.approx(50 / 200, abs=0.2)


# ------------------------------------------------------------- with a backend


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_model(path, reference.model(resize=67, class_names=CLASS_NAMES))
    return path


@pytest.mark.shared
def test_a_bad_photo_among_many_is_named_at_the_end(backend_name, weights, tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "c.png"):
        photo(tmp_path / "photos" / name)
    (tmp_path / "photos" / "b.png").write_bytes(b"no image")
    report = tmp_path / "report.json"
    arguments = ["--backend", backend_name, "--weights", weights, "--images", tmp_path / "photos"]
    done = run_here("predict.py", *arguments, "--json", report)
    assert_one_clear_line(done, "b.png: not an intact image", status=1)
    assert done.stdout.splitlines()[-1] == "2 images"
    written = json.loads(report.read_text())
    assert len(written["predictions"]) == 2
    assert "b.png" in written["refused"][0]


@pytest.mark.shared
def test_what_is_unlike_the_training_data_is_named(backend_name, weights, tmp_path):
    y, x = np.mgrid[-150:150, -150:150]
    bar = (abs(x - y) < 20) & (abs(x) < 120)
    picture = Image.fromarray(np.where(bar, 20, 240).astype(np.uint8))
    picture.save(tmp_path / "bar.png")
    arguments = ["--backend", backend_name, "--weights", weights, "--images", tmp_path / "bar.png"]
    done = run_here("predict.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(
        "note: unlike everything that the network was trained on: bar.png"
    )
    assert "--picture shows" in done.stderr


@pytest.fixture(scope="module")
def own_photos(tmp_path_factory):
    """A folder of coloured pictures for each of two classes; a garment's crop is none of them."""
    folder, chance = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    for name in ("a boot", "çanta"):
        (folder / name).mkdir()
        for i in range(12):
            pixels = np.full((70, 70, 3), chance.integers(256, size=3), np.uint8)
            pixels[5:30, 20 + i : 60] = chance.integers(256, size=3)
            Image.fromarray(pixels).save(folder / name / f"{i:02}.png")
    return folder


@pytest.fixture(scope="module")
def trained_on_own(backend_name, own_photos, tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "own.safetensors"
    options = {"resize": 67, "epochs": 1, "batch_size": 10, "watchers": [], "precision": "float32"}
    common.fit(backend_name, own_photos, "fast", **options).save(file)
    return file


@pytest.mark.shared
def test_photos_that_a_network_was_trained_on_are_read_as_in_training(
    backend_name, trained_on_own, own_photos
):
    read = common.look(trained_on_own, own_photos, backend=backend_name)
    of_training = np.arange(24) % 6 != 5
    for split, chosen in (("train", of_training), ("test", ~of_training)):
        right = common.look(trained_on_own, backend=backend_name, data=own_photos, split=split)
        np.testing.assert_array_equal(read.images.pixels[chosen], right.images.pixels)
        # the batches are not the same
        found = read.predictions.logits[chosen]
        np.testing.assert_allclose(found, right.predictions.logits, rtol=1e-4, atol=1e-5)
    files = [name for name, one in zip(read.images.names, of_training, strict=True) if one]
    again = common.look(trained_on_own, files, backend=backend_name).predictions
    right = common.look(trained_on_own, backend=backend_name, data=own_photos, split="train")
    np.testing.assert_array_equal(again.logits, right.predictions.logits)
    # and drawn so
    shown = [axes.images[0].get_array() for axes in again.plot().axes]
    np.testing.assert_array_equal(shown, right.images.pixels)


def test_of_a_large_photo_only_what_is_shown_is_kept(tmp_path):
    image = Image.new("RGB", (2000, 1500), "white")
    image.paste((200, 0, 0), (500, 400, 1100, 1300))
    image.save(tmp_path / "a.png")
    found = photos.load(tmp_path / "a.png")
    kept = photos.to_keep(found)
    assert max(kept.picture.shape) <= 512
    assert kept.picture.base is None
    shares = [np.divide(each.box, [*each.picture.shape[1::-1]] * 2) for each in (found, kept)]
    np.testing.assert_allclose(*shares, atol=0.01)
    (seen,) = predict.from_files([tmp_path / "a.png"], Model({})).made_of
    assert seen.picture.shape == kept.picture.shape


REFUSED = {
    "no square": ((70, 50), "RGB", "70x50 pixels (width x height), expected 70x70; make all"),
    "another size": ((90, 90), "RGB", "90x90 pixels (width x height), expected 70x70; make all"),
    "transparent": ((70, 70), "RGBA", "has transparent pixels; save it on a background"),
}


@pytest.mark.parametrize(("size", "mode", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_photo_that_could_not_be_trained_on_is_refused_for_the_same_reason(
    own_photos, tmp_path, size, mode, words
):
    data = shutil.copytree(own_photos, tmp_path / "data")
    bad = data / "çanta" / "99.png"
    Image.new(mode, size).save(bad)
    with pytest.raises(NinError) as in_training:
        load_data(data)
    with pytest.raises(NinError) as in_prediction:
        predict.from_files([bad], Model({}, side=70, training={"data": "custom"}))
    assert str(in_training.value) == str(in_prediction.value)
    assert words in str(in_prediction.value)


def test_photos_for_a_network_that_does_not_say_the_size_of_its_data_are_of_one_size(
    own_photos, tmp_path
):
    Image.new("L", (90, 90)).save(tmp_path / "a.png")
    model = Model({}, training={"data": "custom"})
    images = predict.from_files([own_photos, tmp_path / "a.png"], model)
    assert images.pixels.shape == (24, 70, 70)
    (line,) = images.refused
    assert "a.png: 90x90 pixels (width x height), expected 70x70" in line


@pytest.mark.long
def test_all_bad_photos_are_an_error(weights, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no image")
    done = run("predict.py", "--weights", weights, "--images", tmp_path)
    assert_one_clear_line(done, "(and 1 more)")
