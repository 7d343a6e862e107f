"""How `run` ends when what is left does not move by itself."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

from onboarding_sandbox import Fault
from onboarding_worker.core.foundation.features import hint
from tests.desk.desk import Desk, Played, customers


def test_what_the_provider_puts_off_for_an_hour_ends_with_3_and_says_when(desk_at, play):
    desk = desk_at(play(faults=(Fault.parse("429:1.0,retry-after=3600"),)))
    ended = desk.onboard("run", desk.list_of(customers(5)), "--patience", "1 s")
    assert ended.code == 3, ended.err
    assert "5 rows wait, the first until" in ended.err
    assert "(HTTP 429 TOO_MANY_REQUESTS); run again then" in ended.err
    # The reason is a sentence here, and "limited by kyc is paused" none.
    assert "Z (kyc is paused: HTTP 429 TOO_MANY_REQUESTS)\n" in desk.onboard("check", "customers.csv").out


def test_a_mail_server_that_refuses_twice_is_named_with_one_time_and_what_helps(desk: Desk):
    listed = desk.list_of(customers(2))
    desk.environ["ONBOARDING__EMAIL__URL"] = "smtp://127.0.0.1:1"
    desk.onboard("run", listed, "--patience", "0 s")
    with closing(sqlite3.connect(desk.path / "onboarding.db")) as database, database:
        # A second log-in failed, so the sender's pause ends later than the rows are due.
        due, end = "2036-11-20 12:00:00.000000", "2036-11-20 12:00:03.000000"
        database.execute("UPDATE job SET due_at = ?", [due])
        database.execute("UPDATE budget SET blocked_until = ? WHERE name = 'sender/email'", [end])
    ended = desk.onboard("run", listed, "--patience", "0 s")
    assert ended.code == 3, ended.err
    said = f"{ended.out}{ended.err}"
    assert "email does not work: 127.0.0.1:1: SMTP connection refused at connect" in said
    at = "2036-11-20T12:00:03Z"
    first = hint("doctor", "see what is wrong with `onboard doctor`, and ")
    assert f"2 rows wait, the first until {at}; {first}run again then" in said
    assert f"2 until {at}: the sender email is paused: 127.0.0.1:1: SMTP connection refused at connect" in said
    assert "2036-11-20T12:00:00Z" not in said


def test_until_finished_ends_with_3_while_the_customers_have_not_finished(desk: Desk, played: Played):
    ended = desk.onboard("run", desk.list_of(customers(2)), "--until", "finished")
    assert ended.code == 3, ended.err
    assert "2 customers have not finished" in ended.err


def test_a_list_whose_customers_another_paused_list_serves_is_not_waited_for(desk: Desk, played: Played):
    desk.onboard("import", desk.write("first.csv", "customer_id,email\nC-1,one@example.com\n"))
    desk.onboard("pause", "latest")
    ended = desk.onboard("run", desk.write("second.csv", "customer_id,email\nC-1,uno@example.com\n"))
    assert ended.code == 3, ended.err
    assert "1 row waits for another batch that has the same customers" in ended.err


def test_what_waits_for_the_end_of_quiet_hours_is_named_with_when_and_forecast(desk: Desk, played: Played):
    now = datetime.now(UTC)  # noqa: TID251 -- the command goes by the machine's clock
    begins, ends = now - timedelta(hours=1), now + timedelta(minutes=5)  # within the patience, and not waited for
    desk.add(f'[invitations]\nquiet_hours = {{ email = "{begins:%H:%M}-{ends:%H:%M}" }}\n')
    at = f"{ends:%Y-%m-%dT%H:%M}:00Z"
    file = desk.write("list.csv", "customer_id,email,timezone\nC-1,one@example.com,UTC\nC-2,two@example.com,UTC\n")
    assert desk.onboard("check", file, "--json").facts["forecast"]["finishes_at"] >= at
    ended = desk.onboard("run", file, "--json")
    assert ended.code == 3, ended.err
    assert f"2 rows wait, the first until {at}" in ended.err
    assert f"2 until {at}: the message may not leave during quiet hours" in ended.err
    facts = ended.facts
    assert facts["waits"] == {"quiet_hours": {"rows": 2, "from": at, "until": at}}
    # The run has ended, and no worker runs.
    assert facts["forecast"] == {
        "finishes_at": None,
        "limited_by": "no process is working: `onboard up`",
        "assumed": False,
    }
    assert "done by" not in desk.onboard("run", file).out
    assert {line["error"] for line in desk.onboard("report", "latest").table} == {f"quiet_hours: not before {at}"}
    assert played.opened == {}


def test_rows_that_wait_for_a_decision_are_named_with_the_time_of_the_next_check(desk: Desk):
    desk.onboard("run", desk.list_of(customers(1)))
    later = datetime(2036, 11, 20, 12, tzinfo=UTC)
    with closing(sqlite3.connect(desk.path / "onboarding.db")) as database, database:
        # This customer had the link in the app, and submitted everything before the message was sent.
        database.execute("UPDATE job SET state = 'issued', result = 'review'")
        kept_back = "UPDATE invitation SET state = 'waiting', reason = 'in_review', due_at = ?"
        database.execute(kept_back, [f"{later:%Y-%m-%d %H:%M:%S.%f}"])
    at = "2036-11-20T12:00:00Z"
    facts = desk.onboard("status", "latest", "--json").facts
    assert facts["waits"] == {"in_review": {"rows": 1, "from": at, "until": at}}
    said = f"1 checked again at {at}: the customer has finished their part, and the provider has not decided yet"
    assert said in desk.onboard("status", "latest").out
    ended = desk.onboard("run", "customers.csv")
    assert (ended.code, said in ended.err) == (3, True)


def test_what_a_stop_leaves_behind_has_no_time_left(desk: Desk, played: Played):
    desk.environ["ONBOARDING__ACCOUNTS__KYC__CREDITS"] = "1"
    ended = desk.onboard("run", desk.list_of(customers(3)))
    assert ended.code == 1, ended.err
    assert "1 of 3 out, 1 session · the rest cannot go on now" in ended.err
