"""What `check` foresees behind our own link."""

from tests.desk.desk import Desk

OWN = '[web]\nbase_url = "https://onboard.example.com"\n[links]\nmode = "stable"\n'
ONA = {"customer_id": "C-1", "email": "ona@example.com"}


def test_a_new_address_that_waits_for_a_sessions_end_gets_one_message_more_at_worst(desk: Desk) -> None:
    desk.add(OWN)
    assert desk.onboard("run", desk.list_of([ONA], "first.csv")).code == 0
    second = desk.list_of([ONA | {"email": "ona.k@example.com"}], "second.csv")
    said = []
    for opened in (False, True):
        desk.sql("UPDATE stable_link SET opened_at = CASE WHEN ? THEN created_at END", opened)
        facts = desk.onboard("check", second, "--json").facts
        corrected = facts["corrected"]
        said.append((corrected["same_link"], corrected["wait"], corrected["messages"], facts["messages"]["email"]))
    assert said == [(1, 0, {"email": 1}, 1), (0, 1, {}, 1)]
