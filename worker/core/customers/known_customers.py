"""The same customer again: what becomes of a row whose customer is known for its purpose. One rule, for lists, for
reports that come back, and for events. Pure; docs/reference/list-format.md has the table.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from worker.core.model.states import OPEN_JOBS, JobState


class Standing(StrEnum):
    """Where a customer is, for one purpose, by all rows of lists and events."""

    NEW = "new"  # no row
    OPEN = "open"  # a row is at work, also one that is held
    FINISHED = "finished"
    IN_DOUBT = "unknown"  # a call for a row that has ended may have opened a session
    FAILED = "failed"
    ENDED = "ended"  # lapsed or cancelled


class KnownRule(StrEnum):
    """The rule. `RETURNED` is that of a report that comes back, and is never chosen."""

    SKIP = "skip"
    REFRESH = "refresh"
    INVITE = "invite"
    RETURNED = "returned"


class Becomes(StrEnum):
    """What becomes of the row."""

    LEADS = "leads"  # a row of work: a session, unless the customer has one that still opens, and a message
    JOINS = "joins"  # no call and no message: it has the state of the row that serves the customer
    FINISHED = "finished"  # no call and no message: it has the customer's result
    HELD = "held"  # a person decides
    NOTHING = "nothing"  # no row of work: the report says why


@dataclass(frozen=True)
class Decision:
    """`details`: the row's details replace those that are stored, as far as it has any. `link`: where the address is
    another one, the present link is sent to it. `retry`: the failed row is tried again."""

    becomes: Becomes
    details: bool = True
    link: bool = False
    retry: bool = False


_JOINS, _LEADS = Decision(Becomes.JOINS), Decision(Becomes.LEADS)
_FINISHED, _HELD = Decision(Becomes.FINISHED), Decision(Becomes.HELD)
_NOTHING = Decision(Becomes.NOTHING, details=False)
_REFRESH = {
    Standing.OPEN: _JOINS,
    Standing.FINISHED: _FINISHED,
    Standing.IN_DOUBT: _HELD,
    Standing.FAILED: _LEADS,
    Standing.ENDED: _LEADS,
}
_TABLE: dict[KnownRule, dict[Standing, Decision]] = {
    KnownRule.REFRESH: _REFRESH,
    KnownRule.INVITE: _REFRESH | {Standing.FINISHED: _LEADS},
    KnownRule.SKIP: {
        Standing.OPEN: Decision(Becomes.JOINS, details=False),
        Standing.FINISHED: Decision(Becomes.FINISHED, details=False),
        Standing.IN_DOUBT: _NOTHING,
        Standing.FAILED: _NOTHING,
        Standing.ENDED: _NOTHING,
    },
    # Only rows that were changed.
    KnownRule.RETURNED: {
        Standing.OPEN: Decision(Becomes.NOTHING, link=True),
        Standing.FINISHED: _NOTHING,
        Standing.IN_DOUBT: Decision(Becomes.NOTHING),
        Standing.FAILED: Decision(Becomes.NOTHING, link=True, retry=True),
        Standing.ENDED: Decision(Becomes.NOTHING),
    },
}


def decide(rule: KnownRule, standing: Standing) -> Decision:
    """What becomes of the row. A row of a report that no one has changed is not asked about: nothing becomes of it."""
    return _LEADS if standing is Standing.NEW else _TABLE[rule][standing]


def standing_of(states: Collection[JobState], *, finished: bool = False) -> Standing:
    """By the states alone, so never `IN_DOUBT`: `customers.store.admission` finds calls in doubt.

    `states`: of the customer's rows that joined no other, the oldest first. `finished`: also in a purged batch.
    """
    if any(state in OPEN_JOBS for state in states):
        return Standing.OPEN
    if finished or JobState.COMPLETED in states:
        return Standing.FINISHED
    if not states:
        return Standing.NEW
    last = [*states][-1]
    return Standing.FAILED if last is JobState.FAILED else Standing.ENDED
