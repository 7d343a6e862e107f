"""The report in one sentence; and the rows that need a person, by state and reason, with all row numbers. Pure."""

import heapq
import re
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from onboarding_worker.core.foundation.notation import are, counted
from onboarding_worker.core.model.reasons import meaning_of
from onboarding_worker.core.model.states import REACHED_JOBS, UNSENT_JOBS, JobState, LineState, Result
from onboarding_worker.reporting.waits import NOTHING_STUCK, rows_in_words

NEEDS_A_PERSON: tuple[str, ...] = (JobState.HELD, JobState.FAILED, LineState.REJECTED, JobState.LAPSED)
TEXTS = 1_000  # different texts counted for each group, so that many different texts cannot fill the memory
SHOWN_TEXTS = 5
# What differs from row to row in a text that says the same: ids, numbers with many digits, times.
_IDS = re.compile(
    r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"
    r"|\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"
    r"|\b(?=[0-9A-Za-z_-]*\d)[0-9A-Za-z_-]{16,}\b"
    r"|\b\d{5,}\b",
    re.IGNORECASE,
)


def without_ids(text: str) -> str:
    """The text with "…" for ids, long numbers and times: the same for all rows that have the same problem."""
    return _IDS.sub("…", text)


class RowNumbers:
    """Row numbers in rising order, kept as ranges: a million rows of one group are one range."""

    def __init__(self) -> None:
        self._ends = array("L")  # first and last of each range
        self.count = 0

    def add(self, row: int) -> None:
        self.count += 1
        if self._ends and self._ends[-1] == row - 1:
            self._ends[-1] = row
        else:
            self._ends.extend((row, row))

    def __str__(self) -> str:
        """Such as "2-9, 12"."""
        return ", ".join(self._ranges(len(self._ends)))

    def first(self, most: int) -> str:
        return ", ".join(self._ranges(2 * most))

    @property
    def ranges(self) -> int:
        return len(self._ends) // 2

    def _ranges(self, end: int) -> list[str]:
        ends = self._ends[:end]
        return [f"{a}-{b}" if a != b else str(a) for a, b in zip(ends[::2], ends[1::2], strict=True)]


@dataclass
class Group:
    """The rows that need a person for one reason. `number` counts the groups in the order of their first rows."""

    number: int
    state: str
    reason: str
    action: str
    rows: RowNumbers = field(default_factory=RowNumbers)
    texts: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        return self.rows.count

    @property
    def words(self) -> str:
        return meaning_of(self.reason)

    @property
    def frequent(self) -> list[tuple[str, int]]:
        """The texts that explain most of the rows, each with its number of rows."""
        return heapq.nsmallest(SHOWN_TEXTS, self.texts.items(), key=lambda item: (-item[1], item[0]))

    @property
    def more_texts(self) -> bool:
        return len(self.texts) > SHOWN_TEXTS


class Groups:
    """Collects the groups from rows in the order of their numbers."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], Group] = {}

    def add(self, row: int, state: str, reason: str, detail: str, *, action: str) -> int | None:
        """Count the row; returns the number of its group, None for a row that needs no person."""
        if state not in NEEDS_A_PERSON:
            return None
        group = self._groups.get((state, reason))
        if group is None:
            group = self._groups[state, reason] = Group(len(self._groups), state, reason, action)
        group.rows.add(row)
        text = without_ids(detail)
        if text and (text in group.texts or len(group.texts) < TEXTS):
            group.texts[text] += 1
        return group.number

    def by_need(self) -> list[Group]:
        """The groups, those first that a person must decide about."""
        return sorted(self._groups.values(), key=lambda group: (NEEDS_A_PERSON.index(group.state), -group.count))


class Headline(NamedTuple):
    """`sentence` says how the batch stands, `rest` what became of the customers. `good`: nothing waits for a person."""

    sentence: str
    rest: tuple[str, ...]
    good: bool


def sets_in_words(sets: Mapping[str, int]) -> str:
    """How many rows set each column that needs a right (`providers.row_rights`)."""
    return ", ".join(f"{column} {rows:,}" for column, rows in sets.items())


def headline(facts: Mapping[str, Any], corrected: int = 0) -> Headline:
    """`facts` come from `batch_report.status()`. `corrected`: how many rejected rows have a later row."""
    rows: Mapping[str, int] = facts["rows"]
    joined = rows.get(LineState.JOINED, 0)
    if not rows["total"]:
        return Headline("The list has no rows.", (), True)
    reached = sum(rows.get(state, 0) for state in REACHED_JOBS) - facts.get("lapsed_unsent", 0)
    reached += facts.get("cancelled_out", 0)
    needs = sum(rows.get(state, 0) for state in NEEDS_A_PERSON) - corrected
    stopped = [name for name, account in facts["accounts"].items() if account["stopped"]]
    good = not needs and not stopped
    decided = rows.get(JobState.HELD, 0) + rows.get(JobState.LAPSED, 0) - facts.get("lapsed_unsent", 0)
    parts = (
        f"{reached:,} of {counted(rows['total'], 'row')} {are(rows['total'])} invited",
        f"{counted(joined, 'row')} joined rows of other lists" if joined else "",
        rows_in_words(needs - decided, held=decided) if needs else "",
        f"{counted(len(stopped), 'account')} {are(len(stopped))} stopped" if stopped else "",
        NOTHING_STUCK if good else "",
    )
    return Headline("; ".join(filter(None, parts)) + ".", tuple(_rest(facts, rows)), good)


def _rest(facts: Mapping[str, Any], rows: Mapping[str, int]) -> list[str]:
    said = []
    if done := rows.get(JobState.COMPLETED, 0):
        results = ", ".join(f"{number:,} {one}" for one, number in facts["results"].items() if one != Result.REVIEW)
        have = "has" if done == 1 else "have"
        said.append(f"{counted(done, 'customer')} {have} finished" + (f" ({results})." if results else "."))
    if reviewed := facts["results"].get(Result.REVIEW):
        said.append(f"{counted(reviewed, 'customer')} {are(reviewed)} in review at the provider.")
    if twice := rows.get(LineState.DUPLICATE):
        said.append(f"{counted(twice, 'row')} {'has' if twice == 1 else 'have'} the customer of an earlier row.")
    if sets := facts.get("sets"):
        said.append(f"Rows set what needs a right: {sets_in_words(sets)}.")
    if left := sum(rows.get(state, 0) for state in UNSENT_JOBS):
        said.append(f"{counted(left, 'row')} {'waits' if left == 1 else 'wait'} for a session or a message.")
    return said
