"""The processes of the bench's workers."""

from collections.abc import Mapping
from typing import Any

from common.backends.session import Apart, RefusedError
from common.bench.worker import NUMPY
from common.system import machine
from common.system.processes import LostError

# None of a bench's requests takes longer on a machine that is fit for it.
TIMEOUT_SECONDS = 3600


class WorkerProcess(Apart):
    """A :class:`common.bench.worker.Worker` in a process of its own.

    Args:
        interpreter: to run it.
        options: of the worker.

    Raises:
        LostError: if it does not start or its backend does not.
    """

    def __init__(self, interpreter: str, options: Mapping[str, Any]) -> None:
        # rich draws its bars, as for a person who watches: they are part of what is measured
        environment = {"FORCE_COLOR": "1", "TERM": "xterm"}
        if options["backend"] == NUMPY:  # it counts hyper-threads, and only when it is imported
            threads = options["threads"] or machine.given(machine.THREADS_VARIABLE)
            environment[machine.THREADS_VARIABLE] = str(threads or machine.physical_cores())
        super().__init__(interpreter, TIMEOUT_SECONDS, environment)
        self.options = options
        try:
            self.about = self.ask({"do": "describe"})
        except RefusedError as error:
            self.kill()
            raise LostError(str(error)) from error
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> "WorkerProcess":
        """It has started already."""
        return self

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What the worker answers; raises as :meth:`Apart.call`."""
        function = "common.bench.worker:measure"
        return dict(self.call(function, options=self.options, request=request))
