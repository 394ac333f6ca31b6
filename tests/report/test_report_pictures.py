"""The pictures for learners: drawn from the networks, in both languages, with nothing cut off."""

import itertools
import json
from types import SimpleNamespace

import pytest
from commands import assert_one_clear_line, run_here

from common.files import figures
from common.network import cost
from common.report import cost as cost_report
from common.report import figure, style
from common.settings import Settings, from_preset
from common.training import ablation, curves

NETWORKS = (*cost.COMPARED, "lin-cifar", "alexnet-head", "vgg-30")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (110, "110"), (999, "999"), (999.6, "1.00 k"), (1_992_166, "1.99 M"),
     (46_764_746, "46.8 M"), (762_297_352, "762 M"), (7.547e9, "7.55 G")],
)  # fmt: skip
def test_counts_have_three_digits(value, text):
    assert style.count(value) == text
    assert style.count(value, "tr") == text.replace(".", ",")


def test_sizes_are_in_powers_of_two_and_turkish_percentages_begin_with_the_sign():
    assert style.size(947_859_248) == "904 MiB"
    assert style.size(5, "tr") == "5 B"
    assert (style.share(0.923, "en"), style.share(0.923, "tr")) == ("92%", "%92")


@pytest.mark.parametrize(("network", "language"), [*itertools.product(NETWORKS, style.LANGUAGES)])
def test_the_chapters_figure_has_every_word_inside_its_box(network, language):
    drawn = figure.plot([network], language)
    figures.png(drawn, int(drawn.dpi))  # at another one its texts would be measured in that
    (axes,) = drawn.axes
    boxes = [patch.get_window_extent() for patch in axes.patches]
    found = [text for text in axes.texts if text.get_text() and text.get_weight() != "bold"]
    assert len(found) == len(boxes)
    for text, box in zip(found, boxes, strict=True):
        inside = text.get_window_extent()
        assert box.x0 <= inside.x0, text
        assert inside.x1 <= box.x1, text
        assert box.y0 <= inside.y0, text
        assert inside.y1 <= box.y1, text


LONG = "channels=192/160/96-20,kernels=11-5-3,strides=1-2-1,repeat=3,head=alexnet,hidden=512/256/12"


@pytest.mark.parametrize(
    "networks", [["vgg-12,channels=48-96-192", "inner=1,head=dense", "gentle"], [LONG, "inner=8"]]
)
@pytest.mark.parametrize("language", style.LANGUAGES)
@pytest.mark.filterwarnings("error")
def test_the_figure_of_variants_keeps_titles_in_their_columns_and_words_in_their_boxes(
    networks, language
):
    drawn = figure.plot(networks, language)
    figures.png(drawn, int(drawn.dpi))  # at another one its texts would be measured in that
    (axes,) = drawn.axes
    bold = [text for text in axes.texts if text.get_weight() == "bold"]
    assert len(bold) == 2 * len(networks)
    extents = [text.get_window_extent() for text in bold]
    assert extents[0].x0 >= 0
    assert all(extent.y1 <= drawn.bbox.y1 for extent in extents)
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(extents))
    others = [text for text in axes.texts if text.get_text() and text not in bold]
    for text, patch in zip(others, axes.patches, strict=True):
        inside, box = text.get_window_extent(), patch.get_window_extent()
        assert box.x0 <= inside.x0, text
        assert inside.x1 <= box.x1, text


def test_a_long_name_is_broken_at_commas_and_between_numbers():
    assert style.wrapped("inner=1,head=dense,pool=2", 20) == "inner=1, head=dense,\npool=2"
    assert style.wrapped("channels=192/160/96-20", 20) == "channels=192/160/\n96-20"
    assert style.wrapped("3×3, 112/32/10, padding 1", 24) == "3×3, 112/32/10,\npadding 1"
    assert style.wrapped("training loss, mean since", 8) == "training\nloss,\nmean\nsince"


def test_a_block_whose_channels_are_not_all_equal_has_each_of_them_in_its_box():
    words = [text.get_text() for text in figure.plot(["channels=96/48/96-256-384"]).axes[0].texts]
    (first,) = [text for text in words if text.startswith("NiN block\n11×11")]
    assert "96/48/96" in first
    assert any(text.startswith("NiN block\n5×5, 256,") for text in words)


def test_the_shares_of_memory_are_those_of_the_whole_step():
    found = cost.of("nin")
    axes = cost_report.plot([found]).axes[2]
    assert sum(bar.get_width() for bar in axes.patches) == found.training.total
    largest = max(total for total, _ in found.layer_bytes())
    share = style.share(largest / found.training.total, "en")
    assert f"{style.size(largest)}, {share}" in [text.get_text() for text in axes.texts]


def test_the_chapters_figure_says_what_the_networks_are_made_of():
    words = " ".join(text.get_text() for text in figure.plot().axes[0].texts)
    words = words.replace("\n", " ")
    for part in (
        "11×11 convolution 96 channels, stride 4", "NiN block 5×5, 256, padding 2",
        "NiN block 3×3, 10, padding 1", "global average pooling", "fully connected, 4096",
        "VGG block 2 × 3×3, 512 channels",
    ):  # fmt: skip
        assert part in words
    assert words.count("1×1 convolution") == 2
    turkish = " ".join(text.get_text() for text in figure.plot(language="tr").axes[0].texts)
    assert "küresel ortalama\nortaklama" in turkish
    assert "convolution" not in turkish


@pytest.mark.parametrize("names", [
    list(cost.COMPARED), [LONG, "inner=1,head=dense", "vgg-12"],
    *(pytest.param(names, marks=pytest.mark.long) for names in (
        ["nin"], ["alexnet"], [LONG],
        ["nin", "one-1x1", "no-1x1", "three-1x1", "3x3", "dense-head", "alexnet-head", "gentle"],
    )),
])  # fmt: skip
@pytest.mark.parametrize("language", style.LANGUAGES)
@pytest.mark.filterwarnings("error")
def test_the_picture_of_costs_keeps_its_words_apart_and_inside(names, language):
    drawn = cost_report.plot([cost.of(name) for name in names], language)
    figures.png(drawn, int(drawn.dpi))  # at another one its texts would be measured in that
    whole = drawn.bbox
    for axes in drawn.axes:
        numbers = [text.get_window_extent() for text in axes.texts]
        titles = [
            axes.title.get_window_extent(),
            *(text.get_window_extent() for text in drawn.texts),
        ]
        for extent in [*numbers, *titles]:
            assert whole.x0 <= extent.x0
            assert extent.x1 <= whole.x1 + 1
        for one, other in itertools.pairwise(sorted(numbers, key=lambda extent: extent.y0)):
            assert one.y1 <= other.y0 + 2 or not one.overlaps(other)
    titles = [axes.title.get_window_extent() for axes in drawn.axes]
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(titles))
    names = [label.get_window_extent() for label in drawn.axes[0].get_yticklabels()]
    assert all(one.y0 >= other.y1 - 2 for one, other in itertools.pairwise(names))


@pytest.mark.parametrize("language", style.LANGUAGES)
def test_an_ablation_keeps_long_names_whole_and_its_titles_inside(sample, capsys, language):
    names = ("chapter", "channels=48-96/64/48-192,head=alexnet,hidden=512/512")
    curve = [[0.5, 0.7, 0.8], [0.75, 1e9, 0.1], [1.0, 0.4, 0.9]]
    variants = [
        ablation.Variant(name, from_preset("fast", network=name), cost.of(name, 68), [
            ablation.Outcome(0, True, 0.9253, 0.95, 0.4, 60.0, 0.0, [], curve, [])
        ])
        for name in names
    ]  # fmt: skip
    found = ablation.Ablation(variants, sample, [0])
    found.show()
    shown = capsys.readouterr().out
    assert all(name in shown for name in names)
    assert "\u2026" not in shown
    drawn = found.plot(language)
    figures.png(drawn, int(drawn.dpi))  # at another one its texts would be measured in that
    for text in [text for axes in drawn.axes for text in (axes.title, axes.xaxis.label)]:
        extent = text.get_window_extent()
        assert drawn.bbox.x0 <= extent.x0
        assert extent.x1 <= drawn.bbox.x1 + 1


@pytest.mark.parametrize("epochs", [[0.5], [1e-4, 2e-4]])
def test_an_ablation_of_a_few_close_records_shows_them_whole_with_labels_apart(sample, epochs):
    curve = [[epoch, 2.3025, 0.1] for epoch in epochs]
    outcomes = [
        ablation.Outcome(0, True, x, x, 2.3, 6.0, 0.0, [], curve, []) for x in (0.1, 0.10004)
    ]
    variants = [
        ablation.Variant(name, from_preset("fast"), cost.of("nin", 68), [outcome])
        for name, outcome in zip("ab", outcomes, strict=True)
    ]
    drawn = ablation.Ablation(variants, sample, [0]).plot()
    figures.png(drawn, int(drawn.dpi))  # at another one its texts would be measured in that
    for axes in drawn.axes:
        labels = [label for label in axes.get_xticklabels() if label.get_text()]
        low, high = axes.get_xlim()
        labels = [label for label in labels if low <= label.get_position()[0] <= high]
        assert len({label.get_text() for label in labels}) == len(labels)
        extents = [label.get_window_extent() for label in labels]
        assert all(one.x1 + 10 < other.x0 for one, other in itertools.pairwise(extents))
    top = drawn.axes[1].transData.transform((epochs[0], 2.3025))[1]
    assert top + 5 < drawn.axes[1].bbox.y1


# ------------------------------------------------------------- the commands


def test_the_curves_of_half_an_epoch_of_five_steps_end_together():
    points = [[0.2, 2.0, 0.3], [0.4, 1.5, 0.4]]
    rows = [{"epoch": 0.5, "evaluated_on": "test", "test_accuracy": 0.5, "within_epoch": points}]
    run = SimpleNamespace(title="NiN", points=lambda: points, history=rows, settings=Settings(),
                          dataset=SimpleNamespace(notice=""))  # fmt: skip
    lines = curves.plot(run).axes[0].lines
    assert [line.get_xdata()[-1] for line in lines] == [0.4] * 3


@pytest.mark.parametrize("language", style.LANGUAGES)
def test_a_run_that_diverged_leaves_accuracies_and_other_losses_visible(language):
    points = [[0.5, 2.3, 0.1], [1, 1e12, 0.6], [1.5, 2.9, 0.1]]
    rows = [{"epoch": 1, "evaluated_on": "test", "test_accuracy": 0.5, "within_epoch": points}]
    run = SimpleNamespace(title="NiN", points=lambda: points, history=rows, settings=Settings(),
                          dataset=SimpleNamespace(notice=""))  # fmt: skip
    (axes,) = curves.plot(run, language).axes
    assert 2.9 < axes.get_ylim()[1] < 4
    said = {"en": "losses above 10 are not drawn", "tr": "10 üstü kayıplar çizilmedi"}
    assert said[language] in axes.get_xlabel()
    points[1][1] = 5.0
    assert "10" not in curves.plot(run, language).axes[0].get_xlabel()


@pytest.mark.parametrize("language", style.LANGUAGES)
def test_the_title_of_the_curves_is_inside_however_long_the_networks_name_is(language):
    run = SimpleNamespace(title=f"NiN {LONG}, torch, fast, 68x68", points=list, history=[],
                          settings=Settings(), dataset=SimpleNamespace(notice=""))  # fmt: skip
    drawn = curves.plot(run, language)
    figures.png(drawn, int(drawn.dpi))  # at another one its texts would be measured in that
    extent = drawn.axes[0].title.get_window_extent()
    assert drawn.bbox.x0 <= extent.x0
    assert extent.x1 <= drawn.bbox.x1
    assert extent.y1 <= drawn.bbox.y1


def test_cost_writes_what_it_prints(tmp_path):
    file, picture = tmp_path / "cost.json", tmp_path / "cost.svg"
    done = run_here("cost.py", "--json", file, "--picture", picture, tmp_path / "cost.png")
    assert done.returncode == 0, done.stderr
    assert "1,992,166" in done.stdout
    report = json.loads(file.read_text())
    assert list(report["networks"]) == ["nin", "lenet", "alexnet", "vgg11"]
    for name, found in report["networks"].items():
        assert found["parameters"] == cost.of(name).parameters
        assert found["resize"] == (28 if name == "lenet" else 224)
        assert sum(layer["multiply_adds"] for layer in found["layers"]) == found["multiply_adds"]
    assert picture.read_text().startswith("<?xml")
    assert (tmp_path / "cost.png").exists()


def test_figure_is_written_in_all_formats(tmp_path):
    files = [tmp_path / f"nin.{kind}" for kind in ("svg", "pdf", "png")]
    done = run_here("figure.py", "--lang", "tr", "--picture", *files)
    assert done.returncode == 0, done.stderr
    assert all(file.stat().st_size > 1000 for file in files)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("cost.py --networks resnet", "--networks resnet"),
        ("cost.py --resize 20", "--resize 20: too small"),
        ("cost.py --batch-size 0", "--batch-size 0: must be"),
        ("cost.py --measure nowhere", "choose one of torch, tf, mxnet"),
        ("cost.py --json nowhere/a.json", "--json nowhere/a.json: not a file in an existing"),
        ("cost.py --json .", "--json .: not a file in an existing directory"),
        ("shapes.py --json .", "--json .: not a file in an existing directory"),
        ("ablate.py --exercise 2 --out a --json .", "--json .: not a file in an existing"),
        ("look.py --weights a --json .", "--json .: not a file in an existing directory"),
        ("report.py runs --out .", "--out .: not a file in an existing directory"),
        ("cost.py --picture a.gif", "--picture a.gif: its name must end with .png"),
        ("figure.py --picture nowhere/a.svg", "--picture nowhere/a.svg: not a file in an"),
        ("figure.py --picture a.svg --networks resnet", "resnet"),
    ],
)
def test_what_a_command_cannot_write_or_draw_gets_one_clear_line_at_once(
    tmp_path, monkeypatch, command, words
):
    monkeypatch.chdir(tmp_path)
    script, *arguments = command.split()
    assert_one_clear_line(run_here(script, *arguments), words)
    assert list(tmp_path.iterdir()) == []
