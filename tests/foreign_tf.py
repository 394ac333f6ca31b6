"""Files as people save them with Keras and TensorFlow."""

import nin_tf  # noqa: F401, I001 (first: it imports TensorFlow its own way)
import keras
import numpy as np
import tensorflow as tf
from keras import layers


def block(channels, kernel, strides, padding, activation="relu", names=(None,) * 3, **options):
    own = [layers.ReLU()] if activation is None else []
    windows = [(kernel, strides, padding), (1, 1, "valid"), (1, 1, "valid")]
    return [
        layer
        for (size, stride, pad), name in zip(windows, names, strict=True)
        for layer in [
            layers.Conv2D(channels, size, stride, pad, activation=activation, name=name, **options),
            *(type(each)() for each in own),
        ]
    ]


BLOCKS = ((96, 11, 4, "valid"), (256, 5, 1, "same"), (384, 3, 1, "same"), (10, 3, 1, "same"))


def parts(wrap=keras.Sequential, dropout=0.25, last=layers.GlobalAveragePooling2D, **options):
    """The chapter's layers, nested as ``wrap`` does it."""
    blocks = [wrap(block(*each, **options)) for each in BLOCKS]
    pools = [layers.MaxPooling2D(3, 2) for _ in range(3)]
    made = [part for pair in zip(blocks, pools, strict=False) for part in pair]
    made += [layers.Dropout(dropout)] if dropout else []
    made += [blocks[-1], last()]
    return [p for part in made for p in (part if isinstance(part, list) else [part])]


def fill(net, weights):
    arrays = [a.transpose(2, 3, 1, 0) if a.ndim == 4 else a for a in weights.values()]
    net.set_weights(arrays)
    return net


def network(weights, made=None, shape=(None, None, None, 1)):
    net = keras.Sequential([keras.Input(batch_shape=shape), *(made or parts())])
    return fill(net, weights)


def functional(weights, outputs=1, shape=(None, None, 1), end=None):
    given = x = keras.Input(shape)
    maps = []
    for layer in parts(list):
        x = layer(x)
        maps.append(x)
    x = x if end is None else end(x)
    return fill(keras.Model(given, [x, maps[-2]][:outputs]), weights)


def nested_without_an_input(weights):
    return keras.Sequential([network(weights)])


def nested(weights):
    given = keras.Input((None, None, 1))
    return keras.Model(given, network(weights)(given))


@keras.saving.register_keras_serializable("elsewhere")
class Edition1(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.net = keras.Sequential(parts())

    def call(self, X):
        return self.net(X)


def class_of_its_own(weights):
    net = Edition1()
    net(np.zeros((1, 67, 67, 1), np.float32))
    return fill(net, weights)


def saved(net, directory, name="n.keras"):
    net.save(directory / name)
    return directory / name


def weights_only(net, directory):
    net.save_weights(directory / "n.weights.h5")
    return directory / "n.weights.h5"


def saved_model(net, directory):
    net.export(str(directory / "saved"), verbose=False)
    return directory / "saved"


def checkpoint(net, directory, pick="", **others):
    made = tf.train.Checkpoint(model=net, **others)
    made.save(str(directory / "checkpoints" / "nin"))
    return directory / "checkpoints" / pick


def trained(weights):
    net = network(weights, parts(dropout=0))
    net.compile("adam")
    net.optimizer.build(net.trainable_variables)
    return net


def dense(weights):
    """1x1 convolutions as fully connected layers."""
    made = [
        layers.Dense(each.filters, "relu") if getattr(each, "kernel_size", 0) == (1, 1) else each
        for each in parts(list)
    ]
    net = keras.Sequential([keras.Input((None, None, 1)), *made])
    arrays = [a.transpose(2, 3, 1, 0) if a.ndim == 4 else a for a in weights.values()]
    net.set_weights([a.reshape(v.shape) for a, v in zip(arrays, net.weights, strict=True)])
    return net


def padded():
    """The chapter's layers, which pad by layers of their own."""
    made = []
    for channels, kernel, strides, padding in BLOCKS:
        made += [layers.ZeroPadding2D(kernel // 2)] if padding == "same" else []
        made += block(channels, kernel, strides, "valid")
        made += [layers.MaxPooling2D(3, 2)] if channels > 10 else []
    return [*made, layers.GlobalAveragePooling2D()]


def module(weights, directory, add):
    """Without Keras; the bias is added as ``add`` does it."""
    arrays = [a.transpose(2, 3, 1, 0) if a.ndim == 4 else a for a in weights.values()]

    class Nin(tf.Module):
        def __init__(self):
            super().__init__()
            self.arrays = [tf.Variable(a) for a in arrays]

        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 1), tf.float32)])
        def __call__(self, X):
            rest = iter(self.arrays)
            for channels, _, strides, padding in BLOCKS:
                for stride, pad in ((strides, padding.upper()), (1, "VALID"), (1, "VALID")):
                    kernel, bias = next(rest), next(rest)
                    X = tf.nn.relu(add(tf.nn.conv2d(X, kernel, stride, pad), bias))
                X = tf.nn.max_pool2d(X, 3, 2, "VALID") if channels > 10 else X
            return {"logits": tf.reduce_mean(X, (1, 2))}

    net = Nin()
    tf.saved_model.save(net, str(directory / "module"), signatures=net.__call__)
    return directory / "module"


def channels_first_for_it(X, bias):
    added = tf.transpose(X, (0, 3, 1, 2)) + tf.reshape(bias, (-1, 1, 1))
    return tf.transpose(added, (0, 2, 3, 1))


def with_optimizer(net, directory):
    return checkpoint(net, directory, "nin-1.data-00000-of-00001", optimizer=net.optimizer)


def arrays_alone(net, directory):
    np.savez(directory / "n.npz", *net.get_weights())
    return directory / "n.npz"


def as_type(weights, name):
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(name)
    try:
        return network(weights)
    finally:
        keras.mixed_precision.set_dtype_policy(policy)


def mixed(weights):
    return as_type(weights, "mixed_float16")


def double(weights):
    """Pixels in double precision, in which alone such a network's SavedModel takes them."""
    given = keras.Input((None, None, 1), dtype="float64")
    return fill(keras.Sequential([given, *parts()]), weights)


READ = {
    "flat": lambda w, d: saved(network(w, parts(list)), d),
    "functional": lambda w, d: saved(functional(w), d),
    "nested": lambda w, d: saved(nested(w), d),
    "nested without an input": lambda w, d: saved(nested_without_an_input(w), d),
    "ReLU of its own": lambda w, d: saved(network(w, parts(activation=None)), d),
    "regularized and compiled": lambda w, d: saved(compiled(w), d),
    "mixed precision": lambda w, d: saved(mixed(w), d),
    "batches of three": lambda w, d: saved(network(w, shape=(3, None, None, 1)), d),
    "two outputs": lambda w, d: saved(functional(w, outputs=2), d),
    "whole in HDF5": lambda w, d: saved(network(w), d, "n.h5"),
    "weights in HDF5": lambda w, d: weights_only(network(w), d),
    "flat weights in HDF5": lambda w, d: weights_only(network(w, parts(list)), d),
    "SavedModel": lambda w, d: saved_model(network(w), d),
    "SavedModel of double precision": lambda w, d: saved_model(double(w), d),
    "SavedModel that pads by itself": lambda w, d: saved_model(network(w, padded()), d),
    "module": lambda w, d: module(w, d, lambda X, b: X + b),
    "module that adds the other way": lambda w, d: module(w, d, lambda X, b: b + X),
    "module that adds channels first": lambda w, d: module(w, d, channels_first_for_it),
    "fully connected per pixel": lambda w, d: saved(dense(w), d),
    "fully connected per pixel in a SavedModel": lambda w, d: saved_model(dense(w), d),
    "augmentation": lambda w, d: saved(network(w, [layers.RandomFlip(), *parts()]), d),
    "checkpoint": lambda w, d: checkpoint(network(w), d),
    "checkpoint, functional": lambda w, d: checkpoint(functional(w), d, "nin-1"),
    "checkpoint, class of its own": lambda w, d: checkpoint(class_of_its_own(w), d, "nin-1.index"),
    "checkpoint with optimizer": lambda w, d: with_optimizer(trained(w), d),
    "arrays alone": lambda w, d: arrays_alone(network(w), d),
    "Keras operations": lambda w, d: saved(with_operations(w), d),
    "without dropout": lambda w, d: saved(network(w, parts(dropout=0)), d),
}
HALF = {
    "bfloat16 in HDF5": lambda w, d: weights_only(as_type(w, "bfloat16"), d),
}
NOTED = {
    "one size": (
        lambda w, d: saved(network(w, shape=(None, 67, 67, 1)), d),
        "takes images of 67x67 only, and was checked with these alone; there the last map is one",
    ),
    "softmax": (
        lambda w, d: saved(functional(w, end=layers.Softmax()), d), "ends in a softmax",
    ),
    "logarithms of a softmax in a SavedModel": (
        lambda w, d: saved_model(functional(w, end=layers.Activation("log_softmax")), d),
        "ends in a softmax",
    ),
    "channels first in a SavedModel": (
        lambda w, d: saved_model(channels_first(w), d),
        "its layers are channels first, which TensorFlow does not compute on a CPU; only its",
    ),
    "class of its own": (
        lambda w, d: saved(class_of_its_own(w), d), "its class Edition1 is code, which is not in",
    ),
}  # fmt: skip
# what make test leaves to make test-long: Keras builds and compiles a network for each
LONG = (
    "functional", "nested", "nested without an input", "ReLU of its own",
    "regularized and compiled",
    "mixed precision", "batches of three", "two outputs", "SavedModel that pads by itself",
    "SavedModel of double precision",
    "module", "module that adds the other way", "module that adds channels first",
    "fully connected per pixel", "fully connected per pixel in a SavedModel", "augmentation",
    "Keras operations", "without dropout", "logarithms of a softmax in a SavedModel",
    "rescaling in a SavedModel", "maximum for the average",
    "channels first in a SavedModel", "transposed images", "operation in HDF5",
)  # fmt: skip


def compiled(weights):
    net = network(weights, parts(kernel_regularizer=keras.regularizers.L2(1e-4)))
    net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return net


def cut_checkpoint(weights, directory):
    path = checkpoint(network(weights), directory, "nin-1.data-00000-of-00001")
    path.write_bytes(path.read_bytes()[:5000])
    return path


def with_operations(weights):
    given = x = keras.Input((None, None, 1))
    for layer in parts(list)[:-1]:
        x = layer(x)
    return fill(keras.Model(given, keras.ops.mean(x, (1, 2))), weights)


def with_own_pooling(weights):
    """An operation in place of a layer."""
    given = x = keras.Input((None, None, 1))
    for layer in parts(list):
        x = keras.ops.max_pool(x, 3, 2) if isinstance(layer, layers.MaxPooling2D) else layer(x)
    return fill(keras.Model(given, x), weights)


def channels_first(weights):
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        return network(weights, shape=(None, 1, None, None))
    finally:
        keras.config.set_image_data_format(before)


def with_layer(weights, layer, after=1):
    made = parts(list)
    made.insert(after, layer)
    net = keras.Sequential([keras.Input((None, None, 1)), *made])
    del weights
    return net


def reading_files(directory):
    """A SavedModel that reads a file when it is called."""

    class Reader(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 1), tf.float32)])
        def __call__(self, X):
            return tf.strings.length(tf.io.read_file("/etc/hostname"))

    tf.saved_model.save(Reader(), str(directory / "reader"))
    return directory / "reader"


REFUSED = {
    "batch normalization": (
        lambda w, d: saved(with_layer(w, layers.BatchNormalization()), d), "batch normalization",
    ),
    "batch normalization in HDF5": (
        lambda w, d: saved(with_layer(w, layers.BatchNormalization()), d, "n.h5"),
        "it has batch normalization; the chapter's network does not have it",
    ),
    "rescaling in a SavedModel": (
        lambda w, d: saved_model(network(w, [layers.Rescaling(1 / 255), *parts()]), d),
        "but for a first step, (pixels - 0) / 255, it is the same",
    ),
    "channels first": (
        lambda w, d: saved(network(w, [layers.Permute((2, 3, 1)), *parts()], (None, 1, 67, 67)), d),
        "it takes images of shape (None, 1, 67, 67), channels first; save the layers behind",
    ),
    "transposed images": (
        lambda w, d: saved(network(w, [layers.Permute((2, 1, 3)), *parts()]), d),
        "of another network (for images of 128x128 its logits differ",
    ),
    "operation": (
        lambda w, d: saved(with_own_pooling(w), d),
        "MaxPool in it is an operation (keras.ops), which is not read from a Keras file; export",
    ),
    "operation in HDF5": (
        lambda w, d: saved(with_own_pooling(w), d, "n.h5"), "MaxPool in it is an operation",
    ),
    "half a checkpoint": (cut_checkpoint, "damaged, or not a TensorFlow checkpoint"),
    "rescaling": (
        lambda w, d: saved(with_layer(w, layers.Rescaling(1 / 255), 0), d),
        "a Rescaling layer; but the network here takes pixels from 0 to 1",
    ),
    "code": (
        lambda w, d: saved(with_layer(w, layers.Lambda(lambda x: 2 * x)), d), "a Lambda layer",
    ),
    "maximum for the average": (
        lambda w, d: saved(network(w, parts(last=layers.GlobalMaxPooling2D)), d),
        "of another network (for images of 128x128 its logits differ",
    ),
    "batch normalization in a SavedModel": (
        lambda w, d: saved_model(with_layer(w, layers.BatchNormalization()), d), "another network",
    ),
    "code in a SavedModel": (lambda w, d: reading_files(d), "it has ReadFile, which the chapter's"),
    "no biases": (
        lambda w, d: saved(network_without_biases(), d), "no biases of its layers are found",
    ),
}  # fmt: skip


def network_without_biases():
    return keras.Sequential([keras.Input((None, None, 1)), *parts(use_bias=False)])
