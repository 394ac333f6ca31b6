import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from common.settings import Settings, from_preset
from common.training import plateau

LN10 = math.log(10)


@given(st.integers(2, 100))
def test_losses_at_ln_of_the_class_count_are_a_plateau(num_classes):
    assert plateau.is_stuck([math.log(num_classes)] * plateau.WINDOW_STEPS, num_classes)


def test_a_few_steps_are_no_plateau():
    assert not plateau.is_stuck([LN10] * (plateau.WINDOW_STEPS - 1), 10)


def test_a_falling_loss_is_no_plateau():
    assert not plateau.is_stuck(list(np.linspace(LN10, 1.8, plateau.WINDOW_STEPS)), 10)


def test_a_plateau_after_learning_is_recognised():
    losses = [0.5] * 300 + [LN10] * plateau.WINDOW_STEPS
    assert plateau.is_stuck(losses, 10)


def activations(conv2, logits):
    return {
        "input": np.ones((4, 1, 8, 8)),
        "block1.conv1": np.ones((4, 6, 8, 8)),
        "block1.conv2": conv2,
        "flatten": logits,
    }


def test_the_first_layer_without_a_living_channel_is_named():
    found = plateau.diagnose(activations(np.zeros((4, 6, 8, 8)), np.zeros((4, 10))), 10)
    assert found.first_dead_layer == "block1.conv2"
    assert found.dead_logits == 1
    assert "the network is dead: on 4 training images 100 %" in found.explain(Settings())
    assert "block1.conv2" in found.explain(Settings())


def test_a_living_network_is_not_called_dead():
    conv2 = np.ones((4, 6, 8, 8))
    conv2[:, :3] = 0
    logits = np.tile([0.0, 1.0], (4, 5))
    found = plateau.diagnose(activations(conv2, logits), 10)
    assert found.first_dead_layer is None
    assert found.dead_channels == {"block1.conv1": 0, "block1.conv2": 0.5}
    assert "it is alive: on 4 training images 50.0 %" in found.explain(Settings())


def test_a_channel_that_one_pixel_of_one_image_excites_is_alive():
    conv2 = np.zeros((4, 6, 8, 8))
    conv2[3, :, 7, 7] = 1e-6
    found = plateau.diagnose(activations(conv2, np.zeros((4, 10))), 10)
    assert found.dead_channels["block1.conv2"] == 0


def test_both_explanations_are_one_line():
    dead = plateau.diagnose(activations(np.zeros((4, 6, 8, 8)), np.zeros((4, 10))), 10)
    alive = plateau.diagnose(activations(np.ones((4, 6, 8, 8)), np.ones((4, 10))), 10)
    assert "\n" not in dead.explain(Settings()) + alive.explain(Settings())


def test_the_advice_is_nothing_that_the_run_does_already():
    dead = plateau.diagnose(activations(np.zeros((4, 6, 8, 8)), np.zeros((4, 10))), 10)
    assert "`init=he`, `last_block=identity`" in dead.explain(Settings())
    fast = dead.explain(from_preset("fast"))
    assert "a lower `lr`" in fast
    assert not any(words in fast for words in ("`init", "`last_block", "`preset"))
