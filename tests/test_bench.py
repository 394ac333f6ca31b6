"""The bench: what it makes of measurements, and of what fails. No speed is tested."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from test_commands import assert_one_clear_line, command, run

from common import architecture, bench, bench_d2l, bench_plot, bench_report, data
from common.bench import Plan, jobs
from common.bench_process import Process, RefusedError, WorkerProcess
from common.bench_report import Report, figure, mean_and_spread, short
from common.bench_worker import Worker, first_images, settings_for
from common.errors import NinError
from common.machine import peak_memory
from common.parity_run import LostError

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


def make_report(rows, **more):
    return Report(make_record(rows, **more))


# ---------------------------------------------------------------- figures


def test_a_figure_is_a_median_with_its_range():
    assert figure([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0, 3)
    assert figure([]) is None
    assert str(figure([90.0, 100.0, 110.0])) == "100 ±10%"
    assert str(figure([100.0])) == "100"


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1234"), (99.96, "100"), (99.94, "99.9"), (9.996, "10.0")]
)
def test_numbers_have_three_digits_or_more(value, text):
    assert short(value) == text


def test_a_ratio_is_taken_within_a_round_so_that_a_slow_round_does_not_show():
    rows = []
    for number, slow in enumerate((1, 7, 2)):
        rows += [
            row("step", "torch", number, size=68, times=4, seconds=2.0 * slow),
            row("step", "tf", number, size=68, times=4, seconds=4.0 * slow),
            row("train", "tf", number, size=68, steps=6, test_batches=1, seconds=8.0 * slow,
                train_seconds=7.5 * slow, evaluation_seconds=0.5 * slow),
            row("predict", "tf", number, size=68, batch=10, seconds=[0.4 * slow]),
            row("limit", "tf", number, do="product", n=100, seconds=[5.0 * slow, 1.0 * slow]),
        ]  # fmt: skip
    report = make_report(rows, names=("torch", "tf"))
    assert report.step(68, "torch") == pytest.approx((10.0, 20 / 7, 20.0, 3))
    assert report.step_of_fastest(68, "tf") == pytest.approx((0.5, 0.5, 0.5, 3))
    assert report.train_of_step(68, "tf") == pytest.approx((0.8, 0.8, 0.8, 3))
    assert report.epoch_of_parts(68, "tf") == pytest.approx((0.8, 0.8, 0.8, 3))
    flop = 2 * sum(c.training_multiply_adds for c in architecture.convolutions(68))
    share = 20 * flop / (2 * 100**3)
    assert report.step_of_limit(68, "torch") == pytest.approx((share, share, share, 3))


def test_what_one_round_lacks_is_compared_in_the_others():
    rows = [
        row("step", "torch", 0, size=68, times=1, seconds=1.0),
        row("step", "torch", 1, size=68, times=1, seconds=1.0),
        row("step", "tf", 1, size=68, times=1, seconds=2.0),
    ]
    assert make_report(rows).step_of_fastest(68, "tf").rounds == 1


def test_a_profile_knows_the_frameworks_names_of_their_operations():
    of = {
        "torch": {
            "aten::mkldnn_convolution": 0.25, "aten::convolution_backward": 0.5,
            "aten::clamp_min": 0.125, "aten::threshold_backward": 0.0625,
            "aten::max_pool2d_with_indices": 0.03125,
            "aten::max_pool2d_with_indices_backward": 0.03125, "Optimizer.step#SGD.step": 1.0,
        },
        "tf": {
            "_FusedConv2D": 0.25, "Conv2DBackpropFilter": 0.25, "Conv2DBackpropInput": 0.25,
            "Relu": 0.125, "ReluGrad": 0.0625, "MaxPool": 0.03125, "MaxPoolGrad": 0.03125,
            "BiasAddGrad": 0.5, "Mul": 0.5,
        },
        "mxnet": {
            "Convolution": 0.25, "_backward_Convolution": 0.5, "Activation": 0.125,
            "_backward_Activation": 0.0625, "Pooling": 0.03125, "_backward_Pooling": 0.03125,
            "Dropout": 0.75, "_backward_copy": 0.25,
        },
    }  # fmt: skip
    report = make_report([row("profile", n, size=68, operations=o) for n, o in of.items()])
    for name in of:
        shares = {kind: value.median for kind, value in report.profile(68, name).items()}
        assert shares == {
            "convolutions, gradients": 0.25, "convolutions": 0.125, "ReLU": 0.09375,
            "pooling": 0.03125, "the rest": 0.5,
        }  # fmt: skip


@pytest.mark.parametrize("operations", [{}, {"Conv2D": 0.0}])
def test_a_profile_of_nothing_is_no_figure(operations):
    rows = [row("profile", "tf", size=68, operations=operations)]
    report = make_report(rows)
    assert report.profile(68, "tf") == {}
    assert report.as_json()["figures"] == {}
    assert "is made of" not in printed(report)


def test_the_limit_is_the_best_product_of_any_library_and_size():
    rows = [
        row("limit", "numpy", do="product", n=1000, seconds=[2.0, 4.0]),
        row("limit", "mxnet", do="product", n=2000, seconds=[4.0]),
        row("limit", "tf", do="product", n=1000, seconds=[9.0]),
    ]
    assert make_report(rows).limit().median == pytest.approx(2 * 2000**3 / 4 / 1e9)


def test_a_convolution_counts_its_gradients_but_not_that_of_the_image():
    layer, other = architecture.convolutions(68)[:2]
    rows = [
        row("limit", "tf", do="convolution", size=68, layer=each.name, backward=b, seconds=[1.0])
        for each in (layer, other)
        for b in (False, True)
    ]
    report = make_report(rows)
    forward, training = (
        [report.convolution(68, each.name, passes, "tf").median for each in (layer, other)]
        for passes in ("forward", "training")
    )
    assert forward[0] == pytest.approx(2 * 10 * layer.multiply_adds / 1e9)
    assert training == pytest.approx([2 * forward[0], 3 * forward[1]])


def test_seconds_to_an_accuracy_are_those_of_the_first_epoch_that_reached_it():
    epochs = [
        {"seconds": 10.0, "accuracy": 0.84},
        {"seconds": 20.0, "accuracy": 0.89},
        {"seconds": 30.0, "accuracy": 0.86},
    ]
    report = make_report([row("accuracy", "tf", 0, epochs=epochs)])
    assert report.seconds_to(0.845, "tf") == [20.0]
    assert report.seconds_to(0.9, "tf") == [None]
    assert report.seconds_to(0.9, "torch") == []


def test_the_precision_of_the_preset_is_told_which_is_not_that_of_the_rest():
    epochs = [{"seconds": 10.0, "accuracy": 0.9}]
    rows = [
        row("accuracy", "tf", precision="bfloat16", epochs=epochs),
        # as rows were until they told it
        row("accuracy", "mxnet", epochs=epochs),
    ]
    assert "precision: tf bfloat16, mxnet auto" in " ".join(printed(make_report(rows)).split())


def test_seeds_that_did_not_get_there_are_told():
    assert mean_and_spread([10.0, 14.0]) == "12 ±3"
    assert mean_and_spread([10.0, None]) == "10 (1 of 2)"
    assert mean_and_spread([None]) == "never"


def test_targets_are_met_or_not_as_the_table_shows_them():
    rows = [
        row("d2l", "torch", size=224, epochs=1, train_examples=10, test_examples=2,
            seconds=10.0, d2l_seconds=23.96, bytes=3e9, d2l_bytes=4e9),
        row("d2l", "tf", size=224, epochs=1, train_examples=10, test_examples=2,
            seconds=10.0, d2l_seconds=14.9, bytes=3e9, d2l_bytes=2.9e9),
    ]  # fmt: skip
    found = {target.what: target.met for target in make_report(rows).targets()}
    assert found == {
        "times as fast as d2l, torch": True,
        "d2l's memory / train.py's, torch": True,
        "times as fast as d2l, tf": False,
        "d2l's memory / train.py's, tf": False,
    }


def full_rows(names, sizes):
    """A row of every kind for every backend, with large numbers."""
    rows = [row("limit", "numpy", do="product", n=4096, seconds=[1e-4])]
    for i, name in enumerate(names, start=1):
        epochs = [{"seconds": 1000.0 * i, "accuracy": 0.95}]
        rows += [
            row("limit", name, do="product", n=4096, seconds=[1e-4 * i]),
            row("d2l", name, size=224, epochs=1, train_examples=10000, test_examples=2000,
                seconds=1.0, d2l_seconds=1000.0, bytes=1e9, d2l_bytes=2e9),
            row("accuracy", name, 0, epochs=epochs),
            row("accuracy", name, 1, epochs=epochs),
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
                row("profile", name, size=size, operations=dict.fromkeys(
                    ("conv_backward", "conv", "relu", "pool", "other"), 1234.5)),
            ]  # fmt: skip
            rows += [
                row("limit", name, do="convolution", size=size, layer=layer.name, backward=b,
                    seconds=[1e-6])
                for layer in architecture.convolutions(size)
                for b in (False, True)
            ]  # fmt: skip
    return rows


def printed(report, stored=None):
    console = Console(width=bench_report.WIDTH, highlight=False, record=True, file=io.StringIO())
    bench_report.show(report, console)
    if stored:
        bench_report.show_comparison(report, stored, console)
    return console.export_text()


def test_the_tables_fit_a_projector_and_lose_nothing():
    report = make_report(full_rows(NAMES, (224, 68)), sizes=(224, 68))
    text = printed(report, stored=report)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    for words in ("training", "prediction and memory", "matrix product", "alone at 224",
                  "step at 224 is made of", "against d2l", "seconds to", "targets",
                  "A sample."):  # fmt: skip
        assert words in text
    ratios = re.findall(r"(\d\.\d+) *$", text.split("against the stored bench")[1], re.MULTILINE)
    assert len(ratios) == len(report.figures())
    assert set(ratios) == {"1.00"}


def test_a_comparison_with_d2l_tells_its_environment_and_its_own_rounds():
    rows = [
        row("d2l", "torch", number, size=224, epochs=1, train_examples=10, test_examples=2,
            seconds=10.0, d2l_seconds=20.0, bytes=3e9, d2l_bytes=4e9)
        for number in range(2)
    ]  # fmt: skip
    record = make_record(rows, repeats=4)
    assert "environment" not in printed(Report(record))
    record["backends"] |= {
        f"{name}, d2l": {"versions": {"python": "3.11.7", "d2l": "1.0.3", name: f"0.{name}"}}
        for name in NAMES
    }
    text = printed(Report(record))
    assert "torch 1, tf 1, mxnet 1\n" in text
    assert "in d2l's environment: d2l 1.0.3, torch 0.torch, tf 0.tf, mxnet 0.mxnet\n" in text
    assert "float32; rounds: 4;" in text
    assert "rounds: 2; 10 training" in text


def test_what_was_not_measured_has_no_table_and_no_figure(tmp_path):
    report = make_report([row("step", "tf", size=68, times=1, seconds=1.0)])
    text = printed(report)
    assert "examples/s" in text
    for words in ("prediction and", "product", "convolutions", "d2l", "seconds to"):
        assert words not in text
    assert [path.name for path in bench_plot.draw(report, tmp_path)] == ["bench.svg", "bench.png"]
    assert bench_plot.draw(make_report([]), tmp_path) == []


def test_the_figure_is_drawn_of_everything(tmp_path):
    report = make_report(full_rows(NAMES, (224, 68)), sizes=(224, 68))
    bench_plot.draw(report, tmp_path)
    assert (tmp_path / "bench.png").stat().st_size > 10_000


def test_the_legend_names_the_bars_though_the_first_backend_has_none(tmp_path):
    report = make_report([row("step", "mxnet", size=68, times=1, seconds=1.0)])
    bench_plot.draw(report, tmp_path)
    # letters are drawn, with what they say in a comment
    assert "<!-- bare step -->" in (tmp_path / "bench.svg").read_text()


def test_a_comparison_says_what_is_not_alike():
    then = make_record([row("step", "tf", size=68, times=1, seconds=2.0)])
    now = make_record([row("step", "tf", size=68, times=1, seconds=1.0)], batch_size=20)
    table, notes = bench_report.comparison(Report(now), Report(then))
    assert notes == ["batch size: stored 10, now 20"]
    assert next(iter(table.columns[3].cells)) == "4.00"


def test_a_report_and_its_json_are_the_same_bench(tmp_path):
    report = make_report(full_rows(NAMES, (68,)))
    bench_report.save(report.record, tmp_path / "bench.json")
    again = Report(bench.load_record(tmp_path / "bench.json"))
    assert again.figures() == report.figures()
    assert again.as_json() == report.as_json()


def test_a_figure_that_fails_loses_no_measurement(tmp_path):
    rows = [row("step", "tf", size=68, times=1, seconds=0.0)]
    with pytest.raises(ZeroDivisionError):
        bench_report.save(make_record(rows), tmp_path / "bench.json")
    assert json.loads((tmp_path / "bench.json").read_text())["rows"] == rows


# ------------------------------------------------------------------- plan


def test_every_round_measures_every_backend_once_forth_and_back():
    planned = jobs(Plan(parts=("step", "train"), repeats=2, sizes=(68,)))
    order = [(job.round, job.part, job.backend) for job in planned]
    assert order == [
        (number, part, name)
        for number in (0, 1)
        for part in ("train", "step")
        for name in (NAMES if number == 0 else NAMES[::-1])
    ]


def test_a_quick_bench_takes_the_step_at_every_size_and_the_rest_at_the_smallest():
    planned = jobs(Plan(parts=bench.QUICK_PARTS, quick=True))
    sizes = {part: set() for part in bench.QUICK_PARTS}
    for job in planned:
        sizes[job.part].add(job.request.get("size"))
    assert sizes == {"limit": {None, 68}, "step": {224, 68}, "train": {68}, "predict": {68}}


def test_fast_is_benched_at_its_own_size_and_the_book_elsewhere():
    assert settings_for(68, 128).preset == "fast"
    assert settings_for(224, 128).preset == settings_for(96, 128).preset == "book"


BAD_INPUT = {
    "unknown backend": ("--backends jax", "--backends jax: unknown; choose from torch, tf, mxnet"),
    "no backend": ("--backends ,", "--backends: choose from"),
    "twice": ("--backends tf,tf", "--backends: tf is named twice"),
    "unknown part": ("--parts speed", "--parts speed: unknown; choose from limit, train, step, "
                     "predict, memory, profile, accuracy, d2l"),
    "no parts": ("--parts ,", "--parts: choose from"),
    "not a size": ("--sizes large", "--sizes large: must be whole numbers"),
    "too small": ("--sizes 66", "the smallest that works is 67"),
    "no repeats": ("--repeats 0", "--repeats 0: must be"),
    "no time": ("--seconds nan", "--seconds nan: must be"),
    "no seeds": ("--seeds 0", "--seeds 0: must be"),
    "no batch": ("--batch-size 0", "--batch-size 0: must be"),
    "against whom": ("--against keras", "--against keras: must be d2l"),
    "no d2l": ("--against d2l --d2l-python nowhere", "--d2l-python nowhere: no such file"),
    "batch beyond the data": ("--data sample --batch-size 2000", "12000 training images"),
    "no such data": ("--data nowhere", "data nowhere: no such directory"),
    "no bench to compare": ("--compare nowhere", "nowhere: cannot be read (No such file"),
    "no bench to show": ("--show nowhere", "nowhere: cannot be read (No such file"),
    "interpreter of none": ("--python jax=x", "--python jax=x: must be NAME=PATH"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_to_the_bench_gets_one_clear_line(tmp_path, arguments, words):
    assert_one_clear_line(run("bench.py", *arguments.split(), cwd=tmp_path), words)
    assert list(tmp_path.iterdir()) == []


def test_the_help_names_every_part_and_says_what_the_targets_are():
    said = " ".join(run("bench.py", "--help").stdout.split())
    parts = ",".join(bench.KNOWN_PARTS)
    assert f"--parts NAMES some of {parts} (all but d2l; quick: the first 4)" in said
    assert bench.KNOWN_PARTS[:4] == bench.QUICK_PARTS
    explained = said.split("parts: ")[1]
    assert all(re.search(rf"\b{part}\b", explained) for part in bench.KNOWN_PARTS)
    assert 'The table "targets" holds' in said


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 99}', '{"format": 1}'])
def test_a_file_that_is_no_bench_is_refused(tmp_path, content):
    file = tmp_path / "bench.json"
    file.write_text(content)
    with pytest.raises(NinError, match=str(file)):
        bench.load_record(file)


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
    assert bench_report.load(file).record == record
    *outer, last = names
    part = record
    for name in outer:
        part = part[name]
    del part[last]
    file.write_text(json.dumps(record))
    with pytest.raises(NinError, match=rf"not a whole bench\.json \(KeyError: '{last}'\)"):
        bench_report.load(file)


def test_a_stored_bench_is_printed_again(tmp_path):
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(make_report(full_rows(NAMES, (68,))).as_json()))
    done = run("bench.py", "--show", file, "--compare", file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "against the stored bench" in done.stdout


# -------------------------------------------------------- when things fail


class FakeWorker:
    """Answers at once; its backend fails as the test says."""

    failing = {}  # noqa: RUF012

    def __init__(self, interpreter, options):
        self.name = options["backend"]
        self.asked = 0
        self.ended = False
        if isinstance(self.failing.get(self.name), str):
            raise LostError(self.failing[self.name])
        self.about = {"threads": 2, "device": "cpu", "versions": {self.name: "1"}}

    def ask(self, request):
        self.asked += 1
        error = self.failing.get(self.name, {}).get(request["do"])
        if error is not None and self.asked > 2:
            raise error
        more = {"train": {"steps": 6, "test_batches": 1, "train_seconds": 1.0}}
        seconds = 1.0 if request["do"] in ("step", "train") else [1.0]
        return {"times": 1, "seconds": seconds, **more.get(request["do"], {})}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.ended = True

    kill = close


@pytest.fixture
def measured(monkeypatch):
    """Runs a bench with fake workers; the bench, and what it said."""
    monkeypatch.setattr(bench, "WorkerProcess", FakeWorker)

    def go(failing, parts=("step", "train")):
        monkeypatch.setattr(FakeWorker, "failing", failing)
        said = []
        plan = Plan(parts=parts, sizes=(68,), data="sample", repeats=3)
        with bench.Bench(plan, (), Path(), said.append) as running:
            running.measure(lambda share, left, what: None)
        return running, said

    return go


def test_a_missing_backend_is_one_line_and_the_others_go_on(measured):
    running, said = measured({"tf": "backend tf: tensorflow is not installed"})
    assert said == ["note: tf: left out from here on: tensorflow is not installed"]
    assert {r["backend"] for r in running.rows} == {"torch", "mxnet"}
    assert len(running.rows) == 2 * 2 * 3
    assert not running.complete


def test_a_backend_that_crashes_is_left_out_and_what_it_measured_is_kept(measured):
    running, said = measured({"mxnet": {"step": LostError("crashed (SIGSEGV)")}})
    assert said == ["note: mxnet: left out from here on: crashed (SIGSEGV)"]
    kept = [(r["part"], r["round"]) for r in running.rows if r["backend"] == "mxnet"]
    assert kept == [("train", 0), ("step", 0), ("train", 1)]
    assert len([r for r in running.rows if r["backend"] == "tf"]) == 6


def test_a_part_that_a_backend_refuses_does_not_stop_its_other_parts(measured):
    running, said = measured({"tf": {"train": RefusedError("no memory")}})
    assert len(said) == 1
    parts = [r["part"] for r in running.rows if r["backend"] == "tf"]
    assert (parts.count("step"), parts.count("train")) == (3, 1)


def test_a_process_of_its_own_that_does_not_start_loses_its_part_alone(monkeypatch, measured):
    started = []

    class Tired(FakeWorker):
        def __init__(self, interpreter, options):
            super().__init__(interpreter, options)
            started.append(self.name)
            if self.name == "tf" and started.count("tf") == 2:
                raise LostError("backend tf: no process is free")

    monkeypatch.setattr(bench, "WorkerProcess", Tired)
    running, said = measured({}, ("step", "memory", "profile"))
    assert said == ["note: memory, tf: left out from here on: no process is free"]
    parts = [r["part"] for r in running.rows if r["backend"] == "tf"]
    assert (parts.count("step"), parts.count("memory"), parts.count("profile")) == (3, 0, 1)


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
    (tmp_path / "mine").symlink_to(data.SAMPLE_DIRECTORY)
    monkeypatch.chdir(tmp_path)
    with bench.Bench(Plan(data="mine"), (), Path(), print) as ready:
        assert Path(ready.data).is_absolute()
        assert data.load(ready.data).kind == "sample"


def process(code, timeout=60.0):
    return Process([sys.executable, "-c", code], dict(os.environ), timeout)


def test_a_process_that_crashes_or_hangs_says_so():
    with pytest.raises(LostError, match=r"crashed \(SIGKILL\)"), process(
        "import os; os.kill(os.getpid(), 9)"
    ) as crashing:  # fmt: skip
        crashing.line()
    with pytest.raises(LostError, match=r"no answer in 0\.1 s"), process(
        "import time; time.sleep(60)", 0.1
    ) as hanging:  # fmt: skip
        hanging.line()
    with pytest.raises(LostError, match="this is why"), process(
        "import sys; sys.exit('error: this is why')"
    ) as failing:  # fmt: skip
        failing.line()


def test_nothing_that_a_process_started_is_left_behind():
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with process(code) as parent:
        child = int(parent.line())
        parent.kill()
    assert is_gone_soon(child)


def is_gone_soon(pid):
    """Whether a process is gone, once the system has had the time to end one that was killed."""
    until = time.monotonic() + 10
    while not (gone := is_gone(pid)) and time.monotonic() < until:
        time.sleep(0.05)
    return gone


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_a_worker_without_its_backend_is_lost_with_the_reason():
    options = {"backend": "nowhere.py", "data": "sample", "device": "cpu", "threads": 0}
    with pytest.raises(LostError, match=r"nowhere\.py: no such file"):
        WorkerProcess(sys.executable, options)


def test_d2l_is_given_exactly_the_examples_of_the_bench(tmp_path, sample):
    part = first_images(sample, 30, 5)
    bench_d2l.write_files(part, tmp_path)
    for directory in ("datasets/fashion-mnist", "FashionMNIST/raw"):
        found = data.read_directory(tmp_path / directory)
        np.testing.assert_array_equal(found.train_images, sample.train_images[:30])
        np.testing.assert_array_equal(found.test_labels, sample.test_labels[:5])
    with pytest.raises(NinError, match="20000 training images are needed"):
        first_images(sample, 20000, 5)


def test_the_peak_of_memory_grows_with_what_is_used():
    before = peak_memory()
    used = np.ones(2**25)
    assert peak_memory() >= before + used.nbytes / 2
    assert before > 2**20


# ------------------------------------------------------------ with a backend


def test_the_bare_step_is_the_training_step_without_what_surrounds_it(backend, sample):
    part = first_images(sample, 4, 1)
    # of adamw the first step divides gradients by themselves, rounding errors too
    plain = {"optimizer": "sgd", "weight_decay": 0.0, "dropout": 0.0, "device": "cpu"}
    changes = []
    for bare in (False, True):
        net = backend.nin(dropout=0.0)
        backend.initialize(net, "he", 0)
        before = backend.get_weights(net)
        settings = settings_for(68, 4, backend=backend.NAME, **plain)
        trainer = backend.Trainer(net, settings, part)
        if bare:
            backend.bare_step(trainer, part.train_images, part.train_labels, 0.01)(2)
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


def test_a_worker_measures_the_machine_and_memory(backend, backend_name):
    worker = Worker(backend_name, "sample", "cpu", 0)
    assert worker.answer({"do": "memory", "size": 68, "batch": 2})["bytes"] > 2**20
    assert worker.answer({"do": "product", "n": 64, "seconds": 0.001})["seconds"]
    for layer in ("block1.conv1", "block2.conv1", "block4.conv3"):
        for backward in (False, True):
            request = {"do": "convolution", "layer": layer, "backward": backward}
            common = {"size": 68, "batch": 2, "seconds": 0.001}
            assert worker.answer({**request, **common})["seconds"]


def test_a_profile_names_what_a_step_is_made_of(backend, backend_name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    worker = Worker(backend_name, "sample", "cpu", 0)
    operations = worker.answer({"do": "profile", "size": 224, "batch": 2})["operations"]
    answer = worker.answer({"do": "step", "size": 224, "batch": 2, "seconds": 1.0})
    report = make_report([row("profile", backend_name, size=224, operations=operations)])
    shares = {kind: value.median for kind, value in report.profile(224, backend_name).items()}
    assert all(shares.values()), operations
    assert sum(shares[kind] for kind in shares if "convolutions" in kind) > 0.5, operations
    # nothing large is left out and nothing counted over and over; no speed is tested
    step = answer["seconds"] / answer["times"]
    assert 0.25 < sum(operations.values()) / step < 4, operations
    # as MXNet's profiler does if it is not told otherwise
    assert list(tmp_path.iterdir()) == []


def test_pytorchs_profile_of_a_gpu_counts_each_kernel_once(backend, backend_name):
    if backend_name != "torch":
        pytest.skip("PyTorch's profiler has a format of its own")
    from torch.autograd import DeviceType
    from torch.autograd.profiler_util import EventList, FunctionEvent

    def event(name, start, end, kernels=(), **more):
        made = FunctionEvent(0, name, 1, start, end, stack=[], use_device="cuda", **more)
        made.is_user_annotation = "#" in name  # PyTorch below 2.5 takes no such argument
        for kernel, microseconds in kernels:
            made.append_kernel(kernel, 0, microseconds)
        return made

    # the profiler gives kernels to the operations that start them, and annotations the time on the
    # GPU in which theirs ran, as if it were a kernel
    gemm, sgd = ("sm90_gemm", 3e6), ("multi_tensor_apply", 1e6)
    on_gpu = {"device_type": DeviceType.CUDA}
    events = EventList([
        event("aten::conv2d", 0, 10),
        event("aten::cudnn_convolution", 1, 9, [gemm]),
        event("sm90_gemm", 5, 5 + 3e6, **on_gpu),
        event("Optimizer.step#SGD.step", 10, 20, [("Optimizer.step#SGD.step", 1e6)]),
        event("aten::_fused_sgd_", 11, 19, [sgd]),
        event("multi_tensor_apply", 4e6, 5e6, **on_gpu),
        event("Optimizer.step#SGD.step", 4e6, 5e6, **on_gpu),
    ], use_device="cuda")  # fmt: skip
    events._build_tree()
    assert backend.bench._seconds(events.key_averages(), "gpu") == {
        "aten::conv2d": 0.0, "aten::cudnn_convolution": 3.0, "aten::_fused_sgd_": 1.0,
    }  # fmt: skip


def test_tensorflows_profile_of_a_gpu_counts_each_kernel_once(backend, backend_name):
    if backend_name != "tf":
        pytest.skip("TensorFlow's profiler has a format of its own")
    from google.protobuf import json_format
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    # as TensorFlow leaves it, and lines as TensorBoard adds them
    kernel, copy, tf_op, conv, relu = range(1, 6)
    names = ["kernel_details", "memcpy_details", "tf_op", "a/b/Conv2D:Conv2D", "a/Relu:ReluGrad"]

    def event(seconds, kind, operation):
        stats = [{"metadataId": kind}, {"metadataId": tf_op, "refValue": operation}]
        return {"metadataId": 1, "durationPs": int(seconds * 1e12), "stats": stats}

    named = {"statMetadata": {i: {"name": name} for i, name in enumerate(names, start=1)},
             "eventMetadata": {1: {"name": "a/b/Conv2D:Conv2D"}}}  # fmt: skip
    lines = [
        {"name": "Stream #20(Kernel)", "events": [event(2, kernel, conv), event(1, kernel, relu)]},
        {"name": "Stream #21(MemcpyD2D,Kernel)",
         "events": [event(0.5, kernel, conv), event(4, copy, conv)]},
        *({"name": f"{whose} Ops", "events": [{"metadataId": 1, "durationPs": 10**12}]}
          for whose in ("Framework", "TensorFlow")),
    ]  # fmt: skip
    host = [{"name": "tf_Compute", "events": [event(8, kernel, conv)]}]
    planes = [{"name": "/host:CPU", "lines": host}, {"name": "/device:GPU:0", "lines": lines}]
    content = {"planes": [{**plane, **named} for plane in planes]}
    space = json_format.ParseDict(content, xplane_pb2.XSpace())
    assert backend.bench._seconds(space, "gpu") == {"Conv2D": 2.5, "ReluGrad": 1.0}
    assert backend.bench._seconds(space, "cpu") == {"Conv2D": 8.0}


def test_a_profiler_that_says_nothing_is_told(backend, backend_name, monkeypatch):
    found = [{}, {"conv": 2.0}, {"conv": 1.0}]
    monkeypatch.setattr(backend, "profile", lambda trainer, work: found.pop())
    worker = Worker(backend_name, "sample", "cpu", 0)
    request = {"do": "profile", "size": 68, "batch": 2}
    assert worker.answer(request) == {"operations": {"conv": 1.0}}
    found += [{}, {"conv": 0.0}, {}]
    with pytest.raises(NinError, match="names no operation"):
        worker.answer(request)


def test_a_run_to_an_accuracy_ends_with_it_and_tells_its_precision(
    backend, backend_name, monkeypatch
):
    monkeypatch.setattr(bench, "TARGET_ACCURACIES", (0.0,))
    plan = Plan((backend_name,), ("accuracy",), seeds=1, data="sample", accuracy_limit=256)
    with bench.Bench(plan, (), Path(), print) as running:
        running.measure(lambda share, left, what: None)
    (found,) = running.rows
    assert len(found["epochs"]) == 1
    assert found["precision"] in backend.PRECISIONS


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


def test_ctrl_c_leaves_no_process_and_no_file_behind(backend, backend_name, tmp_path):
    arguments = "--sizes 68 --batch-size 2 --repeats 1000 --seconds 0.001 --data sample"
    running = subprocess.Popen(
        command("bench.py", "--backends", backend_name, *arguments.split(), "--parts", "step"),
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        until = time.monotonic() + 60
        while not (workers := children(running.pid)):
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=30)[1]
    assert running.returncode == 130, said
    assert "Traceback" not in said
    assert all(is_gone_soon(pid) for pid in workers)
    assert list(tmp_path.rglob("nin-bench-*")) == []


def children(pid):
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
