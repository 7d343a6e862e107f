"""`make newest`: which versions it tries."""

import tomllib

from deploy.newest import PROJECT, lines, wanted


def test_all_that_the_project_needs_is_asked_for_with_its_bounds():
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    asked = wanted(project)

    assert {*project["dependencies"], *project["optional-dependencies"]["parquet"]} <= {*asked}
    assert any(one.startswith("celery") and "<" in one for one in asked)


def test_each_newer_version_is_a_requirement_that_says_what_the_lock_has():
    report = {"install": [{"metadata": {"name": name, "version": "2.1"}} for name in ("pydantic", "brand-new")]}

    made = lines(report, {"pydantic": "2.0", "aiohttp": "3.14.5"})

    assert made == ["pydantic==2.1  # the lock has 2.0", "brand-new==2.1  # the lock has none"]
    assert lines({"install": []}, {}) == []
