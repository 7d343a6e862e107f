"""How large each part may be: size.toml. A number may fall at any time, and rises only in a commit that edits it.

`python -m tests.deploy.test_size` writes the file anew, and keeps each number that still holds.
"""

import tomllib
from collections.abc import Iterable
from pathlib import Path

from tests.suite.packages import ROOT

FILE = ROOT / "size.toml"
HEAD = """\
# The most lines of Python, and words of pages, that each part may have. tests/deploy/test_size.py compares: no part may
# be larger, and no number more than 3 % (or 60) above its part. Who raises one edits it in the same commit:
# `python -m tests.deploy.test_size` writes what must change. A feature may have 4,000 lines.
"""
MOST_OF_A_FEATURE = 4000
OF_THE_CODE = "docs/reference/commands.md"  # made of the code's own words, which are lines there
OF_FEATURES = {"features", "feature_tests", "feature_pages"}
Sizes = dict[str, dict[str, int]]


def lines(files: Iterable[Path]) -> int:
    return sum(file.read_bytes().count(b"\n") for file in files)


def words(pages: Iterable[Path]) -> int:
    return sum(len(page.read_text(encoding="utf-8").split()) for page in pages)


def now() -> Sizes:
    """By table and part."""
    worker, tests, docs = ROOT / "worker", ROOT / "tests", ROOT / "docs"
    rooms = [path for path in sorted(worker.iterdir()) if (path / "__init__.py").exists()]
    features = [path.parent for path in sorted(worker.glob("features/*/__init__.py"))]
    theirs = [docs / f"features/{one.name}.md" for one in features]
    shared_pages = (page for page in docs.rglob("*.md") if page not in (*theirs, ROOT / OF_THE_CODE))
    shared = (test for test in tests.rglob("*.py") if test.relative_to(tests).parts[:1] != ("features",))
    return {
        "lines": {
            "core": lines((worker / "core").rglob("*.py")),
            "onboarding_sandbox": lines((ROOT / "onboarding_sandbox").rglob("*.py")),
            "onboarding_testing": lines((ROOT / "onboarding_testing").rglob("*.py")),
            "tests": lines(shared),
        },
        "words": {"docs": words(shared_pages)},
        "edges": {room.name: lines(room.rglob("*.py")) for room in rooms if room.name not in ("core", "features")},
        "features": {one.name: lines(one.rglob("*.py")) for one in features},
        "feature_tests": {one.name: lines((tests / "features" / one.name).rglob("*.py")) for one in features},
        "feature_pages": {page.stem: words([page]) for page in theirs if page.exists()},
    }


def above(size: int, percent: int, least: int) -> int:
    return size + max(size * percent // 100, least)


def holds(most: int, size: int) -> bool:
    return size <= most <= above(size, 3, 60)


def written(before: Sizes) -> str:
    """The file as it should be."""
    text = HEAD
    for table, parts in now().items():
        text += f"\n[{table}]\n"
        for name, size in parts.items():
            most = before.get(table, {}).get(name, 0)
            text += f"{name} = {most if holds(most, size) else above(size, 1, 20)}\n"
    return text


def read() -> Sizes:
    return tomllib.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def test_no_part_is_larger_than_its_number_and_no_number_is_far_above_its_part():
    allowed = read()
    wrong = {
        f"{table}: {name}": (size, allowed[table].get(name, 0))
        for table, parts in now().items()
        for name, size in parts.items()
        if not holds(allowed[table].get(name, 0), size)
    }
    assert wrong == {}, "smaller, or a new number: `python -m tests.deploy.test_size` writes it"


def test_the_file_has_no_part_that_is_gone():
    """A feature may be taken out: then its numbers are not compared."""
    here = now()
    assert read().keys() == here.keys()
    for table in here.keys() - OF_FEATURES:
        assert read()[table].keys() == here[table].keys()


def test_no_feature_has_more_than_4000_lines():
    assert [name for name, size in now()["features"].items() if size > MOST_OF_A_FEATURE] == []
    assert [name for name, most in read()["features"].items() if most > MOST_OF_A_FEATURE] == []


if __name__ == "__main__":
    FILE.write_text(written(read()), encoding="utf-8")
