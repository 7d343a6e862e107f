"""Celery's consumer, made to outlive the loss of its broker, and to end in order when it is told to end at once.

Over Redis, Celery 5.7 with kombu 5.7 ends the worker when the connection is lost while a shift goes on. Both ways are
an AttributeError of kombu's `Channel._connparams`, which asks a transport that is closed already for its host name:

- closing the lost connection gives back what is unacknowledged, over that connection;
- when the shift is over, its bell is acknowledged over that connection.

Neither is any use: the broker hands the bell out again by itself, and the sweep rings for what is due.

On SIGQUIT Celery ends the tasks by force, which its threads pool cannot: the worker would die of NotImplementedError
with its calls out and nothing given back. There, nothing is forced: the shifts end as on SIGTERM, and are waited for.
"""

import warnings
from collections.abc import Callable
from typing import Any

from celery.concurrency.thread import TaskPool as Threads
from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer as CelerysConsumer

from worker import process

# A page about another setting, each time that the connection is lost: rows have leases, so that what another worker is
# handed meanwhile comes to nothing.
warnings.filterwarnings("ignore", message="\nIn Celery 5.1 we introduced", category=CPendingDeprecationWarning)


class Consumer(CelerysConsumer):  # type: ignore[misc]
    """Leaves alone what came over a connection that is gone, and ends threads' shifts instead of the threads."""

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        channel: Any = getattr(self.task_consumer, "channel", None)
        if hasattr(channel, "do_restore"):  # kombu's own channels: those of all brokers but RabbitMQ
            channel.do_restore = False
        super().on_connection_error_after_connected(exc)

    def stop(self) -> None:
        process.end_shifts()  # however it was told to end, by remote control too
        super().stop()

    def cancel_active_requests(self) -> None:
        if not isinstance(self.pool, Threads):
            super().cancel_active_requests()

    def call_soon_ack(self, p: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return super().call_soon_ack(_over_its_own_connection, p, *args, **kwargs)


def _over_its_own_connection(settle: Callable[..., Any], *args: Any) -> None:
    """Run `settle`, a message's `ack_log_error` or `reject_log_error`, unless the message's connection is closed."""
    message: Any = settle.__self__  # type: ignore[attr-defined]
    if getattr(message.channel.connection, "client", None) is not None:
        settle(*args)
