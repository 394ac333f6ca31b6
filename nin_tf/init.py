"""Initial weights in TensorFlow. Both schemes set the biases to 0."""

import tensorflow as tf

from nin_tf.weights import convolutions


def initialize(net: tf.keras.Sequential, scheme: str, seed: int) -> None:
    """Draw all weights anew, in place.

    ``xavier`` (Glorot and Bengio 2010, equation 16) is the book's ``train_ch6``: weights uniform
    within ±sqrt(6 / (fan_in + fan_out)). ``he`` (He et al. 2015, equation 10): weights normal
    with variance 2 / fan_in, biases 0. A fan is channels x window height x window width.

    Args:
        net: a sequence of layers whose parameters are there, such as
            :func:`nin_tf.model.nin`.
        scheme: ``xavier`` or ``he``.
        seed: the same seed gives the same weights.

    Raises:
        ValueError: for another scheme.
    """
    # on the CPU, so that the numbers are the same whether or not there is a GPU
    with tf.device("/CPU:0"):
        generator = tf.keras.random.SeedGenerator(seed)
        for _, layer in convolutions(net):
            weight, bias = layer.kernel, layer.bias
            if scheme == "xavier":
                initializer = tf.keras.initializers.GlorotUniform(seed=generator)
            elif scheme == "he":
                # differs: Keras's HeNormal cuts the tails off, which is another distribution
                initializer = tf.keras.initializers.VarianceScaling(
                    2.0, "fan_in", "untruncated_normal", seed=generator
                )
            else:
                raise ValueError(f"unknown initialization {scheme!r}")
            weight.assign(initializer(weight.shape))
            # differs: the book's TensorFlow biases are 0 in Xavier's scheme too
            if bias is not None:
                bias.assign(tf.zeros(bias.shape))
