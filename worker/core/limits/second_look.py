"""Whom a refusal is about, where its code does not say. Pure.

The same "554" comes for one odd message, and for each message of a sender that is blocked. So the row is tried again
soon, and what the other rows got meanwhile decides:

    refused ──▶ tried again ──▶ most others succeeded since: it is about the row
                           └──▶ nobody has, in the last tries or for a minute: it is about us, and the account stops

A single row without others proves nothing: after a minute it is about the row if others succeeded before, and else its
problem is what the code alone says.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from worker.core.model.backoff import Backoff

LAST_TRIES = 20
LONGEST_LOOK = timedelta(minutes=1)
# When the row is tried again: soon, since nothing costs an attempt; but a server that greylists is not asked often.
LOOKS = Backoff.steps(5, 10, 20, 30)
LEAST_WORDS = 2


class Subject(Enum):
    """Whom a refusal is about."""

    ROW = "row"
    US = "us"
    AS_ITS_CODE = "as its code"  # the other rows say nothing, and will not
    OPEN = "open"  # the next look may tell


@dataclass(frozen=True)
class Try:
    """One call of the account: a success, or a refusal whose code does not say whom it is about."""

    row: Hashable
    began_at: datetime
    succeeded: bool


def subject_of(row: Hashable, first_at: datetime, tries: Sequence[Try], *, now: datetime) -> Subject:
    """Whom the refusal of this row is about.

    `tries`: the account's last ones in their order, with the row's own. `first_at`: when the row was refused first.
    """
    last = tries[-LAST_TRIES:]
    others = [one for one in last if one.row != row and one.began_at > first_at]
    succeeded = sum(one.succeeded for one in others)
    if 2 * succeeded > len(others):
        return Subject.ROW
    if _nobody_succeeds(last, now=now):
        return Subject.US
    if now - first_at < LONGEST_LOOK:
        return Subject.OPEN
    return Subject.ROW if any(one.succeeded for one in last if one.row != row) else Subject.AS_ITS_CODE


def _nobody_succeeds(last: Sequence[Try], *, now: datetime) -> bool:
    """Whether more than one row was refused, and none succeeded in all of the last tries, or for a minute."""
    successes = [one.began_at for one in last if one.succeeded]
    refused = [one for one in last if not one.succeeded and (not successes or one.began_at > successes[-1])]
    if len({one.row for one in refused}) < 2:
        return False
    return len(refused) >= LAST_TRIES or now - refused[0].began_at >= LONGEST_LOOK


def shared_words(one: str, other: str) -> str:
    """How both sentences begin. What two customers are told alike names neither of them, so it may be shown."""
    same = []
    for word, again in zip(one.split(), other.split(), strict=False):
        if word != again:
            break
        same.append(word)
    return " ".join(same) if len(same) >= LEAST_WORDS else ""
