"""Publishing events: at least once, each customer's in order; a target that does not accept them delays no other."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.simulated.pooler import sharing_sessions
from tests.simulated.world import World
from tests.store.statements import statements
from tests.suite.waiting import ENDS_WITHIN
from worker.domain.events.published import Happened, cloud_event
from worker.domain.model.endings import Kind, Problem
from worker.engine.maintenance.retention import UNPUBLISHED_FOR
from worker.engine.outbox_publisher import OutboxPublisher
from worker.engine.outbox_targets import PAUSES_AFTER
from worker.engine.reporting import outbox_report
from worker.foundation.timestamps import written
from worker.publishers.contract import Reply
from worker.store.base.database import Database
from worker.store.outbox import relay
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
UNREACHABLE = Problem(Kind.TRANSIENT, "connection refused or not possible", unreachable=True)


class FakeTarget:
    """Accepts events, except those of the customers in `problems`."""

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
            if self.down and (problem is UNREACHABLE or len(replies) == PAUSES_AFTER):
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
    """Write this event of each of these customers, in a transaction for each."""
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


async def test_without_targets_nothing_is_written(make_on_both):
    world = make_on_both()
    happen(world, Happened.SESSION_ISSUED, "A")
    assert world.rows(Outbox) == []


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
    crm = FakeTarget()
    crm.problems["A"] = DOWN
    events_out = publisher(world, **{CRM: crm})
    events_out.publish(CRM, longest=LONGEST)
    assert crm.order == [("B", "invitation.sent"), ("B", "job.held")]
    assert world.parts.outbox_targets.due() == ["bus"]
    crm.problems.clear()
    events_out.publish(CRM, longest=LONGEST)
    assert left(world, CRM) == [("A", "invitation.sent"), ("A", "job.held")]  # its wait is not over
    clock.advance(seconds=2)
    assert set(world.parts.outbox_targets.due()) == {"bus", CRM}
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


async def test_a_bug_that_every_event_meets_gives_none_of_them_up(world):
    happen(world, Happened.INVITATION_SENT, "A", "B", "C")
    with pytest.raises(ValueError, match="maria"):
        publisher(world, **{CRM: RaisingTarget("A", "B", "C")}).publish(CRM, longest=LONGEST)
    assert relay.given_up(world.parts.database, most=10) == []


async def test_one_event_is_repeated_with_waits_that_double(world, clock):
    happen(world, Happened.JOB_HELD, "A")
    crm = FakeTarget()
    crm.problems["A"] = DOWN
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
    crm = FakeTarget()
    crm.down = problem
    events_out = publisher(world, **{CRM: crm})
    events_out.publish(CRM, longest=LONGEST)
    events_out.publish(CRM, longest=LONGEST)
    assert len(crm.chunks) == 1
    with statements(world.parts.database) as ran:
        assert world.parts.outbox_targets.due() == ["bus"]
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
    crm = FakeTarget()
    crm.down = Problem(Kind.RATE_LIMITED, "HTTP 429", retry_after=timedelta(minutes=20))
    events_out = publisher(world, **{CRM: crm})
    events_out.publish(CRM, longest=LONGEST)
    clock.advance(minutes=19)
    assert CRM not in world.parts.outbox_targets.due()
    clock.advance(minutes=2)
    assert CRM in world.parts.outbox_targets.due()


async def test_an_event_that_is_never_accepted_is_given_up_and_its_customers_next_events_go_on(world, clock, caplog):
    happen(world, Happened.INVITATION_SENT, "A")
    crm = FakeTarget()
    crm.problems["A"] = DOWN
    events_out = publisher(world, **{CRM: crm})
    for _ in range(8):
        events_out.publish(CRM, longest=LONGEST)
        clock.advance(minutes=10)
    row = world.row(Outbox, target=CRM)
    assert row.due_at is None
    assert row.detail == "not accepted for 1 hour: HTTP 500"
    assert "1 events are given up" in caplog.text
    crm.problems.clear()
    happen(world, Happened.JOB_HELD, "A")
    events_out.publish(CRM, longest=LONGEST)
    assert crm.order == [("A", "job.held")]
    assert relay.status(world.parts.database)[CRM] == relay.TargetStatus(0, 1, None)


async def test_an_event_that_the_target_refuses_for_good_is_given_up_at_once(world):
    happen(world, Happened.JOB_HELD, "A")
    crm = FakeTarget()
    crm.problems["A"] = Problem(Kind.BAD_INPUT, "HTTP 410: the subscriber wants no events", status=410)
    publisher(world, **{CRM: crm}).publish(CRM, longest=LONGEST)
    assert world.row(Outbox, target=CRM).due_at is None
    assert world.budget(CRM).pauses == 0


async def test_a_bus_that_was_unreachable_for_a_month_still_gets_its_events(world, clock):
    happen(world, Happened.JOB_HELD, "A")
    bus = FakeTarget()
    bus.down = UNREACHABLE
    events_out = publisher(world, bus=bus)
    for _ in range(5):
        events_out.publish("bus", longest=LONGEST)
        clock.advance(days=7)
    bus.down = None
    events_out.publish("bus", longest=LONGEST)
    assert bus.order == [("A", "job.held")]


async def test_given_up_events_are_published_again_when_the_operator_asks_and_repeated_anew(world, clock):
    happen(world, Happened.JOB_HELD, "A", "B")
    crm = FakeTarget()
    crm.problems["A"] = Problem(Kind.BAD_INPUT, "HTTP 410: the subscriber wants no events")
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


async def test_a_target_is_not_published_to_twice_at_the_same_time(world):
    happen(world, Happened.JOB_HELD, "A")
    second = publisher(world)

    def meanwhile() -> None:
        if not world.parts.database.is_sqlite:  # another process; on SQLite there is none
            assert second.publish("bus", longest=LONGEST) is False
        assert first.publish("bus", longest=LONGEST) is False
        assert second._targets["bus"].published == []

    bus = FakeTarget()
    bus.before_answering = meanwhile
    first = publisher(world, bus=bus)
    first.publish("bus", longest=LONGEST)
    assert len(bus.published) == 1


@pytest.mark.parametrize("make_on_both", ["postgresql"], indirect=True)  # on SQLite there is one process
async def test_several_processes_that_publish_to_one_target_keep_each_customers_order(world):
    published: list = []
    publishers = [publisher(world, bus=FakeTarget(published)) for _ in range(4)]
    writing = threading.Event()

    def publish(one: OutboxPublisher) -> None:
        while not writing.is_set() or left(world):
            one.publish("bus", longest=LONGEST)

    kinds = [Happened.SESSION_ISSUED, Happened.INVITATION_SENT, Happened.JOB_HELD, Happened.JOB_FAILED]
    with ThreadPoolExecutor(len(publishers)) as threads:
        done = [threads.submit(publish, one) for one in publishers]
        for kind in kinds:
            happen(world, kind, *(f"C{number}" for number in range(12)))
        writing.set()
        for one in done:
            one.result(ENDS_WITHIN)
    assert set(Counter(event.event_id for event in published).values()) == {1}
    for number in range(12):
        assert [event.kind for event in published if event.customer_id == f"C{number}"] == [
            kind.value for kind in kinds
        ]


@pytest.mark.parametrize("make_on_both", ["postgresql"], indirect=True)  # SQLite has no connections to lose
async def test_a_publisher_that_lost_its_lock_with_its_connection_removes_nothing(world):
    happen(world, Happened.JOB_HELD, "A")
    published: list = []
    cut, other = FakeTarget(published), publisher(world, bus=FakeTarget(published))

    def lose_the_lock() -> None:
        ends = sa.text(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        second = Database(world.parts.settings.database.url)
        with second.write() as connection:
            connection.execute(ends)
        second.close()

    cut.before_answering = lose_the_lock
    with pytest.raises(sa.exc.OperationalError):
        publisher(world, bus=cut).publish("bus", longest=LONGEST)
    other.publish("bus", longest=LONGEST)
    assert len({event.event_id for event in published}) == 1
    assert len(published) == 2


async def test_a_stopping_process_publishes_nothing_more(world):
    happen(world, Happened.JOB_HELD, "A")
    bus = FakeTarget()
    ending = OutboxPublisher(world.parts.outbox_targets, {"bus": bus}, stopping=lambda: True)
    assert ending.publish("bus", longest=LONGEST) is False
    assert bus.chunks == []


async def test_a_publisher_whose_time_is_up_returns_that_more_is_due(world):
    happen(world, Happened.JOB_HELD, "A")
    assert publisher(world).publish("bus", longest=timedelta(0)) is True


async def test_wake_ups_for_unknown_targets_are_logged_once_without_their_names(world, caplog):
    publishes = publisher(world)
    assert not any(publishes.publish(f"quirin+{number}@example.com", longest=LONGEST) for number in range(2))
    assert caplog.text.count("a wake-up names an account") == 1
    assert "quirin" not in caplog.text


async def test_events_that_no_target_accepts_are_removed_after_their_time(world, clock):
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
async def test_a_target_that_no_process_publishes_to_for_minutes_is_named(world, clock):
    happen(world, Happened.SESSION_ISSUED, "A")  # the subscriber does not subscribe to it
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
async def test_a_paused_target_is_not_named_as_one_without_a_publisher(world, clock):
    happen(world, Happened.SESSION_ISSUED, "A")
    clock.advance(minutes=6)
    bus = FakeTarget()
    bus.down = UNREACHABLE
    publisher(world, bus=bus).publish("bus", longest=LONGEST)
    assert world.parts.outbox_targets.unpublished() == []


@pytest.mark.parametrize("make_on_both", ["postgresql"], indirect=True)
async def test_the_connection_goes_back_to_the_pool_as_it_was_and_no_other_is_made(world):
    made = []
    sa.event.listen(world.parts.database.engine, "connect", lambda *_: made.append(1))
    bus, seen = FakeTarget(), []
    session = sa.text(
        "SELECT current_setting('idle_session_timeout'), coalesce(current_setting('onboarding.tells', true), '')"
    )
    # Of this database: other tests of the same time hold such locks in theirs.
    locks = sa.text(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = :id"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )

    def settings():
        with world.parts.database.engine.connect() as connection:
            number = connection.execute(locks, {"id": relay.PUBLISHES}).scalar()
            return *connection.execute(session).one(), number

    bus.before_answering = lambda: seen.append(settings()[-1])
    events_out = publisher(world, bus=bus)
    for name in "ABC":
        happen(world, Happened.JOB_HELD, name)
        events_out.publish("bus", longest=LONGEST)
    assert (len(bus.published), seen) == (3, [1, 1, 1])
    assert settings() == ("0", "", 0)
    assert len(made) <= 2  # the second is the one that looked at the locks meanwhile


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
async def test_behind_a_pooler_that_shares_sessions_nothing_is_published_and_the_log_says_what_to_do(
    world, behind_a_pooler, caplog
):
    happen(world, Happened.JOB_HELD, "A")
    assert not relay.keeps_its_session(world.parts.database)
    bus = FakeTarget()
    events_out = publisher(world, bus=bus)
    for _ in range(3):
        assert events_out.publish("bus", longest=LONGEST) is False
    assert bus.published == []
    (message,) = caplog.messages
    assert message.startswith("nothing is published")
    assert "pool_mode = session" in message


@pytest.mark.parametrize("make_on_both", ["postgresql"], indirect=True)
async def test_a_session_that_is_found_to_be_shared_only_later_removes_nothing(world, behind_a_pooler):
    happen(world, Happened.JOB_HELD, "A")
    rule = world.parts.outbox_targets.policies["bus"].rule
    accepted = [row.id for row in world.rows(Outbox, target="bus")]
    now = world.clock()
    with (
        relay.publishing_lock(world.parts.database, "bus", silence=LONGEST) as publishing,
        pytest.raises(relay.SessionNotKept),
    ):
        publishing.settle(rule, accepted=accepted, later=[], lessons=[], most=1, due_at=now, now=now)
    assert len(left(world)) == 1


def needs(world) -> list[tuple[str, str]]:
    return [(one.name, one.reason) for one in world.parts.operation.report().attention if one.what == "target"]


async def test_a_target_that_accepts_nothing_needs_a_person_after_a_minute_until_it_accepts(world, clock):
    happen(world, Happened.JOB_HELD, "A", "B", "C", "D")
    crm = FakeTarget()
    crm.down = DOWN
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


async def test_of_a_target_without_an_event_that_waits_or_was_given_up_nothing_is_said(world, clock):
    happen(world, Happened.JOB_HELD, "A", "B", "C")
    crm = FakeTarget()
    crm.down = DOWN
    publisher(world, **{CRM: crm}).publish(CRM, longest=LONGEST)
    clock.advance(minutes=2)
    world.set(Outbox, Outbox.target == CRM, due_at=None)
    assert world.parts.operation.report().given_up == {CRM: 3}
    assert needs(world)[0][1].endswith("events that wait: 0; given up: 3")
    clock.advance(days=31)
    world.parts.outbox_targets.forget_unpublished(before=clock() - timedelta(days=30))
    assert world.parts.operation.report().given_up == {}
    assert needs(world) == []


async def test_the_status_counts_no_event_of_a_target_that_accepts_and_few_of_one_that_does_not(
    world, clock, monkeypatch
):
    monkeypatch.setattr(outbox_report, "MOST_COUNTED", 2)
    happen(world, Happened.JOB_HELD, "A", "B", "C", "D")
    with statements(world.parts.database) as sent:
        assert needs(world) == []
    assert not [one for one in sent if "outbox" in one and "due_at IS NOT NULL" in one]
    crm = FakeTarget()
    crm.down = DOWN
    publisher(world, **{CRM: crm}).publish(CRM, longest=LONGEST)
    clock.advance(minutes=2)
    assert "events that wait: more than 2; given up: 0" in needs(world)[0][1]
