"""Celery's consumer, made to outlive the loss of its broker, and to end in order when it is told to end at once.

Over Redis, Celery 5.7 with kombu 5.7 ends the worker when the connection is lost while a dispatcher goes on. Both ways
are an AttributeError of kombu's `Channel._connparams`, which asks a transport that is closed already for its host name:

- closing the lost connection gives back what is unacknowledged, over that connection;
- when the dispatcher is over, its bell is acknowledged over that connection.

Neither is any use: the broker hands the bell out again by itself, and the sweep rings for what is due.

On SIGQUIT Celery ends the tasks by force, which its threads pool cannot: the worker would die of NotImplementedError
with its calls out and nothing given back. There, nothing is forced: the dispatchers end as on SIGTERM, and are waited
for.

A login that RabbitMQ refuses ends Celery's worker, and a virtual host that is not there has it try five times a second.
"""

import logging
import time
import warnings
from collections.abc import Callable
from typing import Any

from celery.concurrency.thread import TaskPool as Threads
from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer as CelerysConsumer
from celery.worker.state import maybe_shutdown

from worker.foundation.broker_faults import REFUSED, REFUSED_SECONDS
from worker.foundation.clock import monotonic
from worker.foundation.outage_log import Outage
from worker.runtime import process

log = logging.getLogger(__name__)
_broker = Outage(log)

# A page about another setting, each time that the connection is lost: rows have leases, so that what another worker is
# handed meanwhile comes to nothing.
warnings.filterwarnings("ignore", message="\nIn Celery 5.1 we introduced", category=CPendingDeprecationWarning)


class Consumer(CelerysConsumer):  # type: ignore[misc]
    """Leaves alone what came over a connection that is gone, and ends threads' dispatchers instead of the threads."""

    def connect(self) -> Any:
        while True:
            try:
                connected = super().connect()
            except REFUSED as error:
                _broker.lasts(
                    f"the broker refuses this worker ({type(error).__name__}): see broker.url; trying again",
                    monotonic(),
                )
                _wait(REFUSED_SECONDS)
            else:
                _broker.over("the broker lets this worker in")
                return connected

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        channel: Any = getattr(self.task_consumer, "channel", None)
        if hasattr(channel, "do_restore"):  # kombu's own channels: those of all brokers but RabbitMQ
            channel.do_restore = False
        super().on_connection_error_after_connected(exc)

    def stop(self) -> None:
        process.end_dispatchers()  # however it was told to end, by remote control too
        super().stop()

    def cancel_active_requests(self) -> None:
        if not isinstance(self.pool, Threads):
            super().cancel_active_requests()

    def call_soon_ack(self, p: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return super().call_soon_ack(_over_its_own_connection, p, *args, **kwargs)


def _wait(seconds: float) -> None:
    """Wait, unless the worker is told to end meanwhile."""
    until = monotonic() + seconds
    while monotonic() < until:
        maybe_shutdown()
        time.sleep(0.2)


def _over_its_own_connection(settle: Callable[..., Any], *args: Any) -> None:
    """Run `settle`, a message's `ack_log_error` or `reject_log_error`, unless the message's connection is closed."""
    message: Any = settle.__self__  # type: ignore[attr-defined]
    if getattr(message.channel.connection, "client", None) is not None:
        settle(*args)
