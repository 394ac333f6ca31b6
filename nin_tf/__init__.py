"""NiN in TensorFlow.

What this framework makes different: channels last (NHWC), weights stored (height, width, in,
out), padding as ``'valid'`` or ``'same'``, input channels found from the input, the ReLU an
argument of its convolution, layers printed by class name and shapes as tuples.

Importing this package puts Keras on top of TensorFlow and sets its image layout to channels
last, for the whole process (see ``_import.py``).
"""

from typing import TYPE_CHECKING

import nin_tf._import  # differs: has to come before any import of tensorflow
from nin_tf.device import KEEP_MEMORY, PRECISIONS, find_device, set_threads, versions
from nin_tf.init import initialize
from nin_tf.layers import describe, dropout_rate, shape_walk
from nin_tf.model import nin, nin_block
from nin_tf.predict import Predictor
from nin_tf.train import Trainer
from nin_tf.weights import allocate, get_weights, set_weights

NAME = "tf"

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
    import nin_tf.bench
    import nin_tf.export
    import nin_tf.variants
    import nin_tf.workers
    from common import contract

    _backend: contract.Backend = nin_tf
    _exporter: contract.Exporter = nin_tf.export
    _benchmark: contract.Benchmark = nin_tf.bench
    _variants: contract.Variants = nin_tf.variants
    _distribution: contract.Distribution = nin_tf.workers
