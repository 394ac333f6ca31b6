import re
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest
from commands import ROOT

from common.backends import registry
from common.errors import NinError

NUMPY = (ROOT / "tests" / "numpy_nin.py").read_text()
MINIMAL = "nin = set_weights = Predictor = None\n"


@pytest.fixture(autouse=True)
def modules_as_they_were():
    """What a test imports is forgotten."""
    modules, finders = dict(sys.modules), list(sys.meta_path)
    yield
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    sys.meta_path[:] = finders


def write(path, content=MINIMAL):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return str(path)


def test_a_file_a_package_and_an_entry_point_load(tmp_path, monkeypatch):
    write(tmp_path / "my_nin.py", NUMPY)
    write(tmp_path / "nin_own" / "__init__.py", NUMPY)
    info = tmp_path / "own-1.dist-info"
    write(info / "METADATA", "Metadata-Version: 2.1\nName: own\nVersion: 1\n")
    write(info / "entry_points.txt", "[nin.backends]\nown = nin_own\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for spec in (str(tmp_path / "my_nin.py"), str(tmp_path / "nin_own"), "nin_own", "own"):
        assert registry.load(spec).nin is not None
    assert registry.names() == [*registry.BACKENDS, "own"]


@pytest.mark.parametrize("name", ["platform", "random", "torch", "numpy", "common", "a-b", "a.b"])
def test_a_file_is_loaded_from_where_it_is_whatever_other_module_has_its_name(tmp_path, name):
    before = sys.modules.get(name)
    found = registry.load(write(tmp_path / f"{name}.py", f"{MINIMAL}me = {name!r}\n"))
    assert (found.me, Path(found.__file__)) == (name, tmp_path / f"{name}.py")
    assert sys.modules.get(name) is before


def test_files_of_one_name_are_two_backends_each_with_its_neighbours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in "ab":
        write(tmp_path / folder / "nin.py", f"{MINIMAL}import only_{folder}\nme = only_{folder}.me")
        write(tmp_path / folder / f"only_{folder}.py", f"me = {folder!r}")
    assert [registry.load(f"./{folder}/nin.py").me for folder in "ab"] == ["a", "b"]
    assert registry.load("./a/nin.py") is registry.load("b/../a/nin.py")


def test_a_package_given_as_a_directory_finds_its_own_modules(tmp_path):
    write(tmp_path / "own" / "layers.py", "me = 'layers'")
    init = f"{MINIMAL}from . import layers\nfrom own.layers import me\n"
    write(tmp_path / "own" / "__init__.py", init)
    assert registry.load(str(tmp_path / "own")).me == "layers"


def test_what_a_file_imports_later_is_found_too(tmp_path):
    write(tmp_path / "later.py", "me = 1")
    backend = write(
        tmp_path / "late.py", f"{MINIMAL}def go():\n    import later\n    return later.me"
    )
    assert registry.load(backend).go() == 1


def test_neighbours_hide_neither_pythons_modules_nor_a_package_behind_a_mere_folder(tmp_path):
    write(tmp_path / "colorsys.py", "raise RuntimeError('not the one of Python')")
    (tmp_path / "pip").mkdir()
    backend = write(tmp_path / "colors.py", f"{MINIMAL}import colorsys, pip\npip.__version__")
    registry.load(backend)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x = 1", "not a backend, it has no nin, set_weights, Predictor"),
        ("import nothing_of_this_name", "line 1: ModuleNotFoundError: No module named 'nothing"),
        ("\n\nraise RuntimeError('no')", "it does not import (bad.py, line 3: RuntimeError: no)"),
        ("{}['key']", "(bad.py, line 1: KeyError: 'key')"),
        ("import sys\nsys.exit(3)", "(bad.py, line 2: SystemExit: 3)"),
        ("nin = = 1", "(invalid syntax (bad.py, line 1))"),
        ("import neighbour", "it does not import (neighbour.py, line 2: ZeroDivisionError: "),
    ],
)
def test_a_file_that_is_no_backend_is_one_clear_error_that_names_the_file(tmp_path, content, words):
    write(tmp_path / "neighbour.py", "\n1 / 0")
    path = write(tmp_path / "bad.py", content)
    for _ in range(2):  # a second look finds nothing half imported
        with pytest.raises(NinError) as caught:
            registry.load(path)
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("./nothing.py", "no such file"),
        ("./folder", "a directory without __init__.py is no package"),
        ("./text.txt", "the name of a Python file ends in .py"),
        ("nothing", "unknown; choose one of torch, tf, mxnet"),
        ("tensorflow", "unknown (did you mean tf?); choose one of torch, tf, mxnet"),
        ("keras", "unknown (did you mean tf?); choose one of torch, tf, mxnet"),
        ("pytorch", "unknown (did you mean torch?); choose one of torch, tf, mxnet"),
        ("nothing.at.all", "unknown; choose one of torch, tf, mxnet"),
    ],
)
def test_what_is_no_backend_is_refused_before_anything_is_imported(
    tmp_path, monkeypatch, spec, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    write(tmp_path / "text.txt")
    with pytest.raises(NinError, match=re.escape(words)):
        registry.load(spec)


@pytest.mark.parametrize(
    ("specs", "labels"),
    [
        (["torch", "./my_nin.py"], ["torch", "my_nin"]),
        (["./a/nin.py", "./b/nin.py", "./b/other.py"], ["a/nin", "b/nin", "other"]),
        (["./x/a/nin.py", "./y/a/nin.py"], ["x/a/nin", "y/a/nin"]),
        (["torch", "./a/torch.py"], ["torch", "a/torch"]),
        (["./a/nin.py", "a/../a/nin.py"], ["nin", "nin"]),
    ],
)
def test_labels_are_short_and_distinct_unless_it_is_one_backend_twice(specs, labels):
    assert registry.labels(specs) == labels
    assert registry.labels(specs[::-1]) == labels[::-1]


def test_a_file_and_a_directory_of_one_name_have_two_labels(tmp_path):
    write(tmp_path / "own.py")
    write(tmp_path / "own" / "__init__.py")
    assert len(set(registry.labels([str(tmp_path / "own.py"), str(tmp_path / "own")]))) == 2


@pytest.mark.parametrize(("first", "second"), list(permutations(["tensorflow", "mxnet"])))
def test_tensorflow_and_mxnet_never_meet_in_one_process(first, second):
    names = {framework: name for name, (_, framework) in registry.BACKENDS.items()}
    code = f"""
import sys, types
sys.modules[{first!r}] = types.ModuleType({first!r})
from common.backends import registry
before = set(sys.modules)
try:
    registry.load({names[second]!r})
finally:
    assert set(sys.modules) == before
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("common.errors.NinError: ")
    assert f"{second} and {first} crash in one process" in last
