"""A call whose outcome is unknown is looked up, repeated, or held for a person: what was found at the other side, and
what becomes of the row. Pure.

    Listing  --compare-->  Nothing | More | Unmatched  --ending_of_reconciliation-->  Retry | Reconcile | Hold | …

An unmatched session whose token was lost is an orphan: no one can use it. It is waited for until it has ended, and then
the customer is asked for anew; or, as `on_orphan` says, a person decides.

A look-up changes nothing at the other side, so it is always safe to repeat. Only unmatched entries count as found: a
session that a job has, or a text message with a stored receipt, says nothing about the call.

By default an email may be repeated, and a session or a text only if its adapter or `on_unknown` says so. What was asked
of a provider may have been paid for, and a text that arrives twice frightens its reader. A mail whose hand-over broke
after its last line may have arrived as well, but it is repeated under the same Message-ID and Date, and many mail
programs then show it once. `wiring.work` decides which it is, from the adapter's `repeatable` and the configuration's
`on_unknown`; the attempt has it written down before the call, and `model.endings.ending_for` makes of an unknown
outcome a repetition, a look-up, or a row that is held.

Not all mail programs show the two as one. So each such hand-over counts as a message, and from the second on the next
one waits longer than a failure would: a relay that takes each mail and breaks before it answers would otherwise have a
customer find six of them within seconds.
"""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from onboarding_worker.core.model.endings import (
    Backoff,
    Cancel,
    Ending,
    Finish,
    Hold,
    Kind,
    Problem,
    Reconcile,
    Retry,
    RetryPolicy,
    Snooze,
    row_due_after_pause,
)
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import Result, SessionState

# A call may be reconciled this long after its lease and its time-out are over. A worker that was stopped needs some of
# that time to see that its lease is over; the rest is for clocks that differ.
MARGIN = timedelta(seconds=5)
# This software never makes a customer with more pages of sessions than this.
MOST_PAGES = 20
# As many entries as a cell of the report can show.
SHOWN = 5
# The longest lifetime that a provider offers: after that an orphan is over, whatever the list says.
LONGEST_LIFE = timedelta(days=30)
# How often an orphan is looked at: this share of its life, within these bounds.
LOOKS, SOONEST_LOOK, LATEST_LOOK = 8, timedelta(minutes=1), timedelta(hours=6)


@dataclass(frozen=True)
class OrphanRule:
    """Orphans are waited for. `life`: how long a session that the call asked for lives; None: the vendor decides."""

    life: timedelta | None = None

    def is_over(self, unknown_call: "UnknownCall", now: datetime) -> bool:
        """True if no session is live any more that the call may have opened."""
        return self.life is not None and now >= unknown_call.opened_at + self.life

    def ends_at(self, opened_at: datetime) -> datetime:
        """When the orphan has ended at the latest."""
        return opened_at + (self.life or LONGEST_LIFE) + MARGIN

    def known_by(self, opened_at: datetime, now: datetime) -> datetime | None:
        """When the orphan's end is known at the latest; None: that time has passed, and the next look-up says it."""
        # A list may call a session open for longer than it was to live.
        ends = (self.ends_at(opened_at), OrphanRule().ends_at(opened_at))
        return next((end for end in ends if end > now), None)

    def look_again_at(self, opened_at: datetime, now: datetime) -> datetime:
        """When to look at the orphan again: now and then, and at its end."""
        end, life = self.ends_at(opened_at), self.life or LONGEST_LIFE
        often = now + min(max(life / LOOKS, SOONEST_LOOK), LATEST_LOOK)
        return min(end, often) if end > now else often


@dataclass(frozen=True)
class UnknownCall:
    """The call to be reconciled. `kind` is the reason: UNKNOWN, or CONFLICT if the provider answered with one.

    `known` are the customer's references that belong to other calls; `seen` are those that earlier look-ups of this
    call found. `page` is the next page to be read, and `failures` counts the failed look-ups of this call.
    """

    attempt_id: uuid.UUID
    opened_at: datetime
    kind: Kind = Kind.UNKNOWN
    known: frozenset[str] = frozenset()
    seen: frozenset[str] = frozenset()
    page: int = 1
    failures: int = 0


@dataclass(frozen=True)
class Listed:
    """One entry of the other side's list; `status` is as the other side writes it.

    `state` and `result` are what the status means, as in a webhook; None and "": nothing new.
    """

    reference: str
    status: str
    state: SessionState | None = None
    result: str = ""

    @property
    def has_verdict(self) -> bool:
        return self.result not in ("", Result.REVIEW)

    @property
    def is_over(self) -> bool:
        """True if it ended without a verdict."""
        return self.state in (SessionState.EXPIRED, SessionState.FAILED) and not self.result


@dataclass(frozen=True)
class Listing:
    """One page of the list. `more`: another page follows."""

    entries: tuple[Listed, ...] = ()
    more: bool = False


@dataclass(frozen=True)
class Nothing:
    """No unmatched entry: the call was not carried out. `known` describes the entries that there are."""

    known: str = ""


@dataclass(frozen=True)
class More:
    """No unmatched entry on this page that may live; the next page has to be read. `references` are of those over."""

    references: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unmatched:
    """Entries that may be the call's, whose answer was lost, and with it the token. `detail` is shown to people."""

    references: tuple[str, ...]
    detail: str
    entries: tuple[Listed, ...] = ()


Found = Nothing | More | Unmatched


def compare(listing: Listing, unknown_call: UnknownCall) -> Found | Problem:
    """What a page of the customer's sessions says about the call whose outcome is unknown."""
    unmatched = [
        entry
        for entry in listing.entries
        if entry.reference not in unknown_call.known
        # No one has the token of the call's session: what has a verdict at the first look is somebody else's.
        and (not entry.has_verdict or entry.reference in unknown_call.seen)
    ]
    over = all(entry.is_over for entry in unmatched)
    if not unmatched and not listing.more and unknown_call.page > 1:
        # What earlier pages have is over: else it had ended the reading.
        earlier = sorted(unknown_call.seen - unknown_call.known)
        unmatched = [Listed(reference, "over", SessionState.EXPIRED) for reference in earlier]
    if unmatched and not (listing.more and over):
        number = "a session" if len(unmatched) == 1 else f"{len(unmatched)} sessions"
        detail = (
            f"the provider has {number} whose token is lost, as the call of {unknown_call.opened_at:%Y-%m-%d %H:%M:%S}"
            f" UTC may have opened: {_shown(unmatched)}"
        )
        return Unmatched(tuple(entry.reference for entry in unmatched), detail, tuple(unmatched))
    if not listing.more:
        return Nothing(_shown(listing.entries))
    if unknown_call.page >= MOST_PAGES:
        return Problem(Kind.BAD_INPUT, f"the provider lists more than {MOST_PAGES} pages of sessions")
    return More(tuple(entry.reference for entry in unmatched))


def _shown(entries: "list[Listed] | tuple[Listed, ...]") -> str:
    names = [f"{entry.reference} ({entry.status})" for entry in entries[:SHOWN]]
    return ", ".join([*names, *([f"and {len(entries) - SHOWN} more"] if len(entries) > SHOWN else [])])


def ending_of_reconciliation(
    found: Found | Problem,
    unknown_call: UnknownCall,
    attempts: int,
    policy: RetryPolicy,
    now: datetime,
    jitter: float,
    orphans: OrphanRule | None = None,
) -> Ending:
    """What becomes of the row. A Retry makes the call again; after Reconcile, Snooze or Hold its outcome stays unknown.

    `attempts` are the row's calls so far, this call included. `jitter` in [0, 1) spreads the due times. `orphans` None:
    a person decides about unmatched entries.
    """
    reason = Reason(unknown_call.kind)
    match found:
        case Unmatched() if orphans is not None:
            return _ending_of_orphan(found, unknown_call, attempts, policy, orphans, now)
        case Unmatched():
            return Hold(reason, found.detail)
        case More():
            return Reconcile(now, reason, "reconciled; the list has another page")
        case Nothing() if unknown_call.kind is Kind.CONFLICT:
            # The provider refuses because of a known session. It may see the end of that session later than we do.
            lives = f"it lists {found.known}" if found.known else "it lists none"
            wait = policy.after(attempts, jitter)
            if wait is None:
                return Hold(reason, f"the provider refuses another session; {lives}")
            return Retry(now + wait, reason, f"the provider refused another session; {lives}")
        case Nothing():
            if policy.given_up(attempts):
                return Cancel(Reason.ATTEMPTS_SPENT, f"{attempts} calls had no answer, and none was carried out")
            return Retry(now, reason, "reconciled: the call was not carried out")
    if found.concerns_account:
        return Snooze(row_due_after_pause(found, policy, now), found.reason, found.detail)
    wait = policy.after(unknown_call.failures + 1, jitter)
    if found.kind in (Kind.TRANSIENT, Kind.UNKNOWN) and wait is not None:
        return Reconcile(now + (found.retry_after or wait), reason, f"the look-up failed: {found.detail}")
    return Hold(reason, f"the call cannot be reconciled: {found.detail}")


def _ending_of_orphan(
    found: Unmatched, unknown_call: UnknownCall, attempts: int, policy: RetryPolicy, rule: OrphanRule, now: datetime
) -> Ending:
    verdict = next((entry.result for entry in found.entries if entry.has_verdict), None)
    if verdict is not None:
        return Finish(verdict)
    over = all(entry.is_over for entry in found.entries) or now >= unknown_call.opened_at + LONGEST_LIFE
    if not over:
        return Reconcile(rule.look_again_at(unknown_call.opened_at, now), Reason.ORPHAN, found.detail)
    return asked_anew(attempts, policy, now)


def asked_anew(attempts: int, policy: RetryPolicy, now: datetime) -> Ending:
    """The ending once a session that the call may have opened can no longer be live."""
    if policy.given_up(attempts):
        return Cancel(Reason.ATTEMPTS_SPENT, f"{attempts} calls had no answer")
    return Retry(now, Reason.ORPHAN, "the session whose token was lost has ended; another is asked for")


# After the second, third, … hand-over with an unknown outcome. One broken connection is usual: the first repeat waits
# no longer than after a failure.
WAITS = Backoff.steps(30, 120, 480, 1800)


def stays_unknown(ending: Ending | None, problem: Problem | None) -> bool:
    """True if no look-up and no person will settle whether this hand-over reached the customer."""
    return problem is not None and problem.kind is Kind.UNKNOWN and isinstance(ending, Retry | Cancel)


def not_before_its_wait(ending: Ending, problem: Problem, *, before: int, now: datetime) -> Ending:
    """The ending of a hand-over, not due before its pace. `before`: earlier ones of the message that stay unknown."""
    if not isinstance(ending, Retry) or not stays_unknown(ending, problem):
        return ending
    at = max(ending.at, now + WAITS.ceiling(before)) if before else ending.at
    return replace(ending, at=at, detail=f"{ending.detail}; {unknown_in_words(before + 1)}")


def unknown_in_words(number: int) -> str:
    """That so many hand-overs have an unknown outcome, and what that means for the caps."""
    if number == 1:
        return "1 hand-over with an unknown outcome, which counts as a message"
    return f"{number} hand-overs with an unknown outcome, each of which counts as a message"
