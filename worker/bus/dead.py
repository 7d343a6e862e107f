"""The dead queue, looked at and put back. Nothing leaves it before the broker has it elsewhere.

RabbitMQ cannot show a message without handing it out: what is looked at is held, and goes back, in its order, when the
connection ends, however it ends. Meanwhile nobody else sees it. A list of Redis can simply be read.
"""

import hashlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from kombu.entity import Queue

from worker.bus.connection import BusConnection
from worker.bus.messages import Message, attributes_of
from worker.bus.redis_entry import Entry, enveloped, opened
from worker.bus.refusing import KEPT, PROBLEMS, REASON, REFUSED_AT, live_headers, publish
from worker.bus.shapes import shape_of
from worker.bus.topology import Topology
from worker.envelopes import LARGEST
from worker.events import EventKind
from worker.json_objects import read_object

# As many are looked through for one of them: RabbitMQ has to keep in mind that they are handed out.
MOST_SEARCHED = 10_000
LONGEST_SHOWN = 500
# How long RabbitMQ is waited for to have back what was looked at; somebody else may have taken it meanwhile.
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
class Dead:
    """One refused message, for people: nothing that it says, but how it looks."""

    id: str
    reason: str
    problems: str
    refused_at: str
    type: str
    event: str
    size: int


class DeadQueue(Protocol):
    def count(self) -> int:
        """How many there are."""

    def look(self, most: int) -> Iterator[Any]:
        """The oldest first; none of them leaves the queue."""

    def put_back(self, which: str | None, most: int) -> int:
        """Back to the queue that it came from: the one of this id, or `most`, the oldest first; how many went."""


def id_of(message: Message) -> str:
    """The same for the same message, wherever it lies: made from what was sent, not from why it was refused."""
    headers = json.dumps(live_headers(message.headers), sort_keys=True, default=str)
    parts = (message.body, str(message.content_type or "").encode(), headers.encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def dead_from(message: Message) -> Dead:
    body, attributes = read_object(message.body[: LARGEST + 1]), attributes_of(message)
    event = {**(body if isinstance(body, dict) else {}), **attributes}
    kind, name = event.get("type"), event.get("id")
    return Dead(
        id=id_of(message),
        reason=_line(message.headers.get(REASON)) or _death(message.headers.get("x-death")),
        problems=_line(message.headers.get(PROBLEMS)),
        refused_at=_line(message.headers.get(REFUSED_AT))[:25],
        type=kind if kind in _KINDS else "",
        event=name if isinstance(name, str) and _UUID.fullmatch(name) else "",
        size=len(message.body),
    )


def shown(message: Message) -> dict[str, Any]:
    """The form of what was sent: keys, and of values the kind and size."""
    body = read_object(message.body) if len(message.body) <= LARGEST else None
    media = str(message.content_type or "").partition(";")[0].strip().lower()
    return {
        "content_type": media if _MEDIA.fullmatch(media) else "",
        "headers": shape_of(live_headers(message.headers)),
        "body": shape_of(body) if isinstance(body, dict) else f"{len(message.body):,} bytes that are no JSON object",
    }


def _line(value: Any) -> str:
    """One line of a header that we wrote, or somebody else did."""
    text = value if isinstance(value, str) else ""
    return "".join(one if one.isprintable() else " " for one in text[:LONGEST_SHOWN])


def _death(deaths: Any) -> str:
    """Why RabbitMQ itself moved a message here."""
    latest = deaths[0] if isinstance(deaths, list) and deaths else {}
    why = latest.get("reason") if isinstance(latest, dict) else None
    if why == "delivery_limit":
        return "it was taken again and again, and never settled"
    return f"RabbitMQ: {_line(why)}" if why else ""


class AmqpDead:
    """On RabbitMQ."""

    def __init__(self, connection: BusConnection, topology: Topology) -> None:
        self._connection = connection
        self._topology = topology
        self._held = 0

    def count(self) -> int:
        with self._connection.channel() as channel:
            return int(Queue(self._topology.dead).bind(channel).queue_declare(passive=True).message_count)

    def look(self, most: int) -> Iterator[Any]:
        with self._channel() as channel:
            yield from self._handed_out(channel, most)

    def put_back(self, which: str | None, most: int) -> int:
        # No more than there are now: what is refused again at once is not put back again and again.
        most, went = min(most, self.count()), 0
        with self._channel() as channel, self._connection.channel() as publisher:
            for message in self._handed_out(channel, most):
                if which not in (None, id_of(message)):
                    continue
                headers = live_headers(message.headers)
                publish(publisher, message, exchange="", key=self._topology.queue, headers=headers)
                message.ack()
                self._held -= 1
                went += 1
                if which is not None:
                    break
        return went

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        """A channel that gives back at its end what it was handed and did not acknowledge: in its order.

        Given back one by one, or by a recover, it would come to the queue's other end. RabbitMQ does it a little after
        the channel is closed; whoever looks before that finds the rest, and changes the order. So that is waited for.
        """
        self._held = 0
        with self._connection.channel() as channel:
            yield channel
            there = self.count() + self._held
        for _ in range(GIVEN_BACK_TRIES):
            if self.count() >= there:
                return
            time.sleep(GIVEN_BACK_SECONDS)

    def _handed_out(self, channel: Any, most: int) -> Iterator[Any]:
        queue = Queue(self._topology.dead).bind(channel)
        for _ in range(most):
            message = queue.get(no_ack=False, accept=[])
            if message is None:
                return
            self._held += 1
            yield message


class RedisDead:
    """On Redis."""

    def __init__(self, connection: BusConnection, topology: Topology) -> None:
        channel: Any = connection.default_channel
        self._client = channel.client
        self._topology = topology

    def count(self) -> int:
        return int(self._client.llen(self._topology.dead))

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
        """In one step, so that it is always in one of the two lists; 0 where somebody else was quicker."""
        entry = opened(raw, largest=None)
        kept = {name: entry.properties[name] for name in KEPT if name in entry.properties}
        again = Entry(entry.body, entry.content_type, entry.content_encoding, live_headers(entry.headers), kept)
        keys = [self._topology.dead, self._topology.queue]
        envelope = enveloped(again, self._topology.queue, str(uuid4()))
        return int(self._client.register_script(PUT_BACK)(keys=keys, args=[raw, envelope]))

    def _ends(self, most: int) -> Iterator[bytes]:
        for _ in range(most):
            raw = self._client.lindex(self._topology.dead, -1)
            if raw is None:
                return
            yield raw

    def _raw(self, most: int) -> Iterator[bytes]:
        """From the right end, where the oldest are."""
        for first in range(0, most, _CHUNK):
            some: Sequence[bytes] = self._client.lrange(self._topology.dead, -min(first + _CHUNK, most), -first - 1)
            yield from reversed(some)
            if len(some) < _CHUNK:
                return


@contextmanager
def dead_queue(connection: BusConnection, topology: Topology) -> Iterator[DeadQueue]:
    """The dead queue over an open connection."""
    yield AmqpDead(connection, topology) if topology.on_amqp else RedisDead(connection, topology)
