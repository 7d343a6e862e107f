"""The pages on security name what is there: tables, encrypted columns, queues, settings, tests."""

import ast
import re
from functools import cache
from typing import Any

from onboarding_worker.core.database.schema import all_tables
from onboarding_worker.settings.model import Broker, Retention
from onboarding_worker.settings.outside import REQUESTS, Bus
from onboarding_worker.settings.queue_names import QUEUES
from onboarding_worker.wiring.store.encrypted_columns import DIGESTS, ENCRYPTED
from tests.deploy.compose_file import ROOT
from tests.deploy.test_pages import of_no_feature

SEALED = [*(column.value for column in ENCRYPTED), *(column.digest for column in DIGESTS)]
PAGES = ("threat-model", "data-map", "asvs", "questionnaire")
ANSWERS = ("yes", "partly", "not yet", "yours")


def page(name: str) -> str:
    return (ROOT / "docs/security" / f"{name}.md").read_text("utf-8")


def rows(text: str, columns: int) -> list[list[str]]:
    """The rows of the tables with so many columns, without their headers."""
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    rules = [number for number, row in enumerate(cells) if set("".join(row)) <= set("-| ")]
    heads = {number - 1 for number in rules}
    return [
        row for number, row in enumerate(cells) if number not in heads and number not in rules and len(row) == columns
    ]


def name(column: Any) -> str:
    return f"{column.table.name}.{column.key}"


@cache
def names_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds) and node.name.startswith("test_")}


def test_the_data_map_has_each_table():
    section = page("data-map").partition("## Tables")[2].partition("\n## ")[0]
    named = {name for line in section.splitlines() for name in re.findall(r"`(\w+)`", line.partition(" | ")[0])}

    assert {table.name for table in all_tables()} <= named


COLUMNS = sorted({name(column) for column in SEALED})


def test_the_data_map_has_each_encrypted_column_and_each_hash():
    assert [column for column in COLUMNS if f"`{column}`" not in page("data-map")] == []


def test_the_data_map_has_each_queue_and_each_time_of_retention():
    prefix = Broker.model_fields["prefix"].default
    queues = (*(prefix + queue for queue in QUEUES), REQUESTS, Bus.model_fields["queue"].default)
    assert not [queue for queue in queues if f"`{queue}`" not in page("data-map")]
    assert not [field for field in Retention.model_fields if f"`retention.{field}`" not in page("data-map")]


def test_each_test_that_a_page_names_is_there():
    text = "\n".join(map(page, PAGES))
    named = [one for one in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text) if not of_no_feature(one[0])]

    assert named
    assert not [f"{file}::{test}" for file, test in named if test not in names_in(file)]
    files = re.findall(r"`(tests/[\w/]+\.py)`", text)
    assert not [file for file in files if not (ROOT / file).exists() and not of_no_feature(file)]


def test_each_requirement_has_a_test_and_comes_once():
    met = rows(page("asvs").partition("## Not met")[0], 3)

    assert len(met) > 50
    assert not [row for row in met if not re.fullmatch(r"`tests/[\w/]+\.py::test_\w+`", row[2])]
    points = [point for row in met + rows(page("asvs").partition("## Not met")[2], 3) for point in row[0].split(", ")]
    assert len(points) == len(set(points))


def test_each_question_has_one_of_the_answers_and_says_more():
    answered = rows(page("questionnaire"), 3)

    assert len(answered) > 30
    assert not [row for row in answered if row[1] not in ANSWERS or not row[2]]


def test_security_md_leads_to_each_page():
    assert [
        name for name in PAGES if f"(docs/security/{name}.md)" not in (ROOT / "SECURITY.md").read_text("utf-8")
    ] == []
