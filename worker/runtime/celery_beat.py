"""Celery beat's scheduler: rings for the sweep, outlives its broker, and does not ring for nobody."""

import logging
import time
from typing import Any

from celery.beat import ScheduleEntry
from celery.beat import Scheduler as CelerysScheduler

from worker.foundation.broker_faults import REFUSED, REFUSED_SECONDS
from worker.foundation.clock import monotonic
from worker.foundation.outage_log import Outage
from worker.runtime.celery_settings import SWEEP

log = logging.getLogger(__name__)
# Rings that wait on Redis while no worker runs; RabbitMQ bounds its queues itself (`celery_settings`). Enough for
# workers that are all busy for a while, and nothing to the memory of a Redis that is left alone for a week.
MOST_RINGS = 60
# The longest pause between two tries to connect: what is due waits for beat, once the broker is back.
RECONNECT_SECONDS = 5


class Scheduler(CelerysScheduler):  # type: ignore[misc]
    """Says once that the broker is away, and when it is back: Celery's writes a page of its stack each second."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._broker = Outage(log)
        self._unheard = Outage(log, logging.WARNING)
        super().__init__(*arguments, **options)

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        try:
            if self._nobody_listens():
                self._unheard.lasts(f"{MOST_RINGS} rings wait: does a worker hear the queue {SWEEP}?", monotonic())
            else:
                self._unheard.over(f"the queue {SWEEP} is heard again")
                self.apply_async(entry, producer=producer, advance=False)
        except Exception as error:  # whatever it is, the next second comes
            cause = error.__cause__ or error.__context__ or error
            self._broker.lasts(
                f"the broker is away ({type(cause).__name__}): the sweep is not rung for; trying again", monotonic()
            )
            self._leave_connection()
        else:
            self._broker.over("the broker is there again: the sweep is rung for")

    def _leave_connection(self) -> None:
        """Connect anew at the next ring: over RabbitMQ's connection, once it is lost, nothing is sent any more."""
        connection = self.__dict__.pop("connection", None)
        self.__dict__.pop("producer", None)
        if connection is not None:
            connection.collect(socket_timeout=1)

    def _ensure_connected(self) -> Any:
        def away(error: Exception, _seconds: float) -> None:
            self._broker.lasts(
                f"the broker is away ({type(error).__name__}): the sweep is not rung for; trying again", monotonic()
            )

        while True:
            try:
                return self.connection.ensure_connection(away, interval_max=RECONNECT_SECONDS)
            except REFUSED as error:  # beat would end with it; a signal ends the sleep
                self._broker.lasts(
                    f"the broker refuses beat ({type(error).__name__}): see broker.url; trying again", monotonic()
                )
                time.sleep(REFUSED_SECONDS)

    def _nobody_listens(self) -> bool:
        size = getattr(self.producer.channel, "_size", None)  # kombu's own channels, such as Redis's, have it
        return size is not None and size(SWEEP) >= MOST_RINGS
