import uuid

import pytest

from tests.stored.shelf import customer
from worker.core.customers.customers import Channel
from worker.core.database.tables import InvitationRow
from worker.core.messages.store.message_rows import set_job_states
from worker.core.model.states import InvitationState, JobState


def states(shelf, *names):
    return {(shelf.job(name).state, shelf.job(name).reason) for name in names}


@pytest.mark.parametrize("other", [None, *InvitationState])
def test_a_job_whose_first_message_was_sent_moves_as_all_its_messages_decide(shelf, other):
    for name in ("Ona", "Jonas"):
        shelf.add(customer(name, channel=Channel.EMAIL if other is None else Channel.BOTH))
        shelf.issue()
    shelf.set(InvitationRow, InvitationRow.channel == "email", state=InvitationState.SENT)
    if other is not None:
        shelf.set(InvitationRow, InvitationRow.channel == "sms", state=other, reason="a reason")
    ona, jonas = shelf.job("Ona"), shelf.job("Jonas")
    with shelf.database.write() as connection:
        set_job_states(connection, [ona.id], sent={ona.id: ona.session_id}, now=shelf.clock())
        set_job_states(connection, [jonas.id], now=shelf.clock())
    assert len(states(shelf, "Ona", "Jonas")) == 1
    if other is not InvitationState.HELD:
        assert states(shelf, "Ona") == {(JobState.INVITED, "")}


def test_a_sent_message_of_an_earlier_session_leaves_its_job_issued(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    job = shelf.job("Ona")
    with shelf.database.write() as connection:
        set_job_states(connection, [job.id], sent={job.id: uuid.uuid4()}, now=shelf.clock())
    assert states(shelf, "Ona") == {(JobState.ISSUED, "")}
