"""The examples for Slurm and Kubernetes: of the right form, and their commands are ours."""

import copy
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import commands
import jsonschema
import pytest
from commands import ROOT
from schemas import SCHEMAS, documents, kind

from common import settings
from common.backends.registry import BACKENDS
from common.settings import Settings

EXAMPLES = ROOT / "examples" / "cluster"
SLURM = EXAMPLES / "slurm.sbatch"
OBJECTS = {file.name: each for file in EXAMPLES.glob("*.yaml") for each in documents(file)}
# what a person may name freely
FREE = {"metadata", "limits", "emptyDir", "nvidia.com/gpu"}
# the schema takes any name for these, the operator takes these
REPLICAS = {"Master", "Worker"}


def check(document):
    jsonschema.validate(document, json.loads(SCHEMAS.read_text())["schemas"][kind(document)])


def containers(part):
    """Whatever in an object has a command."""
    if isinstance(part, dict):
        if "command" in part:
            yield part
        part = list(part.values())
    for inner in part if isinstance(part, list) else ():
        yield from containers(inner)


def fields(part, path=()):
    """The paths of all fields in an object whose names the schema decides."""
    if isinstance(part, dict):
        for name, inner in part.items():
            if name not in FREE | REPLICAS:
                yield (*path, name)
            if name not in FREE:
                yield from fields(inner, (*path, name))
    elif isinstance(part, list):
        for number, inner in enumerate(part):
            yield from fields(inner, (*path, number))


@pytest.mark.long
@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_for_kubernetes_is_as_its_project_publishes_it_and_a_misspelt_one_is_not(name):
    document = OBJECTS[name]
    check(document)
    spec = list(fields(document["spec"], ("spec",)))
    assert len(spec) > 20
    for *path, last in spec:
        wrong = copy.deepcopy(document)
        place = wrong
        for step in path:
            place = place[step]
        place[f"{last}x"] = place.pop(last)
        with pytest.raises(jsonschema.ValidationError):
            check(wrong)


def words_of_train():
    """Where -> options of train.py, wherever the examples have them."""
    for name, document in OBJECTS.items():
        for number, each in enumerate(containers(document)):
            words = [*each["command"], *each.get("args", ())]
            places = [i for i, word in enumerate(words) if word.endswith("scripts/train.py")]
            if places:
                yield f"{name}, {number}", words[places[0] + 1 :]
            else:
                assert words == ["python", "-c", "import nin_mxnet"]
    for backend, rest in re.findall(r"slurm\.sbatch (torch|tf|mxnet) (.*)", SLURM.read_text()):
        line = next(x for x in SLURM.read_text().splitlines() if x.startswith("train=("))
        words = re.sub(r"\$\w+|\"\$backend\"", backend, line.removeprefix("train=(")).split()
        yield f"slurm, {backend}", [word.strip('"') for word in words[1:-1]] + rest.split()


COMMANDS = dict(words_of_train())


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_the_commands_in_the_examples_are_commands_of_this_project(words):
    options = commands._script("train.py").parser().parse_args(words)
    names = {field.name for field in dataclasses.fields(Settings)}
    given = {k: v for k, v in vars(options).items() if k in names and v is not None}
    assert settings.from_preset(given.pop("preset"), **given).backend in BACKENDS
    assert str(options.resume) == "auto"
    assert options.out


def test_the_numbers_of_mxnets_processes_are_those_that_it_is_given():
    for job in OBJECTS["jobset.yaml"]["spec"]["replicatedJobs"]:
        (container,) = containers(job["template"])
        variables = {each["name"]: each["value"] for each in container["env"]}
        assert variables["DMLC_ROLE"] == job["name"]
        if job["name"] != "scheduler":
            count = str(job["template"]["spec"]["parallelism"])
            assert variables[f"DMLC_NUM_{job['name'].upper()}"] == count


def test_the_script_for_slurm_is_sound():
    checks = [["bash", "-n"], ["shellcheck"]]
    for words in checks[: 1 + bool(shutil.which("shellcheck"))]:
        done = subprocess.run([*words, SLURM], capture_output=True, text=True)
        assert (done.returncode, done.stdout + done.stderr) == (0, ""), words


# two nodes, both here; what they start is signalled as Slurm does it
SLURMS = {
    "srun": """
        [ "$1" = --kill-on-bad-exit ] && shift
        for i in 0 1; do
            SLURM_PROCID=$i "$@" & pids+=($!); echo $! >> "$HERE/tasks"
        done
        for pid in "${pids[@]}"; do wait "$pid" || status=$?; done
        exit "${status:-0}" """,
    "scancel": 'kill -TERM $(cat "$HERE/tasks")',
    "scontrol": """
        case $1 in
        show) printf '127.0.0.1\\n127.0.0.1\\n';;
        *) echo "$@" >> "$HERE/asked";;
        esac""",
}


@pytest.mark.long
def test_a_job_of_slurm_stops_in_time_asks_to_be_requeued_and_then_ends(
    backend, backend_name, tmp_path
):
    for name, text in SLURMS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    out = tmp_path / "run"
    arguments = f"{backend_name} --preset fast --data sample --limit 60 --batch-size 10 --resize 67"
    arguments += f" --epochs 3 --device cpu --out {out}"
    environment = {
        **os.environ,
        "HERE": str(tmp_path),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "1",
    }

    def start():
        return subprocess.Popen(
            ["bash", SLURM, *arguments.split()],
            cwd=ROOT, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    job, seen = start(), []
    try:
        for line in job.stdout:
            seen.append(line)
            if line.startswith("epoch 1:"):
                os.kill(job.pid, signal.SIGTERM)  # to the script alone, as #SBATCH --signal=B: does
        assert job.wait(60) != 0, seen
        assert (tmp_path / "asked").read_text() == f"requeue {os.getpid()}\n"
        (tmp_path / "tasks").unlink()
        job = start()
        again, _ = job.communicate(timeout=200)
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
    assert job.returncode == 0, again
    assert json.loads((out / "config.json").read_text())["workers"] == 2
    assert json.loads((out / "result.json").read_text())["epochs"] == 3
    assert "requeue" not in again
