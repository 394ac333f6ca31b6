"""What a training step depends on besides the weights: its learning rate and its dropout seed."""

import math

import numpy as np

from common.settings import Settings


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """A seed, 0 to 2**32 - 1, for the dropout mask of a step of a run, in each worker another.

    Hashed, because some generators give neighbouring seeds related numbers.
    """
    entropy = [seed, step, rank] if rank else [seed, step]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def learning_rate(settings: Settings, step: int, total_steps: int) -> float:
    """The learning rate of one optimizer step, counted from 0, of so many in the whole run.

    ``constant`` is ``settings.lr`` throughout. ``one-cycle`` (after Smith and Topin 2017,
    arXiv:1708.07120) rises linearly to ``settings.lr`` over the first fifth of the run and
    falls to 0 along half a cosine over the rest. ``linear`` rises over the first tenth and falls
    to 0 linearly.
    """
    if settings.schedule == "constant":
        return settings.lr
    cosine = settings.schedule == "one-cycle"
    warmup_steps = max(1, round((0.2 if cosine else 0.1) * total_steps))
    if step < warmup_steps:
        return settings.lr * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return settings.lr * (0.5 * (1 + math.cos(math.pi * progress)) if cosine else 1 - progress)
