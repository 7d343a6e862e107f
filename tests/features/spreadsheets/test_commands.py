"""Workbooks as an operator meets them."""

import zipfile

from tests.desk.desk import Desk, Played
from tests.lists.formats.files import ANN, BOB, HEADER, workbook


def test_the_cells_of_the_templates_workbook_are_text(desk: Desk):
    desk.onboard("init", "--list")
    with zipfile.ZipFile(desk.path / "customers.xlsx") as file:
        assert 'numFmtId="49"' in file.read("xl/styles.xml").decode()


def test_a_workbook_whose_rows_are_formatted_far_down_has_the_rows_with_values(desk: Desk):
    def far_down(book, sheet):
        text = book.add_format({"num_format": 49})
        for row in range(3, 20_000):
            sheet.write_blank(row, 0, None, text)
        sheet.write_blank(1_048_575, 1, None, text)

    listed = desk.write("list.xlsx", workbook(HEADER, ANN, BOB, fill=far_down))
    assert desk.onboard("check", listed, "--json").facts["rows"]["total"] == 2


def test_a_sheet_is_chosen_by_an_option(desk: Desk, played: Played):
    listed = desk.write("list.xlsx", workbook(HEADER, ANN, BOB, sheets=["Old"]))
    ended = desk.onboard("run", listed)
    assert (ended.code, ended.out) == (2, "")
    assert 'the workbook has 2 sheets, "List", "Old": choose one with --sheet NAME, or save the list alone' in ended.err
    assert desk.onboard("check", listed, "--sheet", "list", "--json").facts["rows"]["accepted"] == 2
    assert desk.onboard("run", listed, "--sheet", "List").code == 0
    assert len(played.sandbox.mailbox) == 2
