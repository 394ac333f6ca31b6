"""Are they one network? ``assert_same`` is for the tests of other projects."""

from pathlib import Path
from typing import Any

__all__ = ["assert_same"]


def assert_same(*backends: str | Path, **options: Any) -> None:
    """Assert that backends, files or packages compute the same network; for pytest.

    Args:
        backends: as :func:`common.compare` takes them, such as ``"torch", "./my_nin.py"``.
        options: likewise, such as ``resize=67`` or ``levels=["activations"]``.

    Raises:
        AssertionError: with the verdict, which names the first deviating layer, if they deviate,
            something failed or nothing could be compared.
        NinError: as :func:`common.compare`.
    """
    __tracebackhide__ = True  # pytest shows the caller's line
    from common.api import compare

    report = compare(*backends, **options)
    if report.exit_status:
        findings = report.layer.findings if report.layer else {}
        details = [f"{name} is not in it: {reason}" for name, reason in report.lost.items()]
        details += [f"{name}: {text}" for name, text in findings.items()]
        for level in report.levels:
            details += [f"{level.name}: {level.status}", *(f"  {note}" for note in level.notes)]
        raise AssertionError("\n".join([report.verdict, *details]))
