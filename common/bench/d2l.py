"""d2l's own loop, as the book runs it, in an environment that has d2l.

``python -m common.bench.d2l`` reads one JSON object and prints one: the seconds that
``load_data_fashion_mnist`` and ``train_ch6`` took, with d2l's loaders reading files that hold
exactly the examples of the bench.
"""

import gzip
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from common import errors
from common.backends import registry
from common.data import fashion_mnist
from common.data.fashion_mnist import Dataset
from common.errors import NinError
from common.system import machine

MODULES = {"torch": "d2l.torch", "tf": "d2l.tensorflow", "mxnet": "d2l.mxnet"}
# train_ch6 draws five times in an epoch, and divides by a fifth of the number of batches
FEWEST_BATCHES = 5


def write_files(dataset: Dataset, directory: Path) -> Path:
    """Put images and labels where the loaders of the three frameworks look for their downloads.

    Args:
        dataset: all of it is written.
        directory: ``datasets/fashion-mnist`` in it is for Keras and MXNet, as the home of their
            data; ``FashionMNIST/raw`` for torchvision.

    Returns:
        the former, which is what ``--data`` takes, too.
    """
    arrays = {
        fashion_mnist.TRAIN_IMAGES: dataset.train_images,
        fashion_mnist.TRAIN_LABELS: dataset.train_labels,
        fashion_mnist.TEST_IMAGES: dataset.test_images,
        fashion_mnist.TEST_LABELS: dataset.test_labels,
    }
    zipped, plain = directory / "datasets" / "fashion-mnist", directory / "FashionMNIST" / "raw"
    for place in (zipped, plain):
        place.mkdir(parents=True)
    for name, array in arrays.items():
        header = np.array([0x800 + array.ndim, *array.shape], ">i4").tobytes()
        content = header + array.astype(np.uint8).tobytes()
        (plain / name).write_bytes(content)
        (zipped / f"{name}.gz").write_bytes(gzip.compress(content, 1))
    return zipped


def environment(given: dict[str, str], directory: Path) -> dict[str, str]:
    """The environment of a process whose loaders find the files of :func:`write_files`."""
    home = str(directory)
    return {
        **given,
        "KERAS_HOME": home,
        "MXNET_HOME": home,
        "MPLBACKEND": "agg",
        # MXNet's own choice, lest nin_mxnet, whose network is trained, makes another
        "MXNET_ENGINE_TYPE": given.get("MXNET_ENGINE_TYPE", "ThreadedEnginePerDevice"),
    }


def run(backend: str, directory: Path, size: int, batch: int, epochs: int, lr: float) -> float:
    """Load and train as the book does.

    Args:
        backend: ``torch``, ``tf`` or ``mxnet``.
        directory: of :func:`write_files`, called ``data``.
        size: of the resized images, in pixels.
        batch: images at a time.
        epochs: how many.
        lr: learning rate.

    Returns:
        seconds.
    """
    package = registry.load(backend)
    d2l: Any = importlib.import_module(MODULES[backend])
    if backend == "mxnet":
        # it compares the files with the published ones, of which these are a part
        vars(importlib.import_module("mxnet.gluon.utils"))["check_sha1"] = lambda *_: True
    # torchvision's are looked for in ../data
    work = directory.parent / "work"
    work.mkdir(exist_ok=True)
    os.chdir(work)
    net = package.nin if backend == "tf" else package.nin()
    device = d2l.try_gpu()
    started = time.perf_counter()
    train_iter, test_iter = d2l.load_data_fashion_mnist(batch, resize=size)
    d2l.train_ch6(net, train_iter, test_iter, epochs, lr, device)
    return time.perf_counter() - started


def versions(backend: str) -> dict[str, str]:
    """Of what computed."""
    return {**machine.versions("d2l", "torchvision"), **registry.load(backend).versions()}


def main() -> None:
    """Do what standard input asks for."""
    answers = os.fdopen(os.dup(1), "w")
    # d2l prints its results and, outside of a notebook, each of its figures
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    directory = Path(request.pop("directory"))
    try:
        # d2l's PyTorch loader starts four processes for each epoch
        with machine.FamilyMemory() as family:
            seconds = run(directory=directory, **request)
    except (NinError, ImportError) as error:
        sys.exit(f"error: {errors.one_line(error)}")
    with answers:
        print(
            json.dumps(
                {
                    "seconds": seconds,
                    "bytes": family.peak,
                    "versions": versions(request["backend"]),
                }
            ),
            file=answers,
        )


if __name__ == "__main__":
    main()
