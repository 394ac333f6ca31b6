import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from common.prediction import dead_classes

LABELS = np.repeat(np.arange(10), dead_classes.ENOUGH)


def alive(rng):
    return rng.random((len(LABELS), 10)) * (rng.random((len(LABELS), 10)) < 0.1)


@given(st.sets(st.integers(0, 9), max_size=8), st.integers(0, 100))
def test_a_class_is_dead_if_its_logit_is_0_for_every_image(dead, seed):
    logits = alive(np.random.default_rng(seed)) + np.eye(10)[LABELS]
    logits[:, list(dead)] = 0
    assert dead_classes.find(logits, LABELS) == sorted(dead)
    assert dead_classes.problem(logits) is None


def test_a_class_of_which_there_are_few_images_is_not_judged(rng):
    logits = alive(rng)
    logits[:, 3] = 0
    few = np.where(np.arange(len(LABELS)) < 3 * dead_classes.ENOUGH + 1, LABELS, 9)
    assert dead_classes.find(logits, few) == []
    assert dead_classes.find(logits, None) == []


def test_outputs_that_say_nothing_are_called_that_and_not_dead_classes(rng):
    nothing = np.zeros((len(LABELS), 10))
    assert "all 10 logits are exactly 0" in dead_classes.problem(nothing)
    assert "all 10 logits are the same number" in dead_classes.problem(
        nothing + rng.random((200, 1))
    )
    assert "all 200 images have the same logits" in dead_classes.problem(nothing + rng.random(10))
    assert dead_classes.find(nothing, LABELS) == []
    assert dead_classes.problem(rng.random((1, 10))) is None


def test_the_sentence_is_one_line_with_the_names():
    one = dead_classes.explain(["shirt"], 200)
    assert one.startswith("1 dead class: shirt; its logit is 0 for all 200 images")
    two = dead_classes.explain(["shirt", "coat"], 200)
    assert two.startswith("2 dead classes: shirt, coat; their logits are 0")
