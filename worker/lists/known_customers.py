"""The same customer again: what becomes of a row whose customer is known for its purpose. One rule, for lists, for
reports that come back, and for events. Refuses the rows of a customer who belongs to a sender of events, until a person
takes the customer over. Pure; docs/reference/known-customers.md has the table."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.core.model.states import OPEN_JOBS, JobState


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


@dataclass(frozen=True, kw_only=True)
class KnownChoices:
    """What a person chose for the customers of a list who are known. `rule`: what becomes of them. `allow_erased`:
    customers who were erased on request are brought back; else their rows are refused. `another_person`: who comes
    under the id of a known customer and agrees in nothing takes the id over; else the row is refused. `take_over`:
    customers who belong to a sender of events become the lists'; else their rows are refused."""

    rule: KnownRule = KnownRule.REFRESH
    allow_erased: bool = False
    another_person: bool = False
    take_over: bool = False


AS_USUAL = KnownChoices()


class Becomes(StrEnum):
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
    """By the states alone, so never `IN_DOUBT`: `lists.store.admission` finds calls in doubt. `states`: of the
    customer's rows that joined no other, the oldest first. `finished`: also in a purged batch."""
    if any(state in OPEN_JOBS for state in states):
        return Standing.OPEN
    if finished or JobState.COMPLETED in states:
        return Standing.FINISHED
    if not states:
        return Standing.NEW
    last = [*states][-1]
    return Standing.FAILED if last is JobState.FAILED else Standing.ENDED


WAS_ERASED = FieldProblem(
    "customer_id",
    "the customer was erased on request",
    "leave the row out; or use --allow-erased to bring the customer back",
)
ANOTHER_PERSON = FieldProblem(
    "customer_id",
    "same id, another person?",
    "nothing agrees with what is stored: give each person an id of its own; or use --another-person",
)
IS_CALLED = FieldProblem(
    "customer_id",
    "a call for the person who has the id is under way or in doubt",
    "decide about a row that is held; then import the row again",
)


def owned_by(owner: str) -> FieldProblem:
    """Why the row of a customer is refused who belongs to this sender of events."""
    take_over = "leave the row out; or take the customer over with --take-over, by command"
    return FieldProblem("customer_id", f"first requested by sender {owner}", take_over)


def refuses_lists(owner: str, wide: Collection[str]) -> bool:
    """Whether a list's row is refused for a customer of this owner, until a person takes the customer over. `wide`: the
    senders that reach every customer anyway. Ids are often counted: a sender that has named one first would get the
    link of the customer whom the list means."""
    return bool(owner) and owner not in wide
