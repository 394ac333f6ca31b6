"""Fashion-MNIST: where it is found or downloaded from, and whether it is intact.

The files have the MNIST layout: idx files, gzipped or not. See :func:`load`.
"""

import dataclasses
import hashlib
import os
import sys
from pathlib import Path
from typing import NamedTuple

from common.data.dataset import ARGUMENTS, Dataset, check_arrays
from common.data.idx import parse_idx, read_uncompressed
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
    """What identifies a file of the full data set."""

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

# Variables of the environment: a directory of idx files; addresses to download from, separated by
# blanks.
DIRECTORY_VARIABLE = "NIN_DATA"
MIRRORS_VARIABLE = "NIN_MIRRORS"
MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
SYSTEM_DIRECTORY = Path("/usr/share/datasets/fashion-mnist")
SAMPLE_DIRECTORY = Path(__file__).parent / "sample"
DOWNLOAD_TIMEOUT_SECONDS = 30


def load(spec: str = "auto") -> Dataset:
    """Find, check and read the data.

    Args:
        spec: ``full`` is all of Fashion-MNIST, from the directory in ``NIN_DATA``, the cache, the
            system's copy or a download, in this order. ``sample`` is the embedded sample. ``auto``
            is ``full`` if that is available, else the sample with a notice. Anything else is a
            directory of four idx files in the MNIST layout, gzipped or not.

    Raises:
        NinError: files missing, corrupt or not matching each other; ``full`` not available.
    """
    if spec == "sample":
        return read_directory(SAMPLE_DIRECTORY)
    if spec not in ("auto", "full"):
        return read_directory(Path(spec))
    explicit = os.environ.get(DIRECTORY_VARIABLE)
    if explicit:
        dataset = read_directory(Path(explicit))
        if spec == "full" and dataset.kind != "full":
            raise NinError(
                f"`data=full`: {DIRECTORY_VARIABLE}={explicit} does not hold all of Fashion-MNIST"
            )
        return dataset
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
    sample = read_directory(SAMPLE_DIRECTORY)
    notice = f"{sample.notice} The full set was not available ({why})."
    return dataclasses.replace(sample, refused=tuple(refused), notice=notice)


def load_and_tell(spec: str) -> Dataset:
    """:func:`load`, with a line on standard error for each damaged copy that it found."""
    dataset = load(spec)
    for line in dataset.refused:
        print(f"note: damaged data passed over: {line}", file=sys.stderr)
    return dataset


def cache_directory() -> Path:
    """Where downloads are kept: in the system's usual place for caches."""
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
    for name, field in zip(CHECKSUMS, ARGUMENTS, strict=True):
        path = _find(directory, name)
        content = read_uncompressed(path)
        checksums[name] = hashlib.sha256(content).hexdigest()
        arrays[field] = parse_idx(content, 3 if "idx3" in name else 1, str(path))
        paths[field] = str(path)
    # here, so that messages name the files
    dataset = Dataset(
        **check_arrays(arrays, 0, paths), directory=str(directory.resolve()), checksums=checksums
    )
    if all(checksums[name] == checksum.sha256 for name, checksum in CHECKSUMS.items()):
        return dataclasses.replace(dataset, kind="full")
    if directory.resolve() == SAMPLE_DIRECTORY.resolve():
        kind = "sample"
        notice = f"On the embedded sample of Fashion-MNIST: {dataset.counts} of 60000 and 10000."
    else:
        kind = "custom"
        notice = f"On {dataset.directory}, not the published Fashion-MNIST files: {dataset.counts}."
    return dataclasses.replace(dataset, kind=kind, notice=notice)


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
