"""How a run shows where it is: bars on a terminal, plain lines elsewhere."""

import contextlib
import math
import sys
import time
from collections.abc import Iterator
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

PLAIN_LINE_SECONDS = 30


def duration(seconds: float) -> str:
    """A duration for people, such as ``45 s``, ``6 min 5 s`` or ``2 h 10 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class _TimeLeft(ProgressColumn):
    def render(self, task: Task) -> Text:
        seconds = task.fields.get("seconds_left")
        return Text("" if seconds is None else f"{duration(seconds)} left")


class RunProgress:
    """Progress of one run of several epochs. Use as a context manager.

    Args:
        epochs: of the whole run.
        steps_per_epoch: number of batches of one epoch.
        train_examples: trained on in each epoch.
        test_examples: evaluated after each epoch; counts as work of the run.
    """

    def __init__(
        self,
        epochs: int,
        steps_per_epoch: int,
        train_examples: int,
        test_examples: int,
    ) -> None:
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.train_examples = train_examples
        self.test_examples = test_examples
        # a forward pass is about a third of a training step, until one has been measured
        self.evaluation_seconds: float | None = None
        self._console = Console(stderr=True)
        self._bars: Progress | None = None
        self._last_line = time.monotonic()
        if self._console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[rate]}"),
                _TimeLeft(),
                console=self._console,
                # bars go to stderr: do not pull what is printed on a piped stdout there too
                redirect_stdout=sys.stdout.isatty(),
                transient=True,
            )
            self._epoch_bar = self._bars.add_task("epoch", total=1.0, rate="", seconds_left=None)
            self._run_bar = self._bars.add_task("run", total=1.0, rate="", seconds_left=None)

    def __enter__(self) -> "RunProgress":
        """Start to show."""
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop to show."""
        with self._nobody_may_watch():
            if self._bars:
                self._bars.stop()

    def run_seconds(self, rate: float, epochs: float) -> float:
        """Estimated time for so many epochs, evaluation included, in seconds.

        Args:
            rate: measured training speed, in examples/s.
            epochs: how many, may be a fraction; one that has begun still ends in an evaluation.
        """
        evaluation = self.evaluation_seconds
        if evaluation is None:
            evaluation = self.test_examples / (3 * rate)
        return epochs * self.train_examples / rate + math.ceil(epochs) * evaluation

    def training(self, epoch: int, step: int, rate: float | None) -> None:
        """Show that so many steps of an epoch are done.

        Args:
            epoch: from 0.
            step: steps done in it.
            rate: examples/s of this process so far, None if not yet known.
        """
        done = step / self.steps_per_epoch
        epoch_left = run_left = None
        if rate:
            epoch_left = self.run_seconds(rate, 1 - done)
            run_left = self.run_seconds(rate, self.epochs - epoch - done)
        label = f"epoch {epoch + 1}/{self.epochs}"
        speed = f"{rate:.1f} examples/s" if rate else ""
        self._show(label, speed, done, (epoch + done) / self.epochs, epoch_left, run_left)

    def evaluating(self, epoch: int, examples: int) -> None:
        """Show that so many test examples of an epoch's evaluation are done."""
        done = examples / self.test_examples
        left = None
        if self.evaluation_seconds is not None:
            left = self.evaluation_seconds * (1 - done)
        label = f"epoch {epoch + 1}/{self.epochs}, evaluation"
        self._show(label, "", done, (epoch + 1) / self.epochs, left, None)

    def _show(
        self,
        label: str,
        speed: str,
        epoch_done: float,
        run_done: float,
        epoch_left: float | None,
        run_left: float | None,
    ) -> None:
        with self._nobody_may_watch():
            if self._bars:
                update = self._bars.update
                update(
                    self._epoch_bar,
                    description=label,
                    completed=epoch_done,
                    rate=speed,
                    seconds_left=epoch_left,
                )
                update(self._run_bar, completed=run_done, seconds_left=run_left)
            elif time.monotonic() - self._last_line >= PLAIN_LINE_SECONDS:
                self._last_line = time.monotonic()
                parts = [f"{label}: {epoch_done:.0%}", speed]
                if run_left is not None:
                    parts.append(f"run {duration(run_left)} left")
                print(", ".join(part for part in parts if part), file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def _nobody_may_watch(self) -> Iterator[None]:
        """A terminal that was closed is no reason to stop training, or not to stop it well."""
        try:
            yield
        except OSError:
            self._bars, self._last_line = None, math.inf
