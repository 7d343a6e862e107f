"""Who acts on the rows of a report that comes back."""

from collections.abc import Callable
from dataclasses import dataclass

from worker.core.database.database import Database
from worker.core.features import Hook
from worker.lists.importing.returned import Refusing, Settles
from worker.lists.options import ListOptions
from worker.wiring.container import Parts


@dataclass(frozen=True, kw_only=True)
class Report:
    """`database`: whose changes the audit log ascribes to who gave the report. `another_person`: a row may leave
    nothing of the person who is stored."""

    name: str
    options: ListOptions
    database: Database
    another_person: bool = False


@dataclass(frozen=True)
class ReturnedReports:
    settles: Callable[[Parts, Report], Settles]


# The feature `service_desk` corrects what a person has changed, as it does for one customer.
RETURNED_REPORTS = Hook("RETURNED_REPORTS", ReturnedReports)


def settles(parts: Parts, report: Report) -> Settles:
    """What says what the rows of this report become."""
    return next((one.settles(parts, report) for one in RETURNED_REPORTS.offered()), Refusing())
