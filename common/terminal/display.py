"""How a run shows where it is: plain lines; bars on a terminal; a curve in a notebook."""

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from common.errors import in_python, plural
from common.model import title_of
from common.network import architecture
from common.terminal import output
from common.training.run import Run, Watcher, scores, summary

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_LINE_SECONDS = 30
# The rate is printed once this much training time has passed after the first, slower, step.
ESTIMATE_SECONDS = 3


def choose(words: Callable[[str], str] | None = None) -> "Display":
    """What suits the place that the output goes to; for ``words`` see :class:`Display`."""
    if in_notebook():
        from common.terminal.notebook import NotebookDisplay

        return NotebookDisplay(words)
    return Bars(words) if on_terminal() else Display(words)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


def duration(seconds: float) -> str:
    """A duration for people, such as ``45 s``, ``6 min 5 s`` or ``2 h 10 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _left(seconds: float) -> str:
    return f"{duration(seconds)} left"


class Shown(NamedTuple):
    """How far an epoch is, in words; they are empty for what is not known yet."""

    label: str
    speed: str
    done: float
    """0 to 1."""
    left: str
    run_left: str
    """Of the whole run."""


class Display(Watcher):
    """Plain lines: results on standard output, progress now and then on standard error.

    ``words`` spells a message's arguments (:class:`common.errors.NinError`) as a command's options.
    """

    def __init__(self, words: Callable[[str], str] | None = None) -> None:
        self.words = words
        self._last_line = time.monotonic()
        self._estimated = False
        self._about_size = self._notice = ""

    def begin(self, run: Run) -> None:
        """What is trained, on what."""
        settings = run.settings
        # of many runs, one after the other, the first is enough for what all have
        if run.dataset.notice not in ("", self._notice):
            self.line(run.dataset.notice)
        self._notice = run.dataset.notice
        place = f": {run.directory}" if run.directory else ""
        threads, device = run.ready.prepared["threads"], run.ready.device.name
        self.line(
            f"{title_of(settings.description, run.layers)} with {settings.backend} on {device}, "
            + plural(f"{threads} thread(s), {settings.precision}, preset {settings.preset}, ")
            + plural(f"{run.train_count} training example(s){place}")
        )
        about_size = ""
        if not run.layers:  # it is a network that is described
            about_size = architecture.note_on_size(settings.resize, settings.description)
        if about_size not in ("", self._about_size):
            self.note(run, about_size)
            self._about_size = about_size

    def step(self, run: Run) -> None:
        """Once the rate is known, how long it will take; then how far it is."""
        progress, rate = run.progress, run.rate
        done = progress.step / run.epoch_steps
        epoch_left = run_left = ""
        if rate is not None:
            epoch_left = _left(seconds_left(run, rate, run.epoch_steps - progress.step, 1))
            evaluations = run.last_epoch - progress.epoch
            seconds = seconds_left(run, rate, run.total_steps - run.steps_done, evaluations)
            run_left = _left(seconds)
            if not self._estimated and run.timed_seconds >= ESTIMATE_SECONDS and seconds >= 1:
                self._estimated = True
                self.line(f"{rate:.1f} examples/s; about {duration(seconds)} to go")
        label = f"epoch {progress.epoch + 1}/{run.last_epoch}"
        speed = f"{rate:.1f} examples/s" if rate else ""
        with self.nobody_may_watch():
            self.show(run, Shown(label, speed, done, epoch_left, run_left))

    def evaluating(self, run: Run, examples: int) -> None:
        """How far an evaluation is."""
        done = examples / len(run.dataset.test_images)
        left = evaluation_seconds(run)
        label = f"epoch {run.progress.epoch + 1}/{run.last_epoch}, evaluation"
        with self.nobody_may_watch():
            epoch_left = "" if left is None else _left(left * (1 - done))
            self.show(run, Shown(label, "", done, epoch_left, ""))

    def epoch(self, run: Run, row: dict[str, Any]) -> None:
        """The results of an epoch."""
        training, evaluation = duration(row["train_seconds"]), duration(row["evaluation_seconds"])
        took = f"(training {training}, evaluation {evaluation})"
        self.line(f"epoch {row['epoch']}: {scores(row)} {took}")

    def note(self, run: Run, text: str) -> None:
        """A line that begins with ``note:``."""
        self.line(f"note: {(self.words or in_python)(text)}")

    def end(self, run: Run, failed: bool) -> None:
        """The book's two lines, or where it was stopped."""
        with self.nobody_may_watch():
            self.close()
        if failed:
            return
        if run.complete:
            if run.directory:
                self.line(f"run directory: {run.directory}")
            for text in summary(run.result()):
                self.line(text)
        elif run.progress.epoch or run.progress.step:
            where = f"stopped in epoch {run.progress.epoch + 1} after step {run.progress.step}"
            goes_on = "run.resume() goes on"
            if self.words is not None:
                goes_on = self.words(f"continue with `resume={shlex.quote(str(run.directory))}`")
            self.line(f"{where}; {goes_on}")
        else:
            self.line("stopped before the first step; nothing is left behind")

    def line(self, text: str) -> None:
        """Print a line; nobody watching is no reason to stop training."""
        try:
            print(text, flush=True)
        except OSError:  # the terminal or the reader of a pipe is gone; the files still tell
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def show(self, run: Run, shown: Shown) -> None:
        """Show how far the run is."""
        if time.monotonic() - self._last_line >= PLAIN_LINE_SECONDS:
            self._last_line = time.monotonic()
            left = f"run {shown.run_left}" if shown.run_left else ""
            parts = (f"{shown.label}: {shown.done:.0%}", shown.speed, left)
            print(", ".join(part for part in parts if part), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing more is shown."""

    @contextlib.contextmanager
    def nobody_may_watch(self) -> Any:
        """A terminal that was closed is no reason to stop training, or not to stop it well."""
        try:
            yield
        except OSError:
            self.show = lambda *_: None  # type: ignore[method-assign]


class Bars(Display):
    """Bars on standard error, with rate and time left; results as plain lines above them."""

    def __init__(
        self, words: Callable[[str], str] | None = None, console: "Console | None" = None
    ) -> None:
        from rich.progress import TextColumn

        super().__init__(words)
        texts = ("{task.percentage:>3.0f}%", "{task.fields[rate]}", "{task.fields[left]}")
        self._bars = output.progress(*map(TextColumn, texts), on=console)
        self._epoch = self._bars.add_task("epoch", total=1.0, rate="", left="")
        self._run = self._bars.add_task("run", total=1.0, rate="", left="")

    def begin(self, run: Run) -> None:
        """The first line, and bars below it."""
        super().begin(run)
        with self.nobody_may_watch():
            self._bars.start()

    def show(self, run: Run, shown: Shown) -> None:
        """Move the bars."""
        self._bars.update(
            self._epoch,
            description=shown.label,
            completed=shown.done,
            rate=shown.speed,
            left=shown.left,
        )
        done = run.steps_done / run.total_steps
        self._bars.update(self._run, completed=done, left=shown.run_left)

    def close(self) -> None:
        """Take the bars away."""
        self._bars.stop()


def evaluation_seconds(run: Run) -> float | None:
    """How long the last evaluation of a run took."""
    return run.history[-1]["evaluation_seconds"] if run.history else None


def seconds_left(run: Run, rate: float, steps: int, evaluations: int) -> float:
    """Estimated time, in seconds, for so many steps and evaluations; the rate is in examples/s."""
    evaluation = evaluation_seconds(run)
    if evaluation is None:
        # a forward pass is about a third of a training step, until one has been measured
        evaluation = len(run.dataset.test_images) / (3 * rate)
    return steps * run.train_count / run.steps_per_epoch / rate + evaluations * evaluation


def track(batches: Sequence[Any], what: str) -> Iterable[Any]:
    """The same batches, with a bar on a terminal while they are gone through."""
    if len(batches) < 2 or not on_terminal():
        return batches
    from rich.progress import track as rich_track

    return rich_track(batches, what, console=output.console(stderr=True), transient=True)


@contextlib.contextmanager
def bar(what: str, size: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, for so many bytes; what is yielded moves it on by some."""
    if not on_terminal():
        yield lambda _: None
        return
    from rich.progress import DownloadColumn, TransferSpeedColumn

    with output.progress(DownloadColumn(), TransferSpeedColumn()) as bars:
        task = bars.add_task(what, total=size or None)
        yield lambda count: bars.advance(task, count)


def on_terminal() -> bool:
    """Whether there is a terminal that can move bars."""
    # a variable that asks for colours makes no terminal of a pipe; a command in a notebook's cell
    # has a terminal that cannot move bars, and Jupyter's MPLBACKEND
    in_cell = "matplotlib_inline" in os.environ.get("MPLBACKEND", "")
    return sys.stderr.isatty() and os.environ.get("TERM") not in (None, "dumb") and not in_cell
