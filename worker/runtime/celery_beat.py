"""Celery beat's scheduler: wakes the sweep, survives the loss of its broker, and stops when no worker consumes."""

import logging
import time
from typing import Any

from celery.beat import ScheduleEntry, SchedulingError
from celery.beat import Scheduler as CelerysScheduler

from worker.brokers.faults import REFUSED, REFUSED_SECONDS, broker_fault
from worker.foundation.clock import monotonic
from worker.foundation.outage_log import Outage
from worker.runtime.celery_settings import SWEEP

log = logging.getLogger(__name__)
# How many wake-ups may wait on Redis while no worker runs; RabbitMQ bounds its queues itself (`celery_settings`).
# Enough while all workers are busy, and little memory if Redis is left alone for a week.
MOST_WAITING = 60
# The longest pause between two tries to connect: once the broker is back, due work waits for beat.
RECONNECT_SECONDS = 5


class Scheduler(CelerysScheduler):  # type: ignore[misc]
    """Logs once that the broker cannot be reached, and once that it is back: Celery's own logs a page each second."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._broker = Outage(log)
        self._queue_full = Outage(log, logging.WARNING)
        super().__init__(*arguments, **options)

    def adjust(self, n: Any, drift: float = 0.0) -> Any:
        """How long to sleep until an entry is due, `n` seconds away. Celery wakes 10 ms before, and then looks again
        and again without a pause: a hundredth of a core."""
        return super().adjust(n, drift)

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        try:
            if self._is_queue_full():
                self._queue_full.lasts(
                    f"{MOST_WAITING} wake-ups wait in the queue {SWEEP}: does a worker consume it?", monotonic()
                )
            else:
                self._queue_full.over(f"a worker consumes the queue {SWEEP} again")
                self.apply_async(entry, producer=producer, advance=False)
        except Exception as error:  # beat must not end: the next tick tries again
            if _is_told_to_end(error):
                raise SystemExit from None
            self._unreachable(error.__context__ if isinstance(error, SchedulingError) and error.__context__ else error)
            self._leave_connection()
        else:
            self._broker.over("the broker is back: the sweep runs")

    def _leave_connection(self) -> None:
        """Connect anew at the next wake-up: RabbitMQ's connection sends nothing more once it is lost."""
        connection = self.__dict__.pop("connection", None)
        self.__dict__.pop("producer", None)
        if connection is not None:
            connection.collect(socket_timeout=1)

    def _ensure_connected(self) -> Any:
        while True:
            try:
                return self.connection.ensure_connection(self._unreachable, interval_max=RECONNECT_SECONDS)
            except REFUSED as error:  # beat would end with it; a signal ends the sleep
                self._broker.lasts(f"{broker_fault(error, whom='beat')}: check broker.url; trying again", monotonic())
                time.sleep(REFUSED_SECONDS)

    def _unreachable(self, error: BaseException, _seconds: float = 0.0) -> None:
        fault = broker_fault(error, whom="beat")
        self._broker.lasts(f"{fault}: the sweep does not run; trying again", monotonic())

    def _is_queue_full(self) -> bool:
        size = getattr(self.producer.channel, "_size", None)  # kombu's own channels, such as Redis's, have it
        return size is not None and size(SWEEP) >= MOST_WAITING


def _is_told_to_end(error: BaseException | None) -> bool:
    """Whether the error hides the SystemExit that beat's handler of SIGTERM raised.

    A signal in the middle of a read leaves the client half done: its clean-up may raise an error of its own.
    """
    while error is not None and not isinstance(error, SystemExit):
        error = error.__cause__ or error.__context__
    return error is not None
