"""The counts of docs/inside/proofs.md: public collections, written as lists, have one result in each format."""

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

from tests.domain.intake.formats.files import spreadsheet, workbook
from worker.domain.intake import Accepted, Duplicate, ListOptions, open_list

BAD_INPUT = os.environ.get("BAD_INPUT", "")
pytestmark = pytest.mark.skipif(not BAD_INPUT, reason="BAD_INPUT names no folder with collections of bad input")
FOLDER = Path(BAD_INPUT)
PAGE = Path(__file__).parents[3] / "docs" / "inside" / "proofs.md"
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


def documented() -> dict[str, tuple[int, ...]]:
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        what, *counts = [cell.strip() for cell in line.strip("|").split("|")]
        for name in COLLECTIONS:
            if what.startswith(name) and len(counts) == 4:
                found[name] = tuple(int(count.replace(",", "")) for count in counts)
    return found


def counts(content: bytes) -> tuple[int, ...]:
    kinds = Counter(type(line) for line in open_list(io.BytesIO(content), OPTIONS))
    accepted, duplicates = kinds[Accepted], kinds[Duplicate]
    return kinds.total(), accepted, kinds.total() - accepted - duplicates, duplicates


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_public_collection_has_the_documented_counts_in_each_format(name):
    rows = COLLECTIONS[name]()
    found = {write.__name__: counts(write(*rows)) for write in (as_csv, as_json_lines, workbook, spreadsheet)}
    assert found == dict.fromkeys(found, documented()[name])
