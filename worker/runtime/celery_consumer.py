"""Celery's consumer, changed so that it survives the loss of its broker and ends in order on SIGQUIT.

Over Redis, Celery 5.7 with kombu 5.7 ends the worker when the connection is lost while a dispatcher runs. There are two
ways; both are an AttributeError of kombu's `Channel._connparams`, which reads the host name of a closed transport:

- closing the lost connection returns the unacknowledged messages over that connection;
- when the dispatcher ends, its wake-up is acknowledged over that connection.

Neither is needed: the broker redelivers the wake-up, and the sweep sends wake-ups for what is due.

On SIGQUIT Celery ends the tasks by force. Its threads pool cannot: the worker would die of NotImplementedError with
calls in flight and leases not released. Here the dispatchers end as on SIGTERM, and the worker waits for them.

If RabbitMQ refuses the login, Celery's worker ends; if the virtual host is missing, it tries five times a second.
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

# A page about another setting at each lost connection. Rows have leases: a message that another worker gets meanwhile
# does no harm.
warnings.filterwarnings("ignore", message="\nIn Celery 5.1 we introduced", category=CPendingDeprecationWarning)


class Consumer(CelerysConsumer):  # type: ignore[misc]
    """Does not answer over a connection that is closed, and ends dispatchers instead of threads."""

    def connect(self) -> Any:
        while True:
            try:
                connected = super().connect()
            except REFUSED as error:
                _broker.lasts(
                    f"the broker refuses this worker ({type(error).__name__}): check broker.url; trying again",
                    monotonic(),
                )
                _wait(REFUSED_SECONDS)
            else:
                _broker.over("the broker accepts this worker")
                return connected

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        channel: Any = getattr(self.task_consumer, "channel", None)
        if hasattr(channel, "do_restore"):  # kombu's own channels: of all brokers but RabbitMQ
            channel.do_restore = False
        super().on_connection_error_after_connected(exc)

    def stop(self) -> None:
        process.end_dispatchers()  # also when it is ended by remote control
        super().stop()

    def cancel_active_requests(self) -> None:
        if not isinstance(self.pool, Threads):
            super().cancel_active_requests()

    def call_soon_ack(self, p: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return super().call_soon_ack(_over_its_own_connection, p, *args, **kwargs)


def _wait(seconds: float) -> None:
    """Wait; raises Celery's own exception if the worker is ended meanwhile."""
    until = monotonic() + seconds
    while monotonic() < until:
        maybe_shutdown()
        time.sleep(0.2)


def _over_its_own_connection(settle: Callable[..., Any], *args: Any) -> None:
    """Run `settle`, a message's `ack_log_error` or `reject_log_error`, unless the message's connection is closed."""
    message: Any = settle.__self__  # type: ignore[attr-defined]
    if getattr(message.channel.connection, "client", None) is not None:
        settle(*args)
