"""Results that are written twice, and calls that were never made, are counted correctly."""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.tables import Attempt, Budget, Job
from onboarding_worker.core.model.endings import Kind, Retry
from onboarding_worker.core.model.states import JobState
from tests.stored.shelf import customer

pytestmark = pytest.mark.both_databases


def spent(shelf):
    return shelf.row(Budget, name="kyc").credits_used


def test_a_result_whose_writing_was_not_acknowledged_is_written_once(shelf):
    shelf.add(customer("Ona"), customer("Jonas"))
    policy = shelf.ruled(credits=10)
    ona, jonas = shelf.open(shelf.claim(policy=policy), policy=policy)
    results = [shelf.got(ona, shelf.session()), shelf.failed(jonas, Kind.RATE_LIMITED, Retry(shelf.clock(), "x", "x"))]
    shelf.finish(*results, policy=policy)
    before = (shelf.rows(Attempt), shelf.rows(Job), spent(shelf))
    shelf.finish(*results, policy=policy)
    assert (shelf.rows(Attempt), shelf.rows(Job), spent(shelf)) == before
    assert {attempt.outcome for attempt in before[0]} == {"done", "rate_limited"}
    assert spent(shelf) == 1


def test_a_call_that_never_connected_costs_no_credit(shelf):
    shelf.add(customer("Ona"))
    policy = shelf.ruled(credits=10)
    (opened,) = shelf.open(shelf.claim(policy=policy), policy=policy)
    assert spent(shelf) == 1
    refused = shelf.failed(opened, Kind.TRANSIENT, Retry(shelf.clock(), "unreachable", "refused"), unreachable=True)
    shelf.finish(refused, policy=policy)
    assert spent(shelf) == 0


def test_a_call_that_was_not_made_leaves_its_row_due_as_before(shelf):
    shelf.add(customer("Ona"))
    was_due_at = shelf.job("Ona").due_at
    (opened,) = shelf.open(shelf.claim())
    shelf.clock.advance(seconds=5)
    shelf.finish(CallResult(opened, shelf.clock(), None))
    assert (shelf.job("Ona").state, shelf.job("Ona").due_at) == (JobState.WAITING, was_due_at)


def test_only_the_row_of_the_first_call_after_a_pause_can_end_the_probe(shelf):
    shelf.add(customer("Ona"), customer("Jonas"))
    (before,) = shelf.claim(most=1)
    shelf.set(Budget, Budget.name == "kyc", pauses=1)
    (probe,) = shelf.claim()
    others = shelf.clock() + timedelta(minutes=1)
    shelf.set(Budget, Budget.name == "sender/email", probe_until=others)
    assert (before.probe, probe.probe) == (False, True)
    waited_for = shelf.row(Budget, name="kyc").probe_until
    shelf.jobs.release(shelf.policy, [before], now=shelf.clock())
    assert shelf.row(Budget, name="kyc").probe_until == waited_for is not None
    shelf.jobs.release(shelf.policy, [replace(probe, fence=probe.fence - 1)], now=shelf.clock())  # another worker's now
    assert shelf.row(Budget, name="kyc").probe_until == waited_for
    shelf.jobs.release(shelf.policy, [probe], now=shelf.clock())
    assert shelf.row(Budget, name="kyc").probe_until is None
    assert shelf.row(Budget, name="sender/email").probe_until == others


def test_a_late_result_still_records_the_outcome_of_the_call(shelf):
    shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    shelf.set(Attempt, outcome="unknown", closed_at=shelf.clock() + timedelta(seconds=61))
    shelf.set(Job, state=JobState.HELD, fence=9)
    shelf.finish(shelf.got(opened, replace(shelf.session(), reference="scan-7")))
    attempt = shelf.row(Attempt)
    assert (attempt.outcome, "scan-7" in attempt.detail) == ("late", True)
    assert shelf.job("Ona").state is JobState.HELD


def test_a_row_whose_attempt_was_not_acknowledged_is_released_without_it(shelf):
    shelf.add(customer("Ona"), customer("Jonas"))
    policy = shelf.ruled(credits=10)
    jobs = shelf.claim(policy=policy)
    shelf.open(jobs[:1], policy=policy)  # committed, but the acknowledgement was lost
    shelf.jobs.release(policy, jobs, now=shelf.clock())
    assert [job.state for job in shelf.rows(Job)] == [JobState.WAITING, JobState.WAITING]
    assert (shelf.row(Attempt).outcome, shelf.row(Attempt).closed_at) == ("not_sent", shelf.clock())
    assert spent(shelf) == 0
    assert len(shelf.claim(policy=policy)) == 2


def test_a_message_whose_hand_over_was_not_acknowledged_is_released_without_it(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    messages = shelf.claim_messages()
    shelf.open_messages(messages)
    shelf.invitations.release(shelf.message_policy, messages, now=shelf.clock())
    (only,) = [attempt for attempt in shelf.rows(Attempt) if attempt.invitation_id is not None]
    assert (only.outcome, only.closed_at) == ("not_sent", shelf.clock())
    assert len(shelf.claim_messages()) == 1
