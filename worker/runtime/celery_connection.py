"""The workers' connections to the broker: what strangers wrote is neither unpacked nor does it end the worker.

kombu decompresses a message as soon as a header asks for it, and on Redis it raises where an entry of a list is not its
envelope. Here the body stays as it came, and such an entry is dropped.
"""

import logging
from collections import defaultdict
from queue import Empty
from typing import Any

from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.transport import pyamqp, redis, virtual

from worker.foundation.broker_faults import UNREADABLE
from worker.foundation.clock import monotonic
from worker.foundation.outage_log import Outage
from worker.inbound.bus.raw_messages import Undecoded

log = logging.getLogger(__name__)
_dropped: defaultdict[str, Outage] = defaultdict(lambda: Outage(log, logging.WARNING))


def log_dropped(why: str) -> None:
    """Log that a message was dropped; the same reason once a minute. `why` repeats nothing of the message."""
    text = f"a message was dropped that is not a wake-up of this project: {why}; which program writes it?"
    _dropped[why].lasts(text, monotonic())


class AmqpMessage(Undecoded, pyamqp.Message):
    """A message from RabbitMQ."""


class RedisMessage(Undecoded, virtual.Message):
    """A message from a Redis list."""


class RedisChannel(redis.Channel):
    Message = RedisMessage

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except (ValueError, RecursionError) as error:  # the entry is not JSON
            log_dropped(type(error).__name__)
            raise Empty from None


class RedisTransport(redis.Transport):
    Channel = RedisChannel

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            super()._deliver(message, queue)
        except UNREADABLE as error:
            log_dropped(type(error).__name__)


class WorkersConnection(Connection):
    """kombu's connection, whose messages stay as they came."""

    def _init_params(self, **params: Any) -> None:  # type: ignore[override]
        if params.get("transport") in ("redis", "rediss"):
            params["transport"] = RedisTransport
        super()._init_params(**params)

    def channel(self) -> Any:
        channel = super().channel()
        if isinstance(channel, pyamqp.Channel):
            channel.auto_decode = False
            channel.Message = AmqpMessage
        return channel


class Amqp(AMQP):  # type: ignore[misc]
    """Celery's own, with these connections."""

    Connection = WorkersConnection
