"""What TensorBoard shows of a run, written by tensorboardX's lower half.

Its ``SummaryWriter`` writes in a thread of its own: when that cannot write, it ends with a
traceback, and the next epoch waits for it for ever.

tensorboardX imports PyTorch wherever it finds it, to recognise its tensors. None is given to it,
and in a run with another framework PyTorch would only cost seconds and memory, so it is hidden from
that import unless the run has imported it itself.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

_hide = "torch" not in sys.modules
if _hide:
    # with None there, Python says that there is no such module
    sys.modules["torch"] = None  # type: ignore[assignment]
try:
    from tensorboardX import summary
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event, SessionLog
finally:
    if _hide:
        del sys.modules["torch"]


class Events:
    """An event file of a run from an epoch on, from where on earlier files are passed over."""

    def __init__(self, directory: Path, epoch: int, notice: str) -> None:
        directory.mkdir(exist_ok=True)
        # a relative path may look like an address to tensorboardX, which names a file by the whole
        # second and empties one of that name
        suffix = f".{time.time_ns()}"
        self._file = EventsWriter(str(directory.resolve() / "events"), suffix)
        self._file.write_event(Event(step=epoch, session_log=SessionLog(status=SessionLog.START)))
        if notice:
            self._add(epoch, summary.text("notice", notice))

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        """Write an epoch's figures."""
        for name, value in values.items():
            self._add(epoch, summary.scalar(name, value))
        self._file.flush()

    def close(self) -> None:
        """Nothing more comes."""
        self._file.close()

    def _add(self, epoch: int, content: object) -> None:
        self._file.write_event(Event(wall_time=time.time(), step=epoch, summary=content))
