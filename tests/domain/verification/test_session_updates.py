"""What becomes of a session from what is heard of it: late, twice, and in any order."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from worker.domain.model.states import JobState, SessionState
from worker.domain.verification.session_updates import (
    DIGESTS_KEPT,
    REPLACED,
    KnownSession,
    Rank,
    Result,
    SessionUpdate,
    job_state_after,
    known_after,
    known_after_all,
    may_be_replay,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)

REVIEW = SessionUpdate("auto", state=SessionState.STARTED, result=Result.REVIEW, happened_at=NOW - 5 * HOUR)
APPROVED = SessionUpdate(
    "manual",
    state=SessionState.COMPLETED,
    result=Result.APPROVED,
    final=True,
    happened_at=NOW - 3 * HOUR,
    weight=3,
)
DENIED = replace(APPROVED, state=SessionState.FAILED, result=Result.DENIED, happened_at=NOW - 2 * HOUR)
EXPIRED = SessionUpdate("expired", state=SessionState.EXPIRED, final=True, happened_at=NOW - HOUR)
CANCELLED = SessionUpdate("cancelled", state=SessionState.FAILED, happened_at=NOW - 4 * HOUR)
DELETED = SessionUpdate("deleted", state=SessionState.FAILED, final=True, gone=True, happened_at=NOW)
NOTHING = SessionUpdate("video call")


def after(*told: SessionUpdate, first: KnownSession | None = None, received_at: datetime = NOW) -> KnownSession:
    return known_after_all(first or KnownSession(), [(update, received_at) for update in told])


def state_after(*told: SessionUpdate, first: KnownSession | None = None) -> tuple[SessionState, Result | None]:
    known = after(*told, first=first)
    return known.state, known.result


@pytest.mark.parametrize(
    ("update", "state", "result"),
    [
        (REVIEW, SessionState.STARTED, Result.REVIEW),
        (APPROVED, SessionState.COMPLETED, Result.APPROVED),
        (DENIED, SessionState.FAILED, Result.DENIED),
        (EXPIRED, SessionState.EXPIRED, None),
        (CANCELLED, SessionState.FAILED, None),
        (DELETED, SessionState.FAILED, None),
        (NOTHING, SessionState.WAITING, None),
    ],
)
def test_the_first_update_is_applied(update, state, result):
    assert state_after(update) == (state, result)


LONG_AGO = NOW - DIGESTS_KEPT


@pytest.mark.parametrize(
    ("update", "opened_at", "doubted"),
    [
        (replace(DENIED, happened_at=None), LONG_AGO, True),
        (replace(DENIED, happened_at=None, vouched=True), LONG_AGO, False),
        # All that was ever told of the session is known by its bytes.
        (replace(DENIED, happened_at=None), LONG_AGO + timedelta(seconds=1), False),
        (DENIED, LONG_AGO, False),  # it says that it is the later one
        (replace(DENIED, happened_at=APPROVED.happened_at), LONG_AGO, True),  # as does the one that is known
        (replace(DENIED, happened_at=APPROVED.happened_at, weight=4), LONG_AGO, False),
        (replace(EXPIRED, happened_at=None), LONG_AGO, False),  # which no verdict gives way to
        (NOTHING, LONG_AGO, False),
    ],
)
def test_a_verdict_without_a_later_time_may_be_a_replay_once_digests_are_gone(update, opened_at, doubted):
    assert may_be_replay(after(APPROVED), update, opened_at=opened_at, received_at=NOW) is doubted
    assert not may_be_replay(after(REVIEW), update, opened_at=opened_at, received_at=NOW)  # the first is believed


def test_the_same_update_again_changes_nothing():
    known = after(APPROVED)
    assert known_after(known, APPROVED, received_at=NOW + HOUR) is None


def test_a_session_that_has_begun_never_waits_again():
    assert state_after(REVIEW, NOTHING) == (SessionState.STARTED, Result.REVIEW)


def test_a_late_beginning_does_not_undo_an_end():
    late = replace(REVIEW, happened_at=NOW)
    for end in (APPROVED, DENIED, EXPIRED, CANCELLED, DELETED):
        assert after(end, late) == after(end)


def test_a_verdict_is_replaced_only_by_a_later_one():
    assert state_after(APPROVED, DENIED) == (SessionState.FAILED, Result.DENIED)
    assert state_after(DENIED, APPROVED) == (SessionState.FAILED, Result.DENIED)


def test_an_expiry_or_deletion_does_not_undo_a_verdict_however_late():
    for update in (EXPIRED, DELETED, CANCELLED):
        assert after(APPROVED, replace(update, happened_at=NOW)) == after(APPROVED)


def test_a_verdict_that_comes_after_the_expiry_counts():
    assert state_after(EXPIRED, APPROVED) == (SessionState.COMPLETED, Result.APPROVED)


def test_a_deletion_does_not_change_a_session_that_had_expired():
    assert state_after(EXPIRED, DELETED) == state_after(DELETED, EXPIRED) == (SessionState.EXPIRED, None)


def test_the_provider_overrules_an_expiry_by_our_own_clock():
    ours = KnownSession(SessionState.EXPIRED)
    assert state_after(REVIEW, first=ours) == (SessionState.STARTED, Result.REVIEW)
    assert state_after(NOTHING, first=ours) == (SessionState.EXPIRED, None)


@pytest.mark.parametrize("update", [REVIEW, EXPIRED, CANCELLED, DELETED, NOTHING])
def test_a_session_that_was_replaced_stays_so(update):
    assert known_after(REPLACED, replace(update, happened_at=NOW), received_at=NOW) is None


def test_a_verdict_on_a_session_that_was_replaced_counts():
    assert state_after(APPROVED, first=REPLACED) == (SessionState.COMPLETED, Result.APPROVED)


def test_of_two_verdicts_of_one_time_the_manual_one_counts():
    automatic = replace(DENIED, happened_at=APPROVED.happened_at, weight=1)
    assert after(automatic, APPROVED) == after(APPROVED, automatic) == after(APPROVED)


def test_a_second_decision_with_the_time_of_the_first_counts():
    again = replace(DENIED, happened_at=APPROVED.happened_at)
    assert state_after(APPROVED, again) == (SessionState.FAILED, Result.DENIED)


def test_an_event_without_a_time_happened_when_it_came():
    untimed = replace(APPROVED, happened_at=None)
    assert after(untimed).at == NOW
    assert state_after(untimed, replace(DENIED, happened_at=None)) == (SessionState.FAILED, Result.DENIED)


def test_a_time_that_lies_ahead_counts_as_now():
    ahead = replace(APPROVED, happened_at=NOW + timedelta(days=400))
    later = known_after_all(KnownSession(), [(ahead, NOW), (replace(DENIED, happened_at=NOW + HOUR), NOW + 2 * HOUR)])
    assert (later.state, later.result) == (SessionState.FAILED, Result.DENIED)


EVENTS = st.builds(
    SessionUpdate,
    event=st.just("any"),
    state=st.none()
    | st.sampled_from([SessionState.STARTED, SessionState.COMPLETED, SessionState.FAILED, SessionState.EXPIRED]),
    final=st.booleans(),
    result=st.none() | st.sampled_from(Result),
    happened_at=st.integers(0, 8).map(lambda hours: NOW - hours * HOUR),
    weight=st.integers(0, 3),
    gone=st.booleans(),
)


def order_of(update: SessionUpdate):
    return update.rank, update.happened_at, update.weight


@given(
    st.lists(EVENTS, max_size=7),
    st.data(),
    st.sampled_from([KnownSession(), KnownSession(SessionState.EXPIRED), REPLACED]),
)
def test_any_order_and_repetition_ends_in_the_same(events, data, first):
    # Where neither rank nor time nor weight tells two events apart, their order is all that there is.
    assume(
        len({order_of(update) for update in events if update.state is not None}) == len([e for e in events if e.state])
    )
    shuffled = data.draw(st.permutations(events))
    repeated = shuffled + (data.draw(st.lists(st.sampled_from(events), max_size=5)) if events else [])
    assert after(*repeated, first=first) == after(*events, first=first)


@given(st.lists(EVENTS, max_size=7))
def test_a_final_end_is_replaced_only_by_a_final_one_that_is_no_older(events):
    known = KnownSession()
    for update in events:
        following = known_after(known, update, received_at=NOW)
        if known.rank is Rank.FINAL and following is not None:
            assert following.rank is Rank.FINAL
            assert known.at <= following.at
        assert following is None or following.rank >= known.rank
        known = following or known


@given(st.lists(EVENTS, max_size=7))
def test_no_update_makes_a_session_wait_again(events):
    told = [update for update in events if update.state is not None]
    assert (after(*events).state is SessionState.WAITING) == (not told)


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ([], None),
        ([REVIEW], None),
        ([EXPIRED], None),
        ([APPROVED], JobState.COMPLETED),
        ([DENIED], JobState.COMPLETED),
        ([replace(APPROVED, result=Result.SUSPECTED)], JobState.COMPLETED),
        ([replace(APPROVED, result=Result.UNKNOWN)], JobState.COMPLETED),
        ([CANCELLED], JobState.FAILED),
        ([DELETED], JobState.FAILED),
    ],
)
def test_a_refusal_is_a_result_and_a_cancellation_is_none(told, state):
    assert job_state_after(after(*told)) is state


def test_a_replaced_session_does_not_change_its_job():
    assert job_state_after(REPLACED) is None
