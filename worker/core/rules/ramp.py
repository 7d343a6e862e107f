"""The ramp of a new sender: so many messages on its first day, a multiple of that on each further day. Pure.

A day is 24 hours, from the first message on: so the ramp knows no time zone. Within a day the messages are spaced
evenly, as those of every limit (`limits`), so no 24 hours that lie in one day hold more than the day's number, and
no others more than the later day's.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from onboarding_worker.core.rules.limits import Limit

DAY = timedelta(days=1)
# From this number of messages a day on there is no ramp any more: one each millisecond or so.
MOST = 86_400_000
LONGEST = 366  # days that a forecast looks ahead


@dataclass(frozen=True)
class Ramp:
    """`first` messages on the first day, `factor` times as many on each further day."""

    first: int
    factor: Decimal

    @classmethod
    def parse(cls, text: str) -> "Ramp":
        """Read "500/day x2". Raises ValueError, with an example."""
        match = re.fullmatch(r"\s*(\d{1,7})\s*/\s*day\s+x\s*(\d{1,2}(?:\.\d{1,2})?)\s*", text, re.ASCII)
        if not match or int(match[1]) == 0 or Decimal(match[2]) <= 1:
            raise ValueError('expected the first day\'s messages and a factor above 1, such as "500/day x2"')
        return cls(int(match[1]), Decimal(match[2]))

    def __str__(self) -> str:
        return f"{self.first}/day x{self.factor}"

    def of_day(self, day: int) -> int | None:
        """How many messages day number `day` has, from 0 on; None: the ramp is over."""
        if day >= LONGEST:
            return None
        number = int(self.first * self.factor ** max(day, 0))
        return number if number < MOST else None

    def limit(self, began_at: datetime | None, now: datetime) -> Limit | None:
        """The limit at this time; None: the ramp is over. `began_at`: the first message; None: none has left."""
        number = self.of_day((now - began_at) // DAY if began_at is not None else 0)
        return Limit(number, DAY) if number is not None else None
