"""Import MXNet 1.9.1, which is older than the NumPy it meets here.

differs: no other backend needs this. MXNet reads ``numpy.bool`` while it is imported, a name
that NumPy removed in 1.24. It is put back for the import only, so that other libraries, which
may ask whether it is there, do not see it. (What MXNet still wants it for later is assigning
to ``array[key]`` with an array as the key, which this package does not do.)
"""

import contextlib
import importlib.util
import os
import sys
import warnings

import numpy as np

from common.backends.registry import check_apart
from common.system import machine
from common.system.quiet import quiet


def _import_mxnet() -> int:
    """Import it; the number of threads that it computes on from now on."""
    check_apart("mxnet")
    # "in vars" and not hasattr: asking an older NumPy for the name makes it warn; before mxnet is
    # looked for, since numpy_bool.pth then sets the name
    missing = "bool" not in vars(np)
    # a missing mxnet is reported as such, by the import below
    if importlib.util.find_spec("mxnet") is not None:
        if int(np.__version__.split(".")[0]) >= 2:
            raise ImportError(
                f"mxnet 1.9.1 needs NumPy below 2, and NumPy {np.__version__} is installed here"
            )
        if importlib.util.find_spec("distutils") is None:
            raise ImportError(
                "mxnet 1.9.1 needs distutils, which Python 3.12 dropped; "
                "the package setuptools brings it back"
            )
    # "from mxnet import np" before this package fails, and leaves a part of it behind
    if "mxnet" not in sys.modules:
        for name in [name for name in sys.modules if name.startswith("mxnet.")]:
            del sys.modules[name]
    if missing:
        vars(np)["bool"] = np.bool_
    try:
        with warnings.catch_warnings():
            # MXNet looks for NumPy functions that are gone, and for the old distutils
            warnings.simplefilter("ignore", DeprecationWarning)
            # one thread on each core, also where that is read once, as for most operators it is
            with machine.prepared() as threads:
                import mxnet
    finally:
        if missing:
            del vars(np)["bool"]
    mxnet.npx.set_np()
    if not mxnet.context.num_gpus():
        # without a GPU there is nothing to do while an operator runs, and MXNet's queue of them
        # and its threads only cost time
        given = os.environ.setdefault("MXNET_ENGINE_TYPE", "NaiveEngine")
        # it starts now, and says so
        with quiet() if given == "NaiveEngine" else contextlib.nullcontext():
            mxnet.npx.waitall()
    return threads


THREADS = _import_mxnet()
