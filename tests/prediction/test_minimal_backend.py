"""Backends of few lines, in the commands that need more of a backend than the comparison does."""

import json
import os
import shutil

import numpy as np
import pytest
import reference
from commands import ROOT, assert_one_clear_line, run

from common.data.fashion_mnist import CLASS_NAMES
from common.model import save_model

OPTIONS = "--preset fast --data sample --limit 60 --batch-size 20 --resize 67 --epochs 1"
QUICK = OPTIONS.split()


@pytest.fixture
def registered(tmp_path):
    """The example of a small backend, installed by somebody as ``mine``; the environment."""
    shutil.copy(ROOT / "examples" / "nin_numpy.py", tmp_path / "my_nin.py")
    info = tmp_path / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[nin.backends]\nmine = my_nin\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path}


def test_a_registered_backend_that_only_predicts_predicts(registered, tmp_path, sample):
    model = reference.model(resize=67, class_names=CLASS_NAMES)
    save_model(tmp_path / "model.safetensors", model)
    done = run(
        "predict.py", "--weights", tmp_path / "model.safetensors", "--backend", "mine",
        "--data", "sample", "--indices", "0:8", "--logits", tmp_path / "logits.npy",
        env=registered, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "of 8 images right" in done.stdout.splitlines()[-1]
    np.testing.assert_allclose(
        np.load(tmp_path / "logits.npy"), reference.logits(model, sample.test_images[:8]), atol=1e-5
    )


def test_the_doctor_finds_that_a_registered_backend_that_only_predicts_works(registered):
    done = run("doctor.py", "--backend", "mine", "--json", env=registered)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["backends"]["mine"]
    assert found["works"]
    assert found["devices"] == ["cpu"]


def test_a_registered_backend_that_only_predicts_does_not_train(registered, tmp_path):
    done = run("train.py", "--backend", "mine", *QUICK, "--out", tmp_path / "run", env=registered)
    assert_one_clear_line(done, "my_nin.py has no ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("spec", ["my_nin.py", ROOT / "tests" / "numpy_nin.py"])
def test_a_backend_in_a_file_is_not_refused_for_its_name(registered, tmp_path, spec):
    done = run("train.py", "--backend", tmp_path / spec, *QUICK, cwd=tmp_path, env=registered)
    assert_one_clear_line(done, " has no ")
    assert not (tmp_path / "runs").exists()


# a backend of one file that has all that training needs, and trains by setting a bias
COMPLETE = """
import numpy as np
from common.network import architecture

PRECISIONS = ("float32",)

def nin(num_classes=10, in_channels=1, dropout=0.5):
    shapes = architecture.parameter_shapes(num_classes, in_channels)
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}

def initialize(net, scheme, seed):
    pass

def get_weights(net):
    return {name: array.copy() for name, array in net.items()}

def set_weights(net, weights):
    net.update(weights)

class Predictor:
    def __init__(self, net, settings):
        self.net = net
        self.device = None

    def logits(self, images):
        return np.tile(self.net["block4.conv3.bias"], (len(images), 1))

class Trainer(Predictor):
    def __init__(self, net, settings, images, labels):
        super().__init__(net, settings)
        self.steps = 0

    def train_batch(self, indices, learning_rate, step):
        self.net["block4.conv3.bias"] += learning_rate
        self.steps += 1

    def take_metrics(self):
        steps, self.steps = self.steps, 0
        return np.ones(steps), np.ones(steps, int)

    def state(self):
        return get_weights(self.net)

    def load_state(self, state):
        self.net.update(state)
"""


def test_a_complete_backend_in_a_file_trains(tmp_path):
    (tmp_path / "own.py").write_text(COMPLETE)
    done = run("train.py", "--backend", "./own.py", *QUICK, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "test acc" in done.stdout
    done = run("predict.py", "--weights", "run/model.safetensors", "--backend", "./own.py",
               "--data", "sample", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
