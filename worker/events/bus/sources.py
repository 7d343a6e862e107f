"""The queues that events come from: that of the bus, and `requests`, which Celery tasks of other projects go to."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from worker.core.foundation.tls import Tls
from worker.core.model.incoming import Event, EventKind
from worker.events.bus.messages import Message, event_in, traceparent_of
from worker.events.bus.queue_senders import Digests, QueueSenders, senders_of_queue
from worker.events.bus.task_messages import event_in_task
from worker.events.bus.topology import Topology, topology_of
from worker.events.cloudevents import Unreadable
from worker.settings.event_senders import REQUESTS
from worker.settings.model import Settings
from worker.settings.outside import Bus

log = logging.getLogger(__name__)

PREFETCH = 200  # events that are read from the broker at once and committed together
NEVER_SETTLED = "it was delivered again and again, and never settled"


@dataclass(frozen=True, repr=False)
class Source:
    """A queue of events, its broker, and how its messages are read. The URL may hold a password, so no repr.

    `undelivered`: this is the queue next to it, of messages that RabbitMQ gave up delivering.
    """

    topology: Topology
    url: str
    setting: str  # the setting with the URL, for messages
    read: Callable[[Message], Event | Unreadable]
    declare: bool = True
    prefetch: int = PREFETCH
    tls: Tls | None = None
    senders: QueueSenders = field(default_factory=QueueSenders)
    undelivered: bool = False

    @property
    def consumed(self) -> str:
        """The queue that is consumed."""
        return self.topology.undelivered if self.undelivered else self.topology.queue

    def event_in(self, message: Message, digests: Digests) -> Event | Unreadable:
        """A message's event, with its sender, and for the audit log the sender's name or this queue's. Never raises."""
        if self.undelivered:
            return Unreadable(NEVER_SETTLED)  # not read: reading it may be what ended consumers
        sender = self.senders.of(message, digests)
        if isinstance(sender, Unreadable):
            return sender
        event = self.read(message)
        if isinstance(event, Unreadable):
            return event
        actor = sender.name or f"queue {self.topology.queue}"
        # The event's own comes first: it is of the event, however many queues it has gone through.
        trace = event.traceparent or traceparent_of(message)
        return replace(event, sender=sender, actor=actor, traceparent=trace)


def events_of(bus: Bus) -> Source:
    """The queue of the bus, without the senders of a configuration."""
    read = partial(event_in, plain=EventKind(bus.plain) if bus.plain else None)
    return Source(topology_of(bus), bus.url, "bus.url", read, bus.declare, tls=bus.protection)


def requests_at(broker_url: str, tls: Tls | None = None, *, declare: bool = True) -> Source:
    """The queue of requests that are sent as Celery tasks, on the workers' broker, without senders."""
    on_amqp = broker_url.startswith("amqp")
    topology = Topology(REQUESTS, on_amqp, key=REQUESTS, is_list=not on_amqp)
    return Source(topology, broker_url, "broker.url", event_in_task, declare, tls=tls)


def sources_of(settings: Settings) -> list[Source]:
    """The queues of this configuration. Without a broker there are no requests: no other process reaches memory://."""
    found = [events_of(settings.bus)] if settings.bus is not None else []
    if settings.broker.wakes_workers:
        declare = settings.bus is None or settings.bus.declare
        found.append(requests_at(settings.broker.url, settings.broker.protection, declare=declare))
    return [_with_senders(source, settings) for source in found]


def sources_with_senders(settings: Settings) -> list[Source]:
    """The queues to consume: those whose messages can have a sender. What is open, and what is left out, is logged.

    On RabbitMQ each has another next to it.
    """
    found = sources_of(settings)
    for source in found:
        if source.senders.is_open:
            log.warning(
                "[web.senders] names no sender: each producer that can publish to the queue %s may do everything",
                source.topology.queue,
            )
        elif not source.senders.has_any:
            log.warning("the queue %s is not consumed: no sender in [web.senders] has it", source.topology.queue)
    kept = [source for source in found if source.senders.has_any]
    return [*kept, *(replace(source, undelivered=True) for source in kept if source.topology.on_amqp)]


def _with_senders(source: Source, settings: Settings) -> Source:
    topology = source.topology
    return replace(source, senders=senders_of_queue(settings.web.senders, topology.queue, on_amqp=topology.on_amqp))
