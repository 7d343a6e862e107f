"""`onboard reconcile`: planted differences are found, and none is invented."""

import copy
import csv
import io
import json
import os
import shutil
import urllib.request
from pathlib import Path

import pytest

from tests.desk.desk import Desk, Played, customers
from tests.suite.of_features import needs

Rows = list[dict[str, str]]
FILES = ("idenfy", "frankieone", "twilio", "smtp")
ALL = ("--provider", "idenfy.csv", "--provider", "frankieone.csv", "--sender", "smtp.csv", "--sender", "twilio.csv")
UNREACHABLE = (57, 58, 59)  # their addresses are suppressed: no session was issued, and no message left


def fetched(played: Played, name: str) -> Rows:
    with urllib.request.urlopen(f"{played.sandbox.url}/_sandbox/exports/{name}.csv") as answer:  # noqa: S310
        return list(csv.DictReader(io.StringIO(answer.read().decode())))


def run_against_the_sandbox(desk: Desk, played: Played) -> dict[str, Rows]:
    """Run a batch, and return what the sandbox lists of it afterwards."""
    rows = customers(60, au=12)
    for n, row in enumerate(rows[:50]):
        row["phone"] = f"+3706{n:07}"
        row["channel"] = ("email", "both", "sms")[n % 3]
    desk.change('provider = "idenfy-kyc"', 'provider = "idenfy-kyc"\nprice = "0.90 EUR"')
    for n in UNREACHABLE:
        desk.onboard("suppress", f"box{n}@example.com")
    desk.onboard("run", desk.list_of(rows))
    found = {name: fetched(played, name) for name in FILES}
    assert [len(rows) for rows in found.values()] == [45, 12, 33, 41]
    return found


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Rows]]:
    """The directory after the run, made once: comparing changes nothing in it."""
    played, made = Played(), Desk(tmp_path_factory.mktemp("run"))
    try:
        ports = ("--port", str(played.sandbox.port), "--smtp-port", str(played.sandbox.smtp_port))
        made.onboard("init", "--sandbox", *ports)
        return made.path, run_against_the_sandbox(made, played)
    finally:
        played.close()


@pytest.fixture
def books(prepared: tuple[Path, dict[str, Rows]], bare: Desk) -> dict[str, Rows]:
    """What the sandbox lists of the batch 1 of `bare`. A test changes it, and writes it."""
    path, found = prepared
    shutil.copytree(path, bare.path, dirs_exist_ok=True)
    again = copy.deepcopy(found)
    write(bare, again)
    return again


def write(desk: Desk, books: dict[str, Rows]) -> None:
    for name, rows in books.items():
        desk.list_of(rows, f"{name}.csv")


def test_books_that_agree_have_no_difference(bare: Desk, books: dict[str, Rows]):
    ended = bare.onboard("reconcile", "latest", *ALL)

    assert (ended.code, ended.err) == (0, "")
    assert "57 sessions and 74 messages that left, compared with 57 rows of the provider and 74" in ended.out
    assert ended.out.endswith("no difference\n")


def test_thirty_planted_differences_are_found_and_none_is_invented(bare: Desk, books: dict[str, Rows]):
    idenfy, frankieone, twilio, smtp = (books[name] for name in FILES)
    for rows in books.values():
        rows.reverse()
    for rows in (idenfy, idenfy, idenfy, idenfy, frankieone):
        rows.pop()  # never billed
    idenfy += [{**idenfy[n], "scanRef": f"lost-{n}"} for n in range(5)]  # for customers of ours, unknown to us
    idenfy += [dict(idenfy[n]) for n in (10, 11, 12)]  # billed twice
    idenfy[13]["clientId"], idenfy[14]["clientId"] = idenfy[14]["clientId"], idenfy[13]["clientId"]
    idenfy[15]["price"] = "1.90"
    for rows in (smtp, smtp, smtp, twilio):
        rows.pop()  # not in the log
    twilio += [{**twilio[0], "MessageSid": f"SM{n:032x}"} for n in range(2)]  # another program texts our customer
    smtp += [{**smtp[0], "message_id": "<newsletter@example.com>", "recipient": "stranger@example.com"}]
    smtp += [dict(smtp[3]), dict(smtp[4])]  # one Message-ID, two mails
    twilio[1]["Status"], smtp[5]["status"] = "undelivered", "bounced"
    smtp += [{**smtp[0], "message_id": f"<x{n}@example.com>", "recipient": f"Box{n}@example.com"} for n in UNREACHABLE]
    write(bare, books)

    ended = bare.onboard("reconcile", "1", *ALL, "--out", "found.jsonl", "--json")

    assert (ended.code, ended.facts["differences"]) == (1, 30)
    assert ended.facts["kinds"] == {
        "billed_unknown": 5,
        "never_billed": 5,
        "billed_twice": 3,
        "other_customer": 2,
        "wrong_amount": 1,
        "sent_not_issued": 3,
        "logged_unknown": 3,
        "sent_not_logged": 4,
        "logged_twice": 2,
        "failed_at_sender": 2,
    }
    lines = [json.loads(line) for line in (bare.path / "found.jsonl").read_text().splitlines()]
    assert lines == ended.facts["rows"]
    told = {line["customer_id"] for line in lines if line["kind"] == "sent_not_issued"}
    assert told == {f"C-{n:04}" for n in UNREACHABLE}
    lost = [(line["row"], line["reference"]) for line in lines if line["kind"] == "billed_unknown"]
    assert lost == [(43 + n, f"lost-{n}") for n in range(5)]
    text = bare.onboard("reconcile", "1", *ALL).out + (bare.path / "found.jsonl").read_text()
    assert [word for word in ("@example", "stranger", "+3706", "Quirin") if word in text] == []
    assert "5 × paid for, and unknown to us (billed_unknown)" in text


def test_rows_of_other_batches_are_counted_and_are_no_difference(desk: Desk, played: Played):
    run_against_the_sandbox(desk, played)
    desk.onboard("run", desk.list_of([{**row, "customer_id": f"D-{n}"} for n, row in enumerate(customers(9))], "b.csv"))
    write(desk, {name: fetched(played, name) for name in FILES})

    ended = desk.onboard("reconcile", "1", *ALL, "--json")

    assert (ended.code, ended.facts["kinds"]) == (0, {})
    assert ended.facts["compared"]["provider_outside_batch"] == 9
    assert ended.facts["compared"]["sender_outside_batch"] == 9
    assert "rows of the log that are of other batches: 9\n" in desk.onboard("reconcile", "1", *ALL).out


def test_what_no_file_covers_is_said_and_not_compared(bare: Desk, books: dict[str, Rows]):
    ended = bare.onboard("reconcile", "1", "--provider", "idenfy.csv", "--sender", "twilio.csv")
    asked = bare.onboard("reconcile", "1", "--provider", "idenfy.csv", "--account", "au", "--json")

    assert ended.code == 0
    assert "warning: 12 of au not compared: no file has a row of it (--account au)" in ended.lines
    assert "warning: 41 of email not compared: no file has a row of it (--channel email)" in ended.lines
    assert asked.facts["kinds"] == {"never_billed": 12}


def test_what_the_provider_does_not_charge_yet_is_no_difference(bare: Desk, books: dict[str, Rows]):
    write(bare, {"idenfy": books["idenfy"][:3]})

    ended = bare.onboard("reconcile", "1", "--provider", "idenfy.csv", "--charged-from", "started", "--json")

    assert (ended.code, ended.facts["compared"]["not_charged_yet"]) == (0, 42)


def test_a_bill_has_its_period(bare: Desk, books: dict[str, Rows]):
    books["idenfy"][0]["createTime"] = "2001-01-01T00:00:00Z"
    write(bare, books)

    inside = bare.onboard("reconcile", "1", *ALL, "--since", "2002-01-01T00:00Z", "--json")
    outside = bare.onboard("reconcile", "1", *ALL, "--until", "2001-06-01T00:00Z", "--json")

    assert inside.facts["kinds"] == {"outside_period": 1}
    assert outside.facts["kinds"] == {"outside_period": 130}


def test_a_log_without_ids_of_ours_is_compared_by_the_hashed_address(bare: Desk, books: dict[str, Rows]):
    log = [
        {"Recipient": row["recipient"], "ReceivedAt": row["time"], "MessageID": f"pm-{n}"}
        for n, row in enumerate(books["smtp"])
    ]
    bare.list_of(log[:-2], "postmark.csv")

    ended = bare.onboard("reconcile", "1", "--sender", "postmark.csv", "--json")

    assert ended.facts["kinds"] == {"sent_not_logged": 2}


def test_money_that_came_back_is_no_second_bill(bare: Desk, books: dict[str, Rows]):
    again = dict(books["idenfy"][0])
    write(bare, {"idenfy": [*books["idenfy"], again, {**again, "price": "-0.90"}]})

    assert bare.onboard("reconcile", "1", "--provider", "idenfy.csv").code == 0


def test_what_cannot_start_says_why(desk: Desk, subtests: pytest.Subtests):
    desk.onboard("import", desk.list_of(customers(1)))
    desk.write("bad.csv", "a,b\n1,2\n")
    desk.write("empty.csv", "")
    os.mkfifo(desk.path / "pipe.csv")
    for typed, says in [
        ("", "give --provider FILE, --sender FILE, or both"),
        ("--provider nothing.csv", "does not exist"),
        ("--provider onboarding.db", "a database"),
        ("--provider customers.csv --map email=nothing", "expected THEIRS=OURS"),
        ("--sender empty.csv", "empty"),
        ("--sender pipe.csv", "save it to a file first, or let check, run or import read - from standard input"),
        ("--provider bad.csv", "name one with --map THEIRS=OURS"),
        ("--provider bad.csv --map a=scan_ref --account nobody", "there is no account 'nobody'"),
        ("--provider bad.csv --map a=scan_ref --out found.txt", "written as .csv or .jsonl"),
    ]:
        with subtests.test(typed=typed, says=says):
            ended = desk.onboard("reconcile", "1", *typed.split())

            assert ended.code == 2
            assert says in ended.err


def test_rows_that_cannot_be_read_are_named_by_their_number_alone(desk: Desk):
    desk.onboard("import", desk.list_of(customers(1)))
    desk.write("bad.csv", 'scanRef,price,createTime\nann@example.com,much,\n,,\nx,1,soon\n"x"y,1,\n')

    ended = desk.onboard("reconcile", "1", "--provider", "bad.csv")

    assert ended.code == 1
    assert "provider row 2  its amount cannot be read" in ended.out
    assert "provider row 4  its time cannot be read" in ended.out
    assert "provider row 5  its quotes do not match" in ended.out
    assert "ann@" not in ended.out


def test_an_export_with_an_open_quote_is_not_compared(desk: Desk):
    desk.onboard("import", desk.list_of(customers(1)))
    desk.write("bill.csv", 'scanRef,price\nr1,1\nr2,"1\n' + "r3,1\n" * 50_000)

    ended = desk.onboard("reconcile", "1", "--provider", "bill.csv", "--out", "differences.csv")

    assert ended.code == 2
    assert ended.err == (
        "bill.csv: row 3: a quote is not closed (line 3 of the file);"
        ' close each quoted cell with a quote, and write a quote inside one as ""\n'
    )
    assert not (desk.path / "differences.csv").exists()


def test_an_export_that_cannot_be_read_is_named(books: dict[str, Rows], bare: Desk):
    bare.write("empty.csv", "scanRef,price\n")

    ended = bare.onboard("reconcile", "latest", "--provider", "empty.csv")

    assert (ended.code, ended.err) == (2, "empty.csv: the list has a header, but no row below it\n")


@needs("service_desk")
def test_a_company_that_was_erased_is_still_found_in_the_export_by_its_customer(desk: Desk, played: Played):
    rows = customers(3)
    for n, row in enumerate(rows):
        row |= {"kind": "company", "company_name": "Ltd", "external_ref": f"Ltd {n}"}
    desk.onboard("run", desk.list_of(rows))
    listed = fetched(played, "idenfy")
    assert [(row["scanRef"], row["externalRef"]) for row in listed] == [("", f"Ltd {n}") for n in range(3)]
    desk.list_of(listed, "idenfy.csv")
    erased, known = rows[0]["customer_id"], rows[1]["customer_id"]
    assert desk.onboard("customer", "erase", erased, "--yes").code == 0

    ended = desk.onboard("reconcile", "1", "--provider", "idenfy.csv")
    assert (ended.code, ended.out.endswith("no difference\n")) == (0, True)

    desk.list_of([*listed, listed[1] | {"externalRef": "another"}], "idenfy.csv")
    ended = desk.onboard("reconcile", "1", "--provider", "idenfy.csv")
    assert "1 × paid for, and unknown to us" in ended.out  # nothing else is matched by its customer
    assert known in ended.out
