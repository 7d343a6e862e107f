"""Which rows of a list `check --deadline` expects to be late."""

from array import array
from datetime import datetime
from typing import Any

from worker.cli.lists.found_rows import FoundRows
from worker.core.customers.store.new_rows import AcceptedLine
from worker.core.foundation.plural import counted
from worker.core.foundation.timestamps import written
from worker.lists.importing.intake import Intake
from worker.plans.deadlines import Group
from worker.plans.list_deadline import group_of, planned, too_late


class InTime:
    """The accepted rows by the hours and limits that they share. Without a deadline it counts nothing."""

    def __init__(self, intake: Intake, deadline: datetime | None) -> None:
        self._intake, self._deadline = intake, deadline
        self._rows: dict[Group, array[int]] = {}
        self._late: list[int] = []

    def add(self, line: object) -> None:
        if self._deadline is not None and isinstance(line, AcceptedLine):
            self._rows.setdefault(group_of(line, self._intake.hours), array("q")).append(line.row)

    def late(self) -> FoundRows:
        """The rows that cannot be sent in time if the list starts now, each with a warning, in the list's order."""
        warnings = FoundRows()
        if self._deadline is None:
            return warnings
        rows = {group: len(numbers) for group, numbers in self._rows.items()}
        hours, now = self._intake.hours, self._intake.clock()
        found = planned(rows, hours, self._intake.paces(), deadline=self._deadline, now=now)
        # The first rows of a group go first; so its last ones are late.
        self._late = sorted(row for group, number in found.late.items() for row in self._rows[group][-number:])
        problem = too_late(self._deadline)
        for row in self._late:
            warnings.add(row, problem)
        return warnings

    def facts(self) -> dict[str, Any]:
        """As `check --json` prints them; after `late`."""
        if self._deadline is None:
            return {}
        return {"deadline": {"at": written(self._deadline), "late": len(self._late), "rows": self._late}}

    def in_words(self) -> str:
        """After `late`."""
        if self._deadline is None:
            return ""
        by = written(self._deadline)
        if not self._late:
            return f"by {by}: each row can be sent if the list starts now"
        return f"by {by}: {counted(len(self._late), 'row')} cannot be sent, if the list starts now"
