#!/usr/bin/env python3
"""Report which backends work on this machine, on what devices, and where data would come from."""

import _environment  # noqa: F401, I001 (first: it explains a missing installation)
import argparse
import json
import sys

from rich.markup import escape
from rich.table import Table

from common.backends.registry import BACKENDS, check_name, names
from common.system import doctor
from common.terminal import command_line
from common.terminal.output import console

EXAMPLES = """\
examples:
  doctor.py                      a look at the machine; put its output into a bug report
  doctor.py --backend mxnet      only that backend; exit status 1 if it does not work
  doctor.py --json               the same as JSON
"""


def parser() -> command_line.Parser:
    """The command line of this script."""
    p = command_line.Parser("Look at this machine.", EXAMPLES)
    p.add_argument(
        "--backend",
        action="append",
        default=[],
        metavar="NAME",
        help=f"look only at {', '.join(BACKENDS)} or all, and exit with 1 if it does not work; "
        "may be repeated",
    )
    p.add_argument("--json", action="store_true", help="print JSON")
    command_line.add_python(p)
    return p


def command(options: argparse.Namespace) -> int:
    """Report; returns the exit status."""
    wanted = list(BACKENDS) if "all" in options.backend else options.backend
    for name in wanted:
        check_name(name)
    report = doctor.examine(wanted or names(), options.python)
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        show(report)
    missing = [name for name in wanted if not report["backends"][name]["works"]]
    for name in missing:
        print(f"error: {report['backends'][name]['reason']}", file=sys.stderr)
    return 1 if missing else 0


def show(report: dict) -> None:
    """Print the report for a person."""
    shown = console(140)
    machine = Table("machine", "", show_header=False, title="machine", title_justify="left")
    # Python's version is among those of the packages too
    rows = {**report["machine"], **report["environment"], **report["packages"]}
    for name, value in {**rows, "git commit": report["git_commit"]}.items():
        machine.add_row(name, escape(str(value)))
    shown.print(machine)

    found = Table("backend", "works", "versions", "devices", "import", title="backends",
                  title_justify="left")  # fmt: skip
    for name, backend in report["backends"].items():
        if backend["works"]:
            versions = ", ".join(f"{key} {value}" for key, value in backend["versions"].items())
            devices = ", ".join(backend["devices"])
            found.add_row(name, "yes", versions, devices, f"{backend['import_seconds']} s")
        else:
            found.add_row(name, "no", escape(backend["reason"]), "", "")
    shown.print(found)

    places = Table("data", "directory", "state", title="data, in the order of search",
                   title_justify="left")  # fmt: skip
    for place in report["data"]:
        places.add_row(*(escape(place[key]) for key in ("place", "directory", "state")))
    shown.print(places)


if __name__ == "__main__":
    command_line.run(command, parser())
