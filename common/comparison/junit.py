"""A comparison as JUnit's XML, which continuous integration shows as a list of tests."""

import re
import xml.etree.ElementTree as ET

from common.comparison.levels import Comparison, Level

# what XML 1.0 cannot hold
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# level's status -> what the level's own test case then holds
STATES = {"failed": "error", "refused": "error", "not compared": "skipped"}


def junit(report: Comparison) -> str:
    """The XML: a test suite for each level, in it a test case for each layer or parameter.

    The steps of the training are one case. A level without tables is one case, and so is a backend
    that could not run, in the suite ``backends``.
    """
    root = ET.Element("testsuites", name=f"comparison of {', '.join(report.backends)}")
    suite = ET.SubElement(root, "testsuite", name="backends")
    facts = [
        (f"{name}.{what}", str(value))
        for name, about in report.backends.items()
        for what, value in about.items()
    ]
    properties = ET.SubElement(suite, "properties")
    for name, value in [("verdict", report.verdict), *facts]:
        ET.SubElement(properties, "property", name=name, value=value)
    for name in report.backends:
        _add_case(suite, name)
    for name, reason in report.lost.items():
        _add_case(suite, name, "error", reason)
    for level in report.levels:
        _add_level(ET.SubElement(root, "testsuite", name=level.name), level)
    for suite in root:
        cases = suite.findall("testcase")
        suite.set("tests", str(len(cases)))
        for kind, attribute in (("failure", "failures"), ("error", "errors"), ("skipped",) * 2):
            suite.set(attribute, str(len(suite.findall(f"testcase/{kind}"))))
        suite.set("time", "0")
    for attribute in ("tests", "failures", "errors"):
        root.set(attribute, str(sum(int(suite.get(attribute, 0)) for suite in root)))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_level(suite: ET.Element, level: Level) -> None:
    bad: dict[str, list[str]] = {}
    for table in level.tables:
        for row in table.rows:
            name = "losses" if row.name.startswith("step ") else row.name
            where = f"{row.name}, {table.title}" if table.title else row.name
            cells = [f"{where}: {column}: {row.cells[column]}" for column in row.deviating]
            bad.setdefault(name, []).extend(cells)
    for name, lines in bad.items():
        _add_case(suite, name, "failure" if lines else None, *lines)
    if level.status in STATES or not bad:
        _add_case(suite, "level", STATES.get(level.status), level.status, *level.notes)


def _add_case(suite: ET.Element, name: str, kind: str | None = None, *lines: str) -> None:
    case = ET.SubElement(suite, "testcase", name=name, classname=suite.get("name", ""), time="0")
    lines = tuple(FORBIDDEN.sub("?", line) for line in lines)
    if kind is not None:
        found = ET.SubElement(case, kind, message=lines[0])
        if kind != "skipped":
            found.set("type", "NinError" if kind == "error" else "deviation")
        found.text = "\n".join(lines)
