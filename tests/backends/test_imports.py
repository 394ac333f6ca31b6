"""Importing one thing must not import another framework; each check in a fresh interpreter."""

import json
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
import reference
from commands import ROOT

import common
from common.backends import parts, registry
from common.conversion.kinds import FORMATS
from common.errors import NinError
from common.model import save_model

FRAMEWORKS = {"torch", "tensorflow", "keras", "mxnet", "jax"}


def imported_by(statement):
    code = f"import json, sys\n{statement}\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_common_imports_no_framework():
    modules = ", ".join(module.name for module in pkgutil.walk_packages(common.__path__, "common."))
    forbidden = FRAMEWORKS | {"onnx", "onnxruntime"}
    assert not imported_by(f"import {modules}") & forbidden


def loading(spec):
    return f"from common.backends import registry; registry.load({spec!r})"


def test_a_backend_imports_its_own_framework_only(backend, backend_name):
    assert imported_by(loading(backend_name)) & FRAMEWORKS == FRAMEWORKS & set(backend.versions())


@pytest.mark.parametrize("variable", ["matplotlib", "tensorboardX", "pooch"])
def test_starting_to_train_does_not_import_what_is_needed_later(variable):
    assert variable not in imported_by("import common.training.run, common.data.fashion_mnist")


def test_a_run_without_pytorch_writes_its_events_without_importing_it(tmp_path):
    events = "from pathlib import Path; from common.training.tensorboard import Events"
    modules = imported_by(f"{events}; Events(Path({str(tmp_path)!r}), 1, '').close()")
    assert "tensorboardX" in modules
    assert not modules & FRAMEWORKS
    assert list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["matplotlib", "PIL", "pooch"])
def test_starting_to_predict_does_not_import_what_only_pictures_need(package):
    assert package not in imported_by("import common.prediction.predict, common.conversion.convert")


@pytest.mark.long
def test_numpy_is_left_as_it_was_found(backend, backend_name):
    before = imported_names("")
    after = imported_names(loading(backend_name))
    assert before == after


def imported_names(statement):
    code = (
        f"import json, numpy; {statement}\n"
        "print('\\n' + json.dumps([n for n in ('bool', 'float', 'object') if n in vars(numpy)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


HEAVY = {"rich", "matplotlib", "pooch", "PIL", "jinja2", "tensorboardX", "IPython", "scipy"}


def test_common_is_imported_without_what_is_needed_later():
    assert not imported_by("import common") & (FRAMEWORKS | HEAVY)


# TensorFlow and MXNet crash in one process in some releases
APART = {"tf": "nin_mxnet", "mxnet": "nin_tf"}


@pytest.mark.parametrize("how", ["import {other}", "common.load('{weights}', '{name}')"])
@pytest.mark.long
def test_the_second_of_two_that_crash_together_is_refused(backend, backend_name, how, tmp_path):
    if backend_name not in APART:
        pytest.skip("goes with each of the others")
    weights = tmp_path / "model.safetensors"
    save_model(weights, reference.model(resize=67))
    package, framework = registry.BACKENDS[backend_name]
    other = APART[backend_name]
    name = other.removeprefix("nin_")
    # MXNet cannot be imported by itself
    first = framework if backend_name == "tf" and how.startswith("import") else package
    code = f"import common, {first}\n" + how.format(other=other, weights=weights, name=name)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    second = registry.BACKENDS[name][1]
    assert f"NinError: {second} and {framework} crash in one" in done.stderr.splitlines()[-1]


@pytest.mark.long
def test_mxnet_comes_first_where_make_installed_it(backend, backend_name, tmp_path):
    if backend_name != "mxnet":
        pytest.skip("of MXNet")
    # what make copies into the environment is read when Python starts
    (tmp_path / "a.pth").write_bytes((ROOT / "nin_mxnet" / "numpy_bool.pth").read_bytes())
    code = (
        f"import site; site.addsitedir({str(tmp_path)!r})\n"
        "from mxnet import np, npx\nnpx.set_np()\nfrom nin_mxnet import nin\n"
        "net = nin()\nprint(net(np.ones((1, 1, 67, 67))).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["(1, 10)"], done.stderr


@pytest.mark.long
def test_mxnet_works_after_it_could_not_be_imported_alone(backend, backend_name):
    """MXNet 1.9.1 alone does not import beside a NumPy of today; in a notebook one tries again."""
    if backend_name != "mxnet":
        pytest.skip("of MXNet")
    code = (
        "try:\n    from mxnet import np\nexcept AttributeError:\n    pass\n"
        "from nin_mxnet import nin\nfrom mxnet import np\n"
        "net = nin()\nprint(net(np.ones((1, 1, 67, 67))).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "(1, 10)", done.stderr


def test_a_network_built_before_mxnets_numpy_interface_is_told_what_to_do(backend, backend_name):
    if backend_name != "mxnet":
        pytest.skip("of MXNet")
    import mxnet

    net = mxnet.gluon.nn.Sequential()
    mxnet.npx.reset_np()
    try:
        net.add(mxnet.gluon.nn.Conv2D(96, 11, 4))
    finally:
        mxnet.npx.set_np()
    with pytest.raises(NinError, match=r"build it after `import nin_mxnet`"):
        backend.allocate(net, np.zeros((1, 1, 67, 67), np.float32))


@pytest.mark.parametrize("environment", [None, "1"])
@pytest.mark.long
def test_more_threads_than_the_environment_says_can_be_asked_for(
    backend, backend_name, monkeypatch, environment
):
    monkeypatch.delenv("OMP_NUM_THREADS")
    if environment:
        monkeypatch.setenv("OMP_NUM_THREADS", environment)
    code = (
        "from common.backends.session import start\nfrom common.settings import Settings\n"
        f"print(start(Settings(backend={backend_name!r}, threads=3)).prepared['threads'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["3"], done.stderr


@pytest.mark.long
def test_a_frameworks_file_is_read_with_the_threads_that_are_asked_for(
    backend, backend_name, tmp_path
):
    suffix = next(f.suffixes[0] for f in FORMATS.values() if f.backend == backend_name)
    net = backend.nin()
    backend.set_weights(net, reference.model().weights)
    file = str(parts.exporter(backend).save_native(net, tmp_path / f"nin{suffix}", {})[-1])
    code = (
        "import common\n"
        f"net = common.load({file!r}, {backend_name!r}, resize=67, threads=3)\n"
        "print(net.ready.prepared['threads'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["3"], done.stderr
