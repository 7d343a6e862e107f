"""Times as text. Pure.

The one form that is printed, for people and scripts: ISO 8601, UTC, whole seconds, `Z`. Others'
times are read in any form of ISO 8601.
"""

import re
from datetime import UTC, datetime

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")


def written(at: datetime) -> str:
    """`2026-11-20T12:00:00Z`; `at` is aware."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def written_if_any(at: datetime | None) -> str | None:
    """Like `written`; None for None."""
    return None if at is None else written(at)


def utc_time(value: object) -> datetime | None:
    """An ISO 8601 time as aware UTC; a time without an offset is read as UTC. None if it is not readable.

    A date alone is not a time, and a number is never read as a time.
    """
    if not isinstance(value, str) or not _TIME.match(value := value.strip()):
        return None
    try:
        time = datetime.fromisoformat(value)  # a fraction's digits after the sixth are dropped
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
