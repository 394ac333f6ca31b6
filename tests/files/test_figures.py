"""Figures, each check of matplotlib's global state in a fresh interpreter."""

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from commands import ROOT
from PIL import Image

from common.files import figures
from common.model import Model
from common.prediction.predict import Images, Predictions
from common.report import style
from common.settings import Settings
from common.training import curves

ROWS = [
    {
        "epoch": epoch,
        "evaluated_on": "test",
        "test_accuracy": 0.5,
        "within_epoch": [[epoch - 0.5, 2.0, 0.3], [epoch, 1.5, 0.4]],
    }
    for epoch in (1, 2)
]
POINTS = [point for row in ROWS for point in row["within_epoch"]]
# of three kinds that matplotlib would take for a formula, and refuse
NOT_MATH = r"$x^$ a_1 $\frac$"


def curves_figure():
    run = SimpleNamespace(
        title=f"title {NOT_MATH}",
        points=lambda: POINTS,
        history=ROWS,
        settings=Settings(),
        dataset=SimpleNamespace(notice=f"notice {NOT_MATH}"),
    )
    return curves.plot(run)


def images_figure():
    names = [NOT_MATH, "b", "d"]
    images = Images(np.zeros((3, 28, 28), np.uint8), names, None, NOT_MATH)
    model, settings = Model({}, class_names=(NOT_MATH, "a")), Settings(backend=NOT_MATH)
    return Predictions(model, settings, images, "cpu", np.eye(3, 2)).plot()


def legend_figure():
    figure = figures.new(4, 3)
    axes = figure.add_subplot()
    axes.plot([1, 2], label=NOT_MATH)
    figures.add_legend(axes)
    return figure


FIGURES = [curves_figure, images_figure, legend_figure]


@pytest.mark.parametrize("plot", FIGURES)
def test_a_figure_is_written_the_same_each_time_and_users_text_is_no_formula(plot, tmp_path):
    for kind in ("svg", "png", "pdf"):
        contents = []
        for _ in range(2):
            figures.save(plot(), tmp_path / f"a.{kind}")
            contents.append((tmp_path / f"a.{kind}").read_bytes())
        assert contents[0] == contents[1]
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.pdf", "a.png", "a.svg"]
    # as text, not as outlines: what was written is found in it
    assert NOT_MATH in figures.svg_element(plot(), "salt")


@pytest.mark.parametrize("width", [5, 6, 11, 13.33])
def test_a_notice_is_legible_and_inside_a_figure_of_any_width(width):
    figure = style.with_notice(figures.new(width, 4), "What the data are, in M words. " * 12, "en")
    figures.png(figure, figure.dpi)  # lays it out
    (text,) = figure.texts
    box = text.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert box.y0 >= 0
    assert text.get_fontsize() >= 8
    assert not style.with_notice(figures.new(width, 4), "", "en").texts


def test_a_figure_is_written_as_svg_and_png(tmp_path):
    paths = figures.save_svg_and_png(curves_figure(), tmp_path, "curves")
    assert [path.name for path in paths] == ["curves.svg", "curves.png"]
    assert paths[0].read_text().startswith("<?xml")
    with Image.open(paths[1]) as image:
        assert image.size == (900, 600)


def test_a_figure_that_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    figure = curves_figure()
    figure.axes[0].set_title("$x^$", parse_math=True)
    with pytest.raises(ValueError, match="x"):
        figures.save(figure, path)
    assert path.read_bytes() == b"old"


def test_two_figures_of_one_page_have_different_names_inside():
    names = [set(re.findall(r'id="([^"]+)"', figures.svg_element(curves_figure(), salt)))
             for salt in ("a", "b")]  # fmt: skip
    shared = names[0] & names[1]
    assert not [name for name in shared if re.search(r"[0-9a-f]{8}", name)]


def test_a_notebook_shows_a_figure_without_pyplot():
    assert curves_figure()._repr_png_().startswith(b"\x89PNG")
    assert "matplotlib.pyplot" not in python("curves_figure()._repr_png_(); print(*sys.modules)")


def python(code, **environment):
    """What a fresh interpreter prints."""
    code = f"import sys; sys.path.insert(0, 'tests/files')\nfrom test_figures import *\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


DRAW_ALL = """
import tempfile
def draw_all():
    for plot in FIGURES:
        with tempfile.TemporaryDirectory() as directory:
            figures.save_svg_and_png(plot(), Path(directory), "a")
        figures.svg_element(plot(), "b")
        plot()._repr_png_()
from pathlib import Path
"""


def test_drawing_changes_no_setting_of_matplotlib_for_others():
    code = f"""
import matplotlib
matplotlib.rcParams["svg.hashsalt"] = "mine"
before = dict(matplotlib.rcParams)
{DRAW_ALL}
draw_all()
assert dict(matplotlib.rcParams) == before
"""
    python(code)


@pytest.mark.parametrize(
    "backend",
    [
        "module://matplotlib_inline.backend_inline",
        *(
            pytest.param(each, marks=pytest.mark.long)
            for each in ("nonsense", "module://nowhere", "inline", "")
        ),
    ],
)
def test_a_backend_that_is_not_there_stops_no_drawing(backend):
    code = f"{DRAW_ALL}\ndraw_all()\nimport os\nprint(os.environ['MPLBACKEND'])"
    assert python(code, MPLBACKEND=backend).strip() == backend


@pytest.mark.long
def test_pyplot_goes_by_the_backend_of_the_environment_after_a_drawing_too():
    code = f"{DRAW_ALL}\ndraw_all()\nimport matplotlib\nprint(matplotlib.get_backend())"
    assert python(code, MPLBACKEND="svg").strip().lower() == "svg"
