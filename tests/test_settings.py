import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common import settings
from common.errors import NinError
from common.settings import PRESETS, RULES, Settings, check_resize, from_preset

FIELDS = dataclasses.fields(Settings)
# values of any kind that somebody may write in a notebook
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.integers(-(2**31), 2**31 - 1).map(np.int64),
    st.floats(width=32).map(np.float32),
    st.booleans().map(np.bool_),
    st.just(np.zeros((2, 2))),
)


def test_the_book_preset_is_the_chapter():
    settings = from_preset("book")
    assert (settings.lr, settings.epochs, settings.batch_size, settings.resize) == (
        0.1, 10, 128, 224,
    )  # fmt: skip
    assert (settings.optimizer, settings.momentum, settings.weight_decay) == ("sgd", 0, 0)
    assert (settings.init, settings.schedule, settings.dropout) == ("xavier", "constant", 0.5)


def test_a_preset_can_be_overridden_in_everything():
    settings = from_preset("fast", epochs=3, lr=0.5, optimizer="sgd", momentum=0.9, seed=4)
    assert (settings.epochs, settings.lr, settings.optimizer, settings.momentum) == (
        3, 0.5, "sgd", 0.9,
    )  # fmt: skip
    assert settings.resize == from_preset("fast").resize


def test_every_setting_has_a_rule():
    assert list(RULES) == [field.name for field in FIELDS]


@given(st.sampled_from(FIELDS), VALUES)
@example(next(field for field in FIELDS if field.name == "network"), b"")
@example(next(field for field in FIELDS if field.name == "schedule"), "\n")
def test_a_setting_has_its_type_and_survives_json_or_is_refused_by_name(field, value):
    given = dataclasses.replace(Settings(), **{field.name: value})
    try:
        given.check()
    except NinError as error:
        assert str(error).startswith(field.name)
        assert "\n" not in str(error)
        return
    found = getattr(given, field.name)
    if field.type is float:
        assert type(found) in (int, float)
        assert math.isfinite(found)
    else:
        assert isinstance(found, field.type)
        assert isinstance(found, bool) == (field.type is bool)
    assert Settings(**json.loads(json.dumps(dataclasses.asdict(given)))) == given


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", 0, "epochs=0: must be a number above 0 and at most 100000"),
        ("epochs", True, "epochs=True: must be a number above 0 and at most 100000"),
        ("epochs", "10", "epochs='10': must be a number above 0 and at most 100000"),
        ("batch_size", 2.0, "batch_size=2.0: must be a whole number from 1 to 1000000"),
        ("lr", "0.1", "lr='0.1': must be a number above 0 and at most 1000"),
        ("lr", False, "lr=False: must be a number above 0 and at most 1000"),
        ("flip", 1, "flip=1: must be True or False"),
        ("optimizer", 3, "optimizer=3: must be sgd, adamw, muon"),
        ("optimizer", "adam", "optimizer=adam: must be sgd, adamw, muon"),
        ("device", "tpu", "device=tpu: must be auto, cpu, gpu"),
        ("resize", 66, "resize=66: too small for this network; the smallest that works is 67"),
    ],
)
def test_a_value_that_makes_no_sense_is_named_with_what_it_must_be(name, value, message):
    with pytest.raises(NinError) as caught:
        from_preset("fast", **{name: value})
    assert str(caught.value) == message


def test_numbers_of_numpy_are_numbers():
    found = from_preset("fast", epochs=np.int64(3), lr=np.float32(0.5), flip=np.bool_(True))
    assert (found.epochs, found.lr, found.flip) == (3, 0.5, True)
    assert [type(value) for value in (found.epochs, found.lr, found.flip)] == [int, float, bool]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("epoch", "did you mean epochs?"),
        ("learning_rate", "did you mean lr?"),
        ("image_size", "did you mean resize?"),
        ("optim", "did you mean optimizer?"),
        ("quantum_leaps", "there are backend, preset, epochs"),
        ("batchsize", "did you mean batch_size?"),
        ("seeds", "did you mean seed?"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_one(name, hint):
    with pytest.raises(NinError, match=f"^{name}: no such setting; {hint}".replace("?", "[?]")):
        from_preset("fast", **{name: 1})


@pytest.mark.parametrize("preset", ["slow", "", None, 3, ["fast"]])
def test_an_unknown_preset_is_refused(preset):
    with pytest.raises(NinError, match="unknown; choose one of book, fast, chapter, best"):
        from_preset(preset)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_presets_themselves_make_sense(preset):
    from_preset(preset).check()


@given(st.integers())
def test_a_size_is_taken_from_the_smallest_that_works_up_to_the_largest(size):
    good = settings.architecture.smallest_input() <= size <= 4096
    try:
        check_resize(size)
    except NinError as error:
        assert not good
        assert str(error).startswith(f"resize={size}: ")
    else:
        assert good
