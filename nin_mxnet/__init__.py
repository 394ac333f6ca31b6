"""NiN in MXNet.

What this framework makes different: channels first (NCHW), weights stored (out, in, height,
width), padding as a number, the ReLU an argument of its convolution, layers printed by
``layer.name`` and shapes as tuples.

Importing this package makes MXNet importable beside a NumPy of today (see ``_import.py``) and
switches it to its NumPy interface, for the whole process, as the book does.
"""

import nin_mxnet._import  # noqa: F401  differs: has to come before any import of mxnet
from nin_mxnet.bench import bare_step, matrix_product
from nin_mxnet.device import find_device, set_threads, versions
from nin_mxnet.export import load_native, run_native, save_native
from nin_mxnet.init import initialize
from nin_mxnet.layers import activations, shape_walk
from nin_mxnet.model import nin, nin_block
from nin_mxnet.train import Trainer
from nin_mxnet.weights import get_weights, set_weights

NAME = "mxnet"
# differs: no bfloat16, a type that MXNet's NumPy interface does not know
PRECISIONS = ("float32", "float64")
# differs: its graph keeps its arrays itself
KEEP_MEMORY = False

__all__ = [
    "KEEP_MEMORY",
    "NAME",
    "PRECISIONS",
    "Trainer",
    "activations",
    "bare_step",
    "find_device",
    "get_weights",
    "initialize",
    "load_native",
    "matrix_product",
    "nin",
    "nin_block",
    "run_native",
    "save_native",
    "set_threads",
    "set_weights",
    "shape_walk",
    "versions",
]
