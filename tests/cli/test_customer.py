"""`onboard customer show`: the sessions of one customer, without personal data."""

from tests.desk.desk import Desk, Played, customers


def test_a_customer_is_shown_with_its_sessions_and_what_they_cost_and_nothing_personal(desk: Desk, played: Played):
    listed = customers(1)
    assert desk.onboard("run", desk.list_of(listed)).code == 0
    (who,) = (row["customer_id"] for row in listed)
    facts = desk.onboard("customer", "show", who, "--json").facts
    (session,) = facts["sessions"]
    assert (session["because"], session["state"], session["messages"][0]["state"]) == ("first", "waiting", "sent")
    assert (facts["credits"], facts["messages"]["counted"], facts["jobs"][0]["state"]) == (
        {session["account"]: 1},
        1,
        "invited",
    )
    shown = desk.onboard("customer", "show", who)
    assert shown.code == 0
    assert session["reference"] in shown.out
    said = shown.out + str(facts)
    assert listed[0]["email"] not in said
    assert not any(token in said for token in played.tokens)


def test_an_unknown_customer_is_refused(desk: Desk):
    ended = desk.onboard("customer", "show", "nobody")
    assert (ended.code, ended.out) == (2, "")
    assert "there is no customer with that id" in ended.err
