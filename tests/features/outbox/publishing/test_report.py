"""What is said of targets that accept nothing, or that no process publishes to."""

from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import Outbox
from onboarding_worker.core.foundation.notation import written
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.events.cloudevents import Happened
from onboarding_worker.features.outbox.outbox_publisher import swept
from onboarding_worker.features.outbox.store import relay
from tests.features.outbox.publishing.targets import (
    CRM,
    DOWN,
    LONGEST,
    UNREACHABLE,
    FakeTarget,
    happen,
    publisher,
    targets_of,
)
from tests.stored.statements import statements


@pytest.mark.postgresql_alone  # on SQLite there is one process
async def test_a_target_that_no_process_publishes_to_for_minutes_is_named(world, clock):
    happen(world, Happened.SESSION_ISSUED, "A")  # the subscriber does not subscribe to it
    clock.advance(minutes=4)
    assert targets_of(world).unpublished() == []  # a worker may just be starting
    clock.advance(minutes=2)
    assert targets_of(world).unpublished() == ["bus"]
    bus, seen = FakeTarget(), []
    bus.before_answering = lambda: seen.append(targets_of(world).unpublished())
    publisher(world, bus=bus).publish("bus", longest=LONGEST)
    assert seen == [[]]  # somebody is at it, however long it takes
    assert targets_of(world).unpublished() == []


@pytest.mark.postgresql_alone
async def test_a_paused_target_is_not_named_as_one_without_a_publisher(world, clock):
    happen(world, Happened.SESSION_ISSUED, "A")
    clock.advance(minutes=6)
    bus = FakeTarget(down=UNREACHABLE)
    publisher(world, bus=bus).publish("bus", longest=LONGEST)
    assert targets_of(world).unpublished() == []


def given_up(world):
    standings = world.parts.operation.report().standings
    return {name: fact for one in standings for name, fact in one.facts.items()}


def needs(world) -> list[tuple[str, str]]:
    return [(one.name, one.detail) for one in world.parts.operation.report().attention if one.what == "target"]


@pytest.mark.both_databases
async def test_a_target_that_accepts_nothing_needs_a_person_after_a_minute_until_it_accepts(world, clock):
    happen(world, Happened.JOB_HELD, "A", "B", "C", "D")
    crm = FakeTarget(down=DOWN)
    events_out = publisher(world, **{CRM: crm})
    since = written(clock())
    events_out.publish(CRM, longest=LONGEST)
    clock.advance(seconds=30)
    assert needs(world) == []
    clock.advance(seconds=30)
    reason = "3 calls in a row failed, the last with HTTP 500"
    said = f"has accepted no event since {since} ({reason}); events that wait: 4; given up: 0"
    assert needs(world) == [(CRM, said)]
    crm.down = None
    events_out.publish(CRM, longest=LONGEST)
    assert needs(world) == []


async def test_a_target_that_asks_us_to_wait_again_and_again_needs_a_person_after_five_minutes(world, clock):
    happen(world, Happened.JOB_HELD, "A")
    crm = FakeTarget(down=Problem(Kind.RATE_LIMITED, "HTTP 429", retry_after=timedelta(seconds=30)))
    events_out = publisher(world, **{CRM: crm})
    for _ in range(3):
        events_out.publish(CRM, longest=LONGEST)
        assert needs(world) == []
        clock.advance(minutes=2)
    assert [name for name, _ in needs(world)] == [CRM]
    crm.down = None
    events_out.publish(CRM, longest=LONGEST)
    assert needs(world) == []


async def test_events_that_were_given_up_need_a_person_as_long_as_they_are_kept(world, clock):
    happen(world, Happened.JOB_HELD, "A", "B", "C")
    world.set(Outbox, Outbox.target == CRM, due_at=None)
    assert given_up(world) == {"given_up": {CRM: 3}}
    assert needs(world) == [(CRM, "events that wait: 0; given up: 3")]
    clock.advance(days=31)
    swept(world.parts)(None)
    assert given_up(world) == {}
    assert needs(world) == []


async def test_the_status_counts_no_event_of_a_target_that_accepts_and_few_of_one_that_does_not(
    world, clock, monkeypatch
):
    monkeypatch.setattr(relay, "MOST_COUNTED", 2)
    happen(world, Happened.JOB_HELD, "A", "B", "C", "D")
    with statements(world.parts.database) as sent:
        assert needs(world) == []
    assert not [one for one in sent if "outbox" in one and "due_at IS NOT NULL" in one]
    crm = FakeTarget(down=DOWN)
    publisher(world, **{CRM: crm}).publish(CRM, longest=LONGEST)
    clock.advance(minutes=2)
    assert "events that wait: more than 2; given up: 0" in needs(world)[0][1]
