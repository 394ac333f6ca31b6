"""What a run leaves behind: one directory, every file in it whole.

::

    config.json            every setting, versions, machine, data, git commit
    metrics.jsonl          a line per epoch
    curves.svg, curves.png the chapter's figure
    model.safetensors      the weights, for any backend
    checkpoint.safetensors where to go on with --resume
    checkpoint.previous.safetensors
                           the one before, for when that is damaged
    result.json            the figures at the end
    tensorboard/           event files
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.errors import NinError
from common.files import sealed
from common.files.arrays import load_arrays, save_arrays
from common.files.write import write_text
from common.settings import Settings
from common.training.run import Progress

CONFIG = "config.json"
METRICS = "metrics.jsonl"
CHECKPOINT = "checkpoint.safetensors"
PREVIOUS = "checkpoint.previous.safetensors"
MODEL = "model.safetensors"
RESULT = "result.json"
TENSORBOARD = "tensorboard"
CURVES = "curves"
# what files are called while they are written, which a process that is killed leaves
TEMPORARY = re.compile(
    "|".join(rf"\.{re.escape(name)}\.\w{{8}}" for name in (CONFIG, METRICS, CHECKPOINT))
)


def weights_file(path: Path) -> Path:
    """Where the weights are in the directory of a run; every other path is returned as it is."""
    file = path / MODEL
    return file if file.is_file() else path


def of_weights(path: Path) -> Path:
    """The reverse: the directory whose weights :func:`weights_file` takes for a path."""
    return path.parent if path.name == MODEL else path


def check_free(out: Path) -> None:
    """Raise :class:`NinError` if ``out`` exists and is not an empty directory."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise NinError(
            f"`out={out}`: exists and is not an empty directory; choose another, "
            "or continue a run with `resume`"
        )


def check_same(out: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise :class:`NinError` if the runs in a directory have other settings than are wanted."""
    for name, value in wanted.items():
        if found.get(name) != value:
            raise NinError(
                f"`out={out}`: the runs there have `{name}={found.get(name)}`, not {value}; "
                "choose another directory, or leave that out"
            )


def create(out: Path | None, settings: Settings, parent: Path = Path("runs")) -> Path:
    """Make a new, empty run directory; without ``out``, named by the settings, in ``parent``."""
    try:
        if out is not None:
            check_free(out)
            out.mkdir(parents=True, exist_ok=True)
            return _writable(out)
        name = f"{settings.backend}-{settings.preset}-{time.strftime('%Y%m%d-%H%M%S')}"
        for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
            with contextlib.suppress(FileExistsError):  # another run started in this second
                (parent / (name + suffix)).mkdir(parents=True)
                return _writable(parent / (name + suffix))
        raise NinError(f"`out`: no free name like {parent / name}")
    except OSError as error:
        raise NinError(f"`out={out or parent}`: cannot be written ({error.strerror})") from error


def _writable(directory: Path) -> Path:
    try:
        (directory / METRICS).touch(exist_ok=False)
    except FileExistsError:  # another run was started at the same instant
        check_free(directory)
    return directory


class Record(NamedTuple):
    """A run as its directory has it."""

    directory: Path
    config: dict[str, Any]
    settings: Settings
    rows: list[dict[str, Any]]
    """A line of ``metrics.jsonl`` for each epoch that is done."""
    result: dict[str, Any] | None
    """None if the run has not come to an end, or goes on after one."""


def read(directory: Path) -> Record:
    """What a run has recorded, complete or not; NinError if it is none, or a file is damaged."""
    config = open_run(directory, str(directory))
    name = CONFIG
    try:
        for part in ("versions", "machine"):
            config[part].items()
        name = METRICS
        text = (directory / METRICS).read_text(encoding="utf-8")
        rows = [sealed.unseal(line) for line in text.splitlines()]
        for row in rows:
            accuracy = row[f"{row['evaluated_on']}_accuracy"]
            _check_finite(row["epoch"], row["train_loss"], row["train_accuracy"], accuracy)
            for x, loss, share in row["within_epoch"]:
                _check_finite(x, loss, share)
        name = RESULT
        result = _read_result(directory)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(str(directory), name, error) from error
    done = rows[-1]["epoch"] if rows else 0
    if result is not None and done != result["epochs"]:
        if done < result["epochs"]:
            raise NinError(f"{directory}: {METRICS} has fewer epochs than {RESULT}")
        result = None  # of a stop after which the run went on
    return Record(directory, config, Settings(**config["settings"]), rows, result)


def _read_result(directory: Path) -> dict[str, Any] | None:
    path = directory / RESULT
    if not path.exists():
        return None
    result = sealed.read(path)
    rate = result["examples_per_second"]
    _check_finite(result["epochs"], result["total_seconds"], 0 if rate is None else rate)
    if not isinstance(result["complete"], bool) or not isinstance(result["notes"], list):
        raise TypeError("complete, notes")
    return result


def _check_finite(*numbers: float) -> None:
    if not all(map(math.isfinite, numbers)):
        raise ValueError("not a finite number")


def open_run(directory: Path, called: str = "") -> dict[str, Any]:
    """The configuration of a run; NinError, which calls it ``resume`` if not given, if damaged."""
    called = called or f"`resume={directory}`"
    if not (directory / CONFIG).is_file():
        raise NinError(f"{called}: not a run directory (it has no {CONFIG})")
    try:
        config = sealed.read(directory / CONFIG)
        Settings(**config["settings"]).check(is_by_hand(config))
        if not config["data"].keys() >= {"kind", "directory", "sha256"}:
            raise KeyError("data")
        config["data"]["sha256"].keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, NinError) as error:
        raise _damaged(called, CONFIG, error) from error
    return config


def _damaged(called: str, file: str, error: Exception) -> NinError:
    return NinError(f"{called}: {file} is damaged ({type(error).__name__}: {error})")


def is_by_hand(config: Mapping[str, Any]) -> bool:
    """Whether a run is of a network that was built by hand and has no description."""
    return isinstance(config.get("network"), list)


@contextlib.contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Keep other processes from training in the directory; NinError if one does."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise NinError(f"{directory}: another run is writing there; wait for it") from error
        except OSError:  # a file system without locks
            pass
        for left_over in directory.glob(f".{CHECKPOINT}.*"):  # of a process that was killed
            left_over.unlink()
        yield
    finally:
        os.close(descriptor)


def is_begun(directory: Path) -> bool:
    """Whether there is a run to go on with.

    What one left that was killed before its first checkpoint is removed: nothing was trained.
    """
    if (directory / CHECKPOINT).is_file() or (directory / PREVIOUS).is_file():
        return True
    if directory.is_dir():
        # of a run that is just beginning nothing is removed, nor beside files of other people
        with contextlib.suppress(NinError), lock(directory):
            left = list(directory.iterdir())
            if all(map(_is_of_an_unbegun_run, left)):
                for path in left:
                    path.unlink(missing_ok=True)
    return False


def _is_of_an_unbegun_run(path: Path) -> bool:
    if path.name == METRICS:
        return path.is_file() and not path.stat().st_size
    if path.name == CONFIG:
        # many programs have a file of that name
        with contextlib.suppress(NinError):
            return bool(open_run(path.parent))
    return TEMPORARY.fullmatch(path.name) is not None


def data_source(config: Mapping[str, Any], called: str) -> str:
    """Where a run's data are now: in their directory, or found anew if that is gone.

    Not what was asked for: ``auto`` may find something else today. NinError for a run on arrays.
    """
    used = config["data"]
    if not used["directory"]:
        raise NinError(f"{called}: trained on arrays, which are no files; give `data`")
    moved = used["kind"] in ("full", "sample") and not Path(used["directory"]).is_dir()
    return str(used["kind"] if moved else used["directory"])


def is_complete(directory: Path) -> bool:
    """Whether the run's ``result.json`` says that all epochs ran."""
    try:
        return bool(sealed.read(directory / RESULT)["complete"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def has_curves(directory: Path) -> bool:
    """Whether the pictures of the curves are there."""
    return all((directory / f"{CURVES}.{kind}").is_file() for kind in ("svg", "png"))


def save_checkpoint(directory: Path, state: Mapping[str, np.ndarray], progress: Progress) -> None:
    """Write the checkpoint, whole or not at all; the last one is kept as the one before."""
    text = json.dumps(dataclasses.asdict(progress), sort_keys=True)
    metadata = {"progress": text, "sha256": _digest(state, text)}
    save_arrays(directory / CHECKPOINT, state, metadata, keep=directory / PREVIOUS)


def load_checkpoint(directory: Path) -> tuple[dict[str, np.ndarray], Progress, str]:
    """Read the newest checkpoint, or the one before if that is damaged or missing.

    Returns:
        The trainer's state, the run's progress, and why it is not the newest; empty if it is.
    """
    newest, previous = directory / CHECKPOINT, directory / PREVIOUS
    if not (newest.is_file() or previous.is_file()):
        raise NinError(f"`resume={directory}`: it has no {CHECKPOINT}")
    try:
        return *_read_checkpoint(newest), ""
    except NinError as error:
        if not previous.is_file():
            raise
        try:
            state, progress = _read_checkpoint(previous)
        except NinError as older:
            raise NinError(f"{error.marked}; the one before too: {older.marked}") from error
        why = error.marked if newest.exists() else f"{newest}: missing"
    where = f"epoch {progress.epoch + 1}, step {progress.step}"
    return state, progress, f"{why}; going on from the one before, at {where}"


def drop_newest_checkpoint(directory: Path) -> None:
    """Put the one before in its place, lest the next one replaces that."""
    os.replace(directory / PREVIOUS, directory / CHECKPOINT)


def _read_checkpoint(path: Path) -> tuple[dict[str, np.ndarray], Progress]:
    state, metadata = load_arrays(path)
    text = metadata.get("progress", "")
    if metadata.get("sha256") != _digest(state, text):
        raise NinError(f"{path}: damaged checkpoint (its checksum does not match its content)")
    try:
        return state, Progress(**json.loads(text))
    except (TypeError, ValueError) as error:
        raise NinError(f"{path}: written by another version of this program") from error


def write_metrics(directory: Path, progress: Progress) -> None:
    """Write ``metrics.jsonl``: one line per finished epoch."""
    lines = (json.dumps(sealed.seal(row), allow_nan=False) + "\n" for row in progress.rows)
    write_text(directory / METRICS, "".join(lines))


def _digest(state: Mapping[str, np.ndarray], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(state[name]).tobytes())
    return digest.hexdigest()
