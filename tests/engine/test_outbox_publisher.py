"""Telling others what has happened: at least once, each customer's in order; who does not take it waits alone."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.simulated.pooler import sharing_sessions
from tests.simulated.world import World
from worker.domain.events.published import Happened, cloud_event
from worker.domain.model.endings import Kind, Problem
from worker.engine.maintenance.retention import UNPUBLISHED_FOR
from worker.engine.outbox_publisher import OutboxPublisher
from worker.engine.outbox_targets import PAUSES_AFTER
from worker.publishers.contract import Reply
from worker.store.base.database import Database
from worker.store.outbox import relay as telling
from worker.store.tables import Outbox

CRM = "subscriber/crm"
LONGEST = timedelta(minutes=1)
SUBSCRIPTIONS = """
[bus]
url = "amqp://127.0.0.1"
[subscribers.crm]
url = "https://crm.example.com/hooks"
keys = [{ env = "SECRET" }]
types = ["job.held", "invitation.sent"]
give_up = "1 hour"
[retry]
first = "1 s"
most = "1 minute"
"""
DOWN = Problem(Kind.TRANSIENT, "HTTP 500")
AWAY = Problem(Kind.TRANSIENT, "connection refused or not possible", unreachable=True)


class FakeTarget:
    """Takes what it is told, but for the customers that it has a problem with."""

    longest = timedelta(seconds=30)

    def __init__(self, published: list | None = None) -> None:
        self.published = [] if published is None else published
        self.chunks: list[list[str]] = []
        self.problems: dict[str, Problem] = {}
        self.down: Problem | None = None
        self.before_answering: Callable[[], None] = lambda: None

    def publish(self, events, *, clock, goes_on):
        self.chunks.append([event.customer_id for event in events])
        replies = []
        for event in events:
            problem = self.down or self.problems.get(event.customer_id)
            if problem is None:
                self.published.append(event)
            replies.append(Reply(event.number, clock(), problem))
            if self.down and (problem is AWAY or len(replies) == PAUSES_AFTER):
                break
        self.before_answering()
        return replies

    def close(self):
        pass

    @property
    def order(self) -> list[tuple[str, str]]:
        return [(event.customer_id, event.kind) for event in self.published]


@pytest.fixture
def world(make_on_both) -> World:
    made: World = make_on_both(more=SUBSCRIPTIONS)
    return made


def happen(world, happened, *customers, account="kyc"):
    """Write down that it happened to each of these customers, in a transaction for each."""
    for customer in customers:
        with world.parts.database.write() as connection:
            data = {"customer_id": customer, "account": account, "job_id": 1}
            world.parts.subscriptions.write(connection, happened, [data], now=world.clock())


def publisher(world, **targets):
    return OutboxPublisher(
        world.parts.outbox_targets, {"bus": FakeTarget(), CRM: FakeTarget()} | targets, jitter=lambda: 1.0
    )


def left(world, target="bus"):
    return [(row.customer_id, row.kind) for row in world.rows(Outbox, target=target)]


async def test_each_target_is_written_what_it_is_to_be_told_and_the_event_has_one_id(world):
    happen(world, Happened.SESSION_ISSUED, "A")
    happen(world, Happened.JOB_HELD, "A")
    assert left(world) == [("A", "session.issued"), ("A", "job.held")]
    assert left(world, CRM) == [("A", "job.held")]
    bus, crm = (world.row(Outbox, target=target, kind="job.held") for target in ("bus", CRM))
    assert bus.event_id == crm.event_id
    assert bus.data["provider"] == "idenfy-kyc"


async def test_what_happens_while_a_target_is_told_waits_for_the_next_bell(world):
    """Otherwise each chunk beside a batch was a few rows, and the next one never long in coming."""
    happen(world, Happened.SESSION_ISSUED, "A")
    bus = FakeTarget()

    def meanwhile():
        world.clock.advance(milliseconds=10)
        happen(world, Happened.SESSION_ISSUED, f"B{len(bus.chunks)}")

    bus.before_answering = meanwhile
    one = publisher(world, bus=bus)
    assert one.publish("bus", longest=LONGEST) is False
    assert bus.chunks == [["A"]]
    while len(bus.chunks) == 1:  # PostgreSQL may take a moment to let go of what told it first
        one.publish("bus", longest=LONGEST)
    assert bus.chunks == [["A"], ["B1"]]


async def test_nobody_configured_costs_and_writes_nothing(make_on_both):
    world = make_on_both()
    happen(world, Happened.SESSION_ISSUED, "A")
    assert world.rows(Outbox) == []


async def test_what_is_taken_is_removed_and_each_customers_go_in_order(world):
    kinds = (Happened.SESSION_ISSUED, Happened.INVITATION_SENT, Happened.JOB_HELD)
    for kind in kinds:
        happen(world, kind, "A", "B")
    bus = FakeTarget()
    assert publisher(world, bus=bus).publish("bus", longest=LONGEST) is False
    assert bus.chunks == [["A", "B"]] * 3  # never two of one customer at once
    assert bus.order == [(customer, kind.value) for kind in kinds for customer in ("A", "B")]
    assert left(world) == []
    assert len(left(world, CRM)) == 4


async def test_one_customers_event_that_is_not_taken_holds_up_only_what_follows_of_that_customer(world, clock):
    happen(world, Happened.INVITATION_SENT, "A", "B")
    happen(world, Happened.JOB_HELD, "A", "B")
    crm = FakeTarget()
    crm.problems["A"] = DOWN
    tells = publisher(world, **{CRM: crm})
    tells.publish(CRM, longest=LONGEST)
    assert crm.order == [("B", "invitation.sent"), ("B", "job.held")]
    assert world.parts.outbox_targets.due() == ["bus"]
    crm.problems.clear()
    tells.publish(CRM, longest=LONGEST)
    assert left(world, CRM) == [("A", "invitation.sent"), ("A", "job.held")]  # its wait is not over
    clock.advance(seconds=2)
    assert set(world.parts.outbox_targets.due()) == {"bus", CRM}
    tells.publish(CRM, longest=LONGEST)
    assert crm.order[2:] == [("A", "invitation.sent"), ("A", "job.held")]


async def test_one_event_is_repeated_with_waits_that_double(world, clock):
    happen(world, Happened.JOB_HELD, "A")
    crm = FakeTarget()
    crm.problems["A"] = DOWN
    tells = publisher(world, **{CRM: crm})
    waits = []
    for _ in range(2):
        tells.publish(CRM, longest=LONGEST)
        row = world.row(Outbox, target=CRM)
        waits.append(row.due_at - clock())
        clock.advance(seconds=waits[-1].total_seconds())
    assert waits == [timedelta(seconds=1), timedelta(seconds=2)]
    assert (row.attempts, row.detail) == (2, "HTTP 500")


@pytest.mark.parametrize("problem", [DOWN, AWAY])
async def test_a_target_that_is_down_is_left_alone_and_then_asked_with_one_event(world, clock, problem):
    happen(world, Happened.JOB_HELD, *(f"C{number}" for number in range(20)))
    crm = FakeTarget()
    crm.down = problem
    tells = publisher(world, **{CRM: crm})
    tells.publish(CRM, longest=LONGEST)
    tells.publish(CRM, longest=LONGEST)
    assert len(crm.chunks) == 1
    assert CRM not in world.parts.outbox_targets.due()
    clock.advance(seconds=5)
    tells.publish(CRM, longest=LONGEST)
    assert [len(chunk) for chunk in crm.chunks] == [20, 1]
    crm.down = None
    clock.advance(seconds=5)
    tells.publish(CRM, longest=LONGEST)
    assert left(world, CRM) == []
    assert len(crm.chunks[2]) == 1


async def test_a_wait_that_the_target_asks_for_is_kept_to(world, clock):
    happen(world, Happened.JOB_HELD, "A")
    crm = FakeTarget()
    crm.down = Problem(Kind.RATE_LIMITED, "HTTP 429", retry_after=timedelta(minutes=20))
    tells = publisher(world, **{CRM: crm})
    tells.publish(CRM, longest=LONGEST)
    clock.advance(minutes=19)
    assert CRM not in world.parts.outbox_targets.due()
    clock.advance(minutes=2)
    assert CRM in world.parts.outbox_targets.due()


async def test_an_event_that_is_never_taken_is_given_up_and_what_follows_of_its_customer_goes_on(world, clock, caplog):
    happen(world, Happened.INVITATION_SENT, "A")
    crm = FakeTarget()
    crm.problems["A"] = DOWN
    tells = publisher(world, **{CRM: crm})
    for _ in range(8):
        tells.publish(CRM, longest=LONGEST)
        clock.advance(minutes=10)
    row = world.row(Outbox, target=CRM)
    assert row.due_at is None
    assert "HTTP 500" in row.detail
    assert "1 events are given up" in caplog.text
    crm.problems.clear()
    happen(world, Happened.JOB_HELD, "A")
    tells.publish(CRM, longest=LONGEST)
    assert crm.order == [("A", "job.held")]
    assert telling.status(world.parts.database)[CRM] == telling.TargetStatus(0, 1, None)


async def test_what_the_target_wants_never_again_is_given_up_at_once(world):
    happen(world, Happened.JOB_HELD, "A")
    crm = FakeTarget()
    crm.problems["A"] = Problem(Kind.BAD_INPUT, "HTTP 410: the subscriber wants no events", status=410)
    publisher(world, **{CRM: crm}).publish(CRM, longest=LONGEST)
    assert world.row(Outbox, target=CRM).due_at is None
    assert world.budget(CRM).pauses == 0


async def test_a_bus_that_is_away_for_a_month_is_told_all_the_same(world, clock):
    happen(world, Happened.JOB_HELD, "A")
    bus = FakeTarget()
    bus.down = AWAY
    tells = publisher(world, bus=bus)
    for _ in range(5):
        tells.publish("bus", longest=LONGEST)
        clock.advance(days=7)
    bus.down = None
    tells.publish("bus", longest=LONGEST)
    assert bus.order == [("A", "job.held")]


async def test_what_was_given_up_is_told_again_when_a_person_says_so_and_repeated_anew(world, clock):
    happen(world, Happened.JOB_HELD, "A", "B")
    crm = FakeTarget()
    crm.problems["A"] = Problem(Kind.BAD_INPUT, "HTTP 410: the subscriber wants no events")
    tells = publisher(world, **{CRM: crm})
    tells.publish(CRM, longest=LONGEST)
    clock.advance(days=2)
    assert telling.again(world.parts.database, target="bus", number=None, now=clock()) == 0
    assert telling.again(world.parts.database, target=CRM, number=None, now=clock()) == 1
    crm.problems["A"] = DOWN
    tells.publish(CRM, longest=LONGEST)
    assert world.row(Outbox, target=CRM).due_at is not None  # not given up, though it happened two days ago
    crm.problems.clear()
    clock.advance(minutes=1)
    tells.publish(CRM, longest=LONGEST)
    assert crm.order == [("B", "job.held"), ("A", "job.held")]


async def test_a_process_that_dies_after_telling_leads_to_the_same_event_again_and_never_to_none(world):
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


async def test_a_target_that_is_being_told_is_not_told_beside_it(world):
    happen(world, Happened.JOB_HELD, "A")
    second = publisher(world)

    def meanwhile() -> None:
        if not world.parts.database.is_sqlite:  # another process, which SQLite has none of
            assert second.publish("bus", longest=LONGEST) is False
        assert first.publish("bus", longest=LONGEST) is False
        assert second._targets["bus"].published == []

    bus = FakeTarget()
    bus.before_answering = meanwhile
    first = publisher(world, bus=bus)
    first.publish("bus", longest=LONGEST)
    assert len(bus.published) == 1


@pytest.mark.parametrize("make_on_both", ["postgresql"], indirect=True)  # on SQLite there is one process
async def test_several_processes_that_tell_one_target_keep_each_customers_order(world):
    published: list = []
    tellers = [publisher(world, bus=FakeTarget(published)) for _ in range(4)]
    writing = threading.Event()

    def publish(one: OutboxPublisher) -> None:
        while not writing.is_set() or left(world):
            one.publish("bus", longest=LONGEST)

    kinds = [Happened.SESSION_ISSUED, Happened.INVITATION_SENT, Happened.JOB_HELD, Happened.JOB_FAILED]
    with ThreadPoolExecutor(len(tellers)) as threads:
        done = [threads.submit(publish, one) for one in tellers]
        for kind in kinds:
            happen(world, kind, *(f"C{number}" for number in range(12)))
        writing.set()
        for one in done:
            one.result(60)
    assert set(Counter(event.event_id for event in published).values()) == {1}
    for number in range(12):
        assert [event.kind for event in published if event.customer_id == f"C{number}"] == [
            kind.value for kind in kinds
        ]


@pytest.mark.parametrize("make_on_both", ["postgresql"], indirect=True)  # SQLite has no connections to lose
async def test_one_who_lost_its_lock_with_its_connection_removes_nothing(world):
    happen(world, Happened.JOB_HELD, "A")
    published: list = []
    cut, other = FakeTarget(published), publisher(world, bus=FakeTarget(published))

    def lose_the_lock() -> None:
        ends = sa.text(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        beside = Database(world.parts.settings.database.url)
        with beside.write() as connection:
            connection.execute(ends)
        beside.close()

    cut.before_answering = lose_the_lock
    with pytest.raises(sa.exc.OperationalError):
        publisher(world, bus=cut).publish("bus", longest=LONGEST)
    other.publish("bus", longest=LONGEST)
    assert len({event.event_id for event in published}) == 1
    assert len(published) == 2


async def test_a_process_that_is_to_end_tells_nothing_more(world):
    happen(world, Happened.JOB_HELD, "A")
    bus = FakeTarget()
    ending = OutboxPublisher(world.parts.outbox_targets, {"bus": bus}, stopping=lambda: True)
    assert ending.publish("bus", longest=LONGEST) is False
    assert bus.chunks == []


async def test_one_who_has_more_than_its_time_allows_says_so(world):
    happen(world, Happened.JOB_HELD, "A")
    assert publisher(world).publish("bus", longest=timedelta(0)) is True


async def test_a_bell_for_nobody_is_said_and_dropped(world, caplog):
    assert publisher(world).publish("subscriber/nobody", longest=LONGEST) is False
    assert "subscriber/nobody" in caplog.text


async def test_what_nobody_takes_is_removed_after_its_time(world, clock):
    happen(world, Happened.JOB_HELD, "A", "B")
    world.set(Outbox, Outbox.target == CRM, due_at=None)
    world.set(Outbox, (Outbox.target == "bus") & (Outbox.customer_id == "A"), target="subscriber/gone")
    retention = world.parts.retention()
    clock.advance(days=UNPUBLISHED_FOR.days - 1)
    retention.step()
    assert len(world.rows(Outbox)) == 4
    clock.advance(days=2)
    for _ in range(3):
        retention.step()
    assert [(row.target, row.customer_id) for row in world.rows(Outbox)] == [("bus", "B")]


@pytest.mark.parametrize("make_on_both", ["postgresql"], indirect=True)  # on SQLite there is one process
async def test_a_target_that_may_be_told_for_minutes_and_nobody_tells_is_named(world, clock):
    happen(world, Happened.SESSION_ISSUED, "A")  # of which the subscriber does not want to hear
    clock.advance(minutes=4)
    assert world.parts.outbox_targets.unpublished() == []  # a worker may just be starting
    clock.advance(minutes=2)
    assert world.parts.outbox_targets.unpublished() == ["bus"]
    bus, seen = FakeTarget(), []
    bus.before_answering = lambda: seen.append(world.parts.outbox_targets.unpublished())
    publisher(world, bus=bus).publish("bus", longest=LONGEST)
    assert seen == [[]]  # somebody is at it, however long it takes
    assert world.parts.outbox_targets.unpublished() == []


@pytest.mark.parametrize("make_on_both", ["postgresql"], indirect=True)
async def test_a_target_that_is_paused_is_not_named_for_want_of_somebody_who_tells_it(world, clock):
    happen(world, Happened.SESSION_ISSUED, "A")
    clock.advance(minutes=6)
    bus = FakeTarget()
    bus.down = AWAY
    publisher(world, bus=bus).publish("bus", longest=LONGEST)
    assert world.parts.outbox_targets.unpublished() == []


@pytest.fixture
def behind_a_pooler(world) -> Iterator[World]:
    """The same world, its database behind a pooler that shares sessions."""
    direct = world.parts.database
    with sharing_sessions(direct.engine.url.render_as_string(hide_password=False)) as url:
        world.parts.database = Database(url)
        yield world
        world.parts.database.close()
        world.parts.database = direct


@pytest.mark.parametrize("make_on_both", ["postgresql"], indirect=True)
async def test_behind_a_pooler_that_shares_sessions_nobody_is_told_and_the_log_says_what_to_do(
    world, behind_a_pooler, caplog
):
    happen(world, Happened.JOB_HELD, "A")
    assert not telling.sessions_are_ours(world.parts.database)
    bus = FakeTarget()
    tells = publisher(world, bus=bus)
    for _ in range(3):
        assert tells.publish("bus", longest=LONGEST) is False
    assert bus.published == []
    (said,) = caplog.messages
    assert said.startswith("nobody is told what happens")
    assert "pool_mode = session" in said


@pytest.mark.parametrize("make_on_both", ["postgresql"], indirect=True)
async def test_a_session_that_is_found_to_be_shared_only_later_removes_nothing(world, behind_a_pooler):
    happen(world, Happened.JOB_HELD, "A")
    with (
        telling.alone(world.parts.database, "bus", silence=LONGEST) as transaction,
        pytest.raises(telling.NotOurConnection),
        transaction(),
    ):
        pass
