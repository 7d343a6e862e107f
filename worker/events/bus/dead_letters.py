"""Puts refused messages back into their queues, for a person, and removes their notices from the dead queue.

RabbitMQ cannot show a message without delivering it: the notices that are looked at are held, and go back in their
order when the connection ends, however it ends. Meanwhile no other client sees them. A stream can simply be read.

What a person is shown of a message is its shape: its keys, and of each value the kind and size.
"""

import re
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from kombu.entity import Queue

from onboarding_worker.core.database.audit_entries import note_alone
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.connection_failures import in_words
from onboarding_worker.core.foundation.tls import Tls
from onboarding_worker.events.brokers.connection import OUTAGES, connected, redis_client, states_of
from onboarding_worker.events.bus.dead_lettering import NOTICE_ID, event_object, live_headers, message_in, publish
from onboarding_worker.events.bus.messages import ENVELOPE, Entry, enveloped, fields_of
from onboarding_worker.events.bus.sources import MOST_NOTICES, Topology, sources_of
from onboarding_worker.events.store.refused_events import KeptMessage, NotPutBack, PutBack, RefusedEvents, dead_queue_of
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.problems import SettingsError

MOST_ITEMS = 50
# A key that looks like the name of a field. A key that holds a person's data does not.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,39}(?:[_.:-][A-Za-z][A-Za-z0-9]{0,39}){0,5}")

# How long to wait until RabbitMQ has the notices back; another client may have taken some meanwhile.
GIVEN_BACK_TRIES, GIVEN_BACK_SECONDS = 100, 0.02
_MEDIA = re.compile(r"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,60}")


def shape_of(value: Any) -> Any:
    """The shape, as JSON values: objects and lists keep their form."""
    match value:
        case dict():
            shown = {_name(key): shape_of(inner) for key, inner in list(value.items())[:MOST_ITEMS]}
            return shown | ({"…": f"{len(value) - MOST_ITEMS:,} more"} if len(value) > MOST_ITEMS else {})
        case list():
            shown_items = [shape_of(inner) for inner in value[:MOST_ITEMS]]
            return shown_items + ([f"{len(value) - MOST_ITEMS:,} more"] if len(value) > MOST_ITEMS else [])
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return f"a text of {len(value):,}"
        case bytes():
            return f"{len(value):,} bytes"
    return type(value).__name__


def _name(key: Any) -> str:
    text = str(key)
    return text if _NAME.fullmatch(text) else f"a key of {len(text):,}"


def shown(message: Entry) -> dict[str, Any]:
    """The shape of the message: keys, and of values the kind and size."""
    body = event_object(message)
    media = str(message.content_type or "").partition(";")[0].strip().lower()
    return {
        "content_type": media if _MEDIA.fullmatch(media) else "",
        "headers": shape_of(live_headers(message.headers)),
        "body": f"{len(message.body):,} bytes that are no JSON object" if body is None else shape_of(body),
    }


class AmqpDead:
    def __init__(self, connection: Any, topology: Topology) -> None:
        self._connection = connection
        self._topology = topology
        self._held = 0

    def put_back(self, message: Entry) -> None:
        """Put a message into the queue that it came from. Returns when the broker has it."""
        with self._connection.channel() as publisher:
            publish(publisher, message, exchange="", key=self._topology.queue)

    def forget(self, ids: Collection[UUID]) -> int:
        """Remove one notice of each of these messages from the dead queue. Returns how many were found."""
        left, went = {str(one) for one in ids}, 0
        with self._channel() as channel:
            for message in self._delivered(channel):
                if (named := str(message.headers.get(NOTICE_ID))) in left:
                    message.ack()
                    left.remove(named)
                    self._held -= 1
                    went += 1
                if not left:
                    break
        return went

    def _count(self) -> int:
        """None are waiting where the queue is not there: it is made with the first consumer."""
        return states_of(self._connection, [self._topology.dead], on_amqp=True)[0].waiting

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        """A channel whose unacknowledged notices go back in their order when it closes.

        Given back one by one, or by a recover, they would come to the queue's other end. RabbitMQ gives them back a
        little after the channel is closed. A client that looks before that finds only the rest, and changes the
        order. So this waits until they are back.
        """
        self._held = 0
        with self._connection.channel() as channel:
            yield channel
            there = self._count() + self._held
        for _ in range(GIVEN_BACK_TRIES):
            if self._count() >= there:
                return
            time.sleep(GIVEN_BACK_SECONDS)

    def _delivered(self, channel: Any) -> Iterator[Any]:
        queue = Queue(self._topology.dead).bind(channel)
        for _ in range(min(self._count(), MOST_NOTICES)):
            message = queue.get(no_ack=False, accept=[])
            if message is None:
                return
            self._held += 1
            yield message


class RedisDead:
    """The dead queue on Redis: a stream."""

    def __init__(self, client: Any, topology: Topology) -> None:
        self._client = client
        self._topology = topology

    def put_back(self, message: Entry) -> None:
        fields = {ENVELOPE: enveloped(message)} if self._topology.is_list else fields_of(message)
        self._client.xadd(self._topology.stream, fields)

    def forget(self, ids: Collection[UUID]) -> int:
        left, went = {str(one).encode() for one in ids}, 0
        for entry, fields in self._client.xrange(self._topology.dead, count=MOST_NOTICES) if left else ():
            if (named := fields.get(b"id")) in left:
                left.remove(named)
                went += int(self._client.xdel(self._topology.dead, entry))
        return went


DeadQueue = AmqpDead | RedisDead


@contextmanager
def dead_queue(topology: Topology, url: str, *, tls: Tls | None = None) -> Iterator[DeadQueue]:
    """The dead queue, to put messages back from it. Raises the broker's own exceptions (`connection.OUTAGES`)."""
    if topology.on_amqp:
        with connected(url, tls=tls) as connection:
            yield AmqpDead(connection, topology)
    else:
        with redis_client(url, tls) as client:
            client.ping()
            yield RedisDead(client, topology)


NO_QUEUES = (
    "this configuration has no queue of refused events: neither [bus] (events of other systems) nor a [broker]"
    " other than memory:// (requests sent as tasks)"
)


def put_back(
    settings: Settings,
    database: Database,
    refused: RefusedEvents,
    one: KeptMessage | None,
    *,
    now: datetime,
    until: datetime | None = None,
) -> PutBack:
    """Put a message back, or all that were refused until then; without it until `now`, the database's time. Blocking.
    Raises NotPutBack.

    The audit log has an entry before the first goes. No message is lost, whatever happens meanwhile; one that is there
    twice is processed once.
    """
    count = 1 if one else sum(refused.totals().values())
    which = f"dead event {one.id}" if one else "dead events"
    note_alone(database, which, now=now, count=count, reason="to be put back")
    went: dict[str, list[UUID]] = {}
    missed: dict[str, str] = {}
    not_kept = 0
    with _opened(settings) as (queues, unreachable):
        for message in [one] if one else refused.all_until(until or now):
            dead = dead_queue_of(message.queue)
            if message.content is None:
                not_kept += 1
            elif dead in queues:
                queues[dead].put_back(message_in(message.content))
                refused.remove(message)
                went.setdefault(dead, []).append(message.id)
            else:
                missed[dead] = unreachable.get(dead, "this configuration does not name its queue")
        for dead, ids in went.items():
            queues[dead].forget(ids)
    return PutBack({dead: len(ids) for dead, ids in went.items()}, not_kept, missed)


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[dict[str, DeadQueue], dict[str, str]]]:
    """The queues of refused messages by name, and why others cannot be reached. Raises NotPutBack if none can, or a
    broker is lost meanwhile."""
    try:
        sources = [source for source in sources_of(settings) if not source.url.startswith("memory")]
    except SettingsError as error:  # this process does not hold the password of [bus] (`settings.needs`)
        raise NotPutBack(f"this process cannot reach the bus: {error}") from None
    if not sources:
        raise NotPutBack(NO_QUEUES)
    queues: dict[str, DeadQueue] = {}
    unreachable, reached = {}, []
    with ExitStack() as exits:
        for source in sources:
            dead = source.topology.dead
            try:
                queues[dead] = exits.enter_context(dead_queue(source.topology, source.url, tls=source.tls))
            except OUTAGES as error:
                unreachable[dead] = _failed(error, source.setting)
            else:
                reached.append(source.setting)
        if not queues:
            raise NotPutBack("\n".join(unreachable.values()))
        try:
            yield queues, unreachable
        except OUTAGES as error:
            raise NotPutBack(_failed(error, " or ".join(reached))) from None


def _failed(error: Exception, key: str) -> str:
    return f"the broker does not work as expected ({in_words(error)}): check {key}"
