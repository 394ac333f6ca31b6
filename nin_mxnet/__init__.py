"""NiN in MXNet.

What this framework makes different: channels first (NCHW), weights stored (out, in, height,
width), padding as a number, the ReLU an argument of its convolution, layers printed by
``layer.name`` and shapes as tuples.

Importing this package makes MXNet importable beside a NumPy of today (see ``_import.py``) and
switches it to its NumPy interface, for the whole process, as the book does.
"""

from typing import TYPE_CHECKING

import nin_mxnet._import  # differs: has to come before any import of mxnet
from nin_mxnet.device import KEEP_MEMORY, PRECISIONS, find_device, set_threads, versions
from nin_mxnet.init import initialize
from nin_mxnet.layers import describe, dropout_rate, shape_walk
from nin_mxnet.model import nin, nin_block
from nin_mxnet.predict import Predictor
from nin_mxnet.train import Trainer
from nin_mxnet.weights import allocate, get_weights, set_weights

NAME = "mxnet"

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
    import nin_mxnet.bench
    import nin_mxnet.export
    import nin_mxnet.variants
    import nin_mxnet.workers
    from common import contract

    _backend: contract.Backend = nin_mxnet
    _exporter: contract.Exporter = nin_mxnet.export
    _benchmark: contract.Benchmark = nin_mxnet.bench
    _variants: contract.Variants = nin_mxnet.variants
    _distribution: contract.Distribution = nin_mxnet.workers
