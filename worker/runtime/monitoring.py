"""What Celery's monitors get to know of a worker: `celery inspect`, `celery status`, `celery events`, Flower.

Celery's own remote control does what anybody asks who can write to the broker: it ends the worker, deafens it, kills
its calls. It logs what it was sent, and sends answers wherever the message says. So a message is read here: nothing
counts but the command's name, the workers that are asked, and which answer it is. What is not in ANSWERS is refused,
also what Celery adds later. No answer changes anything, or shows a secret or what the configuration holds.
"""

import logging
import platform
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

from celery.app.events import Events as CelerysEvents
from celery.bootsteps import ConsumerStep
from celery.events import EventDispatcher
from celery.worker import control
from celery.worker.request import Request as CelerysRequest
from kombu.messaging import Consumer

from onboarding_worker.adapters.strict_json import NoObject, read_object
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.events.brokers.connection import OUTAGES, broker_fault
from onboarding_worker.runtime.celery_settings import CONFIRM_SECONDS

LARGEST = 65_536  # bytes: a command may name each of hundreds of workers
SOFTWARE = ("onboarding-worker", "celery", "kombu", "amqp", "redis")
# Of the broker no user, and no other node: its URL would have a password.
OF_STATS = ("broker", "clock", "pid", "pool", "prefetch_count", "rusage", "total", "uptime")
OF_BROKER = ("transport", "hostname", "port", "virtual_host")
_KEY = re.compile(r"[0-9A-Za-z-]{1,64}")

log = logging.getLogger(__name__)
_noticed: defaultdict[str, Outage] = defaultdict(lambda: Outage(log, logging.WARNING))


@dataclass(frozen=True)
class Command:
    """What is asked, and by which key and ticket the answer is found; no key: no answer is waited for."""

    name: str
    workers: tuple[str, ...] | None
    reply_key: str = ""
    ticket: str = ""


def command_in(body: Any, content_type: Any, content_encoding: Any, *, replies: str) -> Command | str:
    """The command, or why the message is none. The reason repeats nothing of the message. `replies`: the exchange of
    answers; an answer goes nowhere else."""
    if content_type != "application/json" or content_encoding != "utf-8":
        return "it is not JSON in UTF-8"
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    if not isinstance(raw, bytes) or len(raw) > LARGEST:
        return f"it has more than {LARGEST:,} bytes"
    found = read_object(raw)
    if isinstance(found, NoObject) or not isinstance(found.get("method"), str):
        return "it names no command"
    workers = found.get("destination")
    if workers is not None and not (isinstance(workers, list) and all(isinstance(one, str) for one in workers)):
        return "it does not name workers"
    if found.get("pattern") or found.get("matcher"):
        return "it asks workers by a pattern"  # a regular expression may run for ever
    to, ticket = found.get("reply_to"), found.get("ticket")
    if not to:
        return Command(found["method"], None if workers is None else tuple(workers))
    if not isinstance(to, dict) or to.get("exchange") != replies:
        return "its answer would go elsewhere"
    key = to.get("routing_key")
    if not (isinstance(key, str) and isinstance(ticket, str) and _KEY.fullmatch(key) and _KEY.fullmatch(ticket)):
        return "its answer has no address"
    return Command(found["method"], None if workers is None else tuple(workers), key, ticket)


def _stats(state: Any) -> dict[str, Any]:
    found = control.stats(state)
    broker = found.get("broker")
    shown = {name: found[name] for name in OF_STATS if name in found}
    return shown | {"broker": {name: broker.get(name) for name in OF_BROKER} if isinstance(broker, Mapping) else None}


def _report(_state: Any) -> dict[str, str]:
    versions = " ".join(f"{name}:{version(name)}" for name in SOFTWARE)
    return {"ok": f"{versions} python:{platform.python_version()}"}


# By Celery's names. Each gets what Celery's commands get, and nothing of the message.
ANSWERS: dict[str, Callable[[Any], Any]] = {
    "ping": control.ping,
    "stats": _stats,
    "active": control.active,
    "active_queues": control.active_queues,
    "registered": control.registered,
    "reserved": control.reserved,
    "scheduled": control.scheduled,
    "report": _report,
    "hello": lambda state: {"revoked": [], "clock": state.app.clock.forward()},
}


def answer_to(name: str, state: Any) -> Any:
    """What a worker answers to a command; one that is not in ANSWERS is refused, and does nothing."""
    answer = ANSWERS.get(name)
    if answer is not None:
        return answer(state)
    _notice(f"a command was refused: {name if name in control.Panel.data else 'one that Celery does not have'}")
    return {"error": f"refused: a worker answers {', '.join(ANSWERS)} alone"}


class Monitoring(ConsumerStep):  # type: ignore[misc]
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, c: Any, **options: Any) -> None:
        super().__init__(c, **options)
        self._worker = c

    def start(self, c: Any) -> None:
        try:
            super().start(c)
        except c.channel_errors as error:  # a worker works without it too
            self.consumers = None
            _notice(f"monitors get no answer: {broker_fault(error)}")

    def get_consumers(self, channel: Any) -> list[Any]:
        mailbox = self._worker.app.control.mailbox
        queue = mailbox.get_queue(self._worker.hostname)
        if self._worker.connection.transport.driver_type == "redis":
            _prove_it_may_hear(channel, mailbox.exchange.name)
        return [Consumer(channel, [queue], no_ack=True, on_message=self._on_message, on_decode_error=_not_decoded)]

    def _on_message(self, message: Any) -> None:
        app, hostname = self._worker.app, self._worker.hostname
        replies = app.control.mailbox.reply_exchange
        found = command_in(message.body, message.content_type, message.content_encoding, replies=replies.name)
        if not isinstance(found, Command):
            return _notice(f"a message was dropped that is no command for workers: {found}; which program writes it?")
        if found.workers is not None and hostname not in found.workers:
            return
        try:
            state = SimpleNamespace(app=app, hostname=hostname, consumer=self._worker, tset=set)
            answer = answer_to(found.name, state)
            if not found.reply_key:
                return
            headers = {"ticket": found.ticket, "clock": app.clock.forward()}
            with app.producer_or_acquire() as producer:
                producer.publish(
                    {hostname: answer},
                    exchange=replies,
                    routing_key=found.reply_key,
                    declare=[replies],
                    headers=headers,
                    serializer="json",
                    retry=False,
                    confirm_timeout=CONFIRM_SECONDS,
                )
        except OUTAGES as error:
            _notice(f"monitors get no answer: {broker_fault(error)}")
        except Exception as error:  # such as of a set that changes meanwhile: the worker works on
            _notice(f"monitors get no answer: {type(error).__name__}")


def _prove_it_may_hear(channel: Any, exchange: str) -> None:
    """Raises what Redis says to a user without a right to channels. kombu would lose its connection by it, again and
    again."""
    with channel.client.pubsub() as listening:
        listening.psubscribe(channel.keyprefix_fanout + exchange)
        listening.get_message(timeout=CONFIRM_SECONDS)


def _not_decoded(_message: Any, error: Exception) -> None:
    _notice(f"a message was dropped that is no command for workers: {type(error).__name__}")


def _notice(text: str) -> None:
    """Log a line; the same once a minute. `text` repeats nothing of a message."""
    _noticed[text].lasts(text, monotonic())


class Dispatcher(EventDispatcher):  # type: ignore[misc]
    """Sends each event once. Celery tries a heartbeat for ever, and no signal ends a worker meanwhile."""

    def send(self, type: str, *, retry: bool = False, **fields: Any) -> None:
        super().send(type, **fields)


class Events(CelerysEvents):  # type: ignore[misc]
    dispatcher_cls = Dispatcher


class Request(CelerysRequest):  # type: ignore[misc]
    """A task, of whose failure monitors get the kind alone: the text of an exception may hold personal data."""

    def send_event(self, type: str, **fields: Any) -> None:
        if "exception" in fields:
            fields = {"exception": str(fields["exception"]).partition("(")[0]}
        super().send_event(type, **fields)
