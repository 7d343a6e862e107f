"""Public collections of bad input, read from the folder that BAD_INPUT names, to find what our own rules miss; and each
as a list, which has one result in each format."""

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

from onboarding_worker.core.foundation.notation import spreadsheet_safe
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.lists.accept import accept
from onboarding_worker.lists.formats.csv_list import records
from onboarding_worker.lists.lines import AcceptedLine
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.lists.phone_numbers import phone
from onboarding_worker.lists.rules import COLUMNS, email
from onboarding_worker.lists.warned import problems_csv
from onboarding_worker.providers.values import Refusal
from tests.lists.formats.files import csv_of, workbook
from tests.lists.kinds import ACCEPTED, DUPLICATE, kind_of
from tests.suite.of_features import needs
from tests.suite.some import some

BAD_INPUT = os.environ.get("BAD_INPUT", "")
pytestmark = pytest.mark.skipif(not BAD_INPUT, reason="BAD_INPUT names no folder with collections of bad input")
FOLDER = Path(BAD_INPUT)
OPTIONS = ListOptions(today=date(2026, 11, 20))
Rows = list[tuple[Any, ...]]


def naughty(*, all_of_them: bool = False) -> list[str]:
    """Without `all_of_them`: those that XML can hold."""
    strings = json.loads((FOLDER / "blns" / "blns.json").read_text(encoding="utf-8"))
    return [text for text in strings if all_of_them or not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", text)]


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


def test_naughty_strings_crash_no_column_and_are_never_repeated():
    strings = naughty(all_of_them=True)
    assert len(strings) > 500
    for text in strings:
        for column in COLUMNS:
            line = accept(2, {"customer_id": "A1", "channel": "none"} | {column: text}, OPTIONS)
            shown = str(line.problems) if not isinstance(line, AcceptedLine) else repr(line.customer.person)
            assert len(text) < 12 or text not in shown


def test_naughty_strings_come_out_of_a_list_as_they_went_in():
    strings = naughty(all_of_them=True)
    content = csv_of(*([text, "A1"] for text in strings), quoting=csv.QUOTE_ALL).decode()
    found = [cells for _, cells in records(io.StringIO(content, newline=""), ",")]
    assert found == [[text, "A1"] for text in strings]


def test_a_list_of_naughty_names_loses_no_customer():
    strings = naughty(all_of_them=True)
    lines = list(open_list(io.BytesIO(csv_of(*names(strings))), OPTIONS))
    assert [line.row for line in lines] == list(range(2, len(strings) + 2))


@needs("spreadsheets")
def test_a_workbook_of_naughty_names_has_the_results_of_the_csv_file():
    """Characters that XML has no place for are left out of both lists."""
    rows = names([text.replace("\r", "") for text in naughty()])
    expected = list(open_list(io.BytesIO(csv_of(*rows)), OPTIONS))
    assert list(open_list(io.BytesIO(workbook(*rows)), OPTIONS)) == expected
    assert len(expected) > 500
    assert sum(isinstance(line, AcceptedLine) for line in expected) > 400


@needs("spreadsheets")
def test_no_payload_in_a_workbook_is_calculated_or_changed():
    lines = list(open_list(io.BytesIO(workbook(*names(payloads()))), OPTIONS))
    found = [line.customer.person.first_name for line in lines if isinstance(line, AcceptedLine)]
    assert found == [text.strip() for text in payloads() if len(text) <= 100]
    assert len(lines) == len(payloads())


def test_every_address_that_isemail_calls_an_error_is_rejected():
    tests = ElementTree.parse(FOLDER / "isemail" / "test" / "tests.xml").getroot().findall("test")  # noqa: S314 - our own
    errors = 0
    for test in some(tests):
        address = re.sub("[\u2400-\u2421]", lambda sign: chr(ord(sign[0]) - 0x2400), test.findtext("address") or "")
        if test.findtext("category") == "ISEMAIL_ERR":
            errors += 1
            assert not address or isinstance(email(address), Refusal), test.get("id")
    assert errors > 60


def test_a_csv_file_means_what_its_collection_says(subtests):
    paths = sorted((FOLDER / "csv-spectrum" / "csvs").glob("*.csv"))
    assert paths
    for path in paths:
        with subtests.test(case=path.stem):
            meaning = path.parent.parent / "json" / f"{path.stem}.json"
            expected = json.loads(meaning.read_text(encoding="utf-8", errors="replace"))
            with path.open(encoding="utf-8", errors="replace", newline="") as file:
                (_, header), *rows = records(file, ",")
            found = [dict(zip(header, cells, strict=True)) for _, cells in rows if cells]
            if path.stem == "location_coordinates":  # its JSON is one object, with another phone number than its CSV
                expected = [expected | {"Contact Phone Number": "2095257564"}]
            assert found == expected


def test_no_payload_stays_a_formula():
    assert len(payloads()) > 5
    out = io.StringIO(newline="")
    problems_csv(out, [(2, FieldProblem(payload, payload, payload), "error") for payload in payloads()])
    for row in some(list(csv.reader(io.StringIO(out.getvalue(), newline="")))[1:]):
        assert not any(cell[:1] in ("=", "+", "-", "@", "\t", "\r") for cell in row)
    assert all(spreadsheet_safe(payload).lstrip("'") == payload.lstrip("'") for payload in payloads())


def test_example_numbers_of_every_country_are_accepted():
    assert len(numbers()) > 1000
    for row in numbers():
        number = f"+{row['country_code']}{row['national_example']}"
        kept = phone(number, "")
        if isinstance(kept, Refusal):  # company-wide numbers of four digits, and two of an older plan
            assert row["type"] in ("uan", "voip"), row
        else:
            assert kept == number, row


# Each collection, written as lists.


def as_json_lines(header: Sequence[str], *rows: Sequence[Any]) -> bytes:
    return "\n".join(json.dumps(dict(zip(header, row, strict=True))) for row in rows).encode()


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
    "the same, `customer_id`": (509, 369, 135, 5),
    "isemail's": (164, 29, 135, 0),
    "libphonenumber's": (1074, 1070, 4, 0),
    "the same, as numbers": (1074, 1039, 35, 0),
    "csv-injection's": (6, 6, 0, 0),
}


@pytest.mark.parametrize("write", [csv_of, as_json_lines, pytest.param(workbook, marks=needs("spreadsheets"))])
def test_a_public_collection_has_the_same_counts_in_each_format(write):
    assert {name: counts(write(*rows())) for name, rows in COLLECTIONS.items()} == COUNTS
