"""NiN in PyTorch.

What this framework makes different: channels first (NCHW), weights stored (out, in, height,
width), padding as a number, input channels stated, each ReLU a layer of its own, layers printed
by class name and shapes as ``torch.Size``.
"""

from nin_torch.bench import bare_step, matrix_product
from nin_torch.device import find_device, set_threads, versions
from nin_torch.export import load_native, run_native, save_native
from nin_torch.init import initialize
from nin_torch.layers import activations, shape_walk
from nin_torch.model import nin, nin_block
from nin_torch.train import Trainer
from nin_torch.weights import get_weights, set_weights

NAME = "torch"
PRECISIONS = ("float32", "bfloat16", "float64")
# a quarter of the speed at 224x224
KEEP_MEMORY = True

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
