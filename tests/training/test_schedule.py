import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from common.settings import Settings
from common.training.schedule import example_order, learning_rate

seeds = st.integers(0, 2**31 - 1)


@given(seeds, st.integers(0, 1000), st.integers(1, 500))
def test_an_epoch_visits_every_example_once(seed, epoch, count):
    assert sorted(example_order(seed, epoch, count)) == list(range(count))


@given(seeds, st.integers(0, 1000))
def test_two_epochs_have_different_orders(seed, epoch):
    assert (example_order(seed, epoch, 100) != example_order(seed, epoch + 1, 100)).any()


def test_the_order_is_the_same_in_every_release_of_numpy_and_this_project():
    assert example_order(0, 0, 10).tolist() == [4, 6, 2, 7, 3, 5, 9, 0, 8, 1]


def test_the_constant_schedule_is_the_learning_rate_throughout():
    settings = Settings(lr=0.1, schedule="constant")
    assert {learning_rate(settings, step, 100) for step in range(100)} == {0.1}


@given(st.integers(1, 5000))
def test_one_cycle_rises_to_the_peak_then_falls_towards_zero(total):
    settings = Settings(lr=1.0, schedule="one-cycle")
    rates = np.array([learning_rate(settings, step, total) for step in range(total)])
    peak = int(rates.argmax())
    assert rates[peak] == 1.0
    assert (rates > 0).all()
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak + 1 :]) < 0).all()
    assert total < 10 or rates[-1] < 0.05
