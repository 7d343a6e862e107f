"""Whether the account's links live long enough to be sent, as this process has seen it.

A link that is born below its floor is paid for and never sent. So until one link has lived long enough, calls are made
one at a time: if the configuration or the provider is wrong, that costs one session and not one for each row.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

# Where an answer may hold an earlier token, whose link has aged, one short link shows nothing. So many in a row do.
SHORT_IN_A_ROW = 3


@dataclass
class FirstLinks:
    """Calls come from the loop, claims from threads."""

    seen: bool = False  # whether a link has lived long enough
    trying: set[int] = field(default_factory=set)  # the jobs whose calls are to show it
    _short: int = 0
    _reserved: bool = False  # a claim looks for such a job
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reserve(self) -> bool:
        """Whether the caller may claim a job whose call is to show it. It calls `begin` then, whatever it has found."""
        with self._lock:
            if self.trying or self._reserved:
                return False
            self._reserved = True
            return True

    def was_short(self) -> bool:
        """Count a link that may have aged. Returns whether so many were short that the account's links are."""
        self._short += 1
        return not self.seen and self._short >= SHORT_IN_A_ROW

    def begin(self, job_ids: set[int]) -> None:
        with self._lock:
            self._reserved = False
            self.trying |= job_ids

    def end(self, job_ids: Iterable[int]) -> None:
        """These jobs' calls are made, or are not made now."""
        if self.trying:
            with self._lock:
                self.trying.difference_update(job_ids)
