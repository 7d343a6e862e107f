"""A report that was edited in a spreadsheet and comes back: exactly the changed rows act."""

import csv
import io
import signal
from collections import Counter
from collections.abc import Callable

from onboarding_sandbox import Latency
from tests.desk.desk import Desk, Played, customers
from tests.suite.of_features import needs
from tests.suite.waiting import wait_until

Row = dict[str, str]


def edit(desk: Desk, name: str, change: Callable[[list[Row]], object], *, delimiter: str = ",") -> str:
    """Change a CSV file as a spreadsheet does: read all of it, and write all of it."""
    text = (desk.path / name).read_text("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
    change(rows)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return desk.write(f"edited-{name}", "\ufeff" + out.getvalue())


def letters(played: Played) -> Counter[str]:
    return Counter(recipient for mail in list(played.sandbox.mailbox) for recipient in mail.recipients)


SAME_LINK = '[follow_up]\ncorrected_address = "same-link"\n'


def test_three_edits_are_three_actions_and_an_unchanged_report_is_none(desk: Desk, played: Played):
    desk.add(SAME_LINK)
    rows = customers(12)
    assert desk.onboard("run", desk.list_of(rows)).code == 0
    before, called = letters(played), len(played.calls())
    desk.onboard("report", "1", "--out", "todo.csv", "--with-details", "--excel")

    unchanged = desk.onboard("run", "todo.csv", "--json")

    assert unchanged.code == 0, unchanged.err
    assert unchanged.facts["changes"] == []
    assert unchanged.facts["rows"]["known"] == 12
    assert (letters(played), len(played.calls())) == (before, called)

    def mend(lines: list[Row]) -> None:
        lines[2]["email"] = "mended.one@example.com"
        lines[5]["email"] = "mended.two@example.com"
        lines[7]["first_name"] = "Mended"
        del lines[9]  # a row that is not there asks for nothing
        lines.append(dict.fromkeys(lines[0], ""))

    foreseen = desk.onboard("check", edit(desk, "todo.csv", mend, delimiter=";"), "--json").facts
    assert "in total" not in desk.onboard("check", "todo.csv").out
    mended = desk.onboard("run", edit(desk, "todo.csv", mend, delimiter=";"), "--json")

    assert mended.code == 0, mended.err
    said = {one["row"]: one["what"] for one in mended.facts["changes"]}
    assert said == {one["row"]: one["what"] for one in foreseen["changes"]}
    assert said == {
        4: "email changed; the link leaves by email",
        7: "email changed; the link leaves by email",
        9: "first_name changed",
    }
    assert letters(played) - before == Counter({"mended.one@example.com": 1, "mended.two@example.com": 1})
    assert len(played.calls()) == called
    assert (foreseen["changed_addresses"], foreseen["corrected"]["same_link"]) == (2, 2)
    assert foreseen["corrected"]["messages"] == {"email": 2}
    assert (foreseen["corrected"]["sessions"], foreseen["messages"]["email"]) == ({}, 2)

    again = desk.onboard("report", "1", "--with-details")
    assert [row["first_name"] for row in again.table][7] == "Mended"
    audit = desk.audited()
    assert sum("email changed; row" in str(entry["reason"]) for entry in audit) == 2


def test_a_column_for_messages_is_in_the_report_and_corrected_by_it(desk: Desk, played: Played):
    desk.add('[import]\nmessage_columns = ["branch"]\n')
    listed = "customer_id,email,branch,message.floor\nA-1,a@example.com,Vilnius,3\nA-2,b@example.com,Vilnius,\n"
    assert desk.onboard("run", desk.write("list.csv", listed)).code == 0
    desk.onboard("report", "1", "--out", "todo.csv", "--with-details")

    def mend(lines: list[Row]) -> None:
        assert [line["message.branch"] for line in lines] == ["Vilnius", "Vilnius"]
        lines[1]["message.branch"] = "Kaunas"

    foreseen = desk.onboard("check", edit(desk, "todo.csv", mend), "--json")
    mended = desk.onboard("run", edit(desk, "todo.csv", mend), "--json")

    for facts in (foreseen.facts, mended.facts):
        assert [(one["row"], one["what"]) for one in facts["changes"]] == [(3, "message.branch changed")]
    again = desk.onboard("report", "1", "--with-details")
    assert [row["message.branch"] for row in again.table] == ["Vilnius", "Kaunas"]
    assert letters(played) == Counter({"a@example.com": 1, "b@example.com": 1})


def test_a_message_that_has_not_left_goes_to_the_mended_address_alone(desk: Desk, played: Played):
    listed = desk.list_of(customers(3))
    assert desk.onboard("import", listed).code == 0
    desk.onboard("report", "1", "--out", "todo.csv", "--with-details")

    name = edit(desk, "todo.csv", lambda lines: lines[1].update(email="mended@example.com"))
    imported = desk.onboard("import", name, "--json")

    assert imported.code == 0, imported.err
    (change,) = imported.facts["changes"]
    assert change["what"].startswith("email changed; no message was added: the customer's session is not open yet")
    assert desk.onboard("run", listed).code == 0
    assert letters(played) == Counter({"box0@example.com": 1, "mended@example.com": 1, "box2@example.com": 1})
    assert len(played.calls()) == 3


def test_a_batch_is_not_called_left_alone_whose_rest_leaves_with_a_changed_row(desk: Desk, played: Played):
    assert desk.onboard("import", desk.list_of(customers(3))).code == 0
    desk.onboard("report", "1", "--out", "todo.csv", "--with-details")
    first = edit(desk, "todo.csv", lambda lines: lines[1].update(email="first@example.com"))

    assert desk.onboard("pause", "1").code == 0
    paused = desk.onboard("run", first, "--json")
    assert desk.onboard("resume", "1").code == 0
    desk.onboard("report", "1", "--out", "todo.csv", "--with-details")
    second = edit(desk, "todo.csv", lambda lines: lines[1].update(email="second@example.com"))
    sent = desk.onboard("run", second, "--json")

    assert [one["batch"] for one in paused.facts["left_alone"]] == [1]
    assert (sent.code, sent.facts["left_alone"], sent.err.count("left alone")) == (0, [], 0)
    assert letters(played) == Counter({"box0@example.com": 1, "second@example.com": 1, "box2@example.com": 1})


def test_what_a_spreadsheet_has_damaged_is_refused_with_the_reason_and_harms_no_other_row(desk: Desk, played: Played):
    rows = [row | {"phone": f"+4479110000{n:02}"} for n, row in enumerate(customers(6))]
    rows[4]["customer_id"] = "0004"
    assert desk.onboard("run", desk.list_of(rows)).code == 0
    before = letters(played)
    desk.onboard("report", "1", "--out", "todo.csv", "--with-details", "--excel")

    def damage(lines: list[Row]) -> None:
        lines[0]["phone"] = "4.4791E+11"  # the cell was too narrow when it was saved
        lines[1]["phone"] = lines[1]["phone"].removeprefix("'+")
        lines[2]["email"] = "b…@example.com"  # a mask, pasted from a screen: as it is stored
        lines[3]["email"] = "x…@example.com"  # another mask
        lines[4] |= {"customer_id": "4", "first_name": "New"}  # the zeros are gone
        lines.reverse()
        lines.append(lines[0] | {"email": "copy@example.com"})
        for line in lines:
            line["issued_at"] = "20.11.2026 09:00"  # our own times are not read

    ended = desk.onboard("run", edit(desk, "todo.csv", damage, delimiter=";"), "--json")

    assert ended.code == 1
    assert ended.facts["changes"] == []
    assert ended.facts["rows"] | {"rejected": 3, "duplicate": 1, "known": 3} == ended.facts["rows"]
    why = {row["row"]: row["error"] for row in desk.onboard("report", "2").table if row["state"] == "rejected"}
    assert sorted(why) == ["3", "4", "7"]
    assert "a spreadsheet has shortened" in why["7"]
    assert "a masked address" in why["4"]
    assert "no customer has this id" in why["3"]
    assert letters(played) == before


def test_a_corrected_address_waits_for_the_end_of_the_link_that_the_old_one_has(desk: Desk, played: Played):
    assert desk.onboard("run", desk.list_of(customers(2))).code == 0
    before = letters(played)
    desk.onboard("report", "1", "--out", "todo.csv", "--with-details")
    name = edit(desk, "todo.csv", lambda lines: lines[1].update(email="mended@example.com"))

    foreseen = desk.onboard("check", name, "--json").facts
    mended = desk.onboard("run", name, "--json")

    assert mended.code == 0, mended.err
    for (change,) in (foreseen["changes"], mended.facts["changes"]):
        assert "opens there until" in change["what"]
    assert (foreseen["corrected"]["wait"], foreseen["corrected"]["messages"]) == (1, {})
    assert letters(played) == before


def test_a_report_without_details_takes_a_column_that_a_person_adds(desk: Desk, played: Played):
    desk.add(SAME_LINK)
    assert desk.onboard("run", desk.list_of(customers(3))).code == 0
    before = letters(played)
    desk.onboard("report", "1", "--out", "plain.csv")

    def add(lines: list[Row]) -> None:
        for line in lines:
            line["email"] = ""
        lines[1]["email"] = "mended@example.com"

    ended = desk.onboard("run", edit(desk, "plain.csv", add), "--json")

    assert ended.code == 0, ended.err
    assert len(ended.facts["changes"]) == 1
    assert letters(played) - before == Counter({"mended@example.com": 1})
    details = desk.onboard("report", "1", "--with-details").table
    assert [row["email"] for row in details] == ["box0@example.com", "mended@example.com", "box2@example.com"]


def test_a_rejected_row_of_a_report_is_a_new_row_once_it_is_filled_in(desk: Desk, played: Played):
    rows = customers(3)
    rows[1]["email"] = "nobody"
    assert desk.onboard("run", desk.list_of(rows)).code == 1
    desk.onboard("report", "1", "--out", "todo.csv", "--with-details")

    unchanged = desk.onboard("run", "todo.csv", "--json")
    name = edit(desk, "todo.csv", lambda lines: lines[1].update(email="box1@example.com", country="DE"))
    seen = desk.onboard("check", name)
    mended = desk.onboard("run", name, "--json")

    assert (unchanged.code, unchanged.facts["rows"]["known"]) == (0, 3)
    assert "1 changed row, 2 as stored" in seen.out
    assert mended.code == 0, mended.err
    assert letters(played)["box1@example.com"] == 1
    assert len(played.calls()) == 3


def test_a_file_of_problems_never_makes_a_row_good_that_no_one_has_mended(desk: Desk, played: Played):
    header = "customer_id,email,\n"
    rows = "C-1,one@example.com,,extra\nC-2,two@example.com,stray\nC-3,three@example.com,\nC-3,again@example.com,\n"
    listed = desk.write("list.csv", header + rows)
    assert desk.onboard("run", listed).code == 1
    desk.onboard("check", listed, "--errors", "problems.csv")

    again = desk.onboard("run", "problems.csv", "--json")

    assert (again.code, again.facts["rows"]["total"]) == (0, 0)
    assert letters(played) == Counter({"three@example.com": 1})


def test_a_mended_file_of_problems_is_a_list_of_the_rows_that_were_rejected(desk: Desk, played: Played):
    rows = [row | {"Remark": "=1+1"} for row in customers(4)]
    rows[1] |= {"email": "nobody", "country": "Q1"}
    rows[3]["email"] = ""
    options = ("--map", "Nr=customer_id", "--ignore-column", "Remark")
    listed = desk.list_of([{"Nr": row.pop("customer_id")} | row for row in rows])
    assert desk.onboard("run", listed, *options).code == 1

    desk.onboard("check", listed, *options, "--errors", "problems.csv", "--excel")
    problems = list(csv.DictReader(io.StringIO((desk.path / "problems.csv").read_text("utf-8-sig")), delimiter=";"))
    again = desk.onboard("import", "problems.csv", *options, "--json")

    assert [(row["row"], row["column"], row["Nr"]) for row in problems] == [
        ("3", "email", "C-0001"),
        ("3", "country", ""),
        ("5", "channel", "C-0003"),
    ]
    assert problems[0]["Remark"] == "'=1+1"
    assert again.facts["rows"] | {"total": 2, "rejected": 2} == again.facts["rows"]

    def mend(lines: list[Row]) -> None:
        lines[0] |= {"email": "box1@example.com", "country": "DE"}

    ended = desk.onboard("run", edit(desk, "problems.csv", mend, delimiter=";"), *options, "--json")
    assert ended.facts["rows"] | {"total": 2, "rejected": 1, "invited": 1} == ended.facts["rows"]
    assert letters(played) == Counter({"box0@example.com": 1, "box2@example.com": 1, "box1@example.com": 1})


@needs("spreadsheets")
def test_a_workbook_comes_back_too_and_an_unchanged_one_does_nothing(desk: Desk, played: Played):
    rows = [row | {"phone": f"+4479110000{n:02}"} for n, row in enumerate(customers(3))]
    assert desk.onboard("run", desk.list_of(rows)).code == 0
    before = letters(played)
    assert desk.onboard("report", "1", "--out", "todo.xlsx", "--with-details").code == 0

    ended = desk.onboard("run", "todo.xlsx", "--sheet", "Rows", "--json")

    assert ended.code == 0, ended.err
    assert ended.facts["changes"] == []
    assert ended.facts["rows"]["known"] == 3
    assert letters(played) == before


COMPANY = {"customer_id": "B-1", "kind": "company", "company_name": "Acme", "email": "old@example.com"}


def changed_report(desk: Desk, companies: int) -> str:
    """The report of so many companies that were invited, each with another address."""
    rows = [COMPANY | {"customer_id": f"B-{n}", "email": f"old{n}@example.com"} for n in range(companies)]
    assert desk.onboard("run", desk.list_of(rows)).code == 0
    desk.onboard("report", "1", "--out", "todo.csv", "--with-details")
    return edit(desk, "todo.csv", lambda lines: [one.update(email=f"new-{one['email']}") for one in lines])


def test_a_corrected_row_that_fails_again_ends_the_run_as_a_row_of_any_list_does(
    play: Callable[..., Played], desk_at: Callable[[Played], Desk]
):
    desk = desk_at(play(smtp_refused=frozenset({"box1@example.com", "box9@example.com"})))
    assert desk.onboard("run", desk.list_of(customers(3))).code == 1
    desk.onboard("report", "1", "--out", "todo.csv", "--with-details")
    for address, code in (("box9@example.com", 1), ("good@example.com", 0)):
        ended = desk.onboard("run", edit(desk, "todo.csv", lambda lines, to=address: lines[1].update(email=to)))
        said = "batch 1 (customers.csv): 1 row waits for a correction; `onboard report 1` says why"
        assert (ended.code, said in ended.err) == (code, code == 1)


def test_a_run_says_which_corrected_rows_it_has_not_sent(desk: Desk, played: Played):
    desk.change("[accounts.kyb]", '[accounts.kyb]\nbudget = "kyb"\nlimits = ["1/hour"]')
    edited = changed_report(desk, 1)

    ended = desk.onboard("run", edited, "--patience", "1s", "--json")

    assert (ended.code, ended.facts["left_alone"]) == (3, [{"batch": 1, "name": "customers.csv", "waiting": 1}])
    assert "`onboard run customers.csv`" in ended.err


def test_ctrl_c_stops_the_batch_whose_corrected_rows_are_sent(
    play: Callable[..., Played], desk_at: Callable[[Played], Desk]
):
    slow = play(latencies=(Latency.parse("idenfy-kyb=1s"),))
    desk = desk_at(slow)
    desk.change("[accounts.kyb]", '[accounts.kyb]\nbudget = "kyb"\nconcurrency = 1')
    edited = changed_report(desk, 3)
    process = desk.start("run", edited, "--yes")
    wait_until(lambda: len(slow.calls("idenfy-kyb")) > 3, "the first of the new sessions")

    ended = desk.end(process, signal.SIGINT)

    assert ended.code == 130
    assert "nothing is left" not in ended.err
    assert "`onboard resume 1`" in ended.err
    assert desk.onboard("status", "1", "--json").facts["state"] == "paused"
