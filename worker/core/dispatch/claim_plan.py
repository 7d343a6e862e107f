"""When a dispatcher claims next: what it knows to be due, and which wake-ups it has not followed yet."""

from collections.abc import Callable
from datetime import datetime, timedelta

from worker.core.dispatch.steady_time import SteadyTime

# The least time between two claims of batch rows that follow a wake-up: each flush of results sends a wake-up.
CLAIM_EVERY = timedelta(milliseconds=200)


class ClaimPlan:
    """The plan of one dispatcher. `at`: when to claim next, in steady time; None: nothing more is known to be due."""

    def __init__(self, time: SteadyTime, wake_others: Callable[[], object]) -> None:
        """`wake_others` is called once, after the first claim that leaves rows which may be claimed at once."""
        self._time = time
        self._wake_others: Callable[[], object] | None = wake_others
        self._claimed_at = time() - CLAIM_EVERY  # when batch rows were last claimed
        self._woken_for_batches = False
        self.at: datetime | None = time()
        self.woken_for_events = False  # an event may be due
        self.more_due = False  # the last claim brought rows, and left more
        self._more_after: timedelta | None = None  # and these may be claimed so long after it; None: it left none
        self._guessed: datetime | None = None  # when to claim, until the claim that is under way tells

    def wake(self, *, for_events: bool) -> None:
        """Something has become due. Batch rows are claimed in chunks, so they wait for one; events do not."""
        if for_events:
            self.woken_for_events = True
        else:
            self._woken_for_batches = True

    @property
    def woken(self) -> bool:
        return self.woken_for_events or self._woken_for_batches

    def follow_wake_ups(self) -> None:
        """Plan a claim for the wake-ups that are for batch rows."""
        if self._woken_for_batches:
            self._woken_for_batches = False
            self.claim_by(self._claimed_at + CLAIM_EVERY)

    def claim_by(self, when: datetime) -> None:
        """Claim at this time, unless a claim is planned earlier."""
        self.at = when if self.at is None else min(self.at, when)

    def begins(self) -> None:
        """A claim of batch rows and of events begins: a wake-up from now on is for another one."""
        self.woken_for_events = False
        self._claimed_at = self._time()
        self.at = self._guessed = None if self._more_after is None else self._claimed_at + self._more_after

    def ends(self, again_at: datetime | None, *, found: int) -> None:
        """That claim found so many rows. `again_at`: when more is due, in steady time; None: nothing more is."""
        self.more_due = again_at is not None and found > 0
        if self.at == self._guessed:
            self.at = None
        if again_at is None:
            self._more_after = None
            return
        self._more_after = max(again_at - self._time(), timedelta(0)) if found else None
        if self._more_after == timedelta(0) and self._wake_others is not None:
            self._wake_others()
            self._wake_others = None
        self.claim_by(again_at)

    def begins_for_events(self) -> None:
        """A claim of events alone begins. A wake-up may be for a batch row too, so batch rows are looked for soon."""
        self.woken_for_events = False
        self.claim_by(self._claimed_at + CLAIM_EVERY)

    def ends_for_events(self, again_at: datetime | None, *, found: int, asked: int) -> None:
        """That claim found so many events of those that were asked for."""
        if again_at is not None:  # no wake-up comes for rows that could not be claimed yet
            self.claim_by(max(again_at, self._claimed_at + CLAIM_EVERY))
        if found >= asked:
            self.woken_for_events = True  # there may be more
