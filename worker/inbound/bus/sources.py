"""The queues that events come from: that of the bus, and `requests`, which Celery tasks of other projects go to."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from worker.domain.events.cloudevents import Unreadable
from worker.domain.events.incoming import Event, EventKind
from worker.foundation.tls import Tls
from worker.inbound.bus.messages import Message, event_in
from worker.inbound.bus.task_messages import event_in_task
from worker.inbound.bus.topology import Topology, topology_of
from worker.settings import Settings
from worker.settings.outside import Bus

REQUESTS = "requests"
PREFETCH = 200


@dataclass(frozen=True, repr=False)
class Source:
    """A queue of events, its broker, and how its messages are read. The URL may hold a password, so no repr."""

    topology: Topology
    url: str
    setting: str  # the setting with the URL, for messages
    read: Callable[[Message], Event | Unreadable]
    declare: bool = True
    prefetch: int = PREFETCH
    tls: Tls | None = None

    def event_in(self, message: Message) -> Event | Unreadable:
        """The event in a message, with this queue as its actor: every user who may publish to it may send events."""
        found = self.read(message)
        return replace(found, actor=f"queue {self.topology.queue}") if isinstance(found, Event) else found


def events_of(bus: Bus) -> Source:
    """The queue of the bus."""
    read = partial(event_in, plain=EventKind(bus.plain) if bus.plain else None)
    return Source(topology_of(bus), bus.url, "bus.url", read, bus.declare, bus.prefetch, bus.protection)


def requests_at(broker_url: str, tls: Tls | None = None) -> Source:
    """The queue of requests that are sent as Celery tasks, on the workers' broker."""
    # Not "#": a producer on Redis that declares nothing takes the exchange for a direct one.
    topology = Topology(REQUESTS, REQUESTS, broker_url.startswith("amqp"), key=REQUESTS)
    return Source(topology, broker_url, "broker.url", event_in_task, tls=tls)


def sources_of(settings: Settings) -> list[Source]:
    """The queues of this configuration. Without a broker there are no requests: no other process reaches memory://."""
    found = [events_of(settings.bus)] if settings.bus is not None else []
    if not settings.broker.url.startswith("memory"):
        found.append(requests_at(settings.broker.url, settings.broker.protection))
    return found
