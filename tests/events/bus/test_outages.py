"""The database or the broker cannot be reached: no event is lost or refused, and work goes on by itself."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from amqp.exceptions import ConnectionForced

from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.events.bus import consumer
from onboarding_worker.events.bus.consumer import LogInRefused
from onboarding_worker.events.bus.sources import events_of
from onboarding_worker.runtime.bus_consumers import link_to
from tests.desk.relay import relay_to
from tests.events.bus.brokers import a_bus, broker_of, requested
from tests.events.bus.consuming import FakeInbox, consuming
from tests.suite.waiting import ENDS_WITHIN, wait_until
from trials.servers import Missing, RabbitMq, Redis, rabbitmq_program

REFUSED = "the broker refuses this process (it refuses the user or the password)"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """It tries again, and looks at the database, twenty times as often."""
    monkeypatch.setattr(consumer, "AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(consumer, "LOOK_SECONDS", 0.25)


def taken(inbox: FakeInbox) -> set[str]:
    """The ids of the events that it took, however often the broker delivered them: it may again when it is back."""
    return {id_ for _, id_ in inbox.taken}


def logged(caplog: Any, words: str) -> int:
    return sum(words in message for message in caplog.messages)


def test_events_stay_in_the_broker_while_the_database_is_away(make_broker: Any, bus_url: str):
    broker = make_broker(bus_url)
    inbox = FakeInbox()
    with consuming(replace(events_of(broker.bus), prefetch=5), inbox):
        broker.publish(requested(id="first"))
        wait_until(lambda: inbox.seen == 1, "it takes events")
        inbox.away = True
        broker.publish(*(requested(id=str(n)) for n in range(12)))
        wait_until(lambda: inbox.tries >= 4, "it tries again and again")
        assert broker.waiting() >= 7  # at most a prefetch is held
        inbox.away = False
        wait_until(lambda: inbox.seen == 13, "it goes on by itself")
        assert broker.dead() == []
    assert len(inbox.taken) == inbox.seen == 13


def test_the_queues_of_a_process_log_an_outage_of_the_database_once(make_broker: Any, bus_url: str, caplog: Any):
    buses = [make_broker(bus_url).bus for _ in range(3)]
    inbox, outage = FakeInbox(), Outage(logging.getLogger("onboarding_worker.events.bus"))
    with ExitStack() as stack:
        for bus in buses:
            stack.enter_context(consuming(bus, inbox, database=outage))
        wait_until(lambda: logged(caplog, "takes events from the queue") == len(buses), "all take events")
        inbox.away = True
        broker_of(buses[0]).publish(requested(id="first"))
        wait_until(lambda: inbox.tries >= 2, "one meets it with an event")
        late = make_broker(bus_url).bus
        stack.enter_context(consuming(late, inbox, database=outage))
        tries = inbox.tries
        wait_until(lambda: inbox.tries >= tries + 3, "another meets it at its start")
        assert logged(caplog, "the database cannot be used") == 1
        inbox.away = False
        wait_until(lambda: logged(caplog, "takes events from the queue") == len(buses) + 1, "both go on")
        wait_until(lambda: logged(caplog, "the database is back") == 1, "it says so")
    assert logged(caplog, "the database is back") == 1


def test_a_refused_message_stays_in_the_broker_while_it_cannot_be_stored(broker: Any, inbox: FakeInbox):
    inbox.full = True
    broker.publish(b"no event", requested(id="good"))
    with consuming(broker.bus, inbox):
        wait_until(lambda: inbox.tries >= 4, "it tries again and again")
        assert broker.dead() == []
    wait_until(lambda: broker.waiting() == 2, "neither was acknowledged")
    inbox.full = False
    with consuming(broker.bus, inbox):
        wait_until(lambda: len(broker.dead()) == 1, "it is refused")
        wait_until(lambda: (broker.waiting(), broker.held()) == (0, 0), "nothing is left")
    assert [message.size for message in inbox.refused.values()] == [len(b"no event")]
    assert len(inbox.taken) == 1


def test_a_refused_message_that_meets_a_bug_is_kept_without_its_content(broker: Any):
    class Buggy(FakeInbox):
        def keep(self, refused: Any) -> Any:
            if any(message.content is not None for message in refused):
                raise ZeroDivisionError("with somebody's name in it")
            return super().keep(refused)

    inbox = Buggy()
    broker.publish(b"no event")
    with consuming(broker.bus, inbox):
        wait_until(lambda: len(broker.dead()) == 1, "it is refused")
    assert [message.content for message in inbox.refused.values()] == [None]


def test_a_database_that_is_away_at_the_start_is_waited_for(broker: Any, caplog: Any):
    inbox = FakeInbox(away=True)
    broker.publish(requested())
    with consuming(broker.bus, inbox):
        wait_until(lambda: logged(caplog, "bus idle, events stay in the broker") == 1, "it says so")
        assert broker.waiting() == 1
        inbox.away = False
        wait_until(lambda: inbox.seen == 1, "it begins by itself")


def test_an_end_while_the_database_is_away_leaves_the_events(broker: Any):
    inbox = FakeInbox()
    with consuming(broker.bus, inbox):
        broker.publish(requested(id="first"))
        wait_until(lambda: inbox.seen == 1, "it takes events")
        inbox.away = True
        broker.publish(*(requested(id=str(n)) for n in range(3)))
        wait_until(lambda: inbox.tries >= 2, "it tries")
    wait_until(lambda: broker.waiting() == 3, "they are there, and no consumer holds them")


@pytest.fixture
def own_server(kind: str, tmp_path: Path) -> Iterator[Any]:
    """A broker of the test's own, that may be stopped."""
    try:
        rabbitmq_program() if kind == "amqp" else None
        if kind == "redis" and shutil.which("redis-server") is None:
            raise Missing("redis-server is not installed")
    except Missing as error:
        (pytest.fail if os.environ.get("REQUIRE_SERVICES") == "1" else pytest.skip)(str(error))
    with (RabbitMq if kind == "amqp" else Redis)(tmp_path) as server:
        yield server


@pytest.mark.parametrize("kind", ["redis", pytest.param("amqp", marks=pytest.mark.long)], indirect=True)
def test_a_broker_that_restarts_is_come_back_to(own_server: Any, make_broker: Callable[..., Any], inbox: FakeInbox):
    broker = make_broker(own_server.url)
    with consuming(broker.bus, inbox):
        broker.publish(requested(id="before"))
        wait_until(lambda: taken(inbox) == {"before"}, "it takes events")
        own_server.stop(patience=5)
        own_server.start()
        broker.publish(requested(id="after"))
        wait_until(lambda: taken(inbox) == {"before", "after"}, "it takes events again")


@pytest.mark.parametrize("kind", ["amqp"], indirect=True)
def test_a_broker_that_cannot_be_reached_for_a_while_is_come_back_to(
    broker: Any, inbox: FakeInbox, bus_url: str, caplog: Any
):
    relay, url = relay_to(bus_url)
    with consuming(a_bus(url, queue=broker.bus.queue), inbox):
        broker.publish(requested(id="before"))
        wait_until(lambda: taken(inbox) == {"before"}, "it takes events")
        relay.close()
        broker.publish(requested(id="after"))
        wait_until(lambda: logged(caplog, "the broker cannot be reached") == 1, "it says so")
        relay.listen()
        wait_until(lambda: taken(inbox) == {"before", "after"}, "it takes events again")
    assert logged(caplog, "the broker is back: taking events") == 1
    relay.close()


@pytest.mark.parametrize("kind", ["amqp"], indirect=True)
def test_a_broker_that_says_that_it_ends_is_come_back_to(broker: Any, inbox: FakeInbox, caplog: Any):
    """RabbitMQ says it to each client before it ends."""
    source, said = events_of(broker.bus), iter([ConnectionForced("shutdown")])

    def connect(most: int, warn: Callable[[str], None]) -> Any:
        for error in said:
            raise error
        return link_to(source, most, warn)

    broker.publish(requested())
    with consuming(source, inbox, connect):
        wait_until(lambda: len(inbox.taken) == 1, "it takes events")
    assert logged(caplog, "the broker cannot be reached (ConnectionForced): events stay in") == 1


def test_a_log_in_that_is_refused_at_the_start_ends_it(amqp_url: str, make_broker: Any, inbox: FakeInbox):
    broker = make_broker("amqp://nobody:known@" + amqp_url.rpartition("@")[2], declared=False)
    with pytest.raises(LogInRefused) as refused, consuming(broker.bus, inbox) as running:
        running.thread.join(ENDS_WITHIN)
    assert str(refused.value) == f"{REFUSED}: check bus.url"
