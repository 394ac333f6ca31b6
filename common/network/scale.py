"""Training with several workers on paper: what a step computes, and what it sends.

Each worker computes its share of the batch; then all gradients are added up. In a ring of W
workers, as NCCL and gloo do it, each sends 2·(W-1)/W of them (Patarasuk and Yuan 2009).
"""

from collections.abc import Sequence
from typing import NamedTuple

from common.errors import NinError
from common.network.cost import Cost


class Step(NamedTuple):
    """A training step of several workers, if sending does not overlap with computing."""

    workers: int
    bytes_sent: float
    """By each worker."""
    compute: float
    """Seconds."""
    send: float
    """Seconds."""

    @property
    def seconds(self) -> float:
        """Of the step."""
        return self.compute + self.send


def steps(
    cost: Cost, workers: Sequence[int], rate: float, gigabits: float, per_step: float = 0.0
) -> list[Step]:
    """A step of the batch of ``cost``, shared among so many workers.

    Args:
        cost: of the network.
        workers: how many.
        rate: examples per second of one worker.
        gigabits: per second, that each worker sends and, at the same time, receives.
        per_step: seconds of each step that do not depend on the batch: what the optimizer and the
            starting of operations take; ``rate`` is that of the rest.

    Raises:
        NinError: for numbers that make no sense.
    """
    for name, least in (("rate", rate), ("gigabits", gigabits)):
        if not 0 < least < float("inf"):
            raise NinError(f"`{name}={least}`: must be a number above 0")
    if not 0 <= per_step < float("inf"):
        raise NinError(f"`per_step={per_step}`: must be a number of at least 0")
    found = []
    for count in workers:
        if not 1 <= count <= cost.batch_size:
            raise NinError(f"`workers={count}`: must be from 1 to the batch, {cost.batch_size}")
        sent = 2 * (count - 1) / count * cost.training.gradients
        compute = per_step + cost.batch_size / count / rate
        found.append(Step(count, sent, compute, 8e-9 * sent / gigabits))
    return found
