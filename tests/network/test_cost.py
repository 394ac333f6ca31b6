"""What networks cost on paper, held against what frameworks count and allocate."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import api, errors
from common.bench import memory
from common.network import book, cost, description
from common.settings import OPTIMIZERS, from_preset

# parameters of the book's networks, counted from their layers by hand
PARAMETERS = {
    "nin": 30_336 + 746_240 + 1_180_800 + 34_790,
    "lenet": 156 + 2_416 + 48_120 + 10_164 + 850,
    "alexnet": 11_712 + 614_656 + 885_120 + 1_327_488 + 884_992 + 26_218_496 + 16_781_312 + 40_970,
    "vgg11": 9_219_328 + 102_764_544 + 16_781_312 + 40_970,
}
STATES = [*({"optimizer": name} for name in OPTIMIZERS), {"optimizer": "sgd", "momentum": 0.9}]


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS.items())
def test_the_books_networks_have_the_parameters_counted_by_hand(name, parameters):
    assert cost.of(name).parameters == parameters


def test_the_table_is_not_cut_where_there_is_no_terminal(capsys):
    cost.of("nin").show()
    shown = capsys.readouterr().out
    assert "working memory" in shown
    assert "…" not in shown


def test_the_chapters_network_needs_three_quarters_of_a_billion_multiply_adds():
    found = cost.of()
    assert found.multiply_adds == 762_297_352
    # the first convolution does without the gradient of the image
    assert found.training_multiply_adds == 3 * 762_297_352 - 96 * 54**2 * 11**2


@given(
    st.sampled_from([*cost.COMPARED, *description.NETWORKS]),
    st.integers(150, 260),
    st.integers(1, 64),
    st.sampled_from(list(cost.ACTIVATION_BYTES)),
    st.sampled_from(list(cost.OPTIMIZER_STATE)),
)
@settings(max_examples=40, deadline=None)
def test_the_parts_make_the_whole(name, resize, batch_size, precision, optimizer):
    options = {"precision": precision, "optimizer": optimizer}
    found = cost.of(name, resize, batch_size=batch_size, **options)
    report = found.report()
    assert sum(layer["parameters"] for layer in report["layers"]) == found.parameters
    assert sum(layer["multiply_adds"] for layer in report["layers"]) == found.multiply_adds
    number = cost.ACTIVATION_BYTES[precision]
    images = resize**2 * batch_size * number
    training, prediction = found.training, found.prediction
    kept = sum(layer["training_bytes"] for layer in report["layers"])
    assert kept + images + training.working == training.total
    largest = max(working for _, working in found.layer_bytes())
    weights = prediction.weights
    assert weights + images < prediction.total <= weights + images + largest
    # with more of everything nothing gets cheaper; twice the batch, twice the activations
    twice = cost.of(name, resize, batch_size=2 * batch_size, **options)
    assert twice.training.activations == 2 * training.activations
    assert twice.parameters == found.parameters


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"network": "vgg"}, r"did you mean vgg11\?\); choose from nin, lenet, alexnet, vgg11, ch"),
        ({"network": "AlexNet"}, r"no network of that name \(did you mean alexnet\?\)"),
        ({"network": "nin,alexnet"}, "alexnet is another network; name one, or several with a"),
        ({"resize": 66}, "resize=66: too small for NiN; the smallest that works is 67"),
        (
            {"network": "alexnet", "resize": 64},
            "resize=64: too small for AlexNet; the smallest that works is 65",
        ),
        ({"resize": 0}, "resize=0: too small for NiN"),
        ({"batch_size": 0}, "batch_size=0: must be"),
        ({"precision": "int8"}, "precision=int8: must be one of float32"),
        ({"optimizer": "lion"}, "optimizer=lion: must be one of sgd"),
        ({"optimizer": "adamw", "momentum": 0.9}, "momentum: only the sgd"),
    ],
)
def test_what_cannot_be_computed_is_refused(options, words):
    with pytest.raises(errors.NinError, match=words):
        cost.of(**options)


# ------------------------------------------------------------- with a backend


def test_a_network_that_is_built_costs_what_it_costs_on_paper(backend):
    built, on_paper = api.cost(backend.nin(), 99, batch_size=2), api.cost("nin", 99, batch_size=2)
    assert built.report()["layers"] == on_paper.report()["layers"]
    assert built.training == on_paper.training


def test_a_layer_alone_is_no_network_and_is_refused_by_the_name_of_the_argument(backend):
    net = backend.nin()
    layer = list(getattr(net, "layers", net))[-1]
    with pytest.raises(errors.NinError, match=f"^network={type(layer).__name__}: "):
        api.cost(layer)


def test_what_a_network_costs_changes_nothing_of_it(backend):
    net = backend.nin()
    settings = from_preset("book", resize=67, device="cpu", precision="float64")
    # MXNet's network is harder to copy when it has run
    backend.Predictor(net, settings).logits(np.zeros((1, 28, 28), np.uint8))
    before = backend.get_weights(net)
    api.cost(net, 99)
    assert {array.dtype for array in backend.get_weights(net).values()} == {np.dtype(np.float64)}
    assert all((before[name] == array).all() for name, array in backend.get_weights(net).items())


@pytest.mark.parametrize("options", STATES, ids=str)
@pytest.mark.shared
def test_an_optimizer_remembers_as_many_numbers_as_on_paper(backend, backend_name, options):
    chosen = from_preset("book", backend=backend_name, resize=67, device="cpu", **options)
    net = backend.nin()
    backend.initialize(net, "he", 0)
    images = np.zeros((2, 28, 28), np.uint8)
    trainer = backend.Trainer(net, chosen, images, np.arange(2))
    trainer.train_batch(np.arange(2), 1e-3, 0)
    trainer.take_metrics()
    state = sum(array.size for array in trainer.state().values() if array.ndim)
    found = cost.of(resize=67, optimizer=chosen.optimizer, momentum=chosen.momentum)
    assert state == found.parameters + found.training.optimizer // 4


# ------------------------------------------------------------- against PyTorch's own counters


@pytest.fixture
def torch(backend, backend_name):
    if backend_name != "torch":
        pytest.skip("PyTorch counts and tracks memory by itself; the others do not")
    import torch

    return torch


def build(torch, name, size):
    """One of the book's networks in PyTorch; where its activation is a sigmoid, with ReLUs."""
    nn = torch.nn
    parameters, _ = book.NETWORKS[name].shapes(size)
    layers = []
    for layer, op in book.NETWORKS[name].named():
        outs, ins = parameters.get(f"{layer}.weight", (0, 0))[:2]
        if op.kind == "conv":
            layers += [nn.Conv2d(ins, outs, op.kernel_size, op.stride, op.padding), nn.ReLU()]
        elif op.kind == "dense":
            layers += [nn.Linear(math.prod(parameters[f"{layer}.weight"][1:]), outs), nn.ReLU()]
        elif op.kernel_size:
            pool = nn.MaxPool2d if op.kind == "pool" else nn.AvgPool2d
            layers.append(pool(op.kernel_size, op.stride))
        else:
            layers.append(nn.Flatten() if op.kind == "flatten" else nn.Dropout())
    return nn.Sequential(*layers)


@pytest.mark.parametrize("name", cost.COMPARED)
def test_pytorch_counts_the_same_parameters_and_multiply_adds(torch, backend, name):
    from torch.utils.flop_counter import FlopCounterMode

    found = cost.of(name)
    with torch.device("meta"):  # nothing is computed: only shapes
        net = backend.nin() if name == "nin" else build(torch, name, found.resize)
        X = torch.empty(1, 1, found.resize, found.resize)
        assert sum(value.numel() for value in net.parameters()) == found.parameters
        with FlopCounterMode(display=False) as counter:
            net(X)
        assert counter.get_total_flops() == 2 * found.multiply_adds
        with FlopCounterMode(display=False) as counter:
            net(X).sum().backward()
        assert counter.get_total_flops() == 2 * found.training_multiply_adds


@pytest.mark.parametrize("name", ["nin", "lenet", "alexnet"])
def test_pytorch_allocates_what_is_computed_and_a_copy_of_a_convolutions_weights(
    torch, backend, name
):
    batch = 128 if name == "lenet" else 8
    found = cost.of(name, None if name == "lenet" else 99, batch_size=batch)
    net = backend.nin() if name == "nin" else build(torch, name, found.resize)
    # as our backend lays them out; otherwise PyTorch's convolutions copy what they get
    net = net.to(memory_format=torch.channels_last)
    X = torch.rand(batch, 1, found.resize, found.resize)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    copy = 4 * max(layer.weights for layer in found.layers if layer.kind.startswith("conv"))

    def step():
        loss = torch.nn.functional.cross_entropy(net(X), torch.zeros(batch, dtype=torch.long))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    # the weights and the images are there already
    computed = found.training.total - found.training.weights - X.numel() * 4
    assert 0.95 * computed < allocated_peak(torch, step) < 1.07 * computed + copy
    net.eval()
    computed = found.prediction.working
    with torch.inference_mode():
        assert 0.99 * computed < allocated_peak(torch, lambda: net(X)) < 1.01 * computed + copy


def allocated_peak(torch, function):
    """The most bytes of PyTorch's tensors that are alive at one time in a call."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return int(np.cumsum([event.nbytes() for event in events]).max())


@pytest.mark.long
def test_what_is_measured_is_not_far_from_what_is_computed(backend, backend_name):
    found = cost.of("one-1x1", 112, batch_size=64)
    taken = memory.measure(found, "one-1x1", backend_name)
    for what in memory.WHAT:
        computed = getattr(found, what).total
        assert 0.8 < taken[what] / computed < 2.5, what
