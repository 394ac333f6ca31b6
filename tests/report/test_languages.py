"""What is drawn has the same words in every language, and none of another."""

import importlib
import re
from types import SimpleNamespace

import numpy as np
import pytest
from commands import ENGLISH, ROOT

from common.bench import results
from common.data import layouts
from common.data.dataset import Dataset
from common.data.fashion_mnist import CLASS_NAMES
from common.errors import NinError, in_python
from common.model import Model
from common.network import cost
from common.prediction import dead_classes, predict
from common.prediction.predict import Images, Predictions
from common.report import cost as cost_report
from common.report import figure, look_pictures, recorded, style
from common.settings import Settings
from common.training import ablation, curves, memory, plateau
from common.training.run import DivergedError

TABLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "common").rglob("*.py"))
    if re.search(r"^WORDS = \{\s*\"\w+\": \(", path.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize("module", TABLES)
def test_every_table_has_each_of_its_words_in_every_language(module):
    for words in importlib.import_module(module).WORDS.values():
        assert len(words) == len(style.LANGUAGES)
        assert len({tuple(sorted(re.findall(r"\{\d\}", each))) for each in words}) == 1


def predictions():
    logits = np.full((3, 10), -1.0)
    logits[range(3), (0, 1, 2)] = 2.5
    images = Images(np.zeros((3, 28, 28), np.uint8), ["a", "b", "c"], np.array([0, 1, 9]), "",
                    CLASS_NAMES)  # fmt: skip
    return Predictions(Model({}, class_names=CLASS_NAMES), Settings(), images, "cpu", logits)


def texts(drawn):
    """All words of a figure."""
    drawn.draw_without_rendering()
    return [text.get_text() for text in drawn.findobj(lambda item: hasattr(item, "get_text"))]


POINTS = [[0.5, 2.0, 0.3], [1, 1.5, 0.4]]
ROWS = [{"epoch": 1, "evaluated_on": "test", "test_accuracy": 0.5, "within_epoch": POINTS}]
NOTICE = ("On the embedded sample of Fashion-MNIST: 10000 training and 2000 test images of 60000 "
          "and 10000. A subset: 1 of 10000 training and 1 of 2000 test images.")  # fmt: skip
RUN = SimpleNamespace(title="NiN", points=lambda: POINTS, history=ROWS, settings=Settings(),
                      dataset=SimpleNamespace(notice=NOTICE))  # fmt: skip
DRAWN = {
    "curves": (
        lambda lang: curves.plot(RUN, lang),
        {"en": ("train loss", "train acc", "test acc", "epoch", "1.5", "A subset"),
         "tr": ("eğitim kaybı", "eğitim doğruluğu", "test doğruluğu", "dönem", "1,5",
                "60.000 eğitim imgesinin 10.000 tanesi", "Bir alt küme")},
    ),
    "predictions": (
        lambda lang: predictions().plot(lang),
        {"en": ("2 of 3 images right: accuracy 0.667", "is: ankle boot", "78.6%"),
         "tr": ("3 imgenin 2 tanesi doğru, doğruluk 0,667", "doğrusu: ankle boot", "%78,6")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DRAWN)
def test_a_picture_has_the_words_of_its_language_and_no_others(what):
    draw, expected = DRAWN[what]
    for language in style.LANGUAGES:
        found = " ".join("\n".join(texts(draw(language))).split())
        for each, words in expected.items():
            assert [word for word in words if (word in found) != (each == language)] == []


def turkish_pictures():
    """One of each kind, with data that are not the whole real set."""
    yield from (draw("tr") for draw, _ in DRAWN.values())
    yield figure.plot(["vgg11", "nin", "dense-head"], "tr")
    for names in (["nin"], ["nin", "lenet", "alexnet", "vgg11"]):
        yield cost_report.plot([cost.of(name) for name in names], "tr")
    outcome = ablation.Outcome(0, True, 0.5, 0.25, 1.5, 6.0, 0.0, [], POINTS, [])
    variant = ablation.Variant("no-1x1", Settings(), cost.of("nin"), [outcome])
    data = Dataset(np.zeros((1500, 28, 28), np.uint8), np.arange(1500) % 10,
                   np.zeros((1, 28, 28), np.uint8), np.zeros(1, int), notice=NOTICE)  # fmt: skip
    yield ablation.Ablation([variant], data, [0]).plot("tr")
    values = np.linspace(0, 1.5, 4)
    yield look_pictures.mlp([("block1", values, values)], "tr")
    maps = np.full((2, 3, 4, 4), 1.25)
    classes = [f"class {i}" for i in range(3)]
    yield look_pictures.maps(
        np.zeros((2, 28, 28), np.uint8), maps, ["train 0", "test 1"], classes, (0, 1), "tr",
    )  # fmt: skip
    yield look_pictures.confusion(np.eye(3), classes, "tr")
    entry = {"predicted": "class 1", "true": "class 2", "probability": 0.75}
    yield look_pictures.wrong(np.zeros((1, 28, 28), np.uint8), [entry], 31, 300, "tr")
    yield look_pictures.wrong(np.zeros((0, 28, 28), np.uint8), [], 0, 300, "tr")
    yield look_pictures.filters(np.ones((3, 5, 5)), "tr")
    layer = {"layer": "block1.conv1", "channels": 96, "dead": [1]}
    yield look_pictures.dead([layer], 2000, "tr")


def test_no_turkish_picture_has_an_english_word_or_number():
    for number, picture in enumerate(turkish_pictures()):
        for text in texts(picture):
            found = ENGLISH.search(text) or re.search(r"\d\.\d(?!\d\d)|\d ?%(?!\d)|\d{4}", text)
            # names of layers, and how wide the code says they are
            assert not found or re.match("block|tam bağlı katman, 4096", text), (number, text)


@pytest.mark.parametrize("draw", [*(draw for draw, _ in DRAWN.values()),
                                  lambda lang: figure.plot(language=lang)])  # fmt: skip
def test_another_language_is_refused_in_a_line(draw):
    with pytest.raises(NinError, match=r"^lang=de: must be en or tr$"):
        draw("de")


# ------------------------------------------------------------- what was recorded in English

# what it would take too long to bring about is looked for in the code
RARE = (
    "The full set was not available (", "such as ", "the network ends in ", " has no bias",
    "On data that are not the published Fashion-MNIST files.", "out of memory", "; going on from",
    " is no 1x1 convolution with as many outputs as inputs", "no more events for TensorBoard (",
    "the curves could not be drawn (", "a network of your own starts with", " instead of ",
    "the last block starts at random: ", "the network keeps its dropout of ", "resumed with {0}",
    "resumed with a network of other layers ", "Trained on its validation images too.", " device ",
    "; the preset's is ",
)  # fmt: skip


def said(sample):
    """Sentences as the program says them."""
    held = sample.hold_out(2000)
    for part in (sample, sample.limit(60), sample.limit(1), held, held.limit(60)):
        yield part.notice
    yield Model({}, training={"notice": held.notice}).notice("")
    yield Model({}, layers=("conv",)).title
    for labels in ([0, 5, 9], [3, 4, 5]):
        yield Dataset(sample.train_images[:3], labels, sample.test_images[:1], labels[:1]).notice
    yield layouts.DIVIDED
    yield predict.UNNAMED
    yield from layouts._unused(["val/"], "test/")
    yield "On /data, not the published Fashion-MNIST files: 5 training and 1 test image."
    living = np.zeros((64, 10))
    living[:, 0] = range(64)
    for logits, first in ((np.zeros((64, 10)), 0), (living, 1)):
        found = {"block1.conv1": np.full((64, 4, 3, 3), first), "logits": logits}
        for settings in (Settings(), Settings(preset="fast")):
            yield "epoch 1, step 20: " + in_python(plateau.explain(found, 10, settings))
        yield in_python(
            DivergedError.of("the loss is not finite (nan)", "at epoch 1, step 2").marked
        )
    state = ("block2.conv1.weight", "the optimizer's state", "a logit")
    for what in (f"{name} is not finite" for name in state):
        yield in_python(DivergedError.of(what, "in the evaluation of epoch 3").marked)
    for logits in (np.zeros((3, 10)), np.ones((3, 10)), np.full((3, 10), np.arange(10))):
        yield dead_classes.problem(logits)
    yield dead_classes.explain(["bag"], 2000)
    yield dead_classes.explain(["bag", "shirt"], 2000)
    images = Images(np.zeros((2, 28, 28), np.uint8), ["train 0", "test 1"], np.array([0, 1]))
    model = Model({}, class_names=())
    found = Predictions(model, Settings(), images, "cpu", np.zeros((2, 10)))
    yield from map(in_python, found.notes)
    yield from (*images.names, found.true_class(0), found.likely(0, 1))
    yield f"the 2.5 GiB of memory may not suffice{in_python(memory._what_fits(Settings()))}"
    record = results.load(ROOT / "docs" / "bench.json").record
    record["plan"]["quick"], record["lost"] = True, {"torch": "killed"}
    yield from results.heading(record)


def test_names_that_users_gave_stay_as_they_are():
    for name in ("train 5.png", "class 3b", "my class 12.5 mm.jpg", "train 7_copy"):
        assert style.told(name, "tr") == name
    assert style.told("train 5", "tr") == "eğitim 5"
    assert style.told("class 3, train 5.", "tr") == "sınıf 3, eğitim 5."


def test_every_recorded_sentence_is_turkish_in_turkish_and_none_is_translated_in_vain(sample):
    sentences = [*filter(None, said(sample))]
    for sentence in sentences:
        found = ENGLISH.search(style.told(sentence, "tr"))
        assert found is None, (found, style.told(sentence, "tr"))
        assert style.told(sentence, "en") == sentence
    code = "".join(path.read_text() for path in (ROOT / "common").rglob("*.py"))
    for english, (pattern, _) in zip(recorded.TURKISH, style._patterns(), strict=True):
        rare = [words for words in RARE if words in english]
        if rare:
            assert re.sub(r"\{0\}", "", rare[0]) in code.replace("`", ""), english
        else:
            assert any(pattern.search(sentence) for sentence in sentences), english


def test_counts_and_fractions_in_a_recorded_sentence_are_written_as_the_language_does():
    notice = style.told("A subset: 2000 of 60000 training and 333 of 10000 test images.", "tr")
    assert notice == (
        "Bir alt küme: 60.000 eğitim imgesinin 2.000 tanesi, 10.000 test imgesinin 333 tanesi."
    )
    assert style.told("AMD EPYC, 1 core, 23.5 GiB", "tr") == "AMD EPYC, 1 çekirdek, 23,5 GiB"
    assert style.told("a notice of the user's own", "tr") == "a notice of the user's own"


@pytest.mark.parametrize(
    ("value", "form", "english", "turkish"),
    [(3000, "", "3,000", "3.000"), (3180.3, ".1f", "3,180.3", "3.180,3"),
     (0.1, "g", "0.1", "0,1"), (0.5, "+.3f", "+0.500", "+0,500"), (12.0, "#.3g", "12.0", "12,0")],
)  # fmt: skip
def test_a_number_is_written_as_the_language_does(value, form, english, turkish):
    assert style.number(value, form) == english
    assert style.number(value, form, "tr") == turkish
