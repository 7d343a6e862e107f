"""Chooses the other channel for a customer whom the first channel does not reach. Pure."""

from collections.abc import Collection, Mapping, Sequence

from worker.core.customers.suppression import SuppressionReason
from worker.core.model.channels import CHANNELS

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
