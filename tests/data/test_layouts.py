"""Data sets as people have them are read, whatever their layout."""

import csv
import gzip
import io
import itertools
import unicodedata

import numpy as np
import pytest
from idx_files import idx
from PIL import Image

from common.data import fashion_mnist
from common.data.dataset import ARRAYS
from common.errors import NinError

TRAIN, TEST, CLASSES = 30, 12, 3
IDX = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte",
       "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]  # fmt: skip


@pytest.fixture
def arrays(rng):
    """Training images and labels, test images and labels."""
    parts = [(rng.integers(0, 256, (n, 8, 8), np.uint8), np.arange(n) % CLASSES)
             for n in (TRAIN, TEST)]  # fmt: skip
    return [array.astype(np.uint8) for part in parts for array in part]


def files(directory, names, contents, zipped=False):
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in zip(names, contents, strict=True):
        (directory / name).write_bytes(gzip.compress(content) if zipped else content)
    return directory


def write_idx(directory, arrays, names=IDX, zipped=False):
    return files(directory, names, map(idx, arrays), zipped)


def typed(array, code, kind):
    return bytes((0, 0, code)) + idx(array)[3 : 4 + 4 * array.ndim] + array.astype(kind).tobytes()


def named(before, test="test", after=""):
    return [f"{before}{name.replace('t10k', test)}{after}" for name in IDX]


def dots(path, arrays):
    return write_idx(path, arrays, [name.replace("-idx", ".idx") for name in IDX])


def torchvision_root(path, arrays):
    write_idx(path / "MNIST" / "raw", arrays[2:] + arrays[:2])
    write_idx(path / "FashionMNIST" / "raw", arrays, zipped=False)
    write_idx(path / "FashionMNIST" / "raw", arrays, named("", "t10k", ".gz"), zipped=True)
    return path


def torchvision_set(path, arrays):
    return torchvision_root(path, arrays) / "FashionMNIST"


def idx_in_folders_of_parts(path, arrays):
    write_idx(path / "train", arrays[:2], IDX[:2])
    write_idx(path / "Test", arrays[2:], named("")[2:])
    return path


def idx_in_a_folder_each(path, arrays):
    for name, array in zip(IDX, arrays, strict=True):
        write_idx(path / name, [array], [name])
    return path


def gz_that_is_none(path, arrays):
    return write_idx(path, arrays, named("", "t10k", ".gz"))


def none_that_is_gz(path, arrays):
    return write_idx(path, arrays, zipped=True)


def emnist(path, arrays):
    write_idx(path, arrays, named("emnist-letters-", after=".gz"), zipped=True)
    write_idx(path, arrays, named("emnist-digits-", after=".gz"), zipped=True)
    return path / "emnist-letters"


def one_file_of_four(path, arrays):
    return emnist(path, arrays).parent / "emnist-letters-test-labels-idx1-ubyte.gz"


def qmnist(path, arrays):
    names = ["qmnist-train-images-idx3-ubyte", "qmnist-train-labels-idx2-int",
             "qmnist-test-images-idx3-ubyte", "qmnist-test-labels-idx2-int"]  # fmt: skip
    rows = [np.pad(labels[:, None].astype(int), ((0, 0), (0, 7)), constant_values=9)
            for labels in arrays[1::2]]  # fmt: skip
    wide = [typed(array, 12, ">i4") for array in rows]
    return files(path, names, [idx(arrays[0]), wide[0], idx(arrays[2]), wide[1]], zipped=True)


def kaggle(path, arrays, names=("fashion-mnist_train.csv", "fashion-mnist_test.csv"), header=True,
           label=0, **options):  # fmt: skip
    path.mkdir()
    for name, images, labels in zip(names, arrays[::2], arrays[1::2], strict=True):
        text = io.StringIO()
        writer = csv.writer(text, **options)
        pixels = [f"pixel{i}" for i in range(1, 65)]
        rows = [list(map(int, image.ravel())) for image in images]
        for row, first in zip([pixels, *rows], ["label", *labels], strict=True):
            row.insert(label, first)
            if header or first != "label":
                writer.writerow(row)
        content = text.getvalue().encode()
        (path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    return path


def csv_without_a_header(path, arrays):
    return kaggle(path, arrays, ("mnist_train.csv", "mnist_test.csv"), header=False)


def csv_quoted_zipped_label_last(path, arrays):
    return kaggle(
        path, arrays, ("train.csv.gz", "val.csv.gz"), label=64, quoting=csv.QUOTE_NONNUMERIC
    )


def one_csv_of_two(path, arrays):
    return kaggle(path, arrays) / "fashion-mnist_train.csv"


def columns_anew(path, order, names=None):
    """Columns after the label in another order, perhaps with other names."""
    rows = [row.split(",") for row in path.read_text().splitlines()]
    rows[0][1:] = names or rows[0][1:]
    path.write_text("\n".join(",".join([row[0], *(row[1 + i] for i in order)]) for row in rows))


def csv_columns_sorted_as_text(path, arrays):
    order = sorted(range(64), key=lambda i: f"pixel{i + 1}")
    columns_anew(kaggle(path, arrays) / "fashion-mnist_test.csv", order)
    return path


def csv_with_more_digits_than_python_reads(path, arrays):
    names = [f"pixel{'9' * 5000}{i}" for i in range(64)]
    kaggle(path, arrays)
    for part in ("train", "test"):
        columns_anew(path / f"fashion-mnist_{part}.csv", range(64), names)
    return path


def csv_of_old_macs(path, arrays):
    return kaggle(path, arrays, lineterminator="\r")


def csv_all_quoted(path, arrays):
    return kaggle(path, arrays, quoting=csv.QUOTE_ALL)


def npz(path, arrays, names=("x_train", "y_train", "x_test", "y_test"), name="fashion.npz"):
    path.mkdir()
    np.savez_compressed(path / name, **dict(zip(names, arrays, strict=True)))
    return path / name


def npz_with_channel_and_column(path, arrays):
    return npz(path, [array[..., None] for array in arrays])


def npz_of_a_dataset_in_a_folder(path, arrays):
    names = ("train_images", "train_labels", "test_images", "test_labels")
    return npz(path, arrays, names).parent


def pictures(path, arrays, parts=("train", "test"), names=("0", "1", "2"), mode="L"):
    for part, images, labels in zip(parts, arrays[::2], arrays[1::2], strict=True):
        count = itertools.count()
        for image, label in zip(images, labels, strict=True):
            folder = path / part / names[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).convert(mode).save(folder / f"{next(count):04}.png")
    return path


def pictures_in_colour(path, arrays):
    return pictures(path, arrays, ("Training", "TEST"), mode="RGB")


def csv_of_pandas(path, arrays):
    """With the number of each row in front, and what Excel writes in Europe between them."""
    kaggle(path, arrays, delimiter=";")
    for file in path.iterdir():
        rows = file.read_text().splitlines()
        rows = [f"{i - 1 if i else ''};{row}" for i, row in enumerate(rows)]
        file.write_text("\n".join(rows))
    return path


def npz_in_capitals(path, arrays):
    return npz(path, arrays, ("X_train", "Y_train", "X_test", "Y_test"))


def idx_with_a_validation_set_for_a_test(path, arrays):
    return write_idx(path, arrays, named("", "valid"))


SAME_ORDER = [dots, write_idx, torchvision_root, torchvision_set, gz_that_is_none, none_that_is_gz,
              emnist, one_file_of_four, qmnist, kaggle, csv_without_a_header,
              csv_quoted_zipped_label_last, one_csv_of_two, npz, npz_with_channel_and_column,
              npz_of_a_dataset_in_a_folder, csv_of_pandas, npz_in_capitals,
              csv_columns_sorted_as_text, csv_all_quoted, csv_of_old_macs,
              csv_with_more_digits_than_python_reads,
              idx_in_folders_of_parts, idx_in_a_folder_each,
              idx_with_a_validation_set_for_a_test]  # fmt: skip


@pytest.mark.parametrize("layout", SAME_ORDER, ids=lambda layout: layout.__name__)
def test_a_layout_gives_the_arrays(layout, arrays, tmp_path):
    dataset = fashion_mnist.load(str(layout(tmp_path / "data", arrays)))
    found = (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels)
    for array, right in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(array, right)
        assert array.dtype == np.uint8
    # these are not Fashion-MNIST's
    assert (dataset.kind, dataset.class_names) == ("custom", ())


@pytest.mark.parametrize("layout", [pictures, pictures_in_colour], ids=lambda each: each.__name__)
def test_a_folder_for_each_class_gives_the_arrays_by_class(layout, arrays, tmp_path):
    dataset = fashion_mnist.load(str(layout(tmp_path / "data", arrays)))
    for part, images, labels in (("train", *arrays[:2]), ("test", *arrays[2:])):
        order = np.argsort(labels, kind="stable")
        np.testing.assert_array_equal(getattr(dataset, f"{part}_images"), images[order])
        np.testing.assert_array_equal(getattr(dataset, f"{part}_labels"), labels[order])
    assert dataset.class_names == ()


def test_folders_name_their_classes_in_order_numbers_as_numbers(arrays, tmp_path):
    pictures(tmp_path / "a", arrays, names=("shirt", "boot", "bag"))
    assert fashion_mnist.load(str(tmp_path / "a")).class_names == ("bag", "boot", "shirt")
    pictures(tmp_path / "b", arrays, names=("10", "9", "2"))
    assert fashion_mnist.load(str(tmp_path / "b")).class_names == ("2", "9", "10")


def test_a_class_has_one_name_however_unicode_spells_its_folders(arrays, tmp_path):
    path = pictures(tmp_path / "data", arrays, names=("hat", "şapka", "çanta"))
    named = fashion_mnist.load(str(path))
    apart = unicodedata.normalize("NFD", "şapka")  # as a zip file from macOS has it
    assert apart != "şapka"
    (path / "test" / "şapka").rename(path / "test" / apart)
    half = path / "train" / apart
    half.mkdir()
    file = min((path / "train" / "şapka").iterdir())
    file.rename(half / file.name)
    dataset = fashion_mnist.load(str(path))
    assert dataset.class_names == named.class_names
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(dataset, name), getattr(named, name))


def test_folders_of_classes_alone_give_every_sixth_image_to_the_test_set(arrays, tmp_path):
    dataset = fashion_mnist.load(str(pictures(tmp_path, arrays) / "train"))
    assert np.bincount(dataset.train_labels).tolist() == [9, 9, 9]
    assert np.bincount(dataset.test_labels).tolist() == [1, 1, 1]
    assert "Every 6th image of each class is a test image." in dataset.notice


def npz_of_three(path, arrays):
    names = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test")
    return npz(path, [*arrays, *arrays[2:]], names)


def idx_of_three(path, arrays):
    write_idx(path, arrays[2:], named("", "val", ".gz")[2:], zipped=True)
    return write_idx(path, arrays)


def pictures_of_three(name):
    def make(path, arrays):
        pictures(path, arrays, (name, "train"))
        return pictures(path, arrays)

    return make


def csv_of_three(path, arrays):
    kaggle(path, arrays, ("train.csv", "dev.csv"))
    for name, file in (("a", "train.csv"), ("b", "test.csv")):
        kaggle(path / name, arrays, ("train.csv", "test.csv"))
        (path / name / file).rename(path / file)
    return path


THREE = {
    idx_of_three: "Not used: val-images-idx3-ubyte.gz, val-labels-idx1-ubyte.gz; the test images "
    "are those of t10k-images-idx3-ubyte.",
    npz_of_three: "Not used: x_val, y_val; the test images are those of y_test.",
    csv_of_three: "Not used: dev.csv; the test images are those of test.csv.",
    **{pictures_of_three(name): f"Not used: {name}/; the test images are those of test/."
       for name in ("val", "Valid", "validation", "dev", "extra")},
}  # fmt: skip


@pytest.mark.parametrize(("layout", "words"), THREE.items(), ids=THREE.values())
def test_of_a_set_in_three_parts_the_third_is_named(layout, words, arrays, tmp_path):
    dataset = fashion_mnist.load(str(layout(tmp_path / "data", arrays)))
    assert dataset.notice.endswith(f" training and {len(arrays[2])} test images. {words}")
    assert len(dataset.test_images) == len(arrays[2])


def test_kerass_npz_of_fashion_mnist_is_recognised(sample, monkeypatch, tmp_path):
    monkeypatch.setattr(fashion_mnist, "CHECKSUMS", sample.checksums)
    arrays = sample.train_images, sample.train_labels, sample.test_images, sample.test_labels
    dataset = fashion_mnist.load(str(npz(tmp_path / "data", arrays)))
    assert (dataset.kind, dataset.class_names) == ("full", fashion_mnist.CLASS_NAMES)


def test_emnists_letters_are_classes_by_their_number(arrays, tmp_path):
    shifted = [array + (array.ndim == 1) for array in arrays]
    dataset = fashion_mnist.load(str(emnist(tmp_path / "data", shifted)))
    assert dataset.class_names == ("1", "2", "3")
    assert "The 3 classes are those that its labels name, 1 to 3." in dataset.notice


def several(path, arrays):
    return emnist(path, arrays).parent


def two_layouts_in_a_folder(path, arrays):
    kaggle(pictures(path, arrays) / "a", arrays)
    for file in (path / "a").iterdir():
        file.rename(path / file.name)
    (path / "a").rmdir()
    return path


def a_whole_set_in_each_folder(path, arrays):
    write_idx(path / "train", arrays)
    write_idx(path / "test", arrays)
    return path


def a_missing_part(path, arrays):
    write_idx(path, arrays)
    (path / IDX[2]).unlink()
    return path


def something_else(path, arrays):
    path.mkdir()
    for name in ("cifar-10-batches-py", "readme.txt"):
        (path / name).mkdir()
    return path


def empty(path, arrays):
    path.mkdir()
    return path


def an_archive(path, arrays):
    path.mkdir()
    (path / "archive.zip").write_bytes(b"PK")
    return path / "archive.zip"


def without_labels(path, arrays):
    kaggle(path, arrays)
    rows = (path / "fashion-mnist_test.csv").read_text().splitlines()
    without = [row.split(",", 1)[1] for row in rows]
    (path / "fashion-mnist_test.csv").write_text("\n".join(without))
    return path


def train_labels_missing(path, arrays):
    without_labels(path, arrays)
    (path / "fashion-mnist_test.csv").rename(path / "fashion-mnist_train.csv")
    return path


def test_csv_alone(path, arrays):
    kaggle(path, arrays)
    (path / "fashion-mnist_train.csv").unlink()
    return path


test_csv_alone.__test__ = False


def one_csv(path, arrays):
    kaggle(path, arrays)
    (path / "fashion-mnist_test.csv").unlink()
    return (path / "fashion-mnist_train.csv").rename(path / "all.csv")


@pytest.mark.parametrize("layout", [without_labels, one_csv], ids=lambda each: each.__name__)
def test_of_one_table_with_labels_every_sixth_row_of_a_class_is_a_test_image(
    layout, arrays, tmp_path
):
    dataset = fashion_mnist.load(str(layout(tmp_path / "data", arrays)))
    images, labels = arrays[:2]
    chosen = np.zeros(len(labels), bool)
    for label in range(CLASSES):
        chosen[np.flatnonzero(labels == label)[5::6]] = True
    np.testing.assert_array_equal(dataset.test_images, images[chosen])
    np.testing.assert_array_equal(dataset.test_labels, labels[chosen])
    np.testing.assert_array_equal(dataset.train_images, images[~chosen])
    assert "Every 6th image of each class is a test image." in dataset.notice


def test_images_of_16_bits_keep_their_brightness(tmp_path):
    for part in ("train", "test"):
        for name, grey in (("dark", 80), ("light", 200)):
            (tmp_path / part / name).mkdir(parents=True)
            deep = np.full((8, 8), grey * 257, np.uint16)
            Image.fromarray(deep).save(tmp_path / part / name / "1.png")
    assert set(fashion_mnist.load(str(tmp_path)).train_images.ravel()) == {80, 200}


@pytest.mark.parametrize("corner", [0, 200], ids=["black", "light"])
def test_labels_in_the_first_column_need_no_header_whatever_the_last_pixel_is(
    corner, arrays, tmp_path
):
    arrays[0][:, -1, -1], arrays[1][:] = corner, arrays[1] * 5  # labels that skip numbers
    arrays[3][:] *= 5
    dataset = fashion_mnist.load(
        str(kaggle(tmp_path / "data", arrays, ("train.csv", "test.csv"), header=False))
    )
    np.testing.assert_array_equal(dataset.train_images, arrays[0])
    assert dataset.class_names == ("0", "5", "10")


def test_an_npz_may_have_one_test_image(arrays, tmp_path):
    parts = [*arrays[:2], arrays[2][:1], arrays[3][:1]]
    dataset = fashion_mnist.load(str(npz(tmp_path / "data", parts)))
    np.testing.assert_array_equal(dataset.test_images, parts[2])
    np.testing.assert_array_equal(dataset.test_labels, parts[3])


def test_images_of_12_bits_have_one_white_also_the_dark_ones(tmp_path):
    for part in ("train", "test"):
        for name, grey in (("dark", 8), ("light", 255)):
            (tmp_path / part / name).mkdir(parents=True)
            deep = np.full((8, 8), grey * 4095 // 255, np.uint16)
            Image.fromarray(deep).save(tmp_path / part / name / "1.png")
    assert set(fashion_mnist.load(str(tmp_path)).train_images.ravel()) == {8, 255}


def test_images_are_turned_as_they_say(arrays, tmp_path):
    right = fashion_mnist.load(str(pictures(tmp_path, arrays))).train_images
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees
    for file in tmp_path.rglob("*.png"):
        pixels = np.rot90(np.asarray(Image.open(file)))
        Image.fromarray(pixels.copy()).save(file, exif=exif)
    np.testing.assert_array_equal(fashion_mnist.load(str(tmp_path)).train_images, right)


def test_no_image_of_a_class_is_lost_for_its_suffix(arrays, tmp_path):
    right = fashion_mnist.load(str(pictures(tmp_path, arrays))).train_images
    for name, kind in (("0", ".ppm"), ("1", ".jp2"), ("2", ".TGA")):
        for file in (tmp_path / "train" / name).iterdir():
            with Image.open(file) as image:
                image.save(file.with_suffix(kind))
            file.unlink()
    dataset = fashion_mnist.load(str(tmp_path))
    assert (dataset.num_classes, dataset.train_images.shape) == (3, right.shape)


def test_hidden_files_are_no_images_and_other_files_are_named(arrays, tmp_path):
    pictures(tmp_path, arrays)
    (tmp_path / "train" / "1" / "._0001.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "__MACOSX" / "train").mkdir(parents=True)
    assert "passed over" not in fashion_mnist.load(str(tmp_path)).notice
    (tmp_path / "train" / "1" / "notes.txt").write_text("no image")
    dataset = fashion_mnist.load(str(tmp_path))
    words = "Files passed over, as no images of a class: 1, such as train/1/notes.txt."
    assert words in dataset.notice
    assert len(dataset.train_images) == TRAIN


def words_in_a_csv(path, arrays):
    kaggle(path, arrays)
    (path / "fashion-mnist_test.csv").write_text("label,pixel1\n0,dark\n")
    return path


def csv_cut_off_in_a_row(path, arrays):
    kaggle(path, arrays)
    file = path / "fashion-mnist_test.csv"
    header = file.read_text().splitlines()[0]
    file.write_text(f"{header}\n0{',0' * 9}")
    return path


def other_columns(path, arrays):
    kaggle(path, arrays)
    for name, letter in (("train", "a"), ("test", "b")):
        names = [f"{letter}{i * i}" for i in range(64)]
        columns_anew(path / f"fashion-mnist_{name}.csv", range(64), names)
    return path


def rows_and_columns_sorted_as_text(path, arrays):
    kaggle(path, arrays)
    names = [f"{1 + i // 8}x{8 + i % 8}" for i in range(64)]
    order = sorted(range(64), key=lambda i: names[i])
    columns_anew(path / "fashion-mnist_train.csv", order, names)
    return path


def label_of_another_name(path, arrays):
    kaggle(path, arrays)
    file = path / "fashion-mnist_train.csv"
    file.write_text(file.read_text().replace("label", "y"))
    return path


def label_last_without_a_header(path, arrays):
    return kaggle(path, arrays, header=False, label=64)


def label_last_behind_black_corners(path, arrays):
    arrays[0][:, 0, 0] = 0
    return kaggle(path, arrays, header=False, label=64)


def csv_of_nothing(path, arrays):
    path.mkdir()
    (path / "train.csv").write_text("")
    return path


def csv_of_labels_alone(path, arrays):
    path.mkdir()
    (path / "train.csv").write_text("label\n1\n2\n")
    return path


def other_names(path, arrays):
    return npz(path, arrays, ("images", "labels", "a", "b"))


def objects(path, arrays):
    return npz(path, [np.array([{}, []], object), *arrays[1:]])


def shares(path, arrays):
    return npz(path, [arrays[0] / 255, *arrays[1:]])


def no_zip(path, arrays):
    file = npz(path, arrays)
    file.write_bytes(b"<html>")
    return file


def two_sizes(path, arrays, size=(9, 9)):
    pictures(path, arrays)
    Image.new("L", size).save(path / "test" / "0" / "odd.png")
    return path


def oblong(path, arrays):
    return two_sizes(path, arrays, (9, 8))


def only_oblong(path, arrays):
    pictures(path, arrays)
    for file in path.rglob("*.png"):
        Image.new("L", (9, 8)).save(file)
    return path


def too_many_classes(path, arrays):
    for number in range(257):
        (path / f"c{number}").mkdir(parents=True)
        for i in range(2):
            Image.new("L", (4, 4)).save(path / f"c{number}" / f"{i}.png")
    return path


def a_class_for_the_test_only(path, arrays):
    pictures(path, arrays)
    (path / "train" / "2").rename(path / "elsewhere")
    return path


def no_picture(path, arrays):
    pictures(path, arrays)
    (path / "train" / "1" / "0001.png").write_bytes(b"no image")
    return path


def a_class_without_images(path, arrays):
    pictures(path, arrays)
    (path / "train" / "hat").mkdir()
    return path


def loose_photos(path, arrays):
    pictures(path, arrays)
    return path / "train" / "1"


def one_photo(path, arrays):
    return loose_photos(path, arrays) / "0001.png"


def a_folder_in_a_class(path, arrays):
    pictures(path, arrays)
    (path / "train" / "1" / "left").mkdir()
    (path / "train" / "1" / "0001.png").rename(path / "train" / "1" / "left" / "0001.png")
    return path


def transparent(path, arrays):
    pictures(path, arrays, mode="RGBA")
    Image.new("RGBA", (8, 8), (255, 255, 255, 0)).save(path / "test" / "0" / "0000.png")
    return path


REFUSED = {
    several: "several data sets; name one of them: ",
    two_layouts_in_a_folder: "data: several data sets in ",
    a_whole_set_in_each_folder: "data/test, ",
    a_missing_part: "t10k-images-idx3-ubyte: no such file, also not as .gz",
    something_else: "found cifar-10-batches-py/, readme.txt/",
    empty: "found an empty folder",
    an_archive: "found this file",
    train_labels_missing: "fashion-mnist_train.csv: has no column named label, class or target",
    test_csv_alone: "fashion-mnist_test.csv: no such file beside it for the training images",
    csv_cut_off_in_a_row: "fashion-mnist_test.csv: 10 columns, but 65 in its first line",
    words_in_a_csv: "fashion-mnist_test.csv: not a table of numbers",
    other_columns: "fashion-mnist_test.csv: its columns are not those of",
    rows_and_columns_sorted_as_text: "columns 1x10, 1x11, 1x12 ... are in no order",
    label_of_another_name: "no square image; no column is named label, class or target",
    label_last_without_a_header: "the first column does not look like labels, the last one does",
    label_last_behind_black_corners: "the first column does not look like labels",
    csv_of_labels_alone: "train.csv: 0 pixels in a row, which is no square image",
    csv_of_nothing: "train.csv: holds no images",
    other_names: "holds no x_train (it has a, b, images, labels)",
    objects: "holds Python objects, which could run code when they are read; save plain arrays",
    shares: "fashion.npz train_images: of type float64, expected uint8",
    no_zip: "not an intact .npz file",
    two_sizes: "odd.png: 9x9 pixels (width x height), expected 8x8; make all",
    oblong: "odd.png: 9x8 pixels (width x height), expected 8x8; make all",
    only_oblong: ".png: 9x8 pixels (width x height), expected a square; cut it to one",
    too_many_classes: "257 classes; at most 256 are possible",
    a_class_for_the_test_only: "test/2: no such class in",
    a_class_without_images: "train: read as a folder of images for each class, and hat has none",
    loose_photos: "and 4 more; photos without classes are for scripts/predict.py",
    one_photo: "found this file; photos without classes are for scripts/predict.py",
    a_folder_in_a_class: "train/1/left: a folder in a class; move its images to",
    transparent: "test/0/0000.png: has transparent pixels",
    no_picture: "0001.png: not an intact image",
}


@pytest.mark.parametrize(
    ("layout", "words"), REFUSED.items(), ids=lambda each: getattr(each, "__name__", "")
)
def test_what_is_no_data_set_is_refused_in_one_line(layout, words, arrays, tmp_path):
    with pytest.raises(NinError) as caught:
        fashion_mnist.load(str(layout(tmp_path / "data", arrays)))
    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
