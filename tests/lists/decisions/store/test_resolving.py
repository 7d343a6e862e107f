"""Held rows are repeated or given up, as a person decides."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Hold, Kind
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.lists.decisions.row_addresses import read_rows
from onboarding_worker.lists.decisions.store import decisions as module
from onboarding_worker.lists.decisions.store.decisions import Decisions, RepeatCost, Verdict
from onboarding_worker.lists.decisions.store.settlement import Decided, Which
from tests.stored.decisions import OUTCOME_UNKNOWN, adds_up, fail, names, resolve, retry
from tests.stored.shelf import customer


def test_a_call_with_an_unknown_outcome_is_made_again_when_a_person_decides_so(shelf, decide):
    batch = shelf.add(customer("Ona"))
    fail(shelf, ending=OUTCOME_UNKNOWN)
    assert decide.count(Which(batch), JobState.HELD) == 1
    decided = resolve(shelf, decide, batch, Verdict.REPEAT)
    assert decided == Decided(1, frozenset({"kyc"}))
    assert shelf.job("Ona").attempts == 0
    assert names(shelf.issue()) == ["Ona"]


def test_a_call_with_an_unknown_outcome_that_is_given_up_is_never_made_again(shelf, decide):
    batch = shelf.add(customer("Ona"))
    fail(shelf, ending=OUTCOME_UNKNOWN)
    assert resolve(shelf, decide, batch, Verdict.ABANDON) == Decided(1)
    row = shelf.job("Ona")
    assert (row.state, row.due_at, row.reason) == (JobState.CANCELLED, None, "abandoned")
    assert shelf.claim() == []
    assert decide.count(Which(batch), JobState.HELD) == 0
    adds_up(shelf, batch, 1)


def test_a_message_with_an_unknown_outcome_is_sent_again_under_its_id_when_a_person_decides_so(shelf, decide):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    (first,) = shelf.claim_messages()
    shelf.hand_over([first], OUTCOME_UNKNOWN)
    decided = resolve(shelf, decide, batch, Verdict.REPEAT)
    assert decided == Decided(1, frozenset(), frozenset({"email"}))
    assert (shelf.job("Ona").state, shelf.claim()) == (JobState.ISSUED, [])
    (again,) = shelf.send()
    assert (again.id, again.attempts) == (first.id, 0)
    assert shelf.job("Ona").state is JobState.INVITED


@pytest.mark.both_databases
def test_a_message_whose_customer_may_get_no_more_stays_held_and_is_not_counted_as_repeated(shelf, database):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    shelf.hand_over(shelf.claim_messages(), OUTCOME_UNKNOWN)
    capped, higher = (Decisions(database, most_messages=most) for most in (1, 2))
    assert capped.repeat_cost(Which(batch)) == RepeatCost({}, {}, {Reason.MESSAGES_SPENT: 1})
    assert resolve(shelf, capped, batch, Verdict.REPEAT) == Decided(0)
    message = shelf.row(InvitationRow)
    assert (message.state, message.unknown_handovers) == (InvitationState.HELD, 0)
    assert shelf.claim_messages() == []
    assert resolve(shelf, higher, batch, Verdict.REPEAT).rows == 1
    assert len(shelf.send()) == 1


def test_a_message_with_an_unknown_outcome_that_is_given_up_is_not_sent(shelf, decide):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    shelf.hand_over(shelf.claim_messages(), OUTCOME_UNKNOWN)
    assert resolve(shelf, decide, batch, Verdict.ABANDON) == Decided(1)
    message = shelf.row(InvitationRow)
    assert (message.state, message.reason) == (InvitationState.FAILED, "abandoned")
    assert shelf.job("Ona").state is JobState.CANCELLED
    assert shelf.claim_messages() == []


def both_with_an_unknown_text(shelf):
    batch = shelf.add(customer("Ona", channel=Channel.BOTH))
    shelf.issue()
    shelf.send()
    shelf.hand_over(shelf.claim_messages(channel="sms"), OUTCOME_UNKNOWN, channel="sms")
    assert shelf.job("Ona").state is JobState.HELD
    return batch


@pytest.mark.both_databases
def test_one_whose_other_message_is_out_is_invited_when_the_unknown_one_is_given_up(shelf, decide):
    batch = both_with_an_unknown_text(shelf)
    resolve(shelf, decide, batch, Verdict.ABANDON)
    assert shelf.job("Ona").state is JobState.INVITED
    assert (shelf.claim(), shelf.claim_messages(channel="sms")) == ([], [])


def test_of_two_messages_only_the_unknown_one_is_sent_again(shelf, decide):
    batch = both_with_an_unknown_text(shelf)
    assert resolve(shelf, decide, batch, Verdict.REPEAT).channels == {"sms"}
    assert shelf.claim_messages() == []
    assert len(shelf.send(channel="sms")) == 1
    assert shelf.job("Ona").state is JobState.INVITED


def held_for_a_call_with_an_unknown_earlier_message(shelf, *, sessions=1, ending=OUTCOME_UNKNOWN):
    """Ona's first email has an unknown outcome; her job has gone on, and is held for the call for the next session."""
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    shelf.hand_over(shelf.claim_messages(), OUTCOME_UNKNOWN)
    for number in range(sessions):
        shelf.set(SessionRow, state="expired", check_at=None)
        shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock(), reason="session_expired")
        if number < sessions - 1:
            shelf.issue()
    fail(shelf, ending=ending)
    assert shelf.job("Ona").state is JobState.HELD
    return batch


@pytest.mark.parametrize("sessions", [1, 2], ids=["the last session's", "an earlier one's"])
@pytest.mark.parametrize(
    "ending", [OUTCOME_UNKNOWN, Hold("conflict", "a session lives there")], ids=["unknown", "conflict"]
)
def test_where_a_call_is_held_for_the_message_of_a_session_before_is_not_what_is_settled(
    shelf, decide, sessions, ending
):
    batch = held_for_a_call_with_an_unknown_earlier_message(shelf, sessions=sessions, ending=ending)
    cost = decide.repeat_cost(Which(batch))
    assert (cost.sessions, cost.messages) == ({"kyc": 1}, {})
    assert resolve(shelf, decide, batch, Verdict.REPEAT) == Decided(1, frozenset({"kyc"}))
    assert shelf.claim_messages() == []
    assert names(shelf.issue()) == ["Ona"]
    assert len(shelf.send()) == 1
    assert shelf.job("Ona").state is JobState.INVITED


def test_a_call_that_is_given_up_leaves_the_message_of_an_earlier_session_as_it_was(shelf, decide):
    batch = held_for_a_call_with_an_unknown_earlier_message(shelf, sessions=2)
    later = shelf.add(customer("Ona"))
    assert resolve(shelf, decide, batch, Verdict.ABANDON) == Decided(1)
    # Not the email, but the call may have been carried out: so the list that comes next is held for it.
    assert (shelf.job("Ona", batch_id=later).state, shelf.job("Ona", batch_id=later).reason) == ("held", "unknown")
    assert len(shelf.rows(InvitationRow, state=InvitationState.HELD)) == 1


@pytest.mark.both_databases
@pytest.mark.parametrize("verdict", Verdict)
def test_only_messages_of_the_present_session_are_settled(shelf, decide, verdict):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    (first,) = shelf.claim_messages()
    shelf.hand_over([first], OUTCOME_UNKNOWN)
    shelf.set(SessionRow, state="expired", check_at=None)
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock(), reason="session_expired")
    shelf.issue()
    shelf.hand_over(shelf.claim_messages(), OUTCOME_UNKNOWN)
    assert decide.repeat_cost(Which(batch)).messages == {"email": 1}
    resolve(shelf, decide, batch, verdict)
    (left,) = shelf.rows(InvitationRow, state=InvitationState.HELD)
    assert left.id == first.id


@pytest.mark.parametrize("later", [False, True], ids=["joined before", "came later"])
def test_a_message_given_up_for_one_list_is_not_sent_for_another_by_itself(shelf, decide, later):
    batch = shelf.add(customer("Ona"))
    other = None if later else shelf.add(customer("Ona"))
    shelf.issue()
    shelf.hand_over(shelf.claim_messages(), OUTCOME_UNKNOWN)
    resolve(shelf, decide, batch, Verdict.ABANDON)
    other = other or shelf.add(customer("Ona"))
    assert (shelf.claim(), shelf.claim_messages()) == ([], [])
    assert shelf.facts.counts(other).jobs == {JobState.HELD: 1}
    # and there it can be settled
    assert resolve(shelf, decide, other, Verdict.REPEAT).channels == {"email"}
    assert len(shelf.send()) == 1
    assert shelf.facts.counts(other).jobs == {JobState.INVITED: 1}
    assert shelf.facts.counts(batch).jobs == {JobState.CANCELLED: 1}


def test_a_call_given_up_for_one_list_is_not_made_for_another_by_itself(shelf, decide):
    batch = shelf.add(customer("Ona"))
    joined = [shelf.add(customer("Ona")) for _ in range(2)]
    fail(shelf, ending=OUTCOME_UNKNOWN)
    resolve(shelf, decide, batch, Verdict.ABANDON)
    assert shelf.claim() == []
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


def test_a_second_session_next_to_a_live_one_is_settled_by_going_on_with_the_live_one(shelf, decide):
    batch = shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    shelf.add(customer("Jonas"))
    shelf.issue(reference="scan-first")
    shelf.set(SessionRow, customer_id="Ona")
    shelf.finish(shelf.got(opened, shelf.session(reference="scan-second")))
    assert shelf.job("Ona").reason == "second_session"
    resolve(shelf, decide, batch, Verdict.REPEAT)
    assert shelf.claim() == []
    row = shelf.job("Ona")
    assert (row.state, row.reason) == (JobState.ISSUED, "joined_session")
    assert [line.reference for line in shelf.facts.lines(batch)] == ["scan-first"]


def test_a_conflict_is_settled_by_another_call(shelf, decide):
    batch = shelf.add(customer("Ona"))
    fail(shelf, ending=Hold(Kind.CONFLICT.value, "HTTP 409"))
    resolve(shelf, decide, batch, Verdict.REPEAT)
    assert names(shelf.issue()) == ["Ona"]


@pytest.mark.both_databases
@pytest.mark.parametrize("verdict", Verdict)
def test_only_the_rows_that_are_meant_are_settled(shelf, decide, verdict):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    shelf.add(customer("Rasa"), batch=batch, first_row=9, account="au")
    other = shelf.add(customer("Petras"))
    shelf.set(Job, state=JobState.HELD, reason="unknown")
    assert decide.count(Which(batch), JobState.HELD) == 3
    assert resolve(shelf, decide, batch, verdict, rows=read_rows("3")).rows == 1
    assert resolve(shelf, decide, batch, verdict, account="au").rows == 1
    assert resolve(shelf, decide, batch, verdict, account="au", rows=read_rows("2")).rows == 0
    assert [row.customer_id for row in shelf.rows(Job, state=JobState.HELD)] == ["Ona", "Petras"]
    assert decide.count(Which(other), JobState.HELD) == 1
    adds_up(shelf, batch, 3)


@pytest.mark.parametrize("verdict", Verdict)
def test_what_is_not_held_is_not_settled(shelf, decide, verdict):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    before = shelf.rows(Job), shelf.rows(InvitationRow)
    assert resolve(shelf, decide, batch, verdict) == Decided(0)
    assert (shelf.rows(Job), shelf.rows(InvitationRow)) == before


@pytest.mark.both_databases
def test_rows_held_by_those_they_joined_are_counted_by_the_batch_that_leads(shelf, decide):
    first = shelf.add(customer("Ona"), customer("Jonas"))
    second = shelf.add(customer("Rasa"))
    third = shelf.add(*(customer(name) for name in ("Ona", "Jonas", "Rasa", "Petras")))
    fail(shelf, ending=OUTCOME_UNKNOWN)
    assert decide.count(Which(third), JobState.HELD) == 1  # Petras
    assert decide.held_elsewhere(Which(third)) == {first: 2, second: 1}
    assert decide.held_elsewhere(Which(third, rows=read_rows("4"))) == {second: 1}
    assert decide.held_elsewhere(Which(third, account="au")) == {}
    assert decide.held_elsewhere(Which(first)) == {}
    resolve(shelf, decide, first, Verdict.REPEAT)
    assert decide.held_elsewhere(Which(third)) == {second: 1}


def test_attempts_made_are_kept_whatever_is_decided(shelf, decide):
    batch = shelf.add(customer("Ona"))
    fail(shelf, ending=OUTCOME_UNKNOWN)
    before = shelf.rows(Attempt)
    resolve(shelf, decide, batch, Verdict.REPEAT)
    shelf.clock.advance(seconds=1)
    shelf.issue()
    decide.cancel(batch, now=shelf.clock() + timedelta(seconds=1))
    assert shelf.rows(Attempt)[:1] == before
    assert len(shelf.rows(Attempt)) == 2


class Statements:
    """How many values the widest statement was given."""

    def __init__(self, database) -> None:
        self.widest = 0
        sa.event.listen(database.engine, "before_cursor_execute", self._note)

    def _note(self, _connection, _cursor, _statement, values, _context, many) -> None:
        self.widest = max(self.widest, *(len(one) for one in (values if many else [values])))


@pytest.mark.parametrize("verdict", [None, *Verdict], ids=["retry", *Verdict])
def test_many_rows_are_decided_about_in_chunks(shelf, decide, database, monkeypatch, verdict):
    who = [customer(f"C{number:02}") for number in range(40)]
    batch = shelf.add(*who)
    fail(shelf, ending=OUTCOME_UNKNOWN if verdict else None)
    other = shelf.add(*who[:20])  # all of these join, or lead now
    monkeypatch.setattr(module, "CHUNK", 3)
    statements = Statements(database)
    decided = resolve(shelf, decide, batch, verdict) if verdict else retry(shelf, decide, batch)
    assert decided.rows == 40
    assert statements.widest < 40
    left = {None: (20, 0), Verdict.REPEAT: (40, 0), Verdict.ABANDON: (0, 20)}[verdict]
    waiting = shelf.rows(Job, batch_id=batch, state=JobState.WAITING, leader_id=None)
    held = shelf.rows(Job, batch_id=other, state=JobState.HELD, leader_id=None)
    assert (len(waiting), len(held)) == left
    adds_up(shelf, batch, 40)
    adds_up(shelf, other, 20)
