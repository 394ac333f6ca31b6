"""What a run writes into its directory while it goes; :mod:`run_directory` says what is where."""

import contextlib
import dataclasses
import gc
import hashlib
import json
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from common.data.dataset import Dataset
from common.errors import NinError, one_line
from common.files import figures, sealed
from common.system import machine
from common.training import run_directory
from common.training.run import Run, Watcher

# Write a checkpoint and redraw the curves this often, and when a run ends or is stopped.
RECORD_SECONDS = 60


class Records(Watcher):
    """Writes the files of a run into ``run.directory``.

    When that can no longer be written, the run ends, and what was trained goes elsewhere.
    """

    def __init__(self) -> None:
        self._last = self._drawn = time.monotonic()
        self._events: Any = None
        self._has_events = True

    def begin(self, run: Run) -> None:
        """A checkpoint from before the first step; what an earlier stop left is over."""
        if not run.complete:
            (_directory(run) / run_directory.RESULT).unlink(missing_ok=True)
        _write_checkpoint(run)
        self._last = time.monotonic()

    def step(self, run: Run) -> None:
        """A checkpoint now and then."""
        if time.monotonic() - self._last > RECORD_SECONDS:
            with _rescuing(run):
                _write_checkpoint(run)
            self._last = time.monotonic()

    def epoch(self, run: Run, row: dict[str, Any]) -> None:
        """The metrics; now and then a checkpoint and the curves."""
        with _rescuing(run):
            run_directory.write_metrics(_directory(run), run.progress)
        self.step(run)
        # a time of its own: a checkpoint within the epoch would put the curves off again and again
        if time.monotonic() - self._drawn > RECORD_SECONDS:
            _draw(run)
            self._drawn = time.monotonic()
        self._log_events(run, row)

    def end(self, run: Run, failed: bool) -> None:
        """Everything that a run leaves; of one that failed, the last checkpoint stays as it is."""
        if failed:
            sealed.write(_directory(run) / run_directory.RESULT, run.result())
        else:
            with _rescuing(run):
                _write_outcome(run)
        # the figure last: when it fails, nothing else is lost
        _draw(run)
        if self._events is not None:
            self._events.close()
            self._events = None

    def _log_events(self, run: Run, row: dict[str, Any]) -> None:
        if not self._has_events:
            return
        epoch = len(run.history)  # a whole number, also where the last is a part of one
        accuracy = f"{row['evaluated_on']}_accuracy"
        names = ("train_loss", "train_accuracy", accuracy, "learning_rate")
        try:
            if self._events is None:
                # needed once per epoch, not for the first step
                from common.training.tensorboard import Events

                place = _directory(run) / run_directory.TENSORBOARD
                self._events = Events(place, epoch, run.dataset.notice)
            self._events.add(epoch, {name: row[name] for name in names})
        except Exception as error:  # events are no reason to lose a result
            self._has_events = False
            run.note(f"no more events for TensorBoard ({type(error).__name__}: {error})")


@contextlib.contextmanager
def _rescuing(run: Run) -> Iterator[None]:
    """When the run's directory cannot be written, put what was trained elsewhere, and end."""
    try:
        yield
    except OSError as error:
        why = f"{error.filename or run.directory}: cannot be written ({error.strerror})"
        lost, run.directory = _directory(run), None
        raise NinError(f"{why}; {_rescue(run, lost)}") from error


def _rescue(run: Run, lost: Path) -> str:
    """Write a run into a new directory, wherever that is possible; where, or that it is not."""
    tried = []
    # its neighbour, if it is only gone; another disk, if its own is full
    for place in (lost.parent, Path(tempfile.gettempdir())):
        try:
            run.directory = run_directory.create(None, run.settings, place.absolute())
            try:
                config = run_directory.open_run(lost)
            except NinError:
                config = describe(run)
            sealed.write(run.directory / run_directory.CONFIG, config)
            _write_outcome(run)
        except (NinError, OSError) as error:
            tried.append(f"{place}: {one_line(error)}")
            if run.directory is not None:
                shutil.rmtree(run.directory, ignore_errors=True)
                run.directory = None
            continue
        what = "the complete run" if run.complete else "what was trained"
        how = "" if run.complete else f"; go on with `resume={shlex.quote(str(run.directory))}`"
        return f"{what} is in {run.directory}{how}"
    return f"and nowhere else either ({'; '.join(tried)})"


def _write_checkpoint(run: Run) -> None:
    state = run.finite_state()  # or the last checkpoint stays
    run.progress.total_seconds = run.total_seconds
    run_directory.save_checkpoint(_directory(run), state, run.progress)
    run_directory.write_metrics(_directory(run), run.progress)


def _write_outcome(run: Run) -> None:
    _write_checkpoint(run)
    run.save(_directory(run) / run_directory.MODEL)
    sealed.write(_directory(run) / run_directory.RESULT, run.result())


def _draw(run: Run) -> None:
    if not run.history:
        return
    try:
        figures.save_svg_and_png(run.plot(), _directory(run), run_directory.CURVES)
    except Exception as error:  # a figure is no reason to lose a result
        run.note(f"the curves could not be drawn ({type(error).__name__}: {error})")
    # a figure is full of cycles, and what lies about until Python looks for them splits up the
    # memory: 1.4 MiB were lost with each drawing, of which a long run has thousands
    gc.collect()


def describe(run: Run) -> dict[str, Any]:
    """The content of ``config.json``."""
    dataset, settings = run.dataset, run.settings
    return {
        "command": shlex.join(sys.argv),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "settings": dataclasses.asdict(settings),
        "network": list(run.layers) or settings.description.differences() or "nin",
        "data": {
            "kind": dataset.kind,
            "directory": dataset.directory,
            "sha256": checksums(dataset),
            "train_examples": len(dataset.train_images),
            "test_examples": len(dataset.test_images),
            "num_classes": dataset.num_classes,
            "evaluated_on": dataset.evaluated_on,
            "notice": dataset.notice,
        },
        "lang": run.lang,
        **conditions(run),
    }


def conditions(run: Run) -> dict[str, Any]:
    """What computes: device, threads, versions, machine."""
    ready = run.ready
    versions = machine.versions("safetensors", "matplotlib", "pooch", "rich", "tensorboardX")
    if hasattr(ready.backend, "versions"):
        versions |= ready.backend.versions()
    return {
        "device": ready.device.name,
        **ready.prepared,
        "versions": versions,
        "machine": machine.describe(),
        "git_commit": machine.git_commit(),
    }


def checksums(dataset: Dataset) -> dict[str, str]:
    """Name -> SHA-256: of the files, or of the arrays where there are no files."""
    if dataset.checksums:
        return dataset.checksums
    names = ("train_images", "train_labels", "test_images", "test_labels")
    arrays = {name: np.ascontiguousarray(getattr(dataset, name)) for name in names}
    return {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}


def check_same_data(config: dict[str, Any], dataset: Dataset, where: str) -> None:
    """Raise :class:`NinError` unless a run's data are those that it was trained on."""
    recorded = config["data"]["sha256"]
    for name, checksum in checksums(dataset).items():
        if recorded.get(name) != checksum:
            raise NinError(
                f"{where}: the run was trained on another {name} "
                f"(SHA-256 {recorded.get(name)}, found {checksum} in {dataset.directory})"
            )


def add_resumption(run: Run, config: dict[str, Any], now: dict[str, Any]) -> None:
    """Add to ``config.json`` on what the run goes on; note what is not as it was."""
    # JSON has lists for tuples
    if json.loads(json.dumps(now["network"])) != config.get("network", "nin"):
        run.note("resumed with a network of other layers (or of another release of the framework)")
    # the records of one worker alone do not name it
    config, now = {"workers": 1, **config}, {"workers": 1, **now}
    names = ("device", "workers", "threads", "versions", "machine", "git_commit", "started")
    config.setdefault("resumed", []).append({name: now[name] for name in names})
    sealed.write(_directory(run) / run_directory.CONFIG, config)
    changed = [
        f"{name} {now[name]} instead of {config.get(name)}"
        for name in ("device", "workers", "threads", "versions")
        if now[name] != config.get(name)
    ]
    if changed:
        run.note(f"resumed with {', '.join(changed)}: not bit for bit what it would have been")


def _directory(run: Run) -> Any:
    assert run.directory is not None
    return run.directory
