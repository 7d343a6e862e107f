"""What an attempt and its row are after a call, by how it ended; and which late answers still apply to their rows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from onboarding_worker.core.claim.attempt_log import after_call, closing, sort_out, standing
from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.tables import Attempt, Job
from onboarding_worker.core.model.endings import (
    Asked,
    Cancel,
    Done,
    Finish,
    Hold,
    Kind,
    Problem,
    Reconcile,
    Retry,
    Snooze,
)
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.rules.reconciliation import More, Nothing, UnknownCall, Unmatched
from tests.stored.reconciling import AFTER
from tests.stored.shelf import customer

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
AT, DUE = NOW + timedelta(seconds=9), NOW - timedelta(seconds=9)
CALL, LOOKED_UP = UUID(int=1), UUID(int=2)
HELD_UNKNOWN, HELD = Hold(Reason.UNKNOWN, "d"), Hold(Reason.CONFLICT, "d")


@pytest.mark.parametrize("unknown_call", [None, LOOKED_UP])
@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize(
    ("ending", "due_at", "counts", "waits", "unknown"),
    [
        (None, DUE, 0, 0, "looked up"),
        (Done(), None, 1, 0, None),
        (Finish("approved"), None, 1, 0, None),
        (Asked(), None, 1, 0, None),
        (Snooze(AT, Reason.RATE_LIMITED, "d"), AT, 0, 1, "looked up"),
        (Retry(AT, Reason.TRANSIENT, "d"), AT, 1, 0, None),
        (Reconcile(AT, Reason.UNKNOWN, "d"), AT, 1, 0, "of the call"),
        (Cancel(Reason.BAD_INPUT, "d"), None, 1, 0, None),
        (HELD, None, 1, 0, None),
        (HELD_UNKNOWN, None, 1, 0, "of the call"),
        (Hold(Reason.CANNOT_KEEP, "d"), None, 1, 0, "of the call"),
    ],
    ids=str,
)
def test_a_row_after_its_call(ending, due_at, counts, waits, unknown, unknown_call, counted):
    move = after_call(ending, due_at=DUE, attempt_id=CALL, unknown_call=unknown_call, counted=counted)
    assert (move["new_due_at"], move["more_waits"]) == (due_at, waits)
    assert move["more_attempts"] == (0 if counted or unknown_call else counts)
    stays = {None: None, "looked up": unknown_call, "of the call": unknown_call or CALL}
    assert move["new_unknown_attempt"] == stays[unknown]
    explained = isinstance(ending, Snooze | Retry | Reconcile | Cancel | Hold)
    assert (move["new_reason"], move["new_detail"]) == ((ending.reason, "d") if explained else ("", ""))


ROW = SimpleNamespace(attempt_id=CALL)
FAILED = Problem(Kind.TRANSIENT, "HTTP 500", status=500, code="E-1", words="as he said")
UNMATCHED = Unmatched(("a", "b"), "two")


@pytest.mark.parametrize(
    ("result", "outcome", "detail", "found"),
    [
        (CallResult(ROW, NOW, Done()), "done", "", ""),
        (CallResult(ROW, NOW, None), "not_sent", "", ""),
        (CallResult(ROW, NOW, HELD, problem=FAILED), "transient", "HTTP 500", ""),
        (CallResult(ROW, NOW, HELD, problem=replace(FAILED, unreachable=True)), "unreachable", "HTTP 500", ""),
        (CallResult(ROW, NOW, HELD, found=More(("a",))), "more", "", "a"),
        (CallResult(ROW, NOW, HELD, found=Nothing()), "done", "", ""),
        (CallResult(ROW, NOW, HELD, found=UNMATCHED), "done", "two", "a b"),
    ],
    ids=["done", "not made", "failed", "unreachable", "more", "nothing", "unmatched"],
)
def test_an_attempt_after_its_call(keyring, result, outcome, detail, found):
    closed = closing(keyring, result)
    assert closed["attempt_id"] == CALL
    assert (closed["new_outcome"], closed["new_detail"], closed["new_found"]) == (outcome, detail, found)
    of_problem = (closed["new_status"], closed["new_code"], closed["new_words"] is not None)
    assert of_problem == ((500, "E-1", True) if result.problem else (None, None, False))


@pytest.mark.parametrize("code", ["", None])
def test_an_attempt_without_a_code_or_words_has_none(keyring, code):
    closed = closing(keyring, CallResult(ROW, NOW, HELD, problem=Problem(Kind.TRANSIENT, "d", code=code or "")))
    assert (closed["new_code"], closed["new_words"]) == (None, None)


@pytest.mark.parametrize(
    ("all_rows", "this_row", "looks_up", "repeatable"),
    [(False, False, False, False), (True, False, False, True), (False, True, False, True), (False, False, True, True)],
)
def test_only_a_call_that_may_not_be_repeated_has_a_time_to_be_looked_up(
    shelf, all_rows, this_row, looks_up, repeatable
):
    shelf.add(customer("Ona"), customer("Jonas"))
    jobs = shelf.claim()
    call = UnknownCall(LOOKED_UP, shelf.clock())
    jobs = [replace(job, unknown_call=call if looks_up else None) for job in jobs]
    policy = replace(shelf.policy, all_are_repeatable=all_rows, reconcile_after=AFTER)
    shelf.open(jobs, repeatable=this_row, policy=policy)
    at = None if repeatable else jobs[0].lease_until + AFTER
    kept = {(row.repeatable, row.reconcile_at, row.reconciles) for row in shelf.rows(Attempt)}
    assert kept == {(repeatable, at, LOOKED_UP if looks_up else None)}


def test_where_sessions_are_not_listed_a_call_is_over_once_its_session_is(shelf):
    shelf.add(customer("Ona"))
    policy = replace(shelf.policy, reconcile_after=None, orphan_life=lambda _row: AFTER)
    (opened,) = shelf.open(shelf.claim(), policy=policy)
    assert shelf.row(Attempt).reconcile_at == opened.lease_until + AFTER


@pytest.fixture
def answered(shelf):
    """Sorts out the answer of a call with an unknown outcome, whose row is as given. Returns whether it applies."""

    def sorted_out(ending, *, problem=None, outcome="unknown", moved_on=False, **row):
        shelf.add(customer("Ona"), customer("Jonas"))
        opened, other = shelf.open(shelf.claim())
        shelf.set(Attempt, Attempt.id == opened.attempt_id, outcome=outcome, closed_at=shelf.clock())
        shelf.set(Attempt, Attempt.id == other.attempt_id, outcome="unknown", closed_at=shelf.clock())
        with shelf.database.write() as connection:  # a look-up of each of the two calls
            for attempt in shelf.rows(Attempt):
                values = {**attempt._mapping, "id": uuid4(), "closed_at": None, "outcome": None}
                connection.execute(sa.insert(Attempt).values(values | {"reconciles": attempt.id}))
        values = {name: opened.attempt_id if value == "its call" else value for name, value in row.items()}
        shelf.set(Job, Job.id == opened.id, **values)
        session = shelf.session() if ending == Done() else None
        result = CallResult(opened, shelf.clock(), ending, problem=problem, session=session)
        with shelf.database.write() as connection:
            found = sort_out(connection, standing(Job), [result], moved_on=lambda *_: moved_on, now=shelf.clock())
        open_ = {row.reconciles for row in shelf.rows(Attempt) if row.closed_at is None}
        applies = opened.id in found.answered
        assert open_ == ({other.attempt_id} if applies else {opened.attempt_id, other.attempt_id})
        assert (len(found.results), applies) == (int(applies), opened.id in found.ours)
        return applies, len(found.late)

    return sorted_out


OPEN = (JobState.WAITING, JobState.HELD)


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize(
    ("row", "in_states"),
    [
        ({"unknown_attempt": "its call", "fence": 5}, (*OPEN, JobState.WORKING)),
        ({"unknown_attempt": None, "fence": 1}, OPEN),
        ({"unknown_attempt": uuid4(), "fence": 1}, OPEN),
        ({"unknown_attempt": None, "fence": 5}, (JobState.WAITING,)),
        ({"unknown_attempt": uuid4(), "fence": 5}, ()),
    ],
    ids=["waits for this", "not claimed again", "waits for another", "about to be repeated", "looks another up"],
)
def test_a_late_session_applies_to_a_row_that_still_waits_for_it(answered, state, row, in_states):
    applies, late = answered(Done(), state=state, **row)
    assert (applies, late) == (state in in_states, int(state not in in_states))


@pytest.mark.parametrize("state", OPEN)
def test_a_late_refusal_does_not_apply_to_a_row_that_is_about_to_be_called_for_again(answered, state):
    refused = Cancel(Reason.BAD_INPUT, "no")
    how = {"problem": Problem(Kind.BAD_INPUT, "no"), "unknown_attempt": None, "fence": 5, "state": state}
    assert answered(refused, **how) == (False, 1)


@pytest.mark.parametrize(
    ("how", "late"),
    [({"moved_on": True}, 1), ({"outcome": "done"}, 0), ({"outcome": "late"}, 0), ({"outcome": "transient"}, 0)],
    ids=str,
)
def test_an_answer_that_was_written_or_that_a_later_session_overtook_applies_to_no_row(answered, how, late):
    assert answered(Done(), state=JobState.WAITING, **how) == (False, late)


@pytest.mark.parametrize(
    ("changes", "ours"),
    [({}, True), ({"fence": 2}, False), *(({"state": state}, False) for state in JobState if state != "working")],
    ids=str,
)
def test_the_result_of_an_open_attempt_moves_its_row_only_under_its_own_lease(shelf, changes, ours):
    shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    shelf.set(Job, **({"detail": ""} | changes))
    with shelf.database.write() as connection:
        found = sort_out(connection, standing(Job), [shelf.got(opened)], moved_on=lambda *_: False, now=shelf.clock())
    assert (len(found.results), found.late, set(found.answered)) == (1, [], set())
    assert set(found.ours) == ({opened.id} if ours else set())
    assert not found.counted(found.results[0])
