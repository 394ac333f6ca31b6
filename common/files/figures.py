"""Temporary."""

import io
from pathlib import Path
from typing import Any

from common.files.write import write_bytes


def new(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class Shown(Figure):
        def _repr_png_(self) -> bytes:
            b = io.BytesIO()
            self.savefig(b, format="png", dpi=150)
            return b.getvalue()

    figure = Shown(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Any, path: Path) -> None:
    b = io.BytesIO()
    figure.savefig(b, format=path.suffix[1:].lower(), dpi=150)
    write_bytes(path, b.getvalue())
