"""The plateau that learners of this chapter meet: a loss that stays at ln(number of classes).

The last block ends in a ReLU. When all its outputs are zero for every image, every class gets
the same probability, the loss is exactly ln(classes), and the gradient is zero everywhere: the
network is dead. But the loss also starts near ln(classes) and can stay there for long while the
network is alive. Only a look at the activations tells the two apart.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from common.errors import plural
from common.settings import Settings

# A loss counts as stuck when the mean of this many steps lies this close to ln(classes), in nats.
WINDOW_STEPS = 100
TOLERANCE = 0.005


def is_stuck(losses: Sequence[float], num_classes: int) -> bool:
    """Whether the last :data:`WINDOW_STEPS` losses, in nats, sit at ln(number of classes)."""
    window = losses[-WINDOW_STEPS:]
    if len(window) < WINDOW_STEPS:
        return False
    return abs(sum(window) / len(window) - math.log(num_classes)) < TOLERANCE


def what_keeps_alive(settings: Settings) -> str:
    """A sentence: what helps a network that is dead, or a part of it, and the run has not."""
    ways = []
    if settings.init not in ("he", "data"):
        ways.append("`init=he`")
    if settings.last_block != "identity":
        ways.append("`last_block=identity`")
    ways += ["a lower `lr`", "another `seed`"]
    if settings.preset == "book":
        ways.append("or `preset=fast`, which has all that keeps the network alive")
    return f"What helps: {', '.join(ways)}."


def silent_channels(activations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Convolution -> which of its channels are 0 at every pixel of every image: are dead."""
    return {
        name: (output == 0).all(axis=(0, 2, 3))
        for name, output in activations.items()
        if ".conv" in name
    }


def explain(activations: Mapping[str, np.ndarray], num_classes: int, settings: Settings) -> str:
    """One line, as in :class:`NinError`: why a network is stuck on images, and what may help."""
    what_helps = what_keeps_alive(settings)
    logits = list(activations.values())[-1]
    zeros = float((logits == 0).mean())
    count = plural(f"{len(logits)} training image(s)")
    dead = {name: float(silent.mean()) for name, silent in silent_channels(activations).items()}
    where = f"the loss sits at ln({num_classes}) = {math.log(num_classes):.3f}"
    if zeros == 1:
        first = next((name for name, share in dead.items() if share == 1), None)
        died = f"; the first layer with no living channel is {first}" if first else ""
        return (
            f"{where} because the network is dead: on {count} 100 % of the "
            "logits are exactly 0 (the last block ends in a ReLU), so that no gradient flows"
            f"{died}. {what_helps}"
        )
    channels = ""
    if dead:  # a network of one's own may have no convolutions in blocks
        worst = max(dead, key=lambda name: dead[name])
        share = f"{100 * dead[worst]:.0f} %"
        channels = f", and in {worst}, the worst layer, {share} of the channels are dead"
    return (
        f"{where}: the network gives nearly the same output for every image, but it is alive: on "
        f"{count} {100 * zeros:.1f} % of the logits are exactly 0{channels}. "
        f"It may still start to learn. {what_helps}"
    )
