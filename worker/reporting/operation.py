"""Which processes work, and whether wake-ups reach them. What needs a person: `reporting/waits.py`."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from worker.core.foundation.notation import counted, written

# These kinds of processes claim rows; the others only receive.
WORK = frozenset({"run", "up", "worker"})
# These take events from the queues of a broker.
TAKES_EVENTS = frozenset({"bus", "up"})
IMPORT = "import"
# A process says every five seconds that it runs: one that is late by as much may be busy, or was killed.
SILENT_AFTER = timedelta(seconds=10)
# Beat sends a wake-up each second. Workers look for due work by themselves once none has come for so long.
BEAT_IS_MISSING_AFTER = timedelta(seconds=15)
# Then they wake each other for what is due, over the broker. A worker that works alone takes one in so long at least.
WAKE_UPS_MISSING_AFTER = timedelta(minutes=1)
# A worker sweeps by itself every ten seconds then: one that has not is busy, or was killed.
SWEEP_IS_MISSING_AFTER = timedelta(seconds=30)


class Wakening(NamedTuple):
    """When the last wake-ups came to workers: the scheduler's, and another, which needs the broker and no scheduler.
    `swept_at`: when a worker last looked for due work, whether or not a wake-up came."""

    beat_at: datetime | None
    other_at: datetime | None = None
    swept_at: datetime | None = None

    def beat_is_missing(self, now: datetime) -> bool:
        return self.beat_at is None or now - self.beat_at > BEAT_IS_MISSING_AFTER

    def others_come(self, now: datetime) -> bool:
        """Whether wake-ups came since the scheduler's ended: then the broker works."""
        if self.other_at is None or now - self.other_at > WAKE_UPS_MISSING_AFTER:
            return False
        return self.beat_at is None or self.other_at - self.beat_at > BEAT_IS_MISSING_AFTER

    def workers_sweep(self, now: datetime) -> bool:
        """Whether workers look for due work, with wake-ups or by themselves."""
        return self.swept_at is not None and now - self.swept_at <= SWEEP_IS_MISSING_AFTER

    def none_look(self, now: datetime) -> bool:
        """Whether no worker looks for due work, as far as the database knows."""
        return self.beat_is_missing(now) and not self.others_come(now) and not self.workers_sweep(now)


class Running(NamedTuple):
    """A process that runs. `batch_id`: the one batch that it works; None: all. `first_keys`: the ids of the keys with
    which it encrypts and hashes, separated by a space."""

    kind: str
    host: str
    pid: int
    release: str
    batch_id: int | None
    started_at: datetime
    seen_at: datetime
    first_keys: str = ""

    def silence_in_words(self, now: datetime) -> str:
        """When the process was last seen, if that is a while ago; empty: it was seen just now."""
        silence = now - self.seen_at
        return f"last seen {silence.seconds} s ago" if silence >= SILENT_AFTER else ""


def rows_wait(rows: int) -> str:
    return counted(rows, "row waits", "rows wait")


def kinds_at_work(processes: Iterable[Running], batch_id: int) -> set[str]:
    """The kinds of the processes that work this batch. Workers alone begin nothing without a wake-up."""
    return {one.kind for one in processes if one.kind in WORK and one.batch_id in (None, batch_id)}


def no_wake_up(wakening: Wakening) -> str:
    at = wakening.beat_at
    return f"no wake-up of the scheduler has come {'yet' if at is None else f'since {written(at)}'}"
