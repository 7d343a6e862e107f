"""One process publishes to a target at a time: its lock lasts as long as its session of the database."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.tables import Outbox
from onboarding_worker.events.cloudevents import Happened
from onboarding_worker.features.outbox.outbox_publisher import OutboxPublisher
from onboarding_worker.features.outbox.store import relay
from tests.features.outbox.publishing.targets import LONGEST, FakeTarget, happen, left, publisher, targets_of
from tests.simulated.pooler import sharing_sessions
from tests.simulated.world import World
from tests.suite.waiting import ENDS_WITHIN


@pytest.mark.both_databases
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


@pytest.mark.postgresql_alone  # on SQLite there is one process
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


@pytest.mark.postgresql_alone  # SQLite has no connections to lose
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


@pytest.mark.postgresql_alone
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


@pytest.mark.postgresql_alone
async def test_behind_a_pooler_that_shares_sessions_nothing_is_published_and_it_is_said_once(
    world, behind_a_pooler, caplog
):
    happen(world, Happened.JOB_HELD, "A")
    assert not relay.keeps_its_session(world.parts.database)
    bus = FakeTarget()
    events_out = publisher(world, bus=bus)
    for _ in range(3):
        assert events_out.publish("bus", longest=LONGEST) is False
    assert bus.published == []
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.postgresql_alone
async def test_a_session_that_is_found_to_be_shared_only_later_removes_nothing(world, behind_a_pooler):
    happen(world, Happened.JOB_HELD, "A")
    rule = targets_of(world).rules["bus"]
    accepted = [row.id for row in world.rows(Outbox, target="bus")]
    now = world.clock()
    with (
        relay.publishing_lock(world.parts.database, "bus", silence=LONGEST) as publishing,
        pytest.raises(relay.SessionNotKept),
    ):
        relay.settle(publishing, rule, accepted=accepted, later=[], call_outcomes=[], most=1, due_at=now, now=now)
    assert len(left(world)) == 1
