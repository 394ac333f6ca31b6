"""Variants of the network side by side, each trained with the same seeds: what a part is worth.

Every run has a directory of its own in that of the ablation, so that one that was interrupted goes
on where it was, and seeds and networks can be added later.
"""

import contextlib
import dataclasses
import gc
import itertools
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.arguments import checked
from common.data.dataset import Dataset, first_examples
from common.errors import NinError, plural
from common.files import sealed
from common.network import architecture, cost
from common.network.cost import Cost
from common.network.description import parse
from common.prediction.classifier import load
from common.settings import Settings, check_given, from_preset
from common.terminal.display import duration
from common.training import fit, plateau, records, run_directory
from common.training.run import DivergedError, Watcher

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ABLATION = "ablation.json"
MEASURED = "measured.json"
# Training images on which accuracy is measured after the training, with dropout off; and images on
# which a channel is looked at.
TRAINING_IMAGES, CHANNEL_IMAGES = 10_000, 128
# From this size on the chapter's last map has more than one pixel.
BOOKS_LAST_LAYERS = 99


@dataclass(frozen=True)
class Outcome:
    """What one run came to."""

    seed: int
    complete: bool
    accuracy: float | None
    """On what the run was evaluated on; None if it did not get that far."""
    training_accuracy: float | None
    """On training images after the training, with dropout off; None as above."""
    loss: float | None
    """Mean over the last epoch, as the book prints it."""
    seconds: float
    """In training steps."""
    dead_channels: float | None
    """Share of all channels that are 0 for every image, 0 to 1."""
    dead_classes: list[int]
    curve: list[list[float]]
    """[epochs, mean loss since the epoch began, accuracy]."""
    notes: list[str]


@dataclass
class Variant:
    """A network in an ablation."""

    name: str
    """As it was asked for: ``one-1x1`` or, with a size of its own, ``vgg-12@28``."""
    settings: Settings
    """Of its runs, but for the seed."""
    cost: Cost
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def work(self) -> float:
        """What one of its runs takes, compared with the other variants'."""
        return self.cost.training_multiply_adds * self.settings.epochs

    @property
    def accuracies(self) -> dict[int, float]:
        """Seed -> accuracy, of the runs that got that far."""
        return {o.seed: o.accuracy for o in self.outcomes if o.accuracy is not None}


@dataclass(frozen=True)
class Difference:
    """How the accuracies of a variant differ from the first one's, seed by seed."""

    mean: float
    spread: float | None
    """Standard deviation of the differences; None of one."""
    p: float
    """How often differences as large come about by chance alone; see :func:`sign_flip`."""


class Ablation:
    """Variants with what their runs came to; the first is what the others are compared with."""

    def __init__(self, variants: Sequence[Variant], dataset: Dataset, seeds: Sequence[int]) -> None:
        self.variants = list(variants)
        self.seeds = list(seeds)
        self.evaluated_on = dataset.evaluated_on
        self.notice = dataset.notice
        self.train_examples = len(dataset.train_images)
        self.test_examples = len(dataset.test_images)
        self.exit_status = 0
        """128 + the signal's number if it was interrupted."""

    def __repr__(self) -> str:
        names = ", ".join(variant.name for variant in self.variants)
        return plural(f"<Ablation: {names}; {len(self.seeds)} seed(s)>")

    def difference(self, variant: Variant) -> Difference | None:
        """Of a variant from the first; None for the first, or without a seed in common."""
        first = self.variants[0]
        if variant is first:
            return None
        theirs, ours = first.accuracies, variant.accuracies
        found = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
        if not found:
            return None
        spread = statistics.stdev(found) if len(found) > 1 else None
        return Difference(statistics.fmean(found), spread, sign_flip(found))

    def show(self) -> None:
        """Print the table."""
        from common.report import ablation

        ablation.show(self)

    @checked
    def plot(self, lang: str = "en") -> "Figure":
        """Accuracies of all runs, and the curves of the loss; ``lang`` is ``en`` or ``tr``."""
        from common.report import ablation

        return ablation.plot(self, lang)

    def report(self) -> dict[str, Any]:
        """Everything, for a JSON file."""
        return {
            "seeds": self.seeds,
            "evaluated_on": self.evaluated_on,
            "train_examples": self.train_examples,
            "test_examples": self.test_examples,
            "notice": self.notice,
            "networks": {variant.name: self._row(variant) for variant in self.variants},
        }

    def _row(self, variant: Variant) -> dict[str, Any]:
        accuracies, difference = list(variant.accuracies.values()), self.difference(variant)
        return {
            "network": variant.settings.network,
            "settings": dataclasses.asdict(variant.settings),
            "parameters": variant.cost.parameters,
            "multiply_adds": variant.cost.multiply_adds,
            "mean": statistics.fmean(accuracies) if accuracies else None,
            "spread": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
            "difference": difference and dataclasses.asdict(difference),
            "runs": [dataclasses.asdict(outcome) for outcome in variant.outcomes],
        }


def make(
    names: Sequence[str], backend: str, preset: str, seeds: Sequence[int], **given: Any
) -> list[Variant]:
    """The variants of an ablation, as :func:`common.ablate` takes them, checked before training.

    Without ``resize`` images are large enough for the chapter's last layers where the networks
    differ in these.
    """
    for name in ("network", "seed"):
        if name in given:
            raise NinError(f"`{name}`: here it is `{name}s`")
    given = check_given(given)
    if not names or not seeds:
        raise NinError("`networks` and `seeds`: at least one of each is needed")
    parts = [name.partition("@") for name in names]
    networks = [parse(network) for network, _, _ in parts]
    # under whatever names
    same = [(str(network), size) for network, (_, _, size) in zip(networks, parts, strict=True)]
    for each, found, what in ((names, same, "networks"), (seeds, seeds, "seeds")):
        if len({*found}) < len(found):
            raise NinError(f"`{what}`: {', '.join(map(str, each))}: one stands there twice")
    ends = {(network.head, network.last) for network in networks}
    if "resize" not in given and len(ends) > 1:
        given["resize"] = max(BOOKS_LAST_LAYERS, from_preset(preset).resize)
    variants = []
    for name, (network, at, pixels) in zip(names, parts, strict=True):
        if at and not re.fullmatch(r"\d{1,99}", pixels, re.ASCII):
            raise NinError(f"`networks={name}`: a size in pixels is to stand behind the @")
        size = int(pixels) if at else given.get("resize")
        try:
            settings = from_preset(
                preset, **{**given, "backend": backend, "network": network, "resize": size}
            )
        except NinError as error:
            raise NinError(f"{name}: {error.marked}") from error
        paid = cost.of(network, settings.resize, batch_size=settings.batch_size)
        variants.append(Variant(name, settings, paid))
        if len(ends) == 1:
            continue
        shapes = architecture.layer_shapes(settings.resize, network=settings.description)
        *_, last = (shape for layer, shape in shapes.items() if layer.startswith("pool"))
        if last[2:] == (1, 1):
            raise NinError(
                f"`resize={settings.resize}`: {name} has one pixel left before its last layers, "
                "so that heads and last blocks cannot be compared; the chapter's has more from "
                f"`resize={BOOKS_LAST_LAYERS}` up"
            )
    return variants


def train(
    variants: Sequence[Variant],
    dataset: Dataset,
    seeds: Sequence[int],
    out: Path,
    watchers: Sequence[Watcher],
) -> Ablation:
    """Train each variant with each seed, as far as that is not done yet.

    A line before each run says which it is, and how long the rest takes. The directory is a new one
    or that of an ablation of the same settings.
    """
    with _claimed(out, variants, dataset) as identity:
        found = Ablation(variants, dataset, seeds)
        # each seed of all variants before the next, so that what is there can always be compared
        todo = list(itertools.product(seeds, variants))
        left = sum(variant.work for _, variant in todo)
        done = seconds = 0.0
        for number, (seed, variant) in enumerate(todo, start=1):
            # two networks never have the same folder
            directory = out / variant.name.replace("/", "+") / f"seed-{seed}"
            if run_directory.is_begun(directory):
                size, wanted = _size(directory), variant.settings.resize
                if size != wanted:
                    raise NinError(
                        f"`out={out}`: {variant.name} was trained there with `resize={size}`, not "
                        f"{wanted}; choose another directory"
                    )
            outcome = read(directory, seed)
            if outcome is None or not (directory / MEASURED).is_file():
                about = f"; about {duration(left * seconds / done)} left" if done else ""
                print(f"{variant.name}, seed {seed}: run {number} of {len(todo)}{about}")
                started = time.monotonic()
                settings = dataclasses.replace(variant.settings, seed=seed)
                found.exit_status = _train(settings, dataset, directory, watchers)
                if found.exit_status:
                    break
                done, seconds = done + variant.work, seconds + time.monotonic() - started
                outcome = read(directory, seed)
            left -= variant.work
            if outcome is not None:
                variant.outcomes.append(outcome)
            sealed.write(out / ABLATION, {"settings": identity, **found.report()})
    return found


def _size(directory: Path) -> int:
    """Of the images of a run, in pixels."""
    return Settings(**run_directory.open_run(directory)["settings"]).resize


def read(directory: Path, seed: int) -> Outcome | None:
    """What the run in a directory came to; None if it has not come to its end."""
    measured = {"training_accuracy": None, "dead_channels": None}
    try:
        *_, rows, result = run_directory.read(directory)
        if result is None:
            return None
        if result["complete"]:
            measured = sealed.read(directory / MEASURED)
    except (NinError, OSError, ValueError, TypeError):
        return None
    return Outcome(
        seed=seed,
        complete=result["complete"],
        accuracy=result[f"{result['evaluated_on']}_accuracy"] if result["complete"] else None,
        loss=result["train_loss"],
        seconds=result["train_seconds"],
        dead_classes=result["dead_classes"],
        curve=[point for row in rows for point in row["within_epoch"]],
        notes=result["notes"],
        **measured,
    )


def sign_flip(differences: Sequence[float]) -> float:
    """A paired test: how often means as far from 0 come about if only chance decides the signs.

    All patterns of signs are tried, or of many differences 100,000 at random. No distribution is
    assumed; with n differences the least that can come out is 2 / 2**n.

    Source: Fisher, "The Design of Experiments", 1935, section 21.

    >>> sign_flip([0.1, 0.2, 0.3]), sign_flip([1, -1])
    (0.25, 1.0)
    """
    from scipy.stats import permutation_test  # takes a second to import

    if len(differences) < 2:
        return 1.0
    test = permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=100_000, random_state=0
    )
    return float(test.pvalue)


# ------------------------------------------------------------------ one run


def _train(
    settings: Settings, dataset: Dataset, directory: Path, watchers: Sequence[Watcher]
) -> int:
    """Train, or go on; 128 + the signal's number if that was interrupted."""
    run = None
    try:
        if run_directory.is_begun(directory):
            config = run_directory.open_run(directory)
            if not run_directory.is_complete(directory):
                run = fit.resume(directory, config, dataset, None, watchers)
        else:
            run = fit.fit(settings, dataset, None, directory, watchers)
    except DivergedError:
        sealed.write(directory / MEASURED, {})  # it is over, as its result.json says
        return 0
    if run is not None and not run.complete:
        return run.stop.exit_status
    del run
    # a trainer and what it captured on a GPU hold on to each other
    gc.collect()
    sealed.write(directory / MEASURED, measure(directory, settings, dataset))
    return 0


def measure(directory: Path, settings: Settings, dataset: Dataset) -> dict[str, float]:
    """What the weights of a complete run show that the run itself did not look at, in float32.

    Returns:
        ``training_accuracy`` with dropout off, and the share of ``dead_channels``.
    """
    options = {"device": settings.device, "threads": settings.threads}
    classifier = load(directory / run_directory.MODEL, settings.backend, **options)
    chosen = first_examples(dataset.train_labels, TRAINING_IMAGES)
    predictions = classifier.predict(dataset.train_images[chosen], dataset.train_labels[chosen])
    silent: dict[str, np.ndarray] = {}
    images = dataset.test_images[first_examples(dataset.test_labels, CHANNEL_IMAGES)]
    for start in range(0, len(images), 32):
        activations = classifier.predictor.activations(images[start : start + 32])
        for name, dead in plateau.silent_channels(activations).items():
            silent[name] = dead & silent.get(name, dead)
    channels = np.concatenate(list(silent.values()))
    return {
        "training_accuracy": float(1 - predictions.wrong.mean()),
        "dead_channels": float(channels.mean()),
    }


# ------------------------------------------------------------------ the directory


@contextlib.contextmanager
def _claimed(out: Path, variants: Sequence[Variant], dataset: Dataset) -> Iterator[dict[str, Any]]:
    """What :func:`_claim` does; nothing is left of a start that failed before its first run."""
    existed = out.exists()
    identity = _claim(out, variants, dataset)
    try:
        yield identity
    finally:
        with contextlib.suppress(OSError):  # deleted by somebody else, or read only
            if not any(out.glob("*/*")):
                (out / ABLATION).unlink()
                for folder in filter(Path.is_dir, out.iterdir()):
                    folder.rmdir()
                if not existed:
                    out.rmdir()


def _claim(out: Path, variants: Sequence[Variant], dataset: Dataset) -> dict[str, Any]:
    """Make the directory of an ablation, or see that it is that of this one.

    Returns:
        What must be the same for all runs, whatever their sizes and networks.
    """
    wanted = dataclasses.asdict(variants[0].settings)
    for name in ("network", "resize", "seed", "threads"):
        del wanted[name]
    wanted |= {"train_examples": len(dataset.train_images), "data": dataset.kind}
    wanted |= {"checksums": records.checksums(dataset)}
    file = out / ABLATION
    if not file.is_file():
        run_directory.check_free(out)
        out.mkdir(parents=True, exist_ok=True)
        sealed.write(file, {"settings": wanted})
        return wanted
    try:
        found = dict(sealed.read(file)["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NinError(f"{file}: damaged ({type(error).__name__})") from error
    if found.get("checksums", wanted["checksums"]) != wanted["checksums"]:
        raise NinError(f"`out={out}`: the runs there are of other images; choose another directory")
    # of an older ablation they are not known
    run_directory.check_same(out, {**wanted, **found}, wanted)
    return wanted
