"""Fixtures, and the option that says which backend the suite runs for.

Every test that asks for ``backend`` runs once per backend, each backend in a process of its own
(``make test`` does all these runs): ``pytest --backend torch``, ``tf`` or ``mxnet`` runs those
tests, and so does a backend from outside, ``pytest tests/backends --backend examples/nin_jax.py``;
``pytest`` alone, or ``--backend none``, runs the tests that need no framework.
"""

import contextlib
import gc
import os
import signal

# Several processes test at once: a thread that waits must not keep a core from the others. Set
# before any framework starts its threads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# and as two processes test at once on two cores, each gets one thread
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest

from common.backends import registry
from common.data import fashion_mnist
from common.errors import NinError
from common.system import machine
from common.system.signals import SIGNALS

with contextlib.suppress(ImportError):  # the book's environment has none, nor needs it
    import hypothesis

    # how long a test takes depends on the machine; the gate's examples are the same ones every
    # time, so that what passed at a desk with CI=true passes there
    same = {"derandomize": True, "database": None} if "CI" in os.environ else {}
    hypothesis.settings.register_profile("ours", deadline=None, **same)
    hypothesis.settings.load_profile("ours")

# what all backends share is tested with one of them, and in make test-long with these too
SECOND = ("tf", "mxnet")


def pytest_addoption(parser):
    parser.addoption(
        "--backend",
        default="none",
        metavar="NAME",
        help=f"run the tests of this backend: {', '.join(registry.BACKENDS)}, a file or a package "
        "(none: those that need no framework)",
    )
    parser.addoption(
        "--long",
        action="store_true",
        help="the tests marked long, for tf and mxnet those marked shared too, and no others",
    )


def pytest_configure(config):
    if config.getoption("--backend") != "none":
        try:
            registry.check_spec(config.getoption("--backend"))
        except NinError as error:
            raise pytest.UsageError(str(error)) from error


def pytest_report_header(config):
    chosen = config.getoption("--backend")
    what = "tests without a framework" if chosen == "none" else f"tests of backend {chosen}"
    if config.getoption("--long"):
        return f"{what}, the long ones; make test-long runs them all"
    return f"{what}; make test runs them all"


def pytest_collection_modifyitems(config, items):
    chosen = config.getoption("--backend")
    marks = {"long"} if chosen not in SECOND else {"long", "shared"}
    wanted, others = [], []
    for item in items:
        fits = ("backend_name" in item.fixturenames) == (chosen != "none")
        long = any(map(item.get_closest_marker, marks))
        (wanted if fits and long == config.getoption("--long") else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = wanted


@pytest.fixture(scope="session", autouse=True)
def signals_are_not_ignored():
    """A shell's background jobs, and nohup, start with some signals ignored; tests send them."""
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            handler = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def prepared():
    """How many threads a backend gets."""
    gc.freeze()  # a collection need not look through all that was imported each time
    return machine.threads_for(0)


@pytest.fixture(scope="session")
def backend_name(pytestconfig):
    return registry.absolute(pytestconfig.getoption("--backend"))


@pytest.fixture(scope="session")
def backend(backend_name, prepared):
    """The backend's package; its absence fails in CI and skips elsewhere."""
    try:
        module = registry.load(backend_name)
    except NinError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    module.set_threads(prepared)
    gc.freeze()  # the framework too
    return module


@pytest.fixture(scope="session")
def sample():
    return fashion_mnist.load("sample")


@pytest.fixture
def rng():
    return np.random.default_rng(20131216)
