"""Hand-overs of one message whose outcome is unknown: when the message goes again, and what is said of it. Pure.

A mail whose hand-over broke after the last line may have arrived. It is repeated under the same Message-ID, and many
mail programs then show it once; but not all do. So each such hand-over counts as a message, and from the second on
the next one waits longer than a failure would: a relay that takes each mail and breaks before it answers would
otherwise have a customer find six of them within seconds.
"""

from dataclasses import replace
from datetime import datetime

from worker.core.model.backoff import Backoff
from worker.core.model.endings import Cancel, Ending, Kind, Problem, Retry

# After the second, third, … hand-over with an unknown outcome. One broken connection is usual: the first repeat waits
# no longer than after a failure.
WAITS = Backoff.steps(30, 120, 480, 1800)


def stays_unknown(ending: Ending | None, problem: Problem | None) -> bool:
    """True if no look-up and no person will settle whether this hand-over reached the customer."""
    return problem is not None and problem.kind is Kind.UNKNOWN and isinstance(ending, Retry | Cancel)


def paced(ending: Ending, problem: Problem, *, before: int, now: datetime) -> Ending:
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
