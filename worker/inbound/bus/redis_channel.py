"""kombu's Redis transport, with the window closed in which a killed consumer loses an entry.

kombu pops an entry, and notes only afterwards that it holds the entry. An entry in between, in the socket or in a
process that is killed, is lost. Here a script takes entries and notes them in one step, and nothing pops entries in
any other way. The consumer waits with a `BLMOVE` from the end of the list to the same end, which moves nothing.

kombu also ends the consumer at an entry that is no kombu envelope; here such an entry becomes a broken message.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from queue import Empty
from time import monotonic
from typing import Any
from uuid import uuid4

from kombu.transport import redis, virtual

from worker.brokers import undecoded
from worker.inbound.bus.redis_entry import opened

# An entry that was taken and not settled for so long goes back. A living consumer renews its entries three times as
# often, but not while it waits for a database that cannot be reached or keeps a row locked: otherwise consumers would
# hand entries to each other until MOST_TIMES, and refuse good ones.
TAKEN_SECONDS = 45.0
MOST_AT_ONCE = 500
# As RabbitMQ's `x-delivery-limit`: an entry that was taken more often than this, and never settled, is refused.
MOST_TIMES = 20

# An entry that was taken is kept as "TIMES:ENTRY", where TIMES is how often it was given back before.
# A kept entry is 'TIMES:ENTRY'. Another program may write to our keys: what does not begin so was taken 0 times.
TAKE = """
local function kept_as(entry)
    if string.find(entry, '^%d%d?%d?%d?:') then return entry end
    return '0:' .. entry
end
local now = redis.call('TIME')
now = tonumber(now[1]) + tonumber(now[2]) / 1000000
local left = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[1]), 'LIMIT', 0, 100)
for _, tag in ipairs(left) do
    local kept = redis.call('HGET', KEYS[1], tag)
    if kept then
        kept = kept_as(kept)
        local colon = string.find(kept, ':', 1, true)
        local times = tonumber(string.sub(kept, 1, colon - 1)) + 1
        redis.call('RPUSH', KEYS[3], string.format('%d', times) .. string.sub(kept, colon))
    end
    redis.call('HDEL', KEYS[1], tag)
    redis.call('ZREM', KEYS[2], tag)
end
local taken = {}
local bytes = 0
for number = 3, #ARGV do
    if bytes >= tonumber(ARGV[2]) then break end
    local kept = redis.call('LPOP', KEYS[3])
    if kept then kept = kept_as(kept) end
    for key = 4, #KEYS do
        if kept then break end
        local entry = redis.call('RPOP', KEYS[key])
        if entry then kept = '0:' .. entry end
    end
    if not kept then break end
    bytes = bytes + string.len(kept)
    redis.call('HSET', KEYS[1], ARGV[number], kept)
    redis.call('ZADD', KEYS[2], string.format('%.6f', now), ARGV[number])
    taken[#taken + 1] = kept
end
return taken
"""
GIVE_BACK = """
for _, tag in ipairs(ARGV) do
    local kept = redis.call('HGET', KEYS[1], tag)
    if kept then redis.call('RPUSH', KEYS[3], kept) end
    redis.call('HDEL', KEYS[1], tag)
    redis.call('ZREM', KEYS[2], tag)
end
"""
KEEP = """
local now = redis.call('TIME')
now = tonumber(now[1]) + tonumber(now[2]) / 1000000
for _, tag in ipairs(ARGV) do redis.call('ZADD', KEYS[2], 'XX', string.format('%.6f', now), tag) end
"""


@dataclass(frozen=True)
class Keys:
    """Our own keys next to a queue's list, so that Celery on the same Redis database does not touch them."""

    taken: str  # hash: the entries that consumers hold, by delivery tag
    index: str  # sorted set: since when
    returned: str  # list: entries that were given back; they are taken first

    def all(self) -> list[str]:
        return [self.taken, self.index, self.returned]


def keys_of(queue: str) -> Keys:
    return Keys(f"{queue}.taken", f"{queue}.taken.since", f"{queue}.returned")


class RedisMessage(virtual.Message):
    """A message from a Redis list. `body` is bytes: the envelope's, or the whole entry where there is no envelope."""

    def __init__(self, payload: dict[str, Any], channel: Any = None, **options: Any) -> None:
        super().__init__(payload, channel=channel, **options)
        self.errors = []
        self.times_given_back: int = payload["times"]
        self.broken: str = payload["broken"]


class QoS(redis.QoS):
    """The entries that this consumer holds. The script has noted them already."""

    def append(self, message: Any, delivery_tag: str) -> None:
        virtual.QoS.append(self, message, delivery_tag)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        self.channel.give_back([tag])

    def restore_visible(self, start: int = 0, num: int = 10, interval: int = 10) -> None:
        """Do nothing: the TAKE script gives back the entries of consumers that are gone, by Redis's own clock."""


class Channel(redis.Channel):
    """Takes entries from one queue."""

    _in_poll: Any
    _brpop_sent_at: Any

    QoS = QoS
    Message = RedisMessage

    def _brpop_start(self, timeout: float | None = None) -> None:
        for queue in self.active_queues:
            connection = self.client.connection
            self._in_poll = connection
            self._brpop_sent_at = monotonic()
            connection.send_command("BLMOVE", queue, queue, "RIGHT", "RIGHT", timeout or self.brpop_timeout)

    def _brpop_read(self, **options: Any) -> bool:
        try:
            self.client.parse_response(self.client.connection, "BLMOVE", **options)
        except self.connection_errors:
            self.client.connection.disconnect()  # the next round opens a new connection
            raise
        finally:
            self._in_poll = None
        most = self.qos.can_consume_max_estimate()
        (queue,) = self.active_queues
        taken = self._take(queue, min(MOST_AT_ONCE if most is None else most, MOST_AT_ONCE))
        for payload in taken:
            self.connection._deliver(payload, queue)
        if not taken:
            raise Empty
        return True

    def close(self) -> None:
        self._in_poll = None  # nothing was popped, so there is nothing to wait for
        super().close()

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:
        for payload in self._take(queue, 1):
            return payload
        raise Empty

    def _take(self, queue: str, most: int) -> list[dict[str, Any]]:
        tags = [str(uuid4()) for _ in range(most)]
        lists = [self._q_for_pri(queue, step) for step in self.priority_steps]
        with self.conn_or_acquire() as client:
            kept = self._scripts[TAKE](
                keys=[*keys_of(queue).all(), *lists],
                args=[self.visibility_timeout, undecoded.BYTES_AT_ONCE, *tags],
                client=client,
            )
        return list(_payloads(zip(tags, kept, strict=False), queue))

    def give_back(self, tags: Iterable[str]) -> None:
        """Give these entries back, so that another consumer takes them."""
        self._run(GIVE_BACK, tags)

    @property
    def keep_seconds(self) -> float:
        return float(self.visibility_timeout) / 3

    def keep(self) -> None:
        """Renew the entries of this consumer, which still holds them."""
        self._run(KEEP, [tag for tag in self.qos._delivered if tag not in self.qos._dirty])

    def ack_all(self, tags: list[str]) -> None:
        """Acknowledge these entries in one step."""
        with self.conn_or_acquire() as client:
            pipe = client.pipeline()
            pipe.zrem(self.unacked_index_key, *tags).hdel(self.unacked_key, *tags).execute()
        for tag in tags:
            virtual.QoS.ack(self.qos, tag)

    def _run(self, script: str, tags: Iterable[str]) -> None:
        # The queue's own keys, which the connection was made with.
        keys = keys_of(self.unacked_key.removesuffix(".taken")).all()
        if given := list(tags):
            with self.conn_or_acquire() as client:
                self._scripts[script](keys=keys, args=given, client=client)

    @cached_property
    def _scripts(self) -> dict[str, Any]:
        client = self._create_client()
        return {script: client.register_script(script) for script in (TAKE, GIVE_BACK, KEEP)}


class Transport(redis.Transport):
    Channel = Channel


def _payloads(taken: Iterable[tuple[str, bytes]], queue: str) -> Iterator[dict[str, Any]]:
    """The payloads as kombu's virtual channels pass them on."""
    for tag, kept in taken:
        times, _, raw = kept.partition(b":")
        entry = opened(raw)
        often = int(times)
        yield {
            "body": entry.body,
            "content-type": entry.content_type,
            "content-encoding": entry.content_encoding,
            "headers": entry.headers,
            "properties": {
                **{name: value for name, value in entry.properties.items() if name != "body_encoding"},
                "delivery_tag": tag,
                "delivery_info": {"exchange": "", "routing_key": queue},
            },
            "times": often,
            "broken": f"it was taken {often} times and never settled" if often > MOST_TIMES else entry.broken,
        }
