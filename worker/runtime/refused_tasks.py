"""The queue of refused Celery tasks `onboarding.request`, and how they go back to the workers.

The queue keeps the event alone, as it was in the task's arguments. What goes back is a task again.
"""

from uuid import uuid4

from worker.inbound.bus.dead_letters import Place
from worker.inbound.bus.messages import Message
from worker.inbound.bus.redis_entry import Entry
from worker.runtime.celery_settings import REFUSED_REQUESTS, REQUEST, REQUESTS


def refused_requests_at(url: str) -> Place:
    """The queue of refused requests on the workers' broker of this URL."""
    return Place(REFUSED_REQUESTS, REQUESTS, url.startswith("amqp"), task_again)


def task_again(message: Message) -> Entry:
    """The task that brings this event, in Celery's message protocol 2."""
    task = str(uuid4())
    return Entry(
        # Positional arguments, named arguments (none), and follow-up tasks (none). The event's bytes do not change.
        body=b"[[" + message.body + b"], {}, {}]",
        content_type="application/json",
        content_encoding="utf-8",
        headers={
            "lang": "py",
            "task": REQUEST,
            "id": task,
            "root_id": task,
            "parent_id": None,
            "group": None,
            "argsrepr": "(…)",  # else Celery's own events would carry the arguments, which are personal
            "kwargsrepr": "{}",
        },
        properties={"correlation_id": task},
    )
