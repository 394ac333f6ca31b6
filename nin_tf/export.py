"""Files that TensorFlow's own users write and load: a ``.keras`` file of the whole network."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from nin_tf.weights import get_weights


def save_native(net: tf.keras.Sequential, path: Path) -> list[Path]:
    """Write a network; see :class:`common.contract.Backend`.

    ``keras.models.load_model(path)`` reads it, without this project.
    """
    net.save(path)
    return [path]


def load_native(path: Path) -> dict[str, np.ndarray]:
    """The weights in a file by canonical name; see :class:`common.contract.Backend`."""
    return get_weights(_load(path))


def run_native(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Logits of what the file holds; see :class:`common.contract.Backend`."""
    net = _load(path)
    return net(tf.constant(pixels.transpose(0, 2, 3, 1)), training=False).numpy()


def _load(path: Path) -> tf.keras.Sequential:
    return tf.keras.models.load_model(path, compile=False)
