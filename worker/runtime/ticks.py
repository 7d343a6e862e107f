"""Spaces what many wake-ups ask for."""

import threading


class Ticks:
    """Lets something happen at most once in so many seconds in each process, however many wake-ups come."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._next: float | None = None

    def is_due(self, now: float) -> bool:
        """Whether `begin` would let it happen."""
        with self._lock:
            return self._next is None or now >= self._next

    def begin(self, now: float) -> bool:
        """Whether to do it at `now`, in monotonic seconds, which no machine's clock changes."""
        with self._lock:
            if self._next is not None and now < self._next:
                return False
            self._next = now + self._seconds
            return True
