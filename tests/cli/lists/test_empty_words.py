"""Cells that say nothing, from outside: what `check` says of them, and that a list with them can come again."""

from tests.desk.desk import Desk, Played

ROWS = (
    "customer_id,email,phone,country,purpose\n"
    "A-1,one@example.com,NULL,LT,n/a\nA-2,two@example.com,n/a,-,\n-,three@example.com,,LT,\n"
)


def test_check_counts_cells_that_say_nothing_by_column_and_word_in_one_warning(desk: Desk):
    ended = desk.onboard("check", desk.write("export.csv", ROWS))
    warned = [line for line in ended.out.splitlines() if "count as empty" in line or "counts as empty" in line]
    assert ended.code == 1  # the customer without an id
    assert len(warned) == 2
    assert 'phone "NULL" 1, "n/a" 1; country "-" 1' in warned[0]
    assert 'purpose "n/a" 1' in warned[1]


def test_a_word_for_nothing_rejects_its_row_where_a_route_tests_the_column(desk: Desk):
    desk.change("[[routes]]", '[[routes]]\nwhen = { purpose = "renewal" }\naccounts = ["kyc"]\n\n[[routes]]')
    facts = desk.onboard("check", desk.write("export.csv", ROWS), "--json").facts
    assert [(one["row"], one["column"]) for one in facts["problems"]] == [(2, "purpose"), (4, "customer_id")]


def test_a_word_for_nothing_rejects_no_row_whose_route_no_value_there_would_change(desk: Desk):
    desk.change(
        "[[routes]]", '[[routes]]\nwhen = { country = "AU", entity_id = true }\naccounts = ["kyc"]\n\n[[routes]]'
    )
    rows = "customer_id,email,country,entity_id\nA-1,one@example.com,LT,NULL\nA-2,two@example.com,AU,NULL\n"
    facts = desk.onboard("check", desk.write("export.csv", rows), "--json").facts
    assert [(one["row"], one["column"]) for one in facts["problems"]] == [(3, "entity_id")]


def test_the_same_file_once_more_takes_the_rows_that_were_rejected_and_no_other(desk: Desk, played: Played):
    listed = desk.write("export.csv", ROWS.replace("LT,n/a", "Teutonia,").replace("\n-,three", "\nA-3,three"))
    desk.onboard("run", listed)
    desk.add('[import.values]\ncountry = { Teutonia = "" }\n')

    ran = desk.onboard("run", listed, "--again", "--json")

    assert (ran.facts["rows"]["invited"], ran.facts["rows"]["rejected"]) == (1, 0)
    written = sorted(one for mail in played.sandbox.mailbox for one in mail.recipients)
    assert written == ["one@example.com", "three@example.com", "two@example.com"]
