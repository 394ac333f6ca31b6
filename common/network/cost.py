"""What a network costs, computed on paper: parameters, multiply-adds, memory (exercise 3).

Everything follows from the shapes of the parameters and of each layer's output. docs/cost.md has
the rules, and how far what the frameworks count and allocate is from them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from common.arguments import checked
from common.errors import NinError
from common.network import architecture, book
from common.network.description import Network, parse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from common.settings import Settings

Shapes = Mapping[str, tuple[int, ...]]

# bytes of one number: of an activation; of a weight, with the copy that bfloat16 computes with
ACTIVATION_BYTES = {"float32": 4, "bfloat16": 2, "float64": 8}
WEIGHT_BYTES = {"float32": 4, "bfloat16": 4 + 2, "float64": 8}
GRADIENT_BYTES = {"float32": 4, "bfloat16": 4, "float64": 8}
# numbers that an optimizer remembers of each weight and of each bias; sgd one of both with momentum
OPTIMIZER_STATE = {"sgd": (0, 0), "adamw": (2, 2), "muon": (1, 2)}

NIN = "nin"
# NiN beside the networks that the book compares it with
COMPARED = (NIN, *book.NETWORKS)
# of Cost, and so called among the settings of a run
OPTIONS = ("batch_size", "precision", "optimizer", "momentum")


class LayerCost(NamedTuple):
    """A layer, a convolution or fully connected layer with its activation, for one image."""

    name: str
    """Canonical: ``block1.conv1`` ... ``flatten``; ``input`` is the image."""
    kind: str
    """``conv``, ``conv1x1``, ``dense``, or another layer's own name without its number."""
    output: tuple[int, ...]
    """Shape of what it gives: (channels, height, width), or (features,)."""
    weights: int
    biases: int
    multiply_adds: int
    """Forward, one for each pair of a weight and an input, padding included, biases not."""

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.weights + self.biases

    @property
    def numbers(self) -> int:
        """How many it gives; none of its own for a layer that only reshapes."""
        return 0 if self.kind == "flatten" else math.prod(self.output)


@dataclass(frozen=True)
class Memory:
    """Bytes, by what they are for."""

    weights: int
    gradients: int
    """One for each parameter."""
    optimizer: int
    """What it remembers from step to step."""
    activations: int
    """The images, and in training each layer's output, kept until its gradient is computed."""
    working: int
    """What comes on top of them at the worst moment: outputs and gradients on their way."""

    @property
    def total(self) -> int:
        """All of it: the most that is needed at one time."""
        return sum(vars(self).values())


@dataclass(frozen=True)
class Cost:
    """What a network costs at a size of images, a batch size, in a precision."""

    title: str
    resize: int
    layers: tuple[LayerCost, ...]
    """The first is the image itself."""
    batch_size: int = 128
    precision: str = "float32"
    """``float32``, ``float64`` or ``bfloat16``; in the last, weights and their gradients stay in
    float32, and are computed with in copies."""
    optimizer: str = "sgd"
    """``sgd``, ``adamw`` or ``muon``."""
    momentum: float = 0.0
    """Of sgd; only whether it is 0 matters to the cost."""

    def __post_init__(self) -> None:
        """Raise :class:`NinError` for an option that is not known."""
        for name, known in (("precision", ACTIVATION_BYTES), ("optimizer", OPTIMIZER_STATE)):
            if getattr(self, name) not in known:
                raise NinError(f"`{name}={getattr(self, name)}`: must be one of {', '.join(known)}")
        if self.batch_size < 1:
            raise NinError(f"`batch_size={self.batch_size}`: must be a whole number of at least 1")
        if self.momentum and self.optimizer != "sgd":
            raise NinError("`momentum`: only the sgd optimizer has it; leave it out")

    def show(self) -> None:
        """Print a table of the layers."""
        from common.report.cost import layers_table
        from common.terminal.output import console

        console().print(layers_table(self))

    @checked
    def plot(self, lang: str = "en") -> "Figure":
        """A picture of what dominates, layer by layer; ``lang`` is ``en`` or ``tr``."""
        from common.report.cost import plot

        return plot([self], lang)

    @property
    def parameters(self) -> int:
        """Of all layers."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """For one image, forward."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def training_multiply_adds(self) -> int:
        """For one image, forward and backward.

        Backward is as much again for each of the two gradients, of the weights and of the input;
        that of the image is not needed.
        """
        first = next((layer.multiply_adds for layer in self.layers if layer.multiply_adds), 0)
        return 3 * self.multiply_adds - first

    @property
    def training(self) -> Memory:
        """Of one training step."""
        kept = sum(layer.numbers for layer in self.layers)
        return Memory(
            weights=self.parameters * WEIGHT_BYTES[self.precision],
            gradients=self.parameters * GRADIENT_BYTES[self.precision],
            optimizer=sum(map(self._optimizer_bytes, self.layers)),
            activations=self.bytes_of(kept),
            working=self.bytes_of(_most_in_training(self.layers) - kept),
        )

    @property
    def prediction(self) -> Memory:
        """Of the prediction of one batch, in which only what the next layer needs is kept."""
        return Memory(
            weights=self.parameters * WEIGHT_BYTES[self.precision],
            gradients=0,
            optimizer=0,
            activations=self.bytes_of(self.layers[0].numbers),
            working=self.bytes_of(max(_alive_in_prediction(self.layers))),
        )

    def report(self) -> dict[str, Any]:
        """Everything, for a JSON file."""
        memory = {
            name: {**asdict(getattr(self, name)), "total": getattr(self, name).total}
            for name in ("training", "prediction")
        }
        return {
            "title": self.title,
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "training_multiply_adds": self.training_multiply_adds,
            "resize": self.resize,
            "memory_bytes": memory,
            "layers": [
                {
                    "name": layer.name,
                    "kind": layer.kind,
                    "output": list(layer.output),
                    "parameters": layer.parameters,
                    "multiply_adds": layer.multiply_adds,
                    "training_bytes": training,
                    "prediction_bytes": prediction,
                }
                for layer, (training, prediction) in zip(
                    self.layers, self.layer_bytes(), strict=True
                )
                if layer.name != "input"
            ],
        }

    def layer_bytes(self) -> list[tuple[int, int]]:
        """For each layer its part of the memory in training and in prediction.

        In training its weights, their gradients, what the optimizer remembers of them, and its
        output, all of which are kept: the sum lacks the working memory only. In prediction its
        weights, and the outputs that are alive while it computes: the largest of these, all
        weights and the images are needed at one time.
        """
        alive = map(self.bytes_of, _alive_in_prediction(self.layers))
        found = []
        for layer, at_one_time in zip(self.layers, alive, strict=True):
            weights = layer.parameters * WEIGHT_BYTES[self.precision]
            gradients = layer.parameters * GRADIENT_BYTES[self.precision]
            training = weights + gradients + self._optimizer_bytes(layer)
            found.append((training + self.bytes_of(layer.numbers), weights + at_one_time))
        return found

    def bytes_of(self, numbers: int) -> int:
        """Of so many numbers for each image of a batch."""
        return numbers * self.batch_size * ACTIVATION_BYTES[self.precision]

    def _optimizer_bytes(self, layer: LayerCost) -> int:
        of_weight, of_bias = OPTIMIZER_STATE[self.optimizer]
        numbers = layer.weights * of_weight + layer.biases * of_bias
        numbers += layer.parameters if self.momentum else 0
        return numbers * GRADIENT_BYTES[self.precision]


def of(
    network: str = NIN,
    resize: int | None = None,
    num_classes: int = architecture.NUM_CLASSES,
    **options: Any,
) -> Cost:
    """What a network costs.

    Args:
        network: ``nin``, ``lenet``, ``alexnet``, ``vgg11``, or one of NiN's variants as
            :func:`common.network.description.parse` takes it.
        resize: height and width of the images, in pixels; None for what the book trains it on.
        num_classes: of NiN and its variants; the others are the book's, for ten.
        options: ``batch_size``, ``precision``, ``optimizer`` and ``momentum`` of :class:`Cost`.

    Raises:
        NinError: for an unknown network, precision or optimizer, or images that are too small.
    """
    if network in book.NETWORKS:
        found = book.NETWORKS[network]
        title, size, smallest = found.title, found.resize, found.smallest_input()
    else:
        variant = description_of(network)
        title, size, smallest = variant.title, 224, architecture.smallest_input(variant)
    size = size if resize is None else resize
    if size < smallest:
        raise NinError(
            f"`resize={size}`: too small for {title}; the smallest that works is {smallest}"
        )
    if network in book.NETWORKS:
        parameters, outputs = found.shapes(size)
    else:
        parameters = architecture.parameter_shapes(num_classes, network=variant, size=size)
        outputs = architecture.output_shapes(size, variant, num_classes)
    return of_shapes(title, size, parameters, outputs, **options)


def of_run(settings: "Settings", **changed: Any) -> Cost:
    """What the network of a run costs in its steps, or would with other options."""
    options = {name: getattr(settings, name) for name in OPTIONS}
    return of(settings.network, settings.resize, **(options | changed))


def description_of(network: str) -> Network:
    """The chapter's network, ``nin``, or one of its variants."""
    return parse(network, COMPARED)


def of_shapes(title: str, resize: int, parameters: Shapes, outputs: Shapes, **options: Any) -> Cost:
    """What any network costs, from shapes alone.

    Args:
        title: of the network.
        resize: height and width of the images, in pixels.
        parameters: ``NAME.weight`` and ``NAME.bias`` of each convolution (out, in, height, width)
            and fully connected layer (out, in) -> shape.
        outputs: ``input`` and each layer's name, in order -> shape for one image.
        options: as for :func:`of`.
    """
    found = []
    for name, shape in outputs.items():
        weight = parameters.get(f"{name}.weight", (0,))
        kind = name.rpartition(".")[2].rstrip("0123456789")
        if weight[2:] == (1, 1):
            kind = "conv1x1"
        weights, biases = math.prod(weight), math.prod(parameters.get(f"{name}.bias", (0,)))
        # each weight is used once for each pixel of the output
        pixels = math.prod(shape[1:])
        found.append(LayerCost(name, kind, tuple(shape), weights, biases, weights * pixels))
    return Cost(title, resize, tuple(found), **options)


def _most_in_training(layers: Sequence[LayerCost]) -> int:
    """The most numbers that activations and their gradients hold at one time, for one image."""
    chain = [layer for layer in layers if layer.kind != "flatten"]
    kept = list(accumulate(layer.numbers for layer in chain))
    most = 0
    for i, layer in enumerate(chain[1:], start=1):
        # nobody asks for the gradient of the image
        before = chain[i - 1].numbers if i > 1 else 0
        if layer.parameters:
            # the gradient before the activation and after it; then the output itself is done with
            moments = [kept[i] + 2 * layer.numbers, kept[i - 1] + layer.numbers + before]
        else:
            moments = [kept[i] + layer.numbers + before]
        most = max(most, *moments)
    return most


def _alive_in_prediction(layers: Sequence[LayerCost]) -> list[int]:
    """How many numbers are alive while each layer computes, for one image.

    A layer's input and output, or its output before and after the activation; the images, which
    are there all the time, are not counted.
    """
    alive, before = [0], 0
    for layer in layers[1:]:
        own = layer.numbers
        alive.append(own + max(before, own if layer.parameters else 0) if own else 0)
        before = own or before
    return alive
