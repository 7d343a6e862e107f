"""What `status` and the dashboard say of places that lists are taken from without a command."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from worker.core.database.database import Database
from worker.core.features import Hook
from worker.reporting.attention import Attention
from worker.settings.model import Settings


class SourceReport(Protocol):
    """One place."""

    @property
    def name(self) -> str: ...

    @property
    def is_importing(self) -> bool:
        """Whether the import of one of its lists has begun and not ended."""

    @property
    def in_words(self) -> str:
        """What it waits for."""

    def facts(self) -> dict[str, Any]:
        """As `status --json` prints it, under `intake`."""

    def attention(self) -> Sequence[Attention]:
        """What needs a person."""


@dataclass(frozen=True)
class SourceReports:
    read: Callable[[Settings, Database], Sequence[SourceReport]]


# The feature `list_sources` has one for each folder of the configuration.
SOURCE_REPORTS = Hook("SOURCE_REPORTS", SourceReports)


def source_reports(settings: Settings, database: Database) -> list[SourceReport]:
    """The reports of all features."""
    return [report for one in SOURCE_REPORTS.offered() for report in one.read(settings, database)]
