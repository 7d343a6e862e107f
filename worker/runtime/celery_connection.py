"""The workers' connections to the broker: what strangers wrote is neither unpacked nor does it end the worker.

The body stays as it came (`brokers/connection.py`). On Redis kombu raises where an entry of a list is not its envelope;
here such an entry is dropped.
"""

import logging
from collections import defaultdict
from queue import Empty
from typing import Any

from celery.app.amqp import AMQP
from kombu.transport import redis, virtual

from worker.brokers.connection import BrokerConnection, RedisChannel
from worker.brokers.faults import UNREADABLE
from worker.brokers.undecoded import Undecoded
from worker.foundation.clock import monotonic
from worker.foundation.outage_log import Outage

log = logging.getLogger(__name__)
_dropped: defaultdict[str, Outage] = defaultdict(lambda: Outage(log, logging.WARNING))


def log_dropped(why: str) -> None:
    """Log that a message was dropped; the same reason once a minute. `why` repeats nothing of the message."""
    text = f"a message was dropped that is not a wake-up of this project: {why}; which program writes it?"
    _dropped[why].lasts(text, monotonic())


class RedisMessage(Undecoded, virtual.Message):
    """A message from a Redis list."""


class DroppingChannel(RedisChannel):
    Message = RedisMessage

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except (ValueError, RecursionError) as error:  # the entry is not JSON
            log_dropped(type(error).__name__)
            raise Empty from None


class DroppingTransport(redis.Transport):
    Channel = DroppingChannel

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            super()._deliver(message, queue)
        except UNREADABLE as error:
            log_dropped(type(error).__name__)


class WorkersConnection(BrokerConnection):
    redis_transport = DroppingTransport


class Amqp(AMQP):  # type: ignore[misc]
    """Celery's own, with these connections."""

    Connection = WorkersConnection
