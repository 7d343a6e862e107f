"""Shows the refused messages of a dead queue, and puts them back. No message leaves before the broker has its copy.

RabbitMQ cannot show a message without delivering it: the messages that are looked at are held, and go back in their
order when the connection ends, however it ends. Meanwhile no other client sees them. A Redis list can simply be read.
"""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from amqp.exceptions import NotFound
from kombu.entity import Queue

from worker.domain.events.cloudevents import LARGEST
from worker.domain.events.incoming import EventKind
from worker.foundation.strict_json import read_object
from worker.inbound.bus.connection import BusConnection
from worker.inbound.bus.dead_lettering import (
    KEPT,
    PROBLEMS,
    REASON,
    REFUSED_AT,
    SENDER,
    live_headers,
    message_id,
    publish,
)
from worker.inbound.bus.messages import Message, attributes_of
from worker.inbound.bus.payload_shape import shape_of
from worker.inbound.bus.redis_entry import Entry, enveloped, opened
from worker.inbound.bus.task_messages import argument_of, is_task
from worker.inbound.bus.topology import Topology

# So many messages are searched for one id: RabbitMQ has to keep track of each delivered message.
MOST_SEARCHED = 10_000
LONGEST_SHOWN = 2000  # as long as the stored reason
# How long to wait until RabbitMQ has the messages back; another client may have taken some meanwhile.
GIVEN_BACK_TRIES, GIVEN_BACK_SECONDS = 100, 0.02
_CHUNK = 100
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MEDIA = re.compile(r"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,60}")
_KINDS = frozenset(kind.value for kind in EventKind)

PUT_BACK = """
if redis.call('LREM', KEYS[1], -1, ARGV[1]) == 0 then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[2])
return 1
"""


@dataclass(frozen=True)
class Place:
    """A dead queue, and `back`, the queue that its messages came from."""

    dead: str
    back: str
    on_amqp: bool


def place_of(topology: Topology) -> Place:
    return Place(topology.dead, topology.queue, topology.on_amqp)


def as_it_came(message: Message) -> Entry:
    """The message as it was before it was refused."""
    kept = {name: message.properties[name] for name in KEPT if message.properties.get(name)}
    headers = live_headers(message.headers)
    if message.properties.get("user_id"):
        # RabbitMQ itself moved it: the consumer has vouched for nobody, and we cannot publish with its user's name. It
        # must not become the queue's sender's.
        headers.setdefault(SENDER, "")
    return Entry(message.body, message.content_type, message.content_encoding, headers, kept)


@dataclass(frozen=True)
class Dead:
    """One refused message, for operators: its form, and none of its values."""

    queue: str
    id: str
    reason: str
    problems: str
    refused_at: str
    type: str
    event: str
    size: int


class DeadQueue(Protocol):
    def count(self) -> int:
        """How many messages the queue holds."""

    def look(self, most: int) -> Iterator[Any]:
        """The messages, the oldest first; none of them leaves the queue."""

    def put_back(self, which: str | None, most: int) -> int:
        """Put back the message of this id, or up to `most`, the oldest first. Returns how many."""


def id_of(message: Message) -> str:
    """The id that operators see."""
    return message_id(message)[:16]


def dead_from(message: Message, queue: str) -> Dead:
    event = {**(_object_in(message) or {}), **attributes_of(message)}
    kind, name = event.get("type"), event.get("id")
    return Dead(
        queue=queue,
        id=id_of(message),
        reason=_line(message.headers.get(REASON)) or _death(message.headers.get("x-death")),
        problems=_line(message.headers.get(PROBLEMS)),
        refused_at=_line(message.headers.get(REFUSED_AT))[:25],
        type=kind if kind in _KINDS else "",
        event=name if isinstance(name, str) and _UUID.fullmatch(name) else "",
        size=len(message.body),
    )


def shown(message: Message) -> dict[str, Any]:
    """The shape of the message: keys, and of values the kind and size."""
    body = _object_in(message)
    media = str(message.content_type or "").partition(";")[0].strip().lower()
    return {
        "content_type": media if _MEDIA.fullmatch(media) else "",
        "headers": shape_of(live_headers(message.headers)),
        "body": f"{len(message.body):,} bytes that are no JSON object" if body is None else shape_of(body),
    }


def _object_in(message: Message) -> dict[str, Any] | None:
    """The event as an object: the body, or the argument of a task."""
    if len(message.body) > LARGEST:
        return None
    found = argument_of(message.body) if is_task(message.headers) else read_object(message.body)
    return found if isinstance(found, dict) else None


def _line(value: Any) -> str:
    """A header as one line; any producer may have written it."""
    text = value if isinstance(value, str) else ""
    return "".join(one if one.isprintable() else " " for one in text[:LONGEST_SHOWN])


def _death(deaths: Any) -> str:
    """Why RabbitMQ itself moved a message into the dead queue."""
    latest = deaths[0] if isinstance(deaths, list) and deaths else {}
    why = latest.get("reason") if isinstance(latest, dict) else None
    if why == "delivery_limit":
        return "it was delivered again and again, and never settled"
    return f"RabbitMQ: {_line(why)}" if why else ""


class AmqpDead:
    """The dead queue on RabbitMQ."""

    def __init__(self, connection: BusConnection, place: Place) -> None:
        self._connection = connection
        self._place = place
        self._held = 0

    def count(self) -> int:
        try:
            with self._connection.channel() as channel:
                return int(Queue(self._place.dead).bind(channel).queue_declare(passive=True).message_count)
        except NotFound:  # the queue is made with the first refused message
            return 0

    def look(self, most: int) -> Iterator[Any]:
        most = min(most, self.count())
        with self._channel() as channel:
            yield from self._delivered(channel, most)

    def put_back(self, which: str | None, most: int) -> int:
        # At most the messages of now: a message that is refused again at once is not put back in a loop.
        most, went = min(most, self.count()), 0
        with self._channel() as channel, self._connection.channel() as publisher:
            for message in self._delivered(channel, most):
                if which not in (None, id_of(message)):
                    continue
                again = as_it_came(message)
                publish(publisher, again, exchange="", key=self._place.back, headers=again.headers)
                message.ack()
                self._held -= 1
                went += 1
                if which is not None:
                    break
        return went

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        """A channel whose unacknowledged messages go back in their order when it closes.

        Given back one by one, or by a recover, they would come to the queue's other end. RabbitMQ gives them back a
        little after the channel is closed. A client that looks before that finds only the rest, and changes the
        order. So this waits until they are back.
        """
        self._held = 0
        with self._connection.channel() as channel:
            yield channel
            there = self.count() + self._held
        for _ in range(GIVEN_BACK_TRIES):
            if self.count() >= there:
                return
            time.sleep(GIVEN_BACK_SECONDS)

    def _delivered(self, channel: Any, most: int) -> Iterator[Any]:
        queue = Queue(self._place.dead).bind(channel)
        for _ in range(most):
            message = queue.get(no_ack=False, accept=[])
            if message is None:
                return
            self._held += 1
            yield message


class RedisDead:
    """The dead queue on Redis."""

    def __init__(self, connection: BusConnection, place: Place) -> None:
        channel: Any = connection.default_channel
        self._client = channel.client
        self._place = place

    def count(self) -> int:
        return int(self._client.llen(self._place.dead))

    def look(self, most: int) -> Iterator[Entry]:
        for raw in self._raw(most):
            yield opened(raw, largest=None)

    def put_back(self, which: str | None, most: int) -> int:
        most = min(most, self.count())  # as above
        if which is None:
            return sum(self._back(raw) for raw in self._ends(most))
        for raw in self._raw(most):
            if which == id_of(opened(raw, largest=None)):
                return self._back(raw)
        return 0

    def _back(self, raw: bytes) -> int:
        """Move an entry in one step, so that it is always in one of the two lists. Returns 0 where it is gone."""
        again = as_it_came(opened(raw, largest=None))
        keys = [self._place.dead, self._place.back]
        envelope = enveloped(again, self._place.back, str(uuid4()))
        return int(self._client.register_script(PUT_BACK)(keys=keys, args=[raw, envelope]))

    def _ends(self, most: int) -> Iterator[bytes]:
        for _ in range(most):
            raw = self._client.lindex(self._place.dead, -1)
            if raw is None:
                return
            yield raw

    def _raw(self, most: int) -> Iterator[bytes]:
        """Entries from the right end, where the oldest are."""
        for first in range(0, most, _CHUNK):
            some: Sequence[bytes] = self._client.lrange(self._place.dead, -min(first + _CHUNK, most), -first - 1)
            yield from reversed(some)
            if len(some) < _CHUNK:
                return


@contextmanager
def dead_queue(connection: BusConnection, place: Place) -> Iterator[DeadQueue]:
    """The dead queue of this place, over an open connection."""
    yield AmqpDead(connection, place) if place.on_amqp else RedisDead(connection, place)
