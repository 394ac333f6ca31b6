"""What people really have is read, bit for bit; what cannot be is named and leaves no trace."""

import dataclasses
import importlib

import numpy as np
import pytest
import reference

from common.conversion import convert
from common.errors import NinError

# that what people do is not what they should
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

SIZE = 67
TABLES = {"READ": "read", "HALF": "half", "NOTED": "noted", "REFUSED": "refused"}


def pytest_generate_tests(metafunc):
    backend = metafunc.config.getoption("--backend")
    for table, argument in TABLES.items():
        if argument in metafunc.fixturenames:
            try:
                module = importlib.import_module(f"foreign_{backend}")
                members = getattr(module, table)
            except ImportError:  # the framework is not installed, or there is none
                module, members = None, {}
            marks = {name: [pytest.mark.long] for name in getattr(module, "LONG", ())}
            for name, reason in getattr(module, "LIMITS", {}).items():
                marks.setdefault(name, []).append(pytest.mark.xfail(reason=reason))
            parameters = [
                pytest.param(member, id=name, marks=marks.get(name, []))
                for name, member in members.items()
            ]
            metafunc.parametrize(argument, parameters)


@pytest.fixture(scope="module")
def model():
    return reference.model(resize=None, dropout=None)


def take(path, resize=SIZE):
    found = convert.read(path, resize=resize)
    for note in found.notes:
        assert note.isprintable()
    return found


def assert_same_weights(found, expected):
    for name, array in expected.items():
        np.testing.assert_array_equal(found.weights[name], array, err_msg=name)


def assert_invents_nothing(found, dropouts):
    assert found.class_names == ()
    assert found.training == {}
    assert found.dropout in dropouts


def test_a_file_of_anybody_is_read_bit_for_bit(backend, backend_name, model, read, tmp_path):
    found = take(read(model.weights, tmp_path))
    assert_same_weights(found.model, model.weights)
    # one of what cannot be verified
    assert len(found.notes) == (found.check is None)
    # what the files of this suite say, none, or nothing
    assert_invents_nothing(found.model, (0.25, 0, None))
    if found.check is not None:
        assert found.check.backend == backend_name
        assert found.check.sizes == [SIZE, convert.TELLING_SIZE]
        assert found.check.difference < convert.TOLERANCE


def test_half_precision_is_widened_exactly(backend, model, half, tmp_path):
    found = take(half(model.weights, tmp_path)).model
    for name, array in model.weights.items():
        spacing = 2.0**-8 * np.abs(array) + 1e-7
        assert (np.abs(found.weights[name] - array) <= spacing).all()
        assert (found.weights[name].view("u4") & 0xFFF == 0).all()


def test_what_the_user_should_know_is_noted(backend, model, noted, tmp_path):
    make, words = noted
    found = take(make(model.weights, tmp_path))
    assert_same_weights(found.model, model.weights)
    assert len(found.notes) == 1 + (found.check is None)
    assert words in found.notes[0]


def test_what_cannot_be_read_is_named_and_leaves_no_trace(backend, model, refused, tmp_path, capfd):
    make, words = refused
    path = make(model.weights, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    capfd.readouterr()
    with pytest.raises(NinError) as caught:
        convert.convert(path, tmp_path / "model.safetensors", resize=SIZE)
    message = str(caught.value)
    assert words in message
    assert str(path.parent) in message
    assert message.isprintable()
    assert "weights_only" not in message
    assert "safe_mode" not in message
    assert capfd.readouterr() == ("", "")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.shared
def test_a_model_of_other_classes_stays_without_names(backend, model, tmp_path):
    format_ = {"torch": "nin.pt", "tf": "nin.keras", "mxnet": "nin.params"}
    path = tmp_path / format_[backend.NAME]
    digits = dataclasses.replace(model, dropout=0.2, resize=SIZE)
    convert.write(digits, path, convert.kinds.target_format(path))
    found = take(path, None).model
    assert (found.class_names, found.dropout, found.resize) == ((), 0.2, SIZE)
