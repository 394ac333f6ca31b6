import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from common.settings import Settings
from common.training.schedule import learning_rate


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
