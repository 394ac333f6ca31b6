"""The machine and the process: threads, memory and the C library's allocator, versions."""

import contextlib
import ctypes
import importlib.metadata
import math
import os
import platform
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

PROJECT_DIRECTORY = Path(__file__).resolve().parents[2]
THREADS_VARIABLE = "OMP_NUM_THREADS"
CONTROL_GROUPS = Path("/sys/fs/cgroup")
PROCESS = Path("/proc/self")
# Between two looks at the memory of a process and its children.
WATCH_SECONDS = 0.2


def physical_cores() -> int:
    """How many cores this process may use, hyper-threads not counted, at least 1."""
    cores = set()
    # of these two, macOS has the second only
    affinity = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    for processor in affinity(0):
        siblings = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
        # where the system does not list them, a processor counts as a core
        cores.add(_read(siblings) or str(processor))
    return max(1, min(len(cores), _container_cores() or len(cores)))


def memory_gib() -> float:
    """Memory that this process may use, in GiB."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for group in _control_groups("memory"):
        for file in ("memory.max", "memory.limit_in_bytes"):
            text = _read(group / file)
            if text.isdecimal():
                limits.append(int(text))
    return round(min(limits) / 2**30, 1)


def has_bfloat16() -> bool:
    """Whether the processor has instructions for products in bfloat16 (Intel's AMX, AVX-512)."""
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(_read(Path("/proc/cpuinfo")).split())


def peak_memory() -> int:
    """The most memory that this process has had resident, in bytes; 0 where it is not known."""
    return _status("self", "status", ("VmHWM",))


@contextlib.contextmanager
def family_memory() -> Iterator[list[int]]:
    """Bytes that this process and its children have together, at every look while it is entered.

    What they share counts once. The last entry is the peak of this process alone, which has what
    came and went between two looks.
    """
    seen: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        over = False
        while not over:
            over = ended.wait(WATCH_SECONDS)
            tasks = Path("/proc/self/task").glob("*/children")
            children = [child for task in tasks for child in _read(task).split()]
            private = ("Private_Clean", "Private_Dirty")
            of_children = (_status(child, "smaps_rollup", private) for child in children)
            seen.append(_status("self", "status", ("VmRSS",)) + sum(of_children))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()
        seen.append(peak_memory())


def threads_for(wish: int) -> int:
    """How many CPU threads to compute with.

    A wish of 0 stands for the user's ``OMP_NUM_THREADS``, or else one for each physical core.
    """
    variable = os.environ.get(THREADS_VARIABLE, "")
    of_user = int(variable) if re.fullmatch(r"\d{1,6}", variable, re.ASCII) else 0
    return wish or of_user or physical_cores()


@contextlib.contextmanager
def prepared(threads: int = 0) -> Iterator[int]:
    """Put what :func:`threads_for` gives into the environment while a backend is imported.

    Inside another ``prepared``, 0 stands for as many as that one has.
    """
    before, number = os.environ.get(THREADS_VARIABLE), threads_for(threads)
    # MXNet reads this once, when it is imported, and by default takes half of the processors
    os.environ[THREADS_VARIABLE] = str(number)
    try:
        yield number
    finally:
        if before is None:
            del os.environ[THREADS_VARIABLE]
        else:
            os.environ[THREADS_VARIABLE] = before


def set_allocator(keep: bool) -> str:
    """Let glibc keep freed memory in the process, if so wished; what its allocator does now.

    By default it returns large buffers to the kernel as soon as they are free, and the page faults
    of the next step cost PyTorch up to a third of its speed. What the environment sets is left as
    it is.
    """
    if (
        any(name.startswith("MALLOC_") for name in os.environ)
        or "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "")
        or "LD_PRELOAD" in os.environ
    ):
        return "as the environment says"
    if not keep or platform.libc_ver()[0] != "glibc":
        return "default"
    library = ctypes.CDLL(None)
    # numbers of M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD in malloc.h
    settings = ((-4, 0), (-1, 2**31 - 1), (-2, 2**28))
    succeeded = [library.mallopt(option, value) for option, value in settings]
    return "glibc, keeps freed memory" if all(succeeded) else "default"


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of the installed ones among the packages."""
    found = {"python": platform.python_version()}
    for package in ("numpy", *packages):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def describe() -> dict[str, str | int | float]:
    """Processor, cores, memory and system, for records and reports."""
    named = re.findall(r"model name\s*:\s*(.*)", _read(Path("/proc/cpuinfo")))
    return {
        "processor": named[0] if named else platform.processor() or platform.machine(),
        "cores": physical_cores(),
        "memory_gib": memory_gib(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "executable": sys.executable,
    }


def git_commit() -> str | None:
    """The project's commit, with ``+changes`` if the files differ from it; None without git."""
    try:
        if Path(_git("rev-parse", "--show-toplevel")).resolve() != PROJECT_DIRECTORY:
            return None  # a copy inside somebody else's repository
        commit = _git("rev-parse", "HEAD")
        return commit + ("+changes" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    # a process killed in `git status` would leave a lock in the repository
    command = ["git", "--no-optional-locks", "-C", str(PROJECT_DIRECTORY), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


def _container_cores() -> int | None:
    """Whole cores that this process's control groups (a container, a job) allow, or None."""
    limits = []
    for group in _control_groups("cpu"):
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if not quota:  # the older layout
            quota, period = (_read(group / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota.isdecimal() and period.isdecimal() and int(period):
            limits.append(max(1, math.ceil(int(quota) / int(period))))
    return min(limits, default=None)


def _control_groups(controller: str) -> Iterator[Path]:
    """The directories of this process's control groups, from its own up to the root.

    The limits of all of them hold. A container may see its own as the root.
    """
    for line in _read(PROCESS / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        # without controllers it is version 2, which has one tree for all
        root = CONTROL_GROUPS / controller if controllers else CONTROL_GROUPS
        group = root / path.strip("/")
        yield group
        while group != root:
            group = group.parent
            yield group


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _status(process: str, file: str, names: tuple[str, ...]) -> int:
    """The sum of some entries, in bytes, of a file with a process's memory in kB."""
    entries = (line.split(":") for line in _read(Path("/proc") / process / file).splitlines())
    return sum(int(entry[1].split()[0]) * 1024 for entry in entries if entry[0] in names)
