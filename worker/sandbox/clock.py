"""The sandbox's clock: real time, unless a test hands in another."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Aware UTC."""
    # The sandbox imports nothing of the worker, its clock included, so that it checks instead of agreeing.
    return datetime.now(UTC)  # noqa: TID251
