"""Celery's consumer, which no message of a stranger ends.

Celery 5.7 ends the worker at a message that it does not expect, and the message goes back to the queue for the next
worker; it logs the whole body of a message that it cannot use, and acts on much that a message may hold: a time limit,
an eta, a compressed body. So a message is read before Celery sees it: Celery gets nothing but the parts that a wake-up
has, one of our tasks with its id and at most one name. All other messages are dropped: a wake-up holds nothing that
could be lost. One whose dispatcher runs in this process is handed to it at once: a task takes two milliseconds.
"""

import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from celery.worker import loops
from celery.worker.consumer import Consumer as CelerysConsumer

from onboarding_worker.adapters.strict_json import NoObject, read_list
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.events.brokers.connection import UNREADABLE
from onboarding_worker.runtime.celery_settings import PREFIX, QUEUE_OF
from onboarding_worker.runtime.worker_process import woken_here
from onboarding_worker.settings.queue_names import QUEUES, SWEEP

LARGEST = 4096  # bytes; ours have about 100
LONGEST_NAME = 200
_STEPS = {queue: step for step, queue in QUEUE_OF.items()}
_ID = re.compile(r"[0-9A-Za-z-]{1,64}")

log = logging.getLogger(__name__)
_dropped: defaultdict[str, Outage] = defaultdict(lambda: Outage(log, logging.WARNING))


@dataclass(frozen=True)
class WakeUpMessage:
    """A task with its arguments, as Celery's message protocol 2 has it. `queue`: one of QUEUES."""

    task: str
    queue: str
    id: str
    arguments: tuple[str, ...]

    @property
    def wake_up(self) -> WakeUp | None:
        """None: the sweep's."""
        return WakeUp(_STEPS[self.queue], *self.arguments) if self.queue in _STEPS else None

    @property
    def headers(self) -> dict[str, Any]:
        shown = {"argsrepr": repr(self.arguments), "kwargsrepr": "{}"}  # for `inspect` and for Celery's events
        return {"lang": "py", "task": self.task, "id": self.id, **shown}

    @property
    def body(self) -> bytes:
        return json.dumps([self.arguments, {}, {}]).encode()


def wake_up_in(
    headers: Any, body: Any, content_type: Any, content_encoding: Any, *, prefix: str
) -> WakeUpMessage | str:
    """The wake-up, or why the message is none. The reason repeats nothing of the message."""
    task = headers.get("task") if isinstance(headers, Mapping) else None
    queue = task.removeprefix(prefix) if isinstance(task, str) and task.startswith(prefix) else ""
    if queue not in QUEUES:
        return "it has not the name of one of our tasks"
    if "compression" in headers:
        return "it is compressed"
    if content_type != "application/json" or content_encoding != "utf-8":
        return "it is not JSON in UTF-8"
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    if not isinstance(raw, bytes) or len(raw) > LARGEST:
        return f"it has more than {LARGEST:,} bytes"
    id_, found = headers.get("id"), read_list(raw)
    if not isinstance(id_, str) or not _ID.fullmatch(id_):
        return "it has no id"
    if isinstance(found, NoObject) or len(found) != 3 or not isinstance(found[0], list) or found[1] != {}:
        return "its body is not that of a task"
    arguments = found[0]
    names = [one for one in arguments if isinstance(one, str) and 0 < len(one) <= LONGEST_NAME and one.isprintable()]
    if names != arguments or len(names) != (0 if queue == SWEEP else 1):
        return "its arguments are not one name"
    return WakeUpMessage(str(task), queue, id_, tuple(names))


class Consumer(CelerysConsumer):  # type: ignore[misc]
    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Workers coordinate through the database. What anybody writes to Celery's exchange of events would end every
        # worker that reads it, waiting for other workers' answers costs a second at each start, and without events
        # nobody reads that a worker beats: it would wait for a broker that hangs.
        silent = not options.get("task_events")
        super().__init__(*arguments, **options, without_gossip=True, without_mingle=True, without_heartbeat=silent)

    def loop(self, *arguments: Any) -> None:
        """Celery's event loop. A message that cannot be read off the wire ends the connection, not the worker. Redis
        has given it away then; RabbitMQ delivers it again, until its delivery limit."""
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
        prefix = self.app.conf[PREFIX]

        def on_message(message: Any) -> None:
            try:
                form = (message.content_type, message.content_encoding)
                found = wake_up_in(message.headers, message.body, *form, prefix=prefix)
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
