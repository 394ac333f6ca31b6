"""Make the notebooks of this directory, one for each framework, and run them.

``python notebooks/make.py`` (after ``make test``, which installs what it needs) writes all three,
``python notebooks/make.py tf`` one of them. What they hold stands here, once.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

DIRECTORY = Path(__file__).parent


class Framework(NamedTuple):
    """What is different in a notebook."""

    name: str
    layers: str
    """The import of the framework's own layers."""
    own: str
    """The network of exercise 2."""


FRAMEWORKS = {
    "torch": Framework(
        "PyTorch",
        "from torch import nn",
        """\
own = nn.Sequential(
    nin_block(1, 96, kernel_size=11, strides=4, padding=0),
    nn.MaxPool2d(kernel_size=3, stride=2),
    nin_block(96, 256, kernel_size=5, strides=1, padding=2),
    nn.MaxPool2d(kernel_size=3, stride=2),
    nn.Conv2d(256, 384, kernel_size=3, padding=1),
    nn.ReLU(),
    nn.Conv2d(384, 384, kernel_size=1),
    nn.ReLU(),
    nn.MaxPool2d(kernel_size=3, stride=2),
    nn.Dropout(0.5),
    nin_block(384, 10, kernel_size=3, strides=1, padding=1),
    nn.AdaptiveAvgPool2d((1, 1)),
    nn.Flatten(),
)""",
    ),
    "tf": Framework(
        "TensorFlow",
        "from tensorflow.keras import Sequential, layers",
        """\
own = Sequential([
    nin_block(96, kernel_size=11, strides=4, padding="valid"),
    layers.MaxPool2D(pool_size=3, strides=2),
    nin_block(256, kernel_size=5, strides=1, padding="same"),
    layers.MaxPool2D(pool_size=3, strides=2),
    layers.Conv2D(384, kernel_size=3, padding="same", activation="relu"),
    layers.Conv2D(384, kernel_size=1, activation="relu"),
    layers.MaxPool2D(pool_size=3, strides=2),
    layers.Dropout(0.5),
    nin_block(10, kernel_size=3, strides=1, padding="same"),
    layers.GlobalAveragePooling2D(),
])""",
    ),
    "mxnet": Framework(
        "MXNet",
        "from mxnet.gluon import nn",
        """\
own = nn.Sequential()
own.add(
    nin_block(96, kernel_size=11, strides=4, padding=0),
    nn.MaxPool2D(pool_size=3, strides=2),
    nin_block(256, kernel_size=5, strides=1, padding=2),
    nn.MaxPool2D(pool_size=3, strides=2),
    nn.Conv2D(384, kernel_size=3, padding=1, activation="relu"),
    nn.Conv2D(384, kernel_size=1, activation="relu"),
    nn.MaxPool2D(pool_size=3, strides=2),
    nn.Dropout(0.5),
    nin_block(10, kernel_size=3, strides=1, padding=1),
    nn.GlobalAvgPool2D(),
    nn.Flatten(),
)""",
    ),
}


def cells(backend: str) -> list[tuple[str, str]]:
    """The text and the code of each cell of a backend's notebook."""
    framework = FRAMEWORKS[backend]
    return [
        (
            f"""\
# Network in Network in {framework.name}

The chapter *Network in Network* of *Dive into Deep Learning*: build the network, train it, use it,
and change it. The notebooks for PyTorch, TensorFlow and MXNet differ only in the name of the
framework and in the layers of the last network.""",
            f"from common import fit, load, load_data, shape_walk\n"
            f"from nin_{backend} import nin, nin_block",
        ),
        (
            "The network. `shape_walk` sends one random 224×224 image through it and prints the "
            "output shape of each layer.",
            "net = nin()\nshape_walk(net)",
        ),
        (
            """\
The data: 12,000 images of Fashion-MNIST that come with this project. `load_data("full")` gives all
70,000, and downloads them if necessary.""",
            'data = load_data("sample")\ndata.train_images.shape, data.test_images.shape',
        ),
        (
            """\
Train. The preset `fast` resizes the images to 68×68, so that this takes seconds on a CPU; `book`
takes every setting from the chapter. You can set anything else by keyword, as `epochs` and `limit`
(the number of training images) are here. The curves are drawn while the network trains. If you
interrupt the kernel, training stops after the current step, and `run.resume()` continues it.""",
            'run = fit(net, data, preset="fast", epochs=3, limit=2000)',
        ),
        (
            "The history has one entry per epoch: a dictionary.",
            """\
for row in run.history:
    print(f"{row['epoch']}: loss {row['train_loss']:.3f}, test acc {row['test_accuracy']:.3f}")
round(run.test_accuracy, 3)""",
        ),
        (
            "The curves again, as a figure of matplotlib that you can change or save.",
            "run.plot()",
        ),
        (
            """\
What does the network predict for images that it has not seen? Below each image are the likeliest
class and its probability. If you pass the labels too, the true class is printed as well, and wrong
predictions are red.""",
            "run.predict(data.test_images[:16], data.test_labels[:16]).plot()",
        ),
        (
            """\
Save the weights and load them again. The file belongs to no framework: the other two can load it
as well.""",
            f"""\
run.save("nin.safetensors")
loaded = load("nin.safetensors", "{backend}")
predictions = loaded.predict(data.test_images[:1000])
(predictions.labels == data.test_labels[:1000]).mean()""",
        ),
        (
            """\
Exercise 2 asks why a block has two 1×1 convolutions. Here the third block has only one. It is built
out of the framework's own layers; the other blocks are `nin_block`.""",
            f"{framework.layers}\n\n{framework.own}\nshape_walk(own)",
        ),
        (
            """\
`fit` trains it in the same way. Three epochs on 2,000 images are too few to decide which network is
better: train both for longer, with several values of `seed`, before you draw a conclusion.""",
            """\
own_run = fit(own, data, preset="fast", epochs=3, limit=2000)
round(run.test_accuracy, 3), round(own_run.test_accuracy, 3)""",
        ),
    ]


def notebook(backend: str) -> Any:
    """A backend's notebook, without outputs."""
    made = nbformat.v4.new_notebook()
    made.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, (text, code) in enumerate(cells(backend), start=1):
        # the same source gives the same file
        for kind, content in (("markdown", text), ("code", code)):
            cell = getattr(nbformat.v4, f"new_{kind}_cell")(content)
            cell.id = f"{kind}-{number}"
            made.cells.append(cell)
    return made


class Kernel(AsyncKernelManager):
    """A kernel of this very interpreter, whichever kernels are installed."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """How to start it."""
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def execute(made: Any, directory: Path) -> None:
    """Run a notebook; its outputs are put into it.

    Args:
        made: the notebook.
        directory: where it writes its files.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell fails.
    """
    NotebookClient(
        made,
        kernel_manager_class=Kernel,
        resources={"metadata": {"path": str(directory)}},
        record_timing=False,
        timeout=600,
    ).execute()


def path_of(backend: str) -> Path:
    """Where a backend's notebook is stored."""
    return DIRECTORY / f"nin_{backend}.ipynb"


if __name__ == "__main__":
    for backend in sys.argv[1:] or FRAMEWORKS:
        made = notebook(backend)
        with tempfile.TemporaryDirectory() as directory:
            execute(made, Path(directory))
        nbformat.write(made, path_of(backend))
        print(path_of(backend))
