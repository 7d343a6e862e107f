"""Decides when a batch is paused automatically because too many of its messages bounce. Pure.

A list of wrong addresses, sent to its end, ruins the sender's reputation with every mail provider: the next list does
not arrive either. The counts start again when an operator resumes the batch.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class BounceCounts:
    """A batch's messages in a span of time, such as the last hour or since the batch was resumed.

    `tried` counts messages that were handed over, or refused for good because of their address; it includes `refused`
    and `bounced`. Messages that wait, failed because of the sender, or have an unknown outcome are not counted.
    """

    tried: int
    refused: int
    bounced: int


@dataclass(frozen=True)
class PauseRule:
    """Pause above `percent` of the `tried` messages, if at least `least` were tried: a few messages prove little."""

    percent: int = 10
    least: int = 50


def pause_reason(spans: Iterable[BounceCounts], rule: PauseRule, *, batch_id: int) -> str | None:
    """Why the batch must pause, as a text for the operator; None: it continues.

    One span above the limit is enough. The last hour shows a new problem behind many delivered messages; the whole
    time shows a problem of a batch that is too slow for the last hour.
    """
    for counts in spans:
        failed = counts.refused + counts.bounced
        if counts.tried >= rule.least and failed * 100 > counts.tried * rule.percent:
            return (
                f"{failed} of {counts.tried} messages were refused ({counts.refused}) or bounced ({counts.bounced}),"
                f" more than {rule.percent} %: check the addresses, then run `onboard resume {batch_id}`"
            )
    return None
