"""The search for better hyperparameters (the chapter's exercise 1), with Optuna.

A search has a directory. In it, ``study.db`` has all trials, so that any number of processes, one
after the other or at the same time, can go on with it. Trials are judged on a validation split. The
test set is for one look at the end, after which the search is over.
"""

import contextlib
import dataclasses
import fcntl
import gc
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from common.arguments import checked
from common.backends import registry
from common.backends.session import Apart
from common.data import fashion_mnist
from common.data.dataset import Dataset
from common.errors import NinError, in_python, one_line, plural
from common.files.write import write_json
from common.settings import Settings, check_given, from_preset
from common.system import machine
from common.system.signals import StopRequest, deferred
from common.training import fit, records, run_directory, space
from common.training.run import DivergedError, Run, Watcher
from common.training.schedule import step_seed
from common.training.space import Space

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure

STUDY = "study.db"
LOCK = ".study.db.lock"
REPORT = "tune.json"
# When a trial is looked at to see whether it is worth its time, in per cent of its steps; on no
# more images than these, since it is only compared with other trials on the same ones.
MARKS = (25, 50, 75)
INTERIM_IMAGES = 2000
# So many trials are drawn at random before what was found decides where to look; and so many are
# trained to their end before any is stopped early.
RANDOM_TRIALS, TRAINED_TRIALS = 8, 4
# With fewer trials importance is not computed. It is compared with what so many shuffles give.
LEAST_TRIALS, SHUFFLES = 8, 1000
# A trial that took its process with it is tried again, but not for ever.
MOST_TRIES = 2
POLL_SECONDS = 0.5
# What Optuna calls the outcomes that can be compared; every other is its FAIL.
STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "diverged": "PRUNED"}
# For a lock or a write of another process.
DATABASE_SECONDS = 60


@dataclass(frozen=True)
class Trial:
    """One training run of a search."""

    number: int
    outcome: str
    """``complete``; ``pruned``: stopped early; ``diverged``; ``failed``; ``interrupted``: tried
    again under another number; ``running``."""
    values: dict[str, Any]
    """Of the settings that are searched."""
    accuracy: float | None
    """On the validation split at the end; None if it did not get there."""
    curve: dict[int, float]
    """Per cent of its steps -> accuracy on a part of the validation split."""
    seconds: float | None
    reason: str
    """Why it failed or diverged."""
    preset: bool
    """Whether its values are the preset's own."""
    tries: int = 1

    @property
    def ended(self) -> bool:
        """Whether it has come to an end of its own."""
        return self.outcome not in ("running", "interrupted")

    @property
    def counts(self) -> bool:
        """Whether it is one of those that were asked for."""
        return self.outcome != "interrupted"

    @property
    def reached(self) -> float:
        """Its accuracy where it was last measured; 0 if it never was."""
        if self.accuracy is not None:
            return self.accuracy
        return 0.0 if self.outcome == "diverged" else [0.0, *self.curve.values()][-1]


class Importance(NamedTuple):
    """How much of the differences between trials a setting explains; see :func:`importance`."""

    share: float
    """0 to 1."""
    by_chance: float
    """What 95 of 100 shuffles of the accuracies over the trials stay below."""


class Observer(Watcher):
    """Sees a search as it goes, and the run of each trial. It does nothing by itself."""

    def searching(self, trials: Sequence[Trial], wanted: int) -> None:
        """How far the search is."""

    def done(self, trial: Trial, trials: Sequence[Trial], wanted: int) -> None:
        """A trial has come to its end; it is one of the trials."""

    def closing(self) -> None:
        """Nothing more is trained."""


class Pruned(Exception):  # noqa: N818
    """A trial is not worth its time."""


class Study:
    """The trials of a search in its directory; several processes may have it at a time.

    While a process trains trial n it holds a lock on byte n + 1 of the lock file, which ends with
    the process however that ends. Byte 0 is held while trials are counted and drawn.
    """

    def __init__(self, out: Path) -> None:
        optuna = _optuna()
        import sqlalchemy.exc

        self.out = out
        # Optuna takes braces for fields of a template
        url = f"sqlite:///{(out / STUDY).absolute()}".replace("{", "{{").replace("}", "}}")
        options = {"connect_args": {"timeout": DATABASE_SECONDS}}
        self._locks: IO[bytes] = (out / LOCK).open("ab")
        self._states = optuna.trial.TrialState
        try:
            # two processes that make the tables at once are in each other's way
            with self.turn():
                storage = optuna.storages.RDBStorage(url, engine_kwargs=options)
                self._study = optuna.create_study(
                    storage=storage,
                    study_name="nin",
                    direction="maximize",
                    pruner=optuna.pruners.MedianPruner(TRAINED_TRIALS),
                    load_if_exists=True,
                )
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise NinError(f"{out / STUDY}: damaged ({one_line(error).split(' [')[0]})") from error

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """While it is entered, no other process draws a trial."""
        fcntl.lockf(self._locks, fcntl.LOCK_EX, 1, 0)
        try:
            yield
        finally:
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, 0)

    def get(self, name: str) -> Any:
        """A fact about the whole search; None if it was not set."""
        return self._study.user_attrs.get(name)

    def set(self, name: str, value: Any) -> None:
        """Keep a fact about the whole search."""
        self._study.set_user_attr(name, value)

    def trials(self) -> list[Trial]:
        """All that have begun, in order."""
        found = self._study.get_trials(deepcopy=False)
        return [_read(trial) for trial in found if trial.state.name != "WAITING"]

    def enqueue(self, values: dict[str, Any], **facts: Any) -> None:
        """Have a trial with these values next; those that are missing are drawn."""
        self._study.enqueue_trial(values, user_attrs=facts)

    def clear(self) -> None:
        """Mark the trials whose process has ended, and have them tried again."""
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state.name == "RUNNING" and self._hold(trial.number):
                # it may have come to its end since then
                if self._study.trials[trial.number].state.name == "RUNNING":
                    self._study.tell(trial.number, state=self._states.FAIL)
                    if _read(self._study.trials[trial.number]).outcome == "interrupted":
                        self._again(trial.number, tries=_read(trial).tries + 1)
                self._let_go(trial.number)

    def draw(self, wanted: int, choices: Space, base: Settings) -> "optuna.trial.Trial | None":
        """A new trial with values; None if as many as are wanted have begun or are done."""
        with self.turn():
            self.clear()
            begun = sum(trial.counts for trial in self.trials())
            if begun >= wanted:
                return None
            if self.get("test"):
                raise NinError(
                    f"`out={self.out}`: that search is over, for its best trial was measured on "
                    "the test set; search on in another directory"
                )
            # of the search's seed and the place in it alone, so that one that was interrupted goes
            # on as it would have
            self._study.sampler = _sampler(step_seed(base.seed, begun))
            trial = self._study.ask()
            self._hold(trial.number)
            trial.set_user_attr("values", space.suggest(choices, base, trial))
        return trial

    def finish(
        self, trial: "optuna.trial.Trial", outcome: str, accuracy: float | None, **facts: Any
    ) -> Trial:
        """Record what a trial came to, with facts about it."""
        with deferred():
            for name, value in facts.items():
                trial.set_user_attr(name, value)
            if outcome == "interrupted":
                trial.set_user_attr("stopped", True)
            self._study.tell(trial.number, accuracy, self._states[STATES.get(outcome, "FAIL")])
            if outcome == "interrupted":
                self._again(trial.number)
            self._let_go(trial.number)
        return _read(self._study.trials[trial.number])

    def _again(self, number: int, **facts: Any) -> None:
        trial = self._study.trials[number]
        kept = {k: v for k, v in trial.user_attrs.items() if k in ("preset", "tries")}
        self.enqueue(trial.params, **{**kept, **facts})

    def _hold(self, number: int) -> bool:
        """Take a trial; False if another process has it."""
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number + 1)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _let_go(self, number: int) -> None:
        fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, number + 1)


class Tuning:
    """A search, and what it has found so far; the base has the settings that are not searched."""

    def __init__(self, study: Study, base: Settings, choices: Space, whole: Dataset) -> None:
        self._study = study
        self.settings = base
        self.space = choices
        self.whole = whole
        self.dataset = whole.hold_out(base.validation).limit(base.limit)
        self.out = study.out
        self.trials: list[Trial] = []
        self.exit_status = 0
        """128 + the signal's number if it was interrupted."""
        self.read()

    def __repr__(self) -> str:
        return plural(f"<Tuning: {', '.join(self.space)}; {len(self.ended)} trial(s)>")

    def read(self) -> None:
        """Read the trials anew, also those of other processes."""
        with self._study.turn():
            self._study.clear()
            self.trials = self._study.trials()

    @property
    def ended(self) -> list[Trial]:
        """The trials that have come to an end of their own, the best first."""
        ended = [trial for trial in self.trials if trial.ended]
        return sorted(ended, key=lambda t: (t.accuracy is None, -t.reached, t.number))

    @property
    def best(self) -> Trial | None:
        """The trial of the highest validation accuracy; None before the first is complete."""
        return self.ended[0] if self.ended and self.ended[0].accuracy is not None else None

    @property
    def importance(self) -> dict[str, Importance]:
        """Setting -> how much of the differences between trials it explains, the most first."""
        return importance(self.trials, self.space)

    @property
    def tested(self) -> dict[str, Any] | None:
        """What :meth:`test` has measured, if it has: ``accuracy``, ``examples`` and more."""
        return self._study.get("test")

    @property
    def noise(self) -> float:
        """The standard error of the best accuracy, measured on so many images.

        As if there were two images more, one of them right: no accuracy is then free of error.
        """
        count = len(self.dataset.test_images) + 2
        share = (self.best.reached * (count - 2) + 1) / count if self.best else 0.5
        return math.sqrt(share * (1 - share) / count)

    def settings_of(self, trial: Trial) -> Settings:
        """All settings of a trial."""
        return space.settings_of(self.settings, trial.values)

    @checked
    def test(self, observer: Observer | None = None) -> dict[str, Any]:
        """Train with the best settings on training and validation images; measure on the test set.

        That ends the search: whoever went on would choose by the test set. It is done once; called
        again it gives what was measured.

        Returns:
            ``trial``, ``accuracy``, ``examples``, ``train_examples``, ``seconds``.

        Raises:
            NinError: if no trial is complete, or one is running.
        """
        observer = observer or Observer()
        self.read()
        if self.tested is not None:
            return self.tested
        if self.best is None:
            raise NinError("`test`: no trial is complete yet, so there is nothing to measure")
        running = [trial.number for trial in self.trials if trial.outcome == "running"]
        if running:
            raise NinError(f"`test`: trial {running[0]} is still running, in another process")
        settings = dataclasses.replace(self.settings_of(self.best), validation=0)
        every = self.whole.limit(settings.limit)
        # the loop looks at accuracy after each epoch, which is not to be that on the test set
        dataset = dataclasses.replace(
            every,
            test_images=self.dataset.test_images,
            test_labels=self.dataset.test_labels,
            evaluated_on="validation",
            notice=f"{every.notice} Trained on its validation images too.".strip(),
        )
        try:
            run = fit.fit(settings, dataset, watchers=[observer])
        finally:
            observer.closing()
        if not run.complete:
            self.exit_status = run.stop.exit_status
            return {}
        run.save(self.out / run_directory.MODEL)
        predictions = run.predict(self.whole.test_images, self.whole.test_labels)
        found = {
            "trial": self.best.number,
            "settings": dataclasses.asdict(run.settings),
            "accuracy": float(1 - predictions.wrong.mean()),
            "examples": len(self.whole.test_images),
            "train_examples": len(every.train_images),
            "seconds": run.total_seconds,
        }
        self._study.set("test", found)
        return found

    def show(self, words: Callable[[str], str] = in_python) -> None:
        """Print the table, and what it does not show; arguments in ``words`` as in NinError."""
        from common.report import tune

        tune.show(self, words)

    @checked
    def plot(self, name: str = "history", lang: str = "en") -> "Figure":
        """A picture: ``history``, ``importance`` or ``values``; ``lang`` is ``en`` or ``tr``."""
        from common.report import style, tune

        if name not in tune.PICTURES:
            raise NinError(f"`name={name}`: choose from {', '.join(tune.PICTURES)}")
        return style.with_notice(tune.PICTURES[name](self, lang), self.dataset.notice, lang)

    def report(self) -> dict[str, Any]:
        """Everything, for a JSON file."""
        return {
            "settings": dataclasses.asdict(self.settings),
            "search": {name: str(values) for name, values in self.space.items()},
            "seed": self.settings.seed,
            "train_examples": len(self.dataset.train_images),
            "validation_examples": len(self.dataset.test_images),
            "notice": self.dataset.notice,
            "best": self.best and self.best.number,
            "standard_error": self.noise,
            "importance": {name: each._asdict() for name, each in self.importance.items()},
            "test": self.tested,
            "trials": [dataclasses.asdict(trial) for trial in self.trials],
            "made_with": self._study.get("made_with"),
        }

    def write(self, lang: str = "en") -> None:
        """Write the report and the pictures into the directory of the search."""
        from common.files import figures
        from common.report import tune

        write_json(self.out / REPORT, self.report())
        for name in tune.PICTURES:
            figures.save_svg_and_png(self.plot(name, lang), self.out, name)


# ------------------------------------------------------------------ the search


def begin(
    lines: Sequence[str], whole: Dataset, out: Path, preset: str = "fast", **given: Any
) -> Tuning:
    """A new search, or what there is of one, as :func:`common.tune` describes it."""
    given = {"validation": max(1, len(whole.train_images) // 6), **check_given(given)}
    if given["validation"] == 0:
        raise NinError("`validation=0`: trials are compared on images that are held out")
    # for processes in other directories
    given["backend"] = registry.absolute(given.get("backend") or Settings.backend)
    base = from_preset(preset, **given)
    choices, base = space.parse(lines, base)
    dataset = whole.hold_out(base.validation).limit(base.limit)
    largest = max(choices["batch_size"].values) if "batch_size" in choices else base.batch_size
    fit.check_batch(dataclasses.replace(base, batch_size=largest), dataset)
    _optuna()
    try:
        run_directory.check_free(out)
    except NinError:
        # the lock comes first: another process may be about to make the database
        if not any((out / name).is_file() for name in (LOCK, STUDY)):
            raise
    out.mkdir(parents=True, exist_ok=True)
    study = Study(out)
    wanted = dataclasses.asdict(base)
    del wanted["threads"]
    wanted["search"] = " ".join(f"{name}={values}" for name, values in choices.items())
    checksums = records.checksums(dataset)
    with study.turn():
        if study.get("search") is None:
            study.set("search", wanted)
            study.set("sha256", checksums)
            own = {name: getattr(base, name) for name in choices}
            inside = {name: value for name, value in own.items() if value in choices[name]}
            study.enqueue(inside, preset=inside == own)
    run_directory.check_same(out, study.get("search"), wanted)
    if study.get("sha256") != checksums:
        raise NinError(f"`out={out}`: the runs there are of other images; choose another directory")
    return Tuning(study, base, choices, whole)


def search(tuning: Tuning, wanted: int, observer: Observer) -> None:
    """Train in this process until so many trials have begun or are done, or a signal comes."""
    study, parent = tuning._study, os.getppid()
    with StopRequest() as stop:
        stop.callback(observer.closing)
        # an orphan's search is nobody's any more
        while os.getppid() == parent and stop.signal is None:
            trial = study.draw(wanted, tuning.space, tuning.settings)
            if trial is None:
                break
            observer.searching(study.trials(), wanted)
            ended = _attempt(tuning, trial, observer, stop)
            # a trainer and what it captured on a GPU hold on to each other
            gc.collect()
            trials = study.trials()
            observer.done(ended, trials, wanted)
            if ended.outcome == "failed" and not any(t.accuracy is not None for t in trials):
                raise NinError(f"trial {ended.number}: {ended.reason}")
        tuning.exit_status = stop.exit_status if stop.signal else 0
    tuning.read()


def _attempt(
    tuning: Tuning, trial: "optuna.trial.Trial", observer: Observer, stop: StopRequest
) -> Trial:
    """Train one trial and record what it came to; what stops it stops the search."""
    started = time.monotonic()
    settings = space.settings_of(tuning.settings, trial.user_attrs["values"])
    outcome, accuracy, reason = "interrupted", None, ""
    try:
        run = fit.fit(settings, tuning.dataset, watchers=[observer, _Judge(tuning, trial)])
        if run.complete:
            outcome, accuracy = "complete", run.validation_accuracy
        else:
            stop.signal = run.stop.signal
    except Pruned:
        outcome = "pruned"
    except DivergedError as error:
        outcome, reason = "diverged", str(error)
    except NinError as error:
        outcome, reason = "failed", error.marked
    finally:
        seconds = round(time.monotonic() - started, 3)
        ended = tuning._study.finish(trial, outcome, accuracy, seconds=seconds, reason=reason)
    return ended


def search_apart(tuning: Tuning, wanted: int, jobs: int, observer: Observer) -> None:
    """As :func:`search`, in so many processes at a time, each with its share of the cores."""
    if not tuning.whole.directory:
        raise NinError(f"`jobs={jobs}`: other processes cannot read these images; name a directory")
    arguments = {
        "out": str(tuning.out.absolute()),
        "wanted": wanted,
        "data": os.path.abspath(tuning.whole.directory),  # noqa: PTH100
        "threads": tuning.settings.threads or max(1, machine.physical_cores() // jobs),
    }
    seen = {trial.number for trial in tuning.trials if trial.outcome != "running"}
    with StopRequest("stopping; the trials under way will be tried again") as stop:
        stop.callback(observer.closing)
        pool = stop.enter_context(ThreadPoolExecutor(jobs))
        calls: list[Future[Any]] = []
        while stop.signal is None and len(calls) < jobs:
            apart = Apart(sys.executable, math.inf)
            stop.callback(apart.kill)
            calls.append(pool.submit(apart.call, "common.training.tune:work", **arguments))
        while stop.signal is None and any(not call.done() for call in calls):
            wait(calls, POLL_SECONDS)
            trials = tuning._study.trials()
            for trial in trials:
                if trial.number not in seen and trial.outcome != "running":
                    seen.add(trial.number)
                    observer.done(trial, trials, wanted)
            observer.searching(trials, wanted)
        for call in calls if stop.signal is None else ():
            call.result()
        tuning.exit_status = stop.exit_status if stop.signal else 0
    tuning.read()


def work(out: str, wanted: int, data: str, threads: int) -> None:
    """What a process of :func:`search_apart` does."""
    study = Study(Path(out))
    fields = dict(study.get("search"))
    lines = fields.pop("search").split()
    choices, base = space.parse(lines, Settings(**fields, threads=threads))
    search(Tuning(study, base, choices, fashion_mnist.load(data)), wanted, Observer())


class _Judge(Watcher):
    """Measures the accuracy of a trial on the way; records once what computes."""

    def __init__(self, tuning: Tuning, trial: "optuna.trial.Trial") -> None:
        self._study, self._trial, dataset = tuning._study, trial, tuning.dataset
        count = len(dataset.test_images)
        # from all over, should they stand in the order of their classes
        chosen = np.linspace(0, count - 1, min(count, INTERIM_IMAGES)).round().astype(int)
        self._images, self._labels = dataset.test_images[chosen], dataset.test_labels[chosen]

    def begin(self, run: Run) -> None:
        """Have every run looked at after the same share of its steps."""
        total = run.total_steps
        marks = {math.ceil(total * percent / 100): percent for percent in MARKS}
        run.marks = self._marks = {step: mark for step, mark in marks.items() if step < total}
        now = {**records.conditions(run), "precision": run.settings.precision}
        now["versions"] |= machine.versions("optuna", "sqlalchemy")
        known = self._study.get("made_with") or []
        if now not in known:
            self._study.set("made_with", [*known, now])

    def step(self, run: Run) -> None:
        """Measure, once at each mark."""
        percent = self._marks.pop(run.steps_done, None)
        if percent is None:
            return
        size = run.settings.batch_size
        starts = range(0, len(self._images), size)
        logits = [run.trainer.logits(self._images[start : start + size]) for start in starts]
        right = np.concatenate(logits).argmax(1) == self._labels
        self.report(percent, float(right.mean()))

    def report(self, percent: int, accuracy: float) -> None:
        """Keep an accuracy on the way; end a trial that is worse than half of the others."""
        self._trial.report(accuracy, percent)
        if self._trial.should_prune():
            raise Pruned


def importance(trials: Sequence[Trial], choices: Space) -> dict[str, Importance]:
    """How much of the differences between trials each setting explains by itself.

    The trials are ranked by their accuracy, those that were stopped early by the last one that was
    measured. A setting with choices explains the differences between the mean ranks of its values
    (the correlation ratio of Fisher, on ranks as in the test of Kruskal and Wallis, 1952), one with
    a range those along a parabola. Optuna's own measure, PED-ANOVA, takes any learning rate for all
    that matters where trials are as few as here: shuffled accuracies give it 96 per cent.

    Returns:
        The most important first; nothing of what fewer than :data:`LEAST_TRIALS` trials have.
    """
    from scipy.stats import rankdata

    found, rng = {}, np.random.default_rng(0)
    for name, values in choices.items():
        counted = [t for t in trials if t.outcome in STATES and name in t.values]
        if len(counted) < LEAST_TRIALS:
            continue
        ranks = rankdata([trial.reached for trial in counted])
        ranks -= ranks.mean()
        drawn = [trial.values[name] for trial in counted]
        if isinstance(values, space.Range):
            x = np.log(drawn) if values.logarithmic else np.array(drawn, float)
            columns = np.stack([x**0, x, x**2], 1)
        else:
            columns = np.array([[float(one == value) for value in values.values] for one in drawn])
        # orthonormal columns, so many as there are degrees of freedom in what has been drawn
        left, sizes, _ = np.linalg.svd(columns, full_matrices=False)
        basis = left[:, sizes > sizes.max() * 1e-9]
        shuffled = rng.permuted(np.tile(ranks, (SHUFFLES, 1)), axis=1)
        total = max(float(ranks @ ranks), 1e-12)
        share, *by_chance = ((np.vstack([ranks, shuffled]) @ basis) ** 2).sum(1) / total
        found[name] = Importance(float(share), float(np.quantile(by_chance, 0.95)))
    return dict(sorted(found.items(), key=lambda item: -item[1].share))


# ------------------------------------------------------------------ Optuna


def _optuna() -> Any:
    """Optuna is needed here only; the rest of the project goes without."""
    try:
        import optuna
    except ImportError as error:
        raise NinError(
            'optuna is not installed; install it with: pip install -e ".[tune]"'
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _sampler(seed: int) -> Any:
    # Optuna says of some of these options that they may change
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _optuna().samplers.TPESampler(
            n_startup_trials=RANDOM_TRIALS,
            seed=seed,
            # the right learning rate depends on the optimizer
            multivariate=True,
            # several processes look at different places
            constant_liar=True,
            warn_independent_sampling=False,
        )


def _read(trial: Any) -> Trial:
    facts = trial.user_attrs
    tries, reason = facts.get("tries", 1), facts.get("reason", "")
    outcome = {"RUNNING": "running", "COMPLETE": "complete", "PRUNED": "pruned"}.get(
        trial.state.name, "failed" if reason else "interrupted"
    )
    if outcome == "pruned" and reason:
        outcome = "diverged"
    if outcome == "interrupted" and tries >= MOST_TRIES and "stopped" not in facts:
        outcome, reason = "failed", f"its process ended without a word, {tries} times"
    return Trial(
        number=trial.number,
        outcome=outcome,
        values=facts.get("values", trial.params),
        accuracy=trial.value if outcome == "complete" else None,
        curve=dict(sorted(trial.intermediate_values.items())),
        seconds=facts.get("seconds"),
        reason=reason,
        preset=facts.get("preset", False),
        tries=tries,
    )
