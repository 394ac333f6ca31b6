"""NiN in PyTorch.

What this framework makes different: channels first (NCHW), weights stored (out, in, height,
width), padding as a number, input channels stated, each ReLU a layer of its own, layers printed
by class name and shapes as ``torch.Size``.
"""

from typing import TYPE_CHECKING

from nin_torch.device import KEEP_MEMORY, PRECISIONS, find_device, set_threads, versions
from nin_torch.init import initialize
from nin_torch.layers import describe, dropout_rate, shape_walk
from nin_torch.model import nin, nin_block
from nin_torch.predict import Predictor
from nin_torch.train import Trainer
from nin_torch.weights import allocate, get_weights, set_weights

NAME = "torch"

__all__ = [
    "KEEP_MEMORY",
    "NAME",
    "PRECISIONS",
    "Predictor",
    "Trainer",
    "allocate",
    "describe",
    "dropout_rate",
    "find_device",
    "get_weights",
    "initialize",
    "nin",
    "nin_block",
    "set_threads",
    "set_weights",
    "shape_walk",
    "versions",
]

if TYPE_CHECKING:
    import nin_torch.bench
    import nin_torch.export
    import nin_torch.variants
    import nin_torch.workers
    from common import contract

    _backend: contract.Backend = nin_torch
    _exporter: contract.Exporter = nin_torch.export
    _benchmark: contract.Benchmark = nin_torch.bench
    _variants: contract.Variants = nin_torch.variants
    _distribution: contract.Distribution = nin_torch.workers
