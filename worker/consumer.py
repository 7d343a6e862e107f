"""Celery's consumer, made to outlive the loss of its broker."""

from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer as CelerysConsumer


class Consumer(CelerysConsumer):  # type: ignore[misc]
    """Leaves a bell unacknowledged when the connection that it came over is gone.

    A shift that began before the loss may end after it. Celery 5.7 acknowledges its bell over the old connection
    all the same, from the loop that receives messages. Over Redis, kombu 5.7 then fails with an AttributeError
    (`Channel._connparams` asks a closed transport for its host name), for which Celery ends the worker.
    """

    def call_soon_ack(self, p: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return super().call_soon_ack(_over_its_own_connection, p, *args, **kwargs)


def _over_its_own_connection(settle: Callable[..., Any], *args: Any) -> None:
    """Run `settle`, a message's `ack_log_error` or `reject_log_error`, unless the message's connection is closed."""
    message: Any = settle.__self__  # type: ignore[attr-defined]
    if getattr(message.channel.connection, "client", None) is None:
        return  # the broker hands the bell out again
    settle(*args)
