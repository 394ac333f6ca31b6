"""Our networks, training steps, pixels and result lines beside those of the book's own code."""

import contextlib
import io
import re
import shlex
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from common.data.interpolation import resize_matrix
from common.settings import from_preset
from common.system import machine

SIZE = 224
BATCH = 8
STEPS = 6  # train_ch6 draws five times an epoch: with fewer steps it divides by zero
LR = 0.1

# The largest difference between a pixel of d2l's loader and ours, of 255, by the size asked for.
ROUNDING = {
    # Pillow rounds to whole numbers twice: after one direction, and after the other
    "torch": {68: 1, 96: 1, 224: 1},
    # OpenCV cuts two products to quarters, adds them and rounds, which makes 3/4; before that it
    # cuts to 128ths, and rounds weights to 2048ths: up to 1/16 in each direction, nothing at 224,
    # where all weights are 16ths
    "mxnet": {68: 3 / 4 + 1 / 128 + 1 / 8, 96: 3 / 4 + 1 / 128 + 1 / 8, 224: 3 / 4 + 1 / 128},
    # TensorFlow does not round
    "tf": {68: 0, 96: 0, 224: 0},
}
FLOAT32 = 0.001  # of 255; positions and weights between pixels are float32 in TensorFlow

# d2l is older than much of what it uses, which says so at length
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def trained(book):
    """The chapter's two lines on our network, of fewer and smaller batches."""
    book.seed(0)
    train_iter, test_iter = book.d2l.load_data_fashion_mnist(BATCH, resize=SIZE)
    return train(book, book.backend.nin, book.first(train_iter, STEPS), book.first(test_iter, 2))


def train(book, make_net, train_iter, test_iter):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        net, before = book.train_ch6(make_net, train_iter, test_iter, LR)
    # what clears a notebook's figure is printed too, and ends in a carriage return
    lines = [line.split("\r")[-1] for line in printed.getvalue().splitlines()]
    return SimpleNamespace(before=before, after=book.backend.get_weights(net), lines=lines[-2:])


def distance(left, right):
    assert left.keys() == right.keys()
    return np.sqrt(sum(((left[name] - right[name]) ** 2).sum() for name in left))


def test_our_network_goes_through_the_books_training(trained):
    assert len(trained.after) == 24
    assert sum(array.size for array in trained.after.values()) == 1_992_166
    for name, array in trained.after.items():
        assert np.isfinite(array).all(), name
        assert (array != trained.before[name]).any(), f"{name} was not trained"


def test_six_steps_of_ours_are_six_of_the_books(book, full):
    _, test_iter = book.d2l.load_data_fashion_mnist(BATCH, resize=SIZE)
    examples = book.first(test_iter, STEPS)  # of the test images: in order in all three
    book.seed(0)
    theirs = train(book, lambda: book.backend.nin(dropout=0.0), examples, examples)

    images, labels = full.test_images, full.test_labels
    if book.name != "tf":
        # the pixels as its loader rounds them, whole numbers; the right size, so kept as they are
        images = np.concatenate([book.arrays(batch)[0] for batch in examples]) * 255
        images = np.rint(images).astype(np.uint8)
        labels = labels[: len(images)]
    settings = from_preset(
        "book", backend=book.name, batch_size=BATCH, resize=SIZE, dropout=0.0, device="cpu"
    )
    net = book.backend.nin(dropout=0.0)
    book.backend.initialize(net, settings.init, 0)
    book.backend.set_weights(net, theirs.before)
    trainer = book.backend.Trainer(net, settings, images, labels)
    for step in range(STEPS):
        trainer.train_batch(np.arange(BATCH) + step * BATCH, LR, step)
    losses, correct = trainer.take_metrics()
    ours = book.backend.get_weights(trainer.net)

    moved = distance(theirs.after, theirs.before)
    apart = distance(theirs.after, ours)
    # rounding to float32, 5e-5 of the first step in PyTorch, doubles with every step here; a
    # learning rate that is 3% off would show
    assert apart < 0.02 * moved
    loss, train_accuracy, _ = map(float, re.findall(r"\d\.\d+", theirs.lines[0]))
    assert losses.mean() == pytest.approx(loss, abs=0.0006)
    assert correct.sum() / (STEPS * BATCH) == pytest.approx(train_accuracy, abs=0.0006)


@pytest.mark.parametrize("size", [None, 68, 96, 224])
def test_the_books_pixels_are_ours_but_for_its_loaders_rounding(book, full, size):
    chosen = {} if size is None else {"resize": size}
    _, test_iter = book.d2l.load_data_fashion_mnist(64, **chosen)
    matrix = resize_matrix(28, size or 28)
    start, worst = 0, 0.0
    for batch in book.first(test_iter, 4):
        theirs, labels = book.arrays(batch)
        stop = start + len(theirs)
        np.testing.assert_array_equal(labels, full.test_labels[start:stop])
        ours = matrix @ (full.test_images[start:stop] / 255) @ matrix.T
        worst = max(worst, np.abs(theirs - ours).max() * 255)
        start = stop
    allowed = 0 if size is None else ROUNDING[book.name][size]
    # nor is the allowance wide
    assert 0.8 * allowed < worst < allowed + FLOAT32


def test_our_result_lines_have_the_books_format(trained, book, tmp_path):
    options = f"--backend {book.name} --preset fast --data full --limit 60 --epochs 1 --device cpu"
    command = [sys.executable, "scripts/train.py", *shlex.split(options), "--batch-size", "20"]
    done = subprocess.run(
        [*command, "--out", tmp_path / "run"],
        cwd=machine.PROJECT_DIRECTORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    *_, ours, ours_speed, notice = done.stdout.splitlines()
    assert notice.startswith("A subset")  # only because of --limit
    assert [shape(ours), shape(ours_speed)] == [shape(line) for line in trained.lines]


def shape(line):
    """A line with its figures replaced: whole numbers of any length, decimals one for one."""
    return re.sub(r"\d+\.(\d+)", lambda found: "N." + "d" * len(found[1]), line)
