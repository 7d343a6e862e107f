"""The pages that code, configuration and other pages refer to."""

import re
from pathlib import Path

from tests.suite.packages import CODE, PACKAGES, ROOT

KINDS = ("*.py", "*.toml", "*.yml", "*.md", "Makefile", "Dockerfile")
PLACES = (*PACKAGES, "migrations", "docs", "examples", "tests")


def texts() -> dict[Path, str]:
    files = [file for place in PLACES for kind in KINDS for file in (ROOT / place).rglob(kind)]
    files += [file for kind in KINDS for file in ROOT.glob(kind)]
    return {file: file.read_text(encoding="utf-8") for file in files}


def of_no_feature(place: str) -> bool:
    """A page or test of a feature that was taken out, or of the one that docs/how-to/adding-a-feature.md makes."""
    parts = Path(place).with_suffix("").parts
    return parts[1] == "features" and not (ROOT / "worker/features" / parts[2]).is_dir()


def test_every_page_that_is_pointed_at_is_there():
    pointed = {(page, file) for file, text in texts().items() for page in re.findall(r"docs/[a-z\d./-]+\.md", text)}

    assert len(pointed) > 5
    assert sorted({page for page, _ in pointed if not (ROOT / page).exists() and not of_no_feature(page)}) == []


def test_every_test_that_a_page_about_the_inside_names_is_there():
    pages = {file: text for file, text in texts().items() if file.is_relative_to(ROOT / "docs/inside")}
    named = {file for text in pages.values() for file in re.findall(r"\b(?:tests|trials|benchmarks)/[\w/]+\.py", text)}

    assert len(named) > 3
    assert sorted(file for file in named if not (ROOT / file).exists() and not of_no_feature(file)) == []


def test_no_code_points_at_a_text_that_is_not_in_the_repository():
    """The briefs that the work began with, and their own numbers."""
    elsewhere = re.compile(r"(?<![\w/-])providers\.md|\bDESIGN\b|\bseed S\d|\bseeds/")
    code = {file.relative_to(ROOT): file.read_text(encoding="utf-8") for file in CODE}

    assert len(code) > 100
    assert sorted(str(file) for file, text in code.items() if elsewhere.search(text)) == []


def test_a_decision_is_short_and_has_its_number():
    pages = {page.stem: page.read_text(encoding="utf-8") for page in (ROOT / "docs/decisions").glob("0*.md")}
    words = {name: len(text.split()) for name, text in pages.items()}

    assert pages
    assert {name for name, text in pages.items() if not re.match(rf"# {name[:4]}\. \S", text)} == set()
    assert {name: number for name, number in words.items() if number > 250} == {}
