"""When a message is handed over again whose first hand-over may have arrived, and why an email may be. Pure.

By default an email may be repeated, and a session or a text only if its adapter or `on_unknown` says so. What was asked
of a provider may have been paid for, and a text that arrives twice frightens its reader: such a call is looked up, or
held for a person (`unknown.reconciliation`). A mail whose hand-over broke after its last line may have arrived as well,
but it is repeated under the same Message-ID and Date, and many mail programs then show it once.
`wiring.work` decides which it is, from the adapter's `repeatable` and the configuration's `on_unknown`; the
attempt has it written down before the call, and `model.endings.ending_for` makes of an unknown outcome a repetition, a
look-up, or a row that is held.

Not all mail programs show the two as one. So each such hand-over counts as a message, and from the second on the next
one waits longer than a failure would: a relay that takes each mail and breaks before it answers would otherwise have a
customer find six of them within seconds.
"""

from dataclasses import replace
from datetime import datetime

from worker.core.model.endings import Backoff, Cancel, Ending, Kind, Problem, Retry

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
