"""How long to wait after a failure, and when to give up. Pure."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Backoff:
    """The waits after 1, 2, 3 … failures in a row: `first`, then twice as long each time, at most `most`.

    `attempts` failures are the most; then nothing is tried again. None: no end. `waits` replaces the doubling.
    """

    first: timedelta
    most: timedelta
    attempts: int | None = None
    waits: tuple[timedelta, ...] = ()

    @classmethod
    def steps(cls, *seconds: float) -> "Backoff":
        """These waits in this order, and one last attempt after them."""
        waits = tuple(timedelta(seconds=each) for each in seconds)
        return cls(waits[0], max(waits), len(waits) + 1, waits)

    def ceiling(self, failures: int) -> timedelta:
        """The longest wait after this many failures (1 or more), whether or not attempts are left."""
        earlier = max(failures, 1) - 1
        if self.waits:
            return self.waits[min(earlier, len(self.waits) - 1)]
        enough = (self.most // self.first).bit_length()  # so many doublings pass `most`; many more overflow a timedelta
        longest: timedelta = min(self.first * 2 ** min(earlier, enough), self.most)
        return longest

    def given_up(self, failures: int) -> bool:
        """Whether no attempt is left after this many failures."""
        return self.attempts is not None and failures >= self.attempts

    def after(self, failures: int, jitter: float = 1.0) -> timedelta | None:
        """The wait after this many failures; None: no attempt is left. `jitter` in [0, 1] is the share of the wait."""
        return None if self.given_up(failures) else self.ceiling(failures) * jitter
