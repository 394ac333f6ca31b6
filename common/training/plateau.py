"""The plateau that learners of this chapter meet: a loss that stays at ln(number of classes).

The last block ends in a ReLU. When all its outputs are zero for every image, every class gets
the same probability, the loss is exactly ln(classes), and the gradient is zero everywhere: the
network is dead. But the loss also starts near ln(classes) and can stay there for long while the
network is alive. Only a look at the activations tells the two apart.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from common.settings import Settings

# A loss counts as stuck when the mean of this many steps lies this close to ln(classes), in nats.
WINDOW_STEPS = 100
TOLERANCE = 0.005


def is_stuck(losses: Sequence[float], num_classes: int) -> bool:
    """Whether the last :data:`WINDOW_STEPS` losses sit at ln(number of classes).

    Args:
        losses: mean cross-entropy of each step, in nats.
        num_classes: of the network.
    """
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


@dataclass(frozen=True)
class Diagnosis:
    """What the activations of a stuck network show."""

    num_classes: int
    images: int
    """How many were looked at."""
    dead_logits: float
    """Share of logits that are exactly zero, 0 to 1."""
    dead_channels: dict[str, float]
    """Convolution -> share of its channels that are zero at every pixel of every image."""

    @property
    def first_dead_layer(self) -> str | None:
        """The first convolution with no living channel."""
        return next((name for name, share in self.dead_channels.items() if share == 1), None)

    def explain(self, settings: Settings) -> str:
        """One line for a person: what happened, and what may help that the run does not do yet.

        Settings stand in it between backticks, as in the messages of :class:`NinError`.
        """
        what_helps = what_keeps_alive(settings)
        where = f"the loss sits at ln({self.num_classes}) = {math.log(self.num_classes):.3f}"
        if self.dead_logits == 1:
            first = self.first_dead_layer
            died = f"; the first layer with no living channel is {first}" if first else ""
            return (
                f"{where} because the network is dead: on {self.images} training images 100 % of "
                "the logits are exactly 0 (the last block ends in a ReLU), so that no gradient "
                f"flows{died}. {what_helps}"
            )
        worst = max(self.dead_channels, key=lambda name: self.dead_channels[name])
        return (
            f"{where}: the network gives nearly the same output for every image, but it is alive: "
            f"on {self.images} training images {100 * self.dead_logits:.1f} % of the logits are "
            f"exactly 0, and in {worst}, the worst layer, "
            f"{100 * self.dead_channels[worst]:.0f} % of the channels are dead. It may still start "
            f"to learn. {what_helps}"
        )


def silent_channels(activations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Convolution -> which of its channels are 0 at every pixel of every image: are dead.

    Args:
        activations: as :meth:`common.contract.Trainer.activations` gives them.
    """
    return {
        name: (output == 0).all(axis=(0, 2, 3))
        for name, output in activations.items()
        if ".conv" in name
    }


def diagnose(activations: Mapping[str, np.ndarray], num_classes: int) -> Diagnosis:
    """Find dead logits and channels.

    Args:
        activations: as :meth:`common.contract.Trainer.activations` gives them.
        num_classes: number of classes.
    """
    dead = {name: float(dead.mean()) for name, dead in silent_channels(activations).items()}
    logits = list(activations.values())[-1]
    return Diagnosis(num_classes, len(logits), float((logits == 0).mean()), dead)
