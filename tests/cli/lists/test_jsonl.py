"""Lists of JSON objects, from `check` to the mailbox."""

import json
from datetime import datetime, timedelta

import pytest

from tests.desk.desk import Desk, Played, customers

EVERY_END = [
    {"customer_id": "A-1", "email": "one@example.com", "country": "DE", "idenfy-kyc": {"expiryTime": 172800}},
    {"customer_id": "A-2", "email": "nobody", "colour": "red"},
    {"customer_id": "A-1", "email": "one@example.com"},
]


def lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_json_lines_are_run_as_csv_is_and_parameters_arrive_with_their_types(desk: Desk, played: Played):
    ended = desk.onboard("run", desk.write("list.jsonl", lines(EVERY_END)), "--json")
    assert ended.code == 1
    facts = ended.facts
    assert facts["name"] == "list.jsonl"
    rows = facts["rows"]
    assert (rows["total"], rows["invited"], rows["rejected"], rows["duplicate"]) == (3, 1, 1, 1)
    (call,) = played.calls("idenfy-kyc")
    assert call["client"] == "A-1"
    report = desk.onboard("report", "latest").table
    assert [line["row"] + line["state"] for line in report] == ["1invited", "2rejected", "3duplicate"]
    # The lifetime that the row asked for, as a number: the provider refuses it as text.
    issued, expires = (datetime.fromisoformat(report[0][at]) for at in ("issued_at", "expires_at"))
    assert timedelta(hours=47) < expires - issued < timedelta(hours=49)


def test_check_numbers_problems_by_line_and_names_them_all(desk: Desk):
    ended = desk.onboard("check", desk.write("list.ndjson", "\n\n" + lines(EVERY_END)), "--json")
    assert [(one["row"], one["column"]) for one in ended.facts["problems"]] == [
        (4, "colour"),
        (4, "email"),
        (5, "customer_id"),
    ]


def test_an_unknown_key_can_be_mapped_or_ignored(desk: Desk):
    listed = desk.write("list.jsonl", lines([{"id": "A-1", "Mail": "one@example.com", "colour": 1}]))
    refused = desk.onboard("check", listed)
    assert refused.code == 1
    for words in ("--map id=customer_id", "--map Mail=email", "--ignore-column colour"):
        assert words in refused.out
    ways_out = ("--map", "id=customer_id", "--map", "Mail=email", "--ignore-column", "colour")
    assert desk.onboard("check", listed, *ways_out).code == 0


def test_format_decides_where_the_name_does_not(desk: Desk):
    rows = customers(3)
    listed = desk.write("list.dat", lines(rows))
    assert desk.onboard("check", listed, "--json").facts["rows"]["accepted"] == 3
    assert desk.onboard("check", listed, "--format", "csv").code == 2
    listed = desk.list_of(rows, "list.jsonl")
    assert desk.onboard("check", listed, "--format", "csv", "--json").facts["rows"]["accepted"] == 3
    ended = desk.onboard("check", listed)
    assert (ended.code, ended.out) == (2, "")
    assert "--format csv" in ended.err
    assert desk.onboard("check", listed, "--format", "xlsx").code == 2


def test_strict_takes_nothing_of_json_lines_with_a_refused_one(desk: Desk, played: Played):
    ended = desk.onboard("run", desk.write("list.jsonl", lines(EVERY_END)), "--strict")
    assert ended.code == 2
    assert "1 of 3 rows" in ended.err
    assert played.calls() == []


@pytest.mark.parametrize("option", [("--delimiter", ";"), ("--encoding", "cp1252")])
def test_options_of_csv_are_refused_with_json_lines(desk: Desk, option: tuple[str, str]):
    ended = desk.onboard("check", desk.write("list.jsonl", lines(EVERY_END)), *option)
    assert ended.code == 2
    assert option[0] in ended.err
