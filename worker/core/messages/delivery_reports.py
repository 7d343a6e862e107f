"""A sender's updates on a message after its hand-over, and the state of the invitation after each. Pure.

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

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from worker.core.customers.suppression import SuppressionReason
from worker.core.model.channels import CHANNELS
from worker.core.model.endings import AddressIs, Backoff, Cancel, Ending, Kind, Problem, Retry
from worker.core.model.states import InvitationState

# Our own Message-ID, as services and programs write it. The group is its left part: the message's key.
MESSAGE_ID = re.compile(r"<?([A-Za-z0-9][A-Za-z0-9._-]{0,199})(?:@[^\s<>@]{1,255})?>?", re.ASCII)


def event_name(given: object) -> str:
    """A service's own name of an event, for people; "event" for what is none.

    It reaches terminals, and no database takes a NUL.
    """
    return given[:32] if isinstance(given, str) and given.isascii() and given.isprintable() else "event"


class DeliveryStatus(StrEnum):
    DELIVERED = "delivered"
    BOUNCED = "bounced"  # it did not arrive, and another attempt would not arrive either
    BLOCKED = "blocked"  # it was filtered, or no reason is given: the same text would be blocked again
    ELSEWHERE = "elsewhere"  # the number is not on this channel; another channel may reach it
    LATER = "later"  # it did not arrive, and another attempt may


class Stop(StrEnum):
    """Why an address must get no more messages."""

    BOUNCED = "bounced"
    COMPLAINED = "complained"
    STOPPED = "stopped"  # the person asked for it


@dataclass(frozen=True, repr=False)
class DeliveryUpdate:
    """The content of one callback. `reference` is the sender's id of the message (Twilio's sid, an invitation's key).

    `address` is the recipient, where the callback names it: personal, so no repr shows it. `status` None does not
    change the message. `stop`: the address must get no more messages; `resume`: it may get messages again. `code` is
    the provider's own, of digits or letters. `happened_at` is aware UTC, None where the callback has no time.
    """

    event: str
    reference: str = ""
    address: str = ""
    status: DeliveryStatus | None = None
    stop: Stop | None = None
    resume: bool = False
    code: str = ""
    happened_at: datetime | None = None

    def __repr__(self) -> str:
        return f"DeliveryUpdate({self.event}, status={self.status}, stop={self.stop}, code={self.code!r})"


@dataclass(frozen=True)
class NotUnderstood:
    """A genuine callback of the sender that cannot be read. `reason` names no value.

    `malformed`: it is not in the form that our page describes, and its sender should learn so.
    """

    reason: str
    malformed: bool = False


# The states of messages that have left, or may have: a sender may report on these messages.
_OUT = (InvitationState.SENT, InvitationState.DELIVERED, InvitationState.HELD, InvitationState.FAILED)


def invitation_state_by_report(present: InvitationState, update: DeliveryUpdate) -> InvitationState | None:
    """The invitation's state after the update; None where it does not change.

    A bounce outweighs a delivery, in whatever order they come: mail servers accept messages that they refuse later. A
    delivered message with an unknown outcome was sent. LATER changes nothing: the schedule decides about the message.
    """
    if present not in _OUT:
        return None
    match update.status:
        case DeliveryStatus.BOUNCED | DeliveryStatus.BLOCKED | DeliveryStatus.ELSEWHERE:
            return InvitationState.BOUNCED
        case DeliveryStatus.DELIVERED if present is not InvitationState.DELIVERED:
            return InvitationState.DELIVERED
        case _:
            return None


def state_refused(address: AddressIs) -> InvitationState:
    """The state of an invitation whose address the sender refused: like a bounce, but at once."""
    return InvitationState.SUPPRESSED if address is AddressIs.OPTED_OUT else InvitationState.BOUNCED


def reason_to_suppress(report: Stop | AddressIs | None) -> SuppressionReason | None:
    """Why the address must be suppressed; None: it stays usable."""
    return _REASONS.get(report) if report is not None else None


_REASONS: dict[Stop | AddressIs, SuppressionReason] = {
    Stop.BOUNCED: SuppressionReason.BOUNCE,
    Stop.COMPLAINED: SuppressionReason.COMPLAINT,
    Stop.STOPPED: SuppressionReason.STOP,
    AddressIs.GONE: SuppressionReason.BOUNCE,
    AddressIs.OPTED_OUT: SuppressionReason.STOP,
}


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
