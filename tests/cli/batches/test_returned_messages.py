"""Messages that come back: a text instead, and a batch that pauses itself before its list is through."""

from tests.desk.desk import customers

REFUSED = frozenset(f"box{number}@example.com" for number in range(6))


def test_a_batch_whose_messages_are_refused_pauses_itself_says_so_and_goes_on_once_it_is_resumed(desk_at, play):
    played = play(smtp_refused=REFUSED)
    desk = desk_at(played)
    desk.change("[email]", '[invitations]\npause_from = 5\n[email]\nlimits = ["10/second"]')
    ended = desk.onboard("run", desk.list_of(customers(40)), "--json")
    assert (ended.code, ended.facts["state"]) == (1, "paused")
    assert "messages were refused" in ended.facts["pause_reason"]
    assert f"the batch paused itself: {ended.facts['pause_reason']}" in ended.err
    assert len(played.message_ids) < 34
    shown = " ".join(desk.onboard("status", "latest").out.split())
    assert ended.facts["pause_reason"] in shown
    again = desk.onboard("run", "customers.csv")
    assert (again.code, "has paused itself" in again.err) == (2, True)
    desk.change("pause_from = 5", "pause_from = 50")  # which addresses are left is chance
    desk.onboard("resume", "latest")
    ended = desk.onboard("run", "customers.csv", "--json")
    assert "pause_reason" not in ended.facts
    assert (ended.facts["rows"]["invited"], ended.facts["invitations"]["bounced"]) == (34, 6)
    # They are known by now: the next list does not write to them, nor pay for their sessions.
    desk.onboard(
        "run", desk.list_of([row | {"customer_id": f"N-{row['customer_id']}"} for row in customers(7)], "new.csv")
    )
    new = desk.onboard("status", "latest", "--json").facts
    assert [account["requests"] for account in new["accounts"].values()] == [1]
    assert (new["rows"]["invited"], new["rows"]["failed"]) == (1, 6)
    assert new["invitations"] == {
        "waiting": 0,
        "sent": 1,
        "delivered": 0,
        "bounced": 0,
        "suppressed": 6,
        "failed": 0,
        "held": 0,
    }
    lines = [line for line in desk.onboard("report", "latest").table if line["state"] == "failed"]
    assert {(line["invitation"], line["error"].partition(":")[0]) for line in lines} == {("suppressed", "suppressed")}
    desk.onboard("suppress", "--remove", "box0@example.com")
    assert desk.onboard("retry", "latest", "--json").facts["rows"] == 6
    again = desk.onboard("run", "new.csv", "--json").facts
    assert [account["requests"] for account in again["accounts"].values()] == [2]
    assert (again["rows"]["failed"], again["invitations"]["bounced"], again["invitations"]["suppressed"]) == (6, 1, 5)


def test_who_is_not_reached_by_mail_is_sent_a_text_where_the_configuration_says_so(desk_at, play):
    played = play(smtp_refused=REFUSED)
    desk = desk_at(played)
    desk.change("[email]", '[invitations]\nfallback = "sms"\n[email]')
    rows = [row | {"phone": f"+3706000000{number}"} for number, row in enumerate(customers(8))]
    del rows[0]["phone"]
    ended = desk.onboard("run", desk.list_of(rows), "--json")
    assert (ended.facts["rows"]["invited"], ended.facts["rows"]["failed"]) == (7, 1)
    assert (ended.facts["invitations"]["sent"], ended.facts["invitations"]["bounced"]) == (7, 6)
    assert len(list(played.sandbox.texts)) == 5
    (line,) = [line for line in desk.onboard("report", "latest").table if line["state"] == "failed"]
    assert (line["customer_id"], line["invitation"], line["error"].startswith("bounced: ")) == (
        "C-0000",
        "bounced",
        True,
    )
    assert "another address" in line["action"]


def test_the_texts_that_may_have_to_stand_in_are_in_the_worst_case(desk):
    rows = [row | {"phone": f"+3706000000{number}"} for number, row in enumerate(customers(3))]
    del rows[0]["phone"]
    desk.list_of(rows)
    before = desk.onboard("check", "customers.csv", "--json").facts["messages"]
    assert before["sms"] == 0
    desk.change("[email]", '[invitations]\nfallback = "sms"\n[email]')
    after = desk.onboard("check", "customers.csv", "--json").facts["messages"]
    assert after == before | {"sms": before["email"] * 2 // 3}
