"""Celery's consumer, which no message of a stranger ends.

Celery 5.7 ends the worker at a message that it does not expect, and the message goes back to the queue for the next
worker; it logs the whole body of a message that it cannot use. Here a message is read before Celery sees it
(`wake_up_messages`): Celery gets nothing but the parts that a wake-up has. One whose dispatcher runs in this process is
handed to it at once: a task takes two milliseconds.
"""

import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from celery.worker import loops
from celery.worker.consumer import Consumer as CelerysConsumer

from worker.core.foundation.clock import monotonic
from worker.core.foundation.outage_log import Outage
from worker.events.brokers.faults import UNREADABLE
from worker.runtime.wake_up_messages import WakeUpMessage, wake_up_in
from worker.runtime.worker_process import woken_here

log = logging.getLogger(__name__)
_dropped: defaultdict[str, Outage] = defaultdict(lambda: Outage(log, logging.WARNING))


class Consumer(CelerysConsumer):  # type: ignore[misc]
    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Workers coordinate through the database. What anybody writes to Celery's exchange of events would end every
        # worker that reads it, waiting for other workers' answers costs a second at each start, and nobody reads that
        # a worker beats: it would wait for a broker that hangs.
        super().__init__(*arguments, **options, without_gossip=True, without_mingle=True, without_heartbeat=True)

    def loop(self, *arguments: Any) -> None:
        """Celery's event loop. A message that cannot be read off the wire ends the connection, not the worker.

        Redis has given it away then; RabbitMQ delivers it again, until its delivery limit.
        """
        try:
            (loops.asynloop if self.hub else loops.synloop)(*arguments)
        except UNREADABLE as error:
            _log_dropped(type(error).__name__)
            raise ConnectionResetError("a message could not be read off the wire") from None

    def stop(self) -> None:
        """Celery's end asks RabbitMQ five times, and waits for each answer. The one that does not answer the first is
        left: a wake-up that this worker has fetched and not begun goes back to its queue."""
        try:
            if self.connection and self.task_consumer:
                self.task_consumer.cancel()
        except self.connection_errors:
            self.connection.collect()
        super().stop()

    def create_task_handler(self, *arguments: Any, **options: Any) -> Callable[[Any], None]:
        handle = super().create_task_handler(*arguments, **options)

        def on_message(message: Any) -> None:
            try:
                found = wake_up_in(message.headers, message.body, message.content_type, message.content_encoding)
                if not isinstance(found, WakeUpMessage):
                    _drop(message, found)
                elif woken_here(found.wake_up):
                    message.ack()
                else:
                    message.headers, message.body, message.properties = found.headers, found.body, {}
                    handle(message)
            except UNREADABLE as error:
                _drop(message, type(error).__name__)

        return on_message

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        _drop(message, type(exc).__name__)  # Celery's own logs the body


def _drop(message: Any, why: str) -> None:
    _log_dropped(why)
    if not message.acknowledged:
        message.ack()


def _log_dropped(why: str) -> None:
    """Log that a message was dropped; the same reason once a minute. `why` repeats nothing of the message."""
    text = f"a message was dropped that is not a wake-up of this project: {why}; which program writes it?"
    _dropped[why].lasts(text, monotonic())
