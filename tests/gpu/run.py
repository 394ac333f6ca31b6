#!/usr/bin/env python3
"""Everything worth knowing of the PyTorch backend on a GPU, in about ten minutes.

Parts run in order of importance, each in a process of its own with a limit of time, so that a
crash or a hang costs that part alone. After each part one JSON file holds all results so far.
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# part -> (seconds that it is started with at least, seconds after which it is ended)
PARTS = {
    "smoke": (20, 90),
    "step": (20, 120),
    "resume": (20, 120),
    "parity": (20, 150),
    "rates": (15, 90),
    "fast": (20, 120),
    "book": (40, 240),
    "best": (30, 120),
    "workers": (5, 150),
    "bench": (40, 120),
    "tests": (25, 90),
}


def options():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--parts", default=",".join(PARTS), help=f"some of {','.join(PARTS)} (all)")
    p.add_argument("--out", type=Path, default=Path("gpu.json"), help="the file (gpu.json)")
    p.add_argument("--seconds", type=float, default=480, help="for everything (480)")
    p.add_argument(
        "--device", choices=("gpu", "cpu"), default="gpu", help="cpu: try it all on a small scale"
    )
    p.add_argument("--commit", help="of the checkout, where git is missing")
    p.add_argument("--part", help=argparse.SUPPRESS)  # what this script starts itself with
    return p.parse_args()


def main():
    given = options()
    if given.part is not None:
        import parts

        sys.exit(parts.run(given.part, given.device, given.out, given.seconds))
    names = given.parts.split(",")
    for name in names:
        if name not in PARTS:
            sys.exit(f"error: --parts {name}: choose from {','.join(PARTS)}")
    ends = time.monotonic() + given.seconds
    record = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": given.commit or output("git", "-C", str(ROOT), "rev-parse", "HEAD"),
        "device": given.device,
        "gpu, driver, memory": output(
            "nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"
        ),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "parts": {},
    }
    well = True
    for name in names:
        least, most = PARTS[name]
        left = ends - time.monotonic()
        if left < least:
            part = {"state": f"skipped: needs {least} s, {max(0, left):.0f} are left"}
        else:
            # a CPU only tries it all
            part = run_apart(name, given.device, min(most if given.device == "gpu" else 900, left))
        record["parts"][name] = part
        write(given.out, record)
        well = line(name, part) and well
    sys.exit(0 if well else 1)


def run_apart(name, device, seconds):
    """Run a part in a process of its own; what it found, also if it crashed or hung."""
    environment = dict(os.environ)
    path = [str(ROOT), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    with tempfile.TemporaryDirectory(prefix="nin-gpu-") as directory:
        file, log = Path(directory) / "part.json", Path(directory) / "log"
        command = [sys.executable, __file__, "--part", name, "--device", device]
        command += ["--out", str(file), "--seconds", str(seconds)]
        environment["TMPDIR"] = directory  # what the part leaves behind goes with it
        started = time.monotonic()
        with log.open("wb") as words:
            process = subprocess.Popen(
                command, stdout=words, stderr=words, env=environment, start_new_session=True
            )
            try:
                status = process.wait(seconds)
                state = "done" if status == 0 else f"failed: exit status {status}"
            except subprocess.TimeoutExpired:
                state = f"failed: ended after {seconds:.0f} s"
            except BaseException:
                end_group(process)
                raise
        end_group(process)
        found = json.loads(file.read_text()) if file.exists() else {}
        text = log.read_text(errors="replace")
    part = {"state": state, "seconds": round(time.monotonic() - started, 1), **found}
    if state != "done" or "Warning" in text:
        part["log"] = text[-6000:]
    return part


def end_group(process):
    """End a process and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def line(name, part):
    """Print a part's line; whether all is well."""
    checks = part.get("checks", [])
    failed = [check["name"] for check in checks if check["holds"] is False]
    ran = [check for check in checks if check["holds"] is not None]
    text = f"{name}: {part['state']}, {part.get('seconds', 0)} s"
    if checks:
        text += f", {len(ran) - len(failed)} of {len(ran)} checks hold"
    if len(ran) < len(checks):
        text += f", {len(checks) - len(ran)} not run"
    for what in failed:
        text += f"; NOT: {what}"
    if "error" in part:
        text += f"; {part['error']}"
    if part.get("headline"):
        text += f"; {part['headline']}"
    print(text, flush=True)
    return part["state"] == "done" and not failed


def output(*command):
    """What a command prints, None if there is no such command or it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def write(file, record):
    """Write a JSON file, whole or not at all."""
    whole = file.with_name(file.name + ".part")
    whole.write_text(json.dumps(record, indent=1) + "\n")
    whole.replace(file)


if __name__ == "__main__":
    main()
