"""A session after updates that come late, twice, and in any order."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import assume, given
from hypothesis import strategies as st

from onboarding_worker.core.model.states import Result, SessionState
from onboarding_worker.providers.webhooks.contract import LISTED, Rank, SessionUpdate
from onboarding_worker.web.webhooks.session_chain import (
    DIGESTS_KEPT,
    REPLACED,
    KnownSession,
    known_after,
    may_be_replay,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)

REVIEW = SessionUpdate("auto", state=SessionState.STARTED, result=Result.REVIEW, happened_at=NOW - 5 * HOUR)
APPROVED = SessionUpdate(
    "manual", state=SessionState.COMPLETED, result=Result.APPROVED, final=True, happened_at=NOW - 3 * HOUR, weight=3
)
DENIED = replace(APPROVED, state=SessionState.FAILED, result=Result.DENIED, happened_at=NOW - 2 * HOUR)
EXPIRED = SessionUpdate("expired", state=SessionState.EXPIRED, final=True, happened_at=NOW - HOUR)
CANCELLED = SessionUpdate("cancelled", state=SessionState.FAILED, happened_at=NOW - 4 * HOUR)
DELETED = SessionUpdate("deleted", state=SessionState.FAILED, final=True, gone=True, happened_at=NOW)
NOTHING = SessionUpdate("video call")


def known_after_all(known: KnownSession, updates: Iterable[tuple[SessionUpdate, datetime]]) -> KnownSession:
    """What is known after all these updates, in order of arrival, each with the time of its receipt."""
    for update, received_at in updates:
        known = known_after(known, update, received_at=received_at) or known
    return known


def after(*updates: SessionUpdate, first: KnownSession | None = None, received_at: datetime = NOW) -> KnownSession:
    return known_after_all(first or KnownSession(), [(update, received_at) for update in updates])


def state_after(*updates: SessionUpdate, first: KnownSession | None = None) -> tuple[SessionState, Result | None]:
    known = after(*updates, first=first)
    return known.state, known.result


def test_the_first_update_is_applied():
    cases = [
        (REVIEW, SessionState.STARTED, Result.REVIEW),
        (APPROVED, SessionState.COMPLETED, Result.APPROVED),
        (DENIED, SessionState.FAILED, Result.DENIED),
        (EXPIRED, SessionState.EXPIRED, None),
        (CANCELLED, SessionState.FAILED, None),
        (DELETED, SessionState.FAILED, None),
        (NOTHING, SessionState.WAITING, None),
    ]
    assert [(update, got) for update, state, result in cases if (got := state_after(update)) != (state, result)] == []


def test_a_verdict_that_a_list_says_first_has_the_reasons_of_the_webhook_that_comes_late():
    listed = replace(DENIED, event="look-up", happened_at=None, weight=LISTED)
    webhook, other = replace(DENIED, reasons=("DOC_EXPIRED",)), replace(APPROVED, reasons=("NAME",))
    for order in ((listed, webhook), (webhook, listed), (listed, other, webhook), (listed, webhook, listed)):
        known = after(*order)
        assert (known.result, known.at, known.reasons) == (Result.DENIED, NOW, ("DOC_EXPIRED",))
    # A later webhook without reasons has none.
    assert after(replace(webhook, weight=1), replace(DENIED, weight=2)).reasons == ()


LONG_AGO = NOW - DIGESTS_KEPT


def test_a_verdict_without_a_later_time_may_be_a_replay_once_digests_are_gone(subtests):
    cases = [
        (replace(DENIED, happened_at=None), LONG_AGO, True),
        (replace(DENIED, happened_at=None, vouched=True), LONG_AGO, False),
        # All webhooks of the session are still recognised by digest.
        (replace(DENIED, happened_at=None), LONG_AGO + timedelta(seconds=1), False),
        (DENIED, LONG_AGO, False),  # its time shows that it is the later one
        (replace(DENIED, happened_at=APPROVED.happened_at), LONG_AGO, True),  # it has the time of the known one
        (replace(DENIED, happened_at=APPROVED.happened_at, weight=4), LONG_AGO, False),
        (replace(EXPIRED, happened_at=None), LONG_AGO, False),  # which no verdict gives way to
        (NOTHING, LONG_AGO, False),
    ]
    for update, opened_at, may_be in cases:
        with subtests.test(update=update, opened_at=opened_at, may_be=may_be):
            assert may_be_replay(after(APPROVED), update, opened_at=opened_at, received_at=NOW) is may_be
            assert not may_be_replay(
                after(REVIEW), update, opened_at=opened_at, received_at=NOW
            )  # the first is applied


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


def test_a_session_that_was_replaced_stays_so():
    cases = [REVIEW, EXPIRED, CANCELLED, DELETED, NOTHING]
    assert [
        (update, got)
        for update in cases
        if (got := known_after(REPLACED, replace(update, happened_at=NOW), received_at=NOW)) is not None
    ] == []


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
    # Where rank, time and weight of two events are equal, only their order decides.
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
    updates = [update for update in events if update.state is not None]
    assert (after(*events).state is SessionState.WAITING) == (not updates)


def test_a_refusal_is_a_result_and_a_cancellation_is_none():
    cases = [
        ([], (False, False)),
        ([REVIEW], (False, False)),
        ([EXPIRED], (False, False)),
        ([APPROVED], (True, False)),
        ([DENIED], (True, False)),
        ([replace(APPROVED, result=Result.SUSPECTED)], (True, False)),
        ([replace(APPROVED, result=Result.UNKNOWN)], (True, False)),
        ([CANCELLED], (False, True)),
        ([DELETED], (False, True)),
    ]
    found = [(updates, after(*updates)) for updates, _ in cases]
    assert [(updates, (known.has_verdict, known.has_failed)) for updates, known in found] == cases


def test_a_replaced_session_does_not_change_its_job():
    assert not REPLACED.has_verdict
    assert not REPLACED.has_failed
