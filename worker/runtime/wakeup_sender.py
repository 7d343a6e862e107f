"""How a bell is rung: by which message, and without keeping anybody waiting for a broker. For whichever Celery app."""

import logging
import threading
from collections.abc import Callable

from celery import Celery
from kombu.exceptions import OperationalError

from worker.foundation.broker_faults import REFUSED
from worker.foundation.clock import monotonic
from worker.foundation.outage_log import Outage
from worker.runtime.celery_settings import CONFIRM_SECONDS

log = logging.getLogger(__name__)
BROKER_AWAY = (OperationalError, OSError, *REFUSED)
_broker = Outage(log, logging.WARNING)


def ring_by(app: Celery, step: str, name: str) -> bool:
    """Say that something is due for an account (`issue`) or a channel (`invite`); whether the broker took it.

    Never raises. A broker that hangs is waited for: some seconds with RabbitMQ, up to 40 with Redis.
    """
    try:
        # No retrying: whoever rings would stand still with it.
        app.send_task(step, args=(name,), queue=step, retry=False, confirm_timeout=CONFIRM_SECONDS)
    except BROKER_AWAY as error:
        away = type(error).__name__
        _broker.lasts(f"the broker is away ({away}): bells are lost; the sweep rings when it is back", monotonic())
        return False
    _broker.over("the broker is there again: bells ring")
    return True


class Ringer:
    """Rings from a thread of its own: a dispatcher has rows under a lease, and must not wait for a broker that hangs.

    A name that waits to be rung for is rung for once, however often it is said.
    """

    def __init__(self, ring: Callable[[str, str], object]) -> None:
        self._ring = ring
        self._waiting: dict[tuple[str, str], None] = {}
        self._said = threading.Condition()
        self._thread: threading.Thread | None = None

    def ring(self, step: str, name: str) -> None:
        """Ring soon; returns at once. What is not rung for when the process ends is rung for by the sweep."""
        with self._said:
            self._waiting[step, name] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="bells", daemon=True)
                self._thread.start()
            self._said.notify()

    def _run(self) -> None:
        while True:
            with self._said:
                self._said.wait_for(lambda: self._waiting)
                step, name = next(iter(self._waiting))
                del self._waiting[step, name]
            try:
                self._ring(step, name)
            except Exception as error:  # whatever it is, the next bell is rung
                log.error("ringing ended with %s", type(error).__name__)
