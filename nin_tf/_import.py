"""Import TensorFlow, with Keras on top of it and without its start-up messages.

differs: PyTorch needs none of this. Keras 3 runs on several frameworks and reads which one, and
the layout of images, from the user's environment and configuration file; this package is
TensorFlow and channels last whatever they say. TensorFlow writes notes about its build to
standard error while it is imported, some of them (2.21) whatever its log level is; and it imports
JAX, which takes a second, if that is installed.
"""

import contextlib
import os
import sys

from common.backends.registry import check_apart
from common.system import machine
from common.system.quiet import quiet

# Keras is the one that belongs to TensorFlow, not Keras 2 and not Keras on another framework
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_USE_LEGACY_KERAS"] = "0"
# what goes wrong in the C++ code comes up as an exception all the same
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# take a GPU's memory as it is needed, not all of it at once
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


def _import_tensorflow() -> None:
    check_apart("tensorflow")
    # a log level that the user set is a wish to see the messages
    wanted = os.environ["TF_CPP_MIN_LOG_LEVEL"] != "3"
    without_jax = "jax" not in sys.modules
    if without_jax:
        sys.modules["jax"] = None  # type: ignore[assignment]
    try:
        with contextlib.nullcontext() if wanted else quiet():
            import tensorflow as tf

            backend = tf.keras.backend.backend()
    finally:
        if without_jax:
            del sys.modules["jax"]
    if backend != "tensorflow":
        raise ImportError(
            f"keras was imported before nin_tf, on top of {backend}; use a process of its own"
        )
    # one thread on each core from the first operation on, which in a notebook comes before fit
    with machine.prepared() as threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.keras.backend.set_image_data_format("channels_last")
    tf.keras.backend.set_floatx("float32")


_import_tensorflow()
