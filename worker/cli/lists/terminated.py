"""SIGTERM in the middle of an import: the command says what is kept and what goes on, before it ends."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from worker.cli.exits import INTERRUPTED, Ended
from worker.core.customers.store.batches import BatchFacts
from worker.core.foundation.plural import counted
from worker.wiring.container import Parts


class Terminated(Ended):
    """SIGTERM has ended the import."""

    exit_code = INTERRUPTED


class _Sigterm(KeyboardInterrupt):
    """Ends what is under way as Ctrl-C does, so that connections and the child that judges are closed."""


@contextmanager
def ended_by_sigterm(parts: Parts, *, again: bool) -> Iterator[Callable[[BatchFacts], None]]:
    """Raises Terminated where SIGTERM comes. Yields a function to call with the batch when that is open.

    The batch is not stopped, as it is by Ctrl-C: a service manager sends SIGTERM, and starts the command again.
    """
    opened: list[BatchFacts] = []

    def end(number: int, _frame: Any) -> None:
        signal.signal(number, before)  # a second one ends the process at once
        raise _Sigterm

    before = signal.getsignal(signal.SIGTERM)  # read first: the signal may come at once
    signal.signal(signal.SIGTERM, end)
    try:
        yield opened.append
    except _Sigterm:
        raise Terminated(_what_is_kept(parts, opened, again=again)) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _what_is_kept(parts: Parts, opened: list[BatchFacts], *, again: bool) -> str:
    if not opened:
        return "ended by SIGTERM before the import began: nothing was imported; run the same command again"
    (batch,) = opened
    try:
        rows = counted(sum(parts.facts.counts(batch.id).jobs.values()), "row")
    except sa.exc.OperationalError:  # the database is away: what it has committed stays all the same
        rows = "rows"
    without = " (without --again)" if again else ""
    return (
        f"ended by SIGTERM in the middle of the import: batch {batch.id} has {rows}, which stay, and running workers"
        f" send them\nthe same command{without} imports the rest; `onboard cancel {batch.id}` ends the batch"
    )
