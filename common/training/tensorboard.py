"""The writer of what TensorBoard shows, imported without a framework.

tensorboardX imports PyTorch wherever it finds it, to recognise its tensors. None is given to it,
and in a run with another framework PyTorch would only cost seconds and memory, so it is hidden from
that import unless the run has imported it itself.
"""

import sys

_hide = "torch" not in sys.modules
if _hide:
    # with None there, Python says that there is no such module
    sys.modules["torch"] = None  # type: ignore[assignment]
try:
    from tensorboardX import SummaryWriter
finally:
    if _hide:
        del sys.modules["torch"]

__all__ = ["SummaryWriter"]
