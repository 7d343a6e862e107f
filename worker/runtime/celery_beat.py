"""Celery beat: wakes the sweep, survives the loss of its broker, and stops when no worker consumes."""

import atexit
import logging
import signal
from contextlib import suppress
from functools import cached_property
from typing import Any

from celery.beat import ScheduleEntry, SchedulingError
from celery.beat import Scheduler as CelerysScheduler
from kombu.exceptions import ChannelError

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.events.brokers.connection import broker_fault
from onboarding_worker.runtime.celery_settings import name_of
from onboarding_worker.settings.queue_names import SWEEP

log = logging.getLogger(__name__)
# How many wake-ups may wait on Redis while no worker runs; RabbitMQ bounds its queues itself (`celery_settings`).
# Enough while all workers are busy, and little memory if Redis is left alone for a week.
MOST_WAITING = 60
AGAIN_SECONDS = 1.0


class Scheduler(CelerysScheduler):  # type: ignore[misc]
    """Logs once that the broker cannot be reached, and once that it is back: Celery's own logs a page each second.

    SIGTERM and SIGINT end its process, whatever that is doing. Celery's handler makes another scheduler, also while
    this one is half made, and raises SystemExit; Python drops what is raised inside a finalizer. Here the next tick is
    the end, and the exception is raised again each second, which ends a wait.
    """

    def __init__(self, app: Any, *, lazy: bool = False, **options: Any) -> None:
        self._broker = Outage(log)
        self._queue_full = Outage(log, logging.WARNING)
        self._is_ended = False
        if not lazy:  # else it is only looked at
            atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
                signal.signal(number, self._end)
        super().__init__(app, lazy=lazy, **options)

    @cached_property
    def _queue(self) -> str:
        return name_of(self.app, SWEEP)

    def _end(self, *_signal: object) -> None:
        self._is_ended = True
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
        raise SystemExit

    def tick(self, *arguments: Any, **options: Any) -> Any:
        if self._is_ended:
            raise SystemExit
        return super().tick(*arguments, **options)

    def adjust(self, n: Any, drift: float = 0.0) -> Any:
        """How long to sleep until an entry is due, `n` seconds away. Celery wakes 10 ms before, and then looks again
        and again without a pause: a hundredth of a core."""
        return super().adjust(n, drift)

    @cached_property
    def producer(self) -> Any:
        """Connects with the first wake-up: Celery's own waits here for its broker, and cannot be told to end."""
        return self.Producer(self.connection, auto_declare=False)

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        try:
            if self._is_queue_full():
                self._queue_full.lasts(
                    f"{MOST_WAITING} wake-ups wait in the queue {self._queue}: does a worker consume it?", monotonic()
                )
            else:
                self._queue_full.over(f"a worker consumes the queue {self._queue} again")
                self.apply_async(entry, producer=producer, advance=False)
        except Exception as error:  # beat must not end: the next tick tries again
            cause = error.__context__ if isinstance(error, SchedulingError) and error.__context__ else error
            fault = broker_fault(cause, whom="beat")
            self._broker.lasts(f"{fault}: the sweep does not run; trying again", monotonic())
            self.close()  # RabbitMQ's connection sends nothing more once it is lost: the next tick opens another
        else:
            self._broker.over("the broker is back: the sweep runs")

    def _is_queue_full(self) -> bool:
        if self.connection.transport.driver_type != "redis":
            return False
        with suppress(ChannelError):  # an empty list is not there
            waiting = self.producer.channel.queue_declare(self._queue, passive=True).message_count
            return bool(waiting >= MOST_WAITING)
        return False
