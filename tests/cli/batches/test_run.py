"""`run`, `import` and `status`: a list goes in, invitations go out, and the same list again goes on."""

import fcntl
from datetime import UTC, datetime, timedelta

import pytest

from onboarding_sandbox import Fault, RateLimit, SmtpFault
from tests.desk.desk import Desk, Played, customers, running
from tests.suite.some import some

ROWS = [
    "total",
    "rejected",
    "duplicate",
    "waiting",
    "working",
    "issued",
    "invited",
    "completed",
    "lapsed",
    "held",
    "failed",
    "cancelled",
]
STATUS = ["batch", "name", "state", "rows", "results", "accounts", "invitations", "forecast"]
ADDED = ("left_alone", "waits_until", "changed_addresses", "processes", "needs_a_person")  # by `run`, and by `status`
ACCOUNT = ["requests", "issued", "rate_limited", "errors", "late", "in_doubt", "stopped"]
INVITATIONS = ["waiting", "sent", "delivered", "bounced", "suppressed", "failed", "held"]


def holds_together(facts: dict) -> None:
    """The shape that DESIGN documents, and the sum that always holds."""
    assert [name for name in facts if name not in ADDED] == STATUS
    assert sorted(facts["rows"]) == sorted(ROWS)
    assert facts["rows"]["total"] == sum(number for state, number in facts["rows"].items() if state != "total")
    for account in facts["accounts"].values():
        assert list(account) == ACCOUNT
    assert list(facts["invitations"]) == INVITATIONS
    assert list(facts["forecast"]) == ["finishes_at", "limited_by", "assumed"]


def test_run_invites_every_customer_once_and_prints_the_documented_facts(desk: Desk, played: Played):
    ended = desk.onboard("run", desk.list_of(customers(30, au=10)), "--json")
    facts = ended.facts
    assert ended.code == 0
    holds_together(facts)
    assert (facts["state"], facts["rows"]["total"], facts["rows"]["invited"]) == ("sent", 30, 30)
    assert facts["waits_until"] is None
    assert facts["accounts"]["au"] | {"requests": 0} == dict.fromkeys(ACCOUNT, 0) | {"issued": 10, "stopped": None}
    assert facts["invitations"]["sent"] == 30
    assert set(played.opened.values()) == {1}
    assert len(played.message_ids) == 30
    assert all(sum(ids.values()) == 1 for ids in some(played.message_ids.values()))


def test_each_invitation_holds_the_link_that_is_stored(desk: Desk, played: Played):
    rows = customers(6, au=3)
    desk.onboard("run", desk.list_of(rows))
    ended = desk.onboard("report", "latest", "--with-links")
    links = {row["email"]: line["link"] for row, line in zip(rows, ended.table, strict=True)}
    assert all(links.values())
    for mail in some(played.sandbox.mailbox):
        assert links[mail.recipients[0]] in (mail.text or "")


def test_a_list_with_refused_rows_goes_on_with_the_others_and_ends_with_1(desk: Desk, played: Played):
    rows = [*customers(3), {"customer_id": "bad", "email": "nobody"}, customers(1)[0]]
    ended = desk.onboard("run", desk.list_of(rows), "--json")
    holds_together(ended.facts)
    assert ended.code == 1
    assert {state: n for state, n in ended.facts["rows"].items() if n} == {
        "total": 5,
        "rejected": 1,
        "duplicate": 1,
        "invited": 3,
    }
    assert len(played.sandbox.mailbox) == 3


def test_for_people_run_says_how_it_ended_and_where_each_row_is(desk: Desk):
    ended = desk.onboard("run", desk.list_of(customers(2)))
    assert ended.code == 0
    assert "2 invited" in ended.out
    assert "onboard report 1" in ended.out
    assert "imported" in ended.err


def test_the_same_list_again_is_the_same_batch_and_says_how_old_it_is(desk: Desk, played: Played):
    listed = desk.list_of(customers(3))
    first = desk.onboard("run", listed, "--json").facts
    before = (datetime.now(UTC) - timedelta(days=3)).replace(tzinfo=None)  # noqa: TID251 -- the product reads it too
    desk.sql("UPDATE batch SET created_at = ?", before.isoformat(sep=" "))
    again = desk.onboard("run", listed, "--json")
    assert (again.code, again.facts["batch"]) == (0, first["batch"])
    assert "imported 3 days ago" in again.err
    assert "--again" in again.err
    assert len(played.sandbox.mailbox) == 3
    assert len(desk.onboard("status", "--json").facts["batches"]) == 1


def test_a_renamed_list_is_the_same_batch_too(desk: Desk):
    first = desk.onboard("run", desk.list_of(customers(2), "one.csv"), "--json").facts
    second = desk.onboard("run", desk.list_of(customers(2), "two.csv"), "--json").facts
    assert first["batch"] == second["batch"]


def test_again_makes_a_new_batch_that_asks_and_writes_nothing_twice(desk: Desk, played: Played):
    listed = desk.list_of(customers(3, au=1))
    first = desk.onboard("run", listed, "--json").facts
    again = desk.onboard("run", listed, "--again", "--json")
    assert again.code == 0
    assert again.facts["batch"] != first["batch"]
    assert again.facts["rows"]["joined"] == 3  # each joins the session that lives
    assert set(played.opened.values()) == {1}
    assert len(played.sandbox.mailbox) == 3


def test_import_asks_for_nothing_and_run_goes_on_with_it(desk: Desk, played: Played):
    listed = desk.list_of(customers(4))
    imported = desk.onboard("import", listed, "--json")
    holds_together(imported.facts)
    assert imported.code == 0
    assert (imported.facts["state"], imported.facts["rows"]["waiting"]) == ("ready", 4)
    assert played.calls() == []
    ran = desk.onboard("run", listed, "--json")
    assert (ran.code, ran.facts["batch"], ran.facts["rows"]["invited"]) == (0, imported.facts["batch"], 4)


def test_a_list_that_another_process_works_is_not_left_alone(desk: Desk):
    assert desk.onboard("import", desk.list_of(customers(1), "first.csv")).code == 0
    second = desk.list_of(customers(2)[1:])
    alone = desk.onboard("run", second, "--json")
    assert [one["batch"] for one in alone.facts["left_alone"]] == [1]
    running(desk, "up")
    again = desk.onboard("run", second, "--json")
    assert (again.facts["left_alone"], again.err.count("left alone")) == ([], 0)


def test_status_tells_one_batch_or_all_of_them(desk: Desk):
    assert desk.onboard("status", "--json").facts["batches"] == []
    assert "onboard run" in desk.onboard("status").out
    desk.onboard("run", desk.list_of(customers(1), "one.csv"))
    desk.onboard("import", desk.list_of(customers(3)[1:], "two.csv"))
    every = desk.onboard("status", "--json").facts["batches"]
    for facts in every:
        holds_together(facts)
    assert {(facts["name"], facts["state"]) for facts in every} == {("one.csv", "sent"), ("two.csv", "ready")}
    latest = desk.onboard("status", "latest", "--json").facts
    assert latest["name"] == "two.csv"
    assert latest == desk.onboard("status", str(latest["batch"]), "--json").facts | {"forecast": latest["forecast"]}
    shown = desk.onboard("status")
    assert (shown.code, "one.csv" in shown.out, "two.csv" in shown.out) == (0, True, True)


@pytest.mark.parametrize("which", ["7", "nonsense", "-1"])
def test_a_batch_that_is_not_there_is_exit_2(desk: Desk, which: str):
    desk.onboard("run", desk.list_of(customers(1)))
    for command in ("status", "report"):
        ended = desk.onboard(command, "--", which)
        assert (ended.code, ended.out) == (2, "")
        assert "no batch" in ended.err


def test_rows_without_a_channel_are_only_issued_and_count_as_sent(desk: Desk, played: Played):
    rows = [{"customer_id": f"L-{n}", "channel": "none"} for n in range(3)]
    ended = desk.onboard("run", desk.list_of(rows), "--json")
    assert ended.code == 0
    assert ended.facts["rows"]["issued"] == 3
    assert len(played.sandbox.mailbox) == 0
    assert all(line["link"] for line in some(desk.onboard("report", "latest", "--with-links").table))


def test_a_second_process_on_the_same_sqlite_database_is_refused(desk: Desk, played: Played):
    listed = desk.list_of(customers(2))
    with (desk.path / "onboarding.db.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = desk.onboard("run", listed)
        assert (ended.code, ended.out) == (2, "")
        assert "another process is working" in ended.err
        assert desk.onboard("status").code == 0  # looking is allowed
    assert desk.onboard("run", listed).code == 0


def test_wrong_credentials_stop_the_account_and_cost_no_row_anything(desk: Desk, played: Played):
    desk.secret("idenfy_secret", "mistyped")
    listed = desk.list_of(customers(12, au=2))
    ended = desk.onboard("run", listed, "--json")
    facts = ended.facts
    holds_together(facts)
    assert ended.code == 1
    assert (facts["rows"]["waiting"], facts["rows"]["invited"]) == (10, 2)
    assert facts["accounts"]["kyc"]["stopped"]
    assert facts["accounts"]["au"]["stopped"] is None
    assert "kyc is stopped" in ended.err
    assert "kyc is stopped" in facts["forecast"]["limited_by"]
    assert "stopped" in desk.onboard("status", "latest").out
    assert "mistyped" not in ended.out + ended.err
    calls = len(played.calls("idenfy-kyc"))
    desk.onboard("run", listed)
    assert len(played.calls("idenfy-kyc")) <= calls + 2  # the next run tries with one call, again with a new secret
    desk.secret("idenfy_secret", "sandbox-secret")
    again = desk.onboard("run", listed, "--json")
    assert (again.code, again.facts["rows"]["invited"]) == (0, 12)
    assert set(played.opened.values()) == {1}
    for line in some(desk.onboard("report", "latest").table):
        assert int(line["attempts"]) <= 1


def test_a_mail_server_that_refuses_the_login_stops_the_sending_and_says_so(desk_at, play):
    played = play(smtp_user="me", smtp_password="right")
    desk = desk_at(played)
    desk.change("smtp://", "smtp://me:wrong@")
    refused = desk.onboard("check", desk.list_of(customers(1)))
    assert refused.code == 2  # a password does not belong in the file
    desk.change(f'url = "smtp://me:wrong@127.0.0.1:{played.sandbox.smtp_port}"', 'url = { file = "secrets/smtp" }')
    desk.secret("smtp", f"smtp://me:wrong@127.0.0.1:{played.sandbox.smtp_port}")
    listed = desk.list_of(customers(2))
    ended = desk.onboard("run", listed, "--json")
    assert ended.code == 1
    assert ended.facts["rows"]["waiting"] == 2
    assert "email" in (ended.facts["forecast"]["limited_by"] or "")
    assert "wrong" not in ended.out + ended.err
    desk.secret("smtp", f"smtp://me:right@127.0.0.1:{played.sandbox.smtp_port}")
    again = desk.onboard("run", listed, "--json")
    assert (again.code, again.facts["rows"]["invited"]) == (0, 2)
    assert set(played.opened.values()) == {1}


def test_what_waits_longer_than_the_patience_is_named_with_when_and_ends_with_3(desk_at, play):
    desk = desk_at(play(limits=(RateLimit.parse("idenfy-kyc=1/hour"),)))
    rows = [*customers(5), {"customer_id": "A", "country": "AU", "entity_id": customers(1, au=1)[0]["entity_id"]}]
    rows[-1]["channel"] = "none"  # it needs no message: it waits for nothing once it has its session
    ended = desk.onboard("run", desk.list_of(rows), "--patience", "1 s", "--json")
    assert ended.code == 3
    holds_together(ended.facts)
    assert (ended.facts["rows"]["waiting"], ended.facts["rows"]["issued"]) == (4, 1)
    assert f"4 rows wait, the first until {ended.facts['waits_until']} (" in ended.err


def test_what_waits_for_its_senders_limit_ends_a_run_after_its_patience_too(desk: Desk):
    desk.change("[email]\n", '[email]\nlimits = ["7/day"]\n')
    ended = desk.onboard("run", desk.list_of(customers(3)), "--patience", "1 s", "--json")
    assert ended.code == 3
    holds_together(ended.facts)
    assert ended.facts["invitations"]["sent"] == 1
    assert f"2 rows wait, the first until {ended.facts['waits_until']} (" in ended.err
    assert any("the sender email: its limit of 7/day" in line for line in ended.lines)


def test_no_process_is_missed_while_the_limit_of_a_sender_is_used_up(desk: Desk):
    desk.change("[email]\n", '[email]\nlimits = ["7/day"]\n')
    desk.onboard("run", desk.list_of(customers(3)), "--patience", "1 s")
    checked = desk.onboard("status", "--check")
    assert checked.code == 0
    assert "rows wait: the sender email has used up its limit of 7/day, until 20" in checked.out
    assert "rows wait for the sender email (its limit of 7/day is used up until 20" in desk.onboard("status").out
    waits = [row for row in desk.onboard("report", "latest").table if row["invitation"] == "waiting"]
    assert waits
    for row in waits:
        assert row["error"] == "limit_used_up: email: its limit of 7/day"
        assert row["next_at"] > f"{datetime.now(UTC):%Y-%m-%dT%H:%M}"  # noqa: TID251 -- the command's own clock


def test_being_rate_limited_costs_no_attempt_and_loses_no_customer(desk_at, play):
    played = play(faults=(Fault.parse("429:0.2"), Fault.parse("400-too-many:0.1,endpoint=idenfy-kyc")), seed=3)
    desk = desk_at(played)
    ended = desk.onboard("run", desk.list_of(customers(40, au=20)), "--json")
    refused = [entry for entry in played.calls() if entry["fault"] in ("429", "400-too-many")]
    assert ended.code == 0
    holds_together(ended.facts)
    assert ended.facts["rows"]["invited"] == 40
    assert {entry["fault"] for entry in refused} == {"429", "400-too-many"}
    assert sum(account["rate_limited"] for account in ended.facts["accounts"].values()) == len(refused)
    assert all(account["errors"] == 0 for account in ended.facts["accounts"].values())
    lines = desk.onboard("report", "latest").table
    assert {line["attempts"] for line in lines} == {"1"}
    assert sum(int(line["waits"]) for line in lines) == len(refused)
    assert set(played.opened.values()) == {1}


def test_retry_after_is_waited_for(desk_at, play):
    played = play(faults=(Fault.parse("429:0.2,retry-after=1,endpoint=idenfy-kyc"),), seed=5)
    desk = desk_at(played)
    ended = desk.onboard("run", desk.list_of(customers(6)), "--json")
    assert (ended.code, ended.facts["rows"]["invited"]) == (0, 6)
    at = [(datetime.fromisoformat(entry["at"]), entry["status"]) for entry in played.calls()]
    told = [when for when, status in at if status == 429]
    assert told
    first_after = min(when for when, _ in at if when > told[0] + timedelta(milliseconds=500))
    assert first_after - told[0] >= timedelta(seconds=1)


def test_transient_failures_are_tried_again_and_counted(desk_at, play):
    played = play(faults=(Fault.parse("500:0.2,endpoint=idenfy-kyc"), Fault.parse("503:0.2")), seed=11)
    desk = desk_at(played)
    ended = desk.onboard("run", desk.list_of(customers(30, au=10)), "--json")
    failed = [entry for entry in played.calls() if entry["fault"]]
    assert ended.code == 0
    assert ended.facts["rows"]["invited"] == 30
    assert {entry["fault"] for entry in failed} == {"500", "503"}
    assert sum(account["errors"] for account in ended.facts["accounts"].values()) == len(failed)
    assert set(played.opened.values()) == {1}


def test_a_call_that_broke_after_it_was_made_is_held_for_idenfy_and_repeated_for_frankieone(desk_at, play):
    played = play(faults=(Fault.parse("drop-after:0.25"),), seed=4)
    desk = desk_at(played)
    desk.change('provider = "idenfy-kyc"', 'provider = "idenfy-kyc"\non_unknown = "hold"')
    ended = desk.onboard("run", desk.list_of(customers(40, au=20)), "--json")
    broken = {
        name: [entry["client"] for entry in played.calls(name) if entry["fault"]]
        for name in ("idenfy-kyc", "frankieone-v2")
    }
    assert all(broken.values())
    assert ended.code == 1
    assert ended.facts["rows"]["held"] == len(broken["idenfy-kyc"])
    assert ended.facts["rows"]["invited"] == 40 - len(broken["idenfy-kyc"])
    held = [line for line in desk.onboard("report", "latest").table if line["state"] == "held"]
    assert {line["customer_id"] for line in held} == set(broken["idenfy-kyc"])
    assert all(line["error"].startswith("unknown") and line["action"] for line in held)
    assert all(played.opened[line["customer_id"]] == 1 for line in held)
    assert all(line["account"] == "kyc" for line in held)
    # Again: nothing is repeated by itself.
    calls = len(played.calls())
    assert desk.onboard("run", "customers.csv").code == 1
    assert len(played.calls()) == calls


def test_a_refused_address_fails_its_row_and_a_full_mailbox_is_tried_again(desk_at, play):
    played = play(smtp_refused=frozenset({"box1@example.com"}), smtp_faults=(SmtpFault.parse("452:0.3"),), seed=2)
    desk = desk_at(played)
    ended = desk.onboard("run", desk.list_of(customers(10)), "--json")
    assert ended.code == 1
    assert (ended.facts["rows"]["invited"], ended.facts["rows"]["failed"]) == (9, 1)
    assert (ended.facts["invitations"]["sent"], ended.facts["invitations"]["bounced"]) == (9, 1)
    (line,) = [line for line in desk.onboard("report", "latest").table if line["state"] == "failed"]
    assert (line["customer_id"], line["invitation"]) == ("C-0001", "bounced")
    assert "550" in line["error"]
    assert "box1" not in line["error"]
    assert "452" in {str(entry["status"]) for entry in played.sandbox.log if entry["endpoint"] == "smtp"}
    assert all(sum(ids.values()) == 1 for ids in some(played.message_ids.values()))


def test_greylisted_messages_wait_for_their_hour_and_keep_their_session(desk_at, play):
    played = play(smtp_faults=(SmtpFault.parse("450:1"),))
    desk = desk_at(played)
    ended = desk.onboard("run", desk.list_of(customers(3)), "--json", "--patience", "1 s")
    assert ended.code == 3
    assert (ended.facts["rows"]["issued"], ended.facts["invitations"]["waiting"]) == (3, 3)
    assert "3 rows wait, the first until 20" in ended.err
    assert "not sent yet: 3 first messages of batch 1" in desk.onboard("check", "customers.csv").out
    checked = desk.onboard("check", "customers.csv", "--json").facts
    assert (checked["batch"], checked["unsent"], checked["refused"]) == (1, 3, None)
    assert set(played.opened.values()) == {1}


def test_no_call_is_made_beyond_the_credits(desk: Desk, played: Played):
    desk.change("[accounts.au]", "credits = 7\n[accounts.au]")
    ended = desk.onboard("run", desk.list_of(customers(12)), "--json")
    assert ended.code == 1
    assert len(played.calls()) == 7
    assert (ended.facts["rows"]["invited"], ended.facts["rows"]["waiting"]) == (7, 5)
    assert ended.facts["accounts"]["kyc"]["stopped"]


def test_a_line_of_progress_is_one_line_and_is_not_said_twice(desk: Desk):
    desk.change(f"smtp://127.0.0.1:{smtp_port(desk)}", "smtp://127.0.0.1:1")
    desk.change('first = "20 ms"\nmost = "50 ms"', 'first = "1 minute"\nmost = "1 minute"')
    ended = desk.onboard("run", desk.list_of(customers(1)), "--patience", "1 s")
    progress = [line for line in ended.lines if " of 1 out" in line]
    assert progress[-1].endswith("127.0.0.1:1: SMTP connection refused at connect")
    assert len(set(progress)) == len(progress)


def smtp_port(desk: Desk) -> str:
    return desk.config.read_text("utf-8").partition("smtp://127.0.0.1:")[2].partition('"')[0]


def test_a_stop_is_named_once_for_all_accounts_of_a_budget_that_the_list_uses(desk: Desk):
    desk.secret("idenfy_key", "wrong")
    rows = [row | {"country": country} for row, country in zip(customers(2), ("DE", "LT"), strict=True)]

    ended = desk.onboard("run", desk.list_of(rows))

    told = [line for line in ended.lines if "stopped:" in line and not line.startswith("{")]  # beside the log's line
    assert [line.partition(":")[0] for line in told] == ["kyc and kyc-lt are stopped"]


@pytest.mark.parametrize("command", ["run", "import"])
def test_the_commonest_reasons_of_rejected_rows_are_told_after_the_import(desk: Desk, command: str):
    bad = "".join(f"A-{n},{'nobody' * (n + 1)},\n" for n in range(3)) + "A-4,one@example.com,Teutonia\n"

    ended = desk.onboard(command, desk.write("bad.csv", f"customer_id,email,country\n{bad}"))

    told = ended.err.partition("4 rows rejected (`onboard report 1` has each), mostly for:\n")[2].splitlines()
    assert told[:2] == [
        "  3 rows: email: 6 characters without an @ (give an address such as name@example.com)",
        "  1 row: country: 8 characters that are not a country (use an ISO 3166 code, such as DE, or its name)",
    ]


@pytest.mark.parametrize("command", ["run", "import"])
def test_the_first_warnings_of_rows_are_told_after_the_import_and_how_to_see_all(desk: Desk, command: str):
    rows = "".join(f"A-{n},a{n}@example.com,soon,{'Atlantis' if n == 4 else ''}\n" for n in range(5))

    ended = desk.onboard(command, desk.write("odd.csv", f"customer_id,email,date_of_birth,nationality\n{rows}"))

    assert ended.code == 0
    told = ended.err.splitlines()
    first = next(number for number, line in enumerate(told) if line.startswith("warning: 5 rows (2, 3, 4, …), date_of"))
    assert told[first + 1].startswith("warning: row 6, nationality: ")
    assert told[first + 2].startswith("odd.csv: 6 warnings about rows; `onboard check LIST --errors FILE` writes all")


def test_a_run_names_the_sender_that_was_taken_out_and_waits_for_none(desk: Desk, played: Played):
    rows = desk.write("list.csv", "customer_id,email,phone,channel\nc-1,one@example.com,,\nc-2,,+37060012345,sms\n")
    assert desk.onboard("import", rows).code == 0
    before, _, after = desk.config.read_text("utf-8").partition("[sms]")
    desk.config.write_text(before + after[after.index("# [invitations]") :], "utf-8")

    ran = desk.onboard("run", rows)

    gone = "sms: 1 message waits for this channel, which this configuration does not have: put it back"
    assert (ran.code, ran.err.splitlines()[-1]) == (1, f"{gone}, and run again")
    assert f"no end yet   {gone}\n" in ran.out
    assert len(played.calls()) == 1


def test_the_rest_of_an_import_that_was_cut_off_is_said_to_be_imported_now_with_its_rejected_rows(desk: Desk):
    file = desk.write("list.csv", "customer_id,email\nC-1,one@example.com\nC-2,nobody\nC-3,three@example.com\n")
    desk.onboard("import", file)
    desk.sql("DELETE FROM job WHERE row = 4")
    desk.sql("DELETE FROM skipped_line")
    desk.sql("UPDATE batch SET imported_at = NULL, last_row = 2")
    ended = desk.onboard("import", file)
    assert ended.code == 1
    begun = "batch 1: the import of list.csv, begun less than a minute ago, was not complete; the rest was imported in "
    assert begun in ended.err
    assert "1 row of the rest rejected (`onboard report 1` has each), mostly for:\n" in ended.err
    again = desk.onboard("import", file).err
    assert "this list was imported less than a minute ago; continuing with it" in again
    assert "mostly for" not in again


def test_a_run_whose_rest_waits_for_more_credits_asks_a_person(desk: Desk):
    ended = desk.onboard("run", desk.list_of(customers(3)), "--most-credits", "1", "--patience", "2 h", "--json")
    assert (ended.code, ended.facts["waits_until"]) == (1, None)
    assert "2 rows wait" in ended.err
    assert "`onboard resume 1 --most-credits N`" in ended.err
    until = ended.facts["waits"]["credits_spent"]["until"]
    assert until not in desk.onboard("status", "1").out  # that is the next look, and not the end
