"""What a user does first, in an environment that holds the wheel and PyTorch and nothing else.

Run in an empty directory: ``python check_wheel.py BACKEND``, a backend in one file.
"""

import sys
from pathlib import Path

import numpy as np

import common
from common import compare, fit, load, load_data
from common.comparison.report import html
from nin_torch import nin

assert "site-packages" in common.__file__, common.__file__
data = load_data("sample")
images = data.test_images[:50]
run = fit(nin(), data, "fast", precision="float32", epochs=1, limit=200, batch_size=20)
assert run.complete
assert not list(Path().iterdir()), "a file was written without being asked for"
run.save("nin.safetensors")
predictions = load("nin.safetensors").predict(images)
assert np.array_equal(predictions.logits, run.predict(images).logits)
predictions.plot().savefig("predictions.png")

run = fit(nin(), data, "fast", epochs=1, limit=60, batch_size=20, out="run")
assert Path("run/curves.png").is_file()

report = compare("torch", sys.argv[1], resize=67, batch_size=2, steps=8)
print(report.verdict)
assert report.exit_status == 0, report.verdict
assert "<svg" in html(report)
