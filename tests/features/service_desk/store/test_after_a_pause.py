"""What the desk does for a row whose batch is paused, or was."""

import pytest

from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.model.states import InvitationState, JobState, SessionState
from onboarding_worker.features.service_desk.case import Refused
from onboarding_worker.features.service_desk.corrections import Correction
from onboarding_worker.features.service_desk.links import NewLink
from onboarding_worker.features.service_desk.store.desk import Corrected, Sent
from onboarding_worker.lists.decisions.store.emergency_stop import EmergencyStops
from tests.features.service_desk.store.desks import desk_of
from tests.stored.decisions import names, pause
from tests.stored.shelf import customer


@pytest.fixture
def paused(shelf, decide):
    """A paused batch. Ona's invitation has left half an hour ago, Max's has not, and Eva has no session."""
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    shelf.send()
    shelf.add(customer("Max"), batch=batch, first_row=3)
    shelf.issue()
    shelf.add(customer("Eva"), batch=batch, first_row=4)
    pause(shelf, decide, batch)
    shelf.clock.advance(minutes=30)
    return batch


@pytest.mark.both_databases
def test_a_person_sends_a_link_again_while_the_batch_is_paused_and_nothing_else_leaves(shelf, decide, paused):
    assert isinstance(desk_of(shelf).resend("Ona", now=shelf.clock()), Sent)

    assert [(one.customer.customer_id, one.kind) for one in shelf.send()] == [("Ona", "resend-1")]
    assert (shelf.send(), shelf.claim()) == ([], [])

    decide.resume(paused, now=shelf.clock())
    assert [one.customer.customer_id for one in shelf.send()] == ["Max"]


def test_what_the_pause_holds_is_not_let_go_by_the_desk(shelf, paused):
    for refused in (
        desk_of(shelf).resend("Max", now=shelf.clock()),  # no message has left: none is sent again
        desk_of(shelf).new_link("Ona", now=shelf.clock()),
    ):
        assert isinstance(refused, Refused)
        assert refused.then.startswith(f"`onboard resume {paused}`")
    corrected = desk_of(shelf).correct("Ona", Correction({"email": "ona@example.net"}), by_hand=True, now=shelf.clock())
    assert isinstance(corrected, Corrected)
    assert isinstance(corrected.follows, Refused)
    assert "opens there until" in corrected.follows.why  # whoever reads the old address has the link
    assert shelf.send() == []


def test_a_stop_holds_also_a_message_that_a_person_has_sent_in_a_pause(shelf, paused):
    assert isinstance(desk_of(shelf).resend("Ona", now=shelf.clock()), Sent)
    EmergencyStops(shelf.database).stop(by="vita", reason="", now=shelf.clock())

    assert shelf.send() == []
    EmergencyStops(shelf.database).go_on(now=shelf.clock())
    assert [one.kind for one in shelf.send()] == ["resend-1"]


def test_a_row_that_lapsed_during_the_pause_can_have_a_new_link_after_it(ona, decide):
    batch = ona.row(Job).batch_id
    pause(ona, decide, batch)
    ona.set(Job, state=JobState.LAPSED, due_at=None)
    ona.set(SessionRow, state=SessionState.EXPIRED, check_at=None)
    assert decide.resume(batch, now=ona.clock()).rows == 0
    assert isinstance(desk_of(ona).new_link("Ona", now=ona.clock()), NewLink)
    assert names(ona.claim()) == ["Ona"]


def test_a_message_that_was_returned_after_the_pause_can_be_sent_again(shelf, decide):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    messages = shelf.claim_messages()
    pause(shelf, decide, batch)
    shelf.hand_over(messages)
    decide.resume(batch, now=shelf.clock())
    shelf.set(InvitationRow, state=InvitationState.BOUNCED)
    shelf.set(Job, state=JobState.FAILED, reason="bounced")
    shelf.clock.advance(minutes=11)
    assert isinstance(desk_of(shelf).resend("Ona", now=shelf.clock()), Sent)
    assert [message.id for message in shelf.claim_messages()] == [message.id for message in messages]
