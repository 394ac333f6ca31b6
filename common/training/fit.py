"""From settings to a trained network: check, start the backend, prepare the network, train."""

import contextlib
import dataclasses
import math
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.backends import session
from common.backends.parts import allocate, make_network, need, recognise
from common.backends.session import Started
from common.contract import Backend
from common.data.dataset import Dataset, first_examples
from common.errors import NinError, plural
from common.files import sealed
from common.network import architecture, initialization, start
from common.network.description import Network
from common.settings import KEEP, Settings, check_given
from common.system.signals import StopRequest
from common.training import memory, records, run_directory
from common.training.run import DivergedError, Run, Watcher
from common.training.workers import Workers, expected

COMPLETE = "that run is complete; nothing is left to do, but you can "


def fit(
    settings: Settings,
    dataset: Dataset,
    net: Any = None,
    out: Path | bool | None = None,
    watchers: Sequence[Watcher] = (),
    lang: str = "en",
) -> Run:
    """Train a network, as :func:`common.fit` describes it; without one, that of the settings."""
    started = time.monotonic()
    # before a framework is imported, which takes seconds
    check_batch(settings, dataset)
    ready = session.start(settings)
    with memory.explained(settings, out if isinstance(out, Path) else None):
        run = make(ready, settings, dataset, net, watchers)
        run.out = None if ready.workers.rank else out
        run.lang, run.started = lang, started
        with _new_directory(run):
            _train(run)
    return run


def resume(
    directory: Path,
    config: dict[str, Any],
    dataset: Dataset,
    net: Any = None,
    watchers: Sequence[Watcher] = (),
    lang: str | None = None,
) -> Run:
    """Go on from a checkpoint, as :func:`common.resume` describes it; ``config`` is the run's."""
    started, settings = time.monotonic(), Settings(**config["settings"])
    check_batch(settings, dataset)
    records.check_same_data(config, dataset, f"`resume={directory}`")
    if run_directory.is_by_hand(config) and net is None:
        raise NinError(
            f"`resume={directory}`: that run is of a network built by hand; from Python, build it "
            "again and give it: common.resume(directory, net)"
        )
    with contextlib.ExitStack() as stack:
        if expected(settings.backend) == 1:
            stack.enter_context(run_directory.lock(directory))
        state, progress, note = run_directory.load_checkpoint(directory)
        done = run_directory.is_complete(directory)
        # of a run that could not draw them, the curves are left
        if done and run_directory.has_curves(directory):
            raise NinError(f"`resume={directory}`: {COMPLETE}{_train_on(settings)}")
        ready = session.start(settings)
        if ready.workers.count > 1 and not ready.workers.rank:
            stack.enter_context(run_directory.lock(directory))
        with memory.explained(settings, directory):
            run = make(ready, settings, dataset, net, watchers)
            run.started = started
            try:
                run.restore(state, progress)
            except NinError as error:
                raise NinError(f"{directory / run_directory.CHECKPOINT}: {error}") from error
            run.lang = lang or config.get("lang", "en")
            if not ready.workers.rank:
                run.directory = directory
                if note:
                    run.note(note)
                    run_directory.drop_newest_checkpoint(directory)
                records.add_resumption(run, config, records.describe(run))
                run.watchers.insert(0, records.Records())
            _train(run)
    return run


def go_on(run: Run) -> Run:
    """Go on with a run of this process that was stopped."""
    if run.complete:
        raise NinError(COMPLETE + _train_on(run.settings))
    directory = run.directory
    files = _new_directory(run) if directory is None else run_directory.lock(directory)
    with memory.explained(run.settings, directory), files:
        run.started = time.monotonic() - run.progress.total_seconds
        _train(run)
    return run


def _train(run: Run) -> None:
    with StopRequest() as run.stop:
        try:
            run.train()
        except DivergedError as error:
            if run.directory is None:
                raise
            where = f"last good checkpoint in {run.directory}"
            raise DivergedError(f"{error.marked}; {where}") from error


@contextlib.contextmanager
def _new_directory(run: Run) -> Iterator[None]:
    """The directory of a run that is to have one; it goes again if no step has been taken."""
    if run.out is None:
        yield
        return
    place = run.out if isinstance(run.out, Path) else None
    existed = place is not None and place.exists()
    run.directory = run_directory.create(place, run.settings)
    with run_directory.lock(run.directory):
        run.watchers.insert(0, records.Records())
        try:
            sealed.write(run.directory / run_directory.CONFIG, records.describe(run))
            yield
        finally:
            if not run.steps_done:
                with contextlib.suppress(OSError):  # deleted by somebody else, or read only
                    for path in run.directory.iterdir():
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
                    if not existed:
                        run.directory.rmdir()
                run.directory = None
                del run.watchers[0]


def make(
    ready: Started,
    settings: Settings,
    dataset: Dataset,
    net: Any = None,
    watchers: Sequence[Watcher] = (),
) -> Run:
    """A run, without files yet, of the user's own network or one that is built as the settings say.

    It has the weights that the settings ask for.
    """
    backend, own = ready.backend, net is not None
    _check_shares(settings, dataset, ready.workers)
    network, classes, size = settings.description, dataset.num_classes, settings.resize
    known: Network | None = network
    about = ""
    # from here on, in the records and for a resumed run, what is computed and not a wish
    settings = dataclasses.replace(settings, precision=ready.precision)
    if own:
        dropout, usual = need(backend, "dropout_rate")(net), settings.dropout
        if not 0 <= dropout < 1:
            raise NinError(f"`net`: its dropout has a rate of {dropout:g}; it must be below 1")
        if dropout != usual:
            about = f"the network keeps its dropout of {dropout:g}; the preset's is {usual:g}"
        _check_classes(allocate(backend, net, size), dataset)
        settings = dataclasses.replace(settings, dropout=dropout)
        channels = architecture.IN_CHANNELS
        known = recognise(backend, net, network, classes, channels, dropout, size)
        if known is not None:
            settings = dataclasses.replace(settings, network=str(known))
    elif settings.init == KEEP:
        raise NinError("`init=keep`: a new network has no weights that are worth keeping")
    else:
        net = make_network(backend, network, classes, dropout=settings.dropout, size=size)
        # several workers may each have a machine of their own
        if ready.device.kind == "cpu" and ready.workers.count == 1:
            about = memory.check(settings)
    # before anything is drawn: a layer whose parameters would not be trained is refused
    if not need(backend, "get_weights")(net):
        raise NinError("`net`: has no parameters: there is nothing to train")
    settings, note = _start(net, backend, settings, dataset, described=known is not None)
    if known is None:
        _check_logits(backend.Predictor(net, settings).logits(dataset.train_images[:4]))
    run = Run(net, ready, settings, dataset, watchers)
    run.layers = () if known is not None else tuple(backend.describe(net))
    for words in filter(None, (note, about)):
        run.note(words)
    return run


def _start(
    net: Any, backend: Backend, settings: Settings, dataset: Dataset, described: bool
) -> tuple[Settings, str]:
    """Give a network its first weights; the settings as they came to be, and why they did."""
    notes = []
    if settings.init == KEEP:
        return settings, ""
    if settings.init == "data" and described:
        network, size, classes = settings.description, settings.resize, dataset.num_classes
        weights = start.from_images(
            architecture.layers(classes, network=network),
            dataset.train_images[first_examples(dataset.train_labels, start.IMAGES)],
            size,
            settings.seed,
            settings.last_block == "identity",
            architecture.dense_layers(size, classes, network),
        )
        need(backend, "set_weights")(net, weights)
        return settings, ""
    if settings.init == "data":
        settings = dataclasses.replace(settings, init="he")
        notes.append("a network of your own starts with `init=he` instead of data")
    need(backend, "initialize")(net, settings.init, settings.seed)
    if settings.last_block == "identity":
        try:
            weights = initialization.identity_last_block(backend.get_weights(net))
            backend.set_weights(net, weights)
        except initialization.NoLastBlockError as error:
            settings = dataclasses.replace(settings, last_block="random")
            notes.append(f"the last block starts at random: {error}")
    return settings, "; ".join(notes)


def check_batch(settings: Settings, dataset: Dataset) -> None:
    """Raise :class:`NinError` for a batch that is larger than the data."""
    if settings.batch_size > len(dataset.train_images):
        raise NinError(
            f"`batch_size={settings.batch_size}`: larger than the data "
            + plural(f"({len(dataset.train_images)} training example(s)); ")
            + "give a smaller one, or more images"
        )


def _check_shares(settings: Settings, dataset: Dataset, workers: Workers) -> None:
    """Refuse batches of which some worker would get nothing."""
    size, count = settings.batch_size, len(dataset.train_images)
    batches = math.ceil(count / size)
    # a run of a part of an epoch does not come to its last batch
    last = count % size or size if round(batches * settings.epochs) >= batches else size
    for what, examples in (("a batch", size), ("the last batch of an epoch", last)):
        if examples < workers.count:
            words = plural(f"{examples} example(s), too few for {workers.count} worker(s)")
            raise NinError(f"`batch_size={size}`: {what} has {words}")


def _check_classes(shape: tuple[int, ...], dataset: Dataset) -> None:
    """Refuse a network whose outputs are not the classes of the data."""
    if shape != (1, dataset.num_classes):
        raise NinError(
            f"`net`: gives {' x '.join(map(str, shape[1:]))} numbers for an image, and the data "
            f"have {dataset.num_classes} classes"
        )


def _check_logits(outputs: np.ndarray) -> None:
    """Refuse a network that ends in a softmax, which the loss would take once more."""
    if (outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=0.01):
        raise NinError(
            "`net`: its outputs are probabilities, and the loss takes logits: leave out the "
            "softmax at its end"
        )


def _train_on(settings: Settings) -> str:
    """What a person can do who wants more of a run than its epochs."""
    return (
        "train its network on from Python (docs/python.md): "
        f"fit(load(RUN).net, preset='{settings.preset}', init='keep')"
    )


def given_settings(settings: Settings, given: Mapping[str, Any], where: str) -> None:
    """Raise :class:`NinError` if a resumed run is given another setting than its own."""
    for name, value in check_given(given).items():
        # the records have what auto came to, which is never float64
        if (name, value) == ("precision", "auto") and settings.precision != "float64":
            continue
        if dataclasses.replace(settings, **{name: value}) != settings:
            more = f", or {_train_on(settings)}" if name == "epochs" else ""
            raise NinError(
                f"{where}: that run has `{name}={getattr(settings, name)}`, not {value}; leave "
                f"it out{more}"
            )
