#!/usr/bin/env python3
"""Print the book's shape walk for one backend, or for all side by side."""

import _environment  # noqa: F401, I001 (first: it explains a missing installation)
import argparse
from pathlib import Path

from rich.table import Table

from common.comparison import shapes
from common.terminal import command_line
from common.terminal.output import console
from common.backends import registry, session
from common.backends.registry import BACKENDS
from common.files.paths import check_target
from common.files.write import write_json
from common.network import architecture, description
from common.settings import check_resize

EXAMPLES = """\
examples:
  shapes.py --backend mxnet --lang tr    the book's lines, byte for byte
  shapes.py --backend all                the three backends in one table
  shapes.py --backend torch --resize 68
  shapes.py --backend all --network no-1x1         a variant from the exercises

exit status: 0, or 1 when the backends differ (all), or 2 when it could not run.
"""


def parser() -> command_line.Parser:
    """The command line of this script."""
    p = command_line.Parser("Print the output shape of every layer.", EXAMPLES)
    p.add_argument(
        "--backend", default="torch", metavar="NAME", help=f"{', '.join(BACKENDS)} (torch) or all"
    )
    p.add_argument("--resize", type=int, default=224, metavar="PIXELS", help="image size (224)")
    command_line.add_network(p)
    command_line.add_language(p, "the lines")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the shapes there as well")
    command_line.add_python(p)
    return p


def command(options: argparse.Namespace) -> int:
    """Print the shapes; returns the exit status."""
    network = description.parse(options.network)
    check_resize(options.resize, network)
    check_target(options.json, "json")
    everything = options.backend == "all"
    names = list(BACKENDS) if everything else [options.backend]
    for name in names:
        registry.check_spec(name)
    labels = [registry.label(name) for name in names]
    python = session.interpreters(labels, options.python)
    walks = {
        label: shapes.walk_apart(name, options.resize, python[label], options.network)
        for name, label in zip(names, labels, strict=True)
    }
    for name, layers in walks.items():
        if everything:
            print(f"{name}:")
        print("\n".join(shapes.book_lines(layers, options.lang)), flush=True)
        if everything:
            print(flush=True)

    if about_size := architecture.note_on_size(options.resize, network):
        command_line.show_line("note", parser().in_options(about_size))

    first_difference = None
    if everything:
        rows, first_difference = shapes.side_by_side(walks, options.resize, network)
        table = Table("layer", "on paper", *walks, title="batch x channels x height x width")
        for row in rows:
            table.add_row(*row)
        console().print(table)
        print(
            f"the first difference is in {first_difference}"
            if first_difference
            else "the backends agree"
        )
    if options.json:
        report = {
            "network": str(network),
            "resize": options.resize,
            "backends": walks,
            "first_difference": first_difference,
        }
        write_json(options.json, report)
    return 1 if first_difference else 0


if __name__ == "__main__":
    command_line.run(command, parser())
