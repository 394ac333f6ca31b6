"""The optimizers in PyTorch, and the names of what they remember."""

import functools
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch.optim.adam import adam

from common.settings import Settings
from common.training import muon

# canonical name of what an optimizer remembers of a parameter -> PyTorch's
OPTIMIZER_STATE = {
    "sgd": {"momentum": "momentum_buffer"},
    "adamw": {"mean": "exp_avg", "variance": "exp_avg_sq"},
    "muon": {"momentum": "momentum_buffer", "mean": "exp_avg", "variance": "exp_avg_sq"},
}


class _Muon:
    """Muon (Jordan et al. 2024) for the weights, Adam for the biases; see :mod:`muon`.

    Not one of PyTorch's own class: that imports the compiler at its first step, which takes longer
    than thirty steps.
    """

    def __init__(self, named: Mapping[str, torch.Tensor], settings: Settings) -> None:
        scales = muon.weights(named)
        self.weights = [(named[name], scale) for name, scale in scales.items()]
        self.biases = [value for name, value in named.items() if name not in scales]
        self.weight_decay = settings.weight_decay
        self.bfloat16 = settings.precision == "bfloat16"
        self.param_groups: list[dict[str, Any]] = [{"lr": settings.lr}]
        self.state: defaultdict[torch.Tensor, dict[str, torch.Tensor]] = defaultdict(dict)

    def zero_grad(self) -> None:
        for value in (*self.biases, *(weight for weight, _ in self.weights)):
            value.grad = None

    @torch.no_grad()
    def step(self) -> None:
        (group,) = self.param_groups
        rate = group["lr"]
        self._step_biases(muon.BIAS_RATE * rate)
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

    def _step_biases(self, rate: Any) -> None:
        for bias in self.biases:
            if "exp_avg" not in self.state[bias]:
                made = {name: torch.zeros_like(bias) for name in ("exp_avg", "exp_avg_sq")}
                self.state[bias].update(step=torch.zeros((), device=bias.device), **made)
        names = ("exp_avg", "exp_avg_sq", "step")
        means, squares, steps = ([self.state[b][name] for b in self.biases] for name in names)
        slopes: list[Any] = [bias.grad for bias in self.biases]
        beta1, beta2 = muon.BETAS
        adam(
            self.biases, slopes, means, squares, [], steps, fused=True, amsgrad=False, beta1=beta1,
            beta2=beta2, lr=rate, weight_decay=0.0, eps=muon.EPSILON, maximize=False,
        )  # fmt: skip


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
    factors: list[torch.Tensor] = []
    for step in range(muon.STEPS):
        if step:
            gram = factors[-1] @ gram @ factors[-1]
        factors.append(torch.addmm(gram, gram, gram, beta=b, alpha=c))
        factors[-1].diagonal().add_(a)
    wide = functools.reduce(torch.matmul, factors) @ wide
    X = (wide.T if len(X) > X.shape[1] else wide).to(X.dtype)
    return X.view(last.shape).movedim(-1, 1)


def make_optimizer(
    named: Mapping[str, torch.Tensor], settings: Settings
) -> torch.optim.Optimizer | _Muon:
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
