"""What a run writes into its directory while it goes; :mod:`run_directory` says what is where."""

import dataclasses
import hashlib
import json
import shlex
import sys
import time
from typing import Any

import numpy as np

from common.data.dataset import Dataset
from common.errors import NinError
from common.files import figures
from common.files.write import write_json
from common.system import machine
from common.training import run_directory
from common.training.run import Run, Watcher

# Write a checkpoint and redraw the curves this often, and when a run ends or is stopped.
RECORD_SECONDS = 60


class Records(Watcher):
    """Writes the files of a run into ``run.directory``."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._writer: Any = None

    def begin(self, run: Run) -> None:
        """A checkpoint from before the first step."""
        self.save_checkpoint(run)

    def step(self, run: Run) -> None:
        """A checkpoint now and then."""
        if time.monotonic() - self._last > RECORD_SECONDS:
            self.save_checkpoint(run)

    def epoch(self, run: Run, row: dict[str, Any]) -> None:
        """The metrics; now and then a checkpoint and the curves."""
        run_directory.write_metrics(_directory(run), run.progress)
        if time.monotonic() - self._last > RECORD_SECONDS:
            self.save_checkpoint(run)
            self._draw(run)
        self._log_events(run, row)

    def end(self, run: Run, failed: bool) -> None:
        """Everything that a run leaves; of one that failed, the last checkpoint stays as it is."""
        directory = _directory(run)
        if not failed:
            self.save_checkpoint(run)
            run.save(directory / run_directory.MODEL)
        run_directory.write_result(directory, run.result())
        # the figure last: when it fails, nothing else is lost
        self._draw(run)
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def save_checkpoint(self, run: Run) -> None:
        """Write the checkpoint and ``metrics.jsonl``.

        Raises:
            DivergedError: if a weight is not finite; the last checkpoint is left as it is.
        """
        state = run.finite_state()
        run.progress.total_seconds = run.total_seconds
        run_directory.save_checkpoint(_directory(run), state, run.progress)
        run_directory.write_metrics(_directory(run), run.progress)
        self._last = time.monotonic()

    def _draw(self, run: Run) -> None:
        if not run.history:
            return
        try:
            figures.save_svg_and_png(run.plot(), _directory(run), run_directory.CURVES)
        except Exception as error:  # a figure is no reason to lose a result
            run.note(f"the curves could not be drawn ({type(error).__name__}: {error})")

    def _log_events(self, run: Run, row: dict[str, Any]) -> None:
        epoch = len(run.history)  # a whole number, also where the last is a part of one
        if self._writer is None:
            # needed once per epoch, not for the first step
            from common.training.tensorboard import SummaryWriter

            self._writer = SummaryWriter(
                str(_directory(run) / run_directory.TENSORBOARD), purge_step=epoch
            )
            if run.dataset.notice:
                self._writer.add_text("notice", run.dataset.notice, epoch)
        accuracy = f"{row['evaluated_on']}_accuracy"
        for name in ("train_loss", "train_accuracy", accuracy, "learning_rate"):
            self._writer.add_scalar(name, row[name], epoch)
        self._writer.flush()


def describe(run: Run) -> dict[str, Any]:
    """The content of ``config.json``."""
    dataset, ready = run.dataset, run.ready
    model = run.classifier().model
    versions = machine.versions("safetensors", "matplotlib", "pooch", "rich", "tensorboardX")
    if hasattr(ready.backend, "versions"):
        versions |= ready.backend.versions()
    return {
        "command": shlex.join(sys.argv),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "settings": dataclasses.asdict(run.settings),
        "network": list(model.layers) or model.network.differences() or "nin",
        "data": {
            "asked_for": run.asked_for,
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
    names = ("device", "threads", "versions", "machine", "git_commit", "started")
    config.setdefault("resumed", []).append({name: now[name] for name in names})
    write_json(_directory(run) / run_directory.CONFIG, config)
    changed = [
        f"{name} {now[name]} instead of {config.get(name)}"
        for name in ("device", "threads", "versions")
        if now[name] != config.get(name)
    ]
    if changed:
        run.note(f"resumed with {', '.join(changed)}: not bit for bit what it would have been")


def _directory(run: Run) -> Any:
    assert run.directory is not None
    return run.directory
