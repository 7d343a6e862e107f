"""How a row is counted, and what a transaction has counted at its end."""

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database import fast
from onboarding_worker.core.database.fast import Twin
from onboarding_worker.core.database.fast.tally import (
    LATER,
    MANY,
    OPTION,
    Alike,
    Tally,
    call,
    count_new_jobs,
    counts_in_bulk,
    job,
    message,
)
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import InvitationState, JobState


@pytest.mark.parametrize("state", JobState)
def test_a_job_is_counted_by_its_state_and_a_leased_one_waits(state):
    counted = "waiting" if state is JobState.WORKING else state.value
    of = (7, "job", counted, "email", "kyc", "approved")
    assert job(7, state, "email", "kyc", "approved") == Alike(*of)
    for reason in Reason:
        kept = (state is JobState.WAITING and reason in LATER) or (
            state is JobState.FAILED and reason is Reason.SUPPRESSED
        )
        assert job(7, state, "email", "kyc", "approved", reason) == Alike(*of, reason if kept else "")


@pytest.mark.parametrize("state", InvitationState)
def test_a_message_is_counted_by_its_state_and_channel_and_a_leased_one_waits(state):
    counted = "waiting" if state is InvitationState.WORKING else state.value
    assert message(7, state, "sms") == Alike(7, "message", counted, "sms")
    for reason in Reason:
        kept = reason if state is InvitationState.WAITING and reason in LATER else ""
        assert message(7, state, "sms", reason) == Alike(7, "message", counted, "sms", reason=kept)


def test_a_row_waits_until_a_later_hour_for_these_reasons():
    assert sorted(LATER) == ["address_spent", "credits_spent", "in_review", "quiet_hours", "waits_for_sender"]


def test_a_call_is_counted_by_its_outcome_and_account_and_a_look_up_apart():
    assert call(7, "", "kyc") == Alike(7, "call", "", account="kyc")
    assert call(7, "done", "kyc", look_up=True) == Alike(7, "look_up", "done", account="kyc")


def test_what_changes_nothing_in_the_end_is_not_written():
    counts = Tally()
    counts.add(job(1, JobState.WAITING, "email", "kyc"), -2)
    counts.add(job(1, JobState.WAITING, "email", "kyc"), 1, sessions=1)
    counts.add(job(1, JobState.ISSUED, "email", "kyc"), 0, sessions=3)
    counts.add(job(1, JobState.FAILED, "email", "kyc"), 5)
    for rows in (2, -2):
        counts.add(job(1, JobState.HELD, "email", "kyc"), rows, sessions=rows)
    found = {(row["state"], row["rows"], row["sessions"]) for row in counts.changes()}
    assert found == {("waiting", -1, 1), ("issued", 0, 3), ("failed", 5, 0)}


@pytest.mark.parametrize(("plain", "rows", "counts"), [([], MANY - 1, 0), ([], MANY, 1), ([Twin.TALLY], MANY, 0)])
def test_a_statement_over_many_rows_counts_them_itself(monkeypatch, plain, rows, counts):
    monkeypatch.setattr(fast, "plain", frozenset(plain))
    assert counts_in_bulk(rows) == counts


def test_of_new_jobs_those_that_join_another_are_not_counted():
    jobs = {
        "batch_id": [1, 1, 1, 1],
        "state": [JobState.WAITING, JobState.WAITING, JobState.HELD, JobState.HELD],
        "channel": ["email"] * 4,
        "account": ["kyc"] * 4,
        "result": [""] * 4,
        "reason": [""] * 4,
        "leader_id": [None, None, None, 5],
    }
    counts = Tally()
    with sa.create_engine("sqlite://", poolclass=sa.NullPool).connect() as connection:
        count_new_jobs(connection.execution_options(**{OPTION: counts}), jobs)
    assert {(row["state"], row["rows"]) for row in counts.changes()} == {("waiting", 2), ("held", 1)}
