"""NiN in TensorFlow.

What this framework makes different: channels last (NHWC), weights stored (height, width, in,
out), padding as ``'valid'`` or ``'same'``, input channels found from the input, the ReLU an
argument of its convolution, layers printed by class name and shapes as tuples.

Importing this package puts Keras on top of TensorFlow and sets its image layout to channels
last, for the whole process (see ``_import.py``).
"""

import nin_tf._import  # noqa: F401  differs: has to come before any import of tensorflow
from nin_tf.bench import bare_step, matrix_product
from nin_tf.device import find_device, set_threads, versions
from nin_tf.export import load_native, run_native, save_native
from nin_tf.init import initialize
from nin_tf.layers import activations, shape_walk
from nin_tf.model import nin, nin_block
from nin_tf.train import Trainer
from nin_tf.weights import get_weights, set_weights

NAME = "tf"
PRECISIONS = ("float32", "bfloat16", "float64")
# differs: measured, no gain
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
