"""`run --first`: a pilot as an operator sees it, from the first mail to the verdict and after it."""

from datetime import datetime, timedelta

import pytest

from onboarding_worker.core.foundation.clock import ProcessClock
from tests.desk.desk import Desk, Played, customers, running

pytestmark = pytest.mark.usefixtures("pilots_looked_at_every")

# What customers and time have done meanwhile.
FINISHED = "UPDATE job SET state = 'completed', result = 'approved', due_at = NULL WHERE state = 'invited'"
FOUR_HOURS_LATER = "UPDATE batch_plan SET sent_at = datetime(sent_at, '-4 hours'), check_at = '2020-01-01'"


def test_a_pilot_leaves_and_a_person_lets_the_rest_follow(desk: Desk, played: Played):
    name = desk.list_of(customers(10))
    ended = desk.onboard("run", name, "--first", "20%", "--json")

    assert ended.code == 1
    assert len(played.sandbox.mailbox) == len(played.calls()) == 2
    assert ended.facts["state"] == "paused"
    assert ended.facts["pause_reason"].startswith("the pilot of 2 customers has left; 2 sent")
    assert "`onboard resume 1`" in ended.err
    shown = desk.onboard("status", "1").out
    assert "the first 20%, the rest when a person resumes" in shown
    assert "of 2: 2 sent; no condition was given: it waits for `onboard resume 1`" in shown
    assert ended.facts["plan"]["verdict"] == "asked"
    (need,) = desk.onboard("status", "--json").facts["needs_a_person"]
    assert need["command"] == "onboard resume 1"
    assert desk.onboard("status").out.count("onboard resume 1") == 1

    assert desk.onboard("resume", "1", "--json").facts["rows"] == 8
    assert desk.onboard("run", name).code == 0
    assert len(played.sandbox.mailbox) == 10


def test_a_pilot_that_no_process_has_chosen_yet_is_not_laid_on_the_import(desk: Desk, played: Played):
    assert desk.onboard("import", desk.list_of(customers(2)), "--first", "1").code == 0
    assert "pilot        not chosen yet; no verdict yet\n" in desk.onboard("status", "1").out


def test_a_pilot_without_a_row_that_waits_says_so(desk: Desk, played: Played):
    desk.onboard("run", desk.list_of(customers(2)))
    ended = desk.onboard("run", desk.list_of(customers(2)), "--again", "--first", "1")
    assert ended.code == 0
    assert "no row waits for a session, so nothing is held back; passed" in ended.out


def test_a_pilot_of_customers_of_a_list_that_nobody_works_leaves_before_the_rest(desk: Desk, played: Played):
    desk.onboard("import", desk.list_of(customers(8), "other.csv"))
    name = desk.list_of(list(reversed(customers(8))))
    ended = desk.onboard(
        "run", name, "--yes", "--first", "2", "--go-on-if", "delivered >= 90% within 4 hours", "--json"
    )
    assert (ended.code, len(played.sandbox.mailbox), len(played.calls())) == (3, 2, 2)
    assert ended.facts["plan"]["verdict"] == ""
    desk.sql(FINISHED)
    desk.sql(FOUR_HOURS_LATER)
    assert desk.onboard("run", name).code == 1
    assert len(played.sandbox.mailbox) == 2


def test_an_impatient_run_does_not_end_before_it_has_looked_at_the_pilot(desk: Desk, pilots_looked_at_every):
    pilots_looked_at_every(1.0)  # its messages have left before
    condition = ("--go-on-if", "finished >= 50% within 4 hours")
    waits = desk.onboard("run", desk.list_of(customers(4)), "--first", "2", *condition, "--patience", "0 s", "--json")
    assert waits.code == 3
    by = waits.facts["plan"]["verdict_by"]
    assert f"2 rows wait for the verdict on the pilot, by {by}; `onboard up`" in waits.err

    others = desk.list_of(customers(10)[4:])
    asks = desk.onboard("run", others, "--first", "2", "--patience", "0 s", "--json")
    assert (asks.code, asks.facts["state"]) == (1, "paused")
    assert f"`onboard resume {asks.facts['batch']}`" in asks.err


def test_a_resume_before_the_verdict_does_not_say_that_the_rest_goes_on(desk: Desk, played: Played):
    name = desk.list_of(customers(10))
    desk.onboard("run", name, "--first", "2", "--go-on-if", "finished >= 50% within 4 hours")
    resumed = desk.onboard("resume", "1").out
    assert "8 rows wait for the verdict on the pilot" in resumed
    assert "go on with" not in resumed


def test_a_run_ends_while_the_verdict_is_far_and_the_next_one_goes_on_after_it(desk: Desk, played: Played):
    name = desk.list_of(customers(10))
    condition = "finished >= 50% and bounced <= 3% within 4 hours"
    waits = desk.onboard("run", name, "--first", "2", "--go-on-if", condition, "--json")
    assert (waits.code, len(played.sandbox.mailbox)) == (3, 2)
    assert waits.facts["forecast"]["limited_by"].startswith("it waits for the verdict on its pilot, by ")
    assert "8 rows wait for the verdict on the pilot" in waits.err
    assert desk.onboard("run", name).code == 3  # it is too early
    assert len(played.sandbox.mailbox) == 2

    desk.sql(FINISHED)
    desk.sql(FOUR_HOURS_LATER)
    goes_on = desk.onboard("run", name, "--json")
    assert (goes_on.code, len(played.sandbox.mailbox)) == (0, 10)
    assert goes_on.facts["plan"]["verdict"] == "met"
    entries = desk.audited()
    said = [entry["reason"] for entry in entries if entry["action"] == "pilot"]
    assert "the pilot of 2 customers passed: finished 2 (100.0 %), bounced 0 (0.0 %)" in said


def test_no_verdict_is_promised_for_a_batch_that_is_paused_or_cancelled(desk: Desk, played: Played):
    name = desk.list_of(customers(10))
    by = desk.onboard("run", name, "--first", "2", "--go-on-if", "finished >= 50% within 4 hours", "--json").facts
    assert by["plan"]["verdict_by"] is not None
    desk.onboard("pause", "1")
    assert "of 2: 2 sent; no verdict yet\n" in desk.onboard("status", "1").out
    desk.onboard("cancel", "1", "--yes")
    assert "of 2: 2 sent; no verdict\n" in desk.onboard("status", "1").out

    desk.onboard("run", name, "--again", "--first", "2")
    desk.onboard("cancel", "2", "--yes")
    assert "no condition was given\n" in desk.onboard("status", "2").out


def test_a_pilot_that_does_not_pass_says_which_condition_failed_with_the_numbers(desk: Desk, played: Played):
    name = desk.list_of(customers(10))
    desk.onboard("run", name, "--first", "2", "--go-on-if", "finished >= 50% within 4 hours")
    desk.sql(FOUR_HOURS_LATER)

    failed = desk.onboard("run", name)

    assert failed.code == 1
    assert "did not pass: finished 0 (0.0 %), wanted finished >= 50%" in failed.err
    assert len(played.calls()) == 2


def test_a_condition_that_cannot_be_read_is_refused_at_its_place(desk: Desk):
    name = desk.list_of(customers(2))
    refused = desk.onboard("run", name, "--first", "1", "--go-on-if", "opened >= 3 within 1 h")
    assert refused.code == 2
    assert "  opened >= 3 within 1 h\n  ^" in refused.err
    assert desk.onboard("run", name, "--go-on-if", "sent >= 1 within 1 h").code == 2
    assert desk.onboard("run", name, "--first", "0").code == 2


def test_another_plan_for_the_same_list_is_refused(desk: Desk):
    name = desk.list_of(customers(2))
    desk.onboard("import", name, "--per-hour", "100")
    refused = desk.onboard("run", name, "--per-hour", "200")
    assert refused.code == 2
    assert "at most 100 first invitations an hour" in refused.err
    assert "--again" in refused.err


@pytest.mark.parametrize("text", ["tomorrow", "09:00", "2026-11-20T09:00"])
def test_a_start_needs_its_zone(desk: Desk, text: str):
    refused = desk.onboard("run", desk.list_of(customers(2)), "--start-at", text)
    assert refused.code == 2
    assert "with its zone" in refused.err


@pytest.mark.parametrize("text", ["9999-12-31T23:00-05:00", "9999-12-31T23:00Z", "0001-01-01T00:00+05:00"])
def test_a_start_at_the_end_of_the_calendar_is_refused_before_a_batch_is_made(desk: Desk, text: str):
    refused = desk.onboard("import", desk.list_of(customers(2)), "--start-at", text, "--per-hour", "1")
    assert refused.code == 2
    assert "before the year 2200" in refused.err
    assert desk.onboard("status", "--json").facts["batches"] == []


def test_nothing_leaves_before_the_start_and_the_forecast_knows_it(desk: Desk, played: Played):
    start = (ProcessClock()() + timedelta(hours=5)).replace(microsecond=0)
    waits = desk.onboard("run", desk.list_of(customers(3)), "--start-at", start.isoformat(), "--json")

    assert waits.code == 3
    assert "starts at " in waits.err
    assert f"({start:%Y-%m-%dT%H:%M:%S}Z)" in waits.err
    assert played.calls() == []
    running(desk, "up")
    forecast = desk.onboard("status", "1", "--json").facts["forecast"]
    assert forecast["finishes_at"] >= f"{start:%Y-%m-%dT%H:%M:%S}Z"


def test_a_person_brings_the_start_forward(desk: Desk, played: Played):
    name, start = desk.list_of(customers(3)), (ProcessClock()() + timedelta(hours=5)).replace(microsecond=0)
    desk.onboard("import", name, "--start-at", start.isoformat())

    assert desk.onboard("resume", "1", "--start-at", (start + timedelta(hours=1)).isoformat()).code == 2
    waits = desk.onboard("resume", "1").out
    assert ("running workers go on" in waits, f"{start:%Y-%m-%dT%H:%M:%S}Z" in waits) == (False, True)
    refused = desk.onboard("import", name, "--start-at", "now")
    assert (refused.code, "`onboard resume BATCH --start-at now`" in refused.err) == (2, True)
    moved = desk.onboard("resume", "1", "--start-at", "now")

    assert (moved.code, "starts at " in moved.err) == (0, True)
    assert desk.onboard("run", name).code == 0
    assert len(played.sandbox.mailbox) == 3
    assert any(entry["reason"].startswith("starts at ") for entry in desk.audited())


def test_the_forecast_of_a_start_with_a_pace_knows_that_a_slow_account_begins_then(desk: Desk, played: Played):
    desk.change('limits = ["2000/second"]', 'limits = ["60/hour"]')
    start = (ProcessClock()() + timedelta(hours=5)).replace(microsecond=0)
    desk.onboard("import", desk.list_of(customers(90)), "--start-at", start.isoformat(), "--per-hour", "3600")
    running(desk, "up")

    forecast = desk.onboard("status", "1", "--json").facts["forecast"]
    assert datetime.fromisoformat(forecast["finishes_at"]) - start > timedelta(minutes=25)
    assert forecast["limited_by"] == "its start; kyc: the limit of 60/hour"


def test_a_pace_is_kept_and_known_to_the_forecast(desk: Desk, played: Played):
    paced = desk.onboard("run", desk.list_of(customers(30)), "--per-hour", "10", "--patience", "0 s", "--json")

    assert paced.code == 3
    assert len(played.calls()) == len(played.sandbox.mailbox) == 1
    running(desk, "up")
    forecast = desk.onboard("status", "1", "--json").facts["forecast"]
    assert forecast["limited_by"] == "its pace of 10 first invitations an hour"
    left = datetime.fromisoformat(forecast["finishes_at"]) - ProcessClock()()
    assert timedelta(minutes=172) < left < timedelta(minutes=175)  # 29 rows, six minutes apart
    report = desk.onboard("report", "1").table
    assert {row["error"].partition(":")[0] for row in report if row["state"] == "waiting"} == {"planned"}


def test_check_forecasts_an_imported_list_by_the_plan_that_it_has(desk: Desk, played: Played):
    name = desk.list_of(customers(30))
    assert desk.onboard("check", name, "--json").facts.keys().isdisjoint({"plan"})
    desk.onboard("import", name, "--per-hour", "10")
    checked = desk.onboard("check", name, "--json")
    assert checked.code == 0
    assert checked.facts["plan"] == "at most 10 first invitations an hour"
    assert checked.facts["forecast"]["limited_by"] == "its pace of 10 first invitations an hour"
    left = datetime.fromisoformat(checked.facts["forecast"]["finishes_at"]) - ProcessClock()()
    assert timedelta(minutes=173) < left < timedelta(minutes=176)  # 30 rows, six minutes apart
    assert "\nplan: at most 10 first invitations an hour\n" in desk.onboard("check", name).out


def test_check_lets_a_pace_rest_at_night(desk: Desk, played: Played):
    desk.add('[invitations]\nquiet_hours = { email = "21:00-08:00" }\n')
    name = desk.list_of([{**row, "timezone": "UTC"} for row in customers(30)])
    desk.onboard("import", name, "--per-hour", "1")
    forecast = desk.onboard("check", name, "--json").facts["forecast"]
    left = datetime.fromisoformat(forecast["finishes_at"]) - ProcessClock()()
    assert left > timedelta(hours=28 + 2 * 11)  # two nights at least, to a quarter of an hour
    assert forecast["limited_by"] == "its pace of 1 first invitations an hour; quiet hours on email"


def test_check_lets_a_list_that_starts_at_night_begin_in_the_morning(desk: Desk, played: Played):
    desk.add('[invitations]\nquiet_hours = { email = "21:00-08:00" }\n')
    night = (ProcessClock()() + timedelta(days=1)).replace(hour=23, minute=0, second=0, microsecond=0)
    for last, hours in (("UTC", 9), ("Atlantic/Cape_Verde", 10)):  # the morning comes later there, and to one of three
        rows = [{**row, "timezone": "UTC"} for row in customers(3)]
        rows[2]["timezone"] = last
        name = desk.list_of(rows, f"{hours}.csv")
        desk.onboard("import", name, "--start-at", night.isoformat(), "--known", "invite")
        forecast = desk.onboard("check", name, "--json").facts["forecast"]
        assert forecast["finishes_at"][:16] == f"{night + timedelta(hours=hours):%Y-%m-%dT%H:%M}"
        assert forecast["limited_by"].startswith("its start; ")


def test_the_forecast_of_a_pace_counts_a_place_for_each_message_of_a_row(desk: Desk, played: Played):
    name = desk.list_of(
        [{**row, "channel": "both", "phone": f"+4915123456{n:03}"} for n, row in enumerate(customers(30))]
    )
    desk.onboard("import", name, "--per-hour", "60")
    running(desk, "up")
    forecast = desk.onboard("status", "1", "--json").facts["forecast"]
    assert forecast["limited_by"] == "its pace of 60 first invitations an hour"
    left = datetime.fromisoformat(forecast["finishes_at"]) - ProcessClock()()
    assert timedelta(minutes=58) < left < timedelta(minutes=61)  # two messages for each of 30 rows


@pytest.mark.parametrize(
    ("condition", "code", "said"),
    [((), 1, "cannot finish: "), (("--go-on-if", "sent >= 50% within 1 h"), 0, "no end yet: ")],
)
def test_check_of_a_pilot_names_the_verdict_and_ends_with_1_only_where_a_person_gives_it(
    desk: Desk, played: Played, condition: tuple[str, ...], code: int, said: str
):
    name = desk.list_of(customers(4))
    desk.onboard("import", name, "--first", "2", *condition)
    checked = desk.onboard("check", name)
    assert checked.code == code
    assert f"\n{said}it waits for the verdict on its pilot\n" in checked.out
    desk.change("[accounts.kyc]\n", "[accounts.kyc]\ncredits = 1\n")
    stuck = desk.onboard("check", name)
    assert (stuck.code, "\ncannot finish: kyc has 1 credit left for 4 calls\n" in stuck.out) == (1, True)
