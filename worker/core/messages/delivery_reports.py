"""Decides what follows when a message does not reach its customer: another channel, a pause of its batch. Pure.

Decides when a batch is paused automatically because too many of its messages bounce. Pure.

A list of wrong addresses, sent to its end, ruins the sender's reputation with every mail provider: the next list does
not arrive either. The counts start again when an operator resumes the batch.

Chooses the other channel for a customer whom the first channel does not reach. Pure.

Hand-overs of one message whose outcome is unknown: when the message goes again, and what is said of it. Pure.

A mail whose hand-over broke after the last line may have arrived. It is repeated under the same Message-ID, and many
mail programs then show it once; but not all do. So each such hand-over counts as a message, and from the second on
the next one waits longer than a failure would: a relay that takes each mail and breaks before it answers would
otherwise have a customer find six of them within seconds.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from worker.core.customers.suppression import SuppressionReason
from worker.core.model.channels import CHANNELS
from worker.core.model.endings import AddressIs, Backoff, Cancel, Ending, Kind, Problem, Retry
from worker.core.model.states import InvitationState


def state_refused(address: AddressIs) -> InvitationState:
    """The state of an invitation whose address the sender refused: like a bounce, but at once."""
    return InvitationState.SUPPRESSED if address is AddressIs.OPTED_OUT else InvitationState.BOUNCED


def reason_to_suppress(address: AddressIs | None) -> SuppressionReason | None:
    """Why the address must be suppressed after a sender's refusal; None: it stays usable."""
    return _REASONS.get(address) if address is not None else None


_REASONS = {AddressIs.GONE: SuppressionReason.BOUNCE, AddressIs.OPTED_OUT: SuppressionReason.STOP}


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


# Only reasons that show that the address does not work. A customer who asked for no messages, or complained, gets none
# on another channel either; nor does a customer whom an operator suppressed.
UNREACHED = frozenset({SuppressionReason.BOUNCE})


def fallbacks(configured: str | None, senders: Collection[str]) -> Mapping[str, str]:
    """The channel to try after a bounce, by channel. `configured` is the configuration's; `senders` are the channels
    that have a sender."""
    found: dict[str, str] = {}
    for name, facts in CHANNELS.items():
        other = facts.falls_to if facts.falls_to in senders else configured
        if other is not None and other in senders and other != name:
            found[name] = other
    return found


def following(channel: str, fallbacks: Mapping[str, str]) -> tuple[str, ...]:
    """The channels that are tried after this one, each after the one before it."""
    found: dict[str, None] = {}
    other = fallbacks.get(channel)
    while other is not None and other != channel and other not in found:
        found[other] = None
        other = fallbacks.get(other)
    return tuple(found)


def writable(
    channels: Sequence[str], fallbacks: Mapping[str, str], suppressed: Mapping[str, SuppressionReason | None]
) -> tuple[str, ...]:
    """The channels on which the customer may get messages, with the fallback in place of an unreachable one.

    `channels` are the channels that the row asks for. `suppressed` holds every channel for which the customer has an
    address, with the reason of its suppression; None: the address may be used.
    """
    found: dict[str, None] = {}
    for channel in channels:
        reason = suppressed.get(channel)
        if channel in suppressed and reason is None:
            found[channel] = None
        elif channel in suppressed and reason in UNREACHED:
            others = following(channel, fallbacks)
            other = next((one for one in others if one in suppressed and suppressed[one] is None), None)
            if other is not None:
                found[other] = None
    return tuple(found)


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
