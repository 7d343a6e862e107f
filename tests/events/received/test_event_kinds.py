"""What each kind of event does to its customer, and whatever is being done for them."""

import pytest

from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.database.encrypted_values import ERASED
from onboarding_worker.core.database.tables import CustomerRow, Inbox, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.incoming import EventKind, Outcome
from onboarding_worker.core.model.states import InvitationState, JobState, SessionState
from onboarding_worker.wiring.work import invite_work
from tests.simulated.events import cancelled, erased, outcomes, person, requested, updated
from tests.simulated.world import LIMITED, customer
from tests.stored.statements import statements


@pytest.mark.both_databases
async def test_what_has_not_been_sent_goes_to_the_new_address(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1", 0, first_name="Ona")])
    await world.issue()
    (receipt,) = receiver.receive([updated("C-1", 5, email="new@example.org", locale="de")]).receipts
    assert receipt.outcome is Outcome.TAKEN
    world.clock.advance(seconds=3)  # a claim that had read the old address is over
    await world.work()
    (message,) = world.senders["email"].messages
    assert message.to == "new@example.org"
    assert person(world, "C-1").first_name == "Ona"
    assert world.row(CustomerRow).locale == "de"


async def test_a_name_that_is_none_is_left_out(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1", 0, first_name="NULL", last_name="NULL")])
    assert (person(world, "C-1").first_name, person(world, "C-1").last_name) == ("", "")
    receiver.receive([updated("C-1", 5, first_name="Christopher", last_name="Null")])
    received = receiver.receive(
        [updated("C-1", 6, first_name="undefined", email="new@example.org"), updated("C-1", 7, first_name="nan")]
    )
    assert outcomes(received) == ["taken", "refused"]
    assert [problem.column for problem in received.receipts[1].problems] == ["first_name"]
    found = person(world, "C-1")
    assert (found.first_name, found.last_name, found.email) == ("Christopher", "Null", "new@example.org")


async def test_a_word_for_nothing_changes_nothing_and_cancels_nothing(inlet):
    world, receiver = inlet()
    asked = requested("C-1", 0, phone="+37060000001", country="LT", consent="n/a")
    changed = updated("C-1", 5, phone="NULL", email="new@example.org")
    alone, guessed = updated("C-1", 6, phone="-"), cancelled("C-1", 7, purpose="n/a")
    received = receiver.receive([asked, changed, alone, guessed])
    assert outcomes(received) == ["taken", "taken", "refused", "refused"]
    assert [one.problems[0].column for one in received.receipts[2:]] == ["phone", "purpose"]
    found = person(world, "C-1")
    assert (found.phone, found.email) == ("+37060000001", "new@example.org")
    assert world.row(Job).consent is None


async def test_a_number_that_a_program_rewrote_refuses_its_event(inlet):
    world, receiver = inlet()
    one = requested("C-1", 0, phone="491721234567", country="DE")
    two = requested("C-2", 0, phone="4915112345678.0", country="DE")
    assert outcomes(receiver.receive([one, two, requested("1001.0", 0)])) == ["refused", "refused", "refused"]
    receiver.receive([requested("C-3", 0, phone=37060000001.0, country="LT")])
    assert person(world, "C-3").phone == "+37060000001"
    assert [row.customer_id for row in world.rows(Job)] == ["C-3"]


async def test_an_update_that_overtook_its_request_is_kept_for_it(inlet):
    world, receiver = inlet()
    receiver.receive([updated("C-1", 5, email="new@example.org", date_of_birth="1990-12-31")])
    assert world.rows(CustomerRow) == []
    assert b"example" not in world.row(Inbox).encrypted
    receiver.receive([requested("C-1", 0, first_name="Ona")])
    found = person(world, "C-1")
    assert (found.email, found.first_name, found.date_of_birth.year) == ("new@example.org", "Ona", 1990)


async def test_a_cancelled_customer_is_not_invited_whichever_list_they_came_by(inlet):
    world, receiver = inlet()
    world.add(customer("C-1"), customer("C-2"))
    receiver.receive([requested("C-1")])
    await world.issue()
    (receipt,) = receiver.receive([cancelled("C-1")]).receipts
    assert receipt.job_id == world.rows(Job, customer_id="C-1")[0].id
    assert {row.state for row in world.rows(Job, customer_id="C-1")} == {JobState.CANCELLED}
    await world.work()
    assert [message.to for message in world.senders["email"].messages] == ["c-2@example.org"]


async def test_another_purpose_goes_on(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1"), requested("C-1", purpose="loan"), cancelled("C-1", purpose="loan")])
    assert {row.purpose: row.state.value for row in world.rows(Job)} == {"onboarding": "waiting", "loan": "cancelled"}


@pytest.mark.parametrize("kind", [cancelled, erased])
async def test_a_session_that_was_being_opened_is_kept_and_nothing_is_sent_of_it(inlet, kind):
    world, receiver = inlet(outcomes=lambda _: during())

    def during():
        receiver.receive([kind("C-1")])
        return world.session()

    receiver.receive([requested("C-1")])
    await world.work()
    assert world.states() == {"cancelled": 1}
    assert world.row(Job).reason == kind.__name__
    session = world.row(SessionRow)
    assert session.state is SessionState.WAITING
    assert (session.encrypted == ERASED) is (kind is erased)
    assert (world.rows(InvitationRow), world.senders["email"].messages) == ([], [])

    receiver.receive([requested("C-1")])
    await world.work()
    assert len(world.asked) == 1  # the session lives: no second one
    invited = kind is cancelled
    assert len(world.senders["email"].messages) == invited
    again = world.rows(Job)[-1]
    assert again.state is (JobState.INVITED if invited else JobState.WAITING)
    assert again.reason == ("" if invited else "session_ends_first")


@pytest.mark.parametrize("kind", [cancelled, erased])
async def test_a_call_that_failed_is_not_made_again_for_who_was_cancelled_meanwhile(inlet, kind):
    world, receiver = inlet(outcomes=lambda _: during())

    def during():
        receiver.receive([kind("C-1")])
        return LIMITED

    receiver.receive([requested("C-1")])
    await world.work()
    assert world.states() == {"cancelled": 1}
    world.clock.advance(minutes=10)
    await world.work()
    assert (world.row(Job).reason, len(world.asked)) == (kind.__name__, 1)


async def test_a_message_that_was_being_sent_is_not_tried_again_once_it_was_cancelled(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1")])
    await world.issue()
    policy = invite_work(world.parts, "email").policy
    opened = world.parts.invitations.flush(policy, [], Room(10, 10), clock=world.clock).opened
    receiver.receive([cancelled("C-1")])
    world.parts.invitations.release(policy, opened, now=world.clock())
    assert world.message().state is InvitationState.WAITING
    await world.work()
    assert (world.senders["email"].messages, world.message().state) == ([], InvitationState.SUPERSEDED)


async def test_a_list_that_waits_for_a_cancelled_row_of_an_event_is_not_left_behind(inlet):
    world, receiver = inlet(outcomes=lambda _: during())

    def during():
        if not world.rows(SessionRow) and len(world.rows(Job)) == 1:
            receiver.receive([cancelled("C-1")])
            world.add(customer("C-1"))  # joins the row that is being worked
        return world.session()

    receiver.receive([requested("C-1")])
    await world.work()
    assert [row.state for row in world.rows(Job)] == [JobState.CANCELLED, JobState.INVITED]
    assert (len(world.asked), len(world.senders["email"].messages)) == (1, 1)


async def test_an_erased_customer_leaves_nothing_personal(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1", 0, external_ref="R-1"), updated("C-1", 5, phone="+37060000009")])
    await world.work()
    receiver.receive([erased("C-1")])
    assert world.row(CustomerRow).encrypted is None
    assert [row.encrypted for row in world.rows(Job)] == [ERASED]
    assert [row.encrypted for row in world.rows(SessionRow)] == [ERASED]
    assert [row.encrypted for row in world.rows(Inbox, kind=EventKind.UPDATED)] == [ERASED]
    assert [(row.state, row.reason) for row in world.rows(Job)] == [(JobState.CANCELLED, "erased")]
    outcome = receiver.receive([requested("C-1", 3), updated("C-1", 6, email="x@example.org")])
    assert outcomes(outcome) == ["ignored", "ignored"]
    assert world.row(CustomerRow).encrypted is None


async def test_a_request_from_before_the_erasure_that_overtook_it_makes_no_customer_known(inlet):
    world, receiver = inlet()
    receiver.receive([erased("C-1", 20)])
    (receipt,) = receiver.receive([requested("C-1", 10)]).receipts
    assert (receipt.outcome, receipt.reason) == (Outcome.IGNORED, "the customer was erased after this event")
    assert world.rows(CustomerRow) == world.rows(Job) == []


async def test_a_first_sign_up_costs_eight_statements(inlet):
    """An unknown customer has no jobs, so no query looks for them; the new row holds all the details at once. As long
    as no customer was erased, one query without an id is enough to know that this one was not."""
    world, receiver = inlet()
    receiver.receive([requested("C-1")])  # makes the day's batch
    with statements(world.parts.database) as made:
        receiver.receive([requested("C-2")])
    assert [words(statement) for statement in made if not statement.startswith("BEGIN")] == [
        "INSERT INTO inbox",
        "INSERT INTO customer",
        "SELECT EXISTS (SELECT",
        "SELECT inbox.customer_id, inbox.purpose,",
        "UPDATE batch SET",
        "INSERT INTO job",
        "UPDATE inbox SET",
        "INSERT INTO audit",
    ]
    with statements(world.parts.database) as made:
        receiver.receive([requested("C-2")])
    assert "INSERT INTO job" in map(words, made)
    assert any("FROM job" in statement for statement in made)


def words(statement: str) -> str:
    return " ".join(statement.split()[:3])


async def test_an_erasure_that_comes_late_spares_what_was_requested_after_it(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1", 0, external_ref="R-1"), requested("C-1", 20, external_ref="R-2")])
    receiver.receive([erased("C-1", 10)])
    first, second = world.rows(Job)
    assert (first.state, first.encrypted) == (JobState.CANCELLED, ERASED)
    assert (second.state, second.leader_id, second.encrypted != ERASED) == (JobState.WAITING, None, True)
    assert person(world, "C-1").email == "c-1@example.org"


@pytest.mark.both_databases
async def test_no_row_is_kept_of_a_customer_who_was_never_requested(inlet):
    world, receiver = inlet()
    received = receiver.receive([cancelled("C-1"), erased("C-2"), updated("C-3", email="x@example.org")])
    assert outcomes(received) == ["taken"] * 3
    assert world.rows(CustomerRow) == []


async def test_columns_for_messages_are_the_persons_and_an_update_changes_those_that_it_names(inlet):
    world, receiver = inlet()
    receiver.receive([requested("C-1", 0, message={"branch": "Vilnius", "adviser": "Jonas"})])
    assert b"Vilnius" not in world.row(CustomerRow).encrypted
    refused = [updated("C-1", 4, message=columns) for columns in ({"branch": ""}, {}, {"link": "x"})]
    assert outcomes(receiver.receive(refused)) == ["refused"] * 3
    assert outcomes(receiver.receive([updated("C-1", 5, message={"branch": "Kaunas"})])) == ["taken"]
    assert person(world, "C-1").message == {"branch": "Kaunas", "adviser": "Jonas"}
    assert b"Kaunas" not in world.row(Inbox, kind=EventKind.UPDATED).encrypted

    receiver.receive([updated("C-2", 5, message={"branch": "Kaunas"})])  # it overtakes its request
    receiver.receive([requested("C-2", 0, message={"branch": "Vilnius", "adviser": "Ana"})])
    assert person(world, "C-2").message == {"branch": "Kaunas", "adviser": "Ana"}

    receiver.receive([erased("C-1", 9)])
    assert world.row(CustomerRow, customer_id="C-1").encrypted is None
