"""Looking up a call whose outcome nobody knows: what was found at the other side, and what becomes of the row.

    Listing  --compare-->  Nothing | More | Strangers  --ending_of_look_up-->  Retry | LookUp | Hold | …

A look-up asks for nothing new, so it is always safe to repeat. Only what we do not know counts as found: a session
that a job has, or a text whose receipt we hold, says nothing about the call in doubt.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.domain.model.endings import (
    Cancel,
    Ending,
    Hold,
    Kind,
    Problem,
    Reconcile,
    Retry,
    RetryPolicy,
    Snooze,
    resume_at,
)
from worker.domain.model.reasons import Reason

# From a lease's end, besides the call's own time-out, until the call may be looked up: what a worker that was
# stopped needs to see that its lease is over, and clocks that differ.
MARGIN = timedelta(seconds=5)
# A customer with more pages of sessions than this is none that this software has made.
MOST_PAGES = 20
# Of what was found, as many as a report's cell can show.
SHOWN = 5


@dataclass(frozen=True)
class UnknownCall:
    """The call to be looked up. `kind` says why: UNKNOWN, or the CONFLICT that it was answered with.

    `known` are the references of the customer's that are accounted for. `page` is the next one to be read, and
    `failures` counts the look-ups of this call that came to nothing.
    """

    attempt_id: uuid.UUID
    opened_at: datetime
    kind: Kind = Kind.UNKNOWN
    known: frozenset[str] = frozenset()
    page: int = 1
    failures: int = 0


@dataclass(frozen=True)
class Listed:
    """One entry of the other side's listing, in its own words."""

    reference: str
    status: str


@dataclass(frozen=True)
class Listing:
    """One page. `more`: another follows."""

    entries: tuple[Listed, ...] = ()
    more: bool = False


@dataclass(frozen=True)
class Nothing:
    """There is nothing that we do not know: the call was not carried out. `known` says what there is."""

    known: str = ""


@dataclass(frozen=True)
class More:
    """Nothing on this page; the next one has to be read."""


@dataclass(frozen=True)
class Strangers:
    """There is something that may be the call's, and nobody holds what the lost answer said. `detail` is shown."""

    references: tuple[str, ...]
    detail: str


Found = Nothing | More | Strangers


def compare(listing: Listing, unknown_call: UnknownCall) -> Found | Problem:
    """What a page of the customer's sessions says about the call in doubt."""
    strangers = [entry for entry in listing.entries if entry.reference not in unknown_call.known]
    if strangers:
        number = "a session" if len(strangers) == 1 else f"{len(strangers)} sessions"
        detail = (
            f"the provider has {number} whose token is lost, as the call of {unknown_call.opened_at:%Y-%m-%d %H:%M:%S}"
            f" UTC may have opened: {_shown(strangers)}"
        )
        return Strangers(tuple(entry.reference for entry in strangers), detail)
    if not listing.more:
        return Nothing(_shown(listing.entries))
    if unknown_call.page >= MOST_PAGES:
        return Problem(Kind.BAD_INPUT, f"the provider lists more than {MOST_PAGES} pages of sessions")
    return More()


def _shown(entries: "list[Listed] | tuple[Listed, ...]") -> str:
    names = [f"{entry.reference} ({entry.status})" for entry in entries[:SHOWN]]
    return ", ".join([*names, *([f"and {len(entries) - SHOWN} more"] if len(entries) > SHOWN else [])])


def ending_of_reconciliation(
    found: Found | Problem, unknown_call: UnknownCall, attempts: int, policy: RetryPolicy, now: datetime, jitter: float
) -> Ending:
    """What becomes of the row. A Retry makes the call again; after a LookUp, Snooze or Hold it stays in doubt.

    `attempts` are the row's calls so far, the one in doubt among them. `jitter` in [0, 1) spreads what is due later.
    """
    reason = Reason(unknown_call.kind)
    match found:
        case Strangers():
            return Hold(reason, found.detail)
        case More():
            return Reconcile(now, reason, "looked up; there is another page")
        case Nothing() if unknown_call.kind is Kind.CONFLICT:
            # The provider refuses because of a session that we know, and may see its end later than we do.
            lives = f"it lists {found.known}" if found.known else "it lists none"
            if attempts >= policy.attempts:
                return Hold(reason, f"the provider refuses another session; {lives}")
            return Retry(now + policy.ceiling(attempts) * jitter, reason, f"refused for another; {lives}")
        case Nothing():
            if attempts >= policy.attempts:
                return Cancel(Reason.ATTEMPTS_SPENT, f"{attempts} calls were lost, and none was carried out")
            return Retry(now, reason, "looked up: it was not carried out")
    if found.concerns_account:
        return Snooze(resume_at(found, policy, now), found.reason, found.detail)
    tries = unknown_call.failures + 1
    if found.kind in (Kind.TRANSIENT, Kind.UNKNOWN) and tries < policy.attempts:
        wait = found.retry_after or policy.ceiling(tries) * jitter
        return Reconcile(now + wait, reason, f"its look-up failed: {found.detail}")
    return Hold(reason, f"it cannot be looked up: {found.detail}")


def lost_answers(calls: int, messages: int) -> str:
    """In words, so many calls and messages whose answers were lost."""
    words = [(calls, "call", "calls"), (messages, "message", "messages")]
    parts = [f"{number:,} {one if number == 1 else many}" for number, one, many in words if number]
    return f"{' and '.join(parts)} whose answer was lost" if parts else ""
