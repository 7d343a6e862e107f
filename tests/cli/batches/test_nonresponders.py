"""`onboard report --kind nonresponders`: who was invited by a day and has not finished, with each message."""

import json

from tests.desk.desk import Desk, customers

NONRESPONDERS = ("--kind", "nonresponders", "--by")


def test_those_who_have_not_finished_are_listed_with_their_messages(desk: Desk):
    name = desk.list_of(customers(4))
    assert desk.onboard("run", name).code == 0
    desk.sql("UPDATE job SET state = 'completed', result = 'approved' WHERE row = 3")
    desk.sql("UPDATE session SET result = 'review' WHERE id = (SELECT session_id FROM job WHERE row = 4)")
    desk.sql("UPDATE invitation SET state = 'bounced' WHERE job_id = (SELECT id FROM job WHERE row = 5)")

    written = desk.onboard("report", "all", *NONRESPONDERS, "2100-01-01", "--format", "jsonl").out.splitlines()
    shown = [json.loads(line) for line in written]
    assert [one["row"] for one in shown] == [2, 5]
    (message,) = shown[1]["messages"]
    assert (message["channel"], message["kind"], message["state"]) == ("email", "invitation", "bounced")
    assert message["at"] == shown[1]["invited_at"]

    ended = desk.onboard("report", "1", *NONRESPONDERS, "2100-01-01T00:00Z")
    assert [row["last_fate"] for row in ended.table] == ["sent", "bounced"]
    assert ended.table[0]["history"] == f"{ended.table[0]['invited_at']} email invitation sent"
    assert "@" not in ended.out

    assert desk.onboard("report", "all", *NONRESPONDERS, "2020-01-01").table == []
    refused = desk.onboard("report", "all", *NONRESPONDERS, "tomorrow")
    assert refused.code == 2
    assert "such as 2026-11-20T09:00+01:00" in refused.err
    assert "or a day, such as 2026-11-27" in refused.err
    written = desk.onboard("report", "all", *NONRESPONDERS, "2100-01-01", "--out", "call.csv")
    assert written.err == "2 customers written to call.csv\n"
