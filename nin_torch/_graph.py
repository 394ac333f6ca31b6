"""A training step on a GPU as a CUDA graph.

differs: TensorFlow and MXNet compile the step; PyTorch launches each operation by itself, and a GPU
is done with many of this network's before the next is launched.
"""

from collections.abc import Callable
from typing import Any

import torch


class CapturedStep:
    """A function of tensors on a GPU that becomes a CUDA graph.

    Inputs of another shape, as an epoch's last batch has, become a graph of their own. The first
    few calls with a shape run the function as it is, so that nothing is computed but what was
    asked for.

    Args:
        step: neither waits for the GPU nor decides by what is in a tensor; what it changes, it
            changes in place.
    """

    # run as they are before one is captured: in them PyTorch makes what it keeps
    warm_up_steps = 3

    def __init__(self, step: Callable[..., tuple[torch.Tensor, ...]]) -> None:
        self.step = step
        self.stream = torch.cuda.Stream()
        # the graphs take turns, and so need no memory of their own
        self.pool = torch.cuda.graph_pool_handle()
        self.calls: dict[tuple[torch.Size, ...], int] = {}
        self.graphs: dict[tuple[torch.Size, ...], _Graph] = {}

    def __call__(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What the function gives."""
        shapes = tuple(each.shape for each in inputs)
        if shapes not in self.graphs:
            self.calls[shapes] = self.calls.get(shapes, 0) + 1
            if self.calls[shapes] <= self.warm_up_steps:
                return self._as_it_is(inputs)
            self.graphs[shapes] = _Graph(self.step, inputs, self.stream, self.pool)
        return self.graphs[shapes].replay(inputs)

    def _as_it_is(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        # on the stream of the capture: PyTorch's gradients stay on the stream they were first on
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            outputs = self.step(*inputs)
        torch.cuda.current_stream().wait_stream(self.stream)
        return outputs


class _Graph:
    """A captured call, with the places of its inputs and outputs."""

    def __init__(
        self,
        step: Callable[..., tuple[torch.Tensor, ...]],
        inputs: tuple[torch.Tensor, ...],
        stream: torch.cuda.Stream,
        pool: Any,
    ) -> None:
        self.inputs = tuple(each.clone() for each in inputs)
        self.graph = torch.cuda.CUDAGraph()
        # it records and computes nothing
        with torch.cuda.graph(self.graph, pool, stream):
            self.outputs = step(*self.inputs)

    def replay(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        for place, given in zip(self.inputs, inputs, strict=True):
            place.copy_(given)
        self.graph.replay()
        # the next replay overwrites them
        return tuple(each.clone() for each in self.outputs)
