"""Files as people save them with PyTorch."""

import argparse
import collections
from pathlib import Path

import numpy as np
import torch
from torch import nn


def block(inputs, outputs, kernel, stride, padding, **options):
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, **options), nn.ReLU(),
        nn.Conv2d(outputs, outputs, 1, **options), nn.ReLU(),
        nn.Conv2d(outputs, outputs, 1, **options), nn.ReLU(),
    ]  # fmt: skip


def network(weights=None, wrap=lambda layers: nn.Sequential(*layers), **options):
    """The chapter's layers, nested as ``wrap`` does it."""
    blocks = [(1, 96, 11, 4, 0), (96, 256, 5, 1, 2), (256, 384, 3, 1, 1), (384, 10, 3, 1, 1)]
    parts = [wrap(block(*each, **options)) for each in blocks]
    for i in (1, 3, 5):
        parts.insert(i, nn.MaxPool2d(3, 2))
    parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    net = nn.Sequential(
        *(p for part in parts for p in (part if isinstance(part, list) else [part]))
    )
    if weights is not None:
        for value, array in zip(net.parameters(), weights.values(), strict=True):
            value.data = torch.from_numpy(array)
    return net


class Edition1(nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.net = network(weights)


class Named(nn.Module):
    """Layers with names of their own, in the order of use."""

    def __init__(self, weights):
        super().__init__()
        names = [f"{kind}_{b}" for b in "abcd" for kind in ("conv", "mix", "out")]
        layers = [layer for layer in network(weights, list) if isinstance(layer, nn.Conv2d)]
        for name, layer in zip(names, layers, strict=True):
            setattr(self, name, layer)


def saved(content, directory, name="n.pt", **options):
    torch.save(content, directory / name, **options)
    return directory / name


def state(weights):
    return network(weights).state_dict()


def optimizer(weights):
    net = network(weights)
    made = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    for value in net.parameters():
        value.grad = torch.zeros_like(value)
    made.step()
    return made.state_dict()


def checkpoint(weights):
    return {
        "epoch": 3, "best": np.float64(0.91), "args": argparse.Namespace(lr=0.1),
        "where": Path("runs"), "model_state_dict": state(weights),
        "optimizer_state_dict": optimizer(weights), "rng": torch.get_rng_state(),
    }  # fmt: skip


def with_history(weights):
    history = collections.defaultdict(list, loss=[0.5, 0.25])
    return {"net": state(weights), "history": history, "last": collections.deque([1.0], 5)}


def lightning(weights):
    tensors = {f"net.{name}": value for name, value in state(weights).items()}
    return {"state_dict": tensors, "optimizer_states": [], "hyper_parameters": {"lr": 0.1},
            "callbacks": {}, "pytorch-lightning_version": "2.5.0"}  # fmt: skip


def as_type(weights, kind):
    return {name: value.to(kind) for name, value in state(weights).items()}


READ = {
    "state dict": lambda w, d: saved(state(w), d),
    "before PyTorch 1.6": lambda w, d: saved(
        state(w), d, "n.pth", _use_new_zipfile_serialization=False
    ),
    "flat": lambda w, d: saved(network(w, list).state_dict(), d, "pytorch_model.bin"),
    "edition 1.0": lambda w, d: saved(Edition1(w).state_dict(), d),
    "names of its own": lambda w, d: saved(Named(w).state_dict(), d),
    "data parallel": lambda w, d: saved(nn.DataParallel(network(w)).state_dict(), d),
    "compiled": lambda w, d: saved(torch.compile(network(w)).state_dict(), d),
    "averaged": lambda w, d: saved(torch.optim.swa_utils.AveragedModel(network(w)).state_dict(), d),
    "checkpoint": lambda w, d: saved(checkpoint(w), d, "epoch3.tar"),
    "lightning": lambda w, d: saved(lightning(w), d, "last.ckpt"),
    "history": lambda w, d: saved(with_history(w), d),
    "tuple": lambda w, d: saved((state(w), optimizer(w)), d),
    "nested twice": lambda w, d: saved({"state": {"net": state(w)}}, d),
    "parameters": lambda w, d: saved(dict(network(w).named_parameters()), d),
    "channels last": lambda w, d: saved(
        network(w).to(memory_format=torch.channels_last).state_dict(), d
    ),
    "double": lambda w, d: saved(as_type(w, torch.float64), d),
}
HALF = {
    "half": lambda w, d: saved(as_type(w, torch.float16), d),
    "bfloat16": lambda w, d: saved(as_type(w, torch.bfloat16), d),
}


def beside(weights):
    """What a LightningModule saves with its network, its metrics and its loss."""
    saved = lightning(weights)
    extra = {"loss.weight": torch.ones(10), "cm.confmat": torch.zeros(10, 10, dtype=torch.int64)}
    return {**saved, "state_dict": {**extra, **saved["state_dict"]}}


NOTED = {
    "a metric and a loss": (
        lambda w, d: saved(beside(w), d, "last.ckpt"),
        "left out, as no part of the network: loss.weight (10,), cm.confmat (10, 10); if it",
    ),
    "a temperature beside the network": (
        lambda w, d: saved({**lightning(w), "temperature": torch.ones(1)}, d),
        "left out, as no part of the network: temperature (1,); if it",
    ),
}


def quantized(weights):
    kernels = {name: value for name, value in state(weights).items() if value.ndim == 4}
    whole = {n: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8) for n, v in kernels.items()}
    return {**state(weights), **whole}


def with_batch_norm(weights):
    net = network(weights, list)
    net.insert(1, nn.BatchNorm2d(96))
    return net.state_dict()


def with_weight_norm(weights):
    net = network(weights)
    nn.utils.parametrizations.weight_norm(net[0][0])
    return net.state_dict()


def distributed(weights, directory):
    from torch.distributed import checkpoint  # which takes a second

    checkpoint.save(state(weights), checkpoint_id=directory / "dcp")
    return directory / "dcp"


def exported(weights, directory):
    program = torch.export.export(network(weights), (torch.zeros(1, 1, 67, 67),))
    torch.export.save(program, directory / "n.pt2")
    return directory / "n.pt2"


def traced(weights, directory):
    torch.jit.save(torch.jit.trace(network(weights), torch.zeros(1, 1, 67, 67)), directory / "j.pt")
    return directory / "j.pt"


REFUSED = {
    "whole": (lambda w, d: saved(network(w), d), "no state dict but a whole pickled network; load"),
    "whole, old": (
        lambda w, d: saved(network(w), d, _use_new_zipfile_serialization=False),
        "holds objects besides tensors, such as a whole pickled network",
    ),
    "whole in a checkpoint": (lambda w, d: saved({"model": network(w)}, d), "no state dict but a"),
    "list": (lambda w, d: saved(list(network(w).parameters()), d), "no state dict but a list of"),
    "TorchScript": (traced, "a TorchScript program; load it with torch.jit.load"),
    "exported": (exported, "a program of torch.export; load it with torch.export.load"),
    "distributed": (distributed, "a distributed checkpoint of PyTorch; make it one file"),
    "weight normalization": (
        lambda w, d: saved(with_weight_norm(w), d), "is what weights are computed from; remove",
    ),
    "quantized": (lambda w, d: saved(quantized(w), d), "int8, as in a quantized network"),
    "batch normalization": (lambda w, d: saved(with_batch_norm(w), d), "batch normalization"),
    "no biases": (
        lambda w, d: saved(network(bias=False).state_dict(), d), "no biases of its layers are",
    ),
}  # fmt: skip

# what a release cannot do -> why; the file is then refused in general words
LIMITS = {}
if not hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint"):
    LIMITS = dict.fromkeys(
        ("checkpoint", "history", "whole", "whole in a checkpoint"),
        "this PyTorch cannot list what a checkpoint holds besides tensors",
    )
