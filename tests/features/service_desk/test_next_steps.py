"""What comes next for a customer, as a clerk reads it out: never a time before which nothing can happen."""

from datetime import timedelta
from itertools import product

import pytest

from onboarding_worker.core.foundation.notation import written
from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState
from onboarding_worker.core.rules.limits import Limit
from onboarding_worker.core.rules.ramp import Ramp
from onboarding_worker.core.rules.reconciliation import OrphanRule
from onboarding_worker.features.service_desk.timeline import Moment, timeline
from onboarding_worker.reporting.report_lines import Columns, line_values, wait_for
from onboarding_worker.reporting.store.ledger import JobFacts
from onboarding_worker.reporting.store.report_rows import LineFacts
from onboarding_worker.reporting.waits import Circumstances, Place, Wait, Waiting, of_account
from tests.conftest import NOON
from tests.features.service_desk import facts
from tests.features.service_desk.facts import a_history, a_message, of_message

SOON, LATER = NOON + timedelta(minutes=5), NOON + timedelta(hours=1)
ROW = facts.ROW._replace(batch=3, state="waiting", due_at=SOON, waits_in=Place(3))
MESSAGE = a_message("email", "invitation", "waiting", due_at=SOON, waits_in=Place(3))
RULE = BudgetRule("kyc", limits=(Limit.parse("1/hour"),))
RESUME = "`onboard resume 3`"
ALL = "`onboard resume --all`"


def around(*blocked: tuple[Wait, ...], **circumstances) -> Circumstances:
    return Circumstances(blocked={each[0].name: each for each in blocked}, **circumstances)


def kept(name: str, rule: BudgetRule = RULE, **state) -> tuple[Wait, ...]:
    """Why the account or sender makes no call in this state of its budget."""
    return of_account(name, rule, BudgetState(**state), now=NOON)


def stopped(why: str, **state) -> tuple[Wait, ...]:
    return kept("kyc", stopped_at=NOON, stop_reason=why, **state)


def next_of(circumstances: Circumstances, row: JobFacts = ROW):
    (moment,) = (one for one in timeline(a_history([row]), circumstances, now=NOON) if one.text.startswith("Next"))
    return moment


def test_while_a_person_must_act_nothing_comes_before_that_and_the_command_is_named(subtests):
    cases = [
        (Place(3, "paused by ann"), around(), "batch 3 goes on, which is paused: paused by ann.", RESUME),
        (Place(3, behind_pilot=True), around(), "the verdict on the pilot of batch 3", "nothing: "),
        (Place(3, "by ann"), around(stopped="everything was stopped by bo"), "everything goes on: everything was", ALL),
        (Place(3), around(stopped("HTTP 401")), "kyc goes on: kyc is stopped: HTTP 401.", "account resume kyc"),
        (Place(3), around(stopped("the cap of 9 credits is used up")), "kyc goes on", "raise `credits`"),
        (Place(3, others=True), around(stopped("HTTP 401")), "kyc goes on, or another account takes", "kyc"),
        (Place(3), around(orphans={"au": OrphanRule()}), "the account is there again: this configuration", "put the"),
    ]
    for where, circumstances, said, then in cases:
        with subtests.test(where=where, circumstances=circumstances, said=said, then=then):
            moment = next_of(circumstances, ROW._replace(waits_in=where))
            assert moment.at == NOON
            assert moment.text.startswith(f"Next: nothing before {said}")
            assert then in moment.then


def test_where_calls_are_minutes_apart_what_comes_next_takes_turns():
    moment = next_of(around(turns={"kyc": "then in turn, by its limit of 1/hour"}))
    assert (moment.at, moment.text) == (SOON, "Next: kyc is asked for a session, then in turn, by its limit of 1/hour.")


def test_a_stop_that_a_worker_tests_by_itself_says_when():
    moment = next_of(around(stopped("HTTP 401", asks_again_at=SOON)))
    again = f"a running worker asks again from {written(SOON)} on"
    assert moment.text == f"Next: nothing before kyc goes on: kyc is stopped: HTTP 401; {again}."


@pytest.mark.parametrize(
    ("blocked", "why"),
    [
        (
            kept("kyc", blocked_until=LATER, pause_reason="HTTP 429"),
            "kyc is paused until 2026-11-21T13:00:00Z: HTTP 429",
        ),
        (kept("kyc", next_at=LATER), "kyc has used up its limit of 1/hour, until 2026-11-21T13:00:00Z"),
    ],
)
def test_a_pause_and_a_used_up_limit_have_a_time(blocked, why):
    moment = next_of(around(blocked))
    why = why.replace("2026-11-21", f"{LATER:%Y-%m-%d}").replace("13:00", f"{LATER:%H:%M}")
    assert moment.at == LATER
    assert moment.text == f"Next: nothing before {LATER:%Y-%m-%d %H:%M:%S} UTC: {why}. Then kyc is asked for a session."


def test_what_ends_before_the_row_is_due_is_not_named():
    moment = next_of(around(kept("kyc", blocked_until=NOON + timedelta(minutes=1), pause_reason="HTTP 429")))
    assert (moment.at, moment.text) == (SOON, "Next: kyc is asked for a session.")


def test_a_row_that_waits_for_its_sender_says_what_the_sender_waits_for():
    row = ROW._replace(reason="waits_for_sender")
    ramp = BudgetRule("email", ramp=Ramp.parse("1/day x2"))
    full = kept("email", ramp, next_at=LATER, ramp_from=NOON)
    assert "the sender email has used up its ramp of 1/day x2, today 1/day" in next_of(around(full), row).text
    silent = kept("email", unproven=True, pause_reason="connection refused")
    assert next_of(around(silent), row).text == (
        "Next: kyc is asked for a session (the sender email did not answer: connection refused)."
    )


def test_credits_that_a_list_may_cost_are_ended_by_no_time():
    row = ROW._replace(reason="credits_spent", due_at=LATER)
    moment, wait, action = both(row, {})
    assert (moment.at, wait.until) == (NOON, None)
    assert "nothing before the list may cost more" in moment.text
    assert moment.then == action == "`onboard resume 3 --most-credits N`"


def test_a_message_of_a_paused_batch_does_not_leave_either():
    message = MESSAGE._replace(waits_in=Place(3, "paused by ann"))
    (moment,) = of_message(message, around())
    assert moment.text == "Next: nothing before batch 3 goes on, which is paused: paused by ann."


def test_an_orphan_is_looked_at_next_and_a_new_session_comes_at_its_end_at_the_latest():
    week = timedelta(days=7)
    row = ROW._replace(reason="orphan", in_doubt=True, called_at=NOON - timedelta(hours=6))
    moment = next_of(around(orphans={"kyc": OrphanRule(week)}), row)
    end = OrphanRule(week).ends_at(row.called_at)
    assert moment.at == SOON
    assert moment.text == (
        "Next: kyc is asked whether the session whose token was lost has ended; a new session is asked for after its"
        f" end, by {end:%Y-%m-%d %H:%M} UTC at the latest."
    )


def test_before_its_look_up_a_row_whose_answer_was_lost_is_not_said_to_ask_for_a_session():
    moment = next_of(around(), ROW._replace(reason="unknown", in_doubt=True, called_at=NOON))
    assert moment.text == "Next: the worker goes on with a call to kyc whose answer was lost."
    assert moment.then.startswith("nothing: ")


@pytest.mark.parametrize("state", ["waiting", "working"])
def test_a_row_that_is_due_for_a_look_up_of_its_session_is_not_said_to_buy_one(state):
    row = ROW._replace(state=state, needs_status_check=True)
    assert next_of(around(), row).text == (
        "Next: kyc is asked what became of the session; a new one follows only if the customer has not finished it."
    )


KYC = [
    (),
    stopped("HTTP 401"),
    stopped("HTTP 401", asks_again_at=LATER),
    kept("kyc", blocked_until=LATER, pause_reason="HTTP 429"),
    kept("kyc", next_at=LATER),
    kept("kyc", next_at=LATER, blocked_until=SOON + timedelta(minutes=1), pause_reason="HTTP 429"),
    kept("kyc", unproven=True, pause_reason="connection refused"),
]
EMAIL = [
    (),
    kept("email", stopped_at=NOON, stop_reason="535 refused"),
    kept("email", blocked_until=LATER + timedelta(minutes=1), pause_reason="421 later"),
    kept("email", next_at=LATER),
    kept("email", unproven=True, pause_reason="connection refused"),
]
REASONS = ("", "planned", "waits_for_sender", "transient")
DUE = (None, NOON - timedelta(minutes=1), SOON, LATER + timedelta(hours=1))


def both(row: JobFacts, blocked: dict[str, tuple[Wait, ...]]) -> tuple[Moment, Wait, str]:
    """What the customer's page says of the row, and what the report does: its wait, and what a person does."""
    senders = ("email",) if row.reason == "waits_for_sender" else ()
    waiting = Waiting(row.waits_in, (row.account, *senders), row.due_at, row.reason)
    line = LineFacts(row.row, "A-1", row.state, reason=row.reason, due_at=row.due_at, waiting=waiting)
    columns = Columns(NOON, batch=str(row.batch), around=Circumstances(blocked=blocked))
    wait = wait_for(line, columns)
    assert wait is not None
    return next_of(Circumstances(blocked=blocked), row), wait, line_values(line, columns)["action"]


def test_a_message_with_the_link_of_a_replaced_session_is_dropped_but_not_one_with_our_own():
    message = MESSAGE._replace(kind="reminder-1")
    for own, words in ((False, "is dropped: the session"), (True, "leaves")):
        moments = of_message(message, Circumstances(has_own_links=own), state="superseded")
        assert [words in one.text for one in moments] == [True]


def test_a_customers_page_and_a_reports_row_name_the_same_cause_time_and_action():
    differ = []
    for reason, due_at, paused, kyc, email in product(REASONS, DUE, ("", "by ann"), KYC, EMAIL):
        row = ROW._replace(reason=reason, due_at=due_at, waits_in=Place(3, paused))
        moment, wait, action = both(row, {each[0].name: each for each in (kyc, email) if each})
        cause = "Next: kyc is asked" if wait.reason == reason else wait.detail.partition(": ")[2]
        if (moment.at, moment.then) != (wait.until or NOON, action) or cause not in moment.text:
            differ.append((moment, wait))
    assert differ == []
