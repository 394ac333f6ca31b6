"""Several workers on paper: by hand, and by what must hold for any numbers."""

import itertools

import pytest
from commands import assert_one_clear_line, run_here
from hypothesis import given
from hypothesis import strategies as st

from common.network import cost, scale

NIN = cost.of("nin", 68)


def test_two_workers_send_each_gradient_once_and_share_the_batch():
    # 128 examples at 64 a second, 1,992,166 gradients of 4 bytes over 1 Gbit/s
    alone, two = scale.steps(NIN, (1, 2), rate=64.0, gigabits=1.0, per_step=0.5)
    assert alone == (1, 0.0, 2.5, 0.0)
    assert two == pytest.approx((2, 4 * 1_992_166, 1.5, 8e-9 * 4 * 1_992_166))
    assert two.seconds == two.compute + two.send


def test_in_float64_twice_as_much_is_sent():
    single, double = (
        scale.steps(cost.of("nin", 68, precision=name), (2,), rate=64.0, gigabits=1.0)[0]
        for name in ("float32", "float64")
    )
    assert double.bytes_sent == 2 * single.bytes_sent


@given(
    st.lists(st.integers(1, 128), min_size=2, unique=True).map(sorted),
    st.floats(1e-2, 1e6),
    st.floats(1e-3, 1e4),
    st.floats(0, 10),
)
def test_more_workers_compute_less_and_send_more_and_never_win_more_than_their_number(
    workers, rate, gigabits, per_step
):
    steps = scale.steps(NIN, (1, *workers), rate, gigabits, per_step)
    for fewer, more in itertools.pairwise(steps[1:]):
        assert more.compute < fewer.compute
        assert more.send > fewer.send
    for step in steps:
        assert steps[0].seconds <= step.workers * step.seconds * (1 + 1e-9)
        assert step.bytes_sent < 8 * NIN.parameters


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--workers 1 129", "--workers 129: must be from 1 to the batch, 128"),
        ("--workers 0", "--workers 0: must be from 1"),
        ("--workers 2 --rate 0", "--rate 0.0: must be a number above 0"),
        ("--workers 2 --gigabits nan", "--gigabits nan: must be a number above 0"),
        ("--workers 2 --per-step -1", "--per-step -1.0: must be a number of at least 0"),
    ],
)
def test_workers_that_cannot_be_are_one_clear_line(options, words):
    assert_one_clear_line(run_here("cost.py", "--networks", "nin", *options.split()), words)


def test_the_table_of_workers_has_what_was_computed(tmp_path):
    file = tmp_path / "cost.json"
    options = "--networks nin --workers 1 4 --rate 1000 --gigabits 10"
    done = run_here("cost.py", *options.split(), "--json", file)
    # 128 / 1000 s alone; 32 / 1000 s and 12 MB at 10 Gbit/s
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["4", "32", "12.0", "32", "9.56", "3.08", "0.77"] in rows
    assert '"bytes_sent"' in file.read_text()
