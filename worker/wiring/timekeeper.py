"""Keeps the process's time that of the database: the one place for all processes that write times.

Workers, web, bus, library and commands have `Parts`, and `Parts` has this.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import sqlalchemy as sa

from worker.core.database.database import Database
from worker.core.database.outages import reason
from worker.core.foundation.clock import ProcessClock

log = logging.getLogger(__name__)

SET_CLOCK_EVERY = timedelta(seconds=10)
END_SECONDS = 1.0  # how long an end waits for a measurement under way: the database may hang


class Timekeeper:
    """Sets the clock by the database's at intervals, in a thread: a process may wait elsewhere for a long time."""

    def __init__(self, database: Database, clock: ProcessClock, *, every: timedelta = SET_CLOCK_EVERY) -> None:
        self._database = database
        self._clock = clock
        self._every = every
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Set the clock now, and go on until `close`. Raises OperationalError while the database cannot be used."""
        self._database.set_clock(self._clock)
        if self._thread is None:
            self._go_on()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The thread does not run within: a fork is made there."""
        runs = self._thread is not None
        self.close()
        yield
        if runs:
            self._go_on()

    def _go_on(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, args=(self._ended,), name="timekeeper", daemon=True)
        self._thread.start()

    def _keep(self, ended: threading.Event) -> None:
        while not ended.wait(self._every.total_seconds()):
            try:
                self._database.set_clock(self._clock)
            except sa.exc.SQLAlchemyError as error:  # the time goes on from the last anchor
                log.debug("the clock was not set: %s; trying again in %d s", reason(error), self._every.seconds)

    def close(self) -> None:
        """End the thread. Call it before the database is closed."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(END_SECONDS)
