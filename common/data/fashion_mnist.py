"""Fashion-MNIST: where it is found, whether it is intact, and what a run gets of it.

The files have the MNIST layout: idx files, gzipped or not. See :func:`load`.
"""

import dataclasses
import gzip
import hashlib
import os
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.errors import NinError

CLASS_NAMES = (
    "t-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"


class Checksum(NamedTuple):
    """How a file of the full data set is recognised."""

    sha256: str
    """Of the uncompressed file: Debian compressed the files anew, so only this is the same."""
    md5_gz: str
    """Of the published .gz file, for downloads."""


CHECKSUMS = {
    TRAIN_IMAGES: Checksum(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    ),
    TRAIN_LABELS: Checksum(
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "25c81989df183df01b3e8a0aad5dffbe",
    ),
    TEST_IMAGES: Checksum(
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "bef4ecab320f06d8554ea6380940ec79",
    ),
    TEST_LABELS: Checksum(
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
}

# A directory of idx files, or (NIN_MIRRORS) addresses to download from, a blank between them.
DIRECTORY_VARIABLE = "NIN_DATA"
MIRRORS_VARIABLE = "NIN_MIRRORS"
MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
SYSTEM_DIRECTORY = Path("/usr/share/datasets/fashion-mnist")
SAMPLE_DIRECTORY = Path(__file__).parent / "sample"
DOWNLOAD_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Dataset:
    """Training images, and the images that accuracy is measured on.

    Images are uint8 of shape ``(count, height, width)``, height equal to width, 0 is black.
    Labels are uint8 of shape ``(count,)``, below ``num_classes``.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    num_classes: int
    kind: str
    """``full`` or ``sample`` (of Fashion-MNIST), or ``custom``."""
    directory: str
    checksums: dict[str, str]
    """File name -> SHA-256 of the uncompressed file."""
    evaluated_on: str = "test"
    """``test``, or ``validation`` if the test images here were held out of the training set."""
    refused: tuple[str, ...] = ()
    """Copies that were found but are damaged, one line each."""
    notice: str = ""
    """One sentence for everything that is written, when this is not the whole real data set."""

    def limit(self, count: int | None) -> "Dataset":
        """The first ``count`` training images, and a sixth as many test images (at least one).

        Raises:
            NinError: if there are fewer than ``count``.
        """
        if count is None:
            return self
        available = len(self.train_images)
        if count > available:
            raise NinError(f"`limit={count}`: there are only {available} training examples")
        tests = min(max(1, count // 6), len(self.test_images))
        note = (
            f"A subset: {count} of {available} training and "
            f"{tests} of {len(self.test_images)} {self.evaluated_on} images."
        )
        return dataclasses.replace(
            self,
            train_images=self.train_images[:count],
            train_labels=self.train_labels[:count],
            test_images=self.test_images[:tests],
            test_labels=self.test_labels[:tests],
            notice=f"{self.notice} {note}".strip(),
        )

    def hold_out(self, count: int) -> "Dataset":
        """Take the last ``count`` training images out of training and measure accuracy on them.

        Choices (hyperparameters, exercise 1) are made on such a validation split, so that the
        test set is left for the final figure.

        Raises:
            NinError: if no training image would be left.
        """
        if not count:
            return self
        available = len(self.train_images)
        if count >= available:
            raise NinError(f"`validation={count}`: leaves none of {available} training examples")
        note = (
            f"Trained without the last {count} of {available} training images, on which accuracy "
            "is measured."
        )
        return dataclasses.replace(
            self,
            train_images=self.train_images[:-count],
            train_labels=self.train_labels[:-count],
            test_images=self.train_images[-count:],
            test_labels=self.train_labels[-count:],
            evaluated_on="validation",
            notice=f"{self.notice} {note}".strip(),
        )


def load(spec: str = "auto") -> Dataset:
    """Find, check and read the data.

    Args:
        spec: ``full`` is all of Fashion-MNIST, from the directory in ``NIN_DATA``, the cache, the
            system's copy or a download, in this order. ``sample`` is the embedded sample. ``auto``
            is ``full`` where it can be had, else the sample with a notice. Anything else is a
            directory of four idx files in the MNIST layout, gzipped or not.

    Raises:
        NinError: files missing, corrupt or not matching each other; ``full`` not to be had.
    """
    if spec == "sample":
        return _with_notice(read_directory(SAMPLE_DIRECTORY))
    if spec not in ("auto", "full"):
        return _with_notice(read_directory(Path(spec)))
    explicit = os.environ.get(DIRECTORY_VARIABLE)
    if explicit:
        dataset = read_directory(Path(explicit))
        if spec == "full" and dataset.kind != "full":
            raise NinError(
                f"`data=full`: {DIRECTORY_VARIABLE}={explicit} does not hold all of Fashion-MNIST"
            )
        return _with_notice(dataset)
    refused: list[str] = []
    for directory in (cache_directory(), SYSTEM_DIRECTORY):
        try:
            if directory.is_dir():
                return dataclasses.replace(_read_full(directory), refused=tuple(refused))
        except (NinError, OSError) as error:
            refused.append(str(error))
    try:
        download(cache_directory())
        return _read_full(cache_directory())
    except NinError as error:
        why = "; ".join([*refused, str(error)])
    if spec == "full":
        raise NinError(
            f"`data=full`: not available ({why}); install the package dataset-fashion-mnist "
            f"(Debian, Ubuntu), set {DIRECTORY_VARIABLE}, or take `data=sample`"
        )
    sample = _with_notice(read_directory(SAMPLE_DIRECTORY))
    return dataclasses.replace(
        sample,
        refused=tuple(refused),
        notice=f"{sample.notice} The full set was not to be had ({why}).",
    )


def load_and_tell(spec: str) -> Dataset:
    """:func:`load` for a command: copies that are damaged are told on standard error."""
    dataset = load(spec)
    for line in dataset.refused:
        print(f"note: damaged data passed over: {line}", file=sys.stderr)
    return dataset


def cache_directory() -> Path:
    """Where downloads are kept, following the system's convention for caches."""
    import pooch  # imports requests and more: only when the full set is looked for

    return Path(pooch.os_cache("nin")) / "fashion-mnist"


def download(directory: Path) -> None:
    """Download the four files, each checked before it appears in the directory.

    Raises:
        NinError: if no mirror gives an intact file, naming the file and each mirror's failure.
    """
    import pooch

    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NinError(f"cache {directory}: cannot be written ({error.strerror})") from error
    pooch.get_logger().setLevel("ERROR")
    print(f"downloading Fashion-MNIST (30 MB) to {directory}", file=sys.stderr)
    mirrors = os.environ.get(MIRRORS_VARIABLE, "").split() or MIRRORS
    for name, checksum in CHECKSUMS.items():
        failures = []
        for mirror in mirrors:
            try:
                pooch.retrieve(
                    mirror.rstrip("/") + f"/{name}.gz",
                    known_hash=f"md5:{checksum.md5_gz}",
                    fname=f"{name}.gz",
                    path=directory,
                    downloader=pooch.HTTPDownloader(timeout=DOWNLOAD_TIMEOUT_SECONDS),
                )
                break
            except ValueError:  # pooch's word for another checksum
                failures.append(f"{mirror}: not the file with MD5 {checksum.md5_gz}")
            except Exception as error:  # the downloader's own, of several libraries
                failures.append(f"{mirror}: {type(error).__name__}")
        else:
            raise NinError(f"download of {name}.gz failed ({'; '.join(failures)})")


def read_directory(directory: Path) -> Dataset:
    """Read and check four idx files.

    Raises:
        NinError: naming the file, what was expected and what was found.
    """
    if not directory.is_dir():
        raise NinError(f"data {directory}: no such directory")
    arrays, checksums, paths = {}, {}, {}
    for name in CHECKSUMS:
        paths[name] = _find(directory, name)
        content = _read(paths[name])
        checksums[name] = hashlib.sha256(content).hexdigest()
        arrays[name] = parse_idx(content, 3 if "idx3" in name else 1, str(paths[name]))

    for images, labels in ((TRAIN_IMAGES, TRAIN_LABELS), (TEST_IMAGES, TEST_LABELS)):
        if len(arrays[images]) != len(arrays[labels]):
            raise NinError(
                f"{paths[labels]}: {len(arrays[labels])} labels for the "
                f"{len(arrays[images])} images of {paths[images].name}"
            )
        if not len(arrays[images]):
            raise NinError(f"{paths[images]}: holds no images")
    height, width = arrays[TRAIN_IMAGES].shape[1:]
    if height != width or not height:
        raise NinError(f"{paths[TRAIN_IMAGES]}: images are {height}x{width}, expected square ones")
    if arrays[TEST_IMAGES].shape[1:] != (height, width):
        found = "x".join(map(str, arrays[TEST_IMAGES].shape[1:]))
        raise NinError(
            f"{paths[TEST_IMAGES]}: images are {found}, expected {height}x{width} "
            f"as in {paths[TRAIN_IMAGES].name}"
        )
    num_classes = int(arrays[TRAIN_LABELS].max()) + 1
    if num_classes < 2:
        raise NinError(f"{paths[TRAIN_LABELS]}: one class only; at least two are needed")
    if int(arrays[TEST_LABELS].max()) >= num_classes:
        raise NinError(
            f"{paths[TEST_LABELS]}: label {int(arrays[TEST_LABELS].max())} is not among the "
            f"training labels 0 to {num_classes - 1}"
        )
    return Dataset(
        train_images=arrays[TRAIN_IMAGES],
        train_labels=arrays[TRAIN_LABELS],
        test_images=arrays[TEST_IMAGES],
        test_labels=arrays[TEST_LABELS],
        num_classes=num_classes,
        kind=_kind(checksums, directory),
        directory=str(directory.resolve()),
        checksums=checksums,
    )


def parse_idx(content: bytes, dimensions: int, where: str) -> np.ndarray:
    """An idx file of unsigned bytes as an array.

    The format (LeCun's MNIST page): two zero bytes, type 8 (unsigned byte), the number of
    dimensions, each dimension as a big-endian 32-bit number, then the bytes.

    Args:
        content: the uncompressed file.
        dimensions: how many the file must have.
        where: the file's name for messages.

    Returns:
        uint8 array, writable.

    Raises:
        NinError: naming the file, what was expected and what was found.
    """
    magic = bytes((0, 0, 8, dimensions))
    header = 4 + 4 * dimensions
    if content[:4] != magic:
        raise NinError(
            f"{where}: not an idx file of {dimensions} dimensions "
            f"(starts with {content[:4].hex() or 'nothing'}, expected {magic.hex()})"
        )
    if len(content) < header:
        raise NinError(f"{where}: truncated ({len(content)} bytes, the header has {header})")
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4))
    expected = header + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        what = "truncated" if len(content) < expected else "too long"
        raise NinError(
            f"{where}: {what} ({len(content)} bytes, its header says {expected} for "
            f"{'x'.join(map(str, shape))})"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


def _read_full(directory: Path) -> Dataset:
    dataset = read_directory(directory)
    for name, checksum in CHECKSUMS.items():
        if dataset.checksums[name] != checksum.sha256:
            raise NinError(
                f"{_find(directory, name)}: SHA-256 {dataset.checksums[name]}, "
                f"expected {checksum.sha256}"
            )
    return dataset


def _find(directory: Path, name: str) -> Path:
    for path in (directory / f"{name}.gz", directory / name):
        if path.exists():
            return path
    raise NinError(f"data {directory}: {name} (or {name}.gz) is missing")


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NinError(f"{path}: not an intact gzip file ({error})") from error
    except OSError as error:
        raise NinError(f"{path}: cannot be read ({error.strerror})") from error


def _kind(checksums: dict[str, str], directory: Path) -> str:
    if all(checksums[name] == checksum.sha256 for name, checksum in CHECKSUMS.items()):
        return "full"
    return "sample" if directory.resolve() == SAMPLE_DIRECTORY.resolve() else "custom"


def _with_notice(dataset: Dataset) -> Dataset:
    counts = f"{len(dataset.train_images)} training and {len(dataset.test_images)} test images"
    notices = {
        "full": "",
        "sample": f"On the embedded sample of Fashion-MNIST: {counts} of 60000 and 10000.",
        "custom": f"On {dataset.directory}, not the published Fashion-MNIST files: {counts}.",
    }
    return dataclasses.replace(dataset, notice=notices[dataset.kind])
