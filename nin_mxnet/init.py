"""Initial weights in MXNet. The Xavier scheme sets the biases to 0, MXNet's own default."""

import mxnet as mx
import numpy as np
from mxnet.gluon import Block


def initialize(net: Block, scheme: str, seed: int) -> None:
    """Draw all weights anew, in place.

    ``xavier`` (Glorot and Bengio 2010, equation 16) is the book's ``train_ch6``: weights uniform
    within ±sqrt(6 / (fan_in + fan_out)). ``he`` (He et al. 2015, equation 10): weights normal
    with variance 2 / fan_in, biases 0. A fan is channels x window height x window width.

    Args:
        net: a sequence of layers whose parameters are there, such as
            :func:`nin_mxnet.model.nin`.
        scheme: ``xavier`` or ``he``.
        seed: the same seed gives the same weights.

    Raises:
        ValueError: for another scheme.
    """
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
