"""`onboard init --list`: a list to fill in, and formats of lists as an operator meets them."""

import zipfile

from tests.desk.desk import Desk, Played
from tests.domain.intake.formats.files import ANN, BOB, HEADER, workbook


def test_the_template_has_a_row_of_each_kind_that_is_accepted_in_both_formats(desk: Desk):
    ended = desk.onboard("init", "--list", "lists", "--json")
    assert ended.facts == {"written": ["lists/customers.csv", "lists/customers.xlsx"]}
    for name in ended.facts["written"]:
        facts = desk.onboard("check", name, "--json").facts
        assert facts["rows"] == {"total": 3, "accepted": 3, "rejected": 0, "duplicate": 0}, name
    with zipfile.ZipFile(desk.path / "lists/customers.xlsx") as file:
        assert 'numFmtId="49"' in file.read("xl/styles.xml").decode()  # text
    again = desk.onboard("init", "--list", "lists")
    assert (again.code, again.err) == (2, "lists/customers.csv exists, and is not replaced\n")


def test_a_sheet_is_chosen_by_an_option(desk: Desk, played: Played):
    listed = desk.write("list.xlsx", workbook(HEADER, ANN, BOB, sheets=["Old"]))
    ended = desk.onboard("run", listed)
    assert (ended.code, ended.out) == (2, "")
    assert 'the workbook has 2 sheets, "List", "Old": choose one with --sheet NAME, or save the list alone' in ended.err
    assert desk.onboard("check", listed, "--sheet", "list", "--json").facts["rows"]["accepted"] == 2
    assert desk.onboard("run", listed, "--sheet", "List").code == 0
    assert len(played.sandbox.mailbox) == 2


def test_an_address_that_cannot_be_fetched_is_exit_2_without_it(desk: Desk):
    ended = desk.onboard("check", "https://user:hemlig@localhost/list.csv?hemlig")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("list.csv cannot be fetched: a password in an address can be seen by others")
    assert "hemlig" not in ended.err
