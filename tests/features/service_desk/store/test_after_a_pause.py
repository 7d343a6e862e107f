"""What the desk does for a row whose batch was paused."""

from tests.features.service_desk.store.desks import desk_of
from tests.stored.decisions import names, pause
from tests.stored.shelf import customer
from worker.core.database.tables import InvitationRow, Job, SessionRow
from worker.core.model.states import InvitationState, JobState, SessionState
from worker.features.service_desk.store.desk import Asked, Sent


def test_a_row_that_lapsed_during_the_pause_can_have_a_new_link_after_it(ona, decide):
    batch = ona.row(Job).batch_id
    pause(ona, decide, batch)
    ona.set(Job, state=JobState.LAPSED, due_at=None)
    ona.set(SessionRow, state=SessionState.EXPIRED, check_at=None)
    assert decide.resume(batch, now=ona.clock()).rows == 0
    assert isinstance(desk_of(ona).new_link("Ona", now=ona.clock()), Asked)
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
