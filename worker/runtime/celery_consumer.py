"""Celery's consumer, changed so that it survives the loss of its broker and any message.

Celery 5.7 ends the worker at a message that it does not expect, and the message goes back to the queue for the next
worker; it logs the whole body of a message that it cannot use. Here a message is read before Celery sees it
(`wake_up_messages`): Celery gets nothing but the parts that a wake-up has. One whose dispatcher runs in this process is
handed to it at once: a task takes two milliseconds.

Over Redis, Celery 5.7 with kombu 5.7 ends the worker when the connection is lost while a dispatcher runs. There are two
ways; both are an AttributeError of kombu's `Channel._connparams`, which reads the host name of a closed transport:

- closing the lost connection returns the unacknowledged messages over that connection;
- when the dispatcher ends, its wake-up is acknowledged over that connection.

Neither is needed: the broker redelivers the wake-up, and the sweep sends wake-ups for what is due.

If RabbitMQ refuses the login, Celery's worker ends; if the virtual host is missing, it tries five times a second. If
the broker closes the channel (a queue differs, or a message was held for longer than RabbitMQ's `consumer_timeout`), it
ends too, unless the setting `broker_channel_error_retry` makes that an outage: then it tries five times a second.
"""

import logging
import time
import warnings
from collections.abc import Callable
from typing import Any

from amqp.exceptions import AMQPError, RecoverableConnectionError
from celery.exceptions import CPendingDeprecationWarning
from celery.worker import loops
from celery.worker.consumer import Consumer as CelerysConsumer
from celery.worker.state import maybe_shutdown

from worker.brokers.faults import REFUSED, REFUSED_SECONDS, UNREADABLE, broker_fault
from worker.foundation.clock import monotonic
from worker.foundation.connection_failures import in_words
from worker.foundation.outage_log import Outage
from worker.runtime import process, remote_control
from worker.runtime.celery_connection import log_dropped
from worker.runtime.wake_up_messages import WakeUpMessage, wake_up_in
from worker.runtime.worker_process import woken_here

log = logging.getLogger(__name__)
_broker = Outage(log)
MOST_WORDS = 300

# A page about another setting at each lost connection. Rows have leases: a message that another worker gets meanwhile
# does no harm.
warnings.filterwarnings("ignore", message="\nIn Celery 5.1 we introduced", category=CPendingDeprecationWarning)


class Consumer(CelerysConsumer):  # type: ignore[misc]
    """Does not answer over a connection that is closed, and ends dispatchers when it ends."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        remote_control.restrict()
        # Workers coordinate through the database. What anybody writes to Celery's exchange of events would end every
        # worker that reads it, and waiting for other workers' answers costs a second at each start.
        super().__init__(*arguments, **options, without_gossip=True, without_mingle=True)

    def connect(self) -> Any:
        while True:
            try:
                return super().connect()
            except REFUSED as error:
                _broker.lasts(
                    f"{broker_fault(error, whom='this worker')}: check broker.url; trying again",
                    monotonic(),
                )
                _wait(REFUSED_SECONDS)

    def loop(self, *arguments: Any) -> None:
        """Celery's event loop. A message that cannot be read off the wire ends the connection, not the worker.

        RabbitMQ delivers the message again, until its delivery limit.
        """
        # Only here: a broker that accepts the login may refuse a queue, and does so at each try.
        _broker.over("the broker accepts this worker")
        try:
            (loops.asynloop if self.hub else loops.synloop)(*arguments)
        except UNREADABLE as error:
            log_dropped(type(error).__name__)
            raise RecoverableConnectionError("a message could not be read off the wire") from None

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
        # Of remote control: all other messages are decoded in `on_message`. Celery's own logs the body.
        _drop(message, type(exc).__name__)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        if isinstance(exc, self.channel_errors):
            _broker.lasts(f"the broker closed the channel ({_why(exc)}); trying again", monotonic())
            _wait(REFUSED_SECONDS)
        channel: Any = getattr(self.task_consumer, "channel", None)
        if hasattr(channel, "do_restore"):  # kombu's own channels: of all brokers but RabbitMQ
            channel.do_restore = False
        super().on_connection_error_after_connected(exc)

    def stop(self) -> None:
        process.end_dispatchers()  # also when it is ended by remote control
        super().stop()

    def call_soon_ack(self, p: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return super().call_soon_ack(_over_its_own_connection, p, *args, **kwargs)


def _drop(message: Any, why: str) -> None:
    log_dropped(why)
    if not message.acknowledged:
        message.ack()


def _why(error: Exception) -> str:
    """RabbitMQ's own words name a queue and an argument of it; other brokers' words may repeat a message."""
    return str(error.reply_text)[:MOST_WORDS] if isinstance(error, AMQPError) else in_words(error)


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
