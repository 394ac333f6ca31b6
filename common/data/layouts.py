"""Data sets in files, laid out as people have them: found, and read into four arrays.

:data:`LAYOUTS` lists what is read. Each layout is a function that looks at one folder (or file)
and says what data sets of its kind are there, each with what reads it.
"""

import functools
import glob
import hashlib
import io
import itertools
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from common.data import photos
from common.data.dataset import Dataset
from common.data.idx import parse_idx, read_uncompressed, to_idx
from common.errors import NinError, closest, in_options, one_line, printable

# What other people call the two parts; of several names in a data set, the first here is taken.
PARTS = {
    "train": ("train", "training"),
    "test": ("t10k", "test", "testing", "val", "valid", "validation", "dev"),
}
NAMES = PARTS["train"] + PARTS["test"]
# Where no test images with labels are given, every sixth image of each class is one.
TEST_SHARE = 6
DIVIDED = f"Every {TEST_SHARE}th image of each class is a test image."
# Columns of a table that hold the class.
LABELS = ("label", "class", "target")
LABELS_IN_WORDS = "label, class or target"
# Columns of a table that are neither a label nor a pixel.
NUMBERING = ("", "id", "imageid", "index", "unnamed: 0")
# Folders are looked at so deep below the one that is given, such as root/FashionMNIST/raw.
DEPTH = 2
MOST_FOLDERS = 100
EXPECTED = (
    "four idx files (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
    "t10k-labels-idx1-ubyte, gzipped or not), CSV files (..._train.csv, perhaps ..._test.csv; or "
    "one, named itself), an .npz file (x_train, y_train, x_test, y_test), or a folder of images "
    "for each class, perhaps in folders train and test"
)
# what else than a path a data set can be named by: see common.data.fashion_mnist.load
WORDS = ("auto", "full", "sample")


def read(path: Path) -> Dataset:
    """Read a data set.

    Args:
        path: a folder that holds it, or its files' common beginning (``gzip/emnist-letters``), or
            the one file that it is in.

    Raises:
        NinError: if there is none or more than one, or it is damaged, with the file, what was
            expected and what was found.
    """
    prefix = "" if path.is_dir() else path.name
    here = path.parent if prefix else path
    like = closest(str(path), WORDS, 0.75)
    meant = f"; did you mean {like}?" if like else ""
    missing = NinError(f"data {path}: no such directory{meant}")
    if not here.is_dir() or (prefix and not any(here.glob(f"{glob.escape(prefix)}*"))):
        raise missing
    try:
        for folders in [[here]] if prefix else _levels(here):
            sets = [found for f in folders for layout in LAYOUTS for found in layout(f, prefix)]
            # torchvision's root may hold other sets too, and this project is of this one
            sets = [found for found in sets if "fashion" in found[0].lower()] or sets
            if len(sets) > 1:
                names = sorted(name for name, _ in sets)
                # a folder's own name does not tell its layouts apart
                both = next((n for n in names if names.count(n) > 1 or n == str(here)), None)
                if both:
                    raise NinError(
                        f"data {path}: several data sets in {both}, such as tables and folders of "
                        "images; leave one there, or name a file of one"
                    )
                raise NinError(
                    f"data {path}: several data sets; name one of them: {', '.join(names)}"
                )
            if sets:
                return sets[0][1]()
        if not path.exists():  # other names begin so
            raise missing
        inside = sorted(entry.name + "/" * entry.is_dir() for entry in here.iterdir())
    except OSError as error:
        raise NinError(f"data {path}: cannot be read ({error})") from error
    few = ", ".join(inside[:6]) + (f" and {len(inside) - 6} more" if inside[6:] else "")
    found = "this file" if path.is_file() else few or "an empty folder"
    photo = any(name.lower().endswith(tuple(photos.suffixes())) for name in [path.name, *inside])
    hint = "; photos without classes are for scripts/predict.py" if photo else ""
    raise NinError(f"data {path}: expected {EXPECTED}; found {found}{hint}")


# ------------------------------------------------------------- the layouts

# A data set that is there: what to name to get it, and what reads it.
Sets = Iterator[tuple[str, Callable[[], Dataset]]]


def _dataset(
    found: dict[str, tuple[np.ndarray, str]],
    checksums: dict[str, str],
    notices: list[str],
    class_names: tuple[str, ...] = (),
) -> Dataset:
    """A data set; if it has no test images, some of its training images are those.

    Each array is found with what messages call it: its file. Checksums are of uncompressed files.
    """
    if "test_labels" not in found:
        labels, where = found["train_labels"]
        chosen = np.zeros(len(labels), bool)
        for label in np.unique(labels):
            chosen[np.flatnonzero(labels == label)[TEST_SHARE - 1 :: TEST_SHARE]] = True
        if not chosen.any():
            raise NinError(
                f"{where}: too few images; of those in each class every {TEST_SHARE}th is a test "
                "image"
            )
        for kind in ("images", "labels"):
            both, _ = found[f"train_{kind}"]
            found[f"train_{kind}"] = both[~chosen], where
            found[f"test_{kind}"] = both[chosen], where
        notices = [DIVIDED, *notices]
    arrays: dict[str, Any] = {name: array for name, (array, _) in found.items()}
    try:
        return Dataset(
            **arrays, class_names=class_names, checksums=checksums, notice=" ".join(notices)
        )
    except NinError as error:  # which names the arrays: they are in these files
        called = {name: where for name, (_, where) in found.items()}
        raise NinError(in_options(error.marked, called)) from error


def _idx(folder: Path, prefix: str) -> Sets:
    """The files of MNIST and its relatives: also EMNIST's, QMNIST's, and names with a dot."""
    pattern = re.compile(
        rf"(.*?)({'|'.join(NAMES)})[-_.](images|labels)[-_.]idx\d[-_.](ubyte|int|byte)(\.gz)?"
    )
    named = pattern.fullmatch(prefix)  # one of the four files stands for all
    prefix = named[1] if named else prefix
    files = sorted(folder.glob(f"{glob.escape(prefix)}*"))
    inner = [] if prefix else [
        (entry, file) for entry in files if entry.is_dir()
        if entry.name.lower() in NAMES or pattern.fullmatch(entry.name.lower())
        for file in sorted(entry.iterdir()) if pattern.fullmatch(file.name)
    ]  # fmt: skip
    # one set in folders of its parts, not a set in each
    if all(_is_train(entry.name) == _is_train(pattern.sub(r"\2", f.name)) for entry, f in inner):
        files += [file for _, file in inner]
    groups: dict[str, dict[tuple[str, str], Path]] = {}
    for file in files:
        match = pattern.fullmatch(file.name)
        if match and file.is_file():
            # the file that is not zipped comes first, as it is read faster
            groups.setdefault(match[1], {}).setdefault((match[2], match[3]), file)
    for group, found in groups.items():
        yield str(folder / group.rstrip("-_.")), functools.partial(_read_idx, folder, group, found)


def _read_idx(folder: Path, group: str, files: dict[tuple[str, str], Path]) -> Dataset:
    found, checksums, used = {}, {}, []
    for part, words in PARTS.items():
        published = "test" if group and part == "test" else words[0]
        there = (each for each in words for word, _ in files if each == word)
        word = next(there, published)
        for kind in ("images", "labels"):
            path = files.get((word, kind))
            if path is None:
                missing = folder / _idx_name(kind, group + word)
                raise NinError(f"{missing}: no such file, also not as .gz")
            content = read_uncompressed(path)
            # QMNIST's labels: the class, then where the image is from
            dimensions = 3 if kind == "images" else 2 if content[3:4] == b"\x02" else 1
            array = parse_idx(content, dimensions, str(path))
            found[f"{part}_{kind}"] = array[:, 0] if dimensions == 2 else array, str(path)
            checksum = hashlib.sha256(content).hexdigest()
            checksums[_idx_name(kind, group + published)] = checksum
            used.append(path.name)
    unused = {path.name for path in files.values()}.difference(used)
    _, _, test_images, _ = used
    return _dataset(found, checksums, _unused(unused, test_images))


def _unused(names: Iterable[str], test: str) -> list[str]:
    """A sentence on parts of a set besides the two, such as a third for validation; or nothing."""
    left = ", ".join(sorted(names))
    words = f"Not used: {left}; the test images are those of {test}."
    return [printable(words)] if left else []


def _is_train(name: str) -> bool:
    return name.lower().startswith("train")


def _idx_name(kind: str, part: str) -> str:
    """The name as MNIST's authors wrote it."""
    return f"{part}-{kind}-idx{3 if kind == 'images' else 1}-ubyte"


def _csv(folder: Path, prefix: str) -> Sets:
    """Two CSV files as on Kaggle: a column ``label``, then a column for each pixel."""
    files: dict[str, Path] = {}
    parts: set[str] = set()
    for part, words in PARTS.items():
        for word, file in itertools.product(words, sorted(folder.glob("*.csv*"))):
            stem = file.name.lower().removesuffix(".gz").removesuffix(".csv")
            if file.suffix in (".csv", ".gz") and re.split(r"[-_. ]", stem)[-1] == word:
                files.setdefault(part, file)
                parts.add(file.name)
    if prefix and prefix not in {file.name for file in files.values()}:
        named = folder / prefix
        files = {"train": named} if re.search(r"\.csv(\.gz)?$", prefix) and named.is_file() else {}
        parts = set()
    if files:
        yield str(folder), functools.partial(_read_csv, files, parts)


def _read_csv(files: dict[str, Path], parts: set[str]) -> Dataset:
    found: dict[str, tuple[np.ndarray, str]] = {}
    checksums: dict[str, str] = {}
    columns: tuple[str, ...] | None = None
    if "train" not in files:
        raise NinError(f"{files['test']}: no such file beside it for the training images")
    for part, file in files.items():
        content = read_uncompressed(file)
        labels, images, names = _table(content, file)
        if labels is None and part == "train":
            raise NinError(f"{file}: has no column named {LABELS_IN_WORDS}")
        if labels is None:  # to be predicted, as in Kaggle's competitions
            continue
        columns = names if columns is None else columns  # a table without names may be either
        if names not in (None, columns):
            raise NinError(
                f"{file}: its columns are not those of {files['train']}, in their order; "
                "give both files the same header"
            )
        checksums[file.name] = hashlib.sha256(content).hexdigest()
        found[f"{part}_images"], found[f"{part}_labels"] = (images, str(file)), (labels, str(file))
    return _dataset(found, checksums, _unused(parts - checksums.keys(), [*checksums][-1]))


def _table(
    content: bytes, path: Path
) -> tuple[np.ndarray | None, np.ndarray, tuple[str, ...] | None]:
    """Labels, if there are any, and images of a CSV file, and what :func:`_pixels` says."""
    if b"\n" not in content:  # as old programs end lines, and Excel for the Mac
        content = content.replace(b"\r", b"\n")
    first = content.split(b"\n", 1)[0].decode("utf-8-sig", "replace").strip("\r\n")
    comma = max(",;\t", key=first.count)
    names = [name.strip().strip('"').lower() for name in first.split(comma)]
    header = not all(re.fullmatch(r"\d+(\.0*)?", name) for name in names)
    column = next((names.index(name) for name in LABELS if name in names), None if header else 0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an empty file, which is refused below
            table = np.loadtxt(
                io.BytesIO(content), np.float32, delimiter=comma, skiprows=int(header), ndmin=2,
                encoding="utf-8-sig", quotechar='"',
            )  # fmt: skip
    except ValueError as error:
        raise NinError(f"{path}: not a table of numbers ({one_line(error)})") from error
    if not table.size:
        raise NinError(f"{path}: holds no images")
    if table.shape[1] != len(names):
        raise NinError(f"{path}: {table.shape[1]} columns, but {len(names)} in its first line")
    others = [i for i, name in enumerate(names) if i == column or (header and name in NUMBERING)]
    labels, pixels = None if column is None else table[:, column], np.delete(table, others, axis=1)
    size = round(pixels.shape[1] ** 0.5)
    if not size or size * size != pixels.shape[1]:
        hint = "" if column is not None else f"; no column is named {LABELS_IN_WORDS}"
        raise NinError(f"{path}: {pixels.shape[1]} pixels in a row, which is no square image{hint}")
    for values in (pixels, pixels[:0] if labels is None else labels):
        if values.size and (values % 1 != 0).any() | (values.min() < 0) | (values.max() > 255):
            raise NinError(f"{path}: expected whole numbers from 0 to 255")
    if not header and _labels_are_last(table):
        raise NinError(
            f"{path}: the first column does not look like labels, the last one does; put the "
            "labels first, or name them label in a header"
        )
    left = None
    if header:
        order, left = _pixels([name for i, name in enumerate(names) if i not in others], path)
        pixels = pixels[:, order]
    images = pixels.astype(np.uint8).reshape(-1, size, size)
    return None if labels is None else labels.astype(np.uint8), images, left


def _labels_are_last(table: np.ndarray) -> bool:
    """Whether the last column of a table without a header looks like labels, and the first not."""
    counts, like = [], []
    for column in (table[:, 0], table[:, -1]):
        values, times = np.unique(column, return_counts=True)
        several = 2 <= len(values) <= len(column) / 2
        # a corner of an image is nearly always black
        like.append(several and np.ptp(values) < len(values) and times.max() < 0.98 * len(column))
        counts.append((times.max() / len(column), len(values)))
    constant = counts[0][0] >= 0.98
    return like[1] and not like[0] and (constant or counts[1][1] < counts[0][1])


def _pixels(names: list[str], path: Path) -> tuple[np.ndarray | slice, tuple[str, ...]]:
    """The order of columns by the numbers in their names, if they say it, else the names.

    Columns sorted as text (pixel0, pixel1, pixel10) are not in the order of the image.
    """
    # Python reads no number of some thousand digits
    numbers = [[int(number) for number in re.findall(r"[0-9]{1,99}", name)] for name in names]
    if all(len(each) == 1 for each in numbers):
        order = np.argsort([each[0] for each in numbers])
        if (np.diff([numbers[i][0] for i in order]) == 1).all():
            return order, ()
    # as 1x1, 1x2, ...: whether rows or columns come first, names do not say
    pairs = all(len(each) == 2 for each in numbers)
    if pairs and numbers not in (sorted(numbers), sorted(numbers, key=lambda each: each[::-1])):
        raise NinError(
            f"{path}: columns {', '.join(names[:3])} ... are in no order of rows and columns; "
            "sort them by their numbers"
        )
    return slice(None), tuple(names)


def _npz(folder: Path, prefix: str) -> Sets:
    """An ``.npz`` file with Keras's names, or those of a :class:`Dataset`."""
    for path in sorted(folder.glob(f"{glob.escape(prefix)}*")):
        if path.suffix == ".npz":
            yield str(path), functools.partial(_read_npz, path)


def _read_npz(path: Path) -> Dataset:
    content = read_uncompressed(path)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            names = {name.lower(): name for name in file.files}
            found, checksums, unused = {}, {}, set(file.files)
            for part in PARTS:
                for kind, letter in (("images", "x"), ("labels", "y")):
                    name = f"{part}_{kind}"
                    keys = (name, f"{letter}_{part}", f"{part}_{letter}")
                    key = next((names[key] for key in keys if key in names), None)
                    if key is None:
                        few = printable(", ".join(sorted(file.files)[:6])) or "nothing"
                        raise NinError(f"{path}: holds no {letter}_{part} (it has {few})")
                    array = file[key]
                    unused.remove(key)
                    # a column of labels, or images with their one channel
                    further = array.ndim == (4 if kind == "images" else 2)
                    array = array[..., 0] if further and array.shape[-1] == 1 else array
                    found[name] = array, f"{path} {name}"
                    # that of an idx file with the same content, as Fashion-MNIST is recognised
                    checksum = hashlib.sha256(to_idx(array)).hexdigest()
                    checksums[_idx_name(kind, PARTS[part][0])] = checksum
    except NinError:
        raise
    except Exception as error:  # of many kinds, as the file may hold anything
        words = f"not an intact .npz file of arrays ({type(error).__name__})"
        if "Object arrays" in str(error):
            words = (
                "holds Python objects, which could run code when they are read; save plain arrays "
                "of numbers"
            )
        raise NinError(f"{path}: {words}") from error
    return _dataset(found, checksums, _unused(unused, str(key)))


def _pictures(folder: Path, prefix: str) -> Sets:
    """A folder of images for each class, perhaps in folders of training and test images."""
    if prefix:
        return
    inside = {entry.name.lower(): entry for entry in folder.iterdir()}
    train, test = (
        next((inside[word] for word in words if word in inside and _classes(inside[word])), None)
        for words in PARTS.values()
    )
    if train and test:
        parts = {"train": train, "test": test}
        yield str(folder), functools.partial(_read_pictures, folder, parts)
    elif not train and not test and len(_classes(folder)) > 1:
        yield str(folder), functools.partial(_read_pictures, folder, {"train": folder})


def _classes(folder: Path) -> dict[str, list[Path]]:
    """Name of a class -> its images, in order: numbers as numbers."""
    if not folder.is_dir():
        return {}
    found: dict[str, list[Path]] = {}
    for entry in filter(Path.is_dir, _visible(folder)):
        found.setdefault(_name(entry), []).extend(_images_in(entry))
    return {name: found[name] for name in sorted(found, key=_natural) if found[name]}


def _name(folder: Path) -> str:
    """Of a class: its letters and accents may be one character or, as macOS has them, two."""
    return unicodedata.normalize("NFC", folder.name)


def _visible(folder: Path) -> list[Path]:
    """What a folder holds, without what macOS hides beside each file."""
    return sorted(e for e in folder.iterdir() if not e.name.startswith((".", "__MACOSX")))


def _images_in(folder: Path) -> list[Path]:
    suffixes = photos.suffixes()
    return [e for e in _visible(folder) if e.suffix.lower() in suffixes and not e.is_dir()]


def _passed_over(folder: Path, classes: dict[str, list[Path]]) -> list[Path]:
    """Files that are of no class; :class:`NinError` for a folder whose images would not be read."""
    passed = _images_in(folder)
    for entry in filter(Path.is_dir, _visible(folder)):
        if _name(entry) not in classes:
            raise NinError(
                f"data {folder}: read as a folder of images for each class, and {entry.name} has "
                "none; put images in there, or name the directory that holds the classes alone"
            )
        for inner in _visible(entry):
            if inner.is_dir():
                raise NinError(f"{inner}: a folder in a class; move its images to {entry}")
        passed += sorted({*_visible(entry)} - {*classes[_name(entry)]})
    return passed


def _natural(name: str) -> tuple[bool, int, str]:
    return not name.isdecimal(), int(name) if name.isdecimal() else 0, name


def _read_pictures(folder: Path, parts: dict[str, Path]) -> Dataset:
    classes = {part: _classes(place) for part, place in parts.items()}
    notices, names = [], tuple(classes["train"])
    if len(names) > 256:
        raise NinError(f"{parts['train']}: {len(names)} classes; at most 256 are possible")
    passed = [f for part, place in parts.items() for f in _passed_over(place, classes[part])]
    if passed:
        example = printable(str(passed[0].relative_to(folder)))
        notices.append(
            f"Files passed over, as no images of a class: {len(passed)}, such as {example}."
        )
    if "test" in parts:
        others = (e for e in _visible(folder) if e not in parts.values() and _classes(e))
        notices += _unused((f"{entry.name}/" for entry in others), f"{parts['test'].name}/")
    labels: dict[str, dict[Path, int]] = {part: {} for part in parts}
    for part, of in classes.items():
        for name, images in of.items():
            if name not in names:
                raise NinError(f"{images[0].parent}: no such class in {parts['train']}")
            labels[part] |= dict.fromkeys(images, names.index(name))
    read: dict[Path, np.ndarray] = {}
    side: int | None = None
    for path in itertools.chain(*labels.values()):
        read[path] = picture(path, side)
        side = len(read[path])
    read = in_bytes(read)
    arrays: dict[str, tuple[np.ndarray, str]] = {}
    for part, known in labels.items():
        arrays[f"{part}_images"] = np.stack([read[path] for path in known]), str(parts[part])
        arrays[f"{part}_labels"] = np.array([*known.values()], np.uint8), str(parts[part])
    digest = hashlib.sha256()
    for path, image in read.items():
        digest.update(f"{path.relative_to(folder)}\n".encode(errors="surrogateescape"))
        digest.update(image.tobytes())
    if names == tuple(map(str, range(len(names)))):
        names = ()  # numbers, not names
    return _dataset(arrays, {"images": digest.hexdigest()}, notices, names)


def picture(path: Path, side: int | None = None) -> np.ndarray:
    """The grey values of an image: uint8, or any numbers if they have more than 8 bits.

    Raises:
        NinError: if it is not intact, or not a square (of that side, if one is given).
    """
    from PIL import ImageOps

    with photos.opened(path) as file:
        image = ImageOps.exif_transpose(file)
        width, height = image.size
        found = f"{path}: {width}x{height} pixels (width x height), expected"
        if side is not None and (width, height) != (side, side):
            raise NinError(f"{found} {side}x{side}; make all images squares of that size")
        if width != height:
            raise NinError(f"{found} a square; cut it to one, or add a border")
        if image.mode.startswith(("I", "F")):
            return np.asarray(image)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            if image.getextrema()[3][0] < 255:
                raise NinError(f"{path}: has transparent pixels; save it on a background, "
                               "such as black")  # fmt: skip
        return np.asarray(image.convert("L"))


def in_bytes(read: dict[Path, np.ndarray]) -> dict[Path, np.ndarray]:
    """Pictures of one size, all as uint8."""
    deep = [path for path, image in read.items() if image.dtype != np.uint8]
    if not deep:
        return read
    # all together, as the darker ones alone do not show their depth
    scaled = photos.scaled(np.stack([read[path] for path in deep]).astype(np.float64))
    return read | dict(zip(deep, np.rint(scaled).astype(np.uint8), strict=True))


LAYOUTS: tuple[Callable[[Path, str], Sets], ...] = (_idx, _csv, _npz, _pictures)


def _levels(path: Path) -> Iterator[list[Path]]:
    """A folder, then those in it, then those in them."""
    level = [path]
    for _ in range(DEPTH + 1):
        yield level
        inner = (entry for folder in level for entry in sorted(folder.iterdir()))
        level = [entry for entry in inner if entry.is_dir() and not entry.name.startswith(".")]
        level = level[:MOST_FOLDERS]
