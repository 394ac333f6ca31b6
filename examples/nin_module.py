"""A PyTorch module from elsewhere as a backend: what to write around it so that it is compared.

scripts/compare.py --backends torch,examples/nin_module.py
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from common.data.interpolation import resize_matrix
from common.network.architecture import parameter_shapes


class Net(nn.Module):
    """This is yours: import it instead."""

    def __init__(self, classes, channels, dropout):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList()
        windows = {96: (11, 4, 0), 256: (5, 1, 2), 384: (3, 1, 1), classes: (3, 1, 1)}
        for width, (kernel, stride, padding) in windows.items():
            self.layers += [nn.Conv2d(channels, width, kernel, stride, padding), nn.ReLU()]
            self.layers += [nn.Conv2d(width, width, 1), nn.ReLU()]
            self.layers += [nn.Conv2d(width, width, 1), nn.ReLU()]
            channels = width

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            if i == 18:
                x = self.dropout(x)
            x = layer(x)
            if i in (5, 11, 17):
                x = F.max_pool2d(x, 3, 2)
        return x.mean((2, 3))


def nin(num_classes=10, in_channels=1, dropout=0.5):
    return Net(num_classes, in_channels, dropout)


# "block1.conv1.weight" (out, in, height, width), "block1.conv1.bias" ... in the order of the
# layers, as are this module's own names; if yours are in another order, write out which is which
def get_weights(net):
    arrays = (value.detach().numpy().copy() for value in net.parameters())
    return dict(zip(parameter_shapes(), arrays, strict=True))


def set_weights(net, weights):
    arrays = map(torch.from_numpy, weights.values())
    net.load_state_dict(dict(zip(net.state_dict(), arrays, strict=True)))


class Predictor:
    def __init__(self, net, settings):
        self.dtype = getattr(torch, settings.precision)
        self.net = net.to(self.dtype)
        self.matrix = torch.from_numpy(resize_matrix(28, settings.resize)).to(self.dtype)

    def pixels(self, images):  # uint8, (batch, 28, 28)
        scaled = torch.from_numpy(images).to(self.dtype) / 255
        return (self.matrix @ scaled @ self.matrix.T)[:, None]

    @torch.no_grad()
    def logits(self, images):
        return self.net.eval()(self.pixels(images)).numpy()

    def activations(self, images):
        """The outputs of some layers, by the name that they have here: all of its convolutions."""
        found, hooks = {}, []
        # after the network's own ReLU: one that is added here would hide that it has none
        for i, layer in enumerate(self.net.layers[1::2]):
            name = f"block{i // 3 + 1}.conv{i % 3 + 1}"
            hooks.append(
                layer.register_forward_hook(
                    lambda layer, given, out, name=name: found.update({name: out.numpy()})
                )
            )
        found["flatten"] = self.logits(images)
        for hook in hooks:
            hook.remove()
        return found


class Trainer(Predictor):
    """Plain SGD. Training and dropout are compared only if there is one."""

    def __init__(self, net, settings, images, labels):
        super().__init__(net, settings)
        self.images, self.labels, self.losses = images, torch.from_numpy(labels).long(), []

    def train_batch(self, indices, learning_rate, step):
        torch.manual_seed(step)  # each step drops other units
        logits = self.net.train()(self.pixels(self.images[indices]))
        loss = F.cross_entropy(logits, self.labels[indices])
        self.net.zero_grad()
        loss.backward()
        torch.optim.SGD(self.net.parameters(), lr=learning_rate).step()
        self.losses.append(loss.item())

    def take_metrics(self):
        losses, self.losses = np.array(self.losses), []
        return losses, np.zeros(len(losses), np.int64)  # right answers: not compared, not counted
