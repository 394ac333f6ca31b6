"""What a person writes in a notebook or a script; the commands in ``scripts/`` sit on it."""

import contextlib
import copy
import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.arguments import check, checked
from common.backends import parts, registry, session
from common.comparison import shapes
from common.data import fashion_mnist
from common.data.dataset import Dataset
from common.errors import NinError
from common.files.paths import expand
from common.prediction.classifier import Classifier, load
from common.report import style
from common.settings import Settings, check_given, check_names, check_value, from_preset
from common.terminal import display
from common.training import fit as training
from common.training import run_directory
from common.training.run import Run, Watcher

if TYPE_CHECKING:
    from common.comparison.levels import Comparison
    from common.network.cost import Cost
    from common.report.look import Look
    from common.training.ablation import Ablation
    from common.training.tune import Tuning

__all__ = [
    "Classifier",
    "Dataset",
    "NinError",
    "Run",
    "ablate",
    "build",
    "compare",
    "cost",
    "fit",
    "load",
    "load_data",
    "look",
    "resume",
    "shape_walk",
    "tune",
]


@checked
def load_data(source: str | Path = "auto") -> Dataset:
    """Fashion-MNIST, or other images in the MNIST layout.

    Args:
        source: what ``--data`` takes: ``auto``, ``full``, ``sample`` or a path.

    Returns:
        ``train_images``, ``train_labels``, ``test_images`` and ``test_labels``: uint8 arrays,
        images (count, 28, 28), 0 is black.

    Raises:
        NinError: if the data are missing or damaged.

    >>> data = load_data("sample")
    >>> data.train_images.shape, data.test_labels.shape
    ((10000, 28, 28), (2000,))
    """
    return fashion_mnist.load(str(source))


@checked
def build(backend: str, network: str = "chapter", *, resize: int = 224) -> Any:
    """A network in a backend, with weights as its framework draws them.

    Args:
        backend: ``torch``, ``tf``, ``mxnet``, a file or a package.
        network: a name or what differs from the chapter, such as ``"one-1x1"`` or ``"inner=1"``;
            docs/variants.md has them.
        resize: height and width of its images, in pixels, which a fully connected layer goes by.

    Raises:
        NinError: for another name, images that are too small, or a missing backend.

    >>> shape_walk(build("torch", "vgg-12", resize=28), resize=28)
    Sequential output shape:	 torch.Size([1, 64, 28, 28])
    ...
    """
    chosen = from_preset("book", backend=backend, network=network, resize=resize)
    ready = session.start(chosen)
    return parts.make_network(ready.backend, chosen.description, size=resize)


@checked
def shape_walk(net: Any, resize: int = 224, lang: str = "en") -> None:
    """Print the book's lines: the layers of a network, and the shape of what each gives.

    Args:
        net: a sequence of layers in any of the frameworks.
        resize: height and width of the one random image that goes through it, in pixels.
        lang: ``en`` or ``tr``, the words between name and shape.

    >>> from nin_torch import nin
    >>> shape_walk(nin(), lang="tr")
    Sequential cikti sekli:	 torch.Size([1, 96, 54, 54])
    MaxPool2d cikti sekli:	 torch.Size([1, 96, 26, 26])
    ...
    Flatten cikti sekli:	 torch.Size([1, 10])
    """
    check_value("resize", resize)
    backend = registry.load(registry.backend_of(net))
    for line in shapes.book_lines(shapes.walk_through(backend, net, resize), lang):
        print(line)


@checked
def fit(
    net: Any,
    data: Dataset | str | Path = "auto",
    preset: str = "book",
    *,
    out: str | Path | bool | None = None,
    watchers: Sequence[Watcher] | None = None,
    lang: str = "en",
    **settings: Any,
) -> Run:
    """Train a network.

    Args:
        net: a sequence of layers in any of the frameworks, trained in place; or the name of a
            backend, for the chapter's network in it, or one of its variants (``network=``).
        data: of :func:`load_data`, or what that takes.
        preset: ``book``, ``fast``, ``chapter`` or ``best``.
        out: a new directory for the files of the run, or True for one in ``runs/``; without it
            nothing is written.
        watchers: see the run as it goes (:class:`common.training.run.Watcher`); what suits
            notebook, terminal or file if not given.
        lang: language of the curves, ``en`` or ``tr``.
        settings: any field of :class:`common.settings.Settings`, such as ``epochs=1`` or
            ``network="one-1x1"`` (docs/variants.md); weights are drawn anew unless ``init="keep"``.

    Returns:
        The run: ``history``, ``test_accuracy``, ``net``, ``plot()``, ``predict(images)``,
        ``save(path)``. One that was interrupted goes on with ``run.resume()``.

    Raises:
        NinError: for whatever you can put right, such as a setting out of range or a layer whose
            parameters would not be trained.
        DivergedError: if the training diverged.

    >>> from nin_torch import nin
    >>> run = fit(nin(), load_data("sample"), "fast", epochs=1, limit=40, batch_size=20)
    note: the network keeps its dropout of 0.5; the preset's is 0
    On the embedded sample ...
    >>> run.history[0]["epoch"], run.complete
    (1, True)
    """
    own = None if isinstance(net, str) else net
    backend = settings.pop("backend", None)
    check("backend", backend, str | None)
    if isinstance(net, str):
        if backend not in (None, net):
            raise NinError(f"`backend={backend}`: the network is {net}'s; leave it out")
        backend = net
    elif backend is None:
        advice = "; for another backend, name it: `backend=...`"
        backend = registry.backend_of(net, advice=advice)
    else:
        registry.check_made_for(backend, net)
    if own is not None and "dropout" in settings:
        raise NinError("`dropout`: the network has its own; build it with another")
    if own is not None and "network" in settings:
        raise NinError("`network`: that is a network of your own; leave it out")
    registry.check_spec(backend)
    style.check(lang)
    chosen = from_preset(preset, own is not None, backend=backend, **settings)
    where = out if out is None or isinstance(out, bool) else expand(out, "out")
    if isinstance(where, Path):
        run_directory.check_free(where)
    dataset = _prepared(data, chosen)
    return training.fit(chosen, dataset, own, where or None, _watchers(watchers), lang)


@checked
def resume(
    directory: str | Path,
    net: Any = None,
    data: Dataset | str | Path | None = None,
    *,
    watchers: Sequence[Watcher] | None = None,
    lang: str | None = None,
    **given: Any,
) -> Run:
    """Go on with a run from the checkpoint in its directory.

    Args:
        directory: of the run.
        net: the network, if the run is of one that was built by hand.
        data: where the data are now; where they were if not given.
        watchers: as :func:`fit`.
        lang: language of the curves; that of the run if not given.
        given: settings, which must be the run's own.

    Raises:
        NinError: if the run is complete, damaged, or of other data or settings.

    >>> options = {"epochs": 1, "limit": 40, "batch_size": 20}
    >>> run = fit("torch", "sample", "fast", out="runs/first", **options)
    On the embedded sample ...
    >>> resume("runs/first")
    Traceback (most recent call last):
    common.errors.NinError: resume=runs/first: that run is complete; nothing is left to do, ...
    """
    directory = expand(directory, "directory")
    if lang is not None:
        style.check(lang)
    config = run_directory.open_run(directory)
    settings = Settings(**config["settings"])
    training.given_settings(settings, given, f"`resume={directory}`")
    if net is not None:
        registry.check_made_for(settings.backend, net)
    if data is None:
        data = run_directory.data_source(config, f"`resume={directory}`")
    dataset = _prepared(data, settings)
    return training.resume(directory, config, dataset, net, _watchers(watchers), lang)


@checked
def compare(
    *backends: str | Path,
    python: Mapping[str, str | Path] | None = None,
    timeout: float = 900,
    **options: Any,
) -> "Comparison":
    """Compare backends layer by layer: do they compute the same network?

    Each runs in a process of its own, so that TensorFlow and MXNet can be compared too.

    Args:
        backends: two or more: ``torch``, ``tf``, ``mxnet``, a file or a package.
        python: backend -> the interpreter that runs it, if not this one.
        timeout: for each backend, in seconds.
        options: any field of :class:`common.comparison.job.Job`, such as ``dtype="float64"``.

    Returns:
        The report: ``verdict``, ``exit_status`` (0 if all agree) and ``show()``, which prints it.

    Raises:
        NinError: for whatever you can put right, or if fewer than two backends ran.

    >>> report = compare("torch", "./my_nin.py", levels=["shapes", "parameters"], resize=67)
    >>> report.verdict
    'torch, my_nin agree in shapes, parameters'
    """
    from common.comparison import job, run

    names: list[str] = []
    for each in backends:
        names += each.split(",") if isinstance(each, str) else [str(each)]
    kinds: dict[str, Any] = {field.name: field.type for field in dataclasses.fields(job.Job)}
    check_names(options, kinds)
    for name, value in options.items():
        check(name, value, kinds[name] if name != "levels" else str | Sequence[str])
        if name == "levels":
            options[name] = (value,) if isinstance(value, str) else tuple(value)
    interpreters = [f"{name}={path}" for name, path in (python or {}).items()]
    report = run.run(names, job.Job(**options), interpreters, timeout)
    report.check_ran()
    return report


@checked
def ablate(
    *networks: str,
    backend: str = "torch",
    data: Dataset | str | Path = "auto",
    preset: str = "fast",
    seeds: int | Sequence[int] = 6,
    out: str | Path,
    watchers: Sequence[Watcher] | None = None,
    **settings: Any,
) -> "Ablation":
    """Train variants of the network side by side: what a part of it is worth.

    Args:
        networks: names, or what differs from the chapter (docs/variants.md), each with ``@`` and a
            size of images if that is to be its own: ``"chapter", "vgg-12@28"``. The first is what
            the others are compared with.
        backend: trains them.
        data: as for :func:`fit`.
        preset: as for :func:`fit`.
        seeds: the seeds of each network's runs, or how many: from 0.
        out: a new directory for the runs; or that of an ablation that was interrupted, or to which
            networks or seeds are added.
        watchers: as for :func:`fit`.
        settings: any other field of :class:`common.settings.Settings`.

    Returns:
        The ablation: ``show()`` prints the table, ``plot()`` is a figure, ``report()`` all numbers.

    Raises:
        NinError: for whatever you can put right.

    >>> options = {"limit": 40, "batch_size": 20, "epochs": 1, "watchers": (), "data": "sample"}
    >>> found = ablate("chapter", "one-1x1", seeds=2, out="runs/exercise-2", **options)
    chapter, seed 0: run 1 of 4
    ...
    >>> found.show()
    <BLANKLINE>
    ...
    """
    from common.training import ablation

    if isinstance(seeds, int):
        _check_count("seeds", seeds)
        seeds = range(seeds)
    chosen = [int(seed) for seed in seeds]
    for seed in chosen:
        check_value("seed", seed, "seeds")
    registry.check_spec(backend)
    variants = ablation.make(networks, backend, preset, chosen, **settings)
    dataset = _prepared(data, variants[0].settings)
    return ablation.train(variants, dataset, chosen, expand(out, "out"), _watchers(watchers))


@checked
def cost(network: Any = "nin", resize: int | None = None, **options: Any) -> "Cost":
    """What a network costs: parameters, multiply-adds and memory, layer by layer (exercise 3).

    Args:
        network: ``nin``, ``lenet``, ``alexnet``, ``vgg11``, a variant of NiN as ``train.py
            --network`` takes it, or a sequence of layers in any of the frameworks.
        resize: height and width of the images, in pixels; what the book takes if not given.
        options: ``batch_size=128``, ``precision="float32"``, ``optimizer="sgd"``,
            ``momentum=0.0``.

    Returns:
        ``parameters``, ``multiply_adds``, ``training`` and ``prediction`` (memory in bytes),
        ``layers``, ``show()``, which prints them, and ``plot()``.

    Raises:
        NinError: for an unknown network or option, or images that are too small.

    >>> found = cost("nin", batch_size=1)
    >>> found.parameters, found.multiply_adds
    (1992166, 762297352)
    >>> from nin_torch import nin
    >>> cost(nin(), 99).multiply_adds
    135727744
    """
    from common.network import cost as on_paper

    if resize is not None:
        check_value("resize", resize)
    options = check_given(options, on_paper.OPTIONS)
    if isinstance(network, str):
        return on_paper.of(network, resize, **options)
    name = registry.backend_of(network, "network", ", nor the name of one, such as 'nin'")
    backend = registry.load(name)
    size = Settings.resize if resize is None else resize
    with contextlib.suppress(Exception):  # Keras copies no layer of the reader's own
        network = copy.deepcopy(network)  # or it would move to the CPU, and to float32
    try:
        parts.allocate(backend, network, size)
    except NinError as error:
        raise NinError(re.sub(r"`net\b", "`network", error.marked)) from error
    predictor = backend.Predictor(network, Settings(resize=size, device="cpu"))
    outputs = parts.need(predictor, "activations")(np.zeros((1, 28, 28), np.uint8))
    return on_paper.of_shapes(
        type(network).__name__,
        size,
        {name: array.shape for name, array in parts.need(backend, "get_weights")(network).items()},
        {name: array.shape[1:] for name, array in outputs.items()},
        **options,
    )


@checked
def look(
    trained: Run | Classifier | str | Path,
    photos: str | Path | Sequence[str | Path] | None = None,
    *,
    backend: str = "torch",
    data: Dataset | str | Path | None = None,
    split: str | None = None,
    indices: str | int | Sequence[int] | None = None,
    **settings: Any,
) -> "Look":
    """Look at what the layers of a trained network see.

    Args:
        trained: a run, a classifier, ``model.safetensors`` or the directory of a run.
        photos: a PNG or JPEG file to look with, or several; without them, a data set.
        backend: that reads the file.
        data: of :func:`load_data`, or what that takes; that of the run, or ``auto``, if not given.
        split: ``test``, which is the default, or ``train``.
        indices: ``"0:64"``, ``"3,5,8"``, ``[3, 5, 8]``, ``range(64)`` or ``7``; all images if not
            given.
        settings: as :func:`load`.

    Returns:
        ``view(name)`` and ``plot(name)`` for ``mlp``, ``maps``, ``confusion``, ``wrong``,
        ``filters`` and ``dead``.

    Raises:
        NinError: if the file or the images cannot be read.

    >>> from common import fit
    >>> run = fit("torch", "sample", "fast", resize=99, epochs=1, limit=40, batch_size=20)
    On the embedded sample ...
    >>> look(run, indices="0:2").view("mlp").report["blocks"][0]["widths"]
    [96, 96, 96]
    """
    from common.prediction import predict
    from common.report.look import VIEWS, Look

    if "view" in settings:
        names = ", ".join(VIEWS)
        raise NinError(f"`view`: not for look; look(...).view(name) shows one view: {names}")
    if settings and isinstance(trained, (Run, Classifier)):
        raise NinError(
            f"`{next(iter(settings))}`: of a run or classifier it is fixed; leave it out"
        )
    for name, value in (("data", data), ("split", split), ("indices", indices)):
        if photos is not None and value is not None:
            raise NinError(f"`{name}`: of a data set, not of `photos`; leave one of them out")
    if isinstance(trained, Run):
        data = trained.dataset if data is None else data
        trained = trained.classifier()
    if not isinstance(trained, Classifier):
        path = expand(trained, "trained")
        trained = load(path, backend, **settings)
        if data is None and photos is None:
            data = _own_data(path)
    if photos is not None:
        several = [photos] if isinstance(photos, str | Path) else photos
        files = [expand(photo, "photos") for photo in several]
        images = predict.from_files(files, trained.model)
    else:
        source = data if isinstance(data, Dataset) else str("auto" if data is None else data)
        if not (indices is None or isinstance(indices, str)):
            indices = ",".join(map(str, np.atleast_1d(indices)))
        images = predict.from_dataset(
            source, "test" if split is None else split, indices, trained.model
        )
    notice = trained.model.notice(images.notice)
    return Look(trained, dataclasses.replace(images, notice=notice))


@checked
def tune(
    *search: str,
    backend: str = "torch",
    data: Dataset | str | Path = "auto",
    preset: str = "fast",
    trials: int = 20,
    jobs: int = 1,
    out: str | Path,
    **settings: Any,
) -> "Tuning":
    """Search for hyperparameters of a higher accuracy, on a validation split (exercise 1).

    Args:
        search: what is searched: ``"lr=0.01:0.5"``, ``"batch_size=64,128,256"``, or a name alone;
            without any the six of docs/tune.md.
        backend: trains.
        data: as for :func:`fit`.
        preset: gives the settings that are not searched.
        trials: how many, with those that the search has already.
        jobs: processes that search at the same time.
        out: a new directory; or that of a search, which then goes on.
        settings: any other field of :class:`common.settings.Settings`; ``validation`` is a sixth of
            the training images if not given.

    Returns:
        The search: ``best``, ``show()``, ``plot("history")``, ``report()``; ``test()`` measures
        the best on the test set, once, and ends the search.

    Raises:
        NinError: for whatever you can put right, or if Optuna is not installed.

    >>> options = {"limit": 40, "epochs": 1, "data": "sample", "out": "runs/tune", "resize": 68}
    >>> found = tune("lr=0.01:0.05", "batch_size=10,20", trials=2, **options)
    trial 0: validation accuracy ...
    >>> sorted(found.best.values)
    ['batch_size', 'lr']
    """
    from common.terminal.search import SearchDisplay
    from common.training import tune as tuning

    _check_count("trials", trials)
    _check_count("jobs", jobs)
    registry.check_spec(backend)
    whole = data if isinstance(data, Dataset) else load_data(data)
    directory = expand(out, "out")
    found = tuning.begin(search, whole, directory, preset, backend=backend, **settings)
    observer = SearchDisplay()
    if jobs == 1:
        tuning.search(found, trials, observer)
    else:
        tuning.search_apart(found, trials, jobs, observer)
    return found


def _own_data(path: Path) -> Dataset | None:
    """The data that a run's network was trained on; None unless they are somebody's own."""
    directory = run_directory.of_weights(path)
    try:
        config = run_directory.open_run(directory)
    except NinError:  # other programs have files of that name too
        return None
    if config["data"]["kind"] != "custom":
        return None
    source = run_directory.data_source(config, str(directory))
    try:
        return load_data(source)
    except NinError as error:
        raise NinError(
            f"{directory}: the data of that run cannot be read ({error.marked}); name some: `data`"
        ) from error


def _prepared(data: Dataset | str | Path, settings: Settings) -> Dataset:
    whole = data if isinstance(data, Dataset) else load_data(data)
    return whole.hold_out(settings.validation).limit(settings.limit)


def _watchers(given: Sequence[Watcher] | None) -> Sequence[Watcher]:
    return (display.choose(),) if given is None else given


def _check_count(name: str, value: int) -> None:
    if not 1 <= value <= 100_000:
        raise NinError(f"`{name}={value}`: must be a whole number from 1 to 100000")
