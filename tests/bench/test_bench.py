"""The bench: what it makes of measurements, and of what fails. No speed is tested."""

import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import ROOT, assert_one_clear_line, is_gone_soon, run, run_here
from rich.console import Console

from common.backends import parts
from common.backends.session import RefusedError
from common.bench import d2l as bench_d2l
from common.bench import plot as bench_plot
from common.bench import results as bench_results
from common.bench import run as bench
from common.bench.results import Results, Value, flop
from common.bench.run import QUICK, Plan, tasks
from common.bench.worker import Worker, settings_for
from common.data import fashion_mnist
from common.errors import NinError
from common.system.processes import LostError

NAMES = ("torch", "tf", "mxnet")


def row(part, backend, number=0, **more):
    return {"part": part, "backend": backend, "round": number, **more}


def make_record(rows, sizes=(68,), names=NAMES, **plan):
    return {
        "format": bench.FORMAT,
        "date": "2026-01-01T00:00:00+0000",
        "git_commit": "0123456789abcdef+changes",
        "complete": True,
        "machine": {"processor": "P", "cores": 2, "memory_gib": 8.0, "python": "3.11.0"},
        "data": {"kind": "sample", "notice": "A sample."},
        "plan": {
            "batch_size": 10, "sizes": list(sizes), "backends": list(names), "repeats": 2,
            "quick": False, **plan,
        },
        "backends": {n: {"threads": 2, "device": "cpu", "versions": {n: "1"}} for n in names},
        "lost": {},
        "rows": rows,
    }  # fmt: skip


def make_results(rows, **more):
    return Results(make_record(rows, **more))


# ---------------------------------------------------------------- figures


def test_a_figure_is_printed_with_three_digits_or_more_and_its_spread():
    values = {1234.5: "1,234", 99.6: "100", 9.996: "10.0", 0.98765: "0.988", 1.0: "1.00"}
    for value, text in values.items():
        assert Value(value, value, value, 3).words() == text
    assert Value(100.0, 90.0, 110.0, 3).words() == "100 ±10%"


def test_a_ratio_is_taken_within_a_round_so_that_a_slow_round_does_not_show():
    rows = []
    for number, slow in enumerate((1, 7, 2)):
        rows += [
            row("step", "torch", number, size=68, times=4, seconds=2.0 * slow),
            row("step", "tf", number, size=68, times=4, seconds=4.0 * slow),
            row("train", "tf", number, size=68, steps=6, test_batches=1, seconds=8.0 * slow,
                train_seconds=7.5 * slow, evaluation_seconds=0.5 * slow),
            row("predict", "tf", number, size=68, batch=10, seconds=[0.4 * slow]),
            row("limit", "tf", number, n=100, seconds=[5.0 * slow, 1.0 * slow]),
            row("startup", "tf", number, size=68, batch=10, seconds=3.0 * slow),
        ]  # fmt: skip
    figures = make_results(rows, names=("torch", "tf")).figures
    for name, expected in {
        "bare step, examples/s, 68, torch": (10.0, 20 / 7, 20.0, 3),
        "start to first step, s, 68, tf": (6.0, 3.0, 21.0, 3),
        "bare step / fastest, 68, tf": (0.5, 0.5, 0.5, 3),
        "train.py / bare step, 68, tf": (0.8, 0.8, 0.8, 3),
        "epoch of train.py / parts, 68, tf": (0.8, 0.8, 0.8, 3),
        "bare step / limit, 68, torch": (*[20 * flop(68) / (2 * 100**3)] * 3, 3),
    }.items():
        assert figures[name] == pytest.approx(expected), name


def test_what_one_round_lacks_is_compared_in_the_others():
    rows = [
        row("step", "torch", 0, size=68, times=1, seconds=1.0),
        row("step", "torch", 1, size=68, times=1, seconds=1.0),
        row("step", "tf", 1, size=68, times=1, seconds=2.0),
    ]
    assert make_results(rows).get("bare step / fastest", "tf", 68).rounds == 1


def test_the_limit_is_the_best_product_of_any_library_and_size():
    rows = [
        row("limit", "numpy", n=1000, seconds=[2.0, 4.0]),
        row("limit", "mxnet", n=2000, seconds=[4.0]),
        row("limit", "tf", n=1000, seconds=[9.0]),
    ]
    figures = make_results(rows).figures
    assert figures["limit, GFLOP/s"].median == pytest.approx(2 * 2000**3 / 4 / 1e9)
    assert figures["matrix product, GFLOP/s, numpy"].median == pytest.approx(1.0)


def whole_run(name, seed, recipe="fast", **changes):
    found = {"epochs": 0.5, "train_examples": 60000, "train_seconds": 20.0, "precision": "float32",
             "test_accuracy": 0.9, "seconds": 30.0}  # fmt: skip
    return row("accuracy", name, seed, seed=seed, recipe=recipe, **{**found, **changes})


def test_whole_runs_are_averaged_over_seeds_by_recipe_and_backend():
    rows = [
        whole_run("tf", 0, test_accuracy=0.906, seconds=31.0),
        whole_run("tf", 0, "AdamW, 4 epochs", epochs=4, test_accuracy=0.916, seconds=140.0),
        whole_run("tf", 1, test_accuracy=0.902, seconds=29.0),
        # rows as they were once
        row("accuracy", "mxnet", 0, epochs=[{"seconds": 10.0, "accuracy": 0.84}]),
    ]
    results = make_results(rows)
    first, second = bench_results.whole_runs(results.record)
    assert (first["recipe"], first["backend"], first["seeds"]) == ("fast", "tf", 2)
    assert first["mean accuracy"] == pytest.approx(0.904)
    assert (first["worst"], first["mean seconds"], first["longest"]) == (0.902, 30.0, 31.0)
    assert (first["examples"], second["examples"]) == (30000, 240000)
    text = printed(results)
    assert all(word in text for word in ("0.9040", "0.9160", "140.0"))


def crew(workers, threads, batch, seconds, number=0, device="cpu"):
    return row("workers", "torch", number, size=68, workers=workers, threads=threads, batch=batch,
               steps=20, seconds=seconds, device=device)  # fmt: skip


@pytest.mark.parametrize(("device", "of_all_threads"), [("cpu", 0.75), ("cuda:0", 1.5)])
def test_workers_are_beside_one_of_their_round_with_the_same_threads(device, of_all_threads):
    rows = []
    for number, slow in enumerate((1, 5)):
        rows += [
            crew(1, 1, 10, 2.0 * slow, number, device),
            crew(2, 1, 10, 1.25 * slow, number, device),
            crew(2, 1, 20, 2.0 * slow, number, device),
            crew(1, 2, 10, 2.0 / 1.5 * slow, number, device),
        ]
    results = make_results(rows, names=("torch",))
    found = bench_results.scaling(results.record)
    assert [(r["workers"], r["threads"], r["batch"]) for r in found] == [
        (1, 1, 10), (2, 1, 10), (2, 1, 20), (1, 2, 10),
    ]  # fmt: skip
    assert [r["examples/s"].high for r in found] == pytest.approx([100, 160, 200, 150])
    for name, expected in {
        "times one worker": [1, 1.6, 2, 1.5],
        "efficiency": [1, 0.8, 1, of_all_threads],
    }.items():
        for r, value in zip(found, expected, strict=True):
            assert r[name] == pytest.approx((value, value, value, 2)), r
    assert re.search(r"68 +torch +2 +1 +10 .* 1\.60 +0\.800", printed(results))


def test_workers_share_the_threads_and_one_that_has_them_all_comes_last():
    def crews(threads, *workers):
        plan = Plan(("torch",), ("workers",), (68,), 8, repeats=1, workers=workers, threads=threads)
        return [tuple(task.request.values()) for task in tasks(plan)]

    assert crews(2, 1, 2) == [(68, 1, 1, 8), (68, 2, 1, 8), (68, 2, 1, 16), (68, 1, 2, 8)]
    assert crews(2, 2) == crews(2, 1, 2)
    assert crews(1, 3) == [(68, 1, 1, 8), (68, 3, 1, 8), (68, 3, 1, 24)]


def test_a_bench_of_before_is_shown_without_the_parts_that_are_no_more(tmp_path):
    results = bench_results.load(ROOT / "docs" / "bench.json")
    stored = results.record["figures"]
    assert len(results.figures) > 70
    for name, figure in results.figures.items():
        if name in stored:
            assert figure == pytest.approx(tuple(stored[name].values())), name
    odd = [
        row("profile", "tf", size=68, batch=10, operations={"Conv2D": 1.0}),
        row("limit", "tf", do="convolution", size=68, layer="block1.conv1", seconds=[1.0]),
    ]
    assert make_results(odd).figures == {}


def full_rows(names, sizes):
    """A row of every kind for every backend, with large numbers."""
    rows = [row("limit", "numpy", n=4096, seconds=[1e-4])]
    for i, name in enumerate(names, start=1):
        rows += [
            row("limit", name, n=4096, seconds=[1e-4 * i]),
            row("d2l", name, size=224, epochs=1, train_examples=10000, test_examples=2000,
                seconds=1.0, d2l_seconds=1000.0, bytes=1e9, d2l_bytes=2e9),
            whole_run(name, 0),
            whole_run(name, 1),
            {**crew(256, 128, 4096, 1.0), "backend": name},
        ]  # fmt: skip
        for size in sizes:
            rows += [
                row("step", name, number, size=size, times=10000, seconds=2.0 + number)
                for number in range(2)
            ]
            rows += [
                row("train", name, size=size, steps=60, test_batches=10, seconds=0.02,
                    train_seconds=0.01, evaluation_seconds=0.01),
                row("predict", name, size=size, batch=10, seconds=[1e-4]),
                row("predict", name, size=size, batch=1, seconds=[0.5]),
                row("memory", name, size=size, bytes=123 * 2**30),
                row("startup", name, size=size, batch=10, seconds=1234.5),
            ]  # fmt: skip
    return rows


def printed(results, stored=None, width=bench_results.WIDTH):
    console = Console(width=width, highlight=False, record=True, file=io.StringIO())
    bench_results.show(results, console, stored)
    return console.export_text()


def test_the_tables_fit_a_projector_and_lose_nothing_in_less():
    results = make_results(full_rows(NAMES, (224, 68)), sizes=(224, 68))
    text = printed(results, stored=results)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text + printed(results, stored=results, width=40)
    for words in (*bench_results.TABLES, "limit: ", "A sample."):
        assert words in text
    ratios = re.findall(r"(\d\.\d+) *$", text.split("against the stored bench")[1], re.MULTILINE)
    assert len(ratios) == len(results.figures)
    assert set(ratios) == {"1.00"}


def test_a_comparison_with_d2l_tells_its_environment_and_its_own_rounds():
    rows = [
        row("d2l", "torch", number, size=224, epochs=1, train_examples=10, test_examples=2,
            seconds=10.0, d2l_seconds=20.0, bytes=3e9, d2l_bytes=4e9)
        for number in range(2)
    ]  # fmt: skip
    record = make_record(rows, repeats=4)
    assert "torch, d2l" not in printed(Results(record))
    record["backends"] |= {
        f"{name}, d2l": {"versions": {"python": "3.11.7", "d2l": "1.0.3", name: f"0.{name}"}}
        for name in NAMES
    }
    text = printed(Results(record))
    for name in NAMES:
        assert f"\n{name}: threads 2, device cpu, {name} 1\n" in text
        assert f"\n{name}, d2l: python 3.11.7, d2l 1.0.3, {name} 0.{name}\n" in text
    assert "float32; rounds: 4;" in text
    assert "rounds: 2; 10 training" in text


def test_what_was_not_measured_has_no_table_and_no_figure(tmp_path):
    results = make_results([row("step", "tf", size=68, times=1, seconds=1.0)])
    text = printed(results)
    assert "examples/s" in text
    for words in ("prediction", "product", "d2l", "seconds to"):
        assert words not in text
    assert [path.name for path in bench_plot.draw(results, tmp_path)] == ["bench.svg", "bench.png"]
    assert bench_plot.draw(make_results([]), tmp_path) == []


def test_the_figure_is_drawn_of_everything(tmp_path):
    results = make_results(full_rows(NAMES, (224, 68)), sizes=(224, 68))
    bench_plot.draw(results, tmp_path)
    assert (tmp_path / "bench.png").stat().st_size > 10_000


def test_the_legend_names_the_bars_that_there_are(tmp_path):
    results = make_results([row("step", "mxnet", size=68, times=1, seconds=1.0)])
    bench_plot.draw(results, tmp_path)
    # letters are drawn, with what they say in a comment
    drawn = (tmp_path / "bench.svg").read_text()
    assert "<!-- bare step -->" in drawn
    assert "<!-- train.py -->" not in drawn


@pytest.mark.parametrize("kinds", [["step"], ["train"], ["step", "train"]])
def test_the_bars_of_a_backend_stand_around_its_name(tmp_path, monkeypatch, kinds):
    drawn = []
    monkeypatch.setattr(bench_plot.figures, "save_svg_and_png", lambda *each: drawn.append(each[0]))
    rows = [each for each in full_rows(["torch"], (68,)) if each["part"] in kinds]
    bench_plot.draw(make_results(rows, names=["torch"], quick=True), tmp_path)
    axes = drawn[0].axes[0]
    edges = [bar.get_x() + part * bar.get_width() for bar in axes.patches for part in (0, 1)]
    assert min(edges) == pytest.approx(-max(edges))
    (tick,) = axes.get_xticks()
    assert tick == 0
    notice = drawn[0].texts[-1].get_text()
    assert notice == "a quick bench: at most two digits are meaningful; A sample."


def test_a_comparison_says_what_is_not_alike():
    then = make_record([row("step", "tf", size=68, times=1, seconds=2.0)])
    now = make_record([row("step", "tf", size=68, times=1, seconds=1.0)], batch_size=20)
    text = printed(Results(now), Results(then)).split("against the stored bench")[1]
    assert text.rstrip().endswith("\nbatch size: stored 10, now 20")
    assert "4.00" in text


def test_threads_and_devices_are_compared_in_the_backends_that_both_benches_have():
    then, now = (make_record([row("step", "tf", size=68, times=1, seconds=2.0)]) for _ in "ab")
    then["backends"]["torch"] = {"threads": 4, "device": "cuda:0", "versions": {}}
    del now["backends"]["torch"]
    assert "threads:" not in printed(Results(now), Results(then)).split("stored bench")[1]
    now["backends"]["tf"] = {"threads": 1, "device": "/GPU:0", "versions": {}}
    now["backends"]["mxnet"]["threads"] = 1
    text = printed(Results(now), Results(then))
    assert "threads: stored 2, now 1; device: stored cpu, now /GPU:0, cpu" in text


def test_a_results_and_its_json_are_the_same_bench(tmp_path):
    results = make_results(full_rows(NAMES, (68,)))
    bench_results.save(results.record, tmp_path / "bench.json")
    again = bench_results.load(tmp_path / "bench.json")
    assert again.figures == results.figures
    figures = {name: value._asdict() for name, value in results.figures.items()}
    runs = bench_results.whole_runs(results.record)
    assert again.record["scaling"][0]["efficiency"]["median"] == 1 / 256
    computed = {"figures": figures, "whole_runs": runs, "scaling": again.record["scaling"]}
    assert again.record == {**results.record, **computed}
    text = (tmp_path / "bench.json").read_text()
    for old, new in (("checksum", "checksun"), ('"date": "2', '"date": "3')):
        (tmp_path / "bench.json").write_text(text.replace(old, new, 1))
        with pytest.raises(NinError, match="its checksum does not match"):
            bench_results.load(tmp_path / "bench.json")


def test_a_figure_that_fails_loses_no_measurement(tmp_path):
    rows = [row("step", "tf", size=68, times=1, seconds=0.0)]
    with pytest.raises(ZeroDivisionError):
        bench_results.save(make_record(rows), tmp_path / "bench.json")
    assert json.loads((tmp_path / "bench.json").read_text())["rows"] == rows


# ------------------------------------------------------------------- plan


def test_every_round_measures_every_backend_once_every_other_round_backwards():
    planned = tasks(Plan(parts=("step", "train"), repeats=2, sizes=(68,)))
    order = [(task.round, task.part, task.backend) for task in planned]
    assert order == [
        (number, part, name)
        for number in (0, 1)
        for part in ("train", "step")
        for name in (NAMES if number == 0 else NAMES[::-1])
    ]


def test_a_quick_bench_takes_the_step_at_every_size_and_the_rest_at_the_smallest():
    planned = tasks(Plan(parts=QUICK["parts"], quick=True))
    sizes = {part: set() for part in QUICK["parts"]}
    for task in planned:
        sizes[task.part].add(task.request.get("size"))
    assert sizes == {"limit": {None}, "step": {224, 68}, "train": {68}, "predict": {68}}


def test_fast_is_benched_at_its_own_size_and_the_book_elsewhere():
    assert settings_for(68, 128).preset == "fast"
    assert settings_for(224, 128).preset == settings_for(96, 128).preset == "book"


BAD_INPUT = {
    "unknown backend": ("--backends jax", "--backends jax: unknown; choose one of torch, tf"),
    "no backend": ("--backends ,", "--backends: name at least one"),
    "unknown part": ("--parts speed", "--parts speed: unknown; choose from limit, train, step, "
                     "predict, memory, startup, accuracy, workers, d2l"),
    "no parts": ("--parts ,", "--parts: name at least one"),
    "not a size": ("--sizes large", "--sizes large: must be whole numbers"),
    "no size": ("--sizes ,", "--sizes: name at least one"),
    "too small": ("--sizes 68,66", "--sizes 66: too small for this network; the smallest"),
    "too large": ("--sizes 5000", "--sizes 5000: must be a whole number of pixels up to 4096"),
    "no repeats": ("--repeats 0", "--repeats 0: must be"),
    "no time": ("--seconds nan", "--seconds nan: must be"),
    "no workers": ("--workers 2,0", "--workers 0: must be whole numbers from 1 to 256"),
    "not workers": ("--workers two", "--workers two: must be whole numbers"),
    "no seeds": ("--seeds 0", "--seeds 0: must be"),
    "no batch": ("--batch-size 0", "--batch-size 0: must be"),
    "against whom": ("--against keras", "--against keras: must be d2l"),
    "no d2l": ("--against d2l --d2l-python nowhere", "--d2l-python nowhere: no such file"),
    "batch beyond the data": ("--data sample --batch-size 2000", "12000 training images"),
    "no such data": ("--data nowhere", "data nowhere: no such directory"),
    "no empty directory": ("--out . --data sample", "--out .: exists and is not an empty"),
    "no bench to compare": ("--compare nowhere", "nowhere: cannot be read (No such file"),
    "no bench to show": ("--show nowhere", "nowhere: cannot be read (No such file"),
    "interpreter of none": ("--python jax=x", "--python jax=x: must be NAME=PATH"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_to_the_bench_gets_one_clear_line(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert_one_clear_line(run_here("bench.py", *arguments.split()), words)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_help_names_every_part():
    said = " ".join(run("bench.py", "--help").stdout.split())
    parts = ", ".join(bench.KNOWN_PARTS)
    assert f"--parts NAMES some of {parts} (all but the last 2; quick: the first 4)" in said
    assert bench.KNOWN_PARTS[:4] == QUICK["parts"]
    explained = said.split("parts: ")[1]
    assert all(re.search(rf"\b{part}\b", explained) for part in bench.KNOWN_PARTS)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 99}', '{"format": 1}'])
def test_a_file_that_is_no_bench_is_refused(tmp_path, content):
    file = tmp_path / "bench.json"
    file.write_text(content)
    with pytest.raises(NinError, match=str(file)):
        bench_results.load(file)


@pytest.mark.parametrize(
    "names",
    [
        ("lost",), ("date",), ("plan", "sizes"), ("plan", "quick"), ("machine", "cores"),
        ("data", "kind"), ("rows", 0, "part"), ("rows", 0, "seconds"),
    ],
)  # fmt: skip
def test_a_bench_that_lacks_something_gets_one_clear_line(tmp_path, names):
    record = make_record([row("step", "tf", size=68, times=1, seconds=1.0)])
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(record))
    assert bench_results.load(file).record == record
    *outer, last = names
    part = record
    for name in outer:
        part = part[name]
    del part[last]
    file.write_text(json.dumps(record))
    with pytest.raises(NinError, match=rf"not a whole bench\.json \(KeyError: '{last}'\)"):
        bench_results.load(file)


def test_a_stored_bench_is_printed_again(tmp_path):
    file = tmp_path / "bench.json"
    bench_results.save(make_record(full_rows(NAMES, (68,))), file)
    done = run("bench.py", "--show", file, "--compare", file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "against the stored bench" in done.stdout


# -------------------------------------------------------- when things fail


class FakeWorker:
    """Answers at once; its backend fails as the test says."""

    failing = {}  # noqa: RUF012

    def __init__(self, name):
        self.name = name
        self.asked = 0
        if isinstance(self.failing.get(name), str):
            raise LostError(self.failing[name])

    def call(self, function, method, **arguments):
        assert function == "common.bench.worker:measure"
        self.asked += 1
        error = self.failing.get(self.name, {}).get(method)
        if error is not None and self.asked > 2:
            raise error
        more = {"train": {"steps": 6, "test_batches": 1, "train_seconds": 1.0}}
        seconds = 1.0 if method in ("step", "train", "startup") else [1.0]
        return {"times": 1, "seconds": seconds, "bytes": 1, **more.get(method, {})}

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close() if kind is None else self.kill()

    def close(self):
        pass

    kill = close


@pytest.fixture
def measured(monkeypatch, recwarn):
    """Runs a bench with fake workers; the bench, and its warnings."""

    def go(failing, parts=("step", "train"), worker=FakeWorker):
        monkeypatch.setattr(bench.Bench, "start", lambda self, backend: worker(backend))
        monkeypatch.setattr(FakeWorker, "failing", failing)
        running = bench.Bench(Plan(parts=parts, sizes=(68,), data="sample", repeats=3))
        running.measure(lambda done, what: None)
        return running, [str(warning.message) for warning in recwarn]

    return go


def test_a_missing_backend_is_one_line_and_the_others_go_on(measured):
    running, warned = measured({"tf": "backend tf: tensorflow is not installed"})
    assert warned == ["tf: left out from here on: tensorflow is not installed"]
    assert {r["backend"] for r in running.rows} == {"torch", "mxnet"}
    assert len(running.rows) == 2 * 2 * 3
    assert not running.complete


def test_a_backend_that_crashes_is_left_out_and_what_it_measured_is_kept(measured):
    running, warned = measured({"mxnet": {"step": LostError("crashed (SIGSEGV)")}})
    assert warned == ["mxnet: left out from here on: crashed (SIGSEGV)"]
    kept = [(r["part"], r["round"]) for r in running.rows if r["backend"] == "mxnet"]
    assert kept == [("train", 0), ("step", 0), ("train", 1)]
    assert len([r for r in running.rows if r["backend"] == "tf"]) == 6


def test_a_part_that_a_backend_refuses_does_not_stop_its_other_parts(measured):
    running, warned = measured({"tf": {"train": RefusedError("no memory")}})
    assert len(warned) == 1
    parts = [r["part"] for r in running.rows if r["backend"] == "tf"]
    assert (parts.count("step"), parts.count("train")) == (3, 1)


def test_a_process_of_its_own_that_does_not_start_loses_its_part_alone(measured):
    started = []

    class Tired(FakeWorker):
        def __init__(self, name):
            super().__init__(name)
            started.append(self.name)
            if self.name == "tf" and started.count("tf") == 2:
                raise LostError("backend tf: no process is free")

    running, warned = measured({}, ("step", "memory", "startup"), Tired)
    assert warned == ["memory, tf: left out from here on: no process is free"]
    parts = [r["part"] for r in running.rows if r["backend"] == "tf"]
    assert (parts.count("step"), parts.count("memory"), parts.count("startup")) == (3, 0, 3)


@pytest.mark.long
def test_a_run_that_does_not_end_loses_its_part_and_is_ended(tmp_path, monkeypatch, recwarn):
    waits = (
        "import os, pathlib, signal, sys\npathlib.Path(sys.argv[0]).with_name('pid').write_text("
    )
    (tmp_path / "train.py").write_text(waits + "str(os.getpid()))\nsignal.pause()\n")
    monkeypatch.setattr(bench, "SCRIPTS", tmp_path)
    monkeypatch.setattr(bench, "TIMEOUT_SECONDS", 2)
    running = bench.Bench(Plan(("torch",), ("accuracy",), seeds=1, data="sample"))
    with pytest.raises(NinError, match="nothing could be measured"):
        running.measure(lambda done, what: None)
    assert running.lost == {"accuracy, torch": "did not end in 2 s"}
    assert is_gone_soon(int((tmp_path / "pid").read_text()))


def test_an_interruption_ends_the_workers(monkeypatch, measured):
    workers = []
    monkeypatch.setattr(
        FakeWorker, "close", lambda self: pytest.fail("no time to wait for its end")
    )
    monkeypatch.setattr(FakeWorker, "kill", lambda self: workers.append(self))
    with pytest.raises(KeyboardInterrupt):
        measured({"tf": {"train": KeyboardInterrupt()}})
    assert sorted(worker.name for worker in workers) == sorted(NAMES)


def test_a_bench_that_measured_nothing_is_an_error(measured):
    with pytest.raises(NinError, match=r"nothing could be measured \(torch: a; tf: b; mxnet: c\)"):
        measured({"torch": "a", "tf": "b", "mxnet": "c"})


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("added", [[], ["of another program"]])
def test_a_bench_that_measured_nothing_removes_what_it_made_and_no_more(tmp_path, is_there, added):
    out = tmp_path / "out"
    if is_there:
        out.mkdir()
    # an interpreter that is none, and puts something there
    interpreter = tmp_path / "python"
    lines = [*(f"touch '{out / name}'" for name in added), "echo 'no Python' >&2", "exit 1"]
    interpreter.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    interpreter.chmod(0o755)
    arguments = f"--backends torch --python torch={interpreter} --parts step --data sample --out"
    done = run("bench.py", *arguments.split(), out, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: nothing could be measured (torch: no Python)"
    assert "Traceback" not in done.stderr
    assert out.exists() == (is_there or bool(added))
    assert [path.name for path in out.glob("*")] == added


def test_a_record_holds_every_measurement_and_no_path_of_this_machine(measured):
    running, _ = measured({})
    text = json.dumps(running.record())
    assert len(json.loads(text)["rows"]) == 2 * 3 * 3
    for path in (sys.executable, str(Path.home()), str(Path.cwd()), running.dataset.directory):
        assert path not in text


def test_a_directory_of_data_is_found_from_the_processes_too(tmp_path, monkeypatch):
    (tmp_path / "mine").symlink_to(fashion_mnist.SAMPLE_DIRECTORY)
    monkeypatch.chdir(tmp_path)
    ready = bench.Bench(Plan(data="mine"))
    assert Path(ready.dataset.directory).is_absolute()
    assert fashion_mnist.load(ready.dataset.directory).kind == "sample"


def test_a_worker_without_its_backend_is_lost_with_the_reason():
    with pytest.raises(NinError, match=r"nowhere\.py: no such file"):
        bench.Bench(Plan(data="sample")).start("nowhere.py")


def test_d2l_is_given_exactly_the_examples_of_the_bench(tmp_path, sample):
    part = sample.take(slice(30), slice(5))
    bench_d2l.write_files(part, tmp_path)
    for directory in ("datasets/fashion-mnist", "FashionMNIST/raw"):
        found = fashion_mnist.read_directory(tmp_path / directory)
        np.testing.assert_array_equal(found.train_images, sample.train_images[:30])
        np.testing.assert_array_equal(found.test_labels, sample.test_labels[:5])


def test_the_peak_of_memory_grows_with_what_is_used():
    # in a process that has not used more before
    code = """if True:
        import numpy as np
        from common.system.machine import peak_memory
        before = peak_memory()
        used = np.ones(2**25)
        assert peak_memory() >= before + used.nbytes / 2
        assert before > 2**20"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# ------------------------------------------------------------ with a backend


@pytest.mark.shared
def test_the_bare_step_is_the_training_step_without_what_surrounds_it(backend, sample):
    part = sample.take(slice(4), slice(1))
    # of adamw the first step divides gradients by themselves, rounding errors too
    plain = {"optimizer": "sgd", "weight_decay": 0.0, "dropout": 0.0, "device": "cpu"}
    changes = []
    for bare in (False, True):
        net = backend.nin(dropout=0.0)
        backend.initialize(net, "he", 0)
        before = backend.get_weights(net)
        settings = settings_for(68, 4, backend=backend.NAME, **plain)
        trainer = backend.Trainer(net, settings, part.train_images, part.train_labels)
        if bare:
            parts.benchmark(backend).bare_step(trainer, part.train_images, part.train_labels, 0.01)(
                2
            )
        else:
            for step in range(2):
                trainer.train_batch(np.arange(4), 0.01, step)
            trainer.take_metrics()
        after = backend.get_weights(trainer.net)
        changes.append({name: after[name] - weight for name, weight in before.items()})
    for name, change in changes[0].items():
        largest = np.abs(change).max()
        assert largest > 0, name
        np.testing.assert_allclose(changes[1][name], change, atol=0.01 * largest, err_msg=name)


@pytest.mark.shared
def test_a_worker_measures_the_machine_memory_and_its_start(backend, backend_name):
    started = time.monotonic() - 1000
    worker = Worker(backend_name, "sample", 2, started, device="cpu", threads=0)
    assert worker.about()["versions"].keys() >= backend.versions().keys()
    assert worker.memory(68)["bytes"] > 2**20
    assert worker.limit(64, 0.001)["seconds"]
    assert 1000 < worker.startup(68)["seconds"] < 1100


@pytest.mark.shared
def test_the_bars_of_a_terminal_are_drawn_while_a_run_trains_and_at_no_other_time(
    backend, backend_name
):
    worker = Worker(backend_name, "sample", 2, time.monotonic(), device="cpu", threads=0)
    terminal = worker._bars._bars.console.file
    drawn = []
    for _ in range(2):
        worker.train(68, 0.001)
        drawn.append(terminal.getvalue())
        worker.step(68, 0.001)
    assert "━" in drawn[0]
    assert len(drawn[0]) < len(drawn[1])
    assert terminal.getvalue() == drawn[1]


@pytest.mark.long
def test_a_whole_run_is_a_run_of_the_command(backend, backend_name, monkeypatch):
    monkeypatch.setattr(bench, "RECIPES", {"short": {"epochs": 0.5, "batch_size": 20, "limit": 80}})
    plan = Plan((backend_name,), ("accuracy",), seeds=1, data="sample")
    running = bench.Bench(plan)
    running.measure(lambda done, what: None)
    (found,) = running.rows
    assert (found["recipe"], found["epochs"], found["train_examples"]) == ("short", 0.5, 80)
    assert found["precision"] in backend.PRECISIONS
    assert 0 <= found["test_accuracy"] <= 1
    assert found["train_seconds"] < found["seconds"]


# as much of the book's package as the bench calls, and a look at what it is given
D2L = """
import os
from pathlib import Path
from common.data.fashion_mnist import read_directory
def try_gpu():
    return "cpu"
def load_data_fashion_mnist(batch, resize):
    print("no answer")
    for place in (Path(os.environ["KERAS_HOME"]) / "datasets/fashion-mnist",
                  Path("../data/FashionMNIST/raw")):
        assert len(read_directory(place).train_images) == 10 * batch
    return "train", "test"
def train_ch6(net, train_iter, test_iter, num_epochs, lr, device):
    assert (num_epochs, lr) == (1, 0.1)
"""


@pytest.mark.long
def test_d2ls_loop_runs_in_its_environment_beside_the_same_work(
    backend, backend_name, tmp_path, monkeypatch
):
    (tmp_path / "d2l").mkdir()
    module = bench_d2l.MODULES[backend_name].replace(".", "/")
    (tmp_path / "d2l" / "__init__.py").write_text("")
    (tmp_path / f"{module}.py").write_text(D2L)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    plan = Plan((backend_name,), ("d2l",), (67,), batch_size=2, repeats=1, data="sample")
    running = bench.Bench(plan)
    running.measure(lambda done, what: None)
    assert running.lost == {}
    results = Results(running.record())
    assert results.get("times as fast as d2l", backend_name).rounds == 1
    assert results.get("d2l, peak memory, GiB", backend_name).median > 0


@pytest.mark.long
def test_two_workers_are_measured_beside_one(backend, backend_name, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "WORKERS_STEPS", 2)
    plan = Plan(
        (backend_name,), ("workers",), (68,), 4, repeats=1, threads=1, data="sample", device="cpu"
    )
    running = bench.Bench(plan)
    running.measure(lambda done, what: None)
    found = bench_results.scaling(running.record())
    assert [(r["workers"], r["batch"]) for r in found] == [(1, 4), (2, 4), (2, 8)]
    assert found[0]["efficiency"].median == 1
    assert all(r["examples/s"].median > 0 for r in found)


@pytest.mark.long
def test_the_bench_prints_a_table_and_writes_json_and_a_figure(backend, backend_name, tmp_path):
    arguments = "--sizes 68 --batch-size 2 --repeats 1 --seconds 0.001 --data sample"
    parts = "step,train,predict"
    out = tmp_path / "bench"
    done = run("bench.py", "--quick", "--backends", backend_name, *arguments.split(),
               "--parts", parts, "--out", out)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "embedded sample" in done.stdout
    assert sorted(path.name for path in out.iterdir()) == ["bench.json", "bench.png", "bench.svg"]
    record = json.loads((out / "bench.json").read_text())
    assert {r["part"] for r in record["rows"]} == set(parts.split(","))
    assert record["complete"] is True
    trained = next(r for r in record["rows"] if r["part"] == "train")
    assert (trained["steps"], trained["test_batches"]) == (6, 1)
    assert trained["seconds"] > trained["train_seconds"] > 0
    assert record["data"]["kind"] == "sample"
