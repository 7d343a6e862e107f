"""Messages of a brand that the configuration has no more: they wait, with their links, until it is back."""

from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.model.states import EVENT, InvitationState, JobState
from onboarding_worker.core.rules.contact import BRAND_LOOKED_AT_AGAIN
from onboarding_worker.reporting.store.waiting import of_other_brands
from tests.stored.shelf import changed, customer

pytestmark = pytest.mark.both_databases


def with_brands(shelf, *names):
    shelf.policy, shelf.message_policy = (
        changed(policy, brands=frozenset(names)) for policy in (shelf.policy, shelf.message_policy)
    )


def test_a_message_whose_brand_was_taken_out_leaves_once_it_is_back_and_no_session_is_bought_meanwhile(shelf):
    with_brands(shelf, "nova")
    batch = shelf.add(customer("Ona", brand="nova"), customer("Jonas"))
    assert len(shelf.issue()) == 2
    with_brands(shelf)

    assert len(shelf.send()) == 1
    (waits,) = shelf.rows(InvitationRow, state=InvitationState.WAITING)
    assert (waits.reason, waits.due_at) == ("brand_missing", shelf.clock() + BRAND_LOOKED_AT_AGAIN)
    assert of_other_brands(shelf.database, ["else"]) == {"nova": {batch: 1}}
    shelf.clock.advance(days=8)  # the link has ended meanwhile
    assert shelf.send() == []
    assert len(shelf.rows(SessionRow)) == 2

    with_brands(shelf, "nova")
    assert of_other_brands(shelf.database, ["nova"]) == {}
    shelf.clock.advance(hours=1)
    shelf.send()
    shelf.issue()
    assert len(shelf.send()) == 1
    assert {row.state for row in shelf.rows(Job)} == {JobState.INVITED}


def test_no_session_is_asked_for_a_row_whose_brand_was_taken_out(shelf):
    with_brands(shelf)
    batch = shelf.add(customer("Ona", brand="nova"), customer("Jonas"))
    assert len(shelf.issue()) == 1
    (waits,) = shelf.rows(Job, state=JobState.WAITING)
    assert (waits.reason, waits.due_at) == ("brand_missing", shelf.clock() + timedelta(minutes=15))
    assert of_other_brands(shelf.database, []) == {"nova": {batch: 1}}
    shelf.clock.advance(minutes=15)
    with_brands(shelf, "nova")
    assert len(shelf.issue()) == 1


def test_the_session_of_an_event_is_opened_whatever_its_brand_since_its_sender_may_wait(shelf):
    with_brands(shelf)
    shelf.add(customer("Ona", brand="nova"), priority=EVENT)
    assert len(shelf.issue()) == 1
