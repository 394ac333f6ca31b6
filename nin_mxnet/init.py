"""Initial weights in MXNet. The Xavier scheme sets the biases to 0, MXNet's own default."""

import mxnet as mx
import numpy as np
from mxnet.gluon import Block


def initialize(net: Block, scheme: str, seed: int) -> None:
    """Draw all weights anew, in place; see :class:`common.contract.Backend`."""
    # differs: MXNet gives nearby seeds the same numbers, only moved along; hashing sets them apart
    mx.random.seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    if scheme == "xavier":
        # differs: the framework walks the layers itself and sets all biases to 0
        initializer = mx.init.Xavier()
    elif scheme == "he":
        initializer = mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2)
    else:
        raise ValueError(f"unknown initialization {scheme!r}")
    # differs: MXNet's initializers draw float32 alone
    values = [e for e in net.collect_params().values() if np.dtype(e.dtype) != np.float32]
    types = [value.dtype for value in values]
    for value in values:
        value.cast(np.float32)
    net.initialize(initializer, force_reinit=True)
    for value, dtype in zip(values, types, strict=True):
        value.cast(dtype)
