"""The book's own code, d2l 1.0.3, and the data where its loaders look, so that nothing is fetched.

``make test-book`` runs these tests, in an environment of their own, a process per backend.
"""

import hashlib
import importlib
import itertools
import os
import struct
import sys
from pathlib import Path

import pytest

from common.data import fashion_mnist
from common.errors import NinError

MODULES = {"torch": "d2l.torch", "tf": "d2l.tensorflow", "mxnet": "d2l.mxnet"}

# The published .gz files and Debian's hold the same compressed bytes. Only the header differs: the
# published one has the file's name and the second in which it was compressed.
COMPRESSED_AT = {
    "train-images-idx3-ubyte.gz": 1504176606,
    "train-labels-idx1-ubyte.gz": 1504176606,
    "t10k-images-idx3-ubyte.gz": 1504176627,
    "t10k-labels-idx1-ubyte.gz": 1504176627,
}


def published(path):
    """The published .gz file, from it or from Debian's; ``ValueError`` if neither is there."""
    content = path.read_bytes()
    header = b"\x1f\x8b\x08\x08" + struct.pack("<IBB", COMPRESSED_AT[path.name], 0, 3)
    for candidate in (content, header + path.stem.encode() + b"\0" + content[10:]):
        if hashlib.md5(candidate).hexdigest() == fashion_mnist.GZIPPED[path.name]:
            return candidate
    raise ValueError(f"{path} was compressed in another way than the published file")


def unavailable(reason):
    """No test without the book's data and code: a failure in CI, a skip elsewhere."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(str(reason))


@pytest.fixture(scope="session")
def full():
    try:
        return fashion_mnist.load("full")
    except NinError as error:
        unavailable(error)


@pytest.fixture(scope="session")
def book_files(full, tmp_path_factory):
    """Fashion-MNIST where each loader keeps what it has downloaded."""
    home = tmp_path_factory.mktemp("book")
    files = home / "data" / "FashionMNIST" / "raw"  # d2l tells torchvision ../data
    files.mkdir(parents=True)
    for name in fashion_mnist.GZIPPED:
        try:
            content = published(Path(full.directory) / name)
        except (OSError, ValueError) as error:
            unavailable(error)
        (files / name).write_bytes(content)
    (home / "notebook").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home / "notebook")
        for variable in ("KERAS_HOME", "MXNET_HOME"):
            (home / variable / "datasets").mkdir(parents=True)
            (home / variable / "datasets" / "fashion-mnist").symlink_to(files)
            patch.setenv(variable, str(home / variable))
        yield files


@pytest.fixture(scope="session")
def backend(book_files, backend):
    """The backend's package; frameworks read once, when imported, where their data are."""
    return backend


@pytest.fixture(scope="session")
def book(backend, backend_name):
    try:
        d2l = importlib.import_module(MODULES[backend_name])
    except ImportError as error:
        unavailable(error)
    with pytest.MonkeyPatch.context() as patch:
        if backend_name != "tf":
            # no processes that read, as on Windows: MXNet's, forked beside its threads, hung once
            patch.setattr(d2l, "get_dataloader_workers", lambda: 0)
        if backend_name == "mxnet":
            # MXNet's server has the data compressed anew, with SHA-1 sums that nobody else's files
            # have; these files, whose MD5 sums were checked, stand in for its download
            datasets = sys.modules["mxnet.gluon.data.vision.datasets"]
            patch.setattr(
                datasets, "download", lambda url, path, sha1_hash: str(Path(path, Path(url).name))
            )
        yield Book(d2l, backend, backend_name)


class Book:
    """The book's functions, with what differs between the frameworks in how they are called."""

    def __init__(self, d2l, backend, name):
        self.d2l = d2l
        self.backend = backend
        self.name = name

    def seed(self, number):
        """Make the next network's initial weights and dropout repeatable."""
        {
            "torch": lambda: self.d2l.torch.manual_seed(number),
            "tf": lambda: self.d2l.tf.keras.utils.set_random_seed(number),
            "mxnet": lambda: self.d2l.npx.random.seed(number),
        }[self.name]()

    def train_ch6(self, make_net, train_iter, test_iter, lr):
        """The book's training, one epoch on the CPU; the network, and its weights before."""
        before = {}

        def remember(net):
            # evaluation may go through the same batches once more
            if not before:
                before.update(self.backend.get_weights(net))
            return net

        if self.name == "tf":
            # d2l asks for a function here, and its layers draw their own initial weights
            net = self.d2l.train_ch6(
                lambda: remember(make_net()), train_iter, test_iter, 1, lr, self.d2l.cpu()
            )
        else:
            net = make_net()
            train_iter.before = lambda: remember(net)
            self.d2l.train_ch6(net, train_iter, test_iter, 1, lr, self.d2l.cpu())
        return net, before

    def first(self, loader, count):
        """The first batches of a loader, again a loader."""
        return loader.take(count) if self.name == "tf" else FirstBatches(loader, count)

    def arrays(self, batch):
        """Pixels (batch, height, width) and labels of a batch, as NumPy arrays."""
        X, y = (array.asnumpy() if self.name == "mxnet" else array.numpy() for array in batch)
        return X.squeeze(-1 if self.name == "tf" else 1), y


class FirstBatches:
    """The first batches of a loader, with a call before the first one."""

    def __init__(self, loader, count):
        self.loader = loader
        self.count = count
        self.before = lambda: None

    def __len__(self):
        return self.count

    def __iter__(self):
        self.before()
        return itertools.islice(iter(self.loader), self.count)
