"""How a search shows where it is: a line for each trial, and on a terminal a bar."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from common.errors import plural
from common.terminal import display, output
from common.training.run import Run
from common.training.tune import Observer, Trial

if TYPE_CHECKING:
    from rich.progress import Progress

WORDS = {
    "pruned": "stopped early",
    "diverged": "diverged",
    "failed": "failed",
    "interrupted": "interrupted; it will be tried again",
}


class SearchDisplay(Observer):
    """Lines on standard output, progress on standard error: a bar on a terminal, else lines."""

    def __init__(self) -> None:
        self._started = self._last_line = time.monotonic()
        self._ended = 0
        self._trials: Sequence[Trial] = ()
        self._wanted = 0
        self._bars: Progress | None = None
        self._part = 0.0
        """How far the trial in this process is, 0 to 1."""

    def searching(self, trials: Sequence[Trial], wanted: int) -> None:
        self._trials, self._wanted = trials, wanted
        self._show()

    def step(self, run: Run) -> None:
        """The trial in this process is a little further."""
        self._part = run.steps_done / run.total_steps
        self._show()

    def evaluating(self, run: Run, examples: int) -> None:
        self._show()

    def done(self, trial: Trial, trials: Sequence[Trial], wanted: int) -> None:
        """A line for the trial."""
        self._trials, self._wanted, self._part = trials, wanted, 0.0
        self._ended += trial.counts
        ended = sum(t.ended for t in trials)
        parts = [f"{ended} of {wanted} done"]
        if self._ended and wanted > ended:
            seconds = (time.monotonic() - self._started) / self._ended
            parts.append(f"about {display.duration(seconds * (wanted - ended))} left")
        values = " ".join(f"{name}={value}" for name, value in trial.values.items())
        took = "" if trial.seconds is None else f" in {display.duration(trial.seconds)}"
        print(
            f"trial {trial.number}{' (the preset)' if trial.preset else ''}: "
            f"{result(trial, trials)}{took}; {values} [{', '.join(parts)}]",
            flush=True,
        )
        self._show()

    def closing(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _show(self) -> None:
        if not self._wanted:  # after the search
            what, share = "best settings", self._part
        else:
            ended = [t for t in self._trials if t.ended]
            if len(ended) >= self._wanted:
                return
            running = [t for t in self._trials if t.outcome == "running"]
            parts = [max(t.curve, default=0) / 100 for t in running]
            if len(parts) == 1:
                parts = [max(self._part, *parts)]
            what = plural(f"{len(ended)} of {self._wanted} trial(s) done")
            share = min(1.0, (len(ended) + sum(parts)) / self._wanted)
        if display.on_terminal() and not display.in_notebook():
            self._bar(what, share)
        elif time.monotonic() - self._last_line >= display.PLAIN_LINE_SECONDS:
            self._last_line = time.monotonic()
            print(f"{what}, {share:.0%} of the search", file=sys.stderr, flush=True)

    def _bar(self, what: str, share: float) -> None:
        from rich.progress import TaskProgressColumn, TimeElapsedColumn

        if self._bars is None:
            self._bars = output.progress(TaskProgressColumn(), TimeElapsedColumn())
            self._bars.add_task(what, total=1.0)
            self._bars.start()
        self._bars.update(self._bars.task_ids[0], description=what, completed=share)


def result(trial: Trial, trials: Sequence[Trial]) -> str:
    """What a trial came to, in words."""
    if trial.accuracy is None:
        percent, seen = list(trial.curve.items())[-1] if trial.curve else (0, None)
        where = f" at {percent}% with {seen:.4f}" if trial.outcome == "pruned" and percent else ""
        return WORDS[trial.outcome] + where + (f" ({trial.reason})" if trial.reason else "")
    others = [t.accuracy for t in trials if t.accuracy is not None and t.number != trial.number]
    best = ", the best so far" if others and trial.accuracy > max(others) else ""
    return f"validation accuracy {trial.accuracy:.4f}{best}"
