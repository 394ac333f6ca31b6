import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.data import fashion_mnist
from common.data.dataset import Dataset, first_examples
from common.errors import NinError


def arrays(**changes):
    """Four arrays of three classes, and what a test makes of them."""
    good = {}
    for part, count in (("train", 6), ("test", 3)):
        good[f"{part}_images"] = np.zeros((count, 28, 28), np.uint8)
        good[f"{part}_labels"] = (np.arange(count) % 3).astype(np.uint8)
    return good | changes


def test_four_arrays_are_a_data_set():
    dataset = Dataset(*arrays().values())
    assert (dataset.num_classes, dataset.kind, dataset.directory) == (3, "custom", "")
    assert (dataset.checksums, dataset.evaluated_on, dataset.notice) == ({}, "test", "")
    assert repr(dataset) == "<Dataset: 6 training and 3 test images of 28x28, 3 classes>"


def test_classes_that_the_training_labels_lack_can_be_given():
    assert Dataset(**arrays(), num_classes=10).num_classes == 10


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint16, list])
def test_labels_of_any_whole_numbers_become_uint8(kind):
    labels = {name: [0, 1] for name in ("train_labels", "test_labels")}
    images = {name: np.zeros((2, 8, 8), np.uint8) for name in ("train_images", "test_images")}
    if kind is not list:
        labels = {name: np.array(values, kind) for name, values in labels.items()}
    dataset = Dataset(**images, **labels)
    assert dataset.train_labels.dtype == dataset.test_labels.dtype == np.uint8
    assert dataset.num_classes == 2


def test_arrays_of_the_right_type_are_not_copied():
    given = arrays()
    assert all(getattr(Dataset(**given), name) is array for name, array in given.items())


ones = np.ones
BAD = {
    "floats": ({"train_images": ones((6, 28, 28))}, "train_images: of type float64, expected"),
    "one image": ({"test_images": ones((28, 28), np.uint8)}, "test_images: of shape (28, 28)"),
    "channels": ({"train_images": ones((6, 1, 8, 8), np.uint8)}, "train_images: of shape (6, 1, 8"),
    "oblong": ({"train_images": ones((6, 28, 20), np.uint8)}, "train_images: images are 20 pix"),
    "no pixels": ({"train_images": ones((6, 0, 0), np.uint8)}, "train_images: images are 0 pix"),
    "none": ({"test_images": ones((0, 28, 28), np.uint8), "test_labels": ones(0, np.uint8)},
             "test_images: holds no images"),
    "other size": ({"test_images": ones((3, 14, 14), np.uint8)},
                   "test_images: images are 14x14, expected 28x28 as in train_images"),
    "unequal": ({"train_labels": ones(5, np.uint8)},
                "train_labels: 5 labels for the 6 images of train_images"),
    "shares": ({"test_labels": ones(3)}, "test_labels: of type float64, expected whole numbers"),
    "truth values": ({"test_labels": ones(3, bool)}, "test_labels: of type bool, expected whole"),
    "one-hot": ({"train_labels": np.eye(6, dtype=int)}, "train_labels: of shape (6, 6), expected"),
    "negative": ({"train_labels": np.arange(6) - 1}, "train_labels: from -1 to 4, expected 0 to"),
    "too many": ({"train_labels": np.arange(6) * 60}, "train_labels: from 0 to 300, expected 0 to"),
    "one class": ({"train_labels": np.zeros(6, int), "test_labels": np.zeros(3, int)},
                  "train_labels: one class only"),
    "never seen": ({"test_labels": np.full(3, 7)},
                   "test_labels: label 7 is not among those of train_labels, 0 to 2"),
    "no class of it": ({"num_classes": 2}, "train_labels: label 2 is not among the classes 0 to 1"),
    "ragged": ({"train_images": [[1], [2, 3]]}, "train_images: "),  # how, depends on NumPy
    "words": ({"train_images": "sample"}, "train_images: of type <U6, expected uint8"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), BAD.values(), ids=BAD.keys())
def test_arrays_that_are_no_data_set_are_refused_in_one_line_by_name(changes, words):
    with pytest.raises(NinError) as caught:
        Dataset(**arrays(**changes))
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=20, max_size=60), st.integers(1, 19), st.booleans())
@example([*[0] * 18, 2, 3], 13, False)
def test_a_choice_has_the_same_share_of_each_class_however_they_are_sorted(
    labels, count, is_sorted
):
    labels = np.array([0, 1, *(sorted(labels) if is_sorted else labels)])
    images = np.broadcast_to(
        np.arange(len(labels), dtype=np.uint8)[:, None, None], (len(labels), 2, 2)
    )
    whole = Dataset(images, labels, images, labels, num_classes=5)
    sizes = np.bincount(labels)
    sizes = sizes[present := sizes > 0]
    for part, found in (("train", whole.limit(count)), ("test", whole.hold_out(count))):
        chosen, pixels = getattr(found, f"{part}_labels"), getattr(found, f"{part}_images")
        assert len(chosen) == count
        taken = np.bincount(chosen, minlength=len(present))[present]
        # one share for all classes, rounded: no example more of one evens them out
        assert max((taken - 0.5) / sizes) <= min((taken + 0.5) / sizes) + 1e-12
        numbers = pixels[:, 0, 0]
        assert (np.diff(numbers) > 0).all()
        np.testing.assert_array_equal(labels[numbers], chosen)
    assert found.train_labels.size == len(labels) - count


def test_a_choice_is_part_of_what_a_run_is_resumed_on(sample):
    sums = [sample.checksums, sample.limit(600).checksums, sample.limit(606).checksums,
            sample.hold_out(600).checksums]  # fmt: skip
    assert all(a != b for i, a in enumerate(sums) for b in sums[:i])


@pytest.mark.parametrize(
    ("known", "words"),
    [([0, 5, 255], "0, 5, 255"), (list(range(1, 27)), "1 to 26"), ([0, 1, 3], "0, 1, 3")],
)
def test_labels_that_skip_numbers_are_counted_anew_and_said_so(known, words):
    labels = np.array(known * 2)
    images = np.zeros((len(labels), 4, 4), np.uint8)
    dataset = Dataset(images, labels, images, labels[::-1])
    assert dataset.num_classes == len(known)
    assert dataset.class_names == tuple(map(str, known))
    assert dataset.train_labels.tolist() == [*range(len(known)), *range(len(known))]
    assert dataset.train_labels.dtype == dataset.test_labels.dtype == np.uint8
    assert dataset.notice == (f"The {len(known)} classes are those that its labels name, {words}.")
    assert dataset.limit(3).num_classes == len(known)


def test_a_limit_takes_a_sixth_as_many_test_images_and_says_so(sample):
    subset = sample.limit(600)
    assert (len(subset.train_images), len(subset.test_images)) == (600, 100)
    assert "600 of 10000" in subset.notice


def test_a_limit_beyond_the_data_is_refused(sample):
    with pytest.raises(NinError, match="only 10000 training examples"):
        sample.limit(10_001)


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 9_999))
def test_a_validation_split_shares_nothing_with_training_and_leaves_the_test_set(count):
    whole = fashion_mnist.load("sample")
    split = whole.hold_out(count)
    assert len(split.train_images) + len(split.test_images) == len(whole.train_images)
    parts = np.concatenate((split.train_images, split.test_images))
    assert sorted(map(bytes, parts)) == sorted(map(bytes, whole.train_images))
    assert split.evaluated_on == "validation"


def test_a_validation_split_of_everything_is_refused(sample):
    with pytest.raises(NinError, match="leaves nothing"):
        sample.hold_out(10_000)


@given(st.integers(1, 9), st.integers(5, 60), st.integers(0, 99))
def test_the_first_examples_are_of_all_classes_even_if_these_come_one_after_the_other(
    each, count, seed
):
    ordered = np.repeat(np.arange(5, dtype=np.uint8), each)
    count = min(count, 5 * each)
    chosen = first_examples(ordered, count)
    assert len(set(chosen)) == count
    assert set(ordered[chosen]) == set(ordered)
    labels = np.random.default_rng(seed).permutation(ordered)
    if (labels != ordered).any():
        assert first_examples(labels, count).tolist() == [*range(count)]
