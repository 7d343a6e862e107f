"""What a person decides about a batch: pause and resume it, retry what failed, settle what is held."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from worker.customers import Channel
from worker.endings import Cancel, Hold, Kind, Retry, Snooze
from worker.models import Attempt, Batch, CustomerRow, InvitationRow, Job, SessionRow
from worker.states import InvitationState, JobState
from worker.store import decisions as module
from worker.store.decisions import Decided, Decisions, Verdict, Which
from worker.store.jobs import BATCH, EVENT, PAUSED

from .beside import on_postgresql, wait_until_blocked
from .shelf import WEEK, Shelf, customer

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)  # when the clock stands
IN_DOUBT = Hold(Kind.UNKNOWN.value, "it may have been carried out")


@pytest.fixture
def decide(database) -> Decisions:
    return Decisions(database)


def pause(shelf: Shelf, decide: Decisions, batch: int) -> Decided:
    return decide.pause(batch, now=shelf.clock())


def retry(shelf: Shelf, decide: Decisions, batch: int, **which) -> Decided:
    return decide.retry(Which(batch, **which), now=shelf.clock())


def resolve(shelf: Shelf, decide: Decisions, batch: int, verdict: Verdict, **which) -> Decided:
    return decide.resolve(Which(batch, **which), verdict, now=shelf.clock())


def names(jobs) -> list[str]:
    return sorted(job.request.customer.customer_id for job in jobs)


def fail(shelf: Shelf, *, ending=None, **how) -> None:
    """Take everything that is due; each call ends so."""
    opened = shelf.open(shelf.take(**how))
    shelf.finish(*(shelf.failed(item, Kind.BAD_INPUT, ending or Cancel("bad_input", "no")) for item in opened))


def adds_up(shelf: Shelf, batch: int, lines: int) -> None:
    counts = shelf.facts.counts(batch)
    assert sum(counts.jobs.values()) + counts.rejected + counts.duplicate == lines
    assert len(list(shelf.facts.lines(batch))) == lines


# Pausing.


def test_nothing_of_a_paused_batch_is_taken_and_all_of_the_others(shelf, decide):
    paused = shelf.add(customer("Ona"), customer("Jonas"))
    shelf.add(customer("Rasa"))
    assert pause(shelf, decide, paused) == Decided(2)
    assert names(shelf.take()) == ["Rasa"]
    assert shelf.sweeps.due(accounts=["kyc"], channels=["email"], now=shelf.clock()).accounts == set()
    adds_up(shelf, paused, 2)


def test_no_message_of_a_paused_batch_is_taken_and_all_of_the_others(shelf, decide):
    paused = shelf.add(customer("Ona"))
    other = shelf.add(customer("Rasa"))
    shelf.issue()
    pause(shelf, decide, paused)
    assert [letter.batch_id for letter in shelf.take_letters()] == [other]
    assert shelf.sweeps.due(accounts=["kyc"], channels=["email"], now=shelf.clock()).channels == set()


@pytest.mark.parametrize("priority", [EVENT, BATCH])
def test_resuming_restores_exactly_what_was_paused(shelf, decide, priority):
    batch = shelf.add(customer("Ona"), customer("Jonas"), customer("Rasa"), priority=priority)
    first, second = shelf.take(most=2)
    (opened,) = shelf.open([first])
    shelf.finish(shelf.got(opened))
    before = shelf.rows(Job), shelf.rows(InvitationRow)
    pause(shelf, decide, batch)
    assert {row.priority for row in (*shelf.rows(Job), *shelf.rows(InvitationRow))} == {priority + PAUSED}
    decided = decide.resume(batch, now=shelf.clock())
    assert (decided.rows, decided.accounts, decided.channels) == (3, {"kyc"}, {"email"})
    assert (shelf.rows(Job), shelf.rows(InvitationRow)) == before
    assert shelf.row(Batch).paused_at is None
    assert names(shelf.take()) == ["Rasa"]
    assert second.fence == shelf.job("Jonas").fence  # still its worker's


def test_pausing_twice_is_pausing_once(shelf, decide):
    batch = shelf.add(customer("Ona"))
    assert pause(shelf, decide, batch).rows == 1
    assert pause(shelf, decide, batch).rows == 0
    assert decide.resume(batch, now=shelf.clock()).rows == 1
    assert shelf.job("Ona").priority == BATCH


def test_resuming_a_batch_that_is_not_paused_changes_nothing(shelf, decide):
    batch = shelf.add(customer("Ona"))
    before = shelf.rows(Job)
    assert decide.resume(batch, now=shelf.clock()).rows == 0
    assert shelf.rows(Job) == before


@pytest.mark.parametrize(
    "ending",
    [None, Snooze(NOON, "rate_limited", ""), Retry(NOON, "transient", "")],
    ids=["not made", "told to wait", "failed"],
)
def test_what_is_in_flight_at_the_pause_comes_back_and_is_not_taken(shelf, decide, ending):
    batch = shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.take())
    pause(shelf, decide, batch)
    shelf.finish(shelf.failed(opened, Kind.TRANSIENT, ending))
    shelf.clock.advance(minutes=1)
    assert shelf.job("Ona").state is JobState.WAITING
    assert shelf.take() == []
    decide.resume(batch, now=shelf.clock())
    assert names(shelf.take()) == ["Ona"]


def test_what_is_given_back_or_lost_after_the_pause_is_not_taken(shelf, decide):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    given_back, lost = shelf.take()
    pause(shelf, decide, batch)
    shelf.jobs.release(shelf.terms.rule, [given_back], now=shelf.clock())
    shelf.clock.advance(minutes=5)
    assert shelf.sweeps.return_leases(shelf.terms.rule.policy, now=shelf.clock()).free == 1
    assert shelf.job(lost.request.customer.customer_id).state is JobState.WAITING
    assert shelf.take() == []


def test_a_session_that_comes_after_the_pause_is_kept_and_its_message_waits(shelf, decide):
    batch = shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.take())
    pause(shelf, decide, batch)
    shelf.finish(shelf.got(opened))
    assert (shelf.job("Ona").state, len(shelf.rows(SessionRow))) == (JobState.ISSUED, 1)
    assert shelf.take_letters() == []
    decide.resume(batch, now=shelf.clock())
    assert len(shelf.send()) == 1
    assert shelf.job("Ona").state is JobState.INVITED


def test_a_message_in_flight_at_the_pause_comes_back_and_is_not_taken(shelf, decide):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    letters = shelf.take_letters()
    pause(shelf, decide, batch)
    shelf.hand_over(letters, Retry(shelf.clock(), "transient", "451"))
    assert shelf.row(InvitationRow).state is InvitationState.WAITING
    assert shelf.take_letters() == []
    decide.resume(batch, now=shelf.clock())
    assert len(shelf.take_letters()) == 1


def test_lines_that_come_into_a_paused_batch_wait_with_it(shelf, decide):
    batch = shelf.add(customer("Ona"))
    pause(shelf, decide, batch)
    shelf.add(customer("Jonas"), batch=batch, first_row=3)
    assert shelf.take() == []
    assert decide.resume(batch, now=shelf.clock()).rows == 2
    assert names(shelf.take()) == ["Jonas", "Ona"]


def test_a_row_that_failed_before_the_pause_and_is_retried_in_it_waits(shelf, decide):
    batch = shelf.add(customer("Ona"))
    fail(shelf)
    assert pause(shelf, decide, batch).rows == 0  # it had ended: nothing of it waits
    assert retry(shelf, decide, batch).rows == 1
    assert shelf.take() == []
    decide.resume(batch, now=shelf.clock())
    assert names(shelf.take()) == ["Ona"]


def test_a_row_that_failed_in_the_pause_and_is_retried_after_it_is_taken(shelf, decide):
    batch = shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.take())
    pause(shelf, decide, batch)
    shelf.finish(shelf.failed(opened, Kind.BAD_INPUT, Cancel("bad_input", "no")))
    decide.resume(batch, now=shelf.clock())
    retry(shelf, decide, batch)
    assert names(shelf.take()) == ["Ona"]


@pytest.mark.parametrize("of_message", [False, True])
def test_a_held_row_that_is_settled_in_a_pause_waits(shelf, decide, of_message):
    batch = shelf.add(customer("Ona"))
    if of_message:
        shelf.issue()
        shelf.hand_over(shelf.take_letters(), IN_DOUBT)
    else:
        fail(shelf, ending=IN_DOUBT)
    pause(shelf, decide, batch)
    assert resolve(shelf, decide, batch, Verdict.REPEAT).rows == 1
    assert (shelf.take(), shelf.take_letters()) == ([], [])
    decide.resume(batch, now=shelf.clock())
    assert (len(shelf.take()), len(shelf.take_letters())) == (int(not of_message), int(of_message))


def test_more_rows_than_a_lot_are_paused_resumed_and_cancelled(shelf, decide, monkeypatch):
    monkeypatch.setattr(module, "LOT", 3)
    batch = shelf.add(*(customer(f"C{number}") for number in range(10)))
    shelf.jobs.release(shelf.terms.rule, shelf.take(most=4), now=shelf.clock())
    assert pause(shelf, decide, batch).rows == 10
    assert shelf.take() == []
    assert decide.resume(batch, now=shelf.clock()).rows == 10
    shelf.issue()
    assert pause(shelf, decide, batch).rows == 10
    assert shelf.take_letters() == []
    assert decide.cancel(batch, now=shelf.clock()).rows == 10
    assert {row.state for row in shelf.rows(InvitationRow)} == {InvitationState.SUPERSEDED}


# Retrying what failed.


def test_a_row_whose_call_failed_is_called_for_again_with_its_attempts_at_zero(shelf, decide):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    (ona, jonas) = shelf.open(shelf.take())
    shelf.finish(shelf.failed(ona, Kind.TRANSIENT, Cancel("attempts_spent", "HTTP 500")), shelf.got(jonas))
    assert shelf.job("Ona").attempts == 1
    assert decide.count_failed(Which(batch)) == 1
    decided = retry(shelf, decide, batch)
    assert (decided.rows, decided.accounts) == (1, {"kyc"})
    row = shelf.job("Ona")
    assert (row.state, row.due_at, row.attempts, row.reason) == (JobState.WAITING, shelf.clock(), 0, "")
    assert names(shelf.issue()) == ["Ona"]
    adds_up(shelf, batch, 2)


def test_a_row_whose_message_failed_has_the_same_message_sent_again_without_a_call(shelf, decide):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    (first,) = shelf.take_letters()
    shelf.hand_over([first], Cancel("bad_input", "550"))
    assert shelf.job("Ona").state is JobState.FAILED
    assert retry(shelf, decide, batch).rows == 1
    assert shelf.take() == []  # moved on to the session that lives
    (again,) = shelf.send()
    assert (again.id, again.attempts, again.link) == (first.id, 0, first.link)
    assert shelf.job("Ona").state is JobState.INVITED
    assert (len(shelf.rows(SessionRow)), len(shelf.rows(InvitationRow))) == (1, 1)


def test_a_row_whose_message_failed_and_whose_session_has_ended_gets_a_new_one(shelf, decide):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    shelf.hand_over(shelf.take_letters(), Cancel("bad_input", "550"))
    shelf.clock.now += WEEK
    retry(shelf, decide, batch)
    assert names(shelf.issue()) == ["Ona"]
    assert len(shelf.send()) == 1
    assert len(shelf.rows(SessionRow)) == 2


def test_a_row_whose_customer_is_served_for_another_list_meanwhile_joins_it(shelf, decide):
    batch = shelf.add(customer("Ona"))
    fail(shelf)
    other = shelf.add(customer("Ona"))
    assert retry(shelf, decide, batch).rows == 1
    leader = shelf.job("Ona", batch_id=other)
    row = shelf.job("Ona", batch_id=batch)
    assert (row.state, row.joins, row.reason, row.due_at) == (JobState.WAITING, leader.id, "joined_job", None)
    assert len(shelf.issue()) == 1


def test_those_who_had_joined_a_row_that_now_joins_another_follow_it(shelf, decide):
    batch = shelf.add(customer("Ona"))
    joined = shelf.add(customer("Ona"))
    fail(shelf)
    leader = shelf.add(customer("Ona"))
    retry(shelf, decide, batch)
    leads = shelf.job("Ona", batch_id=leader).id
    assert {shelf.job("Ona", batch_id=one).joins for one in (batch, joined)} == {leads}
    shelf.issue()
    assert shelf.facts.counts(joined).jobs == {JobState.ISSUED: 1}


def test_a_row_that_joined_one_that_failed_is_served_on_its_own_once_retried(shelf, decide):
    batch = shelf.add(customer("Ona"))
    joined = shelf.add(customer("Ona"))
    fail(shelf)
    assert shelf.facts.counts(joined).jobs == {JobState.FAILED: 1}
    assert decide.count_failed(Which(joined)) == 1
    assert retry(shelf, decide, joined).rows == 1
    assert [job.batch_id for job in shelf.issue()] == [joined]
    assert shelf.facts.counts(joined).jobs == {JobState.ISSUED: 1}
    assert shelf.facts.counts(batch).jobs == {JobState.FAILED: 1}
    assert retry(shelf, decide, batch).rows == 1  # and the first joins that one now
    assert shelf.facts.counts(batch).jobs == {JobState.ISSUED: 1}


def test_a_row_whose_customer_has_finished_for_another_list_meanwhile_is_completed(shelf, decide):
    batch = shelf.add(customer("Ona"))
    joined = shelf.add(customer("Ona"))
    fail(shelf)
    other = shelf.add(customer("Ona"))
    shelf.set(Job, Job.batch_id == other, state=JobState.COMPLETED, result="approved")
    shelf.add(customer("Ona", purpose="renewal"))
    assert retry(shelf, decide, batch) == Decided(1)
    row = shelf.job("Ona", batch_id=batch)
    assert (row.state, row.result, row.reason, row.due_at) == (JobState.COMPLETED, "approved", "already_finished", None)
    assert row.detail == f"the customer finished in batch {other}, row 2"
    assert [job.purpose for job in shelf.take()] == ["renewal"]
    assert shelf.facts.counts(joined).results == {"approved": 1}


def test_a_row_whose_customer_finished_for_another_purpose_is_called_for_again(shelf, decide):
    shelf.add(customer("Ona", purpose="renewal"))
    shelf.set(Job, state=JobState.COMPLETED, result="approved")
    batch = shelf.add(customer("Ona"))
    fail(shelf)
    retry(shelf, decide, batch)
    assert [job.batch_id for job in shelf.take()] == [batch]


class Statements:
    """How many values the widest statement was given."""

    def __init__(self, database) -> None:
        self.widest = 0
        sa.event.listen(database.engine, "before_cursor_execute", self._note)

    def _note(self, _connection, _cursor, _statement, values, _context, many) -> None:
        self.widest = max(self.widest, *(len(one) for one in (values if many else [values])))


@pytest.mark.parametrize("verdict", [None, *Verdict], ids=["retry", *Verdict])
def test_many_rows_are_decided_about_in_lots(shelf, decide, database, monkeypatch, verdict):
    who = [customer(f"C{number:02}") for number in range(40)]
    batch = shelf.add(*who)
    fail(shelf, ending=IN_DOUBT if verdict else None)
    other = shelf.add(*who[:20])  # all of these join, or lead now
    monkeypatch.setattr(module, "LOT", 3)
    statements = Statements(database)
    decided = resolve(shelf, decide, batch, verdict) if verdict else retry(shelf, decide, batch)
    assert decided.rows == 40
    assert statements.widest < 40
    left = {None: (20, 0), Verdict.REPEAT: (40, 0), Verdict.ABANDON: (0, 20)}[verdict]
    waiting = shelf.rows(Job, batch_id=batch, state=JobState.WAITING, joins=None)
    held = shelf.rows(Job, batch_id=other, state=JobState.HELD, joins=None)
    assert (len(waiting), len(held)) == left
    adds_up(shelf, batch, 40)
    adds_up(shelf, other, 20)


def test_rows_held_by_those_they_joined_are_counted_by_the_batch_that_leads(shelf, decide):
    first = shelf.add(customer("Ona"), customer("Jonas"))
    second = shelf.add(customer("Rasa"))
    third = shelf.add(*(customer(name) for name in ("Ona", "Jonas", "Rasa", "Petras")))
    fail(shelf, ending=IN_DOUBT)
    assert decide.count_held(Which(third)) == 1  # Petras
    assert decide.held_elsewhere(Which(third)) == {first: 2, second: 1}
    assert decide.held_elsewhere(Which(third, row=4)) == {second: 1}
    assert decide.held_elsewhere(Which(third, account="au")) == {}
    assert decide.held_elsewhere(Which(first)) == {}
    resolve(shelf, decide, first, Verdict.REPEAT)
    assert decide.held_elsewhere(Which(third)) == {second: 1}


@pytest.mark.parametrize(
    "state", [JobState.WAITING, JobState.ISSUED, JobState.INVITED, JobState.HELD, JobState.COMPLETED, JobState.LAPSED]
)
def test_what_has_not_failed_is_not_retried(shelf, decide, state):
    batch = shelf.add(customer("Ona"))
    shelf.set(Job, state=state)
    before = shelf.rows(Job)
    assert retry(shelf, decide, batch) == Decided(0)
    assert shelf.rows(Job) == before


def test_only_the_rows_that_are_meant_are_retried(shelf, decide):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    shelf.add(customer("Rasa"), batch=batch, first_row=9, account="au")
    other = shelf.add(customer("Petras"))
    shelf.set(Job, state=JobState.FAILED)
    assert decide.count_failed(Which(batch, row=3)) == 1
    assert retry(shelf, decide, batch, row=3).rows == 1
    assert retry(shelf, decide, batch, account="au") == Decided(1, frozenset({"au"}))
    assert retry(shelf, decide, batch, account="au", row=2).rows == 0
    states = [(row.customer_id, row.state) for row in shelf.rows(Job, state=JobState.FAILED)]
    assert states == [("Ona", "failed"), ("Petras", "failed")]
    assert decide.count_failed(Which(other)) == 1


def test_rows_retried_at_once_from_two_lists_have_one_leader_for_each_customer(shelf, decide):
    who = [customer(f"C{number}") for number in range(20)]
    batches = []
    for order in (1, -1):  # two that make the same customers lead in opposite orders would lock each other out
        batches.append(shelf.add(*who[::order]))
        fail(shelf)
    with ThreadPoolExecutor(2) as threads:
        decided = list(threads.map(lambda batch: retry(shelf, decide, batch), batches))
    assert [item.rows for item in decided] == [20, 20]
    assert len(shelf.rows(Job, joins=None)) == 20
    assert len(shelf.take()) == 20


# Settling what is held.


def test_a_call_in_doubt_is_made_again_when_a_person_says_so(shelf, decide):
    batch = shelf.add(customer("Ona"))
    fail(shelf, ending=IN_DOUBT)
    assert decide.count_held(Which(batch)) == 1
    decided = resolve(shelf, decide, batch, Verdict.REPEAT)
    assert decided == Decided(1, frozenset({"kyc"}))
    assert shelf.job("Ona").attempts == 0
    assert names(shelf.issue()) == ["Ona"]


def test_a_call_in_doubt_that_is_given_up_is_never_made_again(shelf, decide):
    batch = shelf.add(customer("Ona"))
    fail(shelf, ending=IN_DOUBT)
    assert resolve(shelf, decide, batch, Verdict.ABANDON) == Decided(1)
    row = shelf.job("Ona")
    assert (row.state, row.due_at, row.reason) == (JobState.CANCELLED, None, "abandoned")
    assert shelf.take() == []
    assert decide.count_held(Which(batch)) == 0
    adds_up(shelf, batch, 1)


def test_a_message_in_doubt_is_sent_again_under_its_id_when_a_person_says_so(shelf, decide):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    (first,) = shelf.take_letters()
    shelf.hand_over([first], IN_DOUBT)
    decided = resolve(shelf, decide, batch, Verdict.REPEAT)
    assert decided == Decided(1, frozenset(), frozenset({"email"}))
    assert (shelf.job("Ona").state, shelf.take()) == (JobState.ISSUED, [])
    (again,) = shelf.send()
    assert (again.id, again.attempts) == (first.id, 0)
    assert shelf.job("Ona").state is JobState.INVITED


def test_a_message_in_doubt_that_is_given_up_is_not_sent(shelf, decide):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    shelf.hand_over(shelf.take_letters(), IN_DOUBT)
    assert resolve(shelf, decide, batch, Verdict.ABANDON) == Decided(1)
    letter = shelf.row(InvitationRow)
    assert (letter.state, letter.reason) == (InvitationState.FAILED, "abandoned")
    assert shelf.job("Ona").state is JobState.CANCELLED
    assert shelf.take_letters() == []


def both_with_the_text_in_doubt(shelf):
    batch = shelf.add(customer("Ona", channel=Channel.BOTH))
    shelf.issue()
    shelf.send()
    shelf.hand_over(shelf.take_letters(channel="sms"), IN_DOUBT, channel="sms")
    assert shelf.job("Ona").state is JobState.HELD
    return batch


def test_one_whose_other_message_is_out_is_invited_when_the_one_in_doubt_is_given_up(shelf, decide):
    batch = both_with_the_text_in_doubt(shelf)
    resolve(shelf, decide, batch, Verdict.ABANDON)
    assert shelf.job("Ona").state is JobState.INVITED
    assert (shelf.take(), shelf.take_letters(channel="sms")) == ([], [])


def test_of_two_messages_only_the_one_in_doubt_is_sent_again(shelf, decide):
    batch = both_with_the_text_in_doubt(shelf)
    assert resolve(shelf, decide, batch, Verdict.REPEAT).channels == {"sms"}
    assert shelf.take_letters() == []
    assert len(shelf.send(channel="sms")) == 1
    assert shelf.job("Ona").state is JobState.INVITED


@pytest.mark.parametrize("later", [False, True], ids=["joined before", "came later"])
def test_a_message_given_up_for_one_list_is_not_sent_for_another_by_itself(shelf, decide, later):
    batch = shelf.add(customer("Ona"))
    other = None if later else shelf.add(customer("Ona"))
    shelf.issue()
    shelf.hand_over(shelf.take_letters(), IN_DOUBT)
    resolve(shelf, decide, batch, Verdict.ABANDON)
    other = other or shelf.add(customer("Ona"))
    assert (shelf.take(), shelf.take_letters()) == ([], [])
    assert shelf.facts.counts(other).jobs == {JobState.HELD: 1}
    # and there it can be settled
    assert resolve(shelf, decide, other, Verdict.REPEAT).channels == {"email"}
    assert len(shelf.send()) == 1
    assert shelf.facts.counts(other).jobs == {JobState.INVITED: 1}
    assert shelf.facts.counts(batch).jobs == {JobState.CANCELLED: 1}


def test_a_call_given_up_for_one_list_is_not_made_for_another_by_itself(shelf, decide):
    batch = shelf.add(customer("Ona"))
    joined = [shelf.add(customer("Ona")) for _ in range(2)]
    fail(shelf, ending=IN_DOUBT)
    resolve(shelf, decide, batch, Verdict.ABANDON)
    assert shelf.take() == []
    assert [shelf.facts.counts(one).jobs for one in joined] == [{JobState.HELD: 1}] * 2
    assert shelf.job("Ona", batch_id=joined[0]).reason == "unknown"
    resolve(shelf, decide, joined[0], Verdict.REPEAT)
    assert [job.batch_id for job in shelf.issue()] == [joined[0]]


def test_one_who_joined_a_row_held_for_its_data_is_served_once_that_is_given_up(shelf, decide):
    batch = shelf.add(customer("Ona"))
    joined = shelf.add(customer("Ona"))
    fail(shelf, ending=Hold("template", "no such variable"))
    resolve(shelf, decide, batch, Verdict.ABANDON)
    assert [job.batch_id for job in shelf.issue()] == [joined]


def test_a_session_beside_a_live_one_is_settled_by_going_on_with_the_live_one(shelf, decide):
    batch = shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.take())
    shelf.add(customer("Jonas"))
    shelf.issue(reference="scan-first")
    shelf.set(SessionRow, customer_id="Ona")
    shelf.finish(shelf.got(opened, shelf.session(reference="scan-second")))
    assert shelf.job("Ona").reason == "second_session"
    resolve(shelf, decide, batch, Verdict.REPEAT)
    assert shelf.take() == []
    row = shelf.job("Ona")
    assert (row.state, row.reason) == (JobState.ISSUED, "joined_session")
    assert [line.reference for line in shelf.facts.lines(batch)] == ["scan-first"]


def test_a_conflict_is_settled_by_another_call(shelf, decide):
    batch = shelf.add(customer("Ona"))
    fail(shelf, ending=Hold(Kind.CONFLICT.value, "HTTP 409"))
    resolve(shelf, decide, batch, Verdict.REPEAT)
    assert names(shelf.issue()) == ["Ona"]


@pytest.mark.parametrize("verdict", Verdict)
def test_only_the_rows_that_are_meant_are_settled(shelf, decide, verdict):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    shelf.add(customer("Rasa"), batch=batch, first_row=9, account="au")
    other = shelf.add(customer("Petras"))
    shelf.set(Job, state=JobState.HELD, reason="unknown")
    assert decide.count_held(Which(batch)) == 3
    assert resolve(shelf, decide, batch, verdict, row=3).rows == 1
    assert resolve(shelf, decide, batch, verdict, account="au").rows == 1
    assert resolve(shelf, decide, batch, verdict, account="au", row=2).rows == 0
    assert [row.customer_id for row in shelf.rows(Job, state=JobState.HELD)] == ["Ona", "Petras"]
    assert decide.count_held(Which(other)) == 1
    adds_up(shelf, batch, 3)


@pytest.mark.parametrize("verdict", Verdict)
def test_what_is_not_held_is_not_settled(shelf, decide, verdict):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    before = shelf.rows(Job), shelf.rows(InvitationRow)
    assert resolve(shelf, decide, batch, verdict) == Decided(0)
    assert (shelf.rows(Job), shelf.rows(InvitationRow)) == before


# Beside a worker that holds the rows.


@on_postgresql
def test_a_pause_waits_for_the_worker_that_holds_a_row(shelf, decide, database):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    thread = threading.Thread(target=pause, args=(shelf, decide, batch))
    with database.write() as connection:
        connection.execute(sa.select(Job.id).where(Job.customer_id == "Jonas").with_for_update())
        thread.start()
        wait_until_blocked(database, thread)
        assert shelf.take() == []  # Ona's row is the pause's by now: a worker passes over it, and waits for nobody
    thread.join()
    assert {row.priority for row in shelf.rows(Job)} == {BATCH + PAUSED}


@on_postgresql
def test_a_pause_waits_for_lines_that_are_coming_in_and_pauses_them_too(shelf, decide, database):
    shelf.add(customer("Jonas"))
    batch = shelf.add(customer("Ona"))
    adding = threading.Thread(target=shelf.add, args=(customer("Jonas"),), kwargs={"batch": batch, "first_row": 3})
    pausing = threading.Thread(target=pause, args=(shelf, decide, batch))
    with database.write() as connection:
        # The lines stop half way: the customer's row is somebody else's.
        connection.execute(sa.select(CustomerRow).where(CustomerRow.customer_id == "Jonas").with_for_update())
        adding.start()
        wait_until_blocked(database, adding)
        pausing.start()
        wait_until_blocked(database, pausing, number=2)
    adding.join()
    pausing.join()
    assert [row.priority for row in shelf.rows(Job, batch_id=batch)] == [BATCH + PAUSED] * 2


@on_postgresql
def test_cancelling_and_sending_do_not_wait_for_each_other(shelf, decide, database):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    thread = threading.Thread(target=decide.cancel, args=(batch,), kwargs={"now": shelf.clock()})
    with database.write() as connection:
        # as one who sends it: the message first, then its job
        connection.execute(sa.select(InvitationRow.id).with_for_update())
        thread.start()
        wait_until_blocked(database, thread)
        connection.execute(sa.text("SET LOCAL lock_timeout = '200ms'"))
        connection.execute(sa.select(Job.id).with_for_update())
    thread.join()
    assert shelf.job("Ona").state is JobState.CANCELLED


def test_attempts_made_are_kept_whatever_is_decided(shelf, decide):
    batch = shelf.add(customer("Ona"))
    fail(shelf, ending=IN_DOUBT)
    before = shelf.rows(Attempt)
    resolve(shelf, decide, batch, Verdict.REPEAT)
    shelf.clock.advance(seconds=1)
    shelf.issue()
    decide.cancel(batch, now=shelf.clock() + timedelta(seconds=1))
    assert shelf.rows(Attempt)[:1] == before
    assert len(shelf.rows(Attempt)) == 2
