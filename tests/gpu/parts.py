"""What each part of ``run.py`` does, in a process of its own."""

import contextlib
import copy
import functools
import gc
import importlib.util
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import torch
from run import ROOT, write

import nin_torch
from common import api
from common.backends import session
from common.comparison import measures, worker
from common.comparison.job import Job, below
from common.comparison.material import make_material
from common.data import fashion_mnist
from common.files.arrays import load_arrays
from common.settings import Settings, from_preset
from common.training import fit, records
from common.training import run as training_run
from common.training.run import Watcher
from nin_torch import train as torch_train

# Float32 convolutions of NVIDIA's library and of the CPU's sum in another order.
FLOAT32 = 1e-4
FLOAT64 = 1e-9


class Part:
    """What a part has found so far, in a file that is written anew with each find."""

    def __init__(self, device, file, seconds):
        self.device = device
        self.on_gpu = device == "gpu"
        self.file = file
        self.started = time.monotonic()
        self.ends = self.started + seconds
        self.found = {"headline": "", "checks": [], "values": {}}

    @property
    def spent(self):
        return time.monotonic() - self.started

    @property
    def left(self):
        return self.ends - time.monotonic()

    def value(self, name, value):
        self.found["values"][name] = value
        write(self.file, self.found)
        return value

    def check(self, name, holds, value=None):
        """Note whether something holds; None: it could not be asked here."""
        holds = None if holds is None else bool(holds)
        self.found["checks"].append({"name": name, "holds": holds, "value": value})
        write(self.file, self.found)

    def headline(self, text):
        self.found["headline"] = text
        write(self.file, self.found)

    def failed(self, error):
        self.found["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        self.found["traceback"] = traceback.format_exc()[-3000:]
        write(self.file, self.found)

    @contextlib.contextmanager
    def apart(self, name):
        """Something whose failure does not keep the rest of the part from running."""
        try:
            yield
        except Exception as error:
            self.check(name, False, f"{type(error).__name__}: {' '.join(str(error).split())[:500]}")
            self.value(f"{name}: traceback", traceback.format_exc()[-3000:])

    def size(self, large, small):
        """A size for the GPU, and one to try things on a CPU."""
        return large if self.on_gpu else small

    @functools.cached_property
    def sample(self):
        return fashion_mnist.load("sample").limit(self.size(6000, 400))

    def run(self, preset="fast", dataset=None, **changes):
        """A run that has not begun, always from the same weights."""
        changes = {"resize": 68, "batch_size": self.size(128, 4), **changes}
        settings = from_preset(preset, backend="torch", device=self.device, **changes)
        return fit.make(session.start(settings), settings, dataset or self.sample)

    def wait(self):
        if self.on_gpu:
            torch.cuda.synchronize()


def run(name, device, file, seconds):
    """Do a part; returns the exit status."""
    part = Part(device, file, seconds)
    for package in ("tensorboardX", "pooch"):
        if importlib.util.find_spec(package) is None:
            part.value(f"{package} is missing", "done without it")
    if part.on_gpu and not torch.cuda.is_available():
        part.failed(RuntimeError("PyTorch sees no GPU"))
        return 1
    try:
        globals()[name](part)
    except Exception as error:
        part.failed(error)
        traceback.print_exc()
        return 1
    return 0


class tf32:  # noqa: N801
    """Convolutions and products in TF32, or not."""

    def __init__(self, on):
        self.on = on

    def __enter__(self):
        self.before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = self.on

    def __exit__(self, *_):
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = self.before


def relative(a, b):
    """The largest difference of two arrays, relative to the largest value."""
    return measures.largest_difference(a, b).relative


def same(a, b):
    """Whether all arrays of two states are equal, bit for bit."""
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def furthest(a, b):
    """The largest relative difference of the arrays of two states."""
    return max(relative(a[name], b[name]) for name in a)


# ------------------------------------------------------------------ smoke


def smoke(part):
    part.value(
        "versions",
        {
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "numpy": np.__version__,
        },
    )
    part.value(
        "torch's defaults",
        {
            "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
            "cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "cudnn.benchmark": torch.backends.cudnn.benchmark,
            "cudnn.deterministic": torch.backends.cudnn.deterministic,
        },
    )
    if part.on_gpu:
        properties = torch.cuda.get_device_properties(0)
        part.value(
            "gpu",
            {
                "name": properties.name,
                "gib": round(properties.total_memory / 2**30, 1),
                "multiprocessors": properties.multi_processor_count,
                "capability": f"{properties.major}.{properties.minor}",
            },
        )
        part.headline(f"{properties.name}, torch {torch.__version__}")

    started = time.monotonic()
    run = part.run()
    indices = np.arange(run.settings.batch_size)
    seconds = []
    for step in range(part.size(60, 6)):
        began = time.monotonic()
        run.trainer.train_batch(indices, 1e-3, step)
        part.wait()
        seconds.append(round(time.monotonic() - began, 4))
    losses, correct = run.trainer.take_metrics()
    part.value("seconds until the first steps were done", round(time.monotonic() - started, 2))
    # the fourth captures the graph
    part.value("seconds of steps 1 to 6, and the median", [*seconds[:6], float(np.median(seconds))])
    part.value("precision of fast here", run.settings.precision)
    part.value("losses, first and last", [losses[0], losses[-1]])
    part.check("the losses are finite and fall", losses[-1] < losses[0])
    part.check("as many correct answers as the batch has at most", max(correct) <= len(indices))

    images = part.sample.test_images[:64]
    weights = nin_torch.get_weights(run.net)
    logits = {}
    for name, precision, on in (
        ("float32", "float32", False),
        ("tf32", "float32", True),
        ("bfloat16", "bfloat16", False),
        ("float64", "float64", False),
    ):
        with tf32(on):
            logits[name] = predictor(part.device, precision, 68, weights).logits(images)
    for name, limit in (("float32", FLOAT32), ("float64", FLOAT64), ("tf32", None)):
        precision = name.replace("tf32", "float32")
        on_cpu = predictor("cpu", precision, 68, weights).logits(images)
        found = relative(logits[name], on_cpu)
        if limit is None:
            part.value(f"logits in {name} beside the CPU's float32", found)
        else:
            part.check(f"logits of GPU and CPU agree in {name}", found <= limit, found)
    found = relative(logits["bfloat16"], logits["float64"])
    part.check("logits in bfloat16 are near those in float64", found < 0.1, found)


def predictor(device, precision, size, weights):
    net = nin_torch.nin()
    settings = Settings(device=device, precision=precision, resize=size)
    made = nin_torch.Predictor(net, settings)
    nin_torch.set_weights(net, weights)
    return made


# ------------------------------------------------------------------ step


def step(part):
    large, odd = part.size(128, 4), part.size(96, 3)
    # the odd ones become a graph too, at their fourth
    lengths = part.size([large, large, large, large, large, odd] * 6, [large, large, odd])

    def follow(kind, between=lambda trainer, number: None, seed=0, **changes):
        """Train; kind: graph, plain, or number: plain, the learning rate no tensor."""
        trainer = part.run(seed=seed, **changes).trainer
        if kind != "graph":
            trainer._train = trainer._step
            trainer.captured = trainer.captured and kind == "plain"
        order = np.random.default_rng(0).permutation(len(part.sample.train_images))
        starts = itertools.accumulate(lengths, initial=0)
        for number, (length, start) in enumerate(zip(lengths, starts, strict=False)):
            batch = order[start % (len(order) - large) :][:length].copy()
            trainer.train_batch(batch, 1e-3 * (1 + number % 3) / 3, number)
            batch[:] = 0  # the memory may be used again
            between(trainer, number)
        losses, correct = trainer.take_metrics()
        return trainer, {"losses": losses, "correct": correct}, nin_torch.get_weights(trainer.net)

    kinds = {
        "sgd": {"optimizer": "sgd", "weight_decay": 0.0},
        "sgd, momentum": {"optimizer": "sgd", "momentum": 0.9},
        "adamw": {"optimizer": "adamw"},
        "muon": {"optimizer": "muon", "weight_decay": 0.01},
    }
    for (optimizer, changes), precision in itertools.product(
        kinds.items(), ("float32", "bfloat16")
    ):
        for what, more in (("", {}), (", views", {"shift": 1, "flip": True})):
            for dropout in (0.0, 0.5):
                name = f"{optimizer}, {precision}, dropout {dropout}{what}"
                with part.apart(name):
                    all_of_it = {**changes, **more, "precision": precision, "dropout": dropout}
                    trainer, losses, weights = follow("graph", **all_of_it)
                    _, losses_too, weights_too = follow("plain", **all_of_it)
                    part.check(
                        f"graph and plain step are equal bit for bit: {name}",
                        same(losses, losses_too) and same(weights, weights_too),
                        [furthest(losses, losses_too), furthest(weights, weights_too)],
                    )
                    graphs = len(trainer._train.graphs) if trainer.captured else None
                    if not dropout and not what:
                        part.check(
                            f"both lengths of batch became a graph: {name}",
                            None if not part.on_gpu else graphs == 2,
                            graphs,
                        )
                        _, losses_too, weights_too = follow("number", **all_of_it)
                        part.value(
                            f"learning rate as a tensor beside a number: {name}",
                            [furthest(losses, losses_too), furthest(weights, weights_too)],
                        )

    base = {**kinds["adamw"], "precision": "float32", "dropout": 0.5, "shift": 1, "flip": True}
    with part.apart("seeds"):
        _, losses, weights = follow("graph", **base)
        _, losses_too, weights_too = follow("graph", **base)
        part.check(
            "two trainings with the same seed are equal bit for bit",
            same(losses, losses_too) and same(weights, weights_too),
            furthest(weights, weights_too),
        )
        _, losses_too, _ = follow("graph", seed=1, **base)
        part.check("another seed: other losses", losses["losses"][0] != losses_too["losses"][0])

    def look(trainer, number):
        if number % 5 == 1:
            images, labels = part.sample.train_images[:16], part.sample.train_labels[:16]
            trainer.logits(images)
            trainer.gradients(images, labels)
            trainer.activations(images)
            trainer.state()

    with part.apart("looks"):
        _, losses, weights = follow("graph", **base)
        _, losses_too, weights_too = follow("graph", between=look, **base)
        part.check(
            "predictions, gradients and states taken between steps change nothing",
            same(losses, losses_too) and same(weights, weights_too),
            furthest(weights, weights_too),
        )

    def restore(trainer, number):
        if number in (1, 7, 20):
            state = trainer.state()
            trainer.train_batch(np.arange(large), 0.1, 0)
            trainer.take_metrics()
            trainer.load_state(state)

    with part.apart("restored"):
        _, _, weights_too = follow("graph", between=restore, **base)
        part.check(
            "a state that is taken up again goes on bit for bit",
            same(weights, weights_too),
            furthest(weights, weights_too),
        )

    for precision in ("float32", "bfloat16"):
        with part.apart(f"masks, {precision}"):
            masks(part, precision)
    with part.apart("learning rate"):
        learning_rates(part)
    if part.on_gpu:
        with part.apart("memory"):
            memory(part)


def masks(part, precision):
    """With a learning rate of 0 the loss of a batch depends on its dropout mask alone."""
    plain = {"optimizer": "sgd", "precision": precision}
    trainer = part.run(**plain, dropout=0.5).trainer
    batch, steps = np.arange(part.size(128, 4)), part.size(12, 4)
    losses = []
    for number in [*range(steps), *range(steps)]:
        trainer.train_batch(batch, 0.0, number)
    losses, _ = trainer.take_metrics()
    first, again = losses[:steps], losses[steps:]
    different = len(set(first))
    part.check(
        f"dropout masks differ from step to step, {precision}", different == steps, different
    )
    # the first three of them ran without a graph, and all of these in one
    part.check(f"a step's number decides its mask, {precision}", np.array_equal(first, again))
    other = part.run(**plain, dropout=0.5, seed=1).trainer
    nin_torch.set_weights(other.net, nin_torch.get_weights(trainer.net))
    for number in range(steps):
        other.train_batch(batch, 0.0, number)
    others, _ = other.take_metrics()
    part.check(f"another seed: other masks, {precision}", not set(first) & set(others))
    none = part.run(**plain, dropout=0.0).trainer
    for number in range(steps):
        none.train_batch(batch, 0.0, number)
    losses, _ = none.take_metrics()
    part.check(f"without dropout all steps are the same, {precision}", len(set(losses)) == 1)


def learning_rates(part):
    """What plain SGD changes is proportional to the learning rate, in a graph too."""
    trainer = part.run(optimizer="sgd", weight_decay=0.0, precision="float32", dropout=0.0).trainer
    batch = np.arange(part.size(128, 4))
    start = nin_torch.get_weights(trainer.net)

    def change(rate):
        nin_torch.set_weights(trainer.net, start)
        trainer.train_batch(batch, rate, 0)
        weights = nin_torch.get_weights(trainer.net)
        return {name: weights[name].astype(np.float64) - start[name] for name in start}

    for _ in range(4):  # captured in the last of them
        change(1e-2)
    once, twice, none = change(0.125), change(0.25), change(0.0)
    part.check("a learning rate of 0 changes nothing", not any(d.any() for d in none.values()))
    name = max(once, key=lambda name: np.abs(once[name]).max())
    found = relative(2 * once[name], twice[name])
    part.check("twice the learning rate changes twice as much", found < 1e-4, found)


def memory(part):
    trainer = part.run().trainer
    seen = []
    for number in range(300):
        trainer.train_batch(np.arange(128 if number % 10 else 96), 1e-4, number)
        if number % 100 == 99:
            trainer.take_metrics()
            seen.append(torch.cuda.memory_allocated())
    part.check("300 steps take no more memory than 100", seen[-1] <= seen[0], seen)


# ------------------------------------------------------------------ resume


class StopAt(Watcher):
    """Asks for a stop after a step of an epoch, both from 0."""

    def __init__(self, epoch, step):
        self.at = epoch, step

    def step(self, run):
        if (run.progress.epoch, run.progress.step) == self.at:
            run.stop.signal = signal.SIGINT


def resume(part):
    training_run.METRICS_SECONDS = 0.0  # look after every step
    directory = Path(tempfile.mkdtemp())
    common = {
        "device": part.device,
        "epochs": 3,
        "limit": part.size(3000, 60),
        "batch_size": part.size(128, 16),
    }
    # its second at the end of a run would be half of this part
    records._draw = lambda _: None
    cases = {
        "fast": {"preset": "fast"},
        "fast in float32": {"preset": "fast", "precision": "float32"},
        "best": {"preset": "best"},
        "sgd with momentum": {"preset": "fast", "optimizer": "sgd", "momentum": 0.9, "lr": 0.01},
        "book": {"preset": "book", "limit": part.size(600, 60), "resize": part.size(224, 67)},
    }
    for name, case in list(cases.items())[: part.size(5, 1)]:
        with part.apart(name):
            changes = {**common, **case}
            place = directory / name.replace(" ", "-")

            def train(where, watchers=(), changes=changes, place=place):
                out = place / where
                return api.fit("torch", "sample", out=out, watchers=watchers, **changes), out

            whole, first = train("whole")
            _, second = train("again")
            part.check(
                f"two runs are equal bit for bit: {name}",
                same(weights_in(first), weights_in(second)) and rows(first) == rows(second),
                furthest(weights_in(first), weights_in(second)),
            )
            part.value(f"test accuracy: {name}", whole.test_accuracy)
            for epoch, number in ((0, 1), (0, 3), (1, 2), (2, 4)) if name == "fast" else ((1, 2),):
                where = f"stopped-{epoch}-{number}"
                run, out = train(where, [StopAt(epoch, number)])
                stopped = not run.complete
                resumed = api.resume(out, watchers=[])
                equal = same(weights_in(first), weights_in(out)) and rows(first) == rows(out)
                part.check(
                    f"stopped in epoch {epoch + 1} after {number} steps, and resumed: {name}",
                    stopped and resumed.complete and equal,
                    [furthest(weights_in(first), weights_in(out)), resumed.notes],
                )
    with part.apart("resumed by another process"):
        resumed_apart(part, directory)


def resumed_apart(part, directory):
    """scripts/train.py, ended by SIGTERM and resumed, beside the same run undisturbed."""
    if importlib.util.find_spec("tensorboardX") is None:
        part.check("a run that is resumed by another process", None, "tensorboardX is missing")
        return
    settings = {"epochs": part.size(120, 4), "limit": part.size(2000, 200), "precision": "float32"}
    settings["batch_size"] = part.size(128, 16)
    whole, out = directory / "whole", directory / "apart"
    api.fit("torch", "sample", "fast", out=whole, watchers=[], device=part.device, **settings)
    arguments = ["--preset", "fast", "--data", "sample", "--device", part.device]
    for name, value in settings.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    process = subprocess.Popen(command("train.py", *arguments, "--out", str(out)))
    metrics = out / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    status = process.wait()
    if status == 0:
        part.check("a run that is resumed by another process", None, "complete before the signal")
        return
    part.value("exit status of the run that got SIGTERM", status)
    done = ran(command("train.py", "--resume", str(out)))
    equal = same(weights_in(whole), weights_in(out)) and rows(whole) == rows(out)
    part.check(
        "a run that is resumed by another process ends bit for bit as undisturbed",
        done.returncode == 0 and equal,
        [furthest(weights_in(whole), weights_in(out)), done.stderr[-500:]],
    )


def weights_in(directory):
    return load_arrays(directory / "model.safetensors")[0]


def rows(directory):
    """The lines of ``metrics.jsonl`` without the times."""
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [
        {
            key: value
            for key, value in json.loads(each).items()
            if not key.endswith("seconds") and key != "checksum"
        }
        for each in lines
    ]


def command(script, *arguments):
    return [sys.executable, str(ROOT / "scripts" / script), *arguments]


def ran(arguments, **environment):
    return subprocess.run(
        arguments, capture_output=True, text=True, env={**os.environ, **environment}
    )


# ------------------------------------------------------------------ parity


def parity(part):
    """The GPU beside the CPU, each precision beside the CPU's float64, level by level."""
    sample = fashion_mnist.load("sample")
    for size in part.size((99, 224), (67,)):
        job = Job(
            levels=("activations",) if size == 224 else ("activations", "gradients", "training"),
            resize=size,
            batch_size=part.size(4, 2),
            steps=part.size(20, 8),
            dtype="float64",
        )
        if size == 224:  # weights of the other kind take NumPy minutes there
            net = nin_torch.nin()
            nin_torch.initialize(net, "he", 0)
            material = {"images": sample.train_images[:16], "labels": sample.train_labels[:16]}
            material |= {f"weights/{k}": v for k, v in nin_torch.get_weights(net).items()}
        else:
            material = make_material(job, sample)
        part.value(f"{size}x{size}: seconds until the weights were drawn", round(part.spent, 1))
        judge = record(job, material, "cpu", "float64")
        weights = below("weights", material)
        for name, device, precision, on, limit in (
            ("CPU float32", "cpu", "float32", False, FLOAT32),
            ("GPU float64", part.device, "float64", False, FLOAT64),
            ("GPU float32", part.device, "float32", False, FLOAT32),
            ("GPU float32 with TF32", part.device, "float32", True, None),
            ("GPU bfloat16", part.device, "bfloat16", False, None),
        ):
            name = f"{size}x{size}: {name} beside CPU float64"
            with part.apart(name), tf32(on):
                other = record(job, material, device, precision)
                found = apart_by_level(judge, other, weights)
                part.value(name, found)
                if limit is not None:
                    # rounding that decides a ReLU spreads through a training
                    near = all(
                        found.get(level, 0) <= limit for level in ("activations", "gradients")
                    )
                    part.check(name, near and found.get("losses", 0) <= 10 * limit, found)
    beside_numpy(part)


def record(job, material, device, precision):
    """Level/name -> array, as ``scripts/compare.py`` records them."""
    dtype = "float64" if precision == "float64" else "float32"
    job = copy.copy(job)
    object.__setattr__(job, "device", device)
    object.__setattr__(job, "dtype", dtype)
    recorder = worker._Recorder(f"{device}-{precision}", nin_torch, job, material)
    if precision == "bfloat16":
        recorder._make = functools.partial(recorder._make, precision="bfloat16")
    for level in job.levels:
        getattr(recorder, level)()
    return recorder.recording.arrays


def apart_by_level(judge, other, weights):
    """The largest relative difference of each level."""
    found = {}
    for name, array in judge.items():
        level, _, what = name.partition("/")
        if what == "losses":
            level, difference = what, float(np.max(np.abs(other[name] / array - 1)))
        elif level == "training":
            moved = [each[name].astype(np.float64) - weights[what] for each in (judge, other)]
            level, difference = "updates", measures.norm_difference(*moved).relative
        elif level == "gradients":
            difference = measures.norm_difference(array, other[name]).relative
        else:
            difference = relative(array, other[name])
        found[level] = max(found.get(level, 0.0), difference)
    return found


def beside_numpy(part):
    """scripts/compare.py, as a person runs it, beside the network in plain NumPy."""
    file = Path(tempfile.mkdtemp()) / "compare.json"
    arguments = ["--backends", f"torch,{ROOT / 'tests' / 'numpy_nin.py'}", "--dtype", "float64"]
    arguments += ["--resize", part.size("99", "67"), "--steps", part.size("20", "8")]
    arguments += ["--batch-size", part.size("4", "2"), "--device", part.device]
    done = ran(command("compare.py", *arguments, "--json", str(file)))
    part.check(
        "scripts/compare.py: torch agrees with NumPy in float64",
        done.returncode == 0,
        (done.stdout + done.stderr)[-1500:],
    )


# ------------------------------------------------------------------ rates


@contextlib.contextmanager
def without_graph():
    """New trainers run their step as it is."""
    captured = torch_train.CapturedStep
    torch_train.CapturedStep = lambda step: step
    try:
        yield
    finally:
        torch_train.CapturedStep = captured


def rates(part):
    """Examples per second of the training step in steady state."""
    presets = {
        "fast": {"resize": 68},
        "best": {"resize": 84},
        "book": {"resize": part.size(224, 67)},
    }
    for preset, changes in presets.items():
        for precision, on in (("bfloat16", True), ("float32", True), ("float32", False)):
            for graph in (True, False):
                name = f"{preset}, {precision}{', TF32' if on and precision == 'float32' else ''}"
                name += ", graph" if graph else ", no graph"
                with part.apart(name), tf32(on):
                    cleared = contextlib.nullcontext() if graph else without_graph()
                    with cleared:
                        run = part.run(preset, precision=precision, **changes)
                    part.value(name, rate_of(part, run))
    with part.apart("without torch's promise of the same numbers in every run"):
        for preset in ("fast", "book"):
            run = part.run(preset, precision="bfloat16", **presets[preset])
            torch.backends.cudnn.deterministic = False
            torch.backends.cudnn.benchmark = True
            found = rate_of(part, run)
            torch.backends.cudnn.benchmark = False
            part.value(f"{preset}, bfloat16, graph, cuDNN free to choose", found)
    values = part.found["values"]
    for preset, precision in (("fast", "bfloat16"), ("book", "float32, TF32")):
        rate = values.get(f"{preset}, {precision}, graph", {}).get("examples/s")
        part.headline(f"{part.found['headline']} {preset} {precision}: {rate} examples/s".strip())
    if part.left > 15:
        for preset in ("fast", "book"):
            with part.apart(f"profile of {preset}"), without_graph():
                profile(part, preset, presets[preset])


def rate_of(part, run):
    gc.collect()
    batch = run.settings.batch_size
    order = np.random.default_rng(0).permutation(len(run.dataset.train_images))
    batches = [order[start : start + batch] for start in range(0, len(order) - batch, batch)]
    if part.on_gpu:
        torch.cuda.reset_peak_memory_stats()
    for number in range(part.size(6, 1)):
        run.trainer.train_batch(batches[number % len(batches)], 1e-4, number)
    part.wait()
    steps, started = 0, time.perf_counter()
    while steps < part.size(1000, 2) and time.perf_counter() - started < 1.2:
        for _ in range(part.size(10, 1)):
            run.trainer.train_batch(batches[steps % len(batches)], 1e-4, steps)
            steps += 1
        # the launches must not run far ahead of the GPU
        part.wait()
    seconds = time.perf_counter() - started
    run.trainer.take_metrics()
    found = {"examples/s": round(steps * batch / seconds), "ms per step": seconds / steps * 1e3}
    if part.on_gpu:
        found["peak memory, GB"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    return found


def profile(part, preset, changes):
    """Which kernels the time of a step goes to."""
    run = part.run(preset, **changes)
    batch = np.arange(run.settings.batch_size)
    for number in range(4):
        run.trainer.train_batch(batch, 1e-4, number)
    part.wait()
    activities = [torch.profiler.ProfilerActivity.CPU]
    if part.on_gpu:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        for number in range(part.size(5, 1)):
            run.trainer.train_batch(batch, 1e-4, number)
        part.wait()
    kind = "self_device_time_total" if part.on_gpu else "self_cpu_time_total"
    events = sorted(profiler.key_averages(), key=lambda event: -getattr(event, kind))
    whole = sum(getattr(event, kind) for event in events) or 1
    part.value(
        f"profile of {preset}, {run.settings.precision}: share of the time",
        {event.key[:90]: round(getattr(event, kind) / whole, 3) for event in events[:18]},
    )


# ------------------------------------------------------------------ whole runs


class Rows(Watcher):
    """Keeps each epoch in the part's file, should the part not get to its end."""

    def __init__(self, part, name):
        self.part, self.name, self.started = part, name, time.monotonic()

    def epoch(self, run, row):
        keys = ("train_loss", "train_accuracy", "test_accuracy", "train_seconds")
        seconds = round(time.monotonic() - self.started, 2)
        kept = {key: row[key] for key in keys} | {"evaluation_seconds": row["evaluation_seconds"]}
        found = self.part.found["values"].setdefault(f"{self.name}: epochs", [])
        found.append({**kept, "rate": run.rate, "since the start": seconds})
        self.part.value(f"{self.name}: epochs", found)


def whole_run(part, name, preset, **changes):
    """Train in this process, without files; the run."""
    small = {} if part.on_gpu else {"epochs": 1, "limit": 64, "batch_size": 16, "resize": 67}
    started = time.monotonic()
    run = api.fit(
        "torch",
        "full" if part.on_gpu else "sample",
        preset,
        watchers=[Rows(part, name)],
        device=part.device,
        **{**changes, **small},
    )
    result = run.result()
    found = {"seconds": round(time.monotonic() - started, 2), "rate in steady state": run.rate}
    part.value(name, {**found, **result})
    return run


def fast(part):
    with part.apart("scripts/train.py --preset fast"):
        arguments = ["--preset", "fast", "--device", part.device]
        arguments += ["--out", str(Path(tempfile.mkdtemp()) / "run")]
        if not part.on_gpu:
            arguments += ["--data", "sample", "--epochs", "1", "--limit", "64"]
            arguments += ["--batch-size", "16"]
        started = time.monotonic()
        done = ran(command("train.py", *arguments))
        seconds = round(time.monotonic() - started, 2)
        part.check("scripts/train.py --preset fast", done.returncode == 0, done.stderr[-1500:])
        part.value(
            "the command",
            {"seconds": seconds, "lines": (done.stdout + done.stderr).splitlines()[-30:]},
        )
        if done.returncode == 0:
            part.value(
                "the command: result", json.loads(Path(arguments[5], "result.json").read_text())
            )
    runs = [whole_run(part, f"seed {seed}", "fast", seed=seed) for seed in range(3)]
    with without_graph():
        plain = whole_run(part, "seed 0, no graph", "fast", seed=0)
    part.check(
        "with and without the graph a whole run is the same bit for bit",
        same(nin_torch.get_weights(runs[0].net), nin_torch.get_weights(plain.net)),
    )
    accuracies = [run.test_accuracy for run in runs]
    result = runs[1].result()
    part.headline(
        f"accuracy {', '.join(f'{each:.4f}' for each in accuracies)}; "
        f"{result['examples_per_second']:.0f} examples/s, {plain.rate or 0:.0f} without the graph; "
        f"{result['total_seconds']:.1f} s"
    )
    if part.on_gpu:
        part.check("fast reaches 0.90 with each seed", min(accuracies) >= 0.90, accuracies)


def book(part):
    """The chapter's ten epochs, in true float32 if there is the time."""
    measured = {}
    for name, on in (("float32", False), ("float32 with TF32, torch's default", True)):
        with tf32(on):
            run = part.run("book", resize=part.size(224, 67), precision="float32")
            measured[name] = rate_of(part, run)["examples/s"]
        part.value(f"rate of the step: {name}", measured[name])
        del run
    needed = 600_000 / measured["float32"] + 100_000 / (3 * measured["float32"]) + 10
    on = part.on_gpu and needed > part.left - 15
    name = list(measured)[on]
    with tf32(on):
        run = whole_run(part, f"ten epochs in {name}", "book")
    result = run.result()
    part.headline(
        f"{name}: loss {result['train_loss']:.3f}, train acc {result['train_accuracy']:.3f}, "
        f"test acc {result['test_accuracy']:.3f}, {result['examples_per_second']:.1f} examples/s "
        f"(book: 0.364, 0.864, 0.845, 3180.3), {result['total_seconds']:.1f} s"
    )


def best(part):
    run = whole_run(part, "seed 0", "best")
    result = run.result()
    part.headline(
        f"accuracy {result['test_accuracy']:.4f}, {result['examples_per_second']:.0f} examples/s, "
        f"{result['total_seconds']:.1f} s"
    )


# ------------------------------------------------------------------ the rest


def workers(part):
    """Two GPUs beside one: whether they train the same, and how fast."""
    if part.on_gpu and torch.cuda.device_count() < 2:
        part.check("two workers take the steps of one", None, "needs two GPUs")
        return
    arguments = ["--preset", "fast", "--data", "sample", "--precision", "float64", "--epochs", "2"]
    arguments += ["--limit", part.size("6000", "90"), "--batch-size", part.size("128", "20")]
    losses = []
    for count in ("1", "2"):
        out = Path(tempfile.mkdtemp()) / "run"
        more = ["--device", part.device, "--out", str(out)]
        done = ran(command("launch.py", "--workers", count, "--", *arguments, *more))
        part.check(f"launch.py --workers {count}", done.returncode == 0, done.stderr[-1500:])
        losses.append([point[1] for row in rows(out) for point in row["within_epoch"]])
    found = relative(*map(np.array, losses))
    part.check("two workers take the steps of one in float64", found < FLOAT64, found)
    if part.on_gpu:
        bench(part, "--workers", "1,2", "--repeats", "2")


def bench(part, *more):
    out = Path(tempfile.mkdtemp()) / "bench"
    arguments = [*(more or ["--quick"]), "--backends", "torch", "--device", "auto"]
    arguments += ["--out", str(out)]
    if not part.on_gpu:
        arguments += ["--data", "sample", "--parts", "step,limit", "--seconds", "0.01"]
        arguments += ["--repeats", "1", "--batch-size", "8", "--sizes", "67"]
    done = ran(command("bench.py", *arguments))
    part.check(
        f"scripts/bench.py {' '.join(more) or '--quick'}", done.returncode == 0, done.stderr[-1500:]
    )
    part.value("table", done.stdout.splitlines())
    part.value("bench.json", json.loads((out / "bench.json").read_text()))


def tests(part):
    """The shared tests of the step, on the GPU; the others choose the CPU themselves."""
    more = ["-p", "on_gpu"] if part.on_gpu else ["-k", "state or a_gpu"]
    arguments = [sys.executable, "-m", "pytest", "tests/backends/test_trainer.py"]
    arguments += [
        "--backend",
        "torch",
        *more,
        "-o",
        "addopts=",
        "-p",
        "no:cacheprovider",
        "-rfEs",
        "--tb",
        "short",
    ]
    if importlib.util.find_spec("xdist"):
        arguments += ["-n", part.size("6", "1")]
    path = os.pathsep.join([str(ROOT / "tests" / "gpu"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        cwd=ROOT,
        # as the comparison: no TF32, whose 10 bits would hide or feign mistakes
        env={**os.environ, "PYTHONPATH": path, "NVIDIA_TF32_OVERRIDE": "0"},
    )
    lines = (done.stdout + done.stderr).splitlines()
    part.check("the shared tests pass", done.returncode == 0, lines[-120:])
    part.headline(lines[-1].strip("= ") if lines else "")
