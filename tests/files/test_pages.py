"""The HTML pages in a real browser: on a screen, a phone and paper, and without seeing them."""

import os
import re
import shutil
import types
from importlib.util import find_spec

import numpy_nin
import pytest
import reference
from commands import ROOT
from made_runs import make_run

from common.comparison import levels, worker
from common.comparison import report as comparison_report
from common.comparison.job import Job, below
from common.comparison.layer import look
from common.comparison.material import make_material
from common.data.fashion_mnist import CLASS_NAMES
from common.model import save_model
from common.report import page as report_page

pytestmark = pytest.mark.long

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
# between margins of 14 mm, in CSS pixels of 1/96 inch
A4_WIDTH, A4_POINTS = (210 - 2 * 14) / 25.4 * 96, (595, 842)
PAGES = ("runs in en", "runs in tr", "comparison")


# Elements that reach beyond a width, but for some.
TOO_WIDE = """([width, but]) => [...document.querySelectorAll('body *')]
    .filter(e => !e.matches(but) && e.getBoundingClientRect().right > width + 1)
    .map(e => e.outerHTML.slice(0, 80))"""
# As many columns as EMNIST has classes.
MANY_CLASSES = """for (const table of document.querySelectorAll('.heat')) {
    table.style.setProperty('--columns', 47);
    for (const row of table.rows)
        while (row.cells.length < 48) row.append(row.lastElementChild.cloneNode(true));
}"""
IN_ORDER = "[...document.querySelectorAll('a, summary, [tabindex]')]"


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window; its absence fails in CI and skips elsewhere."""
    found = list(filter(None, map(shutil.which, BROWSERS)))
    if not found or find_spec("playwright") is None:
        reason = "needs Playwright, and Chromium or Chrome (Debian: apt install chromium)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found[0])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(sample, tmp_path_factory):
    """Each of :data:`PAGES` with everything that it can show, as a file."""
    place = tmp_path_factory.mktemp("pages")
    names = ("first", "a_second_one_with_a_very_long_name_that_nobody_can_abbreviate", "broken",
             *(f"run-{i}-of-many" for i in range(6)))  # fmt: skip
    runs = [make_run(place / name, lr=0.01 * len(name), resize=67) for name in names]
    model = reference.model(resize=67, class_names=CLASS_NAMES)
    save_model(runs[0] / "model.safetensors", model)
    (runs[2] / "result.json").write_text("")
    sources = report_page.read([*runs, ROOT / "docs" / "bench.json"])
    report_page.predict(sources, str(ROOT / "tests" / "numpy_nin.py"), "sample", "0:40")
    assert len(sources.seen) == 1
    assert len(sources.problems) == len(names) - 1
    found = {f"runs in {lang}": report_page.html(sources, lang) for lang in ("en", "tr")}
    found["comparison"] = comparison_report.html(compare_with_a_wrong_one(sample))
    for name, text in found.items():
        found[name] = place / f"{name}.html"
        found[name].write_text(text, encoding="utf-8")
    return found


def compare_with_a_wrong_one(sample):
    """A comparison in which one of two has a kernel upside down."""

    def set_weights(net, weights):
        turned = weights["block2.conv1.weight"][:, :, ::-1, ::-1]
        numpy_nin.set_weights(net, {**weights, "block2.conv1.weight": turned})

    wrong = types.SimpleNamespace(**{**vars(numpy_nin), "set_weights": set_weights})
    job = Job(resize=67, batch_size=2, steps=8)
    material = make_material(job, sample)
    sides = {"right": numpy_nin, "wrong": wrong}
    recordings = [each for n, b in sides.items() for each in worker.record(n, b, job, material)]
    report = levels.compare(recordings, job, below("weights", material), {"third": "crashed"})
    report.asked = {"backends": ["./right.py", "./wrong.py"], "python": []}
    report.layer = look(report, recordings, job, material, None)
    return report


@pytest.fixture(params=PAGES)
def show(request, browser, pages):
    """Opens a page; what is done needs no network and raises no error."""
    contexts = []

    def show(viewport=DESK, scheme="light", opened=True):
        contexts.append(browser.new_context(viewport=viewport, color_scheme=scheme, offline=True))
        shown = contexts[-1].new_page()
        shown.on("pageerror", lambda error: pytest.fail(str(error)))
        shown.goto(pages[request.param].as_uri())
        if opened:
            shown.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        return shown

    yield show
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_that_keeps_anybody_out(show, viewport, scheme):
    from axe_playwright_python.sync_playwright import Axe

    shown = show(viewport, scheme)
    paper = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    found = Axe().run(shown)
    assert found.response["passes"]
    assert found.violations_count == 0, found.generate_report()


def test_a_phone_scrolls_down_only(show):
    shown = show(PHONE)
    assert shown.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
    # what is wider scrolls by itself
    assert shown.evaluate(TOO_WIDE, [PHONE["width"], ".wide, .wide *, .skip"]) == []


def test_long_names_of_runs_wrap_so_that_a_desk_need_not_scroll_sideways(show):
    assert show().evaluate(TOO_WIDE, [DESK["width"], ".skip"]) == []


def test_the_keyboard_reaches_everything_in_the_order_of_the_page_and_is_seen_there(show):
    shown = show(PHONE, opened=False)
    expected = shown.evaluate(
        f"{IN_ORDER}.map((e, i) => (e.dataset.number = i, e)).filter(e => e.checkVisibility())"
        ".map(e => e.dataset.number)"
    )
    reached = []
    for _ in expected:
        shown.keyboard.press("Tab")
        where = shown.evaluate(
            "(e => ({number: e.dataset.number, outline: getComputedStyle(e).outlineStyle,"
            " box: e.getBoundingClientRect().toJSON()}))"
            "(document.activeElement)"
        )
        reached.append(where["number"])
        assert where["outline"] != "none", where
        assert where["box"]["left"] >= 0, where
        assert where["box"]["bottom"] > 0, where
        assert where["box"]["top"] < PHONE["height"], where
    assert reached == expected
    assert len(set(reached)) > 5


def test_details_are_opened_and_the_contents_skipped_by_key(show):
    shown = show(opened=False)
    for summary in shown.query_selector_all("summary")[:1]:
        summary.focus()
        shown.keyboard.press("Enter")
        assert summary.evaluate("e => e.parentElement.open")
    if shown.query_selector(".skip"):
        shown.reload()
        shown.keyboard.press("Tab")
        shown.keyboard.press("Enter")
        shown.keyboard.press("Tab")
        assert shown.evaluate("document.activeElement.closest('main') !== null")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_gets_everything_in_a4_and_in_ink(show, scheme):
    shown = show({"width": int(A4_WIDTH), "height": 1000}, scheme, opened=False)
    shown.emulate_media(media="print", color_scheme=scheme)
    shown.evaluate(MANY_CLASSES)
    assert shown.evaluate(TOO_WIDE, [A4_WIDTH, ".skip"]) == []
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") in (
        "rgb(255, 255, 255)",
        "rgba(0, 0, 0, 0)",
    )
    # what is folded on the screen is printed
    hidden = "[...document.querySelectorAll('td, th, p')].filter(e => !e.checkVisibility()).length"
    assert shown.evaluate(hidden) == 0
    boxes = re.findall(
        rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", shown.pdf(prefer_css_page_size=True)
    )
    assert boxes
    assert {tuple(round(float(side)) for side in box) for box in boxes} == {A4_POINTS}
