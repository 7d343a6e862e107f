"""Reads the mailbox for bounces from time to time, in a thread of its own: the sweep waits for no mail server."""

import logging
import threading

from worker.core.foundation.clock import monotonic
from worker.core.foundation.outage_log import Outage
from worker.core.work.ticks import Ticks
from worker.features.bounces.mailbox import CannotRead
from worker.features.bounces.reader import BounceReader
from worker.wiring.background import Work, Working
from worker.wiring.container import Parts

log = logging.getLogger(__name__)
EVERY_SECONDS = 60.0
END_SECONDS = 5.0  # a thread that waits for the mail server for longer is left: it changes nothing before an answer


class BounceSchedule(Working):
    """Reads at most once a minute, and once at a time."""

    def __init__(self, reader: BounceReader, seconds: float = EVERY_SECONDS) -> None:
        self._reader = reader
        self._ticks = Ticks(seconds)
        self._thread: threading.Thread | None = None
        self._ends = threading.Event()
        self._outage = Outage(log, logging.WARNING)

    def step(self) -> None:
        """Begin to read, if it is time. Returns at once."""
        if self._ends.is_set() or (self._thread is not None and self._thread.is_alive()):
            return
        if self._ticks.begin(monotonic()):
            self._thread = threading.Thread(target=self._read, name="bounces", daemon=True)
            self._thread.start()

    def _read(self) -> None:
        try:
            read = self._reader.read(stopping=self._ends.is_set)
        except CannotRead as error:
            self._outage.lasts(f"the mailbox for bounces cannot be read: {error}", monotonic())
        except Exception as error:
            if not self._ends.is_set():
                self._outage.lasts(f"reading bounces ended with {type(error).__name__}", monotonic())
        else:
            self._outage.over("the mailbox for bounces is read again")
            if read.reports:
                said = ", ".join(f"{number} {event}" for event, number in sorted(read.reports.items()))
                log.info("reports of mails: %s", said)

    def close(self) -> None:
        """End after the present mails."""
        self._ends.set()
        if self._thread is not None:
            self._thread.join(END_SECONDS)


def _opened(parts: Parts) -> BounceSchedule | None:
    reader = BounceReader.of(parts.settings, parts.webhooks, parts.keyring, parts.clock)
    return None if reader is None else BounceSchedule(reader)


WORK = Work(_opened, in_run=True)
