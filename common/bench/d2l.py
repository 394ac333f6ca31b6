"""d2l's own loop, as the book runs it, in an environment that has d2l.

d2l's loaders read files that hold exactly the examples of the bench.
"""

import gzip
import importlib
import os
import time
from pathlib import Path
from typing import Any

from common import settings
from common.backends import registry
from common.data import fashion_mnist
from common.data.dataset import Dataset
from common.data.idx import to_idx
from common.system import machine

MODULES = {"torch": "d2l.torch", "tf": "d2l.tensorflow", "mxnet": "d2l.mxnet"}


def write_files(dataset: Dataset, directory: Path) -> Path:
    """Put a data set where the loaders of the three frameworks look for their downloads.

    Returns that of Keras and MXNet, which ``--data`` takes, too; torchvision looks elsewhere.
    """
    zipped, plain = directory / "datasets" / "fashion-mnist", directory / "FashionMNIST" / "raw"
    for place in (zipped, plain):
        place.mkdir(parents=True)
    arrays = (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels)
    # of the published files in this order
    for name, array in zip(fashion_mnist.CHECKSUMS, arrays, strict=True):
        content = to_idx(array)
        (plain / name).write_bytes(content)
        (zipped / f"{name}.gz").write_bytes(gzip.compress(content, 1))
    return zipped


def environment(directory: Path) -> dict[str, str]:
    """Variables of a process whose loaders find the files of :func:`write_files`."""
    # MXNet's own choice, lest nin_mxnet, whose network is trained, makes another
    engine = os.environ.get("MXNET_ENGINE_TYPE") or "ThreadedEnginePerDevice"
    homes = dict.fromkeys(("KERAS_HOME", "MXNET_HOME"), str(directory))
    return {**homes, "MPLBACKEND": "agg", "MXNET_ENGINE_TYPE": engine}


def run(backend: str, directory: str, size: int, batch: int) -> dict[str, Any]:
    """Load and train an epoch as the book does: ``load_data_fashion_mnist`` and ``train_ch6``.

    The directory, of :func:`write_files`, is called ``data``. The bytes are the peak of this
    process and its children.
    """
    package = registry.load(backend)
    d2l: Any = importlib.import_module(MODULES[backend])
    if backend == "mxnet":
        # it compares the files with the published ones, of which these are a part
        vars(importlib.import_module("mxnet.gluon.utils"))["check_sha1"] = lambda *_: True
    # torchvision's are looked for in ../data
    work = Path(directory).parent / "work"
    work.mkdir()
    os.chdir(work)
    net = package.nin if backend == "tf" else package.nin()
    device, lr = d2l.try_gpu(), settings.from_preset("book").lr
    # d2l's PyTorch loader starts four processes for each epoch
    with machine.family_memory() as memory:
        started = time.perf_counter()
        d2l.train_ch6(net, *d2l.load_data_fashion_mnist(batch, resize=size), 1, lr, device)
        seconds = time.perf_counter() - started
    versions = {**machine.versions("d2l", "torchvision"), **package.versions()}
    return {"d2l_seconds": seconds, "d2l_bytes": max(memory), "versions": versions}
