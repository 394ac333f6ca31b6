"""The three packages are meant to be read side by side: same files, same names, same order."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "nin_torch"
MIRRORS = ("nin_tf", "nin_mxnet")


def public_files(package):
    """Every file of a package that is meant to be mirrored, in folders too, by relative name."""
    names = (path.relative_to(ROOT / package) for path in (ROOT / package).rglob("*.py"))
    return sorted(str(name) for name in names if not is_private(name))


def is_private(path):
    return any(part.startswith("_") and part != "__init__.py" for part in path.parts)


FILES = public_files("nin_torch")


def public_names(path):
    """Public functions, classes, their public methods and constants, in order."""
    names = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            names.append(node.name)
            if isinstance(node, ast.ClassDef):
                methods = (n for n in node.body if isinstance(n, ast.FunctionDef))
                names += [f"{node.name}.{m.name}" for m in methods if not m.name.startswith("_")]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [t.id for t in targets if isinstance(t, ast.Name) and t.id.isupper()]
    return names


@pytest.mark.parametrize("package", MIRRORS)
def test_a_package_has_the_files_of_the_others(package):
    assert public_files(package) == FILES


@pytest.mark.parametrize("package", MIRRORS)
@pytest.mark.parametrize("file", FILES)
def test_a_file_has_the_public_names_of_the_others_in_their_order(package, file):
    assert public_names(ROOT / package / file) == public_names(MODEL / file)


@pytest.mark.parametrize("package", MIRRORS)
def test_a_package_exports_what_the_others_export(package):
    def exported(path):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
                return ast.literal_eval(node.value)
        return None

    assert exported(ROOT / package / "__init__.py") == exported(MODEL / "__init__.py")


@pytest.mark.parametrize("package", ["common", "nin_torch", *MIRRORS])
def test_no_package_imports_another_backend_and_common_imports_none(package):
    others = {"nin_torch", "nin_tf", "nin_mxnet"} - {package}
    frameworks = {"torch", "tensorflow", "keras", "mxnet"}
    forbidden = others | (frameworks if package == "common" else set())
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            imported = []
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                imported = [node.module or ""]
            roots = {name.split(".")[0] for name in imported}
            assert not roots & forbidden, f"{path.name} imports {roots & forbidden}"
