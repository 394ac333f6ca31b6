"""The notebooks, and the interface for Python in a real kernel, for each backend."""

import importlib.util
import json
import os
import re
import sys

import pytest
from commands import ROOT, run
from jupyter_client.manager import KernelManager

from common.backends.parts import recognise
from common.network.architecture import random_image
from common.network.description import CHAPTER

spec = importlib.util.spec_from_file_location("notebooks_make", ROOT / "notebooks" / "make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)

# what a command finds in its environment when it is run in a cell
IN_A_CELL = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "FORCE_COLOR": "1"}
SMALL = "epochs=1, limit=60, batch_size=20"


each = pytest.mark.parametrize(
    ("name", "language"), [(name, lang) for name in make.FRAMEWORKS for lang in make.LANGUAGES]
)


@each
def test_the_stored_notebooks_are_what_make_py_makes_outputs_aside(name, language):
    stored = json.loads(make.path_of(name, language).read_text())
    for cell in stored["cells"]:
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
        cell["source"] = "".join(cell["source"])
    assert stored == json.loads(json.dumps(make.notebook(name, language)))


@each
def test_the_stored_notebooks_have_been_run_and_are_small(name, language):
    text = make.path_of(name, language).read_text()
    code = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert "error" not in {output["output_type"] for output in outputs}
    assert "stderr" not in {output.get("name") for output in outputs}
    assert not [word for word in ("/tmp", "/home", "/root", "/usr") if word in text]
    assert len(text) < 300_000


@each
def test_the_languages_have_the_same_code_but_for_the_words_in_lines_and_pictures(name, language):
    code = [re.sub(r'(, )?lang="tr"', "", cell.code) for cell in make.cells(name, language)]
    assert code == [cell.code for cell in make.cells(name, "en")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An empty directory, and an IPython that nobody has configured."""
    directory = tmp_path_factory.mktemp("notebooks")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
            patch.setenv(name, str(directory / name.lower()))
        yield directory


@pytest.mark.shared
def test_networks_of_the_notebook_are_recognised_in_each_framework_alike(backend, backend_name):
    code = {cell.id: cell.source for cell in make.notebook(backend_name).cells}
    names = {}
    gentle, _, _ = code["code-13"].partition("def train")
    for cell in (code["code-1"], code["code-10"], gentle):
        exec(cell, names)
    block = "partial(my_block, ones={})"
    assert block.format("ones") in code["code-11"]
    assert "my_nin(last=[gentle])" in code["code-13"]
    # all of which start alike, so that they can be compared
    blocks = {block.format(i): name for i, name in enumerate(("no-1x1", "one-1x1", "chapter"))}
    blocks |= {"partial(my_block, size=3)": "3x3", "last=[gentle]": "gentle"}
    dense = f"head={make.FRAMEWORKS[backend_name].dense}"
    for arguments, known in {"": "chapter", dense: "dense-head", **blocks}.items():
        net = eval(f"my_nin({arguments})", names)
        # more than a pixel is left for the head
        backend.allocate(net, random_image(99))
        found = recognise(backend, net, CHAPTER, 10, 1, 0.5, 99)
        assert str(found) == known


@pytest.mark.long
def test_every_cell_of_the_notebook_runs(backend, backend_name, place):
    # the code is the same in both languages
    notebook = make.notebook(backend_name)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = re.sub(r"epochs=\d, limit=\d+", SMALL, cell.source)
            cell.source = cell.source.replace("validation=1000", "validation=20")
    make.execute(notebook, place)
    outputs = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    pictures = [
        name
        for name, given in outputs.items()
        if "image/png" in {kind for output in given for kind in output.get("data", ())}
    ]
    assert pictures == ["code-5", "code-7"]


class Kernel(KernelManager):
    """That of the notebooks, without the event loop."""

    kernel_spec = make.Kernel.kernel_spec


class Notebook:
    """Runs cells in a kernel."""

    def __init__(self, kernel, client):
        self.kernel = kernel
        self.client = client

    def cell(self, code, react=lambda message: None):
        """What the kernel sends while it runs a cell; ``react`` gets each message as it comes."""
        request, messages = self.client.execute(code), []
        while not messages or messages[-1]["content"].get("execution_state") != "idle":
            message = self.client.get_iopub_msg(timeout=300)
            if message["parent_header"].get("msg_id") == request:
                messages.append(message)
                react(message)
        return messages

    def run(self, code):
        """What a cell that works prints."""
        messages = self.cell(code)
        errors = [m["content"]["traceback"] for m in messages if m["msg_type"] == "error"]
        assert not errors, "\n".join(errors[0])
        return printed(messages)


def printed(messages):
    return "".join(m["content"]["text"] for m in messages if m["msg_type"] == "stream")


@pytest.fixture(scope="module")
def notebook(backend, backend_name, place):
    kernel = Kernel()
    # below pytest a kernel does not show what is written to file descriptors
    environment = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
    kernel.start_kernel(cwd=str(place), env=environment)
    client = kernel.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        notebook = Notebook(kernel, client)
        notebook.run(
            f"import nin_{backend_name} as backend\n"
            "from common import fit, load_data\n"
            "data = load_data('sample')\n"
            "options = dict(resize=67, precision='float32', limit=60, batch_size=10, epochs=2)"
        )
        yield notebook
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)


def is_bar(message):
    return "<progress" in message["content"].get("data", {}).get("text/html", "")


def is_figure(message):
    return "image/png" in message["content"].get("data", {})


@pytest.mark.shared
def test_figure_and_bar_are_redrawn_in_their_places_while_it_trains(notebook):
    messages = notebook.cell("run = fit(backend.nin(), data, 'fast', **options)")
    figure, bar = (
        m["content"]["transient"]["display_id"] for m in messages if m["msg_type"] == "display_data"
    )
    first_epoch = next(i for i, m in enumerate(messages) if "epoch 1:" in printed([m]))
    updates = [m for m in messages[:first_epoch] if m["msg_type"] == "update_display_data"]
    for shows, display in ((is_figure, figure), (is_bar, bar)):
        places = [m["content"]["transient"]["display_id"] for m in updates if shows(m)]
        assert len(places) >= 2
        assert set(places) == {display}
    # the bar goes, and the lines are left
    last = [m for m in messages if m["content"].get("transient", {}).get("display_id") == bar][-1]
    assert last["content"]["data"]["text/html"] == ""
    assert "epoch 2:" in printed(messages)


@pytest.mark.long
def test_an_interrupted_run_goes_on_and_ends_as_one_that_was_not(notebook, place):
    gate = place / "gate"
    os.mkfifo(gate)
    notebook.run(
        "from common.terminal import display\n"
        "from common.training.run import Watcher\n"
        "class Hold(Watcher):\n"
        "    held = False\n"
        "    def step(self, run):\n"
        "        if not self.held:\n"
        "            self.held = True\n"
        "            open('gate').read()"
    )
    interrupted = []

    def interrupt(message):
        if is_bar(message) and not interrupted:
            interrupted.append(message)
            notebook.kernel.interrupt_kernel()
            gate.open("w").close()

    watched = "watchers=[display.choose(), Hold()]"
    code = f"run = fit(backend.nin(), data, 'fast', {watched}, **options)"
    shown = printed(notebook.cell(code, interrupt))
    assert "stopped in epoch 1 after step 1; run.resume() goes on" in shown
    assert "stopping after this step; again to stop at once" in shown
    assert notebook.run("print(run.complete, run.history)") == "False []\n"
    again = notebook.run(
        "before = run\n"
        "run = run.resume()\n"
        "print(run is before, run.complete, len(run.history))\n"
        "import numpy as np\n"
        "whole = fit(backend.nin(), data, 'fast', watchers=[], **options)\n"
        "a, b = (backend.get_weights(r.net) for r in (run, whole))\n"
        "print(a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a))"
    )
    assert again.splitlines()[-1] == "True"
    assert "True True 2" in again


@pytest.mark.shared
def test_an_error_that_the_user_can_put_right_is_one_line(notebook):
    messages = notebook.cell("fit(backend.nin(), data, 'fast', epochs=0)")
    (error,) = (m["content"] for m in messages if m["msg_type"] == "error")
    (line,) = error["traceback"]
    assert line.startswith("NinError: epochs=0: ")
    assert "\n" not in line


def arguments(backend_name, out):
    words = f"--backend {backend_name} --preset fast --data sample --limit 60 --batch-size 20"
    return [*words.split(), "--epochs", "1", "--resize", "67", "--out", str(out)]


def assert_plain_lines(text, out):
    assert "\x1b" not in text
    assert "\N{BOX DRAWINGS HEAVY HORIZONTAL}" not in text
    assert text.count("epoch 1") == 1
    assert {"curves.png", "curves.svg", "result.json"} <= {path.name for path in out.iterdir()}


@pytest.mark.long
def test_a_command_in_a_cell_prints_plain_lines_and_draws(notebook, backend_name, place):
    out = place / "in_a_cell"
    line = " ".join([sys.executable, str(ROOT / "scripts/train.py"), *arguments(backend_name, out)])
    shown = notebook.run(f"!{line}")
    assert notebook.run("print(_exit_code)") == "0\n"
    assert_plain_lines(shown, out)


@pytest.mark.long
def test_the_variables_of_a_cell_cost_no_result(backend, backend_name, tmp_path):
    if backend_name != "torch":
        pytest.skip("drawing is the same in each")
    out = tmp_path / "out"
    done = run("train.py", *arguments(backend_name, out), env={**os.environ, **IN_A_CELL})
    assert done.returncode == 0, done.stderr
    assert_plain_lines(done.stdout + done.stderr, out)
