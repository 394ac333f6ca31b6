"""A run in a notebook: the curve is drawn while it trains, as the book's is, above a bar."""

import html
from collections.abc import Callable
from typing import Any

from common.files import figures
from common.terminal.display import Display, Shown
from common.training.run import Run


class NotebookDisplay(Display):
    """The chapter's figure and a bar, redrawn in their places; results as plain lines below."""

    def __init__(self, words: Callable[[str], str] | None = None) -> None:
        super().__init__(words)
        # there in a notebook only
        from IPython import display

        self._display: Any = display
        self._bar: Any = None
        self._figure: Any = None

    def begin(self, run: Run) -> None:
        """The first line, and the places of figure and bar."""
        super().begin(run)
        self._points = 0
        self._figure, self._bar = self._display.DisplayHandle(), self._display.DisplayHandle()
        self._figure.display(self._display.HTML(""))
        self._bar.display(self._display.HTML(""))

    def epoch(self, run: Run, row: dict[str, Any]) -> None:
        """The figure with the accuracy of an epoch, and its line."""
        self._draw(run)
        super().epoch(run, row)

    def show(self, run: Run, shown: Shown) -> None:
        """Move the bar; five times in an epoch, draw the curves."""
        words = ", ".join(filter(None, (shown.label, shown.speed, shown.run_left)))
        done = run.steps_done / run.total_steps
        self._bar.update(
            self._display.HTML(
                f'<progress value="{done:.4f}" max="1" style="width: 20em" '
                f'aria-label="{html.escape(shown.label)}"></progress> {html.escape(words)}'
            )
        )
        if len(run.points()) > self._points:
            self._draw(run)

    def close(self) -> None:
        """Take the bar away; the figure stays."""
        if self._bar is not None:
            self._bar.update(self._display.HTML(""))

    def _draw(self, run: Run) -> None:
        self._points = len(run.points())
        if self._figure is None:
            return
        try:
            figure = run.plot()
            # of the size that it has below a cell
            png = figures.png(figure, figure.dpi)
            self._figure.update(self._display.Image(png, format="png"))
        except Exception as error:  # a figure is no reason to lose a result
            self._figure = None
            self.line(f"note: the curves could not be drawn ({type(error).__name__}: {error})")
