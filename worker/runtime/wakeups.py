"""Sends wake-ups over the broker. A lost wake-up costs a second: the sweep sends another."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from kombu.exceptions import OperationalError

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.events.brokers.connection import REFUSED, broker_fault
from onboarding_worker.runtime.celery_settings import CONFIRM_SECONDS, QUEUE_OF, configure, name_of
from onboarding_worker.settings.model import Settings

if TYPE_CHECKING:
    from celery import Celery

log = logging.getLogger(__name__)
BROKER_UNREACHABLE = (OperationalError, OSError, *REFUSED)
_broker = Outage(log, logging.WARNING)


def send_through(app: Celery, wake_up: WakeUp) -> bool:
    """Send a wake-up; whether the broker took it. Never raises. Waits for a broker that hangs: some 10 seconds with
    Redis, up to 30 with RabbitMQ."""
    queue = name_of(app, QUEUE_OF[wake_up.step])  # the task has the queue's name
    try:
        # Without retries: the sender would wait for them too.
        app.send_task(queue, args=(wake_up.name,), queue=queue, retry=False, confirm_timeout=CONFIRM_SECONDS)
    except BROKER_UNREACHABLE as error:
        _broker.lasts(
            f"{broker_fault(error)}: wake-ups are lost; the sweep sends them again when the broker is back", monotonic()
        )
        return False
    _broker.over("the broker is back: wake-ups are sent")
    return True


class WakeUps:
    """The wake-ups of one configuration. Sends nothing where the broker is memory://, which no worker can reach."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._soon = BackgroundSender(self._send)
        self._has_broker = settings.broker.wakes_workers

    @cached_property
    def _app(self) -> Celery:
        # Imported at the first wake-up: Celery takes half a second. Not the workers' app (`celery_app`), which reads
        # the configuration from the environment and sets up the log and the signals of a worker's process.
        from celery import Celery

        app = Celery("onboarding", set_as_current=False)
        configure(app, lambda: self._settings)
        return app

    def _send(self, wake_up: WakeUp) -> bool:
        return send_through(self._app, wake_up)

    def send(self, wake_ups: Iterable[WakeUp]) -> None:
        """Send wake-ups before returning. After one that fails the rest is left to the sweep: a broker that hangs
        costs its time-out once.
        """
        if self._has_broker:
            all(map(self._send, wake_ups))

    def send_soon(self, wake_up: WakeUp) -> None:
        """Send a wake-up from another thread. Returns at once."""
        if self._has_broker:
            self._soon.send(wake_up)


class BackgroundSender:
    """Sends from a thread of its own: a dispatcher has rows under a lease, and must not wait for a broker that hangs. A
    wake-up that waits is sent once, however often it is handed in. Works in a forked child too."""

    def __init__(self, send: Callable[[WakeUp], object]) -> None:
        self._send = send
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._waiting: dict[WakeUp, None] = {}
        self._added = threading.Condition()
        self._thread: threading.Thread | None = None

    def send(self, wake_up: WakeUp) -> None:
        """Returns at once. The sweep makes up for what is not sent when the process ends."""
        if self._pid != os.getpid():  # a thread does not survive a fork, and another may have held the lock
            self._begin()
        with self._added:
            self._waiting[wake_up] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="wake-ups", daemon=True)
                self._thread.start()
            self._added.notify()

    def _run(self) -> None:
        while True:
            with self._added:
                self._added.wait_for(lambda: self._waiting)
                wake_up = next(iter(self._waiting))
                del self._waiting[wake_up]
            try:
                self._send(wake_up)
            except Exception as error:  # whatever it is, the next wake-up is sent
                log.error("sending a wake-up ended with %s", type(error).__name__)
