"""A sender of events touches its own customers. It cannot change, squat or read what another sender's are."""

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import CustomerRow, Inbox, InvitationRow, Job, Outbox, SessionRow
from onboarding_worker.core.model.incoming import OPERATOR, Event, EventKind, EventSender, Outcome
from onboarding_worker.core.model.states import SessionState
from onboarding_worker.core.rows.verdicts import signature
from onboarding_worker.events.standing import NOT_ITS_CUSTOMER, NOT_ITS_ID, NOT_ITS_TYPE
from onboarding_worker.events.store.event_status import EventStatuses
from tests.simulated.events import cancelled, erased, outcomes, person, requested, updated
from tests.simulated.world import World, customer

SIGNUP, BILLING = (EventSender(name, frozenset(EventKind), links=True) for name in ("signup", "billing"))
PRIVACY = EventSender("privacy", frozenset(EventKind), every_customer=True)
KINDS = {
    "cancelled": cancelled,
    "updated": lambda customer_id, minutes=None: updated(customer_id, minutes, email="thief@example.net", locale="de"),
    "erased": erased,
}


def of(sender: EventSender, event: Event) -> Event:
    return replace(event, sender=sender)


def everything(world: World) -> list[Any]:
    """All rows that an event could change."""
    return [world.rows(table) for table in (CustomerRow, Job, SessionRow, InvitationRow, Outbox)]


def told(world: World, receiver: Any, event: Event) -> tuple[Any, ...]:
    """What a sender is told about its event: at once, and when it asks."""
    (receipt,) = receiver.receive([event]).receipts
    status = EventStatuses(world.parts.database, world.parts.keyring).of(receipt.id, event.sender.name)
    assert status is not None
    return receipt.outcome, receipt.job_id, receipt.reason, status.outcome, status.detail, status.job_id, status.job


@pytest.fixture(params=["another sender's", "a list's"])
async def town(request, inlet):
    """A world with a customer C-1 who is not `billing`'s, and was invited."""
    world, receiver = inlet()
    if request.param == "a list's":
        world.add(customer("C-1"))
    else:
        receiver.receive([of(SIGNUP, requested("C-1", 0))])
    await world.work()
    assert world.states() == {"invited": 1}
    return world, receiver


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("minutes", [None, 0, -5])
async def test_another_senders_event_changes_nothing_and_tells_what_it_would_of_nobody(town, kind, minutes):
    world, receiver = town
    before = everything(world)

    about_somebody = told(world, receiver, of(BILLING, KINDS[kind]("C-1", minutes)))
    about_nobody = told(world, receiver, of(BILLING, KINDS[kind]("C-0", minutes)))

    assert about_somebody == about_nobody
    assert everything(world) == before
    assert not world.rows(Inbox, customer_id="C-1", sender="billing")[0].encrypted


async def test_a_request_for_anothers_customer_is_refused_and_leaves_nothing(town, caplog):
    world, receiver = town
    before, stored = everything(world), world.rows(Inbox)

    events = [of(BILLING, requested("C-1", 10, email="thief@example.net")), of(BILLING, requested("C-2", 10))]
    receipts = receiver.receive([*events, events[0]]).receipts

    assert [(one.outcome, one.reason) for one in receipts] == [
        (Outcome.REFUSED, NOT_ITS_CUSTOMER),
        (Outcome.TAKEN, ""),
        (Outcome.REFUSED, NOT_ITS_CUSTOMER),
    ]
    assert [row.customer_id for row in world.rows(Inbox) if row not in stored] == ["C-2"]
    assert world.rows(CustomerRow, customer_id="C-1") == [row for row in before[0] if row.customer_id == "C-1"]
    assert len(world.rows(Job, customer_id="C-1")) == 1
    assert "C-1" not in caplog.text


@pytest.mark.parametrize("sender", [PRIVACY, OPERATOR], ids=["privacy", "our own code"])
async def test_a_sender_that_reaches_every_customer_may_do_all(town, sender):
    world, receiver = town
    world.add(customer("C-2"))
    owner = world.row(CustomerRow, customer_id="C-1").sender

    receiver.receive([of(sender, updated("C-1", email="new@example.org")), of(sender, cancelled("C-2"))])
    assert person(world, "C-1").email == "new@example.org"
    assert world.job("C-2").state == "cancelled"
    assert outcomes(receiver.receive([of(sender, requested("C-1"))])) == ["taken"]
    receiver.receive([of(sender, erased("C-1"))])
    assert world.row(CustomerRow, customer_id="C-1").encrypted is None
    assert world.row(CustomerRow, customer_id="C-1").sender == owner


async def test_a_senders_own_customer_stays_its_own_once_erased_or_in_a_list(inlet):
    world, receiver = inlet()
    receiver.receive([of(SIGNUP, requested("C-1", 0)), of(SIGNUP, requested("C-2", 0))])
    receiver.receive([of(SIGNUP, erased("C-1", 1))])
    world.add(customer("C-2"))
    assert outcomes(receiver.receive([of(BILLING, requested(who, 5)) for who in ("C-1", "C-2")])) == ["refused"] * 2
    assert outcomes(receiver.receive([of(SIGNUP, requested(who, 5)) for who in ("C-1", "C-2")])) == ["taken"] * 2
    receiver.receive([of(SIGNUP, cancelled("C-2", 6))])
    assert {row.state.value for row in world.rows(Job, customer_id="C-2")} == {"cancelled"}


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_prepares_the_ground_for_anothers_customer(inlet, kind):
    world, receiver = inlet()
    receiver.receive([of(BILLING, KINDS[kind]("C-1", 30))])
    assert world.rows(CustomerRow) == []

    (receipt,) = receiver.receive([of(SIGNUP, requested("C-1", 0))]).receipts

    assert (receipt.outcome, receipt.reason) == (Outcome.TAKEN, "")
    assert person(world, "C-1").email == "c-1@example.org"
    assert (world.row(CustomerRow).locale, world.row(CustomerRow).sender) == ("", "signup")
    assert world.states() == {"waiting": 1}


async def test_of_the_updates_that_overtook_a_request_only_its_senders_own_are_applied(inlet):
    world, receiver = inlet()
    receiver.receive([of(SIGNUP, updated("C-1", 20, first_name="Ona")), of(BILLING, updated("C-1", 30, locale="de"))])
    receiver.receive([of(SIGNUP, requested("C-1", 0))])
    assert (person(world, "C-1").first_name, world.row(CustomerRow).locale) == ("Ona", "")


async def test_what_reaches_every_customer_counts_when_it_has_overtaken_the_request(inlet):
    world, receiver = inlet()
    receiver.receive([of(PRIVACY, erased("C-1", 30)), of(PRIVACY, updated("C-2", 30, locale="de"))])
    receipts = receiver.receive([of(SIGNUP, requested("C-1", 0)), of(SIGNUP, requested("C-2", 0))]).receipts
    assert [one.reason for one in receipts] == ["the customer was erased after this event", ""]
    assert world.row(CustomerRow).locale == "de"


async def test_an_erasure_that_reaches_every_customer_keeps_a_list_from_bringing_in_who_was_not_known_yet(inlet):
    world, receiver = inlet()
    receiver.receive([of(PRIVACY, erased("C-1", 0)), of(BILLING, erased("C-2", 0))])
    world.add(customer("C-1"), customer("C-2"))
    assert [row.customer_id for row in world.rows(Job)] == ["C-2"]
    assert world.rows(CustomerRow, customer_id="C-1") == []


@pytest.mark.parametrize("known", [True, False])
async def test_what_others_have_sent_is_not_told(inlet, known):
    world, receiver = inlet()
    receiver.receive([of(SIGNUP, requested("C-1", 0)) for _ in range(known)] + [of(PRIVACY, erased("C-1", 30))])
    answers = {who: told(world, receiver, of(BILLING, updated(who, 10, locale="de"))) for who in ("C-1", "C-2")}
    assert answers["C-1"] == answers["C-2"]
    assert not world.rows(Inbox, customer_id="C-1", sender="billing")[0].encrypted


async def test_an_event_is_known_by_its_sender_too(inlet):
    world, receiver = inlet()
    same = {"source": "/signup", "id": "order-1001"}
    squatter = of(BILLING, requested("C-9", of=same))
    genuine = of(SIGNUP, requested("C-1", of=same))
    assert outcomes(receiver.receive([squatter, genuine, genuine])) == ["taken", "taken", "duplicate"]
    assert outcomes(receiver.receive([genuine, squatter])) == ["duplicate", "duplicate"]
    conflict = receiver.receive([of(SIGNUP, requested("C-2", of=same))]).receipts[0]
    assert (conflict.outcome, conflict.id) == (Outcome.REFUSED, None)
    assert sorted(row.customer_id for row in world.rows(Job)) == ["C-1", "C-9"]


async def test_an_events_status_is_its_senders_alone(inlet):
    world, receiver = inlet()
    (receipt,) = receiver.receive([of(SIGNUP, requested("C-1"))]).receipts
    statuses = EventStatuses(world.parts.database, world.parts.keyring)
    assert statuses.of(receipt.id, "signup") is not None
    for other in ("billing", "privacy", ""):
        assert statuses.of(receipt.id, other) is None


async def test_a_result_that_was_changed_in_the_database_is_not_told_as_the_providers(inlet):
    world, receiver = inlet()
    (receipt,) = receiver.receive([of(SIGNUP, requested("C-1"))]).receipts
    await world.work()
    statuses, completed = EventStatuses(world.parts.database, world.parts.keyring), SessionState.COMPLETED
    (row,) = world.rows(SessionRow)
    digest = signature(world.parts.keyring, ("C-1", row.purpose), row.id, completed, "suspected", None)

    def told_after(result: str, digest: str = digest) -> str:
        for table, more in ((SessionRow, {"verdict_digest": digest}), (Job, {"session_id": row.id})):
            world.parts.database.change(sa.update(table).values(state=completed.value, result=result, **more))
        return statuses.of(receipt.id, "signup").result

    assert (told_after("suspected"), told_after("approved"), told_after("approved", "")) == (
        *("suspected", "changed"),
        "approved",  # as one of before
    )


@pytest.mark.parametrize("kind", list(EventKind))
async def test_an_event_of_a_type_that_its_sender_may_not_send_is_refused_unread(inlet, kind):
    world, receiver = inlet()
    narrow = EventSender("narrow", frozenset(EventKind) - {kind}, every_customer=True)
    (receipt,) = receiver.receive([Event("/signup", "1", kind, {"customer_id": 5}, sender=narrow)]).receipts
    assert (receipt.outcome, receipt.reason, receipt.problems) == (Outcome.REFUSED, NOT_ITS_TYPE, ())
    assert world.rows(Inbox) == []


async def test_an_event_without_a_sender_is_refused(inlet):
    world, receiver = inlet()
    (receipt,) = receiver.receive([Event("/signup", "1", EventKind.ERASED, {"customer_id": "C-1"})]).receipts
    assert (receipt.outcome, receipt.reason) == (Outcome.REFUSED, NOT_ITS_TYPE)
    assert world.rows(Inbox) == []


@pytest.mark.parametrize("kind", ["requested", *KINDS])
async def test_an_event_about_an_id_that_its_sender_may_not_name_is_refused_whoever_is_known(town, kind):
    world, receiver = town
    event = {"requested": requested, **KINDS}[kind]
    before, stored = everything(world), world.rows(Inbox)

    narrow = replace(BILLING, ids=("billing-*",))
    receipts = [receiver.receive([of(narrow, event(who))]).receipts[0] for who in ("C-1", "C-0")]
    own = receiver.receive([of(narrow, event("billing-1"))]).receipts[0]

    assert [(one.outcome, one.reason) for one in receipts] == [(Outcome.REFUSED, NOT_ITS_ID)] * 2
    assert own.outcome is Outcome.TAKEN
    assert [row.customer_id for row in world.rows(Inbox) if row not in stored] == ["billing-1"]
    assert [row for row in before[0] if row not in world.rows(CustomerRow)] == []


async def test_a_sender_with_the_right_to_every_customer_may_be_kept_to_ids_too(inlet):
    _, receiver = inlet()
    (receipt,) = receiver.receive([of(replace(PRIVACY, ids=("eu-*",)), requested("C-1"))]).receipts
    assert (receipt.outcome, receipt.reason) == (Outcome.REFUSED, NOT_ITS_ID)
