"""The training loop: epochs, evaluation, what was measured. The step itself is the backend's."""

import contextlib
import math
import signal
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.arguments import checked
from common.backends.parts import need
from common.backends.session import Started
from common.contract import Trainer
from common.data.dataset import Dataset, first_examples
from common.data.order import example_order
from common.errors import NinError, in_python, is_out_of_memory, one_line, plural
from common.model import title_of
from common.prediction import dead_classes
from common.settings import Settings
from common.system.signals import StopRequest
from common.training import plateau, schedule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from common.prediction.classifier import Classifier
    from common.prediction.predict import Predictions

# Wait for the device and look at the losses this often, so that a GPU is not held up.
METRICS_SECONDS = 0.2


class DivergedError(NinError):
    """Training diverged: a loss or a weight became infinite or not a number."""

    @classmethod
    def of(cls, what: str, where: str) -> "DivergedError":
        """Naming what is not finite, and where that was noticed."""
        return cls(f"training diverged {where}: {what}; try a lower `lr`")


@dataclass
class Progress:
    """How far a run has come; with the trainer's state, all that a resumed run needs."""

    epoch: int = 0
    """The epoch under way, from 0."""
    step: int = 0
    """Steps taken in it."""
    losses: list[float] = field(default_factory=list)
    """Mean cross-entropy of each of those steps, in nats."""
    correct: list[int] = field(default_factory=list)
    """Correctly classified training examples of each of those steps."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """The lines of ``metrics.jsonl``, one per finished epoch."""
    train_seconds: float = 0.0
    """Time in training steps, as the book counts it."""
    recent_losses: list[float] = field(default_factory=list)
    """Those of the last steps, also of the epoch before, to recognise a plateau."""
    stuck: bool = False
    """Whether those sit on a plateau, which has been reported."""
    epoch_train_seconds: float = 0.0
    """Time in training steps of the epoch under way."""
    total_seconds: float = 0.0
    """Time since the start, over all resumptions."""
    notes: list[str] = field(default_factory=list)
    """What the run had to report: a plateau, for instance."""


class Watcher:
    """Takes part in a run: shows it, records it. A method that is not overridden does nothing."""

    def begin(self, run: "Run") -> None:
        """The run is about to take its first step, or to go on."""

    def step(self, run: "Run") -> None:
        """Some steps are done and their losses are known; called a few times a second."""

    def evaluating(self, run: "Run", examples: int) -> None:
        """So many test examples of this epoch's evaluation are done."""

    def epoch(self, run: "Run", row: dict[str, Any]) -> None:
        """An epoch is done; its line of the history."""

    def note(self, run: "Run", text: str) -> None:
        """Something that a person should know."""

    def end(self, run: "Run", failed: bool) -> None:
        """The run is complete, was stopped, or failed; then its state must not be saved."""


class Run:
    """One training run; its network is trained in place."""

    def __init__(
        self,
        net: Any,
        ready: Started,
        settings: Settings,
        dataset: Dataset,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self.started = time.monotonic()
        """When the command started; of a resumed run so much earlier as it has trained before."""
        self.ready = ready
        self.workers = ready.workers
        self.settings = settings
        self.dataset = dataset
        # worker 0 alone shows the run and writes its files
        self.watchers = [] if self.workers.rank else list(watchers)
        self.stop = StopRequest()
        """Asked between steps whether to stop."""
        self.layers: tuple[str, ...] = ()
        """What it consists of, if that is no network of the settings."""
        self.out: Path | bool | None = None
        """Where the files of the run are to be; True: in a new directory in ``runs/``."""
        self.lang = "en"
        """Of the curves."""
        self.directory: Path | None = None
        """Where the files of the run are, if it writes any."""
        self.marks: Collection[int] = ()
        """After so many steps of the whole run watchers are called, whatever the clock shows."""
        self.progress = Progress()
        self.train_count = len(dataset.train_images)
        self.steps_per_epoch = math.ceil(self.train_count / settings.batch_size)
        """Of a whole one."""
        self.total_steps = max(1, round(self.steps_per_epoch * settings.epochs))
        self._batch_sizes = np.full(self.steps_per_epoch, settings.batch_size)
        self._batch_sizes[-1] -= self._batch_sizes.sum() - self.train_count
        images, labels = dataset.train_images, dataset.train_labels
        self.trainer: Trainer = ready.backend.Trainer(net, settings, images, labels)
        # to measure the rate: steps and seconds of this process, but for the first step of each
        # epoch, in which a framework may compile
        self._timed_steps = 0
        self.timed_seconds = 0.0
        self._agreed = False

    def __repr__(self) -> str:
        done = plural(f"{self.epochs_done:g} of {self.settings.epochs:g} epoch(s)")
        return f"<Run: {self.title}, seed {self.settings.seed}, {done}>"

    @property
    def net(self) -> Any:
        """The network that is trained."""
        return self.trainer.net

    @property
    def history(self) -> list[dict[str, Any]]:
        """A dict for each finished epoch: train_loss, train_accuracy, test_accuracy and more."""
        return self.progress.rows

    @property
    def test_accuracy(self) -> float | None:
        """After the last finished epoch, 0 to 1; None before, and with a validation split."""
        return self.history[-1].get("test_accuracy") if self.history else None

    @property
    def validation_accuracy(self) -> float | None:
        """As :attr:`test_accuracy`, on the training images that were held out."""
        return self.history[-1].get("validation_accuracy") if self.history else None

    @property
    def notes(self) -> list[str]:
        """What the run had to report, such as a plateau."""
        return self.progress.notes

    @property
    def complete(self) -> bool:
        """Whether all epochs are done."""
        return self.progress.epoch == self.last_epoch

    @property
    def last_epoch(self) -> int:
        """The number of the last epoch, from 1; it may be a part of one."""
        return math.ceil(self.total_steps / self.steps_per_epoch)

    @property
    def epochs_done(self) -> float:
        """Finished epochs, of which the last may be a part of one."""
        return self.history[-1]["epoch"] if self.history else 0

    @property
    def epoch_steps(self) -> int:
        """Steps of the epoch under way, all together."""
        left = self.total_steps - self.progress.epoch * self.steps_per_epoch
        return min(self.steps_per_epoch, max(1, left))

    @property
    def steps_done(self) -> int:
        """Of the whole run."""
        whole = self.progress.epoch * self.steps_per_epoch
        return min(whole + self.progress.step, self.total_steps)

    @property
    def rate(self) -> float | None:
        """Training examples per second of this process so far; None if not yet known."""
        if not self._timed_steps:
            return None
        return self._timed_steps * self.settings.batch_size / self.timed_seconds

    @property
    def total_seconds(self) -> float:
        """Since the start, over all resumptions."""
        return time.monotonic() - self.started

    @checked
    def plot(self, lang: str | None = None) -> "Figure":
        """The chapter's figure: train loss, train accuracy and test accuracy over the epochs.

        Args:
            lang: ``en`` or ``tr``; what :func:`common.fit` was given if not given.
        """
        from common.training import curves

        return curves.plot(self, self.lang if lang is None else lang)

    def predict(self, images: Any, labels: Any = None) -> "Predictions":
        """Predict with the network as it is now; see :meth:`Classifier.predict`."""
        return self.classifier().predict(images, labels)

    @checked
    def save(self, path: str | Path) -> None:
        """Write ``model.safetensors``: the weights by canonical name, and what they are."""
        self.classifier().save(path)

    def classifier(self) -> "Classifier":
        """The network with what is known of it, to predict with and to save."""
        from common.prediction.classifier import Classifier

        return Classifier.of(self)

    def resume(self) -> "Run":
        """Go on with a run that was stopped; it ends as it would have without the stop."""
        from common.training.fit import go_on

        return go_on(self)

    def restore(self, state: dict[str, np.ndarray], progress: Progress) -> None:
        """Go back to a state of the trainer and of the run; NinError if of another network."""
        try:
            self.trainer.load_state(state)
        except (KeyError, ValueError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            raise NinError(f"not of this network ({error})") from error
        self.progress = progress
        self.started -= progress.total_seconds

    def train(self) -> bool:
        """Run all epochs that are left; False if asked to stop.

        Raises:
            DivergedError: if a loss or weight is not finite.
        """
        self._agreed = False
        try:
            self._watch("begin")
            while not self.complete and self.train_epoch():
                pass
            self._watch("end", False)
        except BaseException as error:
            if isinstance(error, DivergedError):
                self.progress.notes.append(str(error))
            elif is_out_of_memory(error):
                self.progress.notes.append("out of memory")
            for watcher in self.watchers:
                # whatever stopped the run may also keep a watcher from its last words
                with contextlib.suppress(Exception):
                    watcher.end(self, failed=True)
            foreign = isinstance(error, Exception) and not isinstance(error, NinError)
            if self.workers.count > 1 and foreign and not is_out_of_memory(error):
                raise NinError(
                    f"worker {self.workers.rank} of {self.workers.count} cannot go on, perhaps "
                    f"because another one is gone ({one_line(error)}); go on with `resume`"
                ) from error
            raise
        finally:
            self.progress.total_seconds = self.total_seconds
        return self.complete

    def train_epoch(self) -> bool:
        """Train for what is left of one epoch, and evaluate; False if asked to stop."""
        return self._train_steps() and self._evaluate_epoch()

    def note(self, text: str) -> None:
        """Keep a note in the records, and show it; arguments as in :class:`NinError`."""
        self.progress.notes.append(in_python(text))
        self._watch("note", text)

    def finite_state(self) -> dict[str, np.ndarray]:
        """The trainer's state; DivergedError if anything in it is not finite."""
        state, progress = need(self.trainer, "state")(), self.progress
        for name, array in state.items():
            if not np.isfinite(array).all():
                where = f"at epoch {progress.epoch + 1}, step {progress.step}"
                # what an optimizer calls the parts of its state is its own affair
                is_weight = name in need(self.ready.backend, "get_weights")(self.net)
                what = name if is_weight else "the optimizer's state"
                raise DivergedError.of(f"{what} is not finite", where)
        return state

    def points(self) -> list[list[float]]:
        """The training curves: [epochs, mean loss, accuracy] at every fifth of each epoch."""
        done = [point for row in self.history for point in row["within_epoch"]]
        return [*done, *self._points_within_epoch()]

    def result(self) -> dict[str, Any]:
        """The content of ``result.json``, from what is done so far."""
        progress, settings, dataset = self.progress, self.settings, self.dataset
        last = progress.rows[-1] if progress.rows else {}
        epochs, steps = divmod(self.steps_done, self.steps_per_epoch)
        examples = epochs * self.train_count + steps * settings.batch_size
        seconds = progress.train_seconds
        return {
            "backend": settings.backend,
            "preset": settings.preset,
            "network": settings.network,
            "data": dataset.kind,
            "notice": dataset.notice,
            "train_examples": self.train_count,
            "test_examples": len(dataset.test_images),
            "evaluated_on": dataset.evaluated_on,
            "epochs": self.epochs_done,
            "train_loss": last.get("train_loss"),
            "train_accuracy": last.get("train_accuracy"),
            "test_accuracy": last.get("test_accuracy"),
            "validation_accuracy": last.get("validation_accuracy"),
            "dead_classes": last.get("dead_classes", []),
            "examples_per_second": examples / seconds if seconds else None,
            "train_seconds": seconds,
            "total_seconds": self.total_seconds,
            "device": self.ready.device.name,
            "precision": settings.precision,
            "seed": settings.seed,
            "complete": self.complete,
            "notes": progress.notes,
        }

    @property
    def title(self) -> str:
        """What was trained, in a few words of no language."""
        settings = self.settings
        network = title_of(settings.description, self.layers)
        size = f"{settings.resize}x{settings.resize}"
        return f"{network}, {settings.backend}, {settings.preset}, {size}"

    # ------------------------------------------------------------------ the loop

    def _watch(self, event: str, *arguments: Any) -> None:
        for watcher in self.watchers:
            getattr(watcher, event)(self, *arguments)

    def _train_steps(self) -> bool:
        progress, settings = self.progress, self.settings
        order = example_order(settings.seed, progress.epoch, self.train_count)
        first_step = looked_at = progress.step
        last_look = time.monotonic()
        # several workers look after the same step, whatever their clocks show
        interval = 1

        def look() -> None:
            nonlocal looked_at, last_look, interval
            seconds = self._take_metrics(last_look)
            interval = max(1, round(METRICS_SECONDS * (progress.step - looked_at) / seconds))
            progress.train_seconds += seconds
            progress.epoch_train_seconds += seconds
            # in the first a framework may compile
            if looked_at > first_step:
                self._timed_steps += progress.step - looked_at
                self.timed_seconds += seconds
            looked_at = progress.step
            self._watch_for_plateau()
            self._watch("step")
            last_look = time.monotonic()

        while progress.step < self.epoch_steps and not self._stopping:
            start, step = progress.step * settings.batch_size, self.steps_done
            self.trainer.train_batch(
                order[start : start + settings.batch_size],
                schedule.learning_rate(settings, step, self.total_steps),
                step,
            )
            progress.step += 1
            if self.workers.count > 1:
                due = progress.step - looked_at >= interval
            else:
                due = time.monotonic() - last_look > METRICS_SECONDS
            if due or looked_at == first_step or self.steps_done in self.marks:
                look()
        # every step counts with the time that it took, also before a stop
        if looked_at < progress.step:
            look()
        # some frameworks' pooling and ReLU turn NaN into numbers, so that the loss hides it
        self.finite_state()
        return not self._stopping

    @property
    def _stopping(self) -> bool:
        """Whether to stop, which several workers agree on when they look at their losses."""
        return self.stop.signal is not None if self.workers.count == 1 else self._agreed

    def _take_metrics(self, since: float) -> float:
        """Keep the losses of the last steps; the seconds since a time, on average over workers."""
        progress, workers = self.progress, self.workers
        losses, correct = self.trainer.take_metrics()
        seconds = time.monotonic() - since
        if workers.count > 1:
            sizes = self._batch_sizes[len(progress.losses) : progress.step]
            parts = [len(workers.share(np.arange(size))) / size for size in sizes]
            asked = float(self.stop.signal is not None)
            total = workers.sum(np.array([*losses * parts, *correct, seconds, asked]))
            losses, correct = np.split(total[:-2], 2)
            seconds, self._agreed = total[-2] / workers.count, total[-1] > 0
            if self._agreed and self.stop.signal is None:
                self.stop.signal = signal.SIGTERM
        for loss in losses:
            if not math.isfinite(loss):
                where = f"at epoch {progress.epoch + 1}, step {len(progress.losses) + 1}"
                raise DivergedError.of(f"the loss is not finite ({loss})", where)
            progress.losses.append(float(loss))
        progress.correct.extend(int(count) for count in correct)
        recent = [*progress.recent_losses, *(float(loss) for loss in losses)]
        progress.recent_losses = recent[-plateau.WINDOW_STEPS :]
        return seconds

    def _watch_for_plateau(self) -> None:
        progress = self.progress
        stuck = plateau.is_stuck(progress.recent_losses, self.dataset.num_classes)
        if stuck and not progress.stuck:
            images = self.dataset.train_images[first_examples(self.dataset.train_labels, 64)]
            activations, classes = self.trainer.activations(images), self.dataset.num_classes
            why = plateau.explain(activations, classes, self.settings)
            self.note(f"epoch {progress.epoch + 1}, step {progress.step}: {why}")
        progress.stuck = stuck

    def _evaluate_epoch(self) -> bool:
        progress, workers = self.progress, self.workers
        mine = workers.share(np.arange(len(self.dataset.test_images)))
        images = self.dataset.test_images[mine]
        started, batches = time.monotonic(), []
        for start in range(0, len(images), self.settings.batch_size):
            if self.stop.signal is not None and workers.count == 1:
                return False
            end = start + self.settings.batch_size
            logits = self.trainer.logits(images[start:end])
            if not np.isfinite(logits).all():
                where = f"in the evaluation of epoch {progress.epoch + 1}"
                raise DivergedError.of("a logit is not finite", where)
            batches.append(logits)
            self._watch("evaluating", min(end, len(images)) * workers.count)

        # of fewer images than workers some get none
        logits = np.concatenate(batches or [np.zeros((0, self.dataset.num_classes))])
        if workers.count > 1:
            every = np.zeros((len(self.dataset.test_images), logits.shape[1]))
            every[mine] = logits
            logits = workers.sum(every)
        row = self._row(logits, time.monotonic() - started)
        progress.rows.append(row)
        progress.epoch, progress.step = progress.epoch + 1, 0
        progress.losses, progress.correct, progress.epoch_train_seconds = [], [], 0.0
        self._watch("epoch", row)
        # of a plateau it was said why
        if self.complete and not progress.stuck:
            self._look_at_the_end(logits, row["dead_classes"])
        return True

    def _look_at_the_end(self, logits: np.ndarray, dead: list[int]) -> None:
        """Report a network that tells nothing apart, or that is dead in part."""
        found = dead_classes.problem(logits)
        if dead:
            known = self.dataset.class_names
            names = [known[label] if known else f"class {label}" for label in dead]
            found = dead_classes.explain(names, len(logits))
        if found:
            self.note(f"{found}. {plateau.what_keeps_alive(self.settings)}")

    def _row(self, logits: np.ndarray, evaluation_seconds: float) -> dict[str, Any]:
        progress, labels = self.progress, self.dataset.test_labels
        accuracy = float((logits.argmax(1) == labels).mean())
        points = self._points_within_epoch()
        return {
            # of a part, that part
            "epoch": min(progress.epoch + 1, self.settings.epochs),
            "train_loss": points[-1][1],
            "train_accuracy": points[-1][2],
            "evaluated_on": self.dataset.evaluated_on,
            f"{self.dataset.evaluated_on}_accuracy": accuracy,
            "dead_classes": dead_classes.find(logits, labels),
            "learning_rate": schedule.learning_rate(
                self.settings, self.steps_done - 1, self.total_steps
            ),
            "train_seconds": progress.epoch_train_seconds,
            "evaluation_seconds": evaluation_seconds,
            "within_epoch": points,
            "notice": self.dataset.notice,
        }

    def _points_within_epoch(self) -> list[list[float]]:
        """As :meth:`points`, of the epoch under way, as far as it has come."""
        progress = self.progress
        # the last step ends the epoch, or the asked part of it, which need not be in whole steps
        part = min(1, self.settings.epochs - progress.epoch)
        done = len(progress.losses)
        sizes = self._batch_sizes[:done]
        seen = np.cumsum(sizes)
        loss = np.cumsum(np.array(progress.losses) * sizes) / seen
        accuracy = np.cumsum(progress.correct) / seen
        # the book's figure has five points per epoch, each the mean since the epoch began
        steps = self.epoch_steps
        marks = sorted({math.ceil(steps * fifth / 5) - 1 for fifth in range(1, 6)})
        return [
            [progress.epoch + (mark + 1) / steps * part, float(loss[mark]), float(accuracy[mark])]
            for mark in marks
            if mark < done
        ]


def scores(row: dict[str, Any]) -> str:
    """The book's words for what a line of the history, or a result, has."""
    name = row["evaluated_on"]
    loss, train, accuracy = row["train_loss"], row["train_accuracy"], row[f"{name}_accuracy"]
    return f"loss {loss:.3f}, train acc {train:.3f}, {name} acc {accuracy:.3f}"


def summary(result: dict[str, Any]) -> list[str]:
    """The book's two lines, and a third when the data were not the whole real set."""
    speed = f"{result['examples_per_second']:.1f} examples/sec on {result['device']}"
    return [scores(result), speed, *filter(None, [result["notice"]])]
