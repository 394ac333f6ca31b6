from hypothesis import given
from hypothesis import strategies as st

from common.data.order import example_order

seeds = st.integers(0, 2**31 - 1)


@given(seeds, st.integers(0, 1000), st.integers(1, 500))
def test_an_epoch_visits_every_example_once(seed, epoch, count):
    assert sorted(example_order(seed, epoch, count)) == list(range(count))


@given(seeds, st.integers(0, 1000))
def test_two_epochs_have_different_orders(seed, epoch):
    assert (example_order(seed, epoch, 100) != example_order(seed, epoch + 1, 100)).any()


def test_the_order_is_the_same_in_every_release_of_numpy_and_this_project():
    assert example_order(0, 0, 10).tolist() == [4, 6, 2, 7, 3, 5, 9, 0, 8, 1]
