"""Says in the database that this process runs, for `onboard status`, and adds what it has counted, for metrics."""

import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

import sqlalchemy as sa

from worker.core.database.outages import reason
from worker.core.foundation.clock import Clock
from worker.core.foundation.version import __version__
from worker.reporting.operation import Running
from worker.reporting.store.processes import SAY_EVERY, Processes

log = logging.getLogger(__name__)
END_SECONDS = 2.0  # how long an end waits for the database, which may hang


class Heartbeat:
    """Writes this process's row every few seconds, in a thread of its own: the loop may be busy, or wait."""

    def __init__(
        self,
        processes: Processes,
        owner: str,
        clock: Clock,
        kind: str,
        *,
        store: Callable[[], None],
        first_keys: str,
        batch_id: int | None,
    ) -> None:
        """`owner` names the process, `kind` is its command. `batch_id`: it works this batch alone. `first_keys`: see
        `Running`. `store` writes what the process has counted; it blocks."""
        self._processes, self._owner, self._clock = processes, owner, clock
        self._kind, self._batch_id, self._first_keys = kind, batch_id, first_keys
        self._store = store
        self._started_at = clock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        """Say it now and from now on, in the thread. A database that cannot be reached delays nothing here."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Remove the row, before the database is closed."""
        self._ended.set()
        self._thread.join(END_SECONDS)

    def _run(self) -> None:
        self._say_tolerantly()
        while not self._ended.wait(SAY_EVERY.total_seconds()):
            self._say_tolerantly()
        with suppress(sa.exc.SQLAlchemyError):
            self._store()
            self._processes.ended(self._owner)

    def _say_tolerantly(self) -> None:
        try:
            self._say()
            self._store()
        except sa.exc.SQLAlchemyError as error:
            log.debug("no heartbeat was written: %s", reason(error))

    def _say(self) -> None:
        now = self._clock()
        if self._processes.seen(self._owner, now=now):
            return
        running = Running(
            kind=self._kind,
            host=socket.gethostname()[:64],
            pid=os.getpid(),
            release=__version__,
            batch_id=self._batch_id,
            started_at=self._started_at,
            seen_at=now,
            first_keys=self._first_keys,
        )
        self._processes.started(self._owner, running)
