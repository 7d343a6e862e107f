"""The events published in a whole story: each kind, by its schema, and no personal data."""

import json
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
import sqlalchemy as sa

from onboarding_testing.fakes import FakeSender
from onboarding_worker.core.database.facts import SessionsCompleted, SessionsExpired, happened
from onboarding_worker.core.database.tables import Job, Outbox, SessionRow
from onboarding_worker.core.model.customers import Channel, Person
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.incoming import OPERATOR, Event, EventKind
from onboarding_worker.core.model.states import SessionState
from onboarding_worker.events.cloudevents import cloud_event
from onboarding_worker.features.outbox.outbox_publisher import OutboxPublisher
from onboarding_worker.providers.contract import Broken, HttpAnswer
from tests.features.outbox.publishing.targets import LONGEST, FakeTarget, targets_of
from tests.simulated.world import customer

SCHEMAS = Path(__file__).parents[4] / "docs" / "events"
BUS = '[bus]\nurl = "amqp://127.0.0.1"'
SENTINELS = ("Quellenhofer", "xq.private@", "+37061239999", "1961-07-23", "Geheimgasse", "verify.test", "token-")


def private(name):
    person = Person(
        email=f"xq.private@{name.lower()}.example",
        phone="+37061239999",
        first_name="Quellenhofer",
        last_name="Quellenhofer",
        address="Geheimgasse 1",
    )
    return customer(name, person=person, channel=Channel.EMAIL)


def published(world):
    """The events that a bus gets of all that has happened so far."""
    bus = FakeTarget()
    OutboxPublisher(targets_of(world), {"bus": bus}).publish("bus", longest=LONGEST)
    return [(json.loads(cloud_event(event)), cloud_event(event).decode()) for event in bus.published]


def check(message):
    schema = json.loads((SCHEMAS / f"{message['type']}.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(message)


@pytest.fixture
def world(make):
    def answer(request):
        name = json.loads(request.body)["customer_id"]
        if name == "BAD":
            return HttpAnswer(400, {})
        return Broken(True, "cut off at Quellenhofer") if name == "LOST" else world.session()

    refused = Problem(Kind.BAD_INPUT, "550 no mailbox of Quellenhofer here", code="mailbox")
    sender = FakeSender()
    sender._answers = (refused if number == 1 else None for number in range(99))
    world = make(answer, more=BUS, on_unknown="hold", concurrency=1, senders={"email": sender})
    return world


async def test_a_whole_story_is_published_by_schema_and_without_personal_data(world, clock):
    world.add(*map(private, ("GOOD", "REFUSED", "BAD", "LOST")))
    await world.work()
    world.add(private("LATE"), floor=timedelta(hours=12))
    await world.issue()
    clock.advance(days=8)  # one link has expired before it was sent, the other link unused: both are replaced
    await world.work()
    messages = published(world)
    kinds = [message["type"] for message, _ in messages]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "session.issued": 5,
        "invitation.sent": 3,
        "job.failed": 2,
        "job.held": 1,
        "session.expired": 3,  # the session whose mail was refused, too
    }
    for message, text in messages:
        check(message)
        assert not any(word in text for word in SENTINELS), message["type"]
        assert message["subject"] == message["data"]["customer_id"]
        assert message["data"]["provider"] == "idenfy-kyc"
    # The words were there to leak: the customers' mails and the details for the operator have them.
    assert "Quellenhofer" in world.senders["email"].messages[0].text
    assert any("Quellenhofer" in row.detail for row in world.rows(Job))
    assert [message["type"] for message, _ in messages if message["subject"] == "LATE"] == [
        "session.issued",
        "session.expired",
        "session.issued",
        "invitation.sent",
    ]
    assert world.rows(Outbox) == []


async def test_a_row_that_is_held_in_the_transaction_of_a_callers_own_code_is_published_too(world):
    batch = world.add(private("LOST"))
    await world.issue()
    world.clock.advance(minutes=1)
    world.parts.decisions.cancel(batch, now=world.clock())
    published(world)
    data = {"customer_id": "LOST", "email": "lost@example.com"}
    again = Event("/app", "1", EventKind.REQUESTED, data, sender=OPERATOR)
    engine = sa.create_engine(world.parts.database.engine.url)
    with engine.begin() as connection:
        world.receiver().receive_within(connection, [again])
    engine.dispose()
    ((message, _),) = published(world)
    check(message)
    assert (message["type"], message["data"]["reason"]) == ("job.held", "unknown")


async def test_the_facts_are_those_of_the_report(world):
    batch = world.add(private("GOOD"), private("BAD"))
    await world.work()
    messages = {(message["subject"], message["type"]): message["data"] for message, _ in published(world)}
    job, session = world.job("GOOD"), world.row(SessionRow)
    sent = messages["GOOD", "invitation.sent"]
    assert (sent["job_id"], sent["batch_id"], sent["row"]) == (job.id, batch, 2)
    assert (sent["session"], sent["channel"], sent["kind"]) == (session.reference, "email", "invitation")
    issued = messages["GOOD", "session.issued"]
    assert issued["expires_at"] == session.expires_at.isoformat().replace("+00:00", "Z")
    failed = messages["BAD", "job.failed"]
    assert (failed["reason"], failed["attempts"], failed["row"], failed["session"]) == ("bad_input", 1, 3, None)


async def test_a_completed_session_is_published_with_its_result(world):
    world.add(private("GOOD"))
    await world.work()
    published(world)
    with world.parts.database.write() as connection:
        ids = [row.id for row in world.rows(SessionRow)]
        happened(connection, SessionsCompleted(ids, "approved"), now=world.clock())
    ((message, _),) = published(world)
    check(message)
    assert message["data"]["result"] == "approved"
    assert message["data"]["state"] == SessionState.COMPLETED


async def test_the_end_of_a_session_is_told_of_the_row_that_took_it_over(world):
    first = world.add(private("GOOD"))
    await world.work()
    world.clock.advance(minutes=1)
    world.parts.decisions.cancel(first, now=world.clock())
    later = world.add(private("GOOD"))
    await world.work()
    published(world)
    (session,) = world.rows(SessionRow)
    with world.parts.database.write() as connection:
        happened(connection, SessionsExpired([session.id]), now=world.clock())
    ((message, _),) = published(world)
    assert (message["data"]["batch_id"], message["data"]["session"]) == (later, session.reference)


async def test_events_of_a_rolled_back_transaction_are_not_published(world):
    world.add(private("GOOD"))
    await world.work()
    published(world)
    ids = [row.id for row in world.rows(SessionRow)]
    with world.parts.database.engine.connect() as connection:
        happened(connection, SessionsExpired(ids), now=world.clock())
        connection.rollback()
    assert published(world) == []
