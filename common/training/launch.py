"""Start the workers of one training on this machine, and end them together."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO, NamedTuple

from common.errors import NinError
from common.system import machine
from common.system.processes import lines_of, why_it_ended
from common.system.signals import SIGNALS, handling, once

HERE = "127.0.0.1"
# in these roles MXNet serves as soon as it is imported, and then ends the process
SERVE = [sys.executable, "-c", "import nin_mxnet"]
# between two looks at whether a worker has ended
LOOK_SECONDS = 0.1
# the exit status of a command that prints one line, and the time that worker 0 has to print it
BAD_INPUT, COMPLAIN_SECONDS = 2, 10
# for a stopped worker to write its checkpoint
STOP_SECONDS = 60


class Member(NamedTuple):
    """A process that the training is to have."""

    name: str
    """``worker 0`` ..., or one that only serves the workers."""
    environment: dict[str, str]

    @property
    def works(self) -> bool:
        """Whether it is a worker."""
        return self.name.startswith("worker")


class Running(NamedTuple):
    """One that has been started."""

    member: Member
    process: "subprocess.Popen[bytes]"
    errors: IO[bytes] | None
    """What it writes to standard error; None: the user sees it."""


def members(backend: str, count: int) -> list[Member]:
    """The processes that a backend's own engine needs for so many workers."""
    ranks = range(count)
    if backend == "torch":
        place = {"MASTER_ADDR": HERE, "MASTER_PORT": str(_free_ports(1)[0])}
        every = [
            {**place, "WORLD_SIZE": str(count), "RANK": str(i), "LOCAL_RANK": str(i)} for i in ranks
        ]
    elif backend == "tf":
        cluster = {"worker": [f"{HERE}:{port}" for port in _free_ports(count)]}
        configs = [{"cluster": cluster, "task": {"type": "worker", "index": i}} for i in ranks]
        every = [{"TF_CONFIG": json.dumps(configs[i]), **_gpu(i)} for i in ranks]
    elif backend == "mxnet":
        place = {"DMLC_PS_ROOT_URI": HERE, "DMLC_PS_ROOT_PORT": str(_free_ports(1)[0])}
        place |= {"DMLC_NUM_WORKER": str(count), "DMLC_NUM_SERVER": "1"}
        every = [{**place, "DMLC_ROLE": "worker", **_gpu(i)} for i in ranks]
    else:
        raise NinError(f"`backend={backend}`: several workers train with torch, tf or mxnet only")
    found = [Member(f"worker {i}", environment) for i, environment in enumerate(every)]
    if backend == "mxnet":
        found += [Member(role, {**place, "DMLC_ROLE": role}) for role in ("scheduler", "server")]
    return found


def _gpu(number: int) -> dict[str, str]:
    """The variable by which a process sees one GPU: that of this number among those of the user."""
    name = "CUDA_VISIBLE_DEVICES"
    given = os.environ.get(name)
    return {name: str(number) if given is None else "".join(given.split(",")[number:][:1])}


def launch(backend: str, count: int, command: Sequence[str]) -> int:
    """Run a command in every worker until all have ended; a failure of one ends all.

    Worker 0 prints what the command prints; of the others one sees why they failed. The exit status
    is worker 0's, if no worker failed, or if it has printed why; NinError otherwise.
    """
    threads = str(max(1, machine.physical_cores() // count))
    common = {machine.THREADS_VARIABLE: threads, **os.environ}
    with contextlib.ExitStack() as stack:
        running: list[Running] = []
        asked: list[float] = []

        def stop(number: int, _: object) -> None:
            asked.append(time.monotonic())
            for each in running:
                if each.member.works:
                    each.process.send_signal(number)

        stack.enter_context(handling(once(stop)))
        stack.callback(_kill, running)
        for member in members(backend, count):
            errors = None
            if member.name != "worker 0":
                errors = stack.enter_context(tempfile.TemporaryFile())
            process = subprocess.Popen(
                command if member.works else SERVE,
                env={**common, **member.environment},
                stdin=subprocess.DEVNULL,
                # which worker shows the run MXNet decides when they meet
                stdout=subprocess.DEVNULL if errors and backend != "mxnet" else None,
                stderr=errors,
                # a terminal's Ctrl-C comes once, from here
                start_new_session=True,
            )
            running.append(Running(member, process, errors))
        return _wait(running, count, asked)


def _wait(running: Sequence[Running], count: int, asked: Sequence[float]) -> int:
    workers = [each.process for each in running if each.member.works]
    while True:
        # one that was asked to stop says so with its exit status
        good = {None, 0, *((128 + number) for number in SIGNALS if asked)}
        for member, process, errors in running:
            status = process.poll()
            if status not in good:
                assert status is not None
                # what worker 0 complains of it has printed, and there is nothing to add
                if status == BAD_INPUT and _complains(workers[0]):
                    return BAD_INPUT
                lines = [] if errors is None else lines_of(errors)
                # worker 0 has printed it
                why = why_it_ended(status, lines) if lines or status < 0 else "see above"
                raise NinError(f"{member.name} of {count} ended, and with it all: {why}")
        if all(process.returncode is not None for process in workers):
            return int(workers[0].returncode)
        if asked and time.monotonic() - asked[0] > STOP_SECONDS:
            raise NinError(f"the workers did not stop in {STOP_SECONDS} s and were ended")
        time.sleep(LOOK_SECONDS)


def _complains(worker: "subprocess.Popen[bytes]") -> bool:
    """Whether a worker ends for bad input too, which all of them find at about the same time."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return worker.wait(COMPLAIN_SECONDS) == BAD_INPUT
    return False


def _kill(running: Sequence[Running]) -> None:
    for each in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(each.process.pid, signal.SIGKILL)
        each.process.wait()


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind((HERE, 0))
        return [listener.getsockname()[1] for listener in listeners]
