"""Providers' updates are applied to sessions, jobs and messages, in any order of arrival."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.job_ids import new_id
from onboarding_worker.core.database.tables import Attempt, Audit, InvitationRow, Job, SessionRow, Webhook
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Kind, Reconcile, Retry
from onboarding_worker.core.model.states import InvitationState, JobState, Result, SessionState
from onboarding_worker.core.rows.message_rows import set_job_states
from onboarding_worker.core.rules.reissue import REVIEW_ASKED
from onboarding_worker.core.upkeep.expired_leases import EndedLeases
from onboarding_worker.providers.webhooks.contract import Key
from tests.stored.row_locks import waiting
from tests.stored.shelf import POLICY, customer
from tests.stored.webhook_feed import (
    APPROVED,
    COMPLETED,
    DENIED,
    EXPIRED,
    FAILED,
    GONE,
    OVER,
    REVIEW,
    STARTED,
    SUPERSEDED,
    update,
)

ENDS = {
    "Approved": (APPROVED, COMPLETED, JobState.COMPLETED, "approved"),
    "Denied": (DENIED, FAILED, JobState.COMPLETED, "denied"),
    "Suspected": (update(COMPLETED, Result.SUSPECTED), COMPLETED, JobState.COMPLETED, "suspected"),
    "Unknown": (update(COMPLETED, Result.UNKNOWN), COMPLETED, JobState.COMPLETED, "unknown"),
    "Review": (REVIEW, STARTED, JobState.INVITED, "review"),
    "Over": (OVER, EXPIRED, JobState.INVITED, ""),
    "Gone": (GONE, FAILED, JobState.FAILED, ""),
}


@pytest.mark.both_databases
def test_each_end_of_a_session_is_its_jobs_end_or_not(shelf, feed):
    shelf.add(*(customer(name) for name in ENDS))
    shelf.issue()
    shelf.send()
    sessions = {row.customer_id: row for row in shelf.rows(SessionRow)}
    feed.receive(*(replace(end[0], match=((Key.SCAN_REF, sessions[name].reference),)) for name, end in ENDS.items()))
    for name, (_, state, job, result) in ENDS.items():
        row, of = shelf.row(SessionRow, customer_id=name), shelf.job(name)
        assert (row.state, of.state, of.result) == (state, job, result)
        assert row.check_at == {"Over": shelf.clock(), "Review": shelf.clock() + REVIEW_ASKED}.get(name)
        failed = ("session_failed", "deleted at the provider") if name == "Gone" else ("", "")
        assert (of.reason, of.detail) == failed
        kept = shelf.row(Webhook, session_id=row.id)
        assert (kept.state, kept.due_at, kept.encrypted) == ("applied", None, None)


def test_a_webhook_that_changes_something_has_an_entry_in_the_audit_log(ona, feed):
    feed.receive(APPROVED)
    feed.receive(APPROVED)

    (entry,) = ona.rows(Audit, action="webhook")
    assert (entry.actor, entry.subject, entry.reason) == ("account/kyc", "customer Ona", "completed approved")


def test_a_verdict_may_change(ona, feed):
    feed.receive(APPROVED)
    ona.clock.advance(hours=1)
    feed.receive(DENIED)
    assert ona.job("Ona").result == "denied"


def test_a_message_that_has_not_left_is_of_no_use_once_the_customer_has_finished(shelf, feed):
    shelf.add(customer("Ona"))
    shelf.issue()
    feed.receive(APPROVED)
    assert (shelf.row(InvitationRow).state, shelf.job("Ona").state) == (InvitationState.SUPERSEDED, JobState.COMPLETED)
    assert shelf.claim_messages() == []


@pytest.mark.both_databases
def test_a_customer_who_has_submitted_gets_no_message_and_no_other_link(shelf, feed):
    shelf.add(customer("Ona"))
    shelf.issue()
    feed.receive(REVIEW)
    for _ in range(8):  # until the link has ended, too
        assert shelf.claim_messages() == []
        shelf.clock.advance(days=1)
    row = shelf.row(InvitationRow)
    waits = shelf.facts.counts(row.batch_id).waits
    assert (row.reason, {why: (one.rows, one.first) for why, one in waits.items()}) == (
        "in_review",
        {"in_review": (1, row.due_at)},
    )
    assert (shelf.job("Ona").state, shelf.job("Ona").result) == (JobState.ISSUED, "review")
    feed.receive(OVER)  # a review that ended without a verdict
    shelf.issue()
    (message,) = shelf.claim_messages()
    assert message.session_id == shelf.row(SessionRow, state=SessionState.WAITING).id


def test_a_link_that_expired_before_its_message_left_is_replaced(shelf, feed):
    shelf.add(customer("Ona"))
    shelf.issue()
    feed.receive(OVER)
    job = shelf.job("Ona")
    assert (job.state, job.reason, job.due_at, job.attempts) == (JobState.WAITING, "session_expired", shelf.clock(), 0)
    shelf.clock.advance(seconds=1)
    shelf.issue()
    assert [row.state for row in shelf.rows(SessionRow)] == [EXPIRED, SessionState.WAITING]
    assert shelf.job("Ona").reissues == 1


@pytest.mark.both_databases
def test_a_link_that_was_never_sent_is_not_replaced_beyond_the_cap(shelf, feed):
    shelf.add(customer("Ona"), customer("Vita", channel=Channel.NONE))
    shelf.issue()
    with shelf.database.write() as connection:
        now = connection.execute(sa.select(SessionRow.__table__).where(SessionRow.customer_id == "Ona")).one()
        for number in range(3):
            over = {"id": new_id(shelf.clock()), "reference": f"before-{number}", "state": EXPIRED, "check_at": None}
            over |= {"issued_at": now.issued_at - timedelta(days=9), "token_digest": None}
            connection.execute(sa.insert(SessionRow).values(dict(now._mapping) | over))
    feed.receive(OVER, update(EXPIRED, match=((Key.SCAN_REF, "scan-2"),)))
    assert (shelf.job("Ona").state, shelf.job("Ona").reason) == (JobState.LAPSED, "reissues_spent")
    assert shelf.job("Vita").state is JobState.ISSUED  # the job asks for no message: nothing is replaced


def test_a_verdict_on_an_old_link_ends_the_job_that_waits_for_a_new_one(ona, feed):
    ona.set(SessionRow, state=EXPIRED)
    ona.set(Job, state=JobState.WAITING, due_at=ona.clock(), reason="session_expired")
    feed.receive(DENIED)
    job = ona.job("Ona")
    assert (job.state, job.due_at, job.result, job.reason) == (JobState.COMPLETED, None, "denied", "")
    assert ona.claim() == []


def test_a_verdict_ends_the_job_with_a_call_in_flight_and_the_new_session_serves_no_job(ona, feed):
    ona.set(SessionRow, state=EXPIRED)
    ona.set(Job, state=JobState.WAITING, due_at=ona.clock())
    (opened,) = ona.open(ona.claim())
    feed.receive(APPROVED)
    ona.finish(ona.got(opened))
    job = ona.job("Ona")
    assert (job.state, job.result) == (JobState.COMPLETED, "approved")
    assert len(ona.rows(SessionRow)) == 1
    assert ona.facts.counts(job.batch_id).accounts["kyc"].late == 1  # which the report names


def test_a_verdict_on_an_old_link_ends_the_one_that_replaced_it(ona, feed):
    ona.set(Job, state=JobState.WAITING, due_at=ona.clock())
    ona.set(SessionRow, state=EXPIRED)
    ona.issue()
    old, new = ona.rows(SessionRow)
    feed.receive(REVIEW)  # of a link that was replaced only a verdict counts
    assert [row.state for row in ona.rows(SessionRow)] == [EXPIRED, SessionState.WAITING]
    feed.receive(APPROVED)
    assert [row.state for row in ona.rows(SessionRow)] == [COMPLETED, SUPERSEDED]
    assert (ona.job("Ona").session_id, ona.job("Ona").result) == (old.id, "approved")
    assert ona.claim_messages() == []
    ona.clock.advance(hours=1)
    feed.receive(update(FAILED, Result.DENIED, match=((Key.SCAN_REF, "scan-2"),)))
    assert (ona.job("Ona").session_id, ona.job("Ona").result) == (new.id, "denied")  # the provider's last word


def test_a_customer_who_submits_on_an_expired_link_gets_no_new_session(ona, feed):
    ona.set(SessionRow, state=EXPIRED, check_at=None)
    ona.set(Job, state=JobState.WAITING, due_at=ona.clock(), reason="session_expired")
    feed.receive(REVIEW)
    assert (ona.row(SessionRow).state, ona.job("Ona").state, ona.job("Ona").result) == (
        STARTED,
        JobState.INVITED,
        "review",
    )
    ona.clock.advance(hours=1)
    # The provider asks for more after all: the link's end is checked again.
    feed.receive(update(STARTED))
    assert ona.row(SessionRow).check_at == max(ona.clock(), ona.row(SessionRow).expires_at + timedelta(minutes=15))
    assert ona.job("Ona").result == ""


@pytest.fixture
def called(ona):
    """Ona's session has ended unused, and the call for the next one is out."""
    ona.clock.advance(days=8)
    ona.set(SessionRow, state=EXPIRED, check_at=None)
    ona.set(Job, state=JobState.WAITING, due_at=ona.clock(), reason="session_expired")
    (opened,) = ona.open(ona.claim())
    return opened


def an_hour(shelf):
    shelf.clock.advance(hours=1)
    return [message.session_id for message in shelf.claim_messages()]


def kept_back(shelf):
    row = shelf.row(InvitationRow, state=InvitationState.WAITING)
    return row.reason, row.due_at - shelf.clock()


@pytest.mark.parametrize("kept", [False, True], ids=["while the call is out", "before its message left"])
def test_a_customer_who_submits_during_the_next_call_is_not_sent_the_new_link_until_a_decision(ona, feed, called, kept):
    steps = [lambda: feed.receive(REVIEW), lambda: ona.finish(ona.got(called))]
    for step in reversed(steps) if kept else steps:
        step()
    assert ona.claim_messages() == []
    assert kept_back(ona) == ("in_review", timedelta(hours=1))
    assert an_hour(ona) == []
    feed.receive(APPROVED)
    assert (ona.job("Ona").state, ona.job("Ona").result) == (JobState.COMPLETED, "approved")
    assert an_hour(ona) == []
    assert [row.state for row in ona.rows(InvitationRow)] == [InvitationState.SENT, InvitationState.SUPERSEDED]


def test_the_call_of_a_job_that_a_verdict_has_ended_is_closed_when_its_worker_died(ona, feed, called):
    feed.receive(APPROVED)
    assert ona.row(Attempt, id=called.attempt_id).closed_at is None
    ona.clock.advance(seconds=61)

    assert ona.expired_leases.end(POLICY, now=ona.clock()) == EndedLeases(ended=1)

    row, attempt = ona.job("Ona"), ona.row(Attempt, id=called.attempt_id)
    assert (attempt.closed_at, attempt.outcome) == (ona.clock(), "unknown")
    assert (row.state, row.lease_until, row.unknown_attempt) == (JobState.COMPLETED, None, attempt.id)
    assert ona.expired_leases.end(POLICY, now=ona.clock()) == EndedLeases()


@pytest.mark.both_databases
@pytest.mark.parametrize("again", ["while the call is out", "while it waits for its look-up"])
def test_a_second_verdict_does_not_lose_the_call_of_a_job_that_has_ended(ona, feed, called, again):
    look_up_at = ona.clock() + timedelta(seconds=75)
    ona.set(Attempt, Attempt.id == called.attempt_id, reconcile_at=look_up_at)
    feed.receive(APPROVED)
    if again == "while the call is out":
        feed.receive(DENIED)
    ona.clock.advance(seconds=61)
    assert ona.expired_leases.end(POLICY, now=ona.clock(), listing=["kyc"]) == EndedLeases(ended=1)
    if again != "while the call is out":
        feed.receive(DENIED)

    row = ona.job("Ona")
    assert (row.state, row.result) == (JobState.COMPLETED, "denied")
    assert (row.lease_until, row.lease_owner, row.unknown_attempt) == (look_up_at, "", called.attempt_id)
    assert ona.looks.look(accounts=["kyc"], channels=[], now=look_up_at).accounts == {"kyc"}
    (job,) = ona.jobs.claim(ona.policy, most=1, now=look_up_at).jobs
    assert (job.ended, job.unknown_call.attempt_id) == (True, called.attempt_id)


def test_a_verdict_does_not_lose_the_call_of_a_job_that_waits_for_its_look_up(ona, feed, called):
    look_up_at = ona.clock() + timedelta(seconds=75)
    ona.set(Attempt, Attempt.id == called.attempt_id, reconcile_at=look_up_at)
    ona.clock.advance(seconds=61)
    assert ona.expired_leases.end(POLICY, now=ona.clock(), listing=["kyc"]) == EndedLeases(unknown=1)
    feed.receive(APPROVED)
    ona.clock.advance(seconds=1)
    assert ona.expired_leases.end(POLICY, now=ona.clock(), listing=["kyc"]) == EndedLeases(ended=1)

    row = ona.job("Ona")
    assert (row.state, row.lease_until, row.unknown_attempt) == (JobState.COMPLETED, look_up_at, called.attempt_id)
    (job,) = ona.jobs.claim(ona.policy, most=1, now=look_up_at).jobs
    assert (job.ended, job.unknown_call.attempt_id) == (True, called.attempt_id)


def test_a_review_that_ends_without_a_verdict_lets_the_new_link_go(ona, feed, called):
    feed.receive(REVIEW)
    ona.finish(ona.got(called))
    assert ona.claim_messages() == []
    feed.receive(OVER)
    assert an_hour(ona) == [ona.job("Ona").session_id]


def test_however_long_the_review_takes_no_third_session_is_bought(ona, feed, called):
    feed.receive(REVIEW)
    ona.finish(ona.got(called))
    feed.receive(update(EXPIRED, match=((Key.SCAN_REF, "scan-2"),)))
    ona.clock.advance(days=9)
    assert (ona.claim(), ona.claim_messages(), ona.job("Ona").state) == ([], [], JobState.ISSUED)
    feed.receive(OVER)
    ona.clock.advance(hours=1)
    (message,) = ona.claim_messages()
    assert message.ended  # it is replaced when it is due


@pytest.mark.parametrize("invited", [True, False])
def test_a_call_that_failed_meanwhile_is_not_made_again(ona, feed, called, invited):
    if not invited:
        ona.set(InvitationRow, state=InvitationState.SUPERSEDED)
    feed.receive(REVIEW)
    ona.finish(ona.failed(called, Kind.TRANSIENT, Retry(ona.clock(), "transient", "HTTP 503")))
    assert ona.job("Ona").state is JobState.WAITING
    claimed = ona.jobs.claim(ona.policy, most=10, now=ona.clock())
    assert (claimed.jobs, claimed.reused_channels) == ([], frozenset())
    job = ona.job("Ona")
    assert (job.state, job.result) == (JobState.INVITED, "review")  # by the app, if not by a message
    assert (job.due_at, job.lease_until, job.reason) == (None, None, "")
    feed.receive(APPROVED)
    assert ona.job("Ona").state is JobState.COMPLETED


def test_a_list_that_comes_later_follows_the_review_of_a_link_that_has_ended(ona, feed):
    feed.receive(REVIEW)
    ona.clock.advance(days=8)
    ona.set(Job, state=JobState.CANCELLED)
    ona.set(SessionRow, check_at=None)
    second = ona.add(customer("Ona"))
    assert (ona.issue(), ona.send()) == ([], [])
    row = ona.job("Ona", batch_id=second)
    assert (row.state, row.result, row.reason) == (JobState.INVITED, "review", "joined_session")
    assert ona.row(SessionRow).check_at is not None
    feed.receive(APPROVED)
    assert ona.job("Ona", batch_id=second).state is JobState.COMPLETED


def test_a_row_without_a_message_that_follows_a_review_is_issued_not_invited(ona, feed):
    feed.receive(REVIEW)
    ona.clock.advance(days=8)
    ona.set(Job, state=JobState.CANCELLED)
    second = ona.add(customer("Ona", channel=Channel.NONE))
    assert ona.issue() == []
    row = ona.job("Ona", batch_id=second)
    assert (row.state, row.result) == (JobState.ISSUED, "review")


@pytest.mark.parametrize(("channel", "state"), [(Channel.NONE, JobState.ISSUED), (Channel.EMAIL, JobState.INVITED)])
def test_a_row_that_waits_as_the_review_begins_is_invited_if_it_asks_for_a_message(ona, feed, channel, state):
    ona.set(Job, state=JobState.WAITING, channel=channel, due_at=ona.clock() + timedelta(days=1))
    feed.receive(REVIEW)
    assert (ona.job("Ona").state, ona.job("Ona").result) == (state, "review")


def test_a_list_that_comes_later_invites_once_more_when_that_review_has_ended_without_a_verdict(ona, feed):
    feed.receive(REVIEW)
    ona.clock.advance(days=8)
    ona.set(Job, state=JobState.CANCELLED)
    feed.receive(OVER)
    second = ona.add(customer("Ona"))
    ona.issue()
    assert [message.batch_id for message in ona.send()] == [second]


def test_a_call_with_an_unknown_outcome_is_reconciled_though_the_customer_is_in_review(ona, feed, called):
    ona.finish(ona.failed(called, Kind.UNKNOWN, Reconcile(ona.clock(), "unknown", "")))
    feed.receive(REVIEW)
    (job,) = ona.claim()
    assert job.unknown_call.attempt_id == called.attempt_id


def test_a_customer_who_waits_for_a_new_link_gets_it_though_the_old_session_is_deleted(ona, feed):
    ona.clock.advance(days=8)
    ona.set(SessionRow, state=EXPIRED, check_at=None)
    ona.set(Job, state=JobState.WAITING, due_at=ona.clock(), reason="session_expired")
    feed.receive(GONE)
    assert (ona.job("Ona").state, ona.job("Ona").due_at) == (JobState.WAITING, ona.clock())
    assert len(ona.issue()) == 1
    assert ona.job("Ona").state is JobState.ISSUED


def test_a_later_end_that_is_a_reason_to_reissue_revives_a_job_that_failed_with_its_session(ona, feed):
    feed.receive(GONE)
    feed.receive(OVER)
    assert (ona.row(SessionRow).state, ona.job("Ona").state, ona.job("Ona").reason) == (EXPIRED, JobState.INVITED, "")


def test_a_list_that_joined_follows_and_one_that_comes_later_is_skipped(ona, feed):
    second = ona.add(customer("Ona"))
    feed.receive(APPROVED)
    assert ona.facts.counts(second).results == {"approved": 1}
    third = ona.add(customer("Ona"))
    assert ona.job("Ona", batch_id=third).reason == "already_finished"


def test_one_that_was_cancelled_stays_so_and_its_session_keeps_the_verdict(ona, feed):
    ona.set(Job, state=JobState.CANCELLED)
    second = ona.add(customer("Ona"))
    feed.receive(APPROVED)
    assert ona.row(SessionRow).state is COMPLETED
    jobs = {row.batch_id: row.state for row in ona.rows(Job)}
    assert jobs.pop(second) is JobState.COMPLETED  # the customer who is served now has finished
    assert set(jobs.values()) == {JobState.CANCELLED}


@pytest.mark.postgresql_alone
def test_an_update_waits_for_the_lock_on_the_job_and_then_sees_its_new_state(ona, feed):
    feed.keep(OVER)
    with waiting(ona.database, feed.work) as connection:
        connection.execute(sa.update(Job).values(state=JobState.CANCELLED))
    assert (ona.row(SessionRow).state, ona.job("Ona").state) == (EXPIRED, JobState.CANCELLED)


def test_a_customer_who_finishes_though_the_message_came_back_has_finished(ona, feed):
    ona.set(InvitationRow, state=InvitationState.BOUNCED, reason="bounced")
    with ona.database.write() as connection:
        set_job_states(connection, [ona.job("Ona").id], now=ona.clock())
    assert (ona.job("Ona").state, ona.job("Ona").reason) == (JobState.FAILED, "bounced")
    feed.receive(APPROVED)
    job = ona.job("Ona")
    assert (job.state, job.result, job.reason) == (JobState.COMPLETED, "approved", "")
