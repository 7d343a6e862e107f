"""A second list gives a known id to another person: `check` says it, `run` and `import` refuse the row."""

from tests.desk.desk import Desk, Played, customers

ONA = {"customer_id": "A1", "first_name": "Ona", "last_name": "Petraitė", "email": "ona@example.com"}
JONAS = {"customer_id": "A1", "first_name": "Jonas", "last_name": "Kazys", "email": "jonas@example.com"}
SAME_ID = "same id, another person?"


def test_check_run_and_import_refuse_the_same_row_and_the_first_person_stays(desk: Desk, played: Played):
    desk.onboard("run", desk.list_of([ONA], "first.csv"))
    second = desk.list_of([JONAS, *customers(2)], "second.csv")

    checked = desk.onboard("check", second, "--json")
    ran = desk.onboard("run", second, "--json")

    assert (checked.code, ran.code) == (1, 1)
    assert [(one["row"], one["problem"]) for one in checked.facts["problems"]] == [(2, SAME_ID)]
    assert (ran.facts["rows"]["rejected"], ran.facts["rows"]["invited"]) == (1, 2)
    refused = desk.onboard("report", "2").table[0]
    assert (refused["state"], SAME_ID in refused["error"], "--another-person" in refused["action"]) == (
        "rejected",
        True,
        True,
    )
    assert desk.onboard("import", desk.list_of([JONAS], "third.csv")).code == 1
    assert desk.onboard("run", desk.list_of([JONAS], "fourth.csv"), "--strict").code == 2
    assert "jonas@example.com" not in {one for mail in played.sandbox.mailbox for one in mail.recipients}


def test_two_persons_with_one_id_in_a_list_of_ids_and_mails_are_no_duplicate(desk: Desk, played: Played):
    two = [{"customer_id": "A1", "email": f"{name}@example.com"} for name in ("anna", "bert", "anna")]

    checked, ran = (desk.onboard(command, desk.list_of(two)) for command in ("check", "run"))

    assert (checked.code, ran.code) == (1, 1)
    assert "3 rows: 1 accepted, 1 rejected, 1 duplicate" in checked.out
    kinds = checked.out.partition("problems by kind:")[2].partition("problems:")[0]
    assert "another address than in row 2" in kinds
    assert [one.recipients for one in played.sandbox.mailbox] == [("anna@example.com",)]


def test_a_customer_with_a_live_link_who_comes_under_another_id_is_warned_of_with_both_ids(desk: Desk, played: Played):
    ids = ["a0D30000001n7Pi", "0000012345", "X-1"]
    first = [
        {"customer_id": one, "email": f"m{n}@example.com", "phone": f"+3706000000{n}"} for n, one in enumerate(ids)
    ]
    desk.onboard("run", desk.list_of(first, "first.csv"))
    second = [
        {"customer_id": "a0D30000001n7PiEAI", "email": "M0@example.com"},
        {"customer_id": "12345", "email": "m1@example.com"},
        {"customer_id": "Y-1", "phone": "+37060000002"},
        {"customer_id": "Z-1", "email": "z@example.com"},
        {"customer_id": "X-1", "email": "m2@example.com"},
    ]
    listed = desk.list_of(second, "second.csv")

    checked, facts = desk.onboard("check", listed), desk.onboard("check", listed, "--json").facts
    ran = desk.onboard("run", listed)

    warned = {one["row"]: one for one in facts["warnings"] if one["column"] == "customer_id"}
    assert [*warned] == [2, 3, 4]
    for row, both in {2: ("a0D30000001n7PiEAI", ids[0]), 3: ("12345", ids[1]), 4: ("Y-1", ids[2])}.items():
        assert [one for one in both if one not in warned[row]["problem"]] == []
        assert ("the same id in another form?" in warned[row]["hint"]) == (row < 4)
    assert (checked.code, facts["rows"]["accepted"], ran.code) == (0, 5, 0)
    for said in (checked.out, ran.err):
        assert f"2 rows (2, 3), customer_id: such as: a0D30000001n7PiEAI has the email of customer {ids[0]}" in said
    assert "m0@example.com" not in str(warned).lower()


def test_a_customer_whose_link_is_over_is_no_reason_for_a_warning(desk: Desk, played: Played):
    desk.onboard("run", desk.list_of([{"customer_id": "0012", "email": "a@example.com"}], "first.csv"))
    listed = desk.list_of([{"customer_id": "12", "email": "a@example.com"}], "second.csv")
    assert len(desk.onboard("check", listed, "--json").facts["warnings"]) == 1
    desk.sql("UPDATE session SET state = 'expired'")
    assert desk.onboard("check", listed, "--json").facts["warnings"] == []


def test_a_person_lets_another_one_take_the_id_over_and_the_audit_log_says_so(desk: Desk):
    desk.onboard("run", desk.list_of([ONA], "first.csv"))
    second = desk.list_of([JONAS], "second.csv")
    checked = desk.onboard("check", second, "--another-person", "--json")
    facts = checked.facts
    assert (checked.code, facts["served"], facts["now"], facts["messages"]["email"] > 0) == (0, 0, {"kyc": 1}, True)
    assert desk.onboard("run", second, "--another-person").code == 3  # it waits for the end of the first session
    assert "another person took over this id" in str(desk.audited())
    assert desk.onboard("check", second, "--another-person", "--json").facts["now"] == {"kyc": 1}  # its own row waits


def test_changed_addresses_with_a_live_link_are_counted_and_go_on(desk: Desk):
    known = [{"customer_id": f"C-{n}", "email": f"old{n}@example.com"} for n in range(3)]
    desk.onboard("run", desk.list_of(known, "first.csv"))
    second = desk.list_of([one | {"email": f"new{n}@example.com"} for n, one in enumerate(known[:2])], "second.csv")
    told = "2 rows change the address of a customer with a live link"

    shown, facts = desk.onboard("check", second), desk.onboard("check", second, "--json").facts
    ran = desk.onboard("run", second, "--json")

    assert (shown.code, told in shown.out, facts["changed_addresses"]) == (0, True, 2)
    corrected = facts["corrected"]
    assert (corrected["sessions"], corrected["same_link"], corrected["wait"]) == ({}, 0, 2)
    assert f"until {corrected['until']}" in shown.out
    assert (ran.code, told in ran.err, ran.facts["changed_addresses"]) == (0, True, 2)
    assert [line["state"] for line in desk.onboard("report", "latest").table] == ["joined", "joined"]
    assert "joined batch 1, row 3" in desk.onboard("report", "latest").table[1]["error"]
    again = desk.onboard("check", second, "--json")
    assert again.facts["changed_addresses"] == 0


def test_a_row_that_joined_is_joined_and_not_invited(desk: Desk):
    desk.onboard("run", desk.list_of([ONA], "first.csv"))
    ran = desk.onboard("run", desk.list_of([ONA], "second.csv"), "--again")
    assert (ran.code, "1 joined" in ran.out, "invited" in ran.out) == (0, True, False)
    line = desk.onboard("report", "latest").table[0]
    assert (line["state"], line["error"], line["action"]) == ("joined", "", "nothing: joined batch 1, row 2")
    assert desk.onboard("report", "latest", "--out", "report.html").code == 0


def test_two_people_of_one_id_in_one_list_are_told_apart_and_a_copied_row_is_a_duplicate(desk: Desk):
    ended = desk.onboard("check", desk.list_of([ONA, JONAS, ONA]), "--json")
    assert ended.code == 1
    assert ended.facts["rows"] == {"total": 3, "accepted": 1, "rejected": 1, "duplicate": 1}
    assert [one["row"] for one in ended.facts["problems"] if SAME_ID in one["problem"]] == [3]
    assert desk.onboard("check", desk.list_of([ONA, ONA], "copied.csv")).code == 0


def test_what_corrected_addresses_cost_is_shown_with_their_messages(desk: Desk):
    desk.change("[accounts.kyc]", '[accounts.kyc]\nprice = "0.90 EUR"')
    desk.change("[email]", '[email]\nprice = "0.01 EUR"')
    known = [customer | {"phone": f"+3706000000{n}"} for n, customer in enumerate(customers(3))]
    desk.onboard("run", desk.list_of(known, "first.csv"))
    second = desk.list_of([one | {"email": f"new{n}@example.com"} for n, one in enumerate(known)], "second.csv")
    phones = desk.list_of([one | {"phone": f"+3706000001{n}"} for n, one in enumerate(known)], "phones.csv")

    waits = desk.onboard("check", second, "--json").facts["corrected"]
    desk.add('[follow_up]\ncorrected_address = "same-link"\n')
    checked = desk.onboard("check", second, "--json").facts
    same = checked["corrected"]

    assert (waits["messages"], "cost" in waits) == ({}, False)
    assert (same["same_link"], same["messages"], same["cost"]) == (3, {"email": 3}, {"EUR": "0.03"})
    shown = desk.onboard("check", second).out
    assert ("0.03 EUR" in shown, "in total" in shown, checked["messages"]["email"]) == (True, False, 3)
    assert desk.onboard("check", phones, "--json").facts["changed_addresses"] == 0  # the links went by email
