"""Publishing events: at least once, each customer's in order; a target that does not accept them delays no other."""

from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import Outbox
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.events.cloudevents import Happened, cloud_event
from onboarding_worker.features.outbox.outbox_publisher import KEPT_FOR, OutboxPublisher, swept
from onboarding_worker.features.outbox.outbox_targets import observing
from onboarding_worker.features.outbox.store import relay
from tests.features.outbox.publishing.targets import (
    CRM,
    DOWN,
    LONGEST,
    UNREACHABLE,
    FakeTarget,
    happen,
    left,
    publisher,
    targets_of,
)
from tests.stored.statements import statements


async def test_each_target_gets_rows_of_the_events_it_subscribes_to_and_an_event_has_one_id(world):
    happen(world, Happened.SESSION_ISSUED, "A")
    happen(world, Happened.JOB_HELD, "A")
    assert left(world) == [("A", "session.issued"), ("A", "job.held")]
    assert left(world, CRM) == [("A", "job.held")]
    bus, crm = (world.row(Outbox, target=target, kind="job.held") for target in ("bus", CRM))
    assert bus.event_id == crm.event_id
    assert bus.data["provider"] == "idenfy-kyc"


async def test_events_that_happen_while_a_target_is_published_to_wait_for_the_next_wake_up(world):
    """Otherwise each chunk during a batch would be a few rows, soon followed by the next one."""
    happen(world, Happened.SESSION_ISSUED, "A")
    bus = FakeTarget()

    def meanwhile():
        world.clock.advance(milliseconds=10)
        happen(world, Happened.SESSION_ISSUED, f"B{len(bus.chunks)}")

    bus.before_answering = meanwhile
    one = publisher(world, bus=bus)
    assert one.publish("bus", longest=LONGEST) is False
    assert bus.chunks == [["A"]]
    while len(bus.chunks) == 1:  # PostgreSQL may take a moment to release the lock of the first connection
        one.publish("bus", longest=LONGEST)
    assert bus.chunks == [["A"], ["B1"]]


async def test_without_targets_nothing_is_written(make):
    assert observing(make().parts.settings) is None


async def test_accepted_events_are_removed_and_each_customers_go_in_order(world):
    kinds = (Happened.SESSION_ISSUED, Happened.INVITATION_SENT, Happened.JOB_HELD)
    for kind in kinds:
        happen(world, kind, "A", "B")
    bus = FakeTarget()
    assert publisher(world, bus=bus).publish("bus", longest=LONGEST) is False
    assert bus.chunks == [["A", "B"]] * 3  # never two of one customer at once
    assert bus.order == [(customer, kind.value) for kind in kinds for customer in ("A", "B")]
    assert left(world) == []
    assert len(left(world, CRM)) == 4


async def test_an_event_that_is_not_accepted_delays_only_the_later_events_of_its_customer(world, clock):
    happen(world, Happened.INVITATION_SENT, "A", "B")
    happen(world, Happened.JOB_HELD, "A", "B")
    crm = FakeTarget(A=DOWN)
    events_out = publisher(world, **{CRM: crm})
    events_out.publish(CRM, longest=LONGEST)
    assert crm.order == [("B", "invitation.sent"), ("B", "job.held")]
    assert targets_of(world).due() == ["bus"]
    crm.problems.clear()
    events_out.publish(CRM, longest=LONGEST)
    assert left(world, CRM) == [("A", "invitation.sent"), ("A", "job.held")]  # its wait is not over
    clock.advance(seconds=2)
    assert set(targets_of(world).due()) == {"bus", CRM}
    events_out.publish(CRM, longest=LONGEST)
    assert crm.order[2:] == [("A", "invitation.sent"), ("A", "job.held")]


class RaisingTarget(FakeTarget):
    """Raises for these customers' events, as a bug would."""

    def __init__(self, *customers: str) -> None:
        super().__init__()
        self.raises = set(customers)

    def publish(self, events, *, clock, goes_on):
        if self.raises & {event.customer_id for event in events}:
            raise ValueError("maria@example.org")
        return super().publish(events, clock=clock, goes_on=goes_on)


async def test_an_event_that_cannot_be_published_is_given_up_and_delays_no_other(world, caplog):
    happen(world, Happened.INVITATION_SENT, "A", "B", "C")
    crm = RaisingTarget("B")
    publisher(world, **{CRM: crm}).publish(CRM, longest=LONGEST)
    assert crm.order == [("A", "invitation.sent"), ("C", "invitation.sent")]
    (row,) = relay.given_up(world.parts.database, most=10)
    assert (row.customer_id, row.detail) == ("B", "publishing it ended with ValueError")
    assert "maria" not in caplog.text


async def test_events_that_cannot_be_published_together_are_published_alone(world):
    class OneByOne(FakeTarget):
        def publish(self, events, **how):
            if len(events) > 1:
                raise ValueError
            return super().publish(events, **how)

    happen(world, Happened.SESSION_ISSUED, "A", "B")
    publisher(world, bus=OneByOne()).publish("bus", longest=LONGEST)

    assert left(world) == []


async def test_a_bug_that_every_event_meets_gives_none_of_them_up(world):
    happen(world, Happened.INVITATION_SENT, "A", "B", "C")
    with pytest.raises(ValueError, match="maria"):
        publisher(world, **{CRM: RaisingTarget("A", "B", "C")}).publish(CRM, longest=LONGEST)
    assert relay.given_up(world.parts.database, most=10) == []


async def test_one_event_is_repeated_with_waits_that_double(world, clock):
    happen(world, Happened.JOB_HELD, "A")
    crm = FakeTarget(A=DOWN)
    events_out = publisher(world, **{CRM: crm})
    waits = []
    for _ in range(2):
        events_out.publish(CRM, longest=LONGEST)
        row = world.row(Outbox, target=CRM)
        waits.append(row.due_at - clock())
        clock.advance(seconds=waits[-1].total_seconds())
    assert waits == [timedelta(seconds=1), timedelta(seconds=2)]
    assert (row.attempts, row.detail) == (2, "HTTP 500")


@pytest.mark.parametrize("problem", [DOWN, UNREACHABLE])
async def test_a_target_that_is_down_is_paused_and_then_tested_with_one_event(world, clock, problem):
    happen(world, Happened.JOB_HELD, *(f"C{number}" for number in range(20)))
    crm = FakeTarget(down=problem)
    events_out = publisher(world, **{CRM: crm})
    events_out.publish(CRM, longest=LONGEST)
    events_out.publish(CRM, longest=LONGEST)
    assert len(crm.chunks) == 1
    with statements(world.parts.database) as ran:
        assert targets_of(world).due() == ["bus"]
    assert not any("UNION" in one for one in ran)  # it is not looked for, however many events wait: only for the bus
    clock.advance(seconds=5)
    events_out.publish(CRM, longest=LONGEST)
    assert [len(chunk) for chunk in crm.chunks] == [20, 1]
    crm.down = None
    clock.advance(seconds=5)
    events_out.publish(CRM, longest=LONGEST)
    assert left(world, CRM) == []
    assert len(crm.chunks[2]) == 1


async def test_a_wait_that_the_target_asks_for_is_kept_to(world, clock):
    happen(world, Happened.JOB_HELD, "A")
    crm = FakeTarget(down=Problem(Kind.RATE_LIMITED, "HTTP 429", retry_after=timedelta(minutes=20)))
    events_out = publisher(world, **{CRM: crm})
    events_out.publish(CRM, longest=LONGEST)
    clock.advance(minutes=19)
    assert CRM not in targets_of(world).due()
    clock.advance(minutes=2)
    assert CRM in targets_of(world).due()


async def test_an_event_that_is_never_accepted_is_given_up_and_its_customers_next_events_go_on(world, clock):
    happen(world, Happened.INVITATION_SENT, "A")
    crm = FakeTarget(A=DOWN)
    events_out = publisher(world, **{CRM: crm})
    for _ in range(8):
        events_out.publish(CRM, longest=LONGEST)
        clock.advance(hours=12)
    row = world.row(Outbox, target=CRM)
    assert row.due_at is None
    assert row.detail == "not accepted for 3 days: HTTP 500"
    crm.problems.clear()
    happen(world, Happened.JOB_HELD, "A")
    events_out.publish(CRM, longest=LONGEST)
    assert crm.order == [("A", "job.held")]
    assert relay.status(world.parts.database)[CRM] == (0, 1, None)


async def test_an_event_that_the_target_refuses_for_good_is_given_up_at_once(world):
    happen(world, Happened.JOB_HELD, "A")
    crm = FakeTarget(A=Problem(Kind.BAD_INPUT, "HTTP 410: the subscriber wants no events", status=410))
    publisher(world, **{CRM: crm}).publish(CRM, longest=LONGEST)
    assert world.row(Outbox, target=CRM).due_at is None
    assert world.budget(CRM).pauses == 0


async def test_a_bus_that_was_unreachable_for_a_month_still_gets_its_events(world, clock):
    happen(world, Happened.JOB_HELD, "A")
    bus = FakeTarget(down=UNREACHABLE)
    events_out = publisher(world, bus=bus)
    for _ in range(5):
        events_out.publish("bus", longest=LONGEST)
        clock.advance(days=7)
    bus.down = None
    events_out.publish("bus", longest=LONGEST)
    assert bus.order == [("A", "job.held")]


@pytest.mark.both_databases
async def test_given_up_events_are_published_again_when_the_operator_asks_and_repeated_anew(world, clock):
    happen(world, Happened.JOB_HELD, "A", "B")
    crm = FakeTarget(A=Problem(Kind.BAD_INPUT, "HTTP 410: the subscriber wants no events"))
    events_out = publisher(world, **{CRM: crm})
    events_out.publish(CRM, longest=LONGEST)
    clock.advance(days=2)
    assert relay.retry(world.parts.database, target="bus", number=None, now=clock()) == 0
    assert relay.retry(world.parts.database, target=CRM, number=None, now=clock()) == 1
    crm.problems["A"] = DOWN
    events_out.publish(CRM, longest=LONGEST)
    assert world.row(Outbox, target=CRM).due_at is not None  # not given up, though it happened two days ago
    crm.problems.clear()
    clock.advance(minutes=1)
    events_out.publish(CRM, longest=LONGEST)
    assert crm.order == [("B", "job.held"), ("A", "job.held")]


async def test_a_process_that_dies_after_publishing_leads_to_the_same_event_again_and_never_to_none(world):
    happen(world, Happened.JOB_HELD, "A", "B")

    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    published: list = []
    dying = FakeTarget(published)
    dying.before_answering = die
    with pytest.raises(Killed):
        publisher(world, bus=dying).publish("bus", longest=LONGEST)
    publisher(world, bus=FakeTarget(published)).publish("bus", longest=LONGEST)
    assert [event.customer_id for event in published] == ["A", "B", "A", "B"]
    assert [cloud_event(event) for event in published[:2]] == [cloud_event(event) for event in published[2:]]
    assert left(world) == []


async def test_a_number_is_never_given_to_a_second_event(world):
    published: list = []
    for _ in range(3):
        happen(world, Happened.SESSION_ISSUED, "A")
        publisher(world, bus=FakeTarget(published)).publish("bus", longest=LONGEST)
    assert len({event.number for event in published}) == 3
    assert [event.number for event in published] == sorted(event.number for event in published)


async def test_a_stopping_process_publishes_nothing_more(world):
    happen(world, Happened.JOB_HELD, "A")
    bus = FakeTarget()
    ending = OutboxPublisher(targets_of(world), {"bus": bus}, stopping=lambda: True)
    assert ending.publish("bus", longest=LONGEST) is False
    assert bus.chunks == []


async def test_a_publisher_whose_time_is_up_returns_that_more_is_due(world):
    happen(world, Happened.JOB_HELD, "A")
    assert publisher(world).publish("bus", longest=timedelta(0)) is True


async def test_wake_ups_for_unknown_targets_are_logged_once_without_their_names(world, caplog):
    publishes = publisher(world)
    assert not any(publishes.publish(f"quirin+{number}@example.com", longest=LONGEST) for number in range(2))
    assert len(caplog.records) == 1
    assert "quirin" not in caplog.text


@pytest.mark.both_databases
async def test_events_that_no_target_accepts_are_removed_after_their_time(world, clock):
    happen(world, Happened.JOB_HELD, "A", "B")
    world.set(Outbox, Outbox.target == CRM, due_at=None)
    world.set(Outbox, (Outbox.target == "bus") & (Outbox.customer_id == "A"), target="subscriber/gone")
    clock.advance(days=KEPT_FOR.days - 1)
    swept(world.parts)(None)
    assert len(world.rows(Outbox)) == 4
    clock.advance(days=2)
    swept(world.parts)(None)
    assert [(row.target, row.customer_id) for row in world.rows(Outbox)] == [("bus", "B")]
