"""The training loop: epochs, evaluation, records. The step itself is the backend's."""

import contextlib
import dataclasses
import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common import errors
from common.backends import session
from common.contract import Backend, Trainer
from common.data.fashion_mnist import CLASS_NAMES, Dataset, load_and_tell
from common.data.order import example_order
from common.errors import NinError
from common.files import figures
from common.files.write import write_json
from common.model import Model, save_model
from common.network import architecture, initialization
from common.settings import Settings
from common.system import machine
from common.system.signals import StopRequest
from common.terminal.progress import RunProgress, duration
from common.training import curves, plateau, run_directory, schedule
from common.training.run_directory import Progress

# Wait for the device and look at the losses this often, so that a GPU is not held up.
METRICS_SECONDS = 0.2
# Write a checkpoint and redraw the curves this often, and when a run ends or is stopped.
RECORD_SECONDS = 60
# The rate is told once this much training time has passed after the first, slower, step.
ESTIMATE_SECONDS = 3


class DivergedError(Exception):
    """Training diverged: a loss or a weight became infinite or not a number."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} {where}: training diverged; try a lower --lr")


class Run:
    """One training run in its directory.

    Args:
        directory: the run directory, made by :func:`common.training.run_directory.create`.
        settings: of the run.
        dataset: training and test images.
        backend: computes.
        stop: asked between steps whether to stop.
        say: prints a line for the person who watches.
        started: when the command started, as ``time.monotonic()`` counts.
    """

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        dataset: Dataset,
        backend: Backend,
        stop: StopRequest,
        say: Callable[[str], None],
        started: float | None = None,
    ) -> None:
        self.started = time.monotonic() if started is None else started
        self.directory = directory
        self.settings = settings
        self.dataset = dataset
        self.backend = backend
        self.stop = stop
        self.say = say
        self.progress = Progress()
        self.resumed_seconds = 0.0
        self.train_count = len(dataset.train_images)
        self.steps_per_epoch = math.ceil(self.train_count / settings.batch_size)
        self.total_steps = self.steps_per_epoch * settings.epochs

        net = backend.nin(dataset.num_classes, architecture.IN_CHANNELS, settings.dropout)
        backend.initialize(net, settings.init, settings.seed)
        if settings.last_block == "identity":
            backend.set_weights(net, initialization.identity_last_block(backend.get_weights(net)))
        self.trainer: Trainer = backend.Trainer(net, settings, dataset)
        self._estimated = False
        # to measure the rate: steps and seconds of this process, but for the first step of each
        # epoch, in which a framework may compile
        self._timed_steps = 0
        self._timed_seconds = 0.0
        self._last_record = time.monotonic()
        self._writer: Any = None

    def resume(self, state: Mapping[str, np.ndarray], progress: Progress) -> None:
        """Go on from a checkpoint.

        Args:
            state: of the trainer.
            progress: of the run.

        Raises:
            NinError: if it is of another network.
        """
        self.progress = progress
        try:
            self.trainer.load_state(state)
        except (KeyError, ValueError, RuntimeError) as error:
            if errors.is_out_of_memory(error):
                raise
            raise NinError(
                f"{self.directory / run_directory.CHECKPOINT}: not of this network "
                f"({errors.one_line(error)})"
            ) from error
        self.resumed_seconds = self.progress.total_seconds

    def train(self) -> bool:
        """Run all epochs that are left.

        Returns:
            True if the run is complete, False if it was asked to stop.

        Raises:
            DivergedError: if a loss or weight is not finite; the last checkpoint is from before.
        """
        self.save_checkpoint()
        with self.bars() as bars:
            while self.progress.epoch < self.settings.epochs:
                if not self.train_epoch(bars):
                    return False
        return True

    def bars(self) -> RunProgress:
        """What shows the progress of this run."""
        return RunProgress(
            self.settings.epochs,
            self.steps_per_epoch,
            self.train_count,
            len(self.dataset.test_images),
        )

    def train_epoch(self, bars: RunProgress) -> bool:
        """Train for what is left of one epoch, and evaluate; False if asked to stop."""
        return self._train_steps(bars) and self._evaluate_epoch(bars)

    def result(self) -> dict[str, Any]:
        """The content of ``result.json``, from what is done so far."""
        progress, settings, dataset = self.progress, self.settings, self.dataset
        last = progress.rows[-1] if progress.rows else {}
        examples = progress.epoch * self.train_count + min(
            progress.step * settings.batch_size, self.train_count
        )
        seconds = progress.train_seconds
        return {
            "backend": settings.backend,
            "preset": settings.preset,
            "data": dataset.kind,
            "notice": dataset.notice,
            "train_examples": self.train_count,
            "test_examples": len(dataset.test_images),
            "evaluated_on": dataset.evaluated_on,
            "epochs": progress.epoch,
            "train_loss": last.get("train_loss"),
            "train_accuracy": last.get("train_accuracy"),
            "test_accuracy": last.get("test_accuracy"),
            "validation_accuracy": last.get("validation_accuracy"),
            "examples_per_second": examples / seconds if seconds else None,
            "train_seconds": seconds,
            "total_seconds": self._total_seconds(),
            "device": self.trainer.device.name,
            "precision": settings.precision,
            "seed": settings.seed,
            "complete": progress.epoch == settings.epochs,
            "notes": progress.notes,
        }

    def finish(self) -> dict[str, Any]:
        """Write everything that a run ends with, complete or not; return the result.

        Raises:
            DivergedError: if a weight is not finite.
        """
        self.save_checkpoint()
        self.save_model(self.result())
        return self._conclude()

    def abandon(self, note: str) -> dict[str, Any]:
        """Write the result of a run that cannot go on; the last checkpoint stays as it is.

        Args:
            note: why, for ``result.json``.
        """
        self.progress.notes.append(note)
        return self._conclude()

    def _conclude(self) -> dict[str, Any]:
        result = self.result()
        run_directory.write_result(self.directory, result)
        # the figure last: when it fails, nothing else is lost
        self._draw()
        if self._writer is not None:
            self._writer.close()
        return result

    def save_checkpoint(self) -> None:
        """Write the checkpoint and ``metrics.jsonl``.

        Raises:
            DivergedError: if a weight is not finite; the last checkpoint is left as it is.
        """
        state = self._finite_state()
        self.progress.total_seconds = self._total_seconds()
        run_directory.save_checkpoint(self.directory, state, self.progress)
        run_directory.write_metrics(self.directory, self.progress)
        self._last_record = time.monotonic()

    def save_model(self, result: dict[str, Any]) -> None:
        """Write ``model.safetensors``: float32 weights by canonical name, and what they are."""
        model = Model(
            weights={
                name: array.astype(np.float32)
                for name, array in self.backend.get_weights(self.trainer.net).items()
            },
            num_classes=self.dataset.num_classes,
            in_channels=architecture.IN_CHANNELS,
            dropout=self.settings.dropout,
            class_names=CLASS_NAMES if self.dataset.kind in ("full", "sample") else (),
            resize=self.settings.resize,
            training=result,
        )
        save_model(self.directory / run_directory.MODEL, model)

    def _finite_state(self) -> dict[str, np.ndarray]:
        state, progress = self.trainer.state(), self.progress
        for name, array in state.items():
            if not np.isfinite(array).all():
                where = f"at epoch {progress.epoch + 1}, step {progress.step}"
                raise DivergedError(f"{name} is not finite", where)
        return state

    def _train_steps(self, bars: RunProgress) -> bool:
        progress, settings = self.progress, self.settings
        order = example_order(settings.seed, progress.epoch, self.train_count)
        first_step = looked_at = progress.step
        last_look = time.monotonic()
        while progress.step < self.steps_per_epoch and self.stop.signal is None:
            start = progress.step * settings.batch_size
            step = progress.epoch * self.steps_per_epoch + progress.step
            self.trainer.train_batch(
                order[start : start + settings.batch_size],
                schedule.learning_rate(settings, step, self.total_steps),
                step,
            )
            progress.step += 1
            first = progress.step == first_step + 1
            last = progress.step == self.steps_per_epoch
            if first or last or time.monotonic() - last_look > METRICS_SECONDS:
                self._take_metrics()
                seconds = time.monotonic() - last_look
                progress.train_seconds += seconds
                progress.epoch_train_seconds += seconds
                if not first:
                    self._timed_steps += progress.step - looked_at
                    self._timed_seconds += seconds
                looked_at = progress.step
                bars.training(progress.epoch, progress.step, self._rate())
                self._estimate(bars)
                self._watch_for_plateau()
                if time.monotonic() - self._last_record > RECORD_SECONDS:
                    self.save_checkpoint()
                last_look = time.monotonic()
        # the signal may have come after the last look
        self._take_metrics()
        # some frameworks' pooling and ReLU turn NaN into numbers, so that the loss hides it
        self._finite_state()
        return self.stop.signal is None

    def _take_metrics(self) -> None:
        progress = self.progress
        losses, correct = self.trainer.take_metrics()
        for loss in losses:
            if not math.isfinite(loss):
                where = f"at epoch {progress.epoch + 1}, step {len(progress.losses) + 1}"
                raise DivergedError(f"the loss is not finite ({loss})", where)
            progress.losses.append(float(loss))
        progress.correct.extend(int(count) for count in correct)
        recent = [*progress.recent_losses, *(float(loss) for loss in losses)]
        progress.recent_losses = recent[-plateau.WINDOW_STEPS :]

    def _rate(self) -> float | None:
        if not self._timed_steps:
            return None
        return self._timed_steps * self.settings.batch_size / self._timed_seconds

    def _estimate(self, bars: RunProgress) -> None:
        rate = self._rate()
        if self._estimated or rate is None or self._timed_seconds < ESTIMATE_SECONDS:
            return
        self._estimated = True
        done = self.progress.epoch + self.progress.step / self.steps_per_epoch
        left = bars.run_seconds(rate, self.settings.epochs - done)
        self.say(f"{rate:.1f} examples/s; about {duration(left)} to go")

    def _watch_for_plateau(self) -> None:
        progress = self.progress
        stuck = plateau.is_stuck(progress.recent_losses, self.dataset.num_classes)
        if stuck and not progress.stuck:
            images = self.dataset.train_images[:64]
            diagnosis = plateau.diagnose(self.trainer.activations(images), self.dataset.num_classes)
            note = errors.in_python(
                f"epoch {progress.epoch + 1}, step {progress.step}: "
                f"{diagnosis.explain(self.settings)}"
            )
            progress.notes.append(note)
            self.say(f"note: {note}")
        progress.stuck = stuck

    def _evaluate_epoch(self, bars: RunProgress) -> bool:
        progress, images, labels = (
            self.progress,
            self.dataset.test_images,
            self.dataset.test_labels,
        )
        started, correct = time.monotonic(), 0
        for start in range(0, len(images), self.settings.batch_size):
            if self.stop.signal is not None:
                return False
            end = start + self.settings.batch_size
            logits = self.trainer.logits(images[start:end])
            if not np.isfinite(logits).all():
                where = f"in the evaluation of epoch {progress.epoch + 1}"
                raise DivergedError("a logit is not finite", where)
            correct += int((logits.argmax(1) == labels[start:end]).sum())
            bars.evaluating(progress.epoch, min(end, len(images)))
        bars.evaluation_seconds = time.monotonic() - started

        row = self._row(correct / len(images), bars.evaluation_seconds)
        progress.rows.append(row)
        progress.epoch, progress.step = progress.epoch + 1, 0
        progress.losses, progress.correct, progress.epoch_train_seconds = [], [], 0.0
        run_directory.write_metrics(self.directory, progress)
        if time.monotonic() - self._last_record > RECORD_SECONDS:
            self.save_checkpoint()
            self._draw()
        self._log_events(row)
        self.say(
            f"epoch {row['epoch']}: loss {row['train_loss']:.3f}, "
            f"train acc {row['train_accuracy']:.3f}, {row['evaluated_on']} acc "
            f"{row[row['evaluated_on'] + '_accuracy']:.3f} (training "
            f"{duration(row['train_seconds'])}, evaluation {duration(row['evaluation_seconds'])})"
        )
        return True

    def _row(self, accuracy: float, evaluation_seconds: float) -> dict[str, Any]:
        progress = self.progress
        sizes = np.full(self.steps_per_epoch, self.settings.batch_size)
        sizes[-1] = self.train_count - self.settings.batch_size * (self.steps_per_epoch - 1)
        seen = np.cumsum(sizes)
        loss = np.cumsum(np.array(progress.losses) * sizes) / seen
        train_accuracy = np.cumsum(progress.correct) / seen
        # the book's figure has five points per epoch, each the mean since the epoch began
        marks = sorted({math.ceil(self.steps_per_epoch * part / 5) - 1 for part in range(1, 6)})
        return {
            "epoch": progress.epoch + 1,
            "train_loss": float(loss[-1]),
            "train_accuracy": float(train_accuracy[-1]),
            "evaluated_on": self.dataset.evaluated_on,
            f"{self.dataset.evaluated_on}_accuracy": accuracy,
            "learning_rate": schedule.learning_rate(
                self.settings, (progress.epoch + 1) * self.steps_per_epoch - 1, self.total_steps
            ),
            "train_seconds": progress.epoch_train_seconds,
            "evaluation_seconds": evaluation_seconds,
            "within_epoch": [
                [
                    progress.epoch + (mark + 1) / self.steps_per_epoch,
                    float(loss[mark]),
                    float(train_accuracy[mark]),
                ]
                for mark in marks
            ],
            "notice": self.dataset.notice,
        }

    def _draw(self) -> None:
        if self.progress.rows:
            settings = self.settings
            title = (
                f"NiN, {settings.backend}, {settings.preset}, "
                f"{settings.resize}x{settings.resize}, seed {settings.seed}"
            )
            figure = curves.plot_curves(self.progress.rows, title, self.dataset.notice)
            figures.save_svg_and_png(figure, self.directory, "curves")

    def _log_events(self, row: dict[str, Any]) -> None:
        if self._writer is None:
            # needed once per epoch, not for the first step
            from common.training.tensorboard import SummaryWriter

            self._writer = SummaryWriter(
                str(self.directory / run_directory.TENSORBOARD), purge_step=row["epoch"]
            )
            if self.dataset.notice:
                self._writer.add_text("notice", self.dataset.notice, row["epoch"])
        accuracy = f"{row['evaluated_on']}_accuracy"
        for name in ("train_loss", "train_accuracy", accuracy, "learning_rate"):
            self._writer.add_scalar(name, row[name], row["epoch"])
        self._writer.flush()

    def _total_seconds(self) -> float:
        return self.resumed_seconds + time.monotonic() - self.started


def say(line: str) -> None:
    """Print a line for the person who watches; nobody watching is no reason to stop training."""
    try:
        print(line, flush=True)
    except OSError:  # the terminal or the reader of a pipe is gone; the files still tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def summary(result: dict[str, Any]) -> list[str]:
    """The book's two lines, and a third when the data were not the whole real set."""
    evaluated_on = result["evaluated_on"]
    lines = [
        f"loss {result['train_loss']:.3f}, train acc {result['train_accuracy']:.3f}, "
        f"{evaluated_on} acc {result[evaluated_on + '_accuracy']:.3f}",
        f"{result['examples_per_second']:.1f} examples/sec on {result['device']}",
    ]
    return [*lines, result["notice"]] if result["notice"] else lines


def execute(settings: Settings, data: str, out: Path | None, resume: Path | None) -> int:
    """Train, from the settings to the files; print as it goes.

    Args:
        settings: of the run; with ``resume``, they must be the run's own.
        data: as :func:`common.data.fashion_mnist.load` takes it.
        out: a new directory for the run, or None to pick one.
        resume: the directory of a run to continue, or None.

    Returns:
        The exit status: 0 complete, 1 diverged, 128 + its number if stopped by a signal.

    Raises:
        NinError: for whatever the user can put right.
    """
    started = time.monotonic()
    with StopRequest() as stop:
        # the cheap checks first: a framework takes seconds to import
        run_directory.check_free(out)
        dataset = _load_dataset(settings, data)
        if resume is not None:
            _load_checkpoint(resume, settings, dataset)
        backend, device, prepared, precision = session.start(settings)
        # from here on, in the records and for a resumed run, what is computed and not a wish
        settings = dataclasses.replace(settings, precision=precision)
        if device.kind == "cpu":
            _check_memory(settings, dataset.num_classes)
        config = _config(settings, data, dataset, backend, device.name, prepared)
        directory = resume or run_directory.create(out, settings)
        with run_directory.lock(directory):
            checkpoint = None
            if resume is None:
                write_json(directory / run_directory.CONFIG, config)
            else:
                # once more: until now the run's own process may have been writing
                checkpoint = _load_checkpoint(resume, settings, dataset)
                checkpoint[1].notes.extend(_record_resumption(directory, config))
            if dataset.notice:
                say(dataset.notice)
            say(
                f"NiN with {settings.backend} on {device.name}, {prepared['threads']} threads, "
                f"{settings.precision}, preset {settings.preset}, "
                f"{len(dataset.train_images)} training examples: {directory}"
            )
            with _out_of_memory_explained(directory):
                run = Run(directory, settings, dataset, backend, stop, say, started)
                if checkpoint is not None:
                    run.resume(*checkpoint)
                try:
                    complete = run.train()
                    result = run.finish()
                except DivergedError as error:
                    run.abandon(str(error))
                    print(f"error: {error}; last good checkpoint in {directory}", file=sys.stderr)
                    return 1
                except Exception as error:
                    if errors.is_out_of_memory(error):
                        run.abandon("out of memory")
                    raise
    if not complete:
        say(f"stopped in epoch {run.progress.epoch + 1}; continue with --resume {directory}")
        return stop.exit_status
    say(f"run directory: {directory}")
    for line in summary(result):
        say(line)
    return 0


@contextlib.contextmanager
def _out_of_memory_explained(directory: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not errors.is_out_of_memory(error):
            raise
        raise NinError(
            f"out of memory in {directory}; take a smaller --batch-size or --resize"
        ) from error


def _record_resumption(directory: Path, now: dict[str, Any]) -> list[str]:
    """Add to ``config.json`` on what the run goes on; say what is not as it was."""
    config = run_directory.open_run(directory)
    names = ("device", "threads", "versions", "machine", "git_commit", "started")
    config.setdefault("resumed", []).append({name: now[name] for name in names})
    write_json(directory / run_directory.CONFIG, config)
    changed = [
        f"{name} {now[name]} instead of {config.get(name)}"
        for name in ("device", "threads", "versions")
        if now[name] != config.get(name)
    ]
    if not changed:
        return []
    note = f"resumed with {', '.join(changed)}: not bit for bit what it would have been"
    say(f"note: {note}")
    return [note]


def _load_dataset(settings: Settings, data: str) -> Dataset:
    dataset = load_and_tell(data).hold_out(settings.validation).limit(settings.limit)
    if settings.batch_size > len(dataset.train_images):
        raise NinError(
            f"--batch-size {settings.batch_size}: larger than the data "
            f"({len(dataset.train_images)} training examples)"
        )
    return dataset


def _load_checkpoint(
    directory: Path, settings: Settings, dataset: Dataset
) -> tuple[dict[str, np.ndarray], Progress]:
    recorded = run_directory.open_run(directory)["data"]["sha256"]
    for name, checksum in dataset.checksums.items():
        if recorded.get(name) != checksum:
            raise NinError(
                f"--resume {directory}: the run was trained on another {name} "
                f"(SHA-256 {recorded.get(name)}, found {checksum} in {dataset.directory})"
            )
    state, progress = run_directory.load_checkpoint(directory)
    if progress.epoch == settings.epochs and run_directory.is_complete(directory):
        raise NinError(f"--resume {directory}: that run is complete; nothing is left to do")
    return state, progress


def _config(
    settings: Settings,
    data: str,
    dataset: Dataset,
    backend: Backend,
    device: str,
    prepared: dict[str, Any],
) -> dict[str, Any]:
    return {
        "command": shlex.join(sys.argv),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "settings": dataclasses.asdict(settings),
        "data": {
            "asked_for": data,
            "kind": dataset.kind,
            "directory": dataset.directory,
            "sha256": dataset.checksums,
            "train_examples": len(dataset.train_images),
            "test_examples": len(dataset.test_images),
            "num_classes": dataset.num_classes,
            "evaluated_on": dataset.evaluated_on,
            "notice": dataset.notice,
        },
        "device": device,
        **prepared,
        "versions": {
            **machine.versions("safetensors", "matplotlib", "pooch", "rich", "tensorboardX"),
            **backend.versions(),
        },
        "machine": machine.describe(),
        "git_commit": machine.git_commit(),
    }


def _check_memory(settings: Settings, num_classes: int) -> None:
    """Refuse a batch whose activations alone cannot fit into this machine's memory."""
    shapes = architecture.layer_shapes(settings.resize, settings.batch_size, num_classes)
    values = sum(3 * math.prod(shape) for name, shape in shapes.items() if "block" in name)
    bytes_each = {"float64": 8, "float32": 4, "bfloat16": 2}[settings.precision]
    needed, available = values * bytes_each / 2**30, machine.memory_gib()
    if needed > available:
        raise NinError(
            f"--batch-size {settings.batch_size}: needs more than {needed:.0f} GiB of memory at "
            f"--resize {settings.resize}, this machine has {available:.0f}; take a smaller one"
        )
