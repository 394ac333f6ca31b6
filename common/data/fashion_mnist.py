"""Fashion-MNIST: where it is found or downloaded from, and whether it is intact.

See :func:`load`; :mod:`common.data.layouts` has what other data may look like.
"""

import contextlib
import dataclasses
import os
import sys
import tempfile
from pathlib import Path

from common.data import layouts
from common.data.dataset import Dataset
from common.data.fetch import fetch
from common.errors import NinError, one_line
from common.files.paths import expand

CLASS_NAMES = (
    "t-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip

# SHA-256 of the uncompressed files: Debian compressed them anew, so only these are the same
CHECKSUMS = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
# MD5 of the published files, for downloads
GZIPPED = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
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


def load(spec: str = "auto") -> Dataset:
    """Find, check and read the data, with a line on standard error for each damaged copy.

    Args:
        spec: ``full`` is all of Fashion-MNIST, from the directory in ``NIN_DATA``, the cache, the
            system's copy, what torchvision, Keras, d2l or MXNet left, or a download, in this
            order. ``sample`` is the embedded sample. ``auto``
            is ``full`` if that is available, else the sample with a notice. Anything else is a
            directory or file in one of the layouts of :mod:`common.data.layouts`.

    Raises:
        NinError: files missing, corrupt or not matching each other; ``full`` not available.
    """
    if not spec:
        raise NinError(f"`data=`: must be {', '.join(layouts.WORDS)} or a directory")
    if spec == "sample":
        return read_directory(SAMPLE_DIRECTORY)
    if spec not in ("auto", "full"):
        return read_directory(expand(spec, "data"))
    explicit = os.environ.get(DIRECTORY_VARIABLE)
    if explicit:
        dataset = read_directory(expand(explicit))
        if spec == "full" and dataset.kind != "full":
            raise NinError(
                f"`data=full`: {DIRECTORY_VARIABLE}={explicit} does not hold all of Fashion-MNIST"
            )
        return dataset
    damaged: list[str] = []
    for directory in places().values():
        try:
            # an empty one is what a download that failed leaves
            if directory.is_dir() and any(directory.iterdir()):
                return _read_full(directory)
        except (NinError, OSError) as error:
            # a directory of other people's may well hold something else
            if directory in (*cache_directories(), SYSTEM_DIRECTORY):
                damaged.append(str(error))
                print(f"note: damaged data passed over: {error}", file=sys.stderr)
    try:
        return _read_full(download())
    except NinError as error:
        why = "; ".join([*damaged, str(error)])
    if spec == "full":
        raise NinError(
            f"`data=full`: not available ({why}); install the package dataset-fashion-mnist "
            f"(Debian, Ubuntu), set {DIRECTORY_VARIABLE}, or take `data=sample`"
        )
    sample = read_directory(SAMPLE_DIRECTORY)
    notice = f"{sample.notice} The full set was not available ({why})."
    return dataclasses.replace(sample, notice=notice)


def cache_directories() -> list[Path]:
    """Where downloads are kept: the system's usual place for caches, else one for temporary files.

    The second serves where there is no home directory or it cannot be written.
    """
    import pooch  # imports requests and more: only when the full set is looked for

    caches = [Path(tempfile.gettempdir()) / f"nin-{os.getuid()}"]
    with contextlib.suppress(RuntimeError):  # there is no home directory
        usual = expand(str(pooch.os_cache("nin")))
        # older releases then say "~" itself
        caches = [usual, *caches] if usual.is_absolute() else caches
    return [cache / "fashion-mnist" for cache in caches]


def places() -> dict[str, Path]:
    """Where the full set may be, in the order of the search: name of the place -> directory."""
    names = ("cache", "second cache")
    keras = Path(os.environ.get("KERAS_HOME") or "~/.keras")
    mxnet = Path(os.environ.get("MXNET_HOME") or "~/.mxnet")
    found = {
        **dict(zip(names, cache_directories(), strict=False)),
        "system": SYSTEM_DIRECTORY,
        "Keras": keras / "datasets" / "fashion-mnist",
        "MXNet": mxnet / "datasets" / "fashion-mnist",
        "torchvision": Path("data/FashionMNIST/raw"),
        "d2l": Path("../data/FashionMNIST/raw"),
    }
    return {name: expand(str(path)) for name, path in found.items()}


def download() -> Path:
    """Download the four files, each checked before it appears; the cache that they are in now.

    Raises:
        NinError: if no mirror gives an intact file, naming the file and each mirror's failure.
    """
    import pooch

    for directory in cache_directories():
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                break
        except OSError as error:
            why = NinError(f"cache {directory}: cannot be written ({error.strerror})")
    else:
        raise why
    pooch.get_logger().setLevel("ERROR")
    print(f"downloading Fashion-MNIST (30 MB) to {directory}", file=sys.stderr)
    mirrors = os.environ.get(MIRRORS_VARIABLE, "").split() or MIRRORS
    for name, md5 in GZIPPED.items():
        failures = []
        for mirror in mirrors:
            # "~" and a path without a scheme are files of this machine
            is_address = "://" in mirror or mirror.startswith("file:")
            base = mirror if is_address else expand(mirror).absolute().as_uri()
            try:
                pooch.retrieve(
                    f"{base.rstrip('/')}/{name}",
                    known_hash=f"md5:{md5}",
                    fname=name,
                    path=directory,
                    downloader=fetch,
                )
                break
            except ValueError:  # pooch's word for another checksum
                failures.append(f"{mirror}: not the file with MD5 {md5}")
            except Exception as error:  # the downloader's own, of several libraries
                failures.append(f"{mirror}: {one_line(error)}")
        else:
            raise NinError(f"download of {name} failed ({'; '.join(failures)})")
    return directory


def read_directory(directory: Path) -> Dataset:
    """Read and check a data set in any of the layouts of :mod:`common.data.layouts`.

    Raises:
        NinError: naming the file, what was expected and what was found.
    """
    dataset, where = layouts.read(directory), directory.resolve()
    kind, class_names, notice = "custom", dataset.class_names, dataset.notice
    if CHECKSUMS.items() <= dataset.checksums.items():
        kind, class_names, notice = "full", CLASS_NAMES, ""
    elif where == SAMPLE_DIRECTORY.resolve():
        kind, class_names = "sample", CLASS_NAMES
        notice = f"On the embedded sample of Fashion-MNIST: {dataset.counts} of 60000 and 10000."
    else:
        counts = f"On {where}, not the published Fashion-MNIST files: {dataset.counts}."
        notice = f"{counts} {notice}".strip()
    return dataclasses.replace(
        dataset, kind=kind, class_names=class_names, directory=str(where), notice=notice
    )


def _read_full(directory: Path) -> Dataset:
    dataset = read_directory(directory)
    for name, expected in CHECKSUMS.items():
        found = dataset.checksums.get(name)
        if found != expected:
            raise NinError(f"{directory / name}: SHA-256 {found}, expected {expected}")
    return dataset
