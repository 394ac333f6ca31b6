"""Every argument of the interface for Python takes what fits and refuses the rest in one line."""

import inspect
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import common
from common import NinError, api
from common.comparison.job import Job
from common.data.dataset import Dataset
from common.network import cost
from common.prediction.classifier import OPTIONS, Classifier
from common.prediction.predict import Predictions
from common.report.look import Look
from common.settings import RULES
from common.training.ablation import Ablation
from common.training.run import Run, Watcher
from common.training.tune import Tuning

# a second backend says no more of most of it
pytestmark = pytest.mark.shared

# but for the arguments that have the value as their default, or that TAKES lists, all are wrong
VALUES = {
    "text": "x",
    "nothing in quotes": "",
    "a byte of no name": "\0",
    "a number": 2.5,
    "a number in quotes": "2",
    "a NumPy number": np.float64(2.5),
    "not a number": float("nan"),
    "no end": float("inf"),
    "a negative number": -1,
    "None": None,
    "True": True,
    "no list": [],
    "a list of numbers": [2.5],
    "a list of a list": [[]],
    "a dictionary": {},
    "a dictionary of numbers": {1: 2},
    "bytes": b"x",
    "an object": object(),
    "a class": Path,
    "a path": Path(),
    "an array": np.zeros(3),
    "a network": None,  # of the backend: see the test
}
NUMBER = {"a number", "a NumPy number"}
STRINGS = {"text", "nothing in quotes", "a byte of no name", "a number in quotes"}
TAKES = {
    "watchers": {"no list"},
    "python": {"a dictionary"},
    "timeout": NUMBER,
    "epochs": NUMBER,
    "lr": NUMBER,
    "flip": {"True"},
    "notice": STRINGS,
    # the directory of a test is empty
    "fit out": {"text", "a number in quotes", "a path", "True"},
    "ablate out": {"text", "a number in quotes", "a path"},
    "tune out": {"text", "a number in quotes", "a path"},
    "Run.save path": {"text", "a number in quotes"},
    "Classifier.save path": {"text", "a number in quotes"},
    "fit net": {"a network"},
    "shape_walk net": {"a network"},
    "resume net": {"a network"},
    "cost network": {"a network"},
    "load backend": {"a network"},
    "look indices": {"a number in quotes"},
    "Dataset.limit count": {"None"},
    "Dataset class_names": {"no list"},
    "Dataset refused": {"no list"},
    "Dataset checksums": {"a dictionary"},
    "Dataset kind": STRINGS,
    "Dataset directory": STRINGS,
    "Dataset evaluated_on": STRINGS,
    # looked at later than what there is to draw
    "Ablation.plot lang": STRINGS,
    "Tuning.plot lang": STRINGS,
}
# what messages call an argument, if not by its name: as the command line does
CALLED = {
    "load_data source": "data",
    "resume directory": "resume",
    "Dataset.limit count": "limit",
    "Dataset.hold_out count": "validation",
}

FUNCTIONS = {
    **{name: getattr(api, name) for name in api.__all__ if inspect.isfunction(getattr(api, name))},
    "Dataset": Dataset,
}
METHODS = {
    Run: ("plot", "save"),  # predict hands its arguments to Classifier's
    Classifier: ("predict", "save"),
    Predictions: ("summary", "plot"),
    Look: ("view", "plot"),
    cost.Cost: ("plot",),
    Dataset: ("limit", "hold_out"),
    Ablation: ("plot",),
    Tuning: ("plot", "test"),
}
# what **settings and **options stand for
MORE = {
    **dict.fromkeys(("fit", "resume", "ablate", "tune"), RULES),
    **dict.fromkeys(("load", "look"), OPTIONS),
    "cost": cost.OPTIONS,
    "compare": vars(Job()),
}


def arguments():
    for name, function in FUNCTIONS.items():
        yield from ((name, each) for each in of(function))
        yield from ((name, each) for each in MORE.get(name, ()) if each not in of(function))
    for kind, names in METHODS.items():
        for name in names:
            method = getattr(kind, name)
            yield from ((f"{kind.__name__}.{name}", each) for each in of(method))


def of(function):
    variable = inspect.Parameter.VAR_KEYWORD
    found = inspect.signature(function).parameters
    return [name for name, each in found.items() if name != "self" and each.kind != variable]


class Stop(Watcher):
    def step(self, run):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def data():
    return common.load_data("sample")


@pytest.fixture(scope="module")
def calls(backend, backend_name, data, tmp_path_factory):
    """Function -> itself, and arguments with which it would do what it is for."""
    place = tmp_path_factory.mktemp("run")
    small = {"limit": 40, "batch_size": 20, "resize": 67, "device": "cpu", "precision": "float32"}
    fit = {"net": backend_name, "data": data, "preset": "fast", "watchers": (), **small}
    net = backend.nin()
    run = common.fit(**{**fit, "watchers": [Stop()]}, out=place / "run")
    classifier = run.classifier()
    classifier.save(place / "net.safetensors")
    images = {"images": data.test_images[:2]}
    predictions = classifier.predict(**images)
    look = common.look(classifier, data=data, indices="0:2")
    search = {"backend": backend_name, "data": data, **small}
    return {
        "load_data": (common.load_data, {}),
        "build": (common.build, {"backend": backend_name, "resize": 67}),
        "shape_walk": (common.shape_walk, {"net": net, "resize": 67}),
        "fit": (common.fit, fit),
        "load": (common.load, {"path": place / "net.safetensors", "backend": backend_name}),
        "resume": (common.resume, {"directory": place / "run", "data": data, "watchers": ()}),
        "compare": (common.compare, {"backends": ["torch", "tf"]}),
        "ablate": (common.ablate, {"networks": ["chapter"], "watchers": (), "out": "x", **search}),
        "cost": (common.cost, {"network": net, "resize": 67}),
        "look": (common.look, {"trained": place / "net.safetensors", "backend": backend_name}),
        "tune": (common.tune, {"search": ["lr"], "out": "x", **search}),
        "Run.plot": (run.plot, {}),
        "Run.save": (run.save, {"path": "x"}),
        "Classifier.predict": (classifier.predict, images),
        "Classifier.save": (classifier.save, {"path": "x"}),
        "Predictions.summary": (predictions.summary, {}),
        "Predictions.plot": (predictions.plot, {}),
        "Look.view": (look.view, {"view": "mlp"}),
        "Look.plot": (look.plot, {"view": "mlp"}),
        "Cost.plot": (common.cost().plot, {}),
        "Ablation.plot": (Ablation.__new__(Ablation).plot, {}),
        "Tuning.plot": (Tuning.__new__(Tuning).plot, {}),
        "Tuning.test": (Tuning.__new__(Tuning).test, {}),
        "Dataset": (Dataset, vars(data)),
        "Dataset.limit": (data.limit, {"count": 1}),
        "Dataset.hold_out": (data.hold_out, {"count": 1}),
    }


def call(function, given):
    """Call a function with arguments by name, also those that it takes as any number of them."""
    several = [
        name
        for name, each in inspect.signature(function).parameters.items()
        if each.kind == each.VAR_POSITIONAL
    ]
    positional = given.pop(several[0]) if several else ()
    return function(*positional, **given)


@pytest.mark.parametrize(("name", "argument"), list(arguments()))
def test_a_value_of_no_use_is_refused_by_the_name_of_its_argument(
    name, argument, calls, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    function, usual = calls[name]
    parameter = inspect.signature(function).parameters.get(argument)
    where = f"{name} {argument}"
    taken = TAKES.get(argument, set()) | TAKES.get(where, set())
    # a setting that is None is the preset's
    if parameter.default is None if parameter else name != "compare":
        taken = taken | {"None"}
    wrong = {**VALUES, "a network": calls["shape_walk"][1]["net"]}
    for what in wrong.keys() - taken:
        value, given = wrong[what], dict(usual)
        several = parameter and parameter.kind == parameter.VAR_POSITIONAL
        given[argument] = [value, *usual[argument]] if several else value
        print(what)  # pytest shows it if this fails
        with pytest.raises(NinError) as caught:
            call(function, given)
        message = str(caught.value)
        assert "\n" not in message
        assert len(message) < 500
        named = any(each in message for each in (argument.rstrip("s"), CALLED.get(where, argument)))
        # of a file its name is enough
        assert named or message.startswith(f"{value}: "), message
        assert list(tmp_path.iterdir()) == []


def test_every_public_function_is_tried(calls):
    assert calls.keys() == {name for name, _ in arguments()}


def test_numbers_of_numpy_are_taken_where_numbers_are(calls, backend):
    common.shape_walk(backend.nin(), resize=np.int64(67))
    assert common.cost("nin", np.int16(99), batch_size=np.uint8(1)).batch_size == 1
    look = calls["look"][1]
    assert common.look(**look, resize=np.int32(67), threads=np.int64(1)).classifier.settings.resize


def test_images_are_chosen_in_any_way_that_a_notebook_writes(calls, data):
    trained = common.load(**calls["load"][1])
    for indices in ("3,4,5", [3, 4, 5], (3, 4, 5), range(3, 6), np.arange(3, 6)):
        found = common.look(trained, data=data, indices=indices)
        assert found.images.names == ["test 3", "test 4", "test 5"]
    for indices in (7, np.int64(7), "7"):
        assert common.look(trained, data=data, indices=indices).images.names == ["test 7"]


def test_one_photo_needs_no_list(calls, data, tmp_path):
    trained, photo = common.load(**calls["load"][1]), tmp_path / "one.png"
    Image.fromarray(data.test_images[0]).save(photo)
    for photos in (photo, str(photo), [photo]):
        assert common.look(trained, photos).images.names == [str(photo)]
    for beside in ({"data": data}, {"indices": 0}):
        with pytest.raises(NinError, match=f"^{next(iter(beside))}: of a data set"):
            common.look(trained, photo, **beside)


MISTAKES = {
    "cost(batch_size='x')": "batch_size='x': must be a whole number from 1 to 1000000",
    "cost(batchsize=2)": "batchsize: no such setting; did you mean batch_size?",
    "cost(resize=True)": "resize=True: must be a whole number or None",
    "cost(None)": "network=None: no network of a framework known here (torch, tf, mxnet), nor the "
    "name of one, such as 'nin'",
    "fit(None)": "net=None: no network of a framework known here (torch, tf, mxnet); "
    "for another backend, name it: backend=...",
    "fit(fit)": "net: fit is a function; call it: fit()",
    "cost(Run)": "network: Run is a class; call it: Run()",
    "fit()": "fit: missing a required argument: 'net'",
    "load('')": "path='': names no file and no directory",
    "load('x' * 300)": "path='xxxxxxxxxxxx...xxxxxxxxxxxxx': too long for a path",
    "load_data('x' * 300)": "data='xxxxxxxxxxxx...xxxxxxxxxxxxx': too long for a path",
    "load('x', 3)": "backend=3: no network of a framework known here (torch, tf, mxnet)",
    "tune('lr', jobs='2', out='x')": "jobs='2': must be a whole number",
    "tune('lr', trials=2.5, out='x')": "trials=2.5: must be a whole number",
    "tune('lr', out=None)": "out=None: must be a string or a path",
    "ablate('nin', seeds=[1, 'x'], out='x')": "seeds=[1, 'x']: must be a whole number or a list "
    "(each a whole number)",
    "ablate('nin', seeds=10**9, out='x')": "seeds=1000000000: must be a whole number from 1 to "
    "100000",
    "look(3)": "trained=3: must be a Run, a Classifier, a string or a path",
    "compare(['torch', 'tf'])": "backends=['torch', 'tf']: must be a string or a path",
    "compare('torch', 'tf', lr='x')": "lr='x': must be a number",
    "compare('torch', 'tf', python={1: 2})": "python={1: 2}: must be a dictionary (from a string "
    "to a string or a path) or None",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_in_these_words(mistake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NinError) as caught:
        eval(mistake, vars(api).copy())
    assert str(caught.value) == MISTAKES[mistake]


def test_a_network_of_another_framework_than_the_named_one_is_refused(backend, backend_name):
    other = "tf" if backend_name != "tf" else "torch"
    with pytest.raises(NinError, match=r"^net=.*: no network of "):
        common.fit(backend.nin(), "sample", backend=other)
