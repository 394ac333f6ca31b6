"""The optimizers in PyTorch, and the names of what they remember."""

from collections.abc import Mapping

import torch

from common.settings import Settings
from common.training import muon

# canonical name of what an optimizer remembers of a parameter -> PyTorch's
OPTIMIZER_STATE = {
    "sgd": {"momentum": "momentum_buffer"},
    "adamw": {"mean": "exp_avg", "variance": "exp_avg_sq"},
    "muon": {"momentum": "momentum_buffer", "mean": "exp_avg", "variance": "exp_avg_sq"},
}


class _Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) for the weights, Adam for the biases; see :mod:`muon`."""

    def __init__(self, named: Mapping[str, torch.Tensor], settings: Settings) -> None:
        super().__init__(list(named.values()), {"lr": settings.lr})
        self.weights = [(named[name], scale) for name, scale in muon.weights(named).items()]
        self.weight_decay = settings.weight_decay
        self.bfloat16 = settings.precision == "bfloat16"
        biases = [value for name, value in named.items() if name not in muon.weights(named)]
        self.adam = torch.optim.Adam(
            biases or [torch.zeros(1)], betas=muon.BETAS, eps=muon.EPSILON, fused=True
        )
        # one memory, for whoever saves and restores it
        self.adam.state = self.state

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        (group,) = self.param_groups
        rate, capturable = group["lr"], group.get("capturable", False)
        self.adam.param_groups[0].update(lr=muon.BIAS_RATE * rate, capturable=capturable)
        self.adam.step()
        for weight, scale in self.weights:
            slots, slope = self.state[weight], weight.grad
            assert slope is not None
            if "momentum_buffer" not in slots:
                slots["momentum_buffer"] = torch.zeros_like(weight)
            momentum = slots["momentum_buffer"].mul_(muon.MOMENTUM).add_(slope)
            change = _orthogonal(slope + muon.MOMENTUM * momentum, self.bfloat16)
            if self.weight_decay:
                weight.mul_(1 - rate * self.weight_decay)
            weight.sub_(rate * scale * change)


def _orthogonal(change: torch.Tensor, bfloat16: bool) -> torch.Tensor:
    """A weight's change with all singular values near 1; see :mod:`common.training.muon`."""
    # differs: the matrix has its columns in the order that they have in memory, channels last
    last = change.movedim(1, -1)
    X = last.flatten(1)
    X = X / X.norm().clamp(min=muon.SMALLEST)
    wide = X.to(torch.bfloat16) if bfloat16 else X
    if len(wide) > wide.shape[1]:
        wide = wide.T
    a, b, c = muon.COEFFICIENTS
    gram = wide @ wide.T
    for step in range(muon.STEPS):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        product = factor @ product if step else factor
        gram = factor @ gram @ factor
    wide = product @ wide
    X = (wide.T if len(X) > X.shape[1] else wide).to(X.dtype)
    return X.view(last.shape).movedim(-1, 1)


def make_optimizer(named: Mapping[str, torch.Tensor], settings: Settings) -> torch.optim.Optimizer:
    """The optimizer of the settings.

    Args:
        named: the parameters by canonical name.
        settings: optimizer, lr, momentum, weight_decay and precision are used.

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
    if settings.optimizer == "muon":
        return _Muon(named, settings)
    raise ValueError(f"unknown optimizer {settings.optimizer!r}")
