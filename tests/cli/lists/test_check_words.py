"""Cells that say nothing, and words that are none of ours: what `check` says, and that the list can come again."""

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


def test_the_words_that_a_column_does_not_know_are_shown_the_commonest_first_and_never_what_may_be_personal(desk: Desk):
    words = ["Klingonisch", "xx-y", "Klingonisch", "jonas@example.com", "+37060000001"]
    words += ["x" * 41, "a\x1b[2J\u202eb", 'a"b']
    rows = "".join(f"A-{n},c{n}@example.com,Geheim,{word}\n" for n, word in enumerate(words))
    listed = desk.write("words.csv", f"customer_id,email,first_name,locale\n{rows}B-1,x,Atlantis,de\n")

    shown, facts = desk.onboard("check", listed), desk.onboard("check", listed, "--json").facts

    assert facts["words"] == {"locale": {"Klingonisch": 2, "xx-y": 1, "a[2Jb": 1, 'a"b': 1}}
    assert 'words that are none in locale: "Klingonisch" 2, "xx-y" 1, "a[2Jb" 1, "a\\"b" 1' in shown.out
    assert [one for one in ("jonas@", "3706", "Geheim", "Atlantis", "\x1b", "xxxxx") if one in shown.out] == []
    many = "".join(f"A-{n},c{n}@example.com,land {n % 20}\n" for n in range(60))
    found = desk.onboard("check", desk.write("many.csv", f"customer_id,email,country\n{many}"), "--json").facts["words"]
    assert [*found["country"].values()] == [3] * 8


def test_a_list_in_the_words_of_another_system_is_read_and_what_it_cannot_say_is_left_out(desk: Desk):
    rows = "".join(f"A-{n},c{n}@example.com,Deutschland,Teutonic,PST\n" for n in range(30))
    ended = desk.onboard(
        "check", desk.write("export.csv", f"customer_id,email,country,locale,timezone\n{rows}"), "--json"
    )
    assert (ended.code, ended.facts["rows"]["accepted"], ended.facts["rows"]["rejected"]) == (0, 30, 0)
    assert {warning["column"] for warning in ended.facts["warnings"]} == {"locale", "timezone"}
