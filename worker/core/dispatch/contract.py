"""What a dispatcher works on: the interface that `dispatcher` uses and `work` implements."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from worker.core.limits.store.claims import Room
from worker.core.limits.store.flush import Flushed
from worker.core.limits.throughput import Stretch
from worker.core.model.http_messages import MayWrite
from worker.core.work.row_forms import OpenedT, ResultT


class Work(Protocol[OpenedT, ResultT]):
    """What a dispatcher works on.

    `flush`, `release` and `release_permits` are blocking calls to the store. They read the time themselves, where their
    transaction begins: the process may stand still on its way from the loop to there.
    """

    name: str
    permits: int  # calls in flight, until the first claim says how many
    longest_call: timedelta  # from the last check of the lease until the result is written
    has_next_step: bool  # whether written results make other rows due
    # Whether each call may be made again when its outcome is unknown: then a kill costs no look-up and no person.
    repeatable: bool
    database_time: Callable[[], datetime] | None  # blocking; None: leases are not checked by the database's time

    def flush(
        self,
        results: Sequence[ResultT],
        room: Room | None,
        stretch: Stretch | None = None,
        unused: Sequence[datetime] = (),
    ) -> Flushed[OpenedT]:
        """Write these results, and then claim rows and open them, in one transaction; room None: claim nothing.

        `stretch`: a busy stretch of calls that has ended, for the measured pace. `unused`: slots in which no call is
        made. Raises limits.store.flush.UnknownFlush if rows may have been opened: `release` releases them.
        """

    async def call(self, opened: OpenedT, now: datetime, may_write: MayWrite, /) -> ResultT:
        """Make the call. `now`: the time of the last check before it.

        If `may_write` says no, nothing is written, and whatever is returned does not count: the call was not made.
        """

    def skipped(self, opened: OpenedT) -> ResultT:
        """The result of an opened row whose call was not made."""

    def after_crash(self, opened: OpenedT, error: Exception) -> ResultT:
        """The result of a call that raised: a bug, so the outcome of the call is unknown."""

    def unsaved(self, result: ResultT, kind: str) -> ResultT:
        """What is written instead of a result that cannot be written: its row is held. `kind` names the exception."""

    def release(self, opened: Sequence[OpenedT]) -> None:
        """Release rows for which no call was made, whether or not their attempts were written."""

    def release_permits(self) -> None:
        """Release all permits of this dispatcher: it has ended."""
