"""The page of runs and benches: whole, in both languages, from anything that is in a directory."""

import itertools
import json
import math
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from commands import ENGLISH, ROOT, assert_one_clear_line, run_here
from hypothesis import given
from hypothesis import strategies as st
from made_runs import make_run

from common.model import Model
from common.network import architecture
from common.network.description import parse
from common.prediction.predict import Images, Predictions
from common.report import look, look_pictures, page, style
from common.settings import Settings
from common.training import run_directory

BENCH = ROOT / "docs" / "bench.json"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    return [
        make_run(place / "a" / "first"),
        make_run(place / "b" / "first", 3, backend="tf", network="one-1x1", lr=0.5),
        make_run(place / "<b>third", 1, "book"),
    ]


class Structure(HTMLParser):
    """The elements of a page, with their classes and without their words."""

    VOID = ("meta", "img", "link", "br")

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.attributes = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.found.append((tag, given.get("class"), given.get("id")))
        self.attributes.append((tag, given))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def pages(runs):
    sources = page.read([*runs, BENCH])
    return {language: page.html(sources, language) for language in style.LANGUAGES}


def test_both_languages_have_the_same_structure(pages):
    english, turkish = (Structure(pages[language]).found for language in style.LANGUAGES)
    # matplotlib numbers what is inside a figure by its content
    plain = [[item for item in each if item[0] not in ("g", "path", "use", "defs")]
             for each in (english, turkish)]  # fmt: skip
    assert [item[0] for item in plain[0]] == [item[0] for item in plain[1]]


@pytest.mark.parametrize("language", style.LANGUAGES)
def test_the_page_needs_nothing_but_itself_and_can_be_gone_through_without_seeing_it(
    pages, language
):
    text = pages[language]
    assert not re.search(r"(src|href|action)\s*=\s*\"(?!#|data:)|url\((?!#)|@import|<script", text)
    found = Structure(text)
    tags = [tag for tag, _, _ in found.found]
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert tags.count(landmark) == 1
    assert tags.count("caption") == tags.count("table")
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in found.attributes if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for tag, attributes in found.attributes:
        assert attributes.get("aria-labelledby", ids[0]) in ids
        assert tag != "img" or attributes["alt"]
        assert attributes.get("role") not in ("img", "region") or attributes["aria-label"]
        if tag == "a":
            assert attributes["href"][1:] in ids
    assert dict(found.attributes)["html"]["lang"] == language


def test_each_run_is_named_with_its_numbers_and_beside_the_book(pages):
    for name in ("a/first", "b/first", "&lt;b&gt;third", "bench.json"):
        assert name in pages["en"]
    for text in (
        "the book, PyTorch",
        "3,180.3",
        "0.625",
        "1,992,166",
        "96×54×54",
        "A subset &amp;",
    ):
        assert text in pages["en"]
    for text in ("kitap, PyTorch", "3.180,3", "0,625", "1.992.166", "öğrenme oranı", "kayıp"):
        assert text in pages["tr"]
    assert "<b>third" not in pages["en"]


def test_only_settings_that_differ_are_in_the_table(runs):
    shown = page.Page(page.read(runs[:2]), "en")
    (table,) = shown.settings()
    rows = {name: cells for name, *cells in table.rows}
    assert rows["learning rate"] == ["0.1", "0.03", "0.5"]
    assert page.html(page.read(runs[:2])).count("<td><strong>0.03</strong></td>") == 1
    assert "momentum" not in rows
    assert "momentum 0" in shown.same()


@pytest.mark.parametrize("classes", [10, 25])
@pytest.mark.parametrize("network", ["one-1x1", "dense-head"])
def test_shapes_and_costs_are_those_of_as_many_classes_as_the_run_has(tmp_path, network, classes):
    run = make_run(tmp_path / "run", network=network, data={"num_classes": classes})
    shown = page.Page(page.read([run]), "en")
    named = f"NiN {network}" + (", 25 classes" if classes == 25 else "")
    walk, book = shown.walks()
    assert walk.caption.endswith(f": {named}")
    assert walk.rows[-1][1] == str(classes)
    assert book.rows[-1][1] == "10"
    parameters = architecture.parameter_shapes(classes, network=parse(network), size=68)
    (own,) = [row for row in shown.costs().rows if row[2] == "run"]
    assert own[0] == named
    assert own[4] == f"{sum(map(math.prod, parameters.values())):,}"


def test_runs_that_are_too_many_for_a_sheet_of_paper_are_in_several_tables(tmp_path):
    runs = [make_run(tmp_path / f"run-{i}", lr=0.01 * i) for i in range(1, 9)]
    shown = page.Page(page.read(runs), "tr")
    for tables, kept in ((shown.settings(), 2), (shown.versions(), 1)):
        assert [len(table.columns) for table in tables] == [kept + 4, kept + 4]
        assert [name for table in tables for name in table.columns[kept:]] == list(shown.runs)
        assert len({table.caption for table in tables}) == 2
        for table in tables:
            assert all(len(row) == len(table.columns) for row in table.rows)
    rates = [row for table in shown.settings() for row in table.rows if row[0] == "öğrenme oranı"]
    assert [row[1:3] for row in rates] == [["0,1", "0,01"], ["0,1", "0,05"]]
    assert all(all(isinstance(cell, page.Unusual) for cell in row[2:]) for row in rates)


class Words(HTMLParser):
    """The text of a page, but for code, styles and what is marked as of another language."""

    def __init__(self, text):
        super().__init__()
        self.found, self.left_out = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in Structure.VOID:
            other = tag in ("code", "style") or dict(attributes).get("lang") == "en"
            self.left_out.append(other or any(self.left_out[-1:]))

    def handle_endtag(self, tag):
        self.left_out.pop()

    def handle_data(self, data):
        if not any(self.left_out[-1:]):
            self.found.append(data.strip())


def test_turkish_has_one_way_to_write_numbers_and_no_english_words(tmp_path, sample):
    run = make_run(tmp_path / "run", limit=2000)
    config = json.loads((run / "config.json").read_text())
    config["data"] |= {"notice": sample.limit(2000).notice, "train_examples": 2000}
    (run / "config.json").write_text(json.dumps(config))
    found = Words(page.html(page.read([run, BENCH]), "tr")).found
    assert "2.000" in found
    # releases, dates and files have points too
    names = re.compile(r"\d+\.\d+\.\d+|numpy|\.json|\.py|-\d\d-|GPU'da")
    for text in found:
        assert not re.search(r"\d%|\d %", text), text
        assert not re.search(r"(?<![\d.,×])\d{4,}(?![\d.])", text) or names.search(text), text
        if not names.search(text):
            assert not re.search(r"\d\.(?!\d{3}(?!\d))\d", text), text
        assert not ENGLISH.search(text), text


def damage(copy):
    """Ways in which a run may be damaged."""
    config, metrics, result = (copy / name for name in ("config.json", "metrics.jsonl",
                                                        "result.json"))  # fmt: skip
    text = metrics.read_text()
    yield "config.json", config.unlink
    yield "config.json", lambda: config.write_text(config.read_text()[:-9])
    yield "config.json", lambda: config.write_text('{"settings": {"lr": -1}}')
    yield "metrics.jsonl", lambda: metrics.write_text(text[:-9])
    yield "metrics.jsonl", lambda: metrics.write_text(text.replace("0.625", "NaN"))
    yield "metrics.jsonl", lambda: metrics.write_text(text.replace("0.625", '"high"'))
    yield "metrics.jsonl", lambda: metrics.write_text(text.splitlines()[0])
    yield "metrics.jsonl", lambda: metrics.write_bytes(b"\xff\xfe")
    yield "result.json", lambda: result.write_text("{}")
    yield "result.json", lambda: result.write_text("")


@pytest.mark.parametrize("way", range(10))
def test_a_damaged_run_is_named_and_the_others_are_shown(runs, tmp_path, way):
    copy = shutil.copytree(runs[0], tmp_path / "broken")
    file, break_it = list(damage(copy))[way]
    break_it()
    out = tmp_path / "page.html"
    done = run_here("report.py", runs[1], copy, "--out", out)
    assert_one_clear_line(done, str(copy), status=1)
    assert file in done.stderr
    text = out.read_text()
    assert "What could not be read" in text
    assert str(copy) in text
    assert "one-1x1" in text
    out.unlink()
    assert_one_clear_line(run_here("report.py", copy, "--out", out), str(copy))
    assert not out.exists()


def test_a_run_that_is_not_at_its_end_is_shown_as_such(runs, tmp_path):
    copy = shutil.copytree(runs[0], tmp_path / "going")
    (copy / "result.json").unlink()
    assert "not finished" in page.html(page.read([copy]))
    (copy / "metrics.jsonl").write_text("")
    text = page.html(page.read([copy]))
    assert "No run has finished an epoch." in text


def test_what_another_command_has_left_is_skipped_with_a_note_of_what_it_is(runs, tmp_path):
    make_run(tmp_path / "ablation" / "chapter" / "seed-0")
    for name, file in (("search", "study.db"), ("bench", "bench.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("")
    out = tmp_path / "page.html"
    others = [tmp_path / name for name in ("ablation", "search", "bench")]
    done = run_here("report.py", runs[0], *others, "--out", out)
    assert done.returncode == 0, done.stderr
    for line, path, what in zip(
        done.stderr.splitlines(), others, ("*/*", "study.db", "bench.json"), strict=True
    ):
        assert line.startswith(f"note: {path}: not a run directory")
        assert line.endswith(what)
    assert "What could not be read" not in out.read_text()
    assert_one_clear_line(run_here("report.py", *others, "--out", out), f"{others[0]}: not a run")


@given(st.lists(st.lists(st.sampled_from("ab"), min_size=1, max_size=4), unique_by=tuple))
def test_names_are_short_and_different(parts):
    paths = [page.Path("/", *each) for each in parts]
    names = page._names(paths)
    assert len(set(names)) == len(paths)
    assert all(str(path).endswith(name) for name, path in zip(names, paths, strict=True))


def test_what_is_neither_a_run_nor_a_bench_and_a_bad_output_get_one_clear_line(runs, tmp_path):
    (tmp_path / "a.json").write_text("{}")
    assert_one_clear_line(run_here("report.py", tmp_path / "a.json"), "not a whole bench.json")
    assert_one_clear_line(run_here("report.py", tmp_path), "not a run directory")
    inside = f"not a run directory (it has no config.json); the runs in it are {runs[0].parent}/*"
    assert_one_clear_line(run_here("report.py", runs[0].parent), inside)
    assert_one_clear_line(run_here("report.py", runs[0].parents[1]), f"{runs[0].parents[1]}/*")
    out = tmp_path / "no" / "page.html"
    assert_one_clear_line(run_here("report.py", runs[0], "--out", out), f"--out {out}: not a file")


@pytest.mark.shared
def test_predictions_are_on_the_page_and_weights_that_lack_are_named(backend, backend_name, runs,
                                                                     tmp_path):  # fmt: skip
    trained, out = tmp_path / "trained", tmp_path / "page.html"
    options = ["--data", "sample", "--epochs", "1", "--resize", "67", "--batch-size", "20"]
    done = run_here("train.py", "--backend", backend_name, "--preset", "fast", "--limit", "40",
                    "--out", trained, *options)  # fmt: skip
    assert done.returncode == 0, done.stderr
    arguments = ["--predict", "--backend", backend_name, "--indices", "0:30", "--data", "sample"]
    done = run_here("report.py", trained, runs[0], *arguments, "--out", out)
    assert_one_clear_line(done, "model.safetensors", status=1)
    text = out.read_text()
    found = Structure(text)
    images = [attributes for tag, attributes in found.attributes if tag == "img"]
    assert len(images) >= 12
    assert all(each["src"].startswith("data:image/png;base64,") for each in images)
    (heat,) = re.findall(r'<table class="heat".*?</table>', text, re.DOTALL)
    shares = np.array(re.findall(r"--share: (\d+)%", heat), int).reshape(10, 10)
    assert np.isin(np.round(shares.sum(1), -1), (0, 100)).all()
    assert run_directory.read(trained).result["complete"]


def predictions(names, labels, answers):
    """Of a network that answers so."""
    images = Images(np.zeros((len(labels), 28, 28), np.uint8), list(map(str, labels)),
                    np.array(labels), "", names)  # fmt: skip
    logits = np.eye(len(names))[answers]
    return Predictions(
        Model({}, num_classes=len(names), class_names=names), Settings(), images, "cpu", logits
    )


def test_the_page_and_the_picture_of_look_have_the_same_percentages(runs):
    found = predictions(("cat", "dog"), [0] * 8 + [1] * 200, [0] * 7 + [1] * 200 + [0])
    rows = page.Page(page.read(runs), "en").confusion("first", found).rows
    assert rows == [["cat", "88", "13"], ["dog", "1", "100"]]
    drawn = look_pictures.confusion(look.confusion_matrix(found), found.class_names, "en")
    shown = [text.get_text() for text in drawn.axes[0].texts]
    assert shown == [share for _, *shares in rows for share in shares]


@pytest.mark.parametrize("count", [2, 25, 100])
def test_a_confusion_of_many_long_names_has_numbers_as_headings_and_both_in_its_rows(runs, count):
    names = tuple(f"Herbaceous perennial ({chr(200 + i)})" for i in range(count))
    found = predictions(names, range(count), range(count))
    table = page.Page(page.read(runs), "en").confusion("first", found)
    assert table.columns[1:] == (list(names) if count == 2 else [*map(str, range(count))])
    assert table.rows[1][0] == (names[1] if count == 2 else f"1 {names[1]}")


def test_network_and_data_stand_beside_a_result_and_the_books_accuracy_is_of_its_data(tmp_path):
    other = {"kind": "custom", "directory": "/data/plants"}
    run = make_run(tmp_path / "other", network="one-1x1", backend="tf", data=other)
    for runs, book in (([run], []), ([run, make_run(tmp_path / "own")], ["the book, PyTorch"])):
        shown = page.Page(page.read(runs), "en")
        first, *_, last = shown.results().rows
        assert (first[2], first[4]) == ("one-1x1", "plants, 400")
        assert (last[2], last[4]) == ("chapter", "Fashion-MNIST, 60,000")
        svg = shown.curves()[2].svg
        assert [name for name in page.FRAMEWORKS.values() if name in svg] == [
            each.removeprefix("the book, ") for each in book
        ]
    arrays = make_run(tmp_path / "arrays", data={"kind": "arrays"})
    assert page.Page(page.read([arrays]), "en").results().rows[0][4] == "400"


def test_runs_of_one_epoch_are_told_apart_in_the_curves_and_in_their_key(tmp_path):
    runs = [make_run(tmp_path / f"{i}", 1) for i in range(8)]
    (runs[3] / "metrics.jsonl").write_text("")
    (runs[3] / "result.json").unlink()
    shown = page.Page(page.read(runs), "en")
    assert [*shown.key()] == [*"0124567"]
    assert len({(colour, mark) for colour, _, mark in shown.key().values()}) == 7
    marks = re.findall(r'<use xlink:href="#(\w+)"[^>]*var\(--run(\d)\)', shown.curves()[2].svg)
    assert len(set(marks)) == 7


@pytest.mark.parametrize(("epochs", "ticks"), [(10, ["0", "5", "10"]), (1, ["0", "0.5", "1"])])
def test_the_epochs_below_a_curve_are_whole_where_there_are_several(tmp_path, epochs, ticks):
    for curve in page.Page(page.read([make_run(tmp_path / "run", epochs)]), "en").curves():
        words = re.findall(r"<text[^>]*>([^<]*)</text>", curve.svg)
        assert words[: words.index("epoch")] == ticks


def test_a_run_that_diverged_is_called_so_and_its_note_is_a_sentence(tmp_path):
    run = make_run(tmp_path / "run", lr=900)
    result = json.loads((run / "result.json").read_text())
    note = "training diverged at epoch 1, step 3: the loss is not finite (nan); try a lower lr"
    result |= {"complete": False, "notes": [note]}
    (run / "result.json").write_text(json.dumps(result))
    for language, state, first in (("en", "diverged", "T"), ("tr", "ıraksadı", "E")):
        shown = page.Page(page.read([run]), language)
        assert shown.results().rows[0][-1] == state
        assert shown.notes()["run"][-1].startswith(first)


def test_a_loss_of_a_run_that_diverged_does_not_make_the_others_flat(tmp_path):
    runs = [make_run(tmp_path / name) for name in "ab"]
    file = runs[0] / "metrics.jsonl"
    file.write_text(file.read_text().replace("[0.5, 1.0, ", "[0.5, 1e12, "))
    drawn = page.Page(page.read(runs), "en").curves()[0].svg
    words = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
    assert "(losses above 10 are not drawn)" in words
    assert all(float(word) <= 2 for word in words if re.fullmatch(r"[\d.]+", word))


def test_no_number_of_threads_is_called_what_it_means(tmp_path):
    runs = [make_run(tmp_path / f"{threads}", threads=threads) for threads in (0, 2)]
    (table,) = page.Page(page.read(runs), "en").settings()
    assert {name: cells for name, *cells in table.rows}["threads"] == ["one per core"] * 2 + ["2"]


def test_the_accuracy_after_a_part_of_an_epoch_is_where_its_curves_end(tmp_path):
    run = make_run(tmp_path / "run", 1)
    row = json.loads((run / "metrics.jsonl").read_text())
    row |= {"epoch": 0.3, "within_epoch": [[0.2, 1.0, 0.5], [0.4, 1.0, 0.5]]}
    (run / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    (run / "result.json").unlink()
    assert page._evaluations(run_directory.read(run)) == [(0.4, 0.625)]


def test_a_curve_of_a_single_record_has_a_mark(tmp_path):
    run = make_run(tmp_path / "run", 1)
    file = run / "metrics.jsonl"
    row = json.loads(file.read_text())
    file.write_text(json.dumps(row | {"within_epoch": row["within_epoch"][:1]}) + "\n")
    curves = page.Page(page.read([run]), "en").curves()
    assert all(re.search(r"<use [^>]*var\(--run0\)", curve.svg) for curve in curves)


def test_a_network_built_by_hand_is_never_called_the_books(tmp_path):
    run = make_run(tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["network"] = ["block1.conv1: Conv2d(1, 64)"]
    (run / "config.json").write_text(json.dumps(config))
    for language, name, own in (("en", "network", "by hand"), ("tr", "ağ", "elle kurulmuş")):
        shown = page.Page(page.read([run]), language)
        (table,) = shown.settings()
        assert {name: cells for name, *cells in table.rows}[name] == ["chapter", own]
        assert f" {name} " not in shown.same()
        assert shown.results().rows[0][2] == own
