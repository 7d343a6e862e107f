"""The one place that reads a clock. Everything else is given the time."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """The machine's own time, aware UTC."""
    return datetime.now(UTC)  # noqa: TID251 -- the one place


def corrected(offset: timedelta) -> Clock:
    """The machine's clock, moved by what it is behind the database's (negative: ahead).

    Leases and slots of machines whose clocks differ agree because each of them reckons in the database's time.
    """

    def clock() -> datetime:
        return system_clock() + offset

    return clock


def monotonic() -> float:
    """Seconds that only ever grow, for measuring how long something took."""
    return time.monotonic()
