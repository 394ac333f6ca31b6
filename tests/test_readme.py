"""The READMEs are equal in content, and what they and the pages in docs/ point to exists."""

import re
import subprocess

import pytest
from commands import ROOT

LANGUAGES = ("README.md", "README.tr.md")
PAGES = sorted(path.relative_to(ROOT) for path in [*ROOT.glob("*.md"), *ROOT.rglob("docs/**/*.md")])


def readme(name):
    return (ROOT / name).read_text()


def test_both_languages_have_the_same_blocks_in_the_same_order():
    kinds = [
        [("#" if part.startswith("#") else part[0]) for part in readme(name).split("\n\n")]
        for name in LANGUAGES
    ]
    plain = [[kind if kind in "#!`|" else "text" for kind in each] for each in kinds]
    assert plain[0] == plain[1]


@pytest.mark.parametrize("what", ["code", "shell", "links"])
def test_both_languages_have_the_same_commands_and_links_in_the_same_order(what):
    pattern = {"code": r"`([^`\n]+)`", "shell": r"```sh\n(.*?)```", "links": r"\]\(([^)]+)\)"}[what]
    found = [re.findall(pattern, readme(name), re.DOTALL) for name in LANGUAGES]
    # each points to the other
    found = [
        [item.replace(".tr.", ".") for item in each if item not in LANGUAGES] for each in found
    ]
    assert found[0]
    assert found[0] == found[1]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_what_a_page_links_to_exists(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text()):
        if re.match(r"\w+:|#", target):
            continue
        assert ((ROOT / page).parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_shows_the_pictures_of_its_language(page):
    shown = re.findall(r"!\[[^]]*\]\(([^)\s]+\.(?:png|svg))\)", (ROOT / page).read_text())
    for picture in shown:
        assert (".tr." in picture) == page.name.endswith(".tr.md"), picture


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_what_a_page_names_as_a_script_exists(page):
    for script in re.findall(r"\bscripts/([a-z_]+\.py)", (ROOT / page).read_text()):
        assert (ROOT / "scripts" / script).exists(), script


def test_the_readme_fits_on_two_screens():
    assert len(readme("README.md").splitlines()) <= 80


def test_no_page_names_a_path_of_a_machine():
    done = subprocess.run(
        ["git", "grep", "-nE", "/(home|root|work)/[a-z]", "--", "*.md"],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.stdout == ""
