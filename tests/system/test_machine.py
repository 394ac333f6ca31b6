"""What is set in the process, and what is told of it."""

import os

import pytest

from common.system import machine


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(
    ("name", "value"),
    [("MALLOC_ARENA_MAX", "2"), ("GLIBC_TUNABLES", "glibc.malloc.mmap_max=1000")],
)
def test_what_the_environment_says_of_the_allocator_is_left_as_it_is(
    monkeypatch, keep, name, value
):
    monkeypatch.setenv(name, value)
    assert machine.set_allocator(keep) == "as the environment says"


def test_an_allocator_that_is_not_to_keep_memory_is_the_default(monkeypatch):
    # what else is tuned is no matter of the allocator
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.cpu.x86_shstk=off")
    for name in ("LD_PRELOAD", *(name for name in os.environ if name.startswith("MALLOC_"))):
        monkeypatch.delenv(name, raising=False)
    assert machine.set_allocator(keep=False) == "default"


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        ("fpu avx512f amx_bf16 amx_tile", True),
        ("fpu avx512f avx512_bf16", True),
        ("fpu avx512f avx512_vnni", False),
    ],
)
def test_a_processor_made_for_bfloat16_says_so_among_its_flags(monkeypatch, flags, has):
    monkeypatch.setattr(machine, "_read", lambda path: f"flags : {flags}\n")
    assert machine.has_bfloat16() == has


GIB = "1073741824"
TWO = "200000 100000"
GROUPS = {
    "of its own": ("0::/a/job", {"a/job/memory.max": GIB, "a/job/cpu.max": "150000 100000"}),
    "above its own": (
        "0::/a/job",
        {"a/job/memory.max": "max", "a/job/cpu.max": "max 100000", "a/memory.max": GIB,
         "a/cpu.max": TWO},
    ),
    "of the container": ("0::/", {"memory.max": GIB, "cpu.max": TWO}),
    "not shown": ("0::/../outside", {"memory.max": GIB, "cpu.max": "110000 100000"}),
    "version 1": (
        "5:cpu,cpuacct:/job\n4:memory:/job",
        {"memory/job/memory.limit_in_bytes": GIB, "cpu/job/cpu.cfs_quota_us": "200000",
         "cpu/job/cpu.cfs_period_us": "100000"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "files"), GROUPS.values(), ids=GROUPS.keys())
def test_limits_of_a_control_group_hold_wherever_it_is(monkeypatch, tmp_path, lines, files):
    process, groups = tmp_path / "process", tmp_path / "groups"
    process.mkdir()
    (process / "cgroup").write_text(lines)
    for name, content in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(content)
    monkeypatch.setattr(machine, "PROCESS", process)
    monkeypatch.setattr(machine, "CONTROL_GROUPS", groups)
    assert machine.memory_gib() == 1.0
    assert machine._container_cores() == 2
