"""Directories of runs, made without training."""

import json

from common.settings import from_preset


def make_run(directory, epochs=2, preset="fast", data=None, **settings):
    """What a run leaves, but for its weights and pictures."""
    directory.mkdir(parents=True)
    chosen = from_preset(preset, precision="float32", epochs=epochs, **settings)
    config = {
        "command": f"train.py <{directory.name}>",
        "settings": vars(chosen),
        "network": "nin",
        "data": {
            "kind": "full", "directory": "", "sha256": {}, "train_examples": 400,
            "notice": "A subset & more.", **(data or {}),
        },
        "versions": {"python": "3.11.7"},
        "machine": {"cores": 2, "memory_gib": 23.5},
    }  # fmt: skip
    rows = [
        {
            "epoch": i, "train_loss": 1 / i, "train_accuracy": 0.5, "evaluated_on": "test",
            "test_accuracy": 0.625, "within_epoch": [[i - 0.5, 1 / i, 0.5], [i, 1 / i, 0.5]],
        }
        for i in range(1, epochs + 1)
    ]  # fmt: skip
    result = {
        "epochs": epochs, "examples_per_second": 99.5, "total_seconds": 3.0, "complete": True,
        "notes": [],
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (directory / "result.json").write_text(json.dumps(result))
    return directory
