"""A run on a terminal: a bar for the epoch and one for the run."""

from collections.abc import Callable

from rich.console import Console
from rich.progress import TextColumn

from common.terminal import output
from common.terminal.display import Display, Shown
from common.training.run import Run


class Bars(Display):
    """Bars on standard error, with rate and time left; results as plain lines above them."""

    def __init__(
        self, words: Callable[[str], str] | None = None, console: Console | None = None
    ) -> None:
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
            completed=shown.epoch_done,
            rate=shown.speed,
            left=shown.epoch_left,
        )
        self._bars.update(self._run, completed=shown.run_done, left=shown.run_left)

    def close(self) -> None:
        """Take the bars away."""
        self._bars.stop()
