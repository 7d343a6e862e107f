"""When a batch pauses itself, because too many of its messages come back. Pure.

A list of wrong addresses, sent to its end, ruins the sender's name with every mail provider: the next list then does
not arrive either. One that a person has looked at and resumed is counted anew.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class BounceCounts:
    """A batch's messages of some span of time, such as the last hour or since it was resumed.

    `tried` counts those that were handed over, or refused for good because of their address; `refused` and `bounced`
    are among them. Those that only wait, failed for the sender's own sake, or are in doubt, count in none.
    """

    tried: int
    refused: int
    bounced: int


@dataclass(frozen=True)
class PauseRule:
    """More than `percent` of `tried` messages, where at least `least` were tried: few say little."""

    percent: int = 10
    least: int = 50


def pause_reason(tallies: Iterable[BounceCounts], rule: PauseRule) -> str | None:
    """Why the batch is to pause, in words for a person; None: it goes on.

    Any of the spans is enough: the last hour shows what goes wrong now behind many that arrived, and the whole time
    shows it of a batch too slow for the hour.
    """
    for tally in tallies:
        failed = tally.refused + tally.bounced
        if tally.tried >= rule.least and failed * 100 > tally.tried * rule.percent:
            return (
                f"{failed} of {tally.tried} messages were refused ({tally.refused}) or returned ({tally.bounced}),"
                f" more than {rule.percent} %: look at the addresses, then `onboard resume`"
            )
    return None
