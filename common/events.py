"""The writer of what TensorBoard shows, without a framework."""

import sys
from typing import Any


def summary_writer(directory: str, **options: Any) -> Any:
    """A ``tensorboardX.SummaryWriter``; see there for the options.

    tensorboardX imports PyTorch wherever it finds it, to recognise its tensors. None is given to
    it, and in a run with another framework PyTorch would only cost seconds and memory, so it is
    hidden from that import unless the run has imported it itself.
    """
    hide = "torch" not in sys.modules
    if hide:
        # with None there, Python says that there is no such module
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        from tensorboardX import SummaryWriter
    finally:
        if hide:
            del sys.modules["torch"]
    return SummaryWriter(directory, **options)
