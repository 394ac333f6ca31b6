#!/usr/bin/env python3
"""Compare equal networks again and again, each time in another way: none may raise an alarm.

    python tests/comparison/sweep.py --count 500 --out sweep.jsonl
    python tests/comparison/sweep.py --count 20 --seconds 30 --seed 20261126

Each comparison draws a pair of backends (the installed ones and tests/numpy_nin.py), the network
(every other time the chapter's, else one of the variants with a name), the size of the images (67
to 224; of a variant, from the smallest up), the batch (1 to 32 images), the images, one or two
threads, and the weights: the comparison's own, random ones (Xavier, no biases), or the chapter's
trained ones (--trained FILE). Comparison number N of a seed is always the same one: --only N
repeats it and prints it whole. With --out the results are lines of JSON in a file, and what is in
it already is not done again.

exit status: 0 no alarm, 1 some comparison deviates, 2 something could not run.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from common.backends import registry, session
from common.comparison import run
from common.comparison.files import MATERIAL, learning_rate
from common.comparison.job import Job, below
from common.comparison.levels import compare
from common.comparison.material import make_material
from common.data import fashion_mnist
from common.errors import NinError
from common.files.arrays import load_arrays, save_arrays
from common.network import architecture, cost
from common.network.description import NETWORKS, parse

NUMPY = Path(__file__).parents[1] / "numpy_nin.py"
# A process is not asked more often, so that what a framework keeps of old networks does not add up.
CALLS = 30
# Of a batch's forward pass, mostly less: five images of 67x67 with the chapter's network.
MULTIPLY_ADDS = 270e6


def drawn(
    seed: int, number: int, backends: list[str], trained: list[str], networks: list[str]
) -> dict:
    """What a comparison compares."""
    rng = np.random.default_rng([seed, number])
    network = "chapter" if rng.uniform() < 0.5 else str(rng.choice(networks))
    smallest = architecture.smallest_input(parse(network))
    largest = 224 if network == "chapter" else max(2 * smallest, 64)
    # half of the chapter's sizes are below 106
    size = smallest + int((largest + 1 - smallest) * rng.uniform() ** 2)
    # the more an image costs, the fewer of them, but for some
    work = cost.of(cost.NIN if network == "chapter" else network, size).multiply_adds
    most = MULTIPLY_ADDS / rng.uniform() / work
    batch = max(1, min(round(2 ** rng.uniform(0, 5)), int(most)))
    return {
        "number": number,
        "pair": sorted(rng.choice(backends, 2, replace=False).tolist()),
        "network": network,
        "weights": str(rng.choice(["own", "own", "xavier", *(trained * (network == "chapter"))])),
        "threads": int(rng.integers(1, 3)),
        "resize": size,
        "batch_size": batch,
        "seed": int(rng.integers(2**31)),
    }


def given_weights(kind: str, job: Job) -> dict[str, np.ndarray]:
    """Weights by canonical name; none for the comparison's own."""
    if kind == "own":
        return {}
    if kind != "xavier":
        return load_arrays(Path(kind))[0]
    rng, weights = np.random.default_rng(job.seed), {}
    shapes = architecture.parameter_shapes(network=job.description, size=job.resize)
    for name, shape in shapes.items():
        window = int(np.prod(shape[2:]))
        limit = np.sqrt(6 / (sum(shape[:2]) * window)) if name.endswith("weight") else 0
        weights[name] = rng.uniform(-limit, limit, shape)
    return weights


class Processes:
    """A process for each backend and number of threads, kept for many comparisons."""

    def __init__(self) -> None:
        self.running: dict[tuple[str, int], tuple[session.Apart, int]] = {}

    def call(self, backend: str, job: Job, directory: str) -> list:
        """The recordings of a backend."""
        key = (backend, job.threads)
        if key not in self.running:
            self.running[key] = (session.Apart(sys.executable, 3600, run.EXACT), 0)
        apart, calls = self.running[key]
        spec = str(NUMPY) if backend == "numpy" else backend
        found = apart.call(
            "common.comparison.worker:work",
            directory=directory, backend=spec, job=dataclasses.asdict(job),
        )  # fmt: skip
        self.running[key] = (apart, calls + 1)
        if calls + 1 >= CALLS:
            self.running.pop(key)[0].close()
        return run.read(found, backend)

    def close(self) -> None:
        """End all."""
        for apart, _ in self.running.values():
            apart.kill()


def one(choice: dict, processes: Processes, dataset, steps: int) -> tuple[dict, object]:
    """Do a comparison; what is kept of it, and all of it."""
    started = time.monotonic()
    job = Job(
        steps=steps,
        **{k: choice[k] for k in ("network", "resize", "batch_size", "seed", "threads")},
    )
    material = make_material(job, dataset)
    for name, array in given_weights(choice["weights"], job).items():
        material[f"weights/{name}"] = array.astype(np.float32)
    if choice["weights"] != "own":  # as of a file
        with contextlib.suppress(NinError):  # no framework is here
            framework = registry.load(registry.first_installed())
            weights = below("weights", material)
            job = dataclasses.replace(job, lr=learning_rate(framework, weights, material, job))
    with tempfile.TemporaryDirectory(prefix="nin-sweep-") as directory:
        save_arrays(Path(directory) / MATERIAL, material, {})
        recordings = [
            recording
            for backend in choice["pair"]
            for recording in processes.call(backend, job, directory)
        ]
    report = compare(recordings, job, below("weights", material))
    # the largest part of what is allowed that was used up, in each precision and level
    used: dict[str, float] = {}
    for level in report.levels:
        for table in level.tables:
            for value in (v for row in table.rows for v in row.values.values()):
                if table.dtype and value["relative"] is not None:
                    name = f"{table.dtype} {level.name}"
                    used[name] = max(used.get(name, 0.0), value["relative"] / value["limit"])
    kept = {
        **choice,
        "seconds": round(time.monotonic() - started, 1),
        "status": {level.name: level.status for level in report.levels},
        "verdict": report.verdict,
        "notes": [n for level in report.levels for n in level.notes if "rounding" in n],
        "used": {name: float(f"{share:.2g}") for name, share in used.items()},
    }
    return kept, report


def totals(results: list[dict]) -> str:
    """A line about all comparisons so far."""
    alarms = [r["number"] for r in results if "deviate" in r["status"].values()]
    failed = [r["number"] for r in results if "failed" in r["status"].values()]
    used: dict[str, float] = {}
    for result in results:
        for name, share in result["used"].items():
            used[name] = max(used.get(name, 0.0), share)
    shares = ", ".join(f"{name} {share:.1g}" for name, share in used.items())
    networks = Counter(result["network"] for result in results)
    return (
        f"{len(results)} comparisons, {len(alarms)} alarms {alarms or ''}, {len(failed)} failed "
        f"{failed or ''}; largest part of what is allowed: {shares}\n"
        f"networks: {', '.join(f'{name} {count}' for name, count in networks.most_common())}"
    )


def main() -> int:
    """Sweep; returns the exit status."""
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--count", type=int, default=500, help="number of comparisons (500)")
    p.add_argument("--seed", type=int, default=0, help="decides all of them (0)")
    p.add_argument("--only", type=int, help="do this comparison alone")
    p.add_argument("--seconds", type=float, default=np.inf, help="begin none after so long")
    p.add_argument("--steps", type=int, default=8, help="of training (8)")
    p.add_argument("--trained", nargs="*", default=[], help="model.safetensors of trained networks")
    p.add_argument("--backends", default="", help="names, with commas; numpy is one (all)")
    p.add_argument("--network", nargs="*", help="of the variants, only these (all with a name)")
    p.add_argument("--out", type=Path, help="file for the results")
    options = p.parse_args()

    have = [n for n, (_, module) in registry.BACKENDS.items() if importlib.util.find_spec(module)]
    backends = [name for name in options.backends.split(",") if name] or [*have, "numpy"]
    trained = [str(Path(file).resolve()) for file in options.trained]
    networks = options.network or [name for name in NETWORKS if name != "chapter"]
    results = []
    if options.out and options.out.exists():
        results = [json.loads(line) for line in options.out.read_text().splitlines()]
    done = {result["number"] for result in results}
    numbers = range(options.count) if options.only is None else [options.only]
    dataset, processes, started = fashion_mnist.load("sample"), Processes(), time.monotonic()
    print(f"seed {options.seed}, backends {', '.join(backends)}", flush=True)
    with contextlib.closing(processes):
        for number in numbers:
            if number in done or time.monotonic() - started > options.seconds:
                continue
            choice = drawn(options.seed, number, backends, trained, networks)
            result, report = one(choice, processes, dataset, options.steps)
            results.append(result)
            if options.out:
                with options.out.open("a") as file:
                    file.write(json.dumps(result) + "\n")
            if options.only is not None:
                report.show()
            what = ", ".join(f"{key} {value}" for key, value in choice.items() if key != "number")
            print(f"{number}: {what}: {result['verdict']} ({result['seconds']} s)", flush=True)
            if len(results) % 10 == 0:
                print(totals(results), flush=True)
    print(totals(results))
    statuses = {status for result in results for status in result["status"].values()}
    return 1 if "deviate" in statuses else 2 if "failed" in statuses else 0


if __name__ == "__main__":
    sys.exit(main())
