"""On which other channel a customer is written to, once the first one was found not to reach it. Pure."""

from collections.abc import Mapping, Sequence

from worker.domain.contact.suppression import SuppressionReason

# Only what says that nobody reads there. Who asked not to be written to, or complained, is not written to elsewhere
# because of it; nor is one whom somebody here took out.
UNREACHED = frozenset({SuppressionReason.BOUNCE})


def instead_of(channel: str, fallback: str | None) -> str | None:
    """The channel to try when a message came back on this one; None: there is no other."""
    return fallback if fallback != channel else None


def writable(
    channels: Sequence[str], fallback: str | None, suppressed: Mapping[str, SuppressionReason | None]
) -> tuple[str, ...]:
    """Those channels on which a customer may be written to, one that stands in for another among them.

    `channels` are those that the row asks for, `suppressed` has each channel of which the customer has an address,
    with the reason for which it is not written to, None: it may be.
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
