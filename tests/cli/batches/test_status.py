"""`status` answers: is it running, is it stuck, must I do something? `--check` answers a monitoring system."""

import re
import shutil
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from onboarding_worker.core.foundation.clock import system_clock
from onboarding_worker.core.foundation.features import hint
from tests.desk.desk import Desk, Played, customers, running
from tests.suite import of_features

DOCTOR = hint("doctor", "onboard doctor") or "onboard status"


TIME = "%Y-%m-%d %H:%M:%S.%f"


def checked(desk: Desk) -> tuple[int, str]:
    ended = desk.onboard("status", "--check")
    assert ended.out.count("\n") == 1
    return ended.code, ended.out


def needs(desk: Desk) -> list[tuple[str, str]]:
    facts = desk.onboard("status", "--json").facts
    return [(one["what"], one["command"]) for one in facts["needs_a_person"]]


def test_a_list_that_no_process_works_has_no_forecast_and_is_critical(desk: Desk):
    assert checked(desk) == (0, "OK: 0 processes at work, nothing is stuck\n")
    imported = desk.onboard("import", desk.list_of(customers(3)), "--json").facts
    nobody = "no process is working: `onboard up`"
    assert imported["forecast"] == {"finishes_at": None, "limited_by": nobody, "assumed": False}
    shown = desk.onboard("status").out
    assert shown.startswith("no process is working: `onboard up`\n")
    assert desk.onboard("status", "1").out.startswith("no process is working: `onboard up`\n")
    assert checked(desk) == (2, "CRITICAL: no process is working, and work is due for kyc; `onboard up`\n")
    assert needs(desk) == [("process", "onboard up")]


def test_a_running_process_is_named_and_the_batch_has_a_forecast(desk: Desk):
    desk.onboard("import", desk.list_of(customers(3)))
    running(desk, "up")
    shown = desk.onboard("status").out
    assert shown.startswith("working: up, process 7 on box, since 20")
    facts = desk.onboard("status", "1", "--json").facts
    assert facts["forecast"]["finishes_at"]
    (process,) = facts["processes"]
    assert list(process) == ["kind", "host", "pid", "release", "batch", "since", "seen"]
    assert checked(desk) == (0, "OK: 1 process at work, nothing is stuck\n")


def test_a_rejected_row_waits_for_a_correction_and_nothing_is_stuck_by_it(desk: Desk, played: Played):
    rows = customers(3)
    rows[2]["email"] = "box2@example"
    desk.onboard("run", desk.list_of(rows))
    desk.onboard("run", desk.list_of(customers(4)[3:], "good.csv"))

    told = "nothing is stuck; 1 row waits for a correction"
    assert desk.onboard("status").out.splitlines()[-1] == told
    assert desk.onboard("status", "1").out.splitlines()[-1] == told
    assert desk.onboard("status", "2").out.splitlines()[-1] == "nothing is stuck"

    desk.onboard("run", desk.list_of(customers(3)[2:], "corrected.csv"))
    assert desk.onboard("status").out.splitlines()[-1] == "nothing is stuck"
    assert desk.onboard("status", "1").out.splitlines()[-1] == "nothing is stuck"
    assert desk.onboard("report", "1").table[2]["action"] == "nothing: row 2 of batch 3 has the customer"


def test_a_process_that_is_silent_is_shown_with_its_silence(desk: Desk):
    desk.onboard("status")
    running(desk, "import")
    assert "last seen" not in desk.onboard("status").out
    since = datetime.now(UTC) - timedelta(seconds=12)  # noqa: TID251 -- as above
    desk.sql("UPDATE process SET seen_at = ?", f"{since:%Y-%m-%d %H:%M:%S.%f}")
    shown = desk.onboard("status").out.splitlines()[0]
    assert shown.startswith("running: import, process 7 on box, since 20")
    assert re.search(r"Z; last seen 1\d s ago$", shown)


def test_a_list_that_the_run_of_another_list_leaves_alone_is_said_to_be_worked_by_no_process(desk: Desk):
    desk.onboard("import", desk.list_of(customers(3)))
    running(desk, "run")
    desk.sql("UPDATE process SET batch_id = 7")
    assert desk.onboard("status").out.startswith("working: run of batch 7, ")
    shown = desk.onboard("status", "1").out
    assert "no end yet   no process works this batch: `onboard up`\n" in shown
    assert "no process is working" not in shown


@pytest.mark.parametrize("due", [False, True])
def test_beside_a_process_that_only_receives_status_does_not_say_that_none_works(desk: Desk, due: bool):
    if due:
        desk.onboard("import", desk.list_of(customers(3)))
    running(desk, "web")
    shown = desk.onboard("status").out
    assert shown.startswith("running: web, process 7 on box")
    assert "no process is working" not in shown
    assert "no process sends" in shown


def test_a_killed_process_no_longer_counts(desk: Desk):
    desk.onboard("import", desk.list_of(customers(3)))
    running(desk, "up")
    long_ago = datetime.now(UTC) - timedelta(minutes=1)  # noqa: TID251 -- as above
    desk.sql("UPDATE process SET seen_at = ?", f"{long_ago:%Y-%m-%d %H:%M:%S.%f}")
    assert desk.onboard("status").out.startswith("no process is working: `onboard up`\n")


@pytest.mark.parametrize(("age", "is_full"), [(15, True), (25, False)])
def test_a_full_disk_of_a_server_is_known_from_a_process_whose_write_it_has_refused(
    desk: Desk, age: int, is_full: bool
):
    running(desk, "up")
    at = datetime.now(UTC) - timedelta(seconds=age)  # noqa: TID251 -- as above
    desk.sql("INSERT INTO timer (name, at) VALUES ('full', ?)", f"{at:%Y-%m-%d %H:%M:%S.%f}")
    assert (checked(desk)[0] == 2) is is_full
    assert needs(desk) == ([("database", DOCTOR)] if is_full else [])


@pytest.mark.parametrize("kind", ["up", "web"], ids=["it still counts as working", "it no longer counts"])
def test_a_full_disk_is_told_at_once_and_no_process_is_asked_for(desk: Desk, monkeypatch, kind: str):
    """No process can say that it runs then: to start another one helps nothing."""
    desk.onboard("import", desk.list_of(customers(3)))
    running(desk, kind)
    usage = type(shutil.disk_usage("."))(100 << 30, 0, 1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert checked(desk) == (2, f"CRITICAL: the database's disk is full: make space; `{DOCTOR}`\n")
    assert needs(desk) == [("database", DOCTOR)]
    shown = desk.onboard("status", "1").out
    assert "no end yet   the database's disk is full: make space" + hint("doctor", ": `onboard doctor`") in shown
    assert "onboard up" not in shown


def test_workers_without_a_scheduler_are_told(desk: Desk):
    desk.onboard("status")
    running(desk, "worker")
    shown = desk.onboard("status").out
    assert "has come yet: `onboard beat` does not run, or the broker" in shown
    assert "new work waits" in shown
    desk.sql("INSERT INTO timer (name, at) VALUES ('sweep', ?)", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}")  # noqa: TID251
    assert "the workers look for due work by themselves" in desk.onboard("status").out
    assert checked(desk)[0] == 1
    assert needs(desk) == [("beat", DOCTOR)]


def test_a_batch_has_an_end_without_a_scheduler_but_not_while_no_wake_up_reaches_a_worker(desk: Desk):
    desk.onboard("import", desk.list_of(customers(3)))
    running(desk, "worker")
    now = datetime.now(UTC)  # noqa: TID251 -- as above
    beat, wake = now - timedelta(minutes=5), now - timedelta(seconds=20)
    desk.sql("INSERT INTO timer (name, at) VALUES ('beat', ?)", f"{beat:%Y-%m-%d %H:%M:%S.%f}")
    forecast = desk.onboard("status", "1", "--json").facts["forecast"]
    assert forecast["finishes_at"] is None
    assert forecast["limited_by"].startswith("no wake-up of the scheduler has come since 20")
    desk.sql("INSERT INTO timer (name, at) VALUES ('wake', ?)", f"{wake:%Y-%m-%d %H:%M:%S.%f}")
    assert desk.onboard("status", "1", "--json").facts["forecast"]["finishes_at"]
    assert needs(desk) == [("beat", "onboard beat")]
    running(desk, "up")
    desk.sql("DELETE FROM timer WHERE name = 'wake'")
    assert desk.onboard("status", "1", "--json").facts["forecast"]["finishes_at"]  # it needs no wake-ups


@of_features.needs("doctor")
@pytest.mark.parametrize("why", ["credentials", "credits", "sender", "held"])
def test_what_a_run_could_not_do_is_told_after_it(desk: Desk, played: Played, why: str):
    match why:
        case "credentials":
            desk.secret("idenfy_secret", "mistyped")
        case "credits":
            desk.change("[accounts.au]", "credits = 2\n[accounts.au]")
    desk.onboard("run", desk.list_of(customers(4)))
    if why == "sender":
        desk.sql("UPDATE budget SET stopped_at = '2026-01-01', stop_reason = '535' WHERE name = 'sender/email'")
    if why == "held":
        desk.sql("UPDATE job SET state = 'held' WHERE row < 4")
    if why in ("credentials", "credits"):
        waits = "rows wait for kyc (stopped)"
        assert f"no process is working; {waits}\n" in desk.onboard("status").out
        assert f"none; {waits}\n" in desk.onboard("doctor").out
    told, shown, by_name = needs(desk), desk.onboard("status").out, desk.onboard("status", "--json").facts["accounts"]
    match why:
        case "held":
            assert ("batch", "onboard report 1") in told
            assert "batch 1 (customers.csv): 2 rows wait for a decision; " in shown
            assert "nothing is stuck" not in shown
        case "sender":
            assert ("sender", "onboard account resume email") in told
            helps = "correct the cause first; `onboard account resume email`"
            assert f"needs a person: email: stopped since 2026-01-01T00:00:00Z: 535; {helps}" in shown
            assert by_name["email"]["stopped"] == "535"
        case _:
            command = "onboard account list" if why == "credits" else "onboard account resume kyc"
            assert ("account", command) in told
            assert "needs a person: kyc" in shown
            assert by_name["kyc"]["stopped"]
            key = "accounts.kyc.api_secret (the file secrets/idenfy_secret)"  # not where the credits are used up
            assert (key in shown) is (why == "credentials")
    # What is due waits for the stopped account: another process could not do it.
    assert (checked(desk)[0], "no process is working: " in shown) == (1, False)
    running(desk, "up")
    assert checked(desk)[0] == 1


def test_a_status_that_cannot_be_read_is_one_line_too(desk: Desk):
    desk.write("onboarding.db", b"no database " * 100)
    code, line = checked(desk)
    assert (code, line.startswith("CRITICAL: the database cannot be used"), line.count("\n")) == (2, True, 1)
    facts = desk.onboard("status", "--check", "--json").facts
    assert (facts["level"], facts["problem"][:12], facts["needs_a_person"]) == ("CRITICAL", "the database", [])


def test_a_batch_that_paused_itself_needs_a_person_also_with_nothing_left_to_send(desk: Desk, played: Played):
    desk.onboard("run", desk.list_of(customers(3)))
    desk.sql("UPDATE job SET state = 'failed', reason = 'bad_input'")
    paused = "UPDATE batch SET pause_cause = 'itself', pause_reason = '3 of 3 messages were refused', paused_at = ?"
    desk.sql(paused, "2026-01-01 00:00:00.000000")
    assert needs(desk) == [("batch", "onboard resume 1")]
    why = "batch 1 (customers.csv): 3 of 3 messages were refused; `onboard resume 1`"
    assert checked(desk) == (1, f"WARNING: {why}\n")
    desk.onboard("resume", "1")
    assert checked(desk) == (0, "OK: 0 processes at work, nothing is stuck\n")


def test_a_paused_batch_with_only_reminders_is_named_with_its_resume(desk: Desk, played: Played):
    desk.onboard("run", desk.list_of(customers(3)))
    desk.sql("UPDATE invitation SET kind = 'reminder-1', state = 'waiting', due_at = '2100-01-01 00:00:00.000000'")
    assert needs(desk) == []
    desk.onboard("pause", "1")
    assert needs(desk) == [("batch", "onboard resume 1")]
    desk.onboard("resume", "1")
    assert needs(desk) == []


def test_a_batch_that_paused_itself_and_has_rows_to_send_is_named_once(desk: Desk):
    desk.onboard("import", desk.list_of(customers(3)))
    desk.onboard("pause", "1")
    desk.sql("UPDATE batch SET pause_cause = 'itself', pause_reason = 'too many were refused'")
    assert needs(desk) == [("batch", "onboard resume 1")]
    assert checked(desk)[1] == (
        "WARNING: batch 1 (customers.csv): 3 rows wait for a session or its message: too many were refused;"
        " `onboard resume 1`\n"
    )


@of_features.needs("doctor")
def test_rows_of_an_account_that_the_configuration_does_not_have_need_a_person(desk: Desk, played: Played):
    listed = desk.list_of(customers(3))
    desk.onboard("import", listed)
    running(desk, "up")
    desk.sql("UPDATE job SET account = 'old' WHERE row < 4")
    why = "2 rows wait for the account old, which this configuration does not have"
    assert needs(desk) == [("account", "onboard report 1")]
    assert checked(desk) == (1, f"WARNING: old: {why}: put it back; `onboard report 1`\n")
    assert f"needs a person: old: {why}" in desk.onboard("status").out
    assert desk.onboard("status", "1", "--json").facts["forecast"] == {
        "finishes_at": None,
        "limited_by": why,
        "assumed": False,
    }
    assert f"old: {why}" in desk.onboard("doctor").out
    lines = {line["row"]: line for line in desk.onboard("report", "1").table}
    assert lines["2"]["error"] == "account_missing: this configuration does not have the account old"
    assert lines["2"]["action"] == "put the account back into the configuration"
    assert lines["4"]["error"] == ""
    ended = desk.onboard("run", listed)
    assert (ended.code, f"no end yet   {why}" in ended.out) == (1, True)


def test_messages_of_a_channel_that_the_configuration_does_not_have_need_a_person(desk: Desk, played: Played):
    desk.onboard("run", desk.list_of(customers(3)))
    desk.sql("UPDATE invitation SET channel = 'whatsapp', state = 'waiting' WHERE kind = 'invitation'")
    why = "3 messages wait for this channel, which this configuration does not have"
    assert checked(desk) == (1, f"WARNING: whatsapp: {why}: put it back; `onboard report 1`\n")
    assert f"needs a person: whatsapp: {why}" in desk.onboard("status").out


def test_an_import_that_was_cut_off_needs_a_person_while_no_process_imports(desk: Desk, monkeypatch):
    listed = desk.list_of(customers(3), "a list.csv")
    with monkeypatch.context() as full:
        full.setattr("onboarding_worker.lists.store.added_lines.all_added", interrupted)
        assert desk.onboard("import", listed).code == 130
    desk.sql("DELETE FROM process")
    assert ("batch", "onboard import 'a list.csv'") in needs(desk)
    assert "its import was cut off: not all of its rows are here" in desk.onboard("status").out
    running(desk, "import")
    assert ("batch", "onboard import 'a list.csv'") not in needs(desk)
    desk.onboard("import", listed)
    desk.sql("DELETE FROM process")
    assert [what for what, _ in needs(desk)] == ["process"]


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_a_provider_that_is_down_is_shown_with_the_end_of_its_pause(desk: Desk):
    desk.onboard("import", desk.list_of(customers(3)))
    desk.sql(
        "UPDATE budget SET blocked_until = '2999-01-01 00:00:00.000000', pause_reason = '5 calls failed' "
        "WHERE name = 'kyb'"
    )
    shown = desk.onboard("status").out
    assert "kyc, kyc-lt and kyb are paused until 2999-01-01T00:00:00Z: 5 calls failed" in shown
    assert shown.count("5 calls failed") == 1  # the three share a key


@of_features.needs("doctor")
def test_work_of_a_paused_account_is_no_work_for_a_process_until_the_pause_is_over(desk: Desk):
    desk.onboard("import", desk.list_of(customers(3)))
    pause = "UPDATE budget SET blocked_until = ?, pause_reason = 'HTTP 429' WHERE name = 'kyb'"
    desk.sql(pause, "2999-01-01 00:00:00.000000")
    why = "rows wait: kyc is paused until 2999-01-01T00:00:00Z: HTTP 429"
    # Of the accounts that share the pause, only the one that rows wait for is named.
    assert checked(desk) == (0, f"OK: 0 processes at work, nothing is stuck | {why}\n")
    waits = "rows wait for kyc (paused until 2999-01-01T00:00:00Z)"
    assert desk.onboard("status").out.startswith(f"no process is working; {waits}\n")
    assert f"none; {waits}\n" in desk.onboard("doctor").out
    facts = desk.onboard("status", "--check", "--json").facts
    assert (facts["level"], facts["accounts"]["kyc"]["pause_reason"]) == ("OK", "HTTP 429")

    desk.sql(pause, "2026-01-01 00:00:00.000000")
    assert checked(desk) == (2, "CRITICAL: no process is working, and work is due for kyc; `onboard up`\n")


@of_features.needs("doctor")
@pytest.mark.parametrize("due_at", ["2026-01-01 00:00:00.000000", "2999-01-01 00:00:00.000000"], ids=["due", "later"])
def test_rows_that_wait_for_their_sender_are_no_work_for_a_process_while_it_is_shut(desk: Desk, due_at: str):
    desk.onboard("import", desk.list_of(customers(3)))
    desk.sql("UPDATE job SET reason = 'waits_for_sender', due_at = ?", due_at)
    shut = "UPDATE budget SET stopped_at = ?, stop_reason = '535', blocked_until = ? WHERE name = 'sender/email'"
    desk.sql(shut, None, "2999-01-01 00:00:00.000000")
    waits = "rows wait for the sender email (paused until 2999-01-01T00:00:00Z)"
    assert desk.onboard("status").out.startswith(f"no process is working; {waits}\n")
    assert f"none; {waits}\n" in desk.onboard("doctor").out
    assert checked(desk)[0] == 0
    assert "rows wait: the sender email is paused until 2999-01-01T00:00:00Z" in checked(desk)[1]
    desk.sql(shut, "2026-01-01 00:00:00.000000", None)
    assert "no process is working; rows wait for the sender email (stopped)\n" in desk.onboard("status").out
    assert checked(desk) == (
        1,
        "WARNING: email: stopped since 2026-01-01T00:00:00Z: 535; correct the cause first;"
        " `onboard account resume email`\n",
    )
    desk.onboard("pause", "1")
    assert "no process is working; nothing is due now\n" in desk.onboard("status").out


def test_a_row_that_was_put_off_to_the_end_of_a_pause_waits_for_its_account(desk: Desk):
    desk.onboard("import", desk.list_of(customers(1)))
    desk.sql("UPDATE job SET reason = 'rate_limited', due_at = '2999-01-01 00:00:00.000000'")
    desk.sql("UPDATE budget SET blocked_until = '2999-01-01 00:00:00.000000' WHERE name = 'kyb'")
    waits = "rows wait for kyc (paused until 2999-01-01T00:00:00Z)"
    assert desk.onboard("status").out.startswith(f"no process is working; {waits}\n")


def test_a_message_that_was_put_off_to_the_end_of_a_pause_waits_for_its_sender(desk: Desk, played: Played):
    desk.onboard("run", desk.list_of(customers(1)))
    desk.sql("UPDATE invitation SET state = 'waiting', due_at = '2999-01-01 00:00:00.000000'")
    desk.sql("UPDATE budget SET blocked_until = '2999-01-01 00:00:00.000000' WHERE name = 'sender/email'")
    waits = "rows wait for the sender email (paused until 2999-01-01T00:00:00Z)"
    assert desk.onboard("status").out.startswith(f"no process is working; {waits}\n")


def test_an_outage_of_minutes_needs_a_person_and_has_no_end(desk: Desk):
    desk.onboard("import", desk.list_of(customers(3)))
    running(desk, "up")
    down = "UPDATE budget SET blocked_until = ?, opened_at = ?, pause_reason = 'HTTP 503' WHERE name = 'kyb'"
    now = datetime.now(UTC)  # noqa: TID251 -- the command goes by the machine's clock
    desk.sql(down, "2999-01-01 00:00:00.000000", f"{now - timedelta(minutes=4):%Y-%m-%d %H:%M:%S.%f}")
    assert checked(desk)[0] == 0
    facts = desk.onboard("status", "1", "--json").facts["forecast"]
    assert facts["finishes_at"] is None
    assert facts["limited_by"].startswith("kyc is paused: no call has succeeded since 20")

    since = now - timedelta(minutes=6)
    desk.sql(down, "2999-01-01 00:00:00.000000", f"{since:%Y-%m-%d %H:%M:%S.%f}")
    why = f"no call has succeeded since {since:%Y-%m-%dT%H:%M:%S}Z: HTTP 503"
    # The three accounts share a key.
    assert checked(desk) == (1, f"WARNING: kyc, kyc-lt, kyb: {why}; `onboard account list`\n")
    assert needs(desk) == [("account", "onboard account list")]
    # The pause is over, and rows wait: the next call finds out.
    desk.sql(down, None, f"{since:%Y-%m-%d %H:%M:%S.%f}")
    assert checked(desk)[0] == 1
    desk.sql("DELETE FROM job")
    assert checked(desk)[0] == 0


def test_check_is_about_everything(desk: Desk):
    assert desk.onboard("status", "1", "--check").code == 2
    facts = desk.onboard("status", "--check", "--json").facts
    assert list(facts) == ["level", "accounts", "processes", "needs_a_person"]
    assert (facts["level"], facts["processes"], facts["needs_a_person"]) == ("OK", [], [])


def test_the_longest_review_is_named_beside_the_results(desk: Desk, played: Played):
    assert desk.onboard("run", desk.list_of(customers(2))).code == 0
    assert "longest review" not in desk.onboard("status", "1").out
    desk.sql("UPDATE session SET result = 'review', update_at = ?", "2026-11-01 09:00:00.000000")
    desk.sql("UPDATE job SET result = 'review'")
    shown = desk.onboard("status", "1").out
    assert "  results      2 review\n               the longest review: since 2026-11-01T09:00:00Z\n" in shown
    assert desk.onboard("status", "1", "--json").facts["in_review_since"] == "2026-11-01T09:00:00Z"


def test_a_code_that_no_table_has_is_named_with_its_number_for_a_day(desk: Desk):
    desk.onboard("status")
    accounts = desk.onboard("account", "list", "--json").facts["accounts"]
    (of_kyc,) = (one["budget"] for one in accounts if one["account"] == "kyc")
    now, before = system_clock(), system_clock() - timedelta(days=2)
    for budget, code, at in (("sender/email", "5.7.509", now), (of_kyc, "HTTP-400", now), (of_kyc, "OLD-1", before)):
        values = (budget, code, 12, before.strftime(TIME), at.strftime(TIME))
        desk.sql("INSERT INTO unread_code (budget, code, count, first_at, last_at) VALUES (?, ?, ?, ?, ?)", *values)
    shown = desk.onboard("status").out
    assert re.search("needs a person: [a-z, -]*kyc[a-z, -]*: 12 answers or reports have the code HTTP-400", shown)
    assert "needs a person: email: 12 answers or reports have the code 5.7.509" in shown
    assert "OLD-1" not in shown
    assert [what for what, _ in needs(desk)] == ["account", "sender"]


def test_webhooks_to_check_need_a_person_until_they_are_done(desk: Desk):
    desk.onboard("status")
    kept, stray = (uuid.UUID(int=number) for number in (7, 8))
    for id_, state in ((kept, "alert"), (stray, "unknown")):
        desk.sql(
            "INSERT INTO webhook (id, source, digest, event, received_at, state, attempts, detail)"
            " VALUES (?, 'account/kyc', ?, 'EVENT', '2026-11-20 12:00:00.000000', ?, 1, 'unclear')",
            id_.hex,
            str(id_),
            state,
        )
    assert checked(desk) == (1, "WARNING: 1 webhook is to be checked by a person; `onboard events webhooks list`\n")
    assert needs(desk) == [("webhook", "onboard events webhooks list")]
    partly = desk.onboard("events", "webhooks", "done", str(kept), str(uuid.UUID(int=9)), "--json")
    assert (partly.code, partly.facts) == (1, {"webhooks": 1})
    assert "1 webhook done; 1 id is of no webhook in `onboard events webhooks list`" in partly.err
    assert desk.onboard("events", "webhooks", "done", str(uuid.UUID(int=9))).code == 2
    assert checked(desk)[0] == 0
    assert [one["id"] for one in desk.onboard("events", "webhooks", "list", "--json").facts["webhooks"]] == [str(stray)]
    assert desk.onboard("events", "webhooks", "done", str(stray)).out == "1 webhook done\n"
    assert desk.sql("SELECT subject FROM audit WHERE action = 'events webhooks done'") == [
        (f"webhook {kept}",),
        (f"webhook {stray}",),
    ]
