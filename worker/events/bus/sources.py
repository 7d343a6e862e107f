"""The queues that events come from, that of the bus, and `requests`, which Celery tasks of other projects go to: their
names, how they are declared, and how existing ones are checked; and who sent a message: the user that RabbitMQ vouches
for, else the sender that the queue belongs to.

    exchange (topic) ─key─▶ queue ──┬─ refused: a notice ─▶ dead exchange ──#──▶ dead queue
                                    └─ delivered too often ─▶ undelivered queue: refused unread

An exchange has the name of the queue after it. The dead queue has notices, without personal data: refused messages are
in the database. RabbitMQ can only move a message as it is, so what it has delivered too often has a queue of its own,
which is consumed like the other.

On Redis a queue is a stream with a consumer group. Tasks of other projects come in a list of kombu's, and are moved
into the stream next to it.

RabbitMQ compares the property `user_id` with the login of the connection that publishes, but only if the property is
set. On Redis any producer may write it, so there it says nothing.

A refused message is put back with our login, and RabbitMQ would not take another user's name with it. So a message
whose user was known keeps the sender's name in a header, with a keyed digest of the message that only we can make.
"""

import hmac
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import redis
from amqp.exceptions import AccessRefused, NotFound, PreconditionFailed
from kombu.entity import Exchange, Queue

from onboarding_worker.core.foundation.tls import Tls
from onboarding_worker.core.model.incoming import OPERATOR, Event, EventKind, EventSender
from onboarding_worker.events.brokers.connection import NEVER, states_of
from onboarding_worker.events.bus.dead_lettering import SENDER, message_id
from onboarding_worker.events.bus.messages import Entry, event_in, event_in_task, traceparent_of
from onboarding_worker.events.cloudevents import Unreadable
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.outside import REQUESTS, Bus, SenderOfEvents

# A message that was delivered so often and never settled goes to the dead queue: it may be what kills consumers.
DELIVERY_LIMIT = 20
OLDEST_REDIS = (6, 2)  # XAUTOCLAIM
GROUP = "onboarding"  # the consumers of a stream
# Notices only tell of refused messages: the newest are enough, and for as long as an operator may still look at them.
MOST_NOTICES = 10_000
NOTICES_KEPT = 14 * 24 * 3600 * 1000  # milliseconds


class Unfit(Exception):
    """The bus does not fit. The text names what is missing or differs, and what to do."""


@dataclass(frozen=True)
class Topology:
    """The names of one queue of events, and the arguments of its queues on RabbitMQ."""

    queue: str
    on_amqp: bool
    key: str = "#"  # what of its exchange goes to the queue: "#" is everything
    is_list: bool = False  # Redis only: kombu's producers push to a list of this name

    @property
    def stream(self) -> str:
        """Redis only: the stream that is read."""
        return f"{self.queue}.stream" if self.is_list else self.queue

    @property
    def dead(self) -> str:
        """The dead queue, and on RabbitMQ the exchange before it."""
        return f"{self.queue}.dead"

    @property
    def undelivered(self) -> str:
        """RabbitMQ only: the queue of messages that were delivered again and again, and never settled."""
        return f"{self.queue}.undelivered"

    @property
    def amqp_queues(self) -> dict[str, dict[str, Any]]:
        """RabbitMQ only: its queues, each with its arguments."""
        notices = {
            "x-queue-type": "quorum",
            "x-delivery-limit": NEVER,
            "x-message-ttl": NOTICES_KEPT,
            "x-max-length": MOST_NOTICES,
        }
        # What kills consumers here too, which do not read the undelivered queue, ends in the dead queue as it is.
        return {self.queue: _moving(self.undelivered), self.undelivered: _moving(self.dead), self.dead: notices}


def _moving(to: str) -> dict[str, Any]:
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": to,
        # Without this a message is lost when the other queue cannot take it at that moment.
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def prepare_amqp(connection: Any, topology: Topology, *, declare: bool, warn: Callable[[str], None]) -> None:
    """Declare what is missing, or without `declare` check that all exists; `warn` is called where a queue differs from
    what `declare` would make. Raises Unfit."""
    if not declare:
        _check_amqp(connection, topology, warn)
        return
    queues = topology.amqp_queues
    _declare_queue(connection, topology.dead, queues[topology.dead], exchange=topology.dead, key="#")
    _declare_queue(connection, topology.undelivered, queues[topology.undelivered])
    _declare_queue(connection, topology.queue, queues[topology.queue], exchange=topology.queue, key=topology.key)


def prepare_redis(client: Any, topology: Topology, *, declare: bool) -> None:
    """Make the stream and its group, or without `declare` check that they are there. Raises Unfit."""
    version = str(client.info("server").get("redis_version", "0"))
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST_REDIS:
        raise Unfit(f"bus: Redis {version} is too old; it needs {'.'.join(map(str, OLDEST_REDIS))}")
    if not declare:
        if not client.exists(topology.stream) or GROUP.encode() not in _groups(client, topology.stream):
            raise Unfit(
                f"bus: Redis lacks the stream {topology.stream} with the group {GROUP}, and bus.declare is false:"
                f" `XGROUP CREATE {topology.stream} {GROUP} 0 MKSTREAM`, or set bus.declare = true"
            )
        return
    with suppress(redis.ResponseError):  # it is there
        client.xgroup_create(topology.stream, GROUP, id="0", mkstream=True)
    _groups(client, topology.stream)


def _groups(client: Any, stream: str) -> list[bytes]:
    try:
        return [group["name"] for group in client.xinfo_groups(stream)]
    except redis.ResponseError:
        raise Unfit(f"bus: the key {stream} of Redis is no stream: delete it, or name another in [bus]") from None


def _declare_queue(connection: Any, name: str, arguments: dict[str, Any], *, exchange: str = "", key: str = "") -> None:
    """Declare a queue. With an exchange, declare that first, and bind the queue to it."""
    topic = Exchange(exchange, type="topic", durable=True)
    if exchange:
        with _explained("exchange", exchange), connection.channel() as channel:
            topic.bind(channel).declare()
    queue = Queue(name, topic, routing_key=key, durable=True, queue_arguments=arguments)
    with _explained("queue", name), connection.channel() as channel:
        queue.bind(channel).queue_declare()
        if exchange:
            queue.bind(channel).queue_bind()


def _check_amqp(connection: Any, topology: Topology, warn: Callable[[str], None]) -> None:
    # Producers may publish to any exchange from which the queue gets its messages. Notices go to this one.
    missing = [f"the exchange {topology.dead}"]
    with suppress(NotFound), connection.channel() as channel:
        Exchange(topology.dead).bind(channel).declare(passive=True)
        missing = []
    queues = states_of(connection, topology.amqp_queues, on_amqp=True)
    missing += [f"the queue {queue.name}" for queue in queues if not queue.is_there]
    if missing:
        raise Unfit(
            f"bus: RabbitMQ lacks {', '.join(missing)}, and bus.declare is false:"
            " declare them as docs/reference/bus.md says, or set bus.declare = true"
        )
    for name, arguments in topology.amqp_queues.items():
        # The queue exists, so this declares nothing. A user without the configure right learns of no differences.
        try:
            with connection.channel() as channel:
                Queue(name, durable=True, queue_arguments=arguments).bind(channel).queue_declare()
        except PreconditionFailed as error:
            warn(f"bus: the queue {name} differs from docs/reference/bus.md{_where(error)}; it is used as it is")
        except AccessRefused:
            pass


@contextmanager
def _explained(what: str, name: str) -> Iterator[None]:
    try:
        yield
    except PreconditionFailed as error:
        raise Unfit(
            f"bus: the {what} {name} exists and differs{_where(error)}. RabbitMQ cannot change it: delete it"
            " once it is empty, name another in [bus], or set bus.declare = false to use it as it is"
        ) from None
    except AccessRefused:
        raise Unfit(
            f"bus: RabbitMQ does not let this user declare the {what} {name}:"
            " let it configure, or declare by hand and set bus.declare = false"
        ) from None


def _where(error: PreconditionFailed) -> str:
    found = re.search(r"inequivalent arg '([\w-]+)'", str(error))
    return f" ({found[1]})" if found else ""


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
    `of_queue`: the sender of messages without a user; None: such messages are refused."""

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
    topology = Topology(bus.queue, bus.url.startswith("amqp"))
    return Source(topology, bus.url, "bus.url", read, bus.declare, tls=bus.protection)


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
    """The queues to consume: those whose messages can have a sender. What is open, and what is left out, is logged. On
    RabbitMQ each has another next to it."""
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
