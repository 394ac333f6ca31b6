"""Initial weights in PyTorch. The Xavier scheme leaves the biases at PyTorch's own default."""

import torch
from torch import nn

from nin_torch.weights import convolutions


def initialize(net: nn.Module, scheme: str, seed: int) -> None:
    """Draw all weights anew, in place.

    ``xavier`` (Glorot and Bengio 2010, equation 16) is the book's ``train_ch6``: weights uniform
    within ±sqrt(6 / (fan_in + fan_out)). ``he`` (He et al. 2015, equation 10): weights normal
    with variance 2 / fan_in, biases 0. A fan is channels x window height x window width.

    Args:
        net: a sequence of layers whose parameters are there, such as
            :func:`nin_torch.model.nin`.
        scheme: ``xavier`` or ``he``.
        seed: the same seed gives the same weights.

    Raises:
        ValueError: for another scheme.
    """
    generator = torch.Generator().manual_seed(seed)
    for _, layer in convolutions(net):
        # on the CPU and in float32, so that the numbers are the same wherever the network is
        weight = torch.empty(layer.weight.shape)
        bias = torch.zeros(len(weight))
        if scheme == "xavier":
            nn.init.xavier_uniform_(weight, generator=generator)
            # differs: the book sets no biases here and so keeps PyTorch's default
            bound = weight[0].numel() ** -0.5
            nn.init.uniform_(bias, -bound, bound, generator=generator)
        elif scheme == "he":
            nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
        else:
            raise ValueError(f"unknown initialization {scheme!r}")
        with torch.no_grad():
            layer.weight.copy_(weight)
            if layer.bias is not None:
                layer.bias.copy_(bias)
