"""The trial's own model of docs/reference/events.md: every line of that page, with its events in every order."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from trials.events.meaning import Known, meant
from trials.events.stories import (
    BEFORE,
    DURING,
    Signup,
    asked_again_and_moved,
    back_after_erasure,
    cancelled,
    cancelled_before,
    erased_after_moving,
    moved_before,
    moved_twice,
    one_purpose_cancelled,
    pressed_twice,
    wanted_after_all,
)

ONE = Signup(0, datetime(2026, 11, 20, 12, tzinfo=UTC))  # by email
BOTH = Signup(4, datetime(2026, 11, 20, 12, tzinfo=UTC))


def known(story, one: Signup = ONE) -> Known:
    """The model's result, which must be the same for every order of the events."""
    events = story(one)
    (first, *rest) = [meant(order)[one.customer_id] for order in permutations(events)]
    assert all(other == first for other in rest)
    return first


def wanted(found: Known) -> dict[str, bool]:
    return {purpose: due.wanted for purpose, due in found.due.items()}


def test_of_several_moves_each_column_has_its_newest_value():
    found = known(moved_twice)
    assert (found.email, found.phone) == (ONE.email(2), ONE.phone(1))
    assert found.former == {ONE.email(0), ONE.email(1), ONE.phone(0)}


def test_a_move_that_is_older_than_the_request_changes_nothing():
    assert known(moved_before).email == ONE.email(0)


def test_a_later_request_is_a_whole_row_and_a_move_after_it_one_column():
    found = known(asked_again_and_moved)
    assert (found.email, found.phone) == (ONE.email(2), ONE.phone(1))


def test_a_cancellation_ends_what_is_older_and_of_its_purpose():
    assert wanted(known(cancelled)) == {"onboarding": False}
    assert wanted(known(cancelled_before)) == {"onboarding": True}
    assert wanted(known(one_purpose_cancelled)) == {"onboarding": True, "credit": False}


def test_after_an_erasure_only_a_later_request_makes_them_known():
    gone, back = known(erased_after_moving), known(back_after_erasure)
    assert (gone.is_known, gone.email, wanted(gone)) == (False, "", {"onboarding": False})
    assert (back.is_known, back.email, wanted(back)) == (True, ONE.email(1), {"onboarding": True})


def test_a_customer_who_asks_again_gets_one_invitation_for_both_by_each_channel():
    due = known(pressed_twice, BOTH).due["onboarding"]
    assert (due.wanted, due.requests, due.channels) == (True, 2, {"email", "sms"})
    assert known(wanted_after_all).due["onboarding"].requests == 2


@pytest.mark.parametrize("story", [*BEFORE, *(story for story in DURING if story not in BEFORE)])
def test_no_story_depends_on_the_order_in_which_it_arrives(story):
    known(story, Signup(1, ONE.began + timedelta(seconds=1)))
