"""What comes from senders and visitors: reports on messages, words about addresses, and visits of our own links."""

from datetime import timedelta

from tests.store.shelf import customer
from trials.lists.world import NAMES, World
from worker.domain.contact.delivery_reports import DeliveryStatus, DeliveryUpdate, Stop
from worker.domain.links.door import Lead
from worker.domain.model.states import LIVE_SESSIONS, InvitationState
from worker.store.messages.delivery_reports import Applied, Reported, deliver_all
from worker.store.messages.suppressions import release
from worker.store.tables import CustomerRow, InvitationRow, SessionRow

LEFT = (
    InvitationState.SENT,
    InvitationState.DELIVERED,
    InvitationState.HELD,
    InvitationState.WORKING,
    InvitationState.WAITING,
)
STATUSES = (*4 * (DeliveryStatus.DELIVERED,), *3 * (DeliveryStatus.BOUNCED,), DeliveryStatus.BLOCKED, None)
LATE = timedelta(minutes=5)


def a_message_is_reported_on(world: World) -> None:
    """Once, twice or late, also one whose receipt was lost. Three in ten reports say more of the address."""
    messages = [one for one in world.rows(InvitationRow) if one.state in LEFT and _was_tried(one)]
    if not messages:
        return
    message, status = world.chance.choice(messages[-6:]), world.chance.choice(STATUSES)
    stop = None
    if status is not DeliveryStatus.DELIVERED and world.chance.random() < 0.3:
        stop = Stop.BOUNCED if status is DeliveryStatus.BOUNCED else Stop.STOPPED
    reference = message.id.hex if message.channel == "email" else message.reference
    update = DeliveryUpdate("reported", reference, status=status, stop=stop)
    reports = [Reported(f"sender/{message.channel}", update, world.now())] * world.chance.choice((1, 1, 2))
    world.note("report:", message.kind, message.channel, message.job_id, status, *([stop] if stop else []))
    _deliver(world, [*reports, *world.reports] if world.chance.random() < 0.5 else reports)


def _was_tried(message: object) -> bool:
    attempts = getattr(message, "attempts", 0) > 0 or getattr(message, "state", None) is InvitationState.WORKING
    return attempts and (getattr(message, "channel", "") == "email" or bool(getattr(message, "reference", "")))


def _deliver(world: World, reports: list[Reported]) -> None:
    with world.database.write() as connection:
        done = deliver_all(connection, world.keyring, world.delivery, reports, now=world.now())
    world.note("  became", *(one.applied for one in done))
    for one, delivered in zip(reports, done, strict=True):
        if one in world.reports:
            world.reports.remove(one)
        if delivered.applied is Applied.LATER:
            world.reports.append(one)
        elif delivered.applied is Applied.APPLIED and delivered.invitation_id is not None:
            world.texts.reported(delivered.invitation_id, one.update)
            world.addresses.reported(delivered.invitation_id, one.update)


def an_address_may_get_messages_again(world: World) -> None:
    name, channel = world.chance.choice(NAMES), world.chance.choice(("email", "sms"))
    person = customer(name).person
    with world.database.write() as connection:
        lifted = release(connection, world.keyring, channel, person.email if channel == "email" else person.phone)
    if lifted:
        world.note("lifted:", name, channel, lifted)


def a_customer_opens_the_link(world: World) -> None:
    """A visitor who may buy a session, one who only looks, or a program that looks at links."""
    name, purpose = world.chance.choice(NAMES), world.chance.choice(world.setting.purposes)
    if not world.setting.own_links or not world.rows(CustomerRow, customer_id=name):
        return
    secret = world.link_of(name, purpose)
    if secret is None:
        return
    asks = world.chance.random() < 0.8
    seen = world.doors.ask(secret, now=world.now()) if asks else world.doors.see(secret, now=world.now())
    world.note("visit:", name, purpose, type(seen.decision).__name__.lower())
    world.doors.visited(seen, opened=asks, now=world.now())
    if isinstance(seen.decision, Lead):
        (session,) = world.rows(SessionRow, id=seen.session_id)
        if session.state not in LIVE_SESSIONS or (session.customer_id, session.purpose) != (name, purpose):
            world.complaints.append(f"{name}: our link leads to a session that is {session.state.value}")


def a_customer_says_not_me(world: World) -> None:
    name = world.chance.choice(NAMES)
    if world.chance.random() < 0.6 or not world.rows(CustomerRow, customer_id=name):
        return
    if secret := world.link_of(name, world.chance.choice(world.setting.purposes)):
        world.note("not me:", name, world.not_me.stop(secret, now=world.now()))
