"""The queues that events come from: that of the bus, and `requests`, which Celery tasks of other projects go to; and
who sent a message: the user that RabbitMQ vouches for, else the sender that the queue belongs to.

RabbitMQ compares the property `user_id` with the login of the connection that publishes, but only if the property is
set. On Redis any producer may write it, so there it says nothing.

A refused message is put back with our login, and RabbitMQ would not take another user's name with it. So a message
whose user was known keeps the sender's name in a header, with a keyed digest of the message that only we can make.
"""

import hmac
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from worker.core.foundation.tls import Tls
from worker.core.model.incoming import OPERATOR, Event, EventKind, EventSender
from worker.events.bus.dead_lettering import SENDER, message_id
from worker.events.bus.messages import Entry, event_in, event_in_task, traceparent_of
from worker.events.bus.topology import Topology, topology_of
from worker.events.cloudevents import Unreadable
from worker.settings.model import Settings
from worker.settings.outside import REQUESTS, Bus, SenderOfEvents

UNKNOWN_USER = "its user_id is of no sender in [web.senders]"
NO_USER = "it has no user_id, and no sender in [web.senders] has this queue"
NO_PROOF = "it was put back, and which sender it is from can no longer be proved: its sender must send it again"

PURPOSE = "sender of a message"
Digests = Callable[[str, str], tuple[str, ...]]  # `Keyring.digests`

log = logging.getLogger(__name__)

PREFETCH = 200  # events that are read from the broker at once and committed together
NEVER_SETTLED = "it was delivered again and again, and never settled"


@dataclass(frozen=True)
class QueueSenders:
    """The senders of one queue. Without any sender in the configuration, all messages are this installation's own.

    `of_queue`: the sender of messages without a user; None: such messages are refused.
    """

    queue: str = ""
    by_user: Mapping[str, EventSender] = field(default_factory=dict)
    of_queue: EventSender | None = OPERATOR

    @property
    def is_open(self) -> bool:
        """True if each producer of the queue may do everything: the configuration names no sender."""
        return self.of_queue is OPERATOR

    @property
    def has_any(self) -> bool:
        """False if every message would be refused."""
        return bool(self.by_user) or self.of_queue is not None

    def of(self, message: Entry, digests: Digests) -> EventSender | Unreadable:
        """The sender of a message; or why it has none."""
        if self.is_open:
            return OPERATOR
        if self.by_user and (user := message.properties.get("user_id")):
            return self.by_user.get(user if isinstance(user, str) else "") or Unreadable(UNKNOWN_USER)
        if self.by_user and SENDER in message.headers:
            return self._vouched(message, digests)
        return self.of_queue or Unreadable(NO_USER)

    def vouch(self, message: Entry, digests: Digests) -> dict[str, str]:
        """The header that names the sender of a message whose user is known, for when it is put back."""
        user = message.properties.get("user_id")
        if not self.by_user or not user:
            return {}
        sender = self.by_user.get(user) if isinstance(user, str) else None
        if sender is None:
            return {SENDER: ""}  # put back, it must not become the queue's sender's
        return {SENDER: f"{sender.name} {digests(PURPOSE, self._identity(sender, message))[0]}"}

    def _vouched(self, message: Entry, digests: Digests) -> EventSender | Unreadable:
        name, _, digest = str(message.headers[SENDER]).partition(" ")
        sender = next((one for one in self.by_user.values() if one.name == name), None)
        if sender is None or not digest.isascii():
            return Unreadable(NO_PROOF)
        # A list: all are compared.
        fits = [hmac.compare_digest(digest, one) for one in digests(PURPOSE, self._identity(sender, message))]
        return sender if any(fits) else Unreadable(NO_PROOF)

    def _identity(self, sender: EventSender, message: Entry) -> str:
        return json.dumps([self.queue, sender.name, message_id(message)])


def senders_of_queue(senders: Mapping[str, SenderOfEvents], queue: str, *, on_amqp: bool) -> QueueSenders:
    """The senders of this queue, by the configuration."""
    if not senders:
        return QueueSenders(queue)
    by_user = {user: sender.rights(name) for name, sender in senders.items() for user in sender.users if on_amqp}
    of_queue = next((sender.rights(name) for name, sender in senders.items() if queue in sender.queues), None)
    return QueueSenders(queue, by_user, of_queue)


@dataclass(frozen=True, repr=False)
class Source:
    """A queue of events, its broker, and how its messages are read. The URL may hold a password, so no repr.

    `undelivered`: this is the queue next to it, of messages that RabbitMQ gave up delivering. `columns`: our names by
    the list's own.
    """

    topology: Topology
    url: str
    setting: str  # the setting with the URL, for messages
    read: Callable[[Entry], Event | Unreadable]
    declare: bool = True
    prefetch: int = PREFETCH
    tls: Tls | None = None
    senders: QueueSenders = field(default_factory=QueueSenders)
    undelivered: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def consumed(self) -> str:
        """The queue that is consumed."""
        return self.topology.undelivered if self.undelivered else self.topology.queue

    def event_in(self, message: Entry, digests: Digests) -> Event | Unreadable:
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
    senders = settings.web.senders
    return [
        replace(
            one,
            senders=senders_of_queue(senders, one.topology.queue, on_amqp=one.topology.on_amqp),
            columns=settings.import_.mapping,
        )
        for one in found
    ]


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
