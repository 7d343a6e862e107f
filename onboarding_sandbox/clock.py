"""The sandbox's clock: real time, unless a test gives another."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Aware UTC."""
    # The sandbox imports nothing of the worker, not even its clock, so that it is an independent check.
    return datetime.now(UTC)  # noqa: TID251
