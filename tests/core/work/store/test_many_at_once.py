"""Many rows that are claimed, opened and written in one flush are counted as if each had come alone.

After each test the kept counts are compared with the rows.
"""

from itertools import cycle
from uuid import uuid4

import sqlalchemy as sa

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.fast.tally import MANY
from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Asked
from onboarding_worker.core.model.states import JobState
from tests.stored.reconciling import advance, drop, reconcilable
from tests.stored.shelf import customer


def many(prefix):
    channels = cycle([Channel.EMAIL, Channel.SMS, Channel.BOTH, Channel.NONE])
    return [customer(f"{prefix}{number}", channel=next(channels)) for number in range(2 * MANY)]


def test_the_first_sessions_of_many_rows_of_two_lists(shelf):
    one, two = shelf.add(*many("C")), shelf.add(*many("D"))
    shelf.set(Job, Job.customer_id.in_(["C1", "C2", "D3"]), result="denied")
    opened = shelf.open(shelf.claim())
    assert len(shelf.rows(Attempt)) == 4 * MANY
    shelf.finish(*map(shelf.got, opened))
    for batch in (one, two):
        counts = shelf.facts.counts(batch)
        assert counts.jobs == {JobState.ISSUED: 2 * MANY}
        assert (counts.accounts["kyc"].requests, counts.accounts["kyc"].issued) == (2 * MANY, 2 * MANY)
        assert sum(counts.invitations.values()) == len(shelf.rows(InvitationRow, batch_id=batch)) == 2 * MANY


def test_look_ups_and_calls_of_many_rows_are_counted_apart(shelf):
    policy = reconcilable(shelf.ruled(opens_after=None))
    drop(shelf, policy, *many("C"))
    advance(shelf)
    shelf.add(*many("D"))
    opened = shelf.open(shelf.claim(policy=policy), policy=policy)
    assert sum(job.looks_up for job in opened) == len(opened) / 2 == 2 * MANY
    before = shelf.budgets.all()["kyc"].credits_used
    shelf.finish(*(CallResult(job, shelf.clock(), None) for job in opened), policy=policy)
    assert shelf.budgets.all()["kyc"].credits_used == before - 2 * MANY


def test_calls_and_questions_that_are_released_give_only_the_calls_credits_back(shelf):
    shelf.add(*many("C"))
    shelf.issue()
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock(), needs_status_check=True)
    shelf.add(*many("D"))
    before = shelf.budgets.all()["kyc"].credits_used
    opened = shelf.open(shelf.claim())
    assert shelf.budgets.all()["kyc"].credits_used == before + 2 * MANY
    assert {job.call_before is None for job in opened if job.asks_about} == {True}
    assert {job.call_before is None for job in opened if not job.asks_about} == {False}
    shelf.jobs.release(shelf.policy, opened, now=shelf.clock())
    assert shelf.budgets.all()["kyc"].credits_used == before
    assert {row.state for row in shelf.rows(Job)} == {JobState.WAITING}
    ids = {job.attempt_id for job in opened}
    assert {row.outcome for row in shelf.rows(Attempt) if row.id in ids} == {"not_sent"}


def test_released_rows_end_only_the_attempts_of_their_own_claims(shelf):
    shelf.add(customer("Ona"), customer("Jonas"))
    shelf.set(Job, Job.customer_id == "Ona", fence=7)
    ona, jonas = shelf.open(shelf.claim())
    shelf.set(Attempt, Attempt.id == ona.attempt_id, fence=0)
    hand_over = {**shelf.row(Attempt, id=jonas.attempt_id)._mapping, "id": uuid4(), "invitation_id": uuid4()}
    with shelf.database.write() as connection:
        connection.execute(sa.insert(Attempt).values(hand_over))
    shelf.jobs.release(shelf.policy, [ona, jonas], now=shelf.clock())
    ended = {row.id: row.outcome for row in shelf.rows(Attempt)}
    assert ended == {ona.attempt_id: None, jonas.attempt_id: "not_sent", hand_over["id"]: None}
    asked = shelf.open(shelf.claim())
    shelf.finish(*(CallResult(job, shelf.clock(), Asked()) for job in asked[:1]))
    assert [row.outcome for row in shelf.rows(Attempt, job_id=asked[0].id, fence=asked[0].fence)] == ["done"]
