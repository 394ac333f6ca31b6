"""A start from the training images: every channel of every layer is alive, and no class is dead.

Computed once, with NumPy, so that every backend starts from the same weights bit for bit.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from common.data.interpolation import resize_matrix
from common.network.architecture import Layer

# The biases that four times as many give differ in the third digit.
IMAGES = 256
# The mean of each class before the last ReLU, which then hardly clips. Label smoothing makes the
# common offset of the logits free.
CLASS_MEAN = 4.0
# so many images at a time, for the memory that their windows take
CHUNK = 64


def from_images(
    layers: Sequence[Layer],
    images: np.ndarray,
    resize: int,
    seed: int,
    identity_last: bool = True,
    dense: Sequence[Layer] = (),
) -> dict[str, np.ndarray]:
    """Initial weights of a network whose channels are centred on training images.

    Each convolution inside a block is the identity, so that a block starts as its first
    convolution. These, and any that changes the number of channels, are drawn as He et al. 2015
    do. Layer by layer, their biases are set so that the mean of each channel before its ReLU is 0
    over images and pixels, as in the data-dependent initializations of Krähenbühl et al. 2015
    (arXiv:1511.06856), but without scaling, which made no difference. In the last block the mean
    is :data:`CLASS_MEAN`.

    Args:
        layers: of the network, in order, the last of them in its last block.
        images: uint8, (count, height, width); the first :data:`IMAGES` are used.
        resize: height and width that they are resized to, in pixels.
        seed: the same seed gives the same weights.
        identity_last: whether the last block starts so too; otherwise it is drawn like the first
            convolutions, its biases 0, as in the scheme ``he``.
        dense: the fully connected layers after them, if there are any; the last block is then one
            like the others.

    Returns:
        canonical name -> float32 array, convolutions (out, in, height, width), fully connected
        layers (out, in).
    """
    rng = np.random.default_rng(seed)
    last_block = "" if dense else layers[-1].name.partition(".")[0]
    # what comes after it only passes the classes on
    classes = [e.name for e in layers if not (e.is_pool or _passes_on(e))][-1]
    matrix = resize_matrix(images.shape[1], resize).astype(np.float32)
    # channels last: what a window covers then lies in few pieces in memory
    X = (matrix @ (images[:IMAGES] / np.float32(255)) @ matrix.T)[..., np.newaxis]
    weights: dict[str, np.ndarray] = {}
    for layer in layers:
        if layer.is_pool:
            X = _windows(X, layer).max((3, 4))
            continue
        out, inputs, kernel = layer.out_channels, layer.in_channels, layer.kernel_size
        last = layer.name.startswith(f"{last_block}.")
        drawn = not _passes_on(layer) or (last and not identity_last)
        if drawn:
            weight = rng.standard_normal((out, inputs, kernel, kernel), np.float32)
            weight *= np.float32(np.sqrt(2 / weight[0].size))
        else:
            weight = np.zeros((out, out, kernel, kernel), np.float32)
            weight[:, :, kernel // 2, kernel // 2] = np.eye(out)
        bias = np.zeros(out, np.float32)
        weights[f"{layer.name}.weight"], weights[f"{layer.name}.bias"] = weight, bias
        # after a ReLU the identity and its own ReLU change nothing
        if drawn and (identity_last or not last):
            Y = _convolve(X, weight, layer)
            bias -= Y.mean((0, 1, 2))
            bias += CLASS_MEAN if last and layer.name == classes else 0
            X = np.maximum(Y + bias, 0)
    X = X.transpose(0, 3, 1, 2).reshape(len(X), -1)
    for layer in dense:
        weight = rng.standard_normal((layer.out_channels, layer.in_channels), np.float32)
        weight *= np.float32(np.sqrt(2 / layer.in_channels))
        bias = -(X @ weight.T).mean(0)
        weights[f"{layer.name}.weight"], weights[f"{layer.name}.bias"] = weight, bias
        X = np.maximum(X @ weight.T + bias, 0)
    return weights


def _passes_on(layer: Layer) -> bool:
    """Whether it can start as the identity: inside a block, with as many outputs as inputs."""
    first = layer.name.endswith(".conv1")
    return not first and layer.in_channels == layer.out_channels


def _windows(X: np.ndarray, layer: Layer) -> np.ndarray:
    """(batch, height, width, channels) -> (batch, height', width', window, window, channels)."""
    if layer.padding:
        X = np.pad(X, ((0, 0), *[(layer.padding, layer.padding)] * 2, (0, 0)))
    windows: np.ndarray = sliding_window_view(X, (layer.kernel_size,) * 2, (1, 2))  # type: ignore[call-overload]
    return windows[:, :: layer.stride, :: layer.stride].transpose(0, 1, 2, 4, 5, 3)


def _convolve(X: np.ndarray, weight: np.ndarray, layer: Layer) -> np.ndarray:
    """A convolution without its bias, channels last, as a matrix product over all windows."""
    columns = np.ascontiguousarray(weight.transpose(2, 3, 1, 0)).reshape(-1, len(weight))
    parts = []
    for start in range(0, len(X), CHUNK):
        windows = _windows(X[start : start + CHUNK], layer)
        product = windows.reshape(-1, len(columns)) @ columns
        parts.append(product.reshape(*windows.shape[:3], -1))
    return np.concatenate(parts)
