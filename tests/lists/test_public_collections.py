"""Public collections of odd input, written as lists, have one result in each format."""

import csv
import io
import json
import os
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.lists.formats.files import workbook
from tests.lists.kinds import ACCEPTED, DUPLICATE, kind_of
from tests.suite.of_features import needs
from worker.lists.listing import open_list
from worker.lists.options import ListOptions

BAD_INPUT = os.environ.get("BAD_INPUT", "")
pytestmark = pytest.mark.skipif(not BAD_INPUT, reason="BAD_INPUT names no folder with collections of bad input")
FOLDER = Path(BAD_INPUT)
OPTIONS = ListOptions(today=date(2026, 11, 20))
Rows = list[tuple[Any, ...]]


def as_csv(*rows: Sequence[Any]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def as_json_lines(header: Sequence[str], *rows: Sequence[Any]) -> bytes:
    return "\n".join(json.dumps(dict(zip(header, row, strict=True))) for row in rows).encode()


def naughty() -> list[str]:
    strings = json.loads((FOLDER / "blns" / "blns.json").read_text(encoding="utf-8"))
    return [text for text in strings if not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", text)]


def addresses() -> list[str]:
    """With the signs that the collection writes for control characters: XML has no place for the characters."""
    tests = ElementTree.parse(FOLDER / "isemail" / "test" / "tests.xml").getroot().findall("test")  # noqa: S314 - our own
    return [test.findtext("address") or "" for test in tests]


def numbers() -> list[dict[str, str]]:
    with (FOLDER / "libphonenumber" / "example_numbers.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def payloads() -> list[str]:
    return (FOLDER / "csv-injection" / "Intruder" / "csv-payload.txt").read_text(encoding="utf-8").splitlines()


def names(texts: list[str]) -> Rows:
    return [("customer_id", "channel", "first_name"), *((f"A{n}", "none", text) for n, text in enumerate(texts))]


COLLECTIONS: dict[str, Callable[[], Rows]] = {
    "big-list-of-naughty-strings, `first_name`": lambda: names(naughty()),
    "the same, `email`": lambda: [("customer_id", "email"), *((f"A{n}", text) for n, text in enumerate(naughty()))],
    "the same, `customer_id`": lambda: [("customer_id", "channel"), *((text, "none") for text in naughty())],
    "isemail's": lambda: [("customer_id", "email"), *((f"A{n}", text) for n, text in enumerate(addresses()))],
    "libphonenumber's": lambda: [
        ("customer_id", "phone"),
        *((f"A{n}", f"+{one['country_code']}{one['national_example']}") for n, one in enumerate(numbers())),
    ],
    "the same, as numbers": lambda: [
        ("customer_id", "phone", "country"),
        *((f"A{n}", int(one["national_example"]), one["region"]) for n, one in enumerate(numbers())),
    ],
    "csv-injection's": lambda: names(payloads()),
}


def counts(content: bytes) -> tuple[int, ...]:
    kinds = Counter(kind_of(line) for line in open_list(io.BytesIO(content), OPTIONS))
    accepted, duplicates = kinds[ACCEPTED], kinds[DUPLICATE]
    return kinds.total(), accepted, kinds.total() - accepted - duplicates, duplicates


# Rows, and of them accepted, rejected and duplicates. The first is without 6 strings that XML cannot hold.
COUNTS = {
    "big-list-of-naughty-strings, `first_name`": (509, 487, 22, 0),
    "the same, `email`": (509, 0, 509, 0),
    "the same, `customer_id`": (509, 388, 118, 3),
    "isemail's": (164, 29, 135, 0),
    "libphonenumber's": (1074, 1070, 4, 0),
    "the same, as numbers": (1074, 1039, 35, 0),
    "csv-injection's": (6, 6, 0, 0),
}


@pytest.mark.parametrize("write", [as_csv, as_json_lines, pytest.param(workbook, marks=needs("spreadsheets"))])
def test_a_public_collection_has_the_same_counts_in_each_format(write):
    assert {name: counts(write(*rows())) for name, rows in COLLECTIONS.items()} == COUNTS
