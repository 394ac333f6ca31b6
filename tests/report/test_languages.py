"""What is drawn has the same words in every language, and none of another."""

import importlib
import re
from types import SimpleNamespace

import numpy as np
import pytest
from commands import ROOT

from common.data.fashion_mnist import CLASS_NAMES
from common.errors import NinError
from common.model import Model
from common.prediction.predict import Images, Predictions
from common.report import figure, page_words, style
from common.settings import Settings
from common.training import curves

TABLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "common").rglob("*.py"))
    if re.search(r"^WORDS = \{\s*\"\w+\": \(", path.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize("module", TABLES)
def test_every_table_has_each_of_its_words_in_every_language(module):
    for words in importlib.import_module(module).WORDS.values():
        assert len(words) == len(style.LANGUAGES)
        assert len({tuple(_shape(each)) for each in words}) == 1


def test_the_page_has_the_same_words_in_every_language():
    assert tuple(sorted(page_words.WORDS)) == tuple(sorted(style.LANGUAGES))
    shapes = [_shape(page_words.WORDS[language]) for language in style.LANGUAGES]
    assert shapes[0] == shapes[1]


def _shape(words):
    """Names, and how often each {0} stands in a text; a bench's columns are only translated."""
    if isinstance(words, str):
        return sorted(re.findall(r"\{\d\}", words))
    return {name: _shape(each) for name, each in words.items() if name != "bench_columns"}


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


ROWS = [{"epoch": 1, "evaluated_on": "test", "test_accuracy": 0.5}]
POINTS = [[0.5, 2.0, 0.3], [1, 1.5, 0.4]]
RUN = SimpleNamespace(title="NiN", points=lambda: POINTS, history=ROWS, settings=Settings(),
                      dataset=SimpleNamespace(notice=""))  # fmt: skip
DRAWN = {
    "curves": (
        lambda lang: curves.plot(RUN, lang),
        {"en": ("train loss", "train acc", "test acc", "epoch", "1.5"),
         "tr": ("eğitim kaybı", "eğitim doğruluğu", "test doğruluğu", "dönem", "1,5")},
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
        found = "\n".join(texts(draw(language)))
        for each, words in expected.items():
            assert [word for word in words if (word in found) != (each == language)] == []


@pytest.mark.parametrize("draw", [*(draw for draw, _ in DRAWN.values()),
                                  lambda lang: figure.plot(language=lang)])  # fmt: skip
def test_another_language_is_refused_in_a_line(draw):
    with pytest.raises(NinError, match=r"^lang=de: must be en or tr$"):
        draw("de")
