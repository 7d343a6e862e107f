"""Celery's consumer, made to outlive the loss of its broker.

Over Redis, Celery 5.7 with kombu 5.7 ends the worker when the connection is lost while a shift goes on. Both ways are
an AttributeError of kombu's `Channel._connparams`, which asks a transport that is closed already for its host name:

- closing the lost connection gives back what is unacknowledged, over that connection;
- when the shift is over, its bell is acknowledged over that connection.

Neither is any use: the broker hands the bell out again by itself, and the sweep rings for what is due.
"""

from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer as CelerysConsumer


class Consumer(CelerysConsumer):  # type: ignore[misc]
    """Leaves alone what came over a connection that is gone."""

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        channel: Any = getattr(self.task_consumer, "channel", None)
        if hasattr(channel, "do_restore"):  # kombu's own channels: those of all brokers but RabbitMQ
            channel.do_restore = False
        super().on_connection_error_after_connected(exc)

    def call_soon_ack(self, p: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return super().call_soon_ack(_over_its_own_connection, p, *args, **kwargs)


def _over_its_own_connection(settle: Callable[..., Any], *args: Any) -> None:
    """Run `settle`, a message's `ack_log_error` or `reject_log_error`, unless the message's connection is closed."""
    message: Any = settle.__self__  # type: ignore[attr-defined]
    if getattr(message.channel.connection, "client", None) is not None:
        settle(*args)
