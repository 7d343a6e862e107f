"""Which rows, messages and sessions a cancellation changes among their neighbours, and what successors keep of them."""

from datetime import timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import CustomerRow, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import ENDED_JOBS, OPEN_JOBS, InvitationState, JobState, Result, SessionState
from onboarding_worker.core.rows.cancellation import (
    cancel_customers,
    cancel_jobs,
    cancel_open,
    cancelled_instead,
    leave_session,
    promote,
    with_unknown_calls,
    with_wrong_address,
)
from tests.stored.shelf import customer

DAY = timedelta(days=1)
CANCELLED, HELD, WAITING = JobState.CANCELLED, JobState.HELD, JobState.WAITING


def named(shelf, state, **changes):
    """A customer of this name, whose job is in this state. Returns the job's id."""
    name = f"C-{len(shelf.rows(Job))}"
    shelf.add(customer(name))
    shelf.set(Job, Job.customer_id == name, state=state, **changes)
    return shelf.job(name).id


def states(shelf):
    return {row.id: row.state for row in shelf.rows(Job)}


def test_the_rows_of_other_customers_and_purposes_are_not_cancelled_with_a_customers(shelf):
    onboarding, second = shelf.add(customer("Ona")), shelf.add(customer("Ona"))
    renewal, other, ended = shelf.add(customer("Ona", purpose="renewal")), shelf.add(customer("Jonas")), shelf.batch()
    shelf.add(customer("Rasa"), batch=ended)
    shelf.set(Job, Job.batch_id == ended, state=JobState.LAPSED, due_at=None)
    keys = {("Ona", "onboarding"), ("Jonas", "renewal"), ("Rasa", "onboarding")}
    with shelf.database.write() as connection:
        found = cancel_customers(connection, keys, now=shelf.clock())
    leading = shelf.row(Job, batch_id=onboarding)
    assert found == {("Ona", "onboarding"): leading.id}
    by_batch = {row.batch_id: row.state for row in shelf.rows(Job)}
    assert [by_batch[one] for one in (onboarding, second)] == [CANCELLED] * 2
    assert [by_batch[one] for one in (renewal, other, ended)] == [WAITING, WAITING, JobState.LAPSED]


def test_open_rows_end_at_once_and_those_in_a_call_are_marked_to_end_with_it(shelf):
    jobs = {state: named(shelf, state) for state in JobState}
    spared = named(shelf, WAITING)
    before = states(shelf)
    with shelf.database.write() as connection:
        ended = cancel_open(connection, list(jobs.values()), reason=Reason.ERASED, now=shelf.clock())
        assert cancel_open(connection, [], now=shelf.clock()) == 0
    at_once = set(OPEN_JOBS) - {JobState.WORKING}
    assert ended == len(at_once)
    rows = {row.id: row for row in shelf.rows(Job)}
    assert {state for state, id_ in jobs.items() if rows[id_].reason == Reason.ERASED} == at_once
    assert {state for state, id_ in jobs.items() if rows[id_].cancelled_at is not None} == set(OPEN_JOBS)
    unchanged = [spared, *(jobs[state] for state in {*ENDED_JOBS, JobState.WORKING})]
    assert {id_: rows[id_].state for id_ in unchanged} == {id_: before[id_] for id_ in unchanged}


def test_only_open_jobs_end_even_if_one_is_asked_for_that_has_ended_meanwhile(shelf):
    jobs = [named(shelf, state) for state in (WAITING, JobState.WORKING, JobState.FAILED)]
    spared = named(shelf, WAITING)
    with shelf.database.write() as connection:
        cancel_jobs(connection, jobs, now=shelf.clock())
    assert states(shelf) == dict(zip([*jobs, spared], [CANCELLED, CANCELLED, JobState.FAILED, WAITING], strict=True))


def test_the_reason_of_a_cancelled_row_is_the_erasure_only_of_a_customer_who_had_details(shelf):
    cases = {
        "erased": ({"encrypted": None}, "erased"),
        "named by a cancelled row alone": ({"encrypted": None, "details_at": None}, "cancelled"),
        "known": ({}, "cancelled"),
        "of an event": ({"details_at": None}, "cancelled"),
    }
    shelf.add(*map(customer, cases))
    for name, (values, _) in cases.items():
        if values:
            shelf.set(CustomerRow, CustomerRow.customer_id == name, **values)
    with shelf.database.write() as connection:
        cancel_jobs(connection, [row.id for row in shelf.rows(Job)], now=shelf.clock())
    assert {row.customer_id: row.reason for row in shelf.rows(Job)} == {name: why for name, (_, why) in cases.items()}


def test_what_is_said_of_a_row_is_kept_unless_it_said_which_row_it_joined(shelf):
    leads, joined = shelf.add(customer("Ona")), shelf.add(customer("Ona"))
    shelf.set(Job, detail="as it was")
    with shelf.database.write() as connection:
        cancel_jobs(connection, [row.id for row in shelf.rows(Job)], now=shelf.clock())
    assert {row.batch_id: row.detail for row in shelf.rows(Job)} == {leads: "as it was", joined: ""}
    assert {row.leader_id for row in shelf.rows(Job)} == {None}


def test_only_the_rows_own_messages_that_wait_end_and_a_reminder_keeps_its_time(shelf):
    shelf.add(customer("Ona", channel=Channel.BOTH), customer("Jonas"))
    shelf.issue()
    ona, due = shelf.job("Ona").id, shelf.clock() + DAY
    of_ona = [row for row in shelf.rows(InvitationRow) if row.job_id == ona]
    for row, state in zip(of_ona, (InvitationState.WAITING, InvitationState.SENT), strict=True):
        shelf.set(InvitationRow, InvitationRow.id == row.id, state=state)
    values = of_ona[0]._asdict() | {
        "id": uuid4(),
        "kind": "reminder-1",
        "due_at": due,
        "state": InvitationState.WAITING,
    }
    with shelf.database.write() as connection:
        connection.execute(sa.insert(InvitationRow), values)
        cancel_jobs(connection, [ona], now=shelf.clock())
    rows = {
        (row.job_id == ona, row.channel, row.kind): (row.state, row.due_at, row.reason)
        for row in shelf.rows(InvitationRow)
    }
    channel = of_ona[0].channel
    assert rows.pop((True, channel, "invitation")) == (InvitationState.SUPERSEDED, None, "cancelled")
    assert rows.pop((True, channel, "reminder-1")) == (InvitationState.SUPERSEDED, due, "cancelled")
    assert {state for state, *_ in rows.values()} == {InvitationState.SENT, InvitationState.WAITING}
    assert {reason for *_, reason in rows.values()} == {""}


def test_of_a_marked_row_what_would_end_or_wait_stays_open_unless_its_outcome_is_unknown():
    marked, unknown = {1}, uuid4()

    def left(job_id, state, attempt):
        (move,) = moves = [{"job_id": job_id, "new_state": state, "new_unknown_attempt": attempt}]
        return cancelled_instead(moves, marked), move["new_state"]

    ending = {JobState.FAILED, WAITING, JobState.INVITED}
    for state in JobState:
        assert left(1, state, None) == (([1], WAITING) if state in ending else ([], state))
        assert left(1, state, unknown) == left(2, state, None) == ([], state)
    both = [{"id": id_, "new_state": JobState.FAILED, "new_unknown_attempt": None} for id_ in (2, 1, 3)]
    assert cancelled_instead(both, {1, 2}, by="id") == [1, 2]


def asked(shelf, of, ids):
    with shelf.database.write() as connection:
        return of(connection, ids)


def test_a_call_may_have_been_carried_out_where_its_outcome_or_a_held_row_says_so(shelf):
    unknown = {
        named(shelf, HELD, reason=Reason.UNKNOWN),
        named(shelf, WAITING, unknown_attempt=uuid4()),
        named(shelf, JobState.FAILED, unknown_attempt=uuid4()),
    }
    known = {
        named(shelf, HELD, reason=Reason.NOT_ME),
        named(shelf, WAITING, reason=Reason.UNKNOWN),
        named(shelf, WAITING),
    }
    beside = named(shelf, HELD, reason=Reason.UNKNOWN)
    assert asked(shelf, with_unknown_calls, [*unknown, *known]) == unknown
    assert beside not in unknown


def test_a_row_that_is_held_for_its_message_has_no_call_whose_outcome_is_unknown(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    shelf.set(Job, state=HELD, reason=Reason.UNKNOWN)
    ona = shelf.job("Ona").id
    assert asked(shelf, with_unknown_calls, [ona]) == {ona}
    shelf.set(InvitationRow, state=InvitationState.HELD)
    assert asked(shelf, with_unknown_calls, [ona]) == set()
    shelf.set(InvitationRow, kind="reminder-1")
    assert asked(shelf, with_unknown_calls, [ona]) == {ona}


def test_a_link_may_be_another_persons_only_where_a_visitor_said_so(shelf):
    held = named(shelf, HELD, reason=Reason.NOT_ME)
    others = [named(shelf, HELD, reason=Reason.UNKNOWN), named(shelf, WAITING, reason=Reason.NOT_ME)]
    beside = named(shelf, HELD, reason=Reason.NOT_ME)
    assert asked(shelf, with_wrong_address, [held, *others]) == {held}
    assert asked(shelf, with_wrong_address, [beside]) == {beside}
    assert asked(shelf, with_wrong_address, []) == set()


def successor(shelf, *, unknown=False, not_theirs=False, session=None, **job):
    """What becomes of the row that had joined a cancelled one, whose job and session were so."""
    name = f"C-{len(shelf.rows(Job))}"
    first = shelf.add(customer(name))
    shelf.issue()
    joined = shelf.add(customer(name))
    before = shelf.job(name, batch_id=first)
    shelf.set(SessionRow, SessionRow.customer_id == name, check_at=None, **session or {"state": SessionState.STARTED})
    shelf.set(Job, Job.id == before.id, **job or {"state": JobState.ISSUED})
    with shelf.database.write() as connection:
        connection.execute(sa.update(Job).where(Job.id == before.id).values(state=CANCELLED, due_at=None))
        args = {before.id} if unknown else set(), {before.id} if not_theirs else set()
        promote(connection, [before.id], *args, now=shelf.clock())
    after = shelf.job(name, batch_id=joined)
    assert after.leader_id is None
    has_session = after.session_id is not None and after.session_id == before.session_id
    checked = shelf.row(SessionRow, customer_id=name).check_at == shelf.clock()
    return (
        after.state,
        after.reason,
        after.due_at == shelf.clock(),
        has_session,
        after.refused_session,
        after.result,
        checked,
    )


def test_the_successor_of_a_row_waits_or_is_held_and_keeps_what_the_provider_still_decides(shelf):
    refused, over = uuid4(), {"state": SessionState.EXPIRED}
    asked_again, review = {"refused_session": refused}, {"result": Result.REVIEW}
    past, now = {"expires_at": shelf.clock() - DAY}, {"expires_at": shelf.clock()}
    free = (WAITING, "", True, False, None, "", False)
    denied = (WAITING, "", True, False, refused, Result.DENIED, False)
    decided = (JobState.INVITED, "", False, True, refused, Result.DENIED, True)
    cases = [
        ({}, free),
        ({"session": over}, free),
        ({"session": past}, free),
        ({"session": {"result": Result.APPROVED}}, free),
        ({"session": review}, (WAITING, "", True, True, None, "", False)),
        (asked_again, denied),
        (asked_again | {"session": review}, (WAITING, "", True, True, refused, Result.DENIED, False)),
        (asked_again | {"session": over}, decided),
        (asked_again | {"session": {"state": SessionState.FAILED}}, decided),
        (asked_again | {"session": {"state": SessionState.SUPERSEDED}}, denied),
        (asked_again | {"session": past}, decided),
        (asked_again | {"session": now}, decided),
        ({"unknown": True}, (HELD, "unknown", False, False, None, "", False)),
        ({"not_theirs": True}, (HELD, "not_me", False, False, None, "", False)),
        ({"unknown": True, "not_theirs": True}, (HELD, "unknown", False, False, None, "", False)),
    ]
    found = [successor(shelf, **how) for how, _ in cases]
    assert [(how, got) for (how, expected), got in zip(cases, found, strict=True) if got != expected] == []
    checked = sum(row.check_at == shelf.clock() for row in shelf.rows(SessionRow))
    assert checked == sum(expected[-1] for _, expected in cases)


def test_rows_that_had_joined_a_row_that_did_not_end_stay_with_it(shelf):
    first, other = shelf.add(customer("Ona")), shelf.add(customer("Jonas"))
    for name in ("Ona", "Jonas"):
        for _ in range(2):
            shelf.add(customer(name))
    ended = shelf.row(Job, batch_id=first)
    joined = [row.id for row in shelf.rows(Job) if row.leader_id == ended.id]
    shelf.set(Job, Job.id == joined[0], state=CANCELLED, due_at=None)
    before = {row.id: row.leader_id for row in shelf.rows(Job)}
    shelf.set(Job, Job.id == ended.id, state=CANCELLED, due_at=None)
    with shelf.database.write() as connection:
        promote(connection, [ended.id], set(), set(), now=shelf.clock())
    after = {row.id: row.leader_id for row in shelf.rows(Job)}
    assert after == before | {joined[1]: None}  # the one that has ended leads no one
    assert shelf.row(Job, batch_id=other).state is WAITING


@pytest.mark.parametrize("ends_as", [None, SessionState.EXPIRED, SessionState.SUPERSEDED])
def test_a_session_that_is_left_is_checked_no_more_and_ends_if_it_has_not(shelf, ends_as):
    shelf.add(customer("Ona"), customer("Jonas"))
    shelf.issue()
    shelf.set(SessionRow, check_at=shelf.clock())
    with shelf.database.write() as connection:
        leave_session(connection, shelf.job("Ona").session_id, ends_as=ends_as, now=shelf.clock())
    rows = {row.customer_id: (row.state, row.check_at) for row in shelf.rows(SessionRow)}
    assert rows == {"Ona": (ends_as or SessionState.WAITING, None), "Jonas": (SessionState.WAITING, shelf.clock())}
