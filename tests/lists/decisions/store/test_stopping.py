"""A batch that a person stopped with Ctrl-C: nothing of it is claimed until it is lifted, and other lists go on."""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.tables import Batch, InvitationRow, Job, SessionRow
from onboarding_worker.core.foundation.notation import written
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Kind, Reconcile, Retry
from onboarding_worker.core.model.states import BATCH, PAUSED, InvitationState, JobState
from onboarding_worker.lists.decisions.store import decisions
from onboarding_worker.lists.decisions.store.settlement import Decided
from onboarding_worker.lists.known_customers import KnownRule
from onboarding_worker.plans.store import leadership
from onboarding_worker.reporting.store.outlook import CallsNow
from onboarding_worker.reporting.store.waiting import unsent
from tests.stored.decisions import OUTCOME_UNKNOWN, fail, names, pause
from tests.stored.shelf import customer


@pytest.fixture
def stop(shelf, decide):
    return lambda batch: decide.interrupt(batch, by="ann", now=shelf.clock())


def left(shelf):
    return [(one.batch.id, one.rows) for one in unsent(shelf.database, now=shelf.clock())]


def test_a_stopped_batch_says_who_stopped_it_and_waits_until_it_is_lifted(shelf, decide, stop):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    at = shelf.clock()
    assert stop(batch) == Decided(2)
    row = shelf.row(Batch)
    assert (row.pause_cause, row.paused_at) == ("interrupt", at)
    assert row.pause_reason == f"stopped with Ctrl-C by ann, {written(at)}"
    assert shelf.claim() == []
    shelf.add(customer("Rasa"), batch=batch, first_row=9)
    assert shelf.claim() == []
    assert decide.lift(batch, now=shelf.clock()).rows == 3
    assert shelf.row(Batch).pause_cause == ""
    assert names(shelf.claim()) == ["Jonas", "Ona", "Rasa"]


@pytest.mark.both_databases
def test_lifting_leaves_a_persons_pause_and_stopping_does_not_replace_it(shelf, decide, stop):
    batch = shelf.add(customer("Ona"))
    pause(shelf, decide, batch)
    assert stop(batch) == decide.lift(batch, now=shelf.clock()) == Decided(0)
    assert shelf.row(Batch).pause_cause == "person"
    assert shelf.claim() == []
    assert decide.resume(batch, now=shelf.clock()).rows == 1


def test_a_stop_that_was_cut_off_is_finished_by_the_sweep(shelf, decide):
    batch = shelf.add(customer("Ona"))
    shelf.set(Batch, pause_cause="interrupt", pause_reason="stopped")  # as the mark leaves it
    assert decide.finish_pauses(now=shelf.clock()) == {batch: "stopped"}
    assert shelf.job("Ona").priority == BATCH + PAUSED


def test_of_several_events_of_a_customer_the_first_leads_and_the_others_join_it(shelf, stop):
    batch, events = shelf.add(customer("Ona")), shelf.batch("events")
    for row in (1, 2, 3):
        shelf.add(customer("Ona"), batch=events, first_row=row)
    stop(batch)
    first, *others = shelf.rows(Job, batch_id=events)
    assert [row.leader_id for row in (first, *others, shelf.row(Job, batch_id=batch))] == [None, *[first.id] * 3]
    assert [job.id for job in shelf.claim()] == [first.id]


@pytest.mark.both_databases
def test_a_run_of_one_batch_claims_no_job_and_no_message_of_another(shelf):
    other, own = shelf.add(customer("Ona")), shelf.add(customer("Rasa"))
    alone = replace(shelf.policy, only_batch=own)
    assert names(shelf.claim(policy=alone)) == ["Rasa"]
    assert shelf.claim(policy=alone) == []
    assert names(shelf.issue()) == ["Ona"]
    due = dict(accounts=["kyc"], channels=["email"], now=shelf.clock())
    assert shelf.looks.look(**due).channels == {"email"}
    assert shelf.looks.look(**due, only_batch=own).channels == set()
    messages = replace(shelf.message_policy, only_batch=own)
    assert shelf.invitations.claim(messages, most=9, now=shelf.clock()).invitations == []
    assert [message.batch_id for message in shelf.claim_messages()] == [other]


def test_batches_with_rows_that_were_not_sent_are_counted_and_others_are_not(shelf, decide, stop):
    shelf.add(customer("Done"))
    shelf.issue()
    shelf.send()
    stopped = shelf.add(customer("Ona"), customer("Jonas"))
    (first, _) = shelf.claim()
    shelf.finish(shelf.got(*shelf.open([first])))
    shelf.clock.advance(minutes=2)
    shelf.expired_leases.end(shelf.policy.rule.retry, now=shelf.clock())
    stop(stopped)
    cancelled, killed = shelf.add(customer("Rasa")), shelf.add(customer("Lina"), customer("Zita"))
    decide.cancel(cancelled, now=shelf.clock())
    assert left(shelf) == [(stopped, 2), (killed, 2)]


@pytest.mark.both_databases
@pytest.mark.parametrize("how", ["stopped", "paused"])
def test_a_paused_batch_with_only_reminders_waits_for_its_resume_and_one_that_goes_for_nothing(
    shelf, decide, stop, how
):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    shelf.send()
    in_days = shelf.clock() + timedelta(days=3)
    shelf.set(InvitationRow, kind="reminder-1", state=InvitationState.WAITING, due_at=in_days)
    assert left(shelf) == []
    stop(batch) if how == "stopped" else pause(shelf, decide, batch)
    assert left(shelf) == [(batch, 0)]
    decide.resume(batch, now=shelf.clock())
    assert left(shelf) == []


# A customer of a stopped list who is in another list too.


@pytest.mark.parametrize("first", ["stopped", "imported"])
def test_a_row_of_another_list_leads_in_place_of_a_stopped_row(shelf, decide, stop, first):
    stopped = shelf.add(customer("Ona"))
    if first == "stopped":
        stop(stopped)
    other = shelf.add(customer("Ona"))
    if first == "imported":
        stop(stopped)
    assert [job.batch_id for job in shelf.issue()] == [other]
    assert [message.batch_id for message in shelf.send()] == [other]
    assert shelf.job("Ona", batch_id=stopped).leader_id == shelf.job("Ona", batch_id=other).id
    decide.lift(stopped, now=shelf.clock())
    assert (shelf.claim(), shelf.claim_messages()) == ([], [])
    assert len(shelf.rows(SessionRow)) == len(shelf.rows(InvitationRow)) == 1
    assert shelf.facts.counts(stopped).jobs == {JobState.INVITED: 1}


def test_a_session_that_the_stopped_list_opened_is_sent_by_the_other_list(shelf, stop):
    stopped, other = shelf.add(customer("Ona", channel=Channel.BOTH)), shelf.add(customer("Ona"))
    shelf.issue()
    assert shelf.claim(policy=replace(shelf.policy, only_batch=other)) == []
    stop(stopped)
    assert shelf.claim() == []  # it reuses the session: no call
    assert [message.batch_id for message in shelf.send()] == [other]
    assert len(shelf.rows(SessionRow)) == 1


def test_a_text_of_a_row_that_led_does_not_leave_where_the_row_that_leads_wants_only_an_email(shelf, decide):
    first, other = shelf.add(customer("Ona", channel=Channel.BOTH)), shelf.add(customer("Ona"))
    shelf.issue()
    decide.take_leads(other, stopped_only=False, now=shelf.clock())
    assert shelf.claim() == []
    assert shelf.send(channel="sms") == []
    assert [message.batch_id for message in shelf.send()] == [other]
    assert shelf.row(InvitationRow, channel="sms", batch_id=first).reason == "joined_job"


@pytest.mark.parametrize("why", ["called", "unknown", "paused", "sending"])
def test_a_row_whose_call_or_message_may_be_out_or_that_a_person_paused_keeps_the_lead(shelf, decide, stop, why):
    first, other = shelf.add(customer("Ona")), shelf.add(customer("Ona"))
    match why:
        case "called":
            shelf.open(shelf.claim())
        case "unknown":
            fail(shelf, ending=OUTCOME_UNKNOWN)
        case "sending":
            shelf.issue()
            shelf.claim_messages()
    if why == "paused":
        pause(shelf, decide, first)
    else:
        stop(first)
    calls = CallsNow(shelf.database, digest="a third list", rule=KnownRule.REFRESH)
    assert calls.of([("Ona", "onboarding")], now=shelf.clock()) == (set(), {})
    assert calls.joined == 1  # as `check` says of a third list
    assert decide.take_leads(other, stopped_only=False, now=shelf.clock()) == 0
    assert shelf.job("Ona", batch_id=other).leader_id == shelf.job("Ona", batch_id=first).id


@pytest.mark.postgresql_alone
@pytest.mark.parametrize("why", ["called", "lost", "sending"])
def test_a_call_or_a_message_that_begins_while_the_lead_is_taken_keeps_the_lead(shelf, decide, monkeypatch, why):
    first, other = shelf.add(customer("Ona")), shelf.add(customer("Ona"))
    if why == "sending":
        shelf.issue()
    reads = []

    def read(connection, query):
        found = fetch(connection, query)
        if not reads:  # a worker calls between the question and the locks
            if why == "called":
                shelf.open(shelf.claim())
            elif why == "sending":
                shelf.claim_messages()
            else:
                fail(shelf, ending=Reconcile(shelf.clock(), "unknown", "lost"))
        reads.append(found)
        return found

    monkeypatch.setattr(leadership, "fetch", read)
    assert decide.take_leads(other, stopped_only=False, now=shelf.clock()) == 0
    assert len(reads[0]) == 1
    assert shelf.job("Ona", batch_id=other).leader_id == shelf.job("Ona", batch_id=first).id


def test_a_run_alone_takes_the_lead_from_a_list_that_nobody_works_and_keeps_its_failures(shelf, decide):
    killed, own = shelf.add(customer("Ona")), shelf.add(customer("Ona"))
    third = shelf.add(customer("Ona"))
    later = shelf.clock() + timedelta(minutes=3)
    (opened,) = shelf.open(shelf.claim())
    shelf.finish(shelf.failed(opened, Kind.TRANSIENT, Retry(later, "transient", "HTTP 500")))
    assert decide.take_leads(own, stopped_only=True, now=shelf.clock()) == 0
    assert decide.take_leads(own, stopped_only=False, now=shelf.clock()) == 1
    leads = shelf.job("Ona", batch_id=own)
    assert (leads.leader_id, leads.due_at, leads.attempts, leads.reason) == (None, later, 1, "transient")
    assert {shelf.job("Ona", batch_id=batch).leader_id for batch in (killed, third)} == {leads.id}
    assert len([row for row in shelf.rows(Job) if row.leader_id is None]) == 1


class Killed(BaseException):
    """The process is killed."""


def cut_off(monkeypatch, decide, what):
    """Kill the decision before it changes the first row."""

    def dies(*_given, **_named):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(decisions, "_move_chunk", dies)
        patched.setattr(decide, "_cancel_chunk", dies)
        with pytest.raises(Killed):
            what()


@pytest.mark.parametrize("how", ["resume", "lift"])
def test_a_resume_that_was_cut_off_is_finished_by_the_sweep(shelf, decide, stop, monkeypatch, how):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    stop(batch)
    cut_off(monkeypatch, decide, lambda: getattr(decide, how)(batch, now=shelf.clock()))
    assert decide.finish_changes(now=shelf.clock.advance(minutes=4)) == []  # it may still be at work
    assert shelf.claim() == []
    now = shelf.clock.advance(minutes=1)
    assert "pauses" in shelf.looks.look(accounts=[], channels=[], now=now).steps
    assert decide.finish_changes(now=now) == [batch]
    assert names(shelf.claim()) == ["Jonas", "Ona"]
    assert (decide.finish_changes(now=now), shelf.row(Batch).changing_since) == ([], None)
    assert "pauses" not in shelf.looks.look(accounts=[], channels=[], now=now).steps


def test_the_next_run_of_a_list_finishes_a_resume_that_was_cut_off(shelf, decide, stop, monkeypatch):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    stop(batch)
    cut_off(monkeypatch, decide, lambda: decide.lift(batch, now=shelf.clock()))
    assert decide.lift(batch, now=shelf.clock()).rows == 2
    assert decide.lift(batch, now=shelf.clock()) == Decided(0)
    assert names(shelf.claim()) == ["Jonas", "Ona"]


@pytest.mark.both_databases
def test_a_cancel_that_was_cut_off_is_finished_by_the_sweep(shelf, decide, stop, monkeypatch):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    cut_off(monkeypatch, decide, lambda: decide.cancel(batch, now=shelf.clock()))
    assert {row.state for row in shelf.rows(Job)} == {JobState.WAITING}
    assert decide.finish_changes(now=shelf.clock.advance(minutes=5)) == [batch]
    assert {row.state for row in shelf.rows(Job)} == {JobState.CANCELLED}
    assert decide.finish_changes(now=shelf.clock.advance(minutes=5)) == []


def test_a_pause_during_a_resume_keeps_its_rows(shelf, decide, stop, monkeypatch):
    batch = shelf.add(customer("Ona"))
    stop(batch)
    cut_off(monkeypatch, decide, lambda: decide.resume(batch, now=shelf.clock()))
    pause(shelf, decide, batch)
    assert decide.finish_changes(now=shelf.clock.advance(minutes=5)) == []
    assert shelf.claim() == []
    decide.resume(batch, now=shelf.clock())
    assert names(shelf.claim()) == ["Ona"]


@pytest.mark.parametrize("how", ["resume", "lift"])
def test_the_end_of_a_resume_leaves_a_cancel_that_began_meanwhile_to_the_sweep(shelf, decide, stop, monkeypatch, how):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    stop(batch)
    began = shelf.clock()

    def take_leads(*_given, **_named):
        with monkeypatch.context() as patched:
            patched.setattr(decide, "_cancel_chunk", dies)
            with pytest.raises(Killed):
                decide.cancel(batch, now=shelf.clock.advance(seconds=1))
        return 0

    def dies(*_given, **_named):
        raise Killed

    monkeypatch.setattr(decide, "take_leads", take_leads)
    getattr(decide, how)(batch, now=began)
    assert decide.finish_changes(now=shelf.clock.advance(minutes=5)) == [batch]
    assert {row.state for row in shelf.rows(Job)} == {JobState.CANCELLED}


def test_a_resume_that_comes_after_a_cancel_leaves_it_to_the_sweep(shelf, decide, stop, monkeypatch):
    batch = shelf.add(customer("Ona"))
    cut_off(monkeypatch, decide, lambda: decide.cancel(batch, now=shelf.clock()))
    decide.resume(batch, now=shelf.clock.advance(seconds=1))
    assert decide.finish_changes(now=shelf.clock.advance(minutes=5)) == [batch]
    assert {row.state for row in shelf.rows(Job)} == {JobState.CANCELLED}
