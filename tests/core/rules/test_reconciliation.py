"""What a look-up says about a call whose outcome is unknown, and what becomes of its row."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from onboarding_worker.core.model.endings import (
    Cancel,
    Finish,
    Hold,
    Kind,
    Problem,
    Reconcile,
    Retry,
    RetryPolicy,
    Snooze,
)
from onboarding_worker.core.model.states import SessionState
from onboarding_worker.core.rules.reconciliation import (
    LONGEST_LIFE,
    MARGIN,
    MOST_PAGES,
    Listed,
    Listing,
    More,
    Nothing,
    OrphanRule,
    UnknownCall,
    Unmatched,
    compare,
    ending_of_reconciliation,
    not_before_its_wait,
    stays_unknown,
)
from onboarding_worker.reporting.forecast import lost_answers

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
POLICY = RetryPolicy(attempts=4, first=timedelta(seconds=1), most=timedelta(seconds=10))
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
OURS, LOST = Listed("scan-1", "EXPIRED"), Listed("scan-2", "ACTIVE")


def unknown_call(kind=Kind.UNKNOWN, **fields):
    return UnknownCall(uuid.UUID(int=1), NOW - timedelta(seconds=75), kind, frozenset({OURS.reference}), **fields)


def ending(found, about=None, attempts=1):
    return ending_of_reconciliation(found, about or unknown_call(), attempts, POLICY, NOW, 0.5)


# The provider's list, compared with what is known.


@pytest.mark.parametrize("entries", [(), (OURS,)])
def test_a_list_of_known_sessions_shows_that_the_call_was_not_carried_out(entries):
    assert isinstance(compare(Listing(entries), unknown_call()), Nothing)


def test_an_unmatched_session_may_be_the_calls():
    found = compare(Listing((LOST, OURS)), unknown_call())
    assert isinstance(found, Unmatched)
    assert found.references == ("scan-2",)
    assert "scan-2 (ACTIVE)" in found.detail
    assert "2026-11-20 11:58:45 UTC" in found.detail
    assert "scan-1" not in found.detail


def test_a_page_without_one_is_followed_by_the_next_and_not_for_ever():
    assert compare(Listing((OURS,), more=True), unknown_call()) == More()
    assert isinstance(compare(Listing((LOST,), more=True), unknown_call()), Unmatched)
    endless = compare(Listing((OURS,), more=True), unknown_call(page=MOST_PAGES))
    assert isinstance(endless, Problem)
    assert endless.kind is Kind.BAD_INPUT
    assert isinstance(ending(endless), Hold)


ENDED = Listed("scan-3", "EXPIRED", SessionState.EXPIRED)


@pytest.mark.parametrize("entries", [(LOST, ENDED), (ENDED, LOST)])
def test_a_session_that_may_live_ends_the_reading_even_beside_one_that_is_over(entries):
    assert isinstance(compare(Listing(entries, more=True), unknown_call()), Unmatched)
    assert compare(Listing((ENDED, ENDED), more=True), unknown_call()) == More(("scan-3", "scan-3"))


def test_a_session_that_is_over_on_an_earlier_page_counts_as_one_on_the_last():
    seen = unknown_call(page=2, seen=frozenset({ENDED.reference, OURS.reference}))
    for entries in ((), (OURS,)):
        found = compare(Listing(entries), seen)
        assert isinstance(found, Unmatched)
        assert found.references == (ENDED.reference,)
        assert isinstance(ending(found), Hold)
        assert isinstance(ending_of_reconciliation(found, seen, 1, POLICY, NOW, 0.5, OrphanRule()), Retry)


@pytest.mark.parametrize("result", ["approved", "denied", "suspected", "unknown"])
def test_a_verdict_at_the_first_look_is_about_somebody_elses_session(result):
    decided = Listed("scan-2", "DONE", SessionState.COMPLETED, result)
    assert isinstance(compare(Listing((decided,)), unknown_call()), Nothing)
    seen = unknown_call(seen=frozenset({decided.reference}))
    assert isinstance(compare(Listing((decided,)), seen), Unmatched)
    reviewed = replace(decided, result="review")
    assert isinstance(compare(Listing((reviewed,)), unknown_call()), Unmatched)


@pytest.mark.parametrize("state", [*SessionState, None])
@pytest.mark.parametrize("result", ["", "review", "denied"])
def test_an_entry_is_over_if_it_ended_without_a_verdict(state, result):
    over = state in (SessionState.EXPIRED, SessionState.FAILED) and not result
    assert Listed("scan-2", "?", state, result).is_over is over


def test_what_earlier_pages_had_counts_only_on_the_last_and_only_if_nothing_new_is_there():
    seen = frozenset({ENDED.reference})
    assert isinstance(compare(Listing((OURS,), more=True), unknown_call(page=2, seen=seen)), More)
    assert isinstance(compare(Listing((OURS,)), unknown_call(page=1, seen=seen)), Nothing)
    assert isinstance(compare(Listing((OURS,)), unknown_call(page=2)), Nothing)
    found = compare(Listing((LOST,)), unknown_call(page=2, seen=seen))
    assert found.references == (LOST.reference,)
    last = compare(Listing((OURS,), more=True), unknown_call(page=MOST_PAGES - 1))
    assert last == More()


# What becomes of the row.


def test_where_nothing_is_there_the_call_is_made_again_at_once():
    assert ending(Nothing()) == Retry(NOW, "unknown", "reconciled: the call was not carried out")


def test_calls_without_an_answer_are_not_repeated_for_ever():
    assert isinstance(ending(Nothing(), attempts=3), Retry)
    assert ending(Nothing(), attempts=4).reason == "attempts_spent"
    assert isinstance(ending(Nothing(), attempts=4), Cancel)


def test_an_unmatched_session_whose_token_is_lost_is_held_for_a_person():
    assert ending(compare(Listing((LOST,)), unknown_call())).reason == "unknown"
    assert isinstance(ending(compare(Listing((LOST,)), unknown_call())), Hold)


SEEN = unknown_call(seen=frozenset({LOST.reference}))  # an earlier look-up found it without a verdict


def orphan(*entries, about=SEEN):
    found = compare(Listing(entries), about)
    return ending_of_reconciliation(found, about, 1, POLICY, NOW, 0.5, OrphanRule())


def test_an_orphan_in_review_is_waited_for_and_only_a_verdict_finishes_its_customer():
    reviewed = Listed("scan-2", "REVIEWING", SessionState.STARTED, "review")
    assert isinstance(orphan(reviewed), Reconcile)
    assert orphan(Listed("scan-2", "APPROVED", SessionState.COMPLETED, "approved")) == Finish("approved")


def test_an_orphan_that_ended_while_it_is_reviewed_is_not_replaced():
    ended = Listed("scan-2", "EXPIRED", SessionState.EXPIRED)
    assert isinstance(orphan(ended), Retry)
    assert isinstance(orphan(Listed("scan-2", "EXPIRED", SessionState.EXPIRED, "review")), Reconcile)


@pytest.mark.parametrize("entries", [(LOST, ENDED), (ENDED, LOST)])
def test_of_two_sessions_that_may_be_the_calls_both_must_be_over(entries):
    assert isinstance(orphan(*entries), Reconcile)
    assert isinstance(orphan(ENDED, ENDED), Retry)


def test_after_an_orphans_end_calls_are_not_repeated_for_ever():
    for attempts, kind in ((3, Retry), (4, Cancel)):
        end = ending_of_reconciliation(compare(Listing((ENDED,)), SEEN), SEEN, attempts, POLICY, NOW, 0.5, OrphanRule())
        assert (type(end), end.reason) == (kind, "orphan" if kind is Retry else "attempts_spent")


def test_an_orphan_is_over_after_the_longest_life_whatever_the_list_says():
    old = replace(SEEN, opened_at=NOW - LONGEST_LIFE)
    assert isinstance(orphan(LOST, about=old), Retry)
    assert isinstance(orphan(LOST, about=replace(old, opened_at=old.opened_at + timedelta(seconds=1))), Reconcile)


def test_an_orphan_is_looked_at_now_and_then_and_at_its_end(subtests):
    for life, age, after in [
        (8 * HOUR, 0 * HOUR, HOUR),
        (4 * HOUR / 60, 0 * HOUR, HOUR / 60),  # never more often than each minute
        (8 * DAY, 0 * HOUR, 6 * HOUR),
        (8 * HOUR, 8 * HOUR, MARGIN),
        (8 * HOUR, 8 * HOUR + MARGIN, HOUR),
        (None, LONGEST_LIFE, MARGIN),
        (None, LONGEST_LIFE - 6 * HOUR, 6 * HOUR),
    ]:
        with subtests.test(life=life, age=age):
            assert OrphanRule(life).look_again_at(NOW - age, NOW) == NOW + after
    rule = OrphanRule(8 * HOUR)
    ends = [rule.known_by(NOW - age, NOW) for age in (HOUR, 8 * HOUR + MARGIN, LONGEST_LIFE + MARGIN)]
    assert ends == [NOW + 7 * HOUR + MARGIN, NOW - 8 * HOUR + LONGEST_LIFE, None]
    assert [rule.is_over(SEEN, SEEN.opened_at + 8 * HOUR - wait) for wait in (0 * HOUR, SECOND)] == [True, False]
    assert not OrphanRule().is_over(SEEN, NOW + 2 * LONGEST_LIFE)
    # A moment after its own life, or after the longest that a provider offers.
    ends = [OrphanRule(life).ends_at(NOW) for life in (8 * HOUR, None)]
    assert ends == [NOW + 8 * HOUR + 5 * SECOND, NOW + 30 * DAY + 5 * SECOND]


def test_a_hand_over_that_may_have_reached_the_customer_is_repeated_ever_later_and_no_other_one(subtests):
    retry, lost = Retry(NOW + timedelta(seconds=60), "unknown", "no answer"), Problem(Kind.UNKNOWN, "no answer")
    for before, seconds in [(0, 60), (1, 60), (2, 120), (3, 480), (4, 1800), (9, 1800)]:
        with subtests.test(before=before):
            assert not_before_its_wait(retry, lost, before=before, now=NOW).at == NOW + timedelta(seconds=seconds)
    refused = Problem(Kind.TRANSIENT, "HTTP 500")
    assert not_before_its_wait(retry, refused, before=9, now=NOW) == retry
    held, given_up = Hold("unknown", "no answer"), Cancel("attempts_spent", "no answer")
    assert not_before_its_wait(given_up, lost, before=9, now=NOW) == given_up
    assert [stays_unknown(one, lost) for one in (retry, given_up, held, None)] == [True, True, False, False]
    assert not stays_unknown(retry, None)
    assert not stays_unknown(retry, refused)
    later = Retry(NOW + timedelta(seconds=90), "unknown", "no answer")
    assert not_before_its_wait(later, lost, before=1, now=NOW).at == later.at
    assert not_before_its_wait(Retry(NOW, "unknown", ""), lost, before=1, now=NOW).at == NOW + 30 * SECOND
    first, second = (not_before_its_wait(retry, lost, before=before, now=NOW).detail for before in (0, 1))
    assert ("1 hand-over with" in first, "2 hand-overs with" in second) == (True, True)


def test_the_next_page_is_read_at_once_and_the_outcome_stays_unknown():
    assert ending(More()).at == NOW
    assert isinstance(ending(More()), Reconcile)


@pytest.mark.parametrize("kind", [Kind.TRANSIENT, Kind.UNKNOWN])
def test_a_look_up_that_fails_is_made_again_later_and_then_a_person_decides(kind):
    problem = Problem(kind, "HTTP 500")
    assert [ending(problem, unknown_call(failures=tried)).at - NOW for tried in (0, 1, 2)] == [
        timedelta(seconds=seconds) for seconds in (0.5, 1, 2)
    ]
    assert ending(problem, unknown_call(failures=3)) == Hold("unknown", "the call cannot be reconciled: HTTP 500")


def test_a_look_up_that_names_a_time_is_made_again_then():
    problem = Problem(Kind.TRANSIENT, "HTTP 503", retry_after=timedelta(seconds=42))
    assert ending(problem).at == NOW + timedelta(seconds=42)


def test_a_look_up_that_is_refused_for_good_is_not_tried_again():
    assert ending(Problem(Kind.BAD_INPUT, "HTTP 404")) == Hold("unknown", "the call cannot be reconciled: HTTP 404")


def test_a_problem_of_the_account_is_waited_for_and_counts_as_no_failure(subtests):
    for failures, kind in product([0, 99], [Kind.RATE_LIMITED, Kind.AUTH, Kind.OUT_OF_CREDIT]):
        with subtests.test(failures=failures, kind=kind):
            snooze = ending(
                Problem(kind, "HTTP 429", retry_after=timedelta(minutes=5)), unknown_call(failures=failures)
            )
            due_at = NOW + timedelta(minutes=5) if kind is Kind.RATE_LIMITED else NOW
            assert snooze == Snooze(due_at, kind.value, "HTTP 429")


def test_an_account_that_cannot_be_reached_is_waited_for():
    unreachable = Problem(Kind.TRANSIENT, "connection refused", unreachable=True)
    assert ending(unreachable, unknown_call(failures=99)) == Snooze(
        NOW + POLICY.first, "unreachable", "connection refused"
    )


# A conflict is evidence: the provider refuses because of a session.


def test_a_conflict_with_a_known_session_is_tried_again_later_and_then_held_with_it():
    conflict = unknown_call(Kind.CONFLICT)
    known = compare(Listing((Listed("scan-1", "ACTIVE"),)), conflict)
    none = ending(compare(Listing(()), conflict), conflict, attempts=2)
    retry = ending(known, conflict, attempts=2)
    assert ("lists none" in none.detail, "scan-1 (ACTIVE)" in retry.detail) == (True, True)
    assert (type(retry), retry.at, retry.reason) == (Retry, NOW + timedelta(seconds=1), "conflict")
    held = ending(known, conflict, attempts=4)
    assert (type(held), held.reason) == (Hold, "conflict")
    assert "scan-1 (ACTIVE)" in held.detail


def test_a_conflict_with_an_unmatched_session_is_held_with_it():
    conflict = unknown_call(Kind.CONFLICT)
    held = ending(compare(Listing((LOST,)), conflict), conflict)
    assert (type(held), held.reason) == (Hold, "conflict")
    assert "scan-2 (ACTIVE)" in held.detail


def test_many_sessions_are_shown_as_a_few_and_their_number():
    many = tuple(Listed(f"scan-{number}", "ACTIVE") for number in range(10, 20))
    found = compare(Listing(many), unknown_call())
    assert "10 sessions" in found.detail
    assert "and 5 more" in found.detail
    assert len(found.references) == 10
    five = compare(Listing(many[:5]), unknown_call())
    assert "scan-14" in five.detail
    assert "more" not in five.detail


def test_lost_answers_are_counted_in_words():
    assert lost_answers(1, 0) == "1 call whose answer was lost"
    assert lost_answers(2, 1) == "2 calls and 1 message whose answer was lost"
    assert lost_answers(0, 0) == ""
