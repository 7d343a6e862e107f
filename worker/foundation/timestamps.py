"""The one form of a printed time, for people and scripts: ISO 8601, UTC, whole seconds, `Z`. Pure."""

from datetime import UTC, datetime


def written(at: datetime) -> str:
    """`2026-11-20T12:00:00Z`; `at` is aware."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def written_if_any(at: datetime | None) -> str | None:
    """Like `written`; None for None."""
    return None if at is None else written(at)
