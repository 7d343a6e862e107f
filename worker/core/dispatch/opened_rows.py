"""The rows whose attempts are written and whose calls have not begun, and the slots of these calls.

Events go first. A slot belongs to no row: the first one goes to the row that is called first.
"""

from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Generic

from worker.core.dispatch.contract import OpenedT

_AT_ONCE = datetime.min.replace(tzinfo=UTC)


class OpenedRows(Generic[OpenedT]):
    """The opened rows of one dispatcher, each with the count of halts at the moment of its flush."""

    def __init__(self, is_event: Callable[[OpenedT], bool]) -> None:
        self._is_event = is_event
        self._events: deque[tuple[OpenedT, int]] = deque()
        self._others: deque[tuple[OpenedT, int]] = deque()
        self._slots: deque[datetime | None] = deque()  # earliest first; None: the call may go at once
        self._unused: list[datetime] = []  # in which no call is made: the next flush releases them
        self.spacing = timedelta(0)  # the least time between two calls, as the last claim had it; zero: no rate limit

    def __len__(self) -> int:
        return len(self._events) + len(self._others)

    @property
    def events(self) -> int:
        return len(self._events)

    def add(self, opened: Sequence[OpenedT], slots: Sequence[datetime], spacing: timedelta, halts: int) -> bool:
        """Add opened rows with their slots; no slots: their calls may go at once. Returns whether events are there."""
        if opened:
            self.spacing = spacing
        for each in opened:
            (self._events if self._is_event(each) else self._others).append((each, halts))
        if slots:
            self._slots = deque(sorted([*self._slots, *slots], key=lambda slot: slot or _AT_ONCE))
        else:
            self._slots.extendleft([None] * len(opened))
        return bool(self._events)

    @property
    def oldest(self) -> list[OpenedT]:
        """The first event and the first other row: no lease ends before theirs."""
        return [queue[0][0] for queue in (self._events, self._others) if queue]

    def next_slot(self) -> datetime | None:
        """The slot of the next call; None: at once, or there is no row."""
        return self._slots[0] if self._slots else None

    def take(self) -> tuple[OpenedT, bool, datetime | None, int]:
        """The row to call now, whether it is an event's, its slot, and the count of halts when it was opened."""
        is_event = bool(self._events)
        opened, halts = (self._events if is_event else self._others).popleft()
        return opened, is_event, self._slots.popleft(), halts

    def take_last(self) -> tuple[OpenedT, bool, datetime | None, int]:
        """As `take`, for a slot that has passed: the row that has waited least, an event's only if there is no other.

        The rows that have waited longer get the later slots.
        """
        is_event = not self._others
        opened, halts = (self._events if is_event else self._others).pop()
        return opened, is_event, self._slots.popleft(), halts

    def take_all(self) -> list[OpenedT]:
        """All rows. None of them is called, so their slots are unused."""
        rows = [opened for opened, _ in (*self._events, *self._others)]
        for slot in self._slots:
            self.not_used(slot)
        for queue in (self._events, self._others, self._slots):
            queue.clear()
        return rows

    def not_used(self, slot: datetime | None) -> None:
        """No call is made in this slot."""
        if slot is not None:
            self._unused.append(slot)

    def unused(self) -> list[datetime]:
        """The unused slots, to be released now."""
        unused, self._unused = self._unused, []
        return unused
