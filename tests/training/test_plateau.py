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


DEAD = activations(np.zeros((4, 6, 8, 8)), np.zeros((4, 10)))


def test_the_first_layer_without_a_living_channel_is_named():
    found = plateau.explain(DEAD, 10, Settings())
    assert "the network is dead: on 4 training images 100 % of the logits are exactly 0" in found
    assert "the first layer with no living channel is block1.conv2. " in found


def test_a_living_network_is_not_called_dead():
    conv2 = np.ones((4, 6, 8, 8))
    conv2[:, :3] = 0
    logits = np.tile([0.0, 1.0], (4, 5))
    found = plateau.explain(activations(conv2, logits), 10, Settings())
    assert "it is alive: on 4 training images 50.0 % of the logits are exactly 0" in found
    assert "in block1.conv2, the worst layer, 50 % of the channels are dead" in found


def test_a_channel_that_one_pixel_of_one_image_excites_is_alive():
    conv2 = np.zeros((4, 6, 8, 8))
    conv2[3, :, 7, 7] = 1e-6
    found = plateau.explain(activations(conv2, np.zeros((4, 10))), 10, Settings())
    assert "no living channel" not in found


def test_a_network_without_convolutions_in_blocks_is_explained_too():
    dense = {"flatten": np.ones((4, 64)), "dense1": np.ones((4, 10))}
    found = plateau.explain(dense, 10, Settings())
    assert "0.0 % of the logits are exactly 0. It may still start to learn." in found


def test_both_explanations_are_one_line():
    alive = activations(np.ones((4, 6, 8, 8)), np.ones((4, 10)))
    for each in (DEAD, alive):
        assert "\n" not in plateau.explain(each, 10, Settings())


def test_the_advice_is_nothing_that_the_run_does_already():
    assert "`init=he`, `last_block=identity`" in plateau.explain(DEAD, 10, Settings())
    fast = plateau.explain(DEAD, 10, from_preset("fast"))
    assert "a lower `lr`" in fast
    assert not any(words in fast for words in ("`init", "`last_block", "`preset"))
