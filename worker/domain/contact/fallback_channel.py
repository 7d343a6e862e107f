"""Chooses the other channel for a customer whom the first channel does not reach. Pure."""

from collections.abc import Mapping, Sequence

from worker.domain.contact.suppression import SuppressionReason

# Only reasons that show that the address does not work. A customer who asked for no messages, or complained, gets none
# on another channel either; nor does a customer whom an operator suppressed.
UNREACHED = frozenset({SuppressionReason.BOUNCE})


def instead_of(channel: str, fallback: str | None) -> str | None:
    """The channel to try after a bounce on this channel; None: there is no other."""
    return fallback if fallback != channel else None


def writable(
    channels: Sequence[str], fallback: str | None, suppressed: Mapping[str, SuppressionReason | None]
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
            other = instead_of(channel, fallback)
            if other is not None and other in suppressed and suppressed[other] is None:
                found[other] = None
    return tuple(found)
